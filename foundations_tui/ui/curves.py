"""Curves of metrics, from the store to what a chart shows; read in the store's thread. No widgets."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from foundations_tui import charts
from foundations_tui.store import queries
from foundations_tui.store.rows import CurvePoint
from foundations_tui.ui.look import LOOK
from foundations_tui.ui.widgets.chart import Line

X_NAMES = ("step", "time", "clock")
"""What the x axis can be: steps, seconds since the first value, the time of day."""


@dataclass(frozen=True)
class How:
    """How charts are drawn."""

    x: str = "step"
    log: bool = False
    smooth: float = 0.0
    """Weight of what came before, 0 to below 1 (exponential moving average)."""


@dataclass(frozen=True)
class JobOfChart:
    """A job whose curves are drawn."""

    job: str
    attempt: int
    label: str
    number: int
    """Its colour and marker."""


def lines(conn: sqlite3.Connection, key: str, jobs: Sequence[JobOfChart], how: How) -> list[Line]:
    """Return a metric's curves of some jobs."""
    found = []
    for one in jobs:
        points = queries.curve(conn, one.job, one.attempt, key)
        shown = [point for point in points if point.last is not None]
        if shown:
            colour, marker = LOOK.curve(one.number)
            values = [point.last or 0.0 for point in shown]
            if how.smooth:
                values = _smoothed(conn, (one.job, one.attempt, key), shown, how.smooth)
            odd = sum(point.odd for point in points)
            found.append(Line(one.label, colour, marker, _curve(shown, values, how), values, odd))
    return found


def _curve(points: list[CurvePoint], values: list[float], how: How) -> charts.Curve:
    if how.x == "step":
        xs: list[float] = [point.step_max for point in points]
    else:
        zero = points[0].time_min if how.x == "time" else 0.0
        xs = [point.time_max - zero for point in points]
    if how.smooth:
        return charts.Curve(xs, values, values)
    return charts.Curve(xs, [point.min or 0.0 for point in points], [point.max or 0.0 for point in points])


_Series = tuple[str, int, str]
"""Job, attempt, key."""
_smoothed_before: dict[tuple[_Series, float, int], list[float]] = {}
"""What was smoothed already: a long series is read as a whole for it."""
_MOST_KEPT = 64


def _smoothed(conn: sqlite3.Connection, series: _Series, points: list[CurvePoint], weight: float) -> list[float]:
    """Return the mean of all values up to each place, those long past weighing less and less."""
    count = sum(point.count for point in points)
    found = _smoothed_before.get((series, weight, count))
    if found is None:
        values: Iterable[float | None] = (point.last for point in points)
        if count > len(points):
            values = queries.numbers(conn, *series)
        found = means_at(values, [point.count for point in points], weight)
        while len(_smoothed_before) >= _MOST_KEPT:
            del _smoothed_before[next(iter(_smoothed_before))]
        _smoothed_before[series, weight, count] = found
    return found


def means_at(values: Iterable[float | None], counts: Sequence[int], weight: float) -> list[float]:
    """Return the exponential moving mean behind each run of values.

    The first values are not pulled towards 0: the mean is divided by the sum of its weights, as TensorBoard does.

    Args:
        values: in order; None is passed over.
        counts: how many values each run has.
        weight: of what came before, 0 to below 1.
    """
    found, mean, known = [], 0.0, 0.0
    source = iter(values)
    for count in counts:
        for value in itertools.islice(source, count):
            if value is not None:
                mean = mean * weight + value * (1 - weight)
                known = known * weight + (1 - weight)
        found.append(mean / known if known else 0.0)
    return found


def sparkline(values: Sequence[float | None], cells: int) -> str:
    """Return numbers as a line of blocks; the largest of those that share a cell."""
    known = [value for value in values if value is not None]
    if not known or cells < 1:
        return ""
    low, high = min(known), max(known)
    blocks = "_.-=oO@#" if LOOK.ascii else "▁▂▃▄▅▆▇█"
    cells = min(cells, len(values))
    found = []
    for cell in range(cells):
        part = [v for v in values[cell * len(values) // cells : (cell + 1) * len(values) // cells] if v is not None]
        share = (max(part) - low) / (high - low) if part and high > low else 0.0
        found.append(blocks[min(7, int(share * 8))] if part else " ")
    return "".join(found)
