"""Values of expressions as a table shows them, in a terminal and in the app. Pure."""

from __future__ import annotations

import json
from typing import Any

from foundations_tui.analysis.aggregate import Spread
from foundations_tui.store.expressions import FIELDS, Expression
from foundations_tui.text import humanize
from foundations_tui.text.sanitize import clip, one_line

WIDEST = 40
"""Cells of a name or value."""


def field_cell(expression: Expression, value: Any, short: dict[str, str], now: float) -> str:
    """Return a value as a table shows it: an id shortened, times in words.

    Args:
        expression: what it is the value of.
        value: None where a job has none.
        short: the short ids, by id.
        now: seconds since the epoch.
    """
    if value is None or expression.kind != "field":
        return cell(value)
    if expression.name == "job":
        return short.get(value, str(value))
    kind = FIELDS[expression.name].kind
    if kind == "duration":
        return humanize.duration(value)
    return humanize.ago(value, now) if kind == "time" else cell(value)


def cell(value: Any) -> str:
    """Return a value of a parameter, tag or metric as a table shows it."""
    if value is None:
        return ""
    if isinstance(value, Spread):
        return value.words
    if isinstance(value, bool | dict | list):
        return json.dumps(value, ensure_ascii=False)
    return clip(one_line(humanize.number(value)), WIDEST)
