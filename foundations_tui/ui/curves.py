"""Curves of metrics, from the store to what a chart shows; read in the store's thread. No widgets."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
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
    label: str
    number: int
    """Its colour and marker."""


def keys(conn: sqlite3.Connection, jobs: Sequence[str]) -> list[str]:
    """Return the metrics of some jobs, those of most jobs first."""
    marks = ",".join("?" * len(jobs))
    query = f"SELECT key FROM series WHERE job IN ({marks}) GROUP BY key ORDER BY COUNT(DISTINCT job) DESC, key"
    return [str(row[0]) for row in conn.execute(query, list(jobs))]


def lines(conn: sqlite3.Connection, key: str, jobs: Sequence[JobOfChart], how: How) -> list[Line]:
    """Return a metric's curves of some jobs."""
    found = []
    for one in jobs:
        attempt = conn.execute("SELECT attempt FROM jobs WHERE job = ?", [one.job]).fetchone()
        points = queries.curve(conn, one.job, attempt[0], key) if attempt else []
        shown = [point for point in points if point.last is not None]
        if shown:
            colour, marker = LOOK.curve(one.number)
            odd = sum(point.odd for point in points)
            found.append(Line(one.label, colour, marker, _curve(shown, how), _values(shown, how), odd))
    return found


def _curve(points: list[CurvePoint], how: How) -> charts.Curve:
    if how.x == "step":
        xs: list[float] = [point.step_max for point in points]
    else:
        zero = points[0].time_min if how.x == "time" else 0.0
        xs = [point.time_max - zero for point in points]
    if how.smooth:
        values = _values(points, how)
        return charts.Curve(xs, values, values)
    return charts.Curve(xs, [point.min or 0.0 for point in points], [point.max or 0.0 for point in points])


def _values(points: list[CurvePoint], how: How) -> list[float]:
    """Return the last value of each place, smoothed; the first values are not pulled towards 0."""
    values, mean, weight = [], 0.0, 0.0
    for point in points:
        keep = how.smooth**point.count
        mean = mean * keep + (point.last or 0.0) * (1 - keep)
        weight = weight * keep + (1 - keep)
        values.append(mean / weight if weight else point.last or 0.0)
    return values if how.smooth else [point.last or 0.0 for point in points]


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
