"""Curves of metrics, from the store to what a chart shows; read in the store's thread. No widgets."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from foundations_tui.analysis import aggregate, braille
from foundations_tui.store import queries
from foundations_tui.store.rows import CurvePoint
from foundations_tui.store.series import LONG
from foundations_tui.ui.models.plot import ChartLine, Plot
from foundations_tui.ui.theme import LOOK

_Series = tuple[str, int, str]
"""Job, attempt, key."""
_MOST_POINTS = 20_000
"""Most points to draw one by one in a part of a long series."""
_MOST_DRAWN = 4 * LONG
"""Most points of all jobs to read for a whole chart; longer series are read from their rollups."""
_FINEST = 512
"""Points of a series to draw: about as many as a wide chart has dots from left to right."""
X_NAMES = ("step", "time", "clock")
"""What the x axis can be: steps, seconds since the first value, the time of day."""


@dataclass(frozen=True)
class ChartOptions:
    """How charts are drawn."""

    x: str = "step"
    log: bool = False
    smooth: float = 0.0
    """Weight of what came before, 0 to below 1 (exponential moving average)."""
    window: tuple[float, float] = (0.0, 1.0)
    """Which part of the x axis is shown, as shares of all of it."""


@dataclass(frozen=True)
class JobOfChart:
    """A job whose curves are drawn."""

    job: str
    attempt: int
    label: str
    number: int
    """Its color and marker."""
    until: float | None = None
    """Its last moment that is shown, seconds since the epoch by the clock of its host; None for all."""


@dataclass(frozen=True)
class _Part:
    """A metric of a job: that of its last attempt, which begins with what it took over from those before."""

    series: _Series
    points: list[CurvePoint]
    zero: float
    """Where its x axis begins."""
    seams: list[CurvePoint]
    """The first points of later attempts."""


def plot(conn: sqlite3.Connection, key: str, jobs: Sequence[JobOfChart], how: ChartOptions) -> Plot:
    """Return a metric's curves of some jobs, and from where to where they are shown."""
    most = max(LONG, _MOST_DRAWN // max(1, len(jobs)))
    parts = [(job, part) for job in jobs if (part := _part(conn, job, key, how, most)) is not None]
    xs = [x for _, part in parts for x in _xs(part.points, part.zero, how)]
    if not xs:
        return Plot()
    left, right = min(xs), max(xs)
    span = left + (right - left) * how.window[0], left + (right - left) * how.window[1]
    return Plot([_line(conn, job, part, how, span) for job, part in parts], span)


def _part(conn: sqlite3.Connection, job: JobOfChart, key: str, how: ChartOptions, most: int) -> _Part | None:
    """Return a metric of a job, None when it has no numbers."""
    attempts = queries.attempts_with(conn, job.job, key) if job.attempt > 1 else [job.attempt]
    attempts = [attempt for attempt in attempts if attempt <= job.attempt]
    if not attempts:
        return None
    series = (job.job, attempts[-1], key)
    finest = _FINEST if how.window == (0.0, 1.0) else most
    points = merged(_until(conn, series, queries.curve(conn, *series, most), job.until), finest)
    if not any(point.last is not None for point in points):
        return None
    zero = points[0].time_min if how.x == "time" else 0.0
    later = [queries.first_own(conn, job.job, attempt, key) for attempt in attempts[1:]]
    return _Part(series, _from_start(conn, series, points), zero, [point for point in later if point is not None])


def _until(
    conn: sqlite3.Connection, series: _Series, points: list[CurvePoint], moment: float | None
) -> list[CurvePoint]:
    """Return the points that there were at a moment; of sums that go on behind it each of those before."""
    if moment is None or all(point.time_max <= moment for point in points):
        return points
    since = min((point.time_min for point in points if point.time_min <= moment < point.time_max), default=moment)
    kept = [point for point in points if point.time_max < since or point.time_max <= moment == since]
    return [*kept, *queries.curve_between(conn, *series, (since, moment))] if since < moment else kept


def merged(points: list[CurvePoint], most: int) -> list[CurvePoint]:
    """Return points merged until a chart has room for them.

    Args:
        points: in order.
        most: how many there may be.
    """
    each = -(-len(points) // most)
    if each <= 1:
        return points
    return [_sum(points[first : first + each]) for first in range(0, len(points), each)]


def _sum(points: list[CurvePoint]) -> CurvePoint:
    finite = [point for point in points if point.last is not None]
    return CurvePoint(
        count=sum(point.count for point in points),
        min=min((point.min for point in finite if point.min is not None), default=None),
        max=max((point.max for point in finite if point.max is not None), default=None),
        last=finite[-1].last if finite else None,
        step_min=min(point.step_min for point in points),
        step_max=max(point.step_max for point in points),
        time_min=points[0].time_min,
        time_max=points[-1].time_max,
        non_finite=sum(point.non_finite for point in points),
    )


def _from_start(conn: sqlite3.Connection, series: _Series, points: list[CurvePoint]) -> list[CurvePoint]:
    """Return a series with every point of its beginning: there most happens, and a sum stands where it ends."""
    first = points[0]
    if first.count == 1:
        return points
    each = queries.curve_between(conn, *series, (first.time_min, first.time_max))
    return [*each[: first.count], *points[1:]]


def _line(conn: sqlite3.Connection, job: JobOfChart, part: _Part, how: ChartOptions, span: braille.Span) -> ChartLine:
    color, marker = LOOK.curve(job.number)
    curve, values, times = _shown(conn, part, how, span)
    return ChartLine(
        label=job.label,
        color=color,
        marker=marker,
        curve=curve,
        values=values,
        mean=_mean(curve, values),
        non_finite=sum(point.non_finite for point in part.points),
        non_finite_at=_xs([point for point in part.points if point.non_finite], part.zero, how),
        seams=_xs(part.seams, part.zero, how),
        job=job.job,
        times=times,
    )


_MEANS = 96
"""Points of the line through a band: each is the mean of what lies there."""


def _mean(curve: braille.Curve, values: Sequence[float]) -> braille.Curve | None:
    """Return the line through the middle of a curve that has too many values, or spans, to be one."""
    each = len(values) // _MEANS
    if each < 2 and all(low == high for low, high in zip(curve.lows, curve.highs, strict=True)):
        return None
    each = max(1, each)
    middles = [
        value if low == high else low / 2 + high / 2
        for low, high, value in zip(curve.lows, curve.highs, values, strict=True)
    ]
    parts = [slice(first, first + each) for first in range(0, len(values), each)]
    xs = [aggregate.mean(curve.xs[part]) for part in parts]
    means = [aggregate.mean(middles[part]) for part in parts]
    return braille.Curve(xs, means, means)


def _shown(
    conn: sqlite3.Connection, part: _Part, how: ChartOptions, span: braille.Span
) -> tuple[braille.Curve, list[float], list[float]]:
    """Return what is seen of a metric, its values there and their times."""
    points = [point for point in part.points if point.last is not None]
    values = [point.last or 0.0 for point in points]
    if how.smooth:
        values = _smoothed(conn, part.series, points, how.smooth)
    elif how.window != (0.0, 1.0):
        near = _within(points, _xs(points, part.zero, how), span)
        if sum(point.count for point in points[near]) <= _MOST_POINTS:
            points = _each(conn, part.series, points[near])
            values = [point.last or 0.0 for point in points]
    xs = _xs(points, part.zero, how)
    near = _within(points, xs, span)
    points, values, xs = points[near], values[near], xs[near]
    times = [point.time_max for point in points]
    if how.smooth:
        return braille.Curve(xs, values, values), values, times
    return braille.Curve(xs, [p.min or 0.0 for p in points], [p.max or 0.0 for p in points]), values, times


def _each(conn: sqlite3.Connection, series: _Series, points: list[CurvePoint]) -> list[CurvePoint]:
    """Return every point of what stands summed up."""
    if not any(point.count > 1 for point in points):
        return points
    job, attempt, key = series
    times = min(point.time_min for point in points), max(point.time_max for point in points)
    return [point for point in queries.curve_between(conn, job, attempt, key, times) if point.last is not None]


def _within(points: list[CurvePoint], xs: list[float], span: braille.Span) -> slice:
    """Return which points are seen, with a neighbour at either side: lines to them go over the edge."""
    inside = [n for n, x in enumerate(xs) if span[0] <= x <= span[1]]
    if inside:
        return slice(max(0, inside[0] - 1), inside[-1] + 2)
    before = max((n for n, x in enumerate(xs) if x < span[0]), default=len(points))
    return slice(before, before + 2)


def _xs(points: list[CurvePoint], zero: float, how: ChartOptions) -> list[float]:
    if how.x == "step":
        return [float(point.step_max) for point in points]
    return [point.time_max - zero for point in points]


_smoothed_before: dict[tuple[_Series, float, tuple[int, ...]], list[float]] = {}
"""What was smoothed already: a long series is read as a whole for it."""
_MOST_KEPT = 64


def _smoothed(conn: sqlite3.Connection, series: _Series, points: list[CurvePoint], weight: float) -> list[float]:
    """Return the mean of all values up to each place, those long past weighing less and less."""
    counts = tuple(point.count - point.non_finite for point in points)
    means = _smoothed_before.get((series, weight, counts))
    if means is None:
        values: Iterable[float | None] = (point.last for point in points)
        if sum(counts) > len(points):
            values = (value for value in queries.numbers(conn, *series) if value is not None)
        means = means_at(values, counts, weight)
        while len(_smoothed_before) >= _MOST_KEPT:
            del _smoothed_before[next(iter(_smoothed_before))]
        _smoothed_before[series, weight, counts] = means
    return means


def means_at(values: Iterable[float | None], counts: Sequence[int], weight: float) -> list[float]:
    """Return the exponential moving mean behind each run of values.

    The first values are not pulled towards 0: the mean is divided by the sum of its weights, as TensorBoard does.

    Args:
        values: in order; None is passed over.
        counts: how many values each run has.
        weight: of what came before, 0 to below 1.
    """
    means, mean, weights = [], 0.0, 0.0
    source = iter(values)
    for count in counts:
        for value in itertools.islice(source, count):
            if value is not None:
                mean = mean * weight + value * (1 - weight)
                weights = weights * weight + (1 - weight)
        means.append(mean / weights if weights else 0.0)
    return means


def sparkline(values: Sequence[float | None], cells: int, total: float | None = None) -> str:
    """Return numbers as a line of blocks; the largest of those that share a cell.

    Args:
        values: in order; None where nothing was measured.
        cells: how many.
        total: of what they are a part, from 0; None to draw them between their own bounds.
    """
    finite = [value for value in values if value is not None]
    if not finite or cells < 1:
        return ""
    low, high = (min(finite), max(finite)) if total is None else (0.0, max(total, *finite, 1e-9))
    blocks = "_.-=oO@#" if LOOK.ascii else "▁▂▃▄▅▆▇█"
    cells = min(cells, len(values))
    levels = []
    for cell in range(cells):
        part = [v for v in values[cell * len(values) // cells : (cell + 1) * len(values) // cells] if v is not None]
        share = braille.share(max(part), low, high) if part else 0.0
        levels.append(blocks[max(0, min(7, int(share * 8)))] if part else " ")
    return "".join(levels)
