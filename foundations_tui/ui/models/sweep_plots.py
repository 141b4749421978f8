"""A sweep as pictures: each parameter against a metric, and all parameters beside each other. No widgets."""

from __future__ import annotations

import dataclasses
import json
import math
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from foundations_tui.analysis import braille
from foundations_tui.analysis.aggregate import best, is_number
from foundations_tui.store import queries
from foundations_tui.store.rows import JobRow
from foundations_tui.text import humanize
from foundations_tui.ui.models.jobs_table import JobsView
from foundations_tui.ui.models.plot import ChartLine, Plot
from foundations_tui.ui.theme import LOOK

_MOST_JOBS = 500
_MOST_TICKS = 8
_MOST_AXES = 10
_LOG_FROM = 16
"""Ratio of largest to smallest value from which an axis is logarithmic."""
_QUARTERS = ("worst quarter", "third quarter", "second quarter", "best quarter")
_BY_VALUE = ("lowest quarter", "second quarter", "third quarter", "highest quarter")
"""When nobody said which way the metric gets better."""


@dataclass(frozen=True)
class Sweep:
    """Jobs with different parameters, and what came of them."""

    jobs: list[JobRow]
    params: list[str]
    """Those that are not the same everywhere."""
    metric: str
    direction: str
    """"min" or "max"; empty when it is not known, and then the last values count."""
    results: list[float]
    """One a job."""
    left_out: int = 0
    """How many jobs have no number of the metric."""

    @property
    def title(self) -> str:
        """The metric and which of its values counts."""
        return f"{self.metric} ({self.direction or 'last'})"

    def count(self, shown: int) -> str:
        """How many jobs a picture has, and how many it cannot have."""
        left_out = len(self.jobs) + self.left_out - shown
        return humanize.plural(shown, "job") + (f", {left_out} without a value" if left_out else "")


def members(conn: sqlite3.Connection, jobs: Sequence[str], view: JobsView) -> list[str]:
    """Return the ids of the jobs of a sweep, 500 at most.

    Args:
        conn: reads the store.
        jobs: whole ids; one alone stands for the sweep it belongs to, or else for all of the view.
        view: of the jobs.
    """
    if len(jobs) > 1:
        return list(jobs)[:_MOST_JOBS]
    groups = [row.group for row in queries.jobs_by_id(conn, jobs, details=False) if row.group]
    which = view.filter(conn)
    if groups:
        which = dataclasses.replace(which, group=groups[0])
    return queries.ordered_ids(conn, which, view.sort, _MOST_JOBS)


def read(conn: sqlite3.Connection, jobs: Sequence[str], metric: str) -> Sweep:
    """Return those of some jobs that have a metric.

    Args:
        conn: reads the store.
        jobs: whole ids.
        metric: which.
    """
    direction = queries.directions(conn).get(metric, "")
    results = [(row, _result(row, metric, direction)) for row in queries.jobs_by_id(conn, jobs)]
    measured = [(row, value) for row, value in results if value is not None]
    rows = [row for row, _ in measured]
    return Sweep(
        rows, _varying(rows), metric, direction, [value for _, value in measured], len(results) - len(measured)
    )


def _result(row: JobRow, metric: str, direction: str) -> float | None:
    summary = row.metrics.get(metric)
    value: Any = None if summary is None else getattr(summary, direction or "last")
    return float(value) if is_number(value) else None


def _params(row: JobRow) -> Mapping[str, Any]:
    return {**row.args, **row.params}


def _varying(rows: Sequence[JobRow]) -> list[str]:
    keys = dict.fromkeys(key for row in rows for key in _params(row))
    values = {key: [json.dumps(_params(row)[key]) for row in rows if key in _params(row)] for key in keys}
    return [key for key, column in values.items() if len(set(column)) > 1 and len(column) * 2 > len(rows)]


class _Axis:
    """Where values lie: numbers as they are or by their logarithm, all else in a row."""

    def __init__(self, values: Sequence[Any]) -> None:
        self._is_number = all(is_number(value) and _is_finite(value) for value in values)
        numbers = sorted(set(values)) if self._is_number else []
        self.is_log = bool(numbers) and numbers[0] > 0 and numbers[-1] >= _LOG_FROM * numbers[0]
        self._names = [] if self._is_number else sorted({_shown(value) for value in values})
        self._known = numbers

    def place(self, value: Any) -> float:
        """Return where a value lies."""
        if not self._is_number:
            return float(self._names.index(_shown(value)))
        return math.log10(value) if self.is_log else float(value)

    @property
    def span(self) -> braille.Span:
        """Where the axis begins and ends."""
        if not self._is_number:
            return 0.0, max(1.0, len(self._names) - 1.0)
        low, high = self.place(self._known[0]), self.place(self._known[-1])
        room = max(abs(low) / 2, 0.5)
        return (low, high) if high > low else (max(low - room, -braille.LARGEST), min(high + room, braille.LARGEST))

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Where something is written, and what: each value where they are few, else the ends."""
        if not self._is_number:
            return [(float(n), name) for n, name in enumerate(self._names)]
        shown = self._known if len(self._known) <= _MOST_TICKS else [self._known[0], self._known[-1]]
        return [(self.place(value), _shown(value)) for value in shown]

    @property
    def ends(self) -> str:
        """Its first and last value."""
        labels = [label for _, label in self.ticks]
        return f"{labels[0]}..{labels[-1]}"

    def share(self, value: Any) -> float:
        """Return where a value lies, 0 to 1."""
        return braille.share(self.place(value), *self.span)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer of very many digits
        return False


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if is_number(value) and _is_finite(value):
        return _brief(value)
    return value if value and isinstance(value, str) else json.dumps(value)


def _brief(value: float) -> str:
    return humanize.number(float(f"{value:.4g}"))


def scatter(sweep: Sweep, param: str, selected: str | None) -> Plot:
    """Return a metric over a parameter: a mark for each job, the best and the selected one by themselves."""
    measured = zip(sweep.jobs, sweep.results, strict=True)
    pairs = [(row, _params(row)[param], result) for row, result in measured if param in _params(row)]
    axis = _Axis([value for _, value, _ in pairs])
    points = [(axis.place(value), result) for _, value, result in pairs]
    lines = [_marks(sweep.count(len(points)), 0, points)]
    winner = best([result for _, _, result in pairs], sweep.direction) if sweep.direction else None
    chosen = next((n for n, (row, _, _) in enumerate(pairs) if row.job == selected), None)
    for number, words_, color in ((chosen, "", 4), (winner, "best: ", 2)):
        if number is not None:
            row, value, result = pairs[number]
            label = f"{words_}{row.job[:6]} {row.label}  {param} {_shown(value)}  {_brief(result)}"
            lines.append(_marks(label, color, [points[number]]))
    return Plot(lines, axis.span, axis.ticks)


def _marks(label: str, number: int, points: Sequence[tuple[float, float]]) -> ChartLine:
    color, marker = LOOK.curve(number)
    xs, values = [x for x, _ in points], [value for _, value in points]
    return ChartLine(label, color, marker, braille.Curve(xs, values, values, joined=False), (), marks=True)


def parallel(sweep: Sweep) -> Plot:
    """Return a line for each job through an axis for each parameter and one for the metric, colored by quarters."""
    if not sweep.jobs or not sweep.params:
        return Plot()
    params = sweep.params[: _MOST_AXES - 1]
    axes = [_Axis([_params(row)[param] for row in sweep.jobs if param in _params(row)]) for param in params]
    last = _Axis(sweep.results)
    order = sorted(range(len(sweep.jobs)), key=lambda n: sweep.results[n], reverse=sweep.direction == "min")
    lines = []
    for quarter, name in enumerate(_QUARTERS if sweep.direction else _BY_VALUE):
        part = order[quarter * len(order) // 4 : (quarter + 1) * len(order) // 4]
        ys: list[float] = []
        for number in part:
            row = sweep.jobs[number]
            by_name = _params(row)
            ys += [axis.share(by_name[p]) if p in by_name else math.nan for axis, p in zip(axes, params, strict=True)]
            ys += [last.share(sweep.results[number]), math.nan]
        if part:
            color, marker = LOOK.curve((5, 1, 0, 2)[quarter])
            xs = [float(n) for n in range(len(axes) + 2)] * len(part)
            results = [sweep.results[number] for number in part]
            label = f"{name}  {_brief(min(results))} to {_brief(max(results))}"
            lines.append(ChartLine(label, color, marker, braille.Curve(xs, ys, ys), ()))
    names = [f"{param} {axis.ends}" for param, axis in zip(params, axes, strict=True)] + [f"{sweep.metric} {last.ends}"]
    return Plot(lines, (0.0, float(len(axes))), [(float(n), name) for n, name in enumerate(names)], uprights=True)
