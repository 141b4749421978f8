"""Many jobs in few numbers: groups by a value, with mean and deviation; and which of several values is best."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from foundations_tui.store.rows import json_value
from foundations_tui.text import humanize
from remote_agent.protocol.wire import JsonTable


@dataclass(frozen=True)
class Spread:
    """The numbers of one column over a group."""

    count: int
    mean: float
    deviation: float
    """Sample standard deviation; 0 of one number."""
    min: float
    max: float

    @property
    def words(self) -> str:
        """The mean and how far the numbers lie from it."""
        return f"{self.mean:.5g}" + (f" ±{humanize.rounded(self.deviation)}" if self.count > 1 else "")


@dataclass(frozen=True)
class Group:
    """Jobs that share a value."""

    value: Any
    jobs: int
    columns: list[Spread | None]
    """One for each further column; None where no job has a number."""

    def to_json(self, by: str, names: Sequence[str]) -> JsonTable:
        """Return it as ``--json`` prints it."""
        spreads = zip(names, self.columns, strict=True)
        return {
            "group": {by: json_value(self.value)},
            "jobs": self.jobs,
            "columns": {name: None if spread is None else json_value(dict(vars(spread))) for name, spread in spreads},
        }


def group(rows: Sequence[Sequence[Any]]) -> list[Group]:
    """Group rows by their first value: numbers in order, then text, then what has none.

    Args:
        rows: one a job: the value it is grouped by, then the columns.
    """
    members: dict[str, list[Sequence[Any]]] = {}
    for row in rows:
        members.setdefault(json.dumps(row[0], sort_keys=True), []).append(row)
    groups = [Group(part[0][0], len(part), _columns(part)) for part in members.values()]
    return sorted(groups, key=lambda one: _order(one.value))


def _order(value: Any) -> tuple[int, float, str]:
    if value is None:
        return 2, 0.0, ""
    return (0, _float(value), "") if is_number(value) else (1, 0.0, json.dumps(value))


def _columns(rows: list[Sequence[Any]]) -> list[Spread | None]:
    return [spread(column) for column in list(zip(*rows, strict=True))[1:]]


def spread(values: Sequence[Any]) -> Spread | None:
    """Return the spread of the numbers among values, infinities included; None when there is none."""
    numbers = [_float(v) for v in values if is_number(v)]
    if not numbers:
        return None
    if any(map(math.isinf, numbers)):
        mean = sum(number for number in numbers if math.isinf(number))  # inf, -inf, or of both NaN
        return Spread(len(numbers), mean, math.nan, min(numbers), max(numbers))
    try:
        mean, deviation = statistics.fmean(numbers), statistics.stdev(numbers) if len(numbers) > 1 else 0.0
    except OverflowError:
        mean, deviation = math.inf, math.inf  # the sum of the largest floats is none
    return Spread(len(numbers), mean, deviation, min(numbers), max(numbers))


def is_number(value: Any) -> bool:
    """Return whether a value is a number and no truth value; infinities are numbers, NaN alone is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def is_finite(value: Any) -> bool:
    """Return whether a value is a number that can be compared and drawn; an integer beyond all floats is none."""
    return is_number(value) and math.isfinite(_float(value))


def mean(numbers: Sequence[float]) -> float:
    """Return the mean of finite numbers; of some at the edge of all floats, whose sum is none, the largest."""
    try:
        return math.fsum(number / len(numbers) for number in numbers)
    except OverflowError:
        return max(numbers, key=abs)


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer of very many digits
        return math.inf if value > 0 else -math.inf


def best(values: Sequence[Any], direction: str) -> int | None:
    """Return the index of the best of some values; None when none is a number.

    Args:
        values: numbers and what is none.
        direction: "min" or "max".
    """
    numbers = [(_float(value), index) for index, value in enumerate(values) if is_number(value)]
    if not numbers:
        return None
    return min(numbers)[1] if direction == "min" else min((-value, index) for value, index in numbers)[1]
