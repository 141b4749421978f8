"""What counts as a table: columns by name, each a list of plain values, whatever library they came from."""

from __future__ import annotations

import math

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, List, Optional, Sequence

    Columns = Dict[str, List[Any]]

NUMBER, TEXT, BOOL, OTHER, EMPTY = "number", "text", "bool", "other", "empty"
"""Kinds of columns."""
_LARGEST = 10**300
_LEFT_OUT = ({"redacted"}, {"text"}, {"shape"}, {"bytes"})
"""The keys of what stands in a request log for values that were not kept."""


def columns_of(table: "Any", names: "Sequence[str]" = ()) -> "Columns":
    """Return the columns of a table.

    Args:
        table: a pandas or polars DataFrame, a dict of columns, a list of dicts (rows), a two-dimensional array, or
            what ``foundations.request_log`` returns: of that, the inputs.
        names: names for the columns of what has none.
    Raises:
        TypeError: it is none of these.
    """
    if hasattr(table, "columns") and hasattr(table, "__getitem__"):
        return {str(name): _listed(table[name]) for name in table.columns}
    if isinstance(table, dict):
        return {str(name): _listed(values) for name, values in table.items()}
    if hasattr(table, "tolist"):
        table = table.tolist()
    if not isinstance(table, (list, tuple)):
        raise TypeError("a table is a DataFrame, a dict of columns, or a list of rows; got %s" % type(table).__name__)
    rows = list(table)
    if rows and all(isinstance(row, dict) and "inputs" in row and "route" in row for row in rows):
        return _of_requests(rows, names)
    if rows and all(isinstance(row, dict) for row in rows):
        found = dict.fromkeys(str(name) for row in rows for name in row)
        return {name: [_plain(row.get(name)) for row in rows] for name in found}
    if rows and all(isinstance(row, (list, tuple)) for row in rows):
        return _unnamed(rows, "", names)
    if rows:
        return {names[0] if len(names) == 1 else "0": [_plain(value) for value in rows]}
    return {}


def _listed(values: "Any") -> "List[Any]":
    for method in ("tolist", "to_list"):
        if hasattr(values, method):
            values = getattr(values, method)()
            break
    return [_plain(value) for value in (values if isinstance(values, (list, tuple)) else [values])]


def _plain(value: "Any") -> "Any":
    """Return a value as Python has it; what NumPy and pandas have for "nothing" is None."""
    if hasattr(value, "item") and not isinstance(value, (str, bytes, int, float)):
        try:
            value = value.item()
        except (TypeError, ValueError):
            return str(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _LARGEST:
        return math.inf if value > 0 else -math.inf  # larger than any float
    if isinstance(value, (bool, int, float, str)) or value is None:
        return value
    return None if type(value).__name__ in ("NAType", "NaTType") else str(value)


def _unnamed(rows: "Iterable[Sequence[Any]]", prefix: str, names: "Sequence[str]") -> "Columns":
    listed = list(rows)
    width = max(len(row) for row in listed)
    own = list(names) if len(names) == width else ["%s%d" % (prefix, place) for place in range(width)]
    return {name: [_plain(row[place]) for row in listed if place < len(row)] for place, name in enumerate(own)}


def _of_requests(records: "Iterable[Dict[str, Any]]", names: "Sequence[str]") -> "Columns":
    found: "Columns" = {}
    for record in records:
        inputs = record["inputs"]
        for name, value in inputs.items() if isinstance(inputs, dict) else ():
            for column, values in _of_input(str(name), value, names if len(inputs) == 1 else ()).items():
                found.setdefault(column, []).extend(values)
    return found


def _of_input(name: str, value: "Any", names: "Sequence[str]") -> "Columns":
    """Return the columns of one input of a request: a value, a row of them, or a table without names."""
    if isinstance(value, dict):
        return {} if set(value) in _LEFT_OUT else {"%s.%s" % (name, key): [_plain(part)] for key, part in value.items()}
    if not isinstance(value, list):
        return {name: [_plain(_of_json(value))]}
    kept = [_of_json(part) for part in value if not isinstance(part, dict)]
    rows = [part for part in kept if isinstance(part, list)]
    if rows:
        return _unnamed(rows, name + ".", names)
    return {name: [_plain(part) for part in kept]}


def _of_json(value: "Any") -> "Any":
    """Return what a value of a request log means: there, numbers that JSON has not are texts."""
    if isinstance(value, list):
        return [_of_json(part) for part in value]
    return float(value) if isinstance(value, str) and value in ("NaN", "Infinity", "-Infinity") else value


def kind_of(values: "Iterable[Any]") -> str:
    """Return what a column holds; special values are of any kind."""
    kinds = {_kind(value) for value in values if special_of(value) is None}
    if not kinds:
        return EMPTY
    return kinds.pop() if len(kinds) == 1 else OTHER


def _kind(value: "Any") -> str:
    if isinstance(value, bool):
        return BOOL
    return NUMBER if isinstance(value, (int, float)) else TEXT


def special_of(value: "Any") -> "Optional[str]":
    """Return which special value one is: "missing" (also NaN, as in pandas), "inf", "-inf"; None for none."""
    if value is None:
        return "missing"
    if isinstance(value, float) and not math.isfinite(value):
        return "missing" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return None
