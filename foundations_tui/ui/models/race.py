"""What the race shows: the jobs of a sweep as lanes, in the order in which they stand; read in the store's thread.

No widgets.
"""

from __future__ import annotations

import sqlite3
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from foundations_tui.analysis import aggregate, comparison, race
from foundations_tui.analysis.cells import cell
from foundations_tui.analysis.race import Entrant, Race, Standing
from foundations_tui.analysis.stories.jobs import main_metric
from foundations_tui.analysis.stories.siblings import is_seed
from foundations_tui.jobs.ownership import Actor
from foundations_tui.store import history, queries, stories
from foundations_tui.store.rows import JobRow
from foundations_tui.text import humanize, story as told
from foundations_tui.text.sanitize import clip, one_line, width
from foundations_tui.ui.models import curves
from foundations_tui.ui.models.curves import ChartOptions, JobOfChart, sparkline
from foundations_tui.ui.models.plot import Plot
from foundations_tui.ui.models.table import Column, TableRow, fitted
from foundations_tui.ui.theme import LOOK

_MOST_LANES = 300
_MOST_DRAWN = 8
"""Curves below the lanes: those of the first."""
_STEP_FROM = 20
"""Cells of a bar from which the step stands beside it."""
_WIDEST_FROM, _WIDE_FROM, _MIDDLE_FROM = 150, 120, 70
_STEPS_FROM = 46
"""Cells beside lane and value from which there is room for the step, too."""
_VALUE_CELLS = 15
"""Of a value with its spread."""
_MOST_KEPT = 2 * _MOST_LANES


@dataclass(frozen=True)
class Sweep:
    """A sweep, as it stands."""

    group: str = ""
    groups: Sequence[str] = ()
    """All sweeps, the newest first."""
    rows: dict[str, JobRow] = field(default_factory=dict)
    entrants: Sequence[Entrant] = ()
    race: Race = field(default_factory=lambda: Race((), None))
    metric: str = ""
    direction: str = ""
    """"min" or "max"; empty where nobody has said it: then its name decides."""
    varying: Sequence[str] = ()
    story: str = ""
    cut: int = 0
    """Lanes that are left out: there are too many."""
    plot: Plot = field(default_factory=Plot)
    marks: Mapping[str, int] = field(default_factory=dict)
    """The numbers of the colors and markers of the jobs whose curves are drawn."""


def read(
    conn: sqlite3.Connection,
    group: str,
    over_seeds: bool,
    actor: Actor,
    now: float,
    moment: float | None,
    before: Mapping[str, int] | None = None,
) -> Sweep:
    """Return a sweep, or the newest one where it is not named.

    Args:
        conn: reads the store.
        group: its id.
        over_seeds: jobs that differ only in their seed are one lane.
        actor: the user.
        now: seconds since the epoch.
        moment: as it stood then; None for now.
        before: the marks that curves had: those that are still drawn keep them, whatever their place is now.
    """
    groups = [row.group for row in queries.sweeps(conn)]
    if not groups:
        return Sweep()
    group = group if group in groups else groups[0]
    every = queries.jobs_of_group(conn, group)
    rows = every[-_MOST_LANES:]
    if moment is not None:
        rows, now = history.jobs(conn, rows, moment), moment
        if not rows:
            return Sweep(group, groups)
    directions = queries.directions(conn, rows[0].project)
    keys = list(dict.fromkeys(key for row in rows for key in row.metrics))
    metric = main_metric(keys, directions)
    varying = comparison.varying(rows)
    until = None if moment is None else history.by_their_clocks(conn, rows, moment)
    direction = directions.get(metric) or race.assumed(metric)
    entrants = _entrants(conn, rows, metric, direction, varying, actor, now, until)
    stands = race.race(entrants, direction, over_seeds)
    story = stories.of_sweep(conn, group)
    marks = _marks(stands, before or {}, [one.job for one in entrants])
    return Sweep(
        group,
        groups,
        rows={row.job: row for row in rows},
        entrants=entrants,
        race=stands,
        metric=metric,
        direction=directions.get(metric, ""),
        varying=varying,
        story=_story(told.words(story, now), stands) if story is not None else "",
        cut=len(every) - len(rows),
        plot=_plot(conn, stands, metric, varying, {row.job: row.attempt for row in rows}, until or {}, marks),
        marks=marks,
    )


def _story(words: str, stands: Race) -> str:
    """Return what a sweep tells; while it runs, the best value so far may not be that of the first lane."""
    return f"best so far: {words}" if stands.step is not None and words else words


def _entrants(
    conn: sqlite3.Connection,
    rows: Sequence[JobRow],
    metric: str,
    direction: str,
    varying: Sequence[str],
    actor: Actor,
    now: float,
    until: Mapping[str, float] | None,
) -> list[Entrant]:
    total = _steps_of_all(rows, metric)
    made = []
    for row in rows:
        steps, values = _series(conn, row, metric, None if until is None else until[row.job])
        share = _share(row, _last_step(row, metric), total)
        running = row.is_running
        made.append(
            Entrant(
                row.job,
                {key: row.params[key] for key in varying if key in row.params},
                running,
                is_out=(row.is_final and not row.has_completed) or not _is_finite(row, metric),
                is_own=actor.may_touch(row),
                share=share,
                left=_left(row, share, now) if running else None,
                gpus=len(row.gpus),
                steps=steps,
                values=values,
                best=_best(row, metric, direction) if until is None else None,
            )
        )
    return made


def _best(row: JobRow, metric: str, direction: str) -> float | None:
    """Return the best value of a job that has completed, of all that it ever had."""
    summary = row.metrics.get(metric)
    if summary is None or not row.has_completed:
        return None
    return summary.max if direction == "max" else summary.min


def _is_finite(row: JobRow, metric: str) -> bool:
    """Return whether the last value of a metric is a number that can be compared; so it is before there is one."""
    summary = row.metrics.get(metric)
    return summary is None or aggregate.is_finite(summary.last)


_series_before: dict[tuple[str, int, str], tuple[int, tuple[list[int], list[float]]]] = {}
"""The points of lanes, with how many there were: those that have ended are read once."""


def _series(conn: sqlite3.Connection, row: JobRow, metric: str, until: float | None) -> tuple[list[int], list[float]]:
    """Return (steps, values) of a job's metric, in order of its steps; the finite ones, up to a moment of its host."""
    summary = row.metrics.get(metric)
    if summary is None:
        return [], []
    key = (row.job, row.attempt, metric)
    known = _series_before.get(key)
    if until is None and known is not None and known[0] == summary.count:
        return known[1]
    points = [point for point in queries.curve(conn, *key) if until is None or point.time_max <= until]
    pairs = sorted((point.step_max, point.last) for point in points if point.last is not None)
    series = [step for step, _ in pairs], [value for _, value in pairs]
    if until is not None:
        return series
    while len(_series_before) >= _MOST_KEPT:
        del _series_before[next(iter(_series_before))]
    _series_before[key] = summary.count, series
    return series


def _steps_of_all(rows: Sequence[JobRow], metric: str) -> float:
    """Return how many steps a job of the sweep makes, as those say that know; 0 for unknown."""
    known = [_last_step(row, metric) / share for row in rows if (share := _told_share(row))]
    return statistics.median(known) if known else 0.0


def _last_step(row: JobRow, metric: str) -> int:
    summary = row.metrics.get(metric)
    return summary.step or 0 if summary is not None else 0


def _told_share(row: JobRow) -> float:
    """Return what a job has done of its steps, where it has completed or its log says so; else 0."""
    if row.has_completed:
        return 1.0
    params = _progress(row)
    return float(params.get("share") or 0.0) if params.get("total") else 0.0


def _progress(row: JobRow) -> Mapping[str, Any]:
    """Return what the story of a job says of its progress; nothing where it tells something else."""
    return row.story.params if row.story is not None and row.story.code == told.PROGRESS else {}


def _share(row: JobRow, step: int, total: float) -> float:
    """Return what a job has done of its steps: as its log says, else as far as the others go."""
    return _told_share(row) or (min(1.0, step / total) if total else 0.0)


def _left(row: JobRow, share: float, now: float) -> float | None:
    """Return how many seconds are left of a job that runs."""
    ends_at = _progress(row).get("ends_at")
    if isinstance(ends_at, int | float):
        return max(0.0, ends_at - now)
    ran = row.duration(now)
    return ran * (1 - share) / share if ran and share else None


def _drawn(stands: Race) -> list[Entrant]:
    """Return the jobs whose curves are drawn, the best first."""
    return [standing.jobs[0] for standing in stands.standings[:_MOST_DRAWN] if standing.place is not None]


def _marks(stands: Race, before: Mapping[str, int], lanes: Sequence[str] = ()) -> dict[str, int]:
    """Return a number for each curve: its lane's own, or where there are more lanes than numbers, the one that it had;
    who is new there takes one that is free."""
    jobs = [one.job for one in _drawn(stands)]
    if 0 < len(lanes) <= _MOST_DRAWN:
        return {job: lanes.index(job) for job in jobs}
    kept = {job: before[job] for job in jobs if job in before}
    free = iter([n for n in range(_MOST_DRAWN) if n not in kept.values()])
    return {job: kept[job] if job in kept else next(free) for job in jobs}


def _plot(
    conn: sqlite3.Connection,
    stands: Race,
    metric: str,
    varying: Sequence[str],
    attempts: Mapping[str, int],
    until: Mapping[str, float],
    marks: Mapping[str, int],
) -> Plot:
    drawn = []
    for one in _drawn(stands):
        name = " ".join(filter(None, _parts(one, varying)))
        drawn.append(JobOfChart(one.job, attempts[one.job], name, marks[one.job], until.get(one.job)))
    return curves.plot(conn, metric, drawn, ChartOptions()).settled() if drawn else Plot()


def _parts(one: Entrant, varying: Sequence[str]) -> list[str]:
    """Return what was given to a job of each thing that varies; its id where that is nothing."""
    given = [one_line(f"{key} {cell(one.given[key])}") if key in one.given else "" for key in varying]
    return given if any(given) else [one.job[:6]]


# --- lanes ------------------------------------------------------------------------------------------------------


def columns(sweep: Sweep, rows: Sequence[TableRow], room: int) -> Sequence[Column]:
    """Return the columns that fit, with no more room for the values than these rows need where others can have it."""
    shown = _columns(sweep, room)
    return fitted(shown, rows, {_value_title(sweep): _VALUE_CELLS}) if room >= _WIDEST_FROM else shown


def _columns(sweep: Sweep, room: int) -> Sequence[Column]:
    place = Column("#", 3, right=True)
    has_spread = any(one.spread is not None for one in sweep.race.standings)
    value = Column(_value_title(sweep), _VALUE_CELLS if room >= _WIDE_FROM or has_spread else 10, right=True)
    longest = max(map(width, _lane_names(sweep, _WIDEST_FROM)), default=8)
    lane = Column(" LANE", max(10, min(longest + 3, room * 2 // 5)))
    if room < _MIDDLE_FROM:
        return (place, lane, Column("PROGRESS", 0), value)
    if room < _WIDE_FROM:
        has_steps = room - lane.width - value.width >= _STEPS_FROM
        return (place, lane, Column("PROGRESS", 22 if has_steps else 16), Column("CURVE", 0), value)
    if room < _WIDEST_FROM:
        return (place, lane, Column("PROGRESS", 34), Column("CURVE", 0), value)
    return (place, lane, Column("PROGRESS", 34), Column("CURVE", 34), value, Column(" ABOUT", 0))


def _value_title(sweep: Sweep) -> str:
    return one_line(sweep.metric) or "VALUE"


def has_curves(room: int) -> bool:
    """Return whether a lane shows its curve, with the marker and the value that the chart has of it."""
    return room >= _MIDDLE_FROM


def rows(sweep: Sweep, room: int, now: float) -> list[TableRow]:
    """Return a row for each lane."""
    shown = _columns(sweep, room)
    cells = {column.title.strip(): column.width for column in shown}
    flexible = max(8, room - 4 - sum(column.width + 1 for column in shown))
    wide = {title: width or flexible for title, width in cells.items()}
    titles = [column.title.strip() for column in shown]
    lanes = zip(sweep.race.standings, _lane_names(sweep, wide["LANE"] - 3), strict=True)
    scale = _scale(sweep, wide.get("CURVE", 0) - 2)
    return [_row(standing, name, sweep, titles, wide, scale, now) for standing, name in lanes]


def _row(
    standing: Standing,
    name: str,
    sweep: Sweep,
    titles: Sequence[str],
    wide: dict[str, int],
    scale: tuple[int, int],
    now: float,
) -> TableRow:
    first = standing.jobs[0]
    row = sweep.rows[first.job]
    style = LOOK.style(row.shown_state)
    made: dict[str, Callable[[], tuple[str, str]]] = {
        "#": lambda: (str(standing.place or ""), "bold" if standing.place == 1 else "dim"),
        "LANE": lambda: (f" {LOOK.glyph(row.shown_state)} {name}", style),
        "PROGRESS": lambda: (_bar(standing, wide["PROGRESS"], _is_finite(row, sweep.metric)), style),
        "CURVE": lambda: _curve(standing, sweep.marks.get(first.job), _curve_cells(standing, *scale)),
        _value_title(sweep): lambda: _value(standing, row, sweep.metric),
        "ABOUT": lambda: (f" {row.about(now)}", "dim"),
    }
    cells = [made[title]() for title in titles]
    version = (standing.place, row.state)
    return TableRow(first.job, [text for text, _ in cells], [style for _, style in cells], version)


def _curve(standing: Standing, mark: int | None, cells: int) -> tuple[str, str]:
    """Return a lane's curve with the color and behind the marker that it has in the chart, where it is drawn there."""
    color, marker = LOOK.curve(mark) if mark is not None else ("dim", " ")
    return f"{marker} {sparkline(_pinned(standing.jobs[0].values), cells)}", color


def _scale(sweep: Sweep, room: int) -> tuple[int, int]:
    """Return the cells of the longest curve, and the step at which that ends."""
    longest = max((len(one.values) for one in sweep.entrants), default=0)
    return min(room, longest), max((one.steps[-1] for one in sweep.entrants if one.steps), default=0)


def _curve_cells(standing: Standing, longest: int, last: int) -> int:
    """Return how many cells a lane's curve takes: as far along the line as it is along the steps of the sweep."""
    steps = standing.jobs[0].steps
    return max(1, round(longest * steps[-1] / last)) if steps and last > 0 else longest


def _lane_names(sweep: Sweep, cells: int) -> list[str]:
    """Return what varies of each lane, one below the other; with single blanks where they would be cut otherwise."""
    names: list[list[str]] = []
    for standing in sweep.race.standings:
        count = len(standing.jobs)
        keys = [key for key in sweep.varying if count == 1 or not is_seed(key)]
        given = _parts(standing.jobs[0], keys)
        names.append([*given, f"({humanize.plural(count, 'seed')})"] if count > 1 else given)
    aligned = [list(column) for column in zip_longest(*names, fillvalue="")]
    for column in aligned:
        widest = max(map(width, column))
        column[:] = [part + " " * (widest - width(part)) for part in column]
    for gap in ("  ", " "):
        lanes = [gap.join(parts).rstrip() for parts in zip(*aligned, strict=True)]
        if all(width(lane) <= cells for lane in lanes):
            return lanes
    return [" ".join(filter(None, parts)) for parts in names]


def _value(standing: Standing, row: JobRow, metric: str) -> tuple[str, str]:
    """Return the value of a lane; of one without a place why it has none."""
    if standing.value is None:
        if row.is_final and not row.has_completed:
            return row.state, LOOK.style("failed")
        return ("" if _is_finite(row, metric) else str(row.metrics[metric].last)), LOOK.style("lost")
    spread = "" if standing.spread is None else f" {'+-' if LOOK.ascii else '±'}{humanize.rounded(standing.spread)}"
    return f"{humanize.rounded(standing.value, 4)}{spread}", "bold" if standing.place == 1 else ""


def _pinned(values: Sequence[float]) -> Sequence[float]:
    """Return values without the peak that a curve begins with: it would press all that follows against the floor."""
    if len(values) < 10:
        return values
    low, high = min(values), max(values)
    usual = statistics.quantiles(values, n=20)
    return [min(value, usual[-1]) for value in values] if high > low and high > usual[-1] else values


def _bar(standing: Standing, cells: int, is_finite: bool) -> str:
    """Return how far a lane is, and its last step, unless that was before what it measures became no number."""
    share = statistics.fmean(one.share for one in standing.jobs)
    step = max((one.steps[-1] for one in standing.jobs if one.steps and is_finite), default=None)
    percent = f" {share:>4.0%}" if share or step is None else "     "  # how many steps there are is not known
    words = percent + (f" {'' if step is None else humanize.count(step):>5}" if cells >= _STEP_FROM else "")
    room = max(3, cells - len(words) - 1)
    full = round(share * room)
    done, rest = ("#", ".") if LOOK.ascii else ("━", "╌")
    return clip(f"{done * full}{rest * (room - full)}{words}", cells)


def title(sweep: Sweep) -> str:
    """Return what stands above the lanes."""
    if not sweep.group or not sweep.rows:
        return "race"
    running = sum(one.is_running for one in sweep.entrants)
    parts = [f"race  {sweep.group}: {humanize.plural(len(sweep.entrants), 'job')}"]
    parts.append(
        f"{running} running"
        if running
        else "all have ended"
        if all(row.is_final for row in sweep.rows.values())
        else ""
    )
    if sweep.metric:
        better = "higher" if (sweep.direction or race.assumed(sweep.metric)) == "max" else "lower"
        way = f"{better} is better{'' if sweep.direction else ', assumed'}"
        at = f" at step {sweep.race.step:,}" if sweep.race.step is not None else ", the best of each"
        parts.append(f"{sweep.metric}{at} ({way})")
    parts.append(f"{sweep.cut} older ones left out" if sweep.cut else "")
    return "  ".join(part for part in parts if part)
