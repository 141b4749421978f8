"""Requests as MLflow's scoring servers take them (mlflow.org, "Deploy MLflow Model as a Local Inference Server")."""

from __future__ import annotations

import csv
import io
import re
from typing import Any, Dict, List, Sequence

from foundations_serve import signature
from foundations_serve.errors import BadInput
from foundations_serve.loaders import ONE_INPUT, Inputs
from foundations_serve.requests import parsed

_FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")


def inputs_of(body: bytes, content_type: str) -> Inputs:
    """Return the inputs of a request.

    Args:
        body: JSON in one of four forms, or CSV with a first line of names.
        content_type: which of both, by its media type.
    Raises:
        BadInput: it makes no sense.
    """
    if content_type.partition(";")[0].strip().lower() in ("text/csv", "application/csv"):
        return _of_csv(body)
    told = parsed(body)
    forms = [form for form in _FORMS if isinstance(told, dict) and form in told]
    if len(forms) != 1:
        raise BadInput(f"the body must be an object with one of {', '.join(_FORMS)}")
    value = told[forms[0]]
    if forms[0] == "dataframe_split":
        return _of_split(value)
    if isinstance(value, dict):
        return signature.inputs_of(value)
    if not isinstance(value, list):
        raise BadInput(f"{forms[0]} must be a list")
    if value and all(isinstance(row, dict) for row in value):
        return inputs_of_records(value)
    return {ONE_INPUT: signature.as_input(value)}


def _of_csv(body: bytes) -> Inputs:
    try:
        rows = list(csv.reader(io.StringIO(body.decode("utf-8-sig"))))
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"the body is no CSV: {error}") from None
    rows = [row for row in rows if row]
    if not rows:
        raise BadInput("the body is empty")
    return columns_of(rows[0], [[number(word) for word in row] for row in rows[1:]])


def _of_split(value: Any) -> Inputs:
    if not isinstance(value, dict) or not isinstance(value.get("columns"), list):
        raise BadInput("dataframe_split must be an object with columns and data")
    return columns_of([str(name) for name in value["columns"]], value.get("data"))


def inputs_of_records(rows: List[Dict[str, Any]]) -> Inputs:
    """Return rows that are tables as inputs: one a name, in whatever order each row has them.

    Raises:
        BadInput: they have different names.
    """
    names = list(rows[0])
    if any(row.keys() != rows[0].keys() for row in rows):
        raise BadInput("the rows must all have the same names")
    return columns_of(names, [[row[name] for name in names] for row in rows])


def columns_of(names: Sequence[str], rows: Any) -> Inputs:
    """Return a table as inputs: one a column.

    Raises:
        BadInput: it is no table.
    """
    if not isinstance(rows, list) or any(not isinstance(row, list) or len(row) != len(names) for row in rows):
        raise BadInput(f"each row must be a list of {len(names)} values")
    if len(set(names)) != len(names):
        raise BadInput("two columns have one name")
    return {name: signature.as_input([row[place] for row in rows]) for place, name in enumerate(names)}


_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]*)\Z")
_DECIMAL = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?\Z")


def number(word: str) -> Any:
    """Return a word of CSV as the number that it is; else as it is: 007 and 1_000 are texts."""
    if _WHOLE.match(word):
        return int(word) if len(word) < 4000 else word
    is_padded = word.lstrip("+-").startswith("0") and word.lstrip("+-")[1:2].isdigit()
    return float(word) if _DECIMAL.match(word) and not is_padded else word
