"""What a page of charts shows: the curves of a few jobs, or a sweep, as read from the store. No widgets."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field

from foundations_tui.analysis.stories.jobs import by_importance
from foundations_tui.store import history, queries
from foundations_tui.store.rows import JobRow
from foundations_tui.text import humanize
from foundations_tui.ui.models import curves, sweep_plots
from foundations_tui.ui.models.curves import ChartOptions, JobOfChart
from foundations_tui.ui.models.jobs_table import JobsView
from foundations_tui.ui.models.plot import Plot
from foundations_tui.ui.pages import NOTHING_SELECTED
from foundations_tui.ui.theme import name_of

CURVES, PARALLEL = "curves", "parallel"
KINDS = (CURVES, "scatter", PARALLEL)
MOST_JOBS = 8
"""Jobs whose curves are drawn at once."""
_HOW = "foundations.log_metric() in the script, or [metrics] patterns in foundations.toml"


@dataclass(frozen=True)
class ChartRequest:
    """Which charts are to be shown."""

    kind: str = CURVES
    """One of KINDS."""
    jobs: tuple[str, ...] = ()
    """The chosen jobs; of curves the first MOST_JOBS are drawn."""
    view: JobsView = field(default_factory=JobsView)
    """The table that the jobs are of: a sweep may be all of it."""
    how: ChartOptions = field(default_factory=ChartOptions)
    name: str = ""
    """Only metrics with this in their name."""
    pins: tuple[str, ...] = ()
    """Metrics that come first."""
    first: int = 0
    """Number of the first metric."""
    charts: int = 1
    """How many there is room for."""
    moment: float | None = None
    """Curves go as far as they did then, seconds since the epoch; None for now."""


@dataclass(frozen=True)
class ChartPage:
    """The charts to show."""

    keys: list[str] = field(default_factory=list)
    """All metrics."""
    count: int = 0
    """How many charts there could be."""
    charts: Sequence[tuple[str, Plot]] = ()
    """Those that are shown: a title and what is below it."""
    about: str = ""
    """Which jobs that is."""
    nothing: str = NOTHING_SELECTED
    """Shown where there is nothing to draw."""


def read(conn: sqlite3.Connection, request: ChartRequest) -> ChartPage:
    """Return the charts that were asked for."""
    return _curves(conn, request) if request.kind == CURVES else _sweep(conn, request)


def _curves(conn: sqlite3.Connection, request: ChartRequest) -> ChartPage:
    jobs = request.jobs[:MOST_JOBS]
    rows, moment = queries.jobs_by_id(conn, list(jobs), details=False), request.moment
    until: dict[str, float] = {}
    if moment is not None:
        rows = history.jobs(conn, rows, moment)
        until = history.by_their_clocks(conn, rows, moment)
    if not rows:
        return ChartPage(nothing=NOTHING_SELECTED if moment is None else "there was no such job yet")
    labels = apart([row.label for row in rows])
    named = [
        JobOfChart(row.job, row.attempt, f"{row.job[:6]} {labels[n]}", jobs.index(row.job), until.get(row.job))
        for n, row in enumerate(rows)
    ]
    keys = _keys(conn, jobs, request)
    page = keys[request.first : request.first + request.charts]
    charts = [(key, curves.plot(conn, key, named, request.how)) for key in page]
    return ChartPage(keys, len(keys), charts, _about(rows, len(request.jobs)), _nothing(rows, request.name))


def _sweep(conn: sqlite3.Connection, request: ChartRequest) -> ChartPage:
    ids = sweep_plots.members(conn, list(request.jobs), request.view)
    keys = _keys(conn, ids, request)
    if request.first >= len(keys):
        return ChartPage(keys, nothing=_nothing([], request.name))
    sweep = sweep_plots.read(conn, ids, keys[request.first])
    nothing = "no parameter differs between these jobs"
    now = "" if request.moment is None else " as it is now,"
    if request.kind == PARALLEL:
        title = f"{sweep.title}{now} of {sweep.count(len(sweep.jobs))}"
        return ChartPage(keys, 1, [(title, sweep_plots.parallel(sweep))], nothing=nothing)
    chosen = request.jobs[0] if request.jobs else None
    charts = [
        (f"{sweep.title}{now} over {param}", sweep_plots.scatter(sweep, param, chosen))
        for param in sweep.params[: request.charts]
    ]
    return ChartPage(keys, len(sweep.params), charts, nothing=nothing)


def _keys(conn: sqlite3.Connection, jobs: Sequence[str], request: ChartRequest) -> list[str]:
    """Return the metrics in order: those that are pinned, then as people look for them."""
    keys = [key for key in queries.metric_keys(conn, list(jobs)) if request.name.lower() in key.lower()]
    pinned = [key for key in request.pins if key in keys]
    return [*pinned, *(key for key in by_importance(keys, queries.directions(conn)) if key not in pinned)]


def apart(labels: Sequence[str]) -> list[str]:
    """Return labels without what all of them begin with, up to the last word of that: what differs has to be seen."""
    common = os.path.commonprefix(list(labels)) if len(labels) > 1 else ""
    cut = max((match.end() for match in re.finditer(r"[^A-Za-z0-9.]+", common)), default=0)
    if cut <= _LONGEST_COMMON:
        return list(labels)
    return [f"…{label[cut:]}" for label in labels]


_LONGEST_COMMON = 8


def _about(rows: Sequence[JobRow], chosen: int) -> str:
    """Return how many jobs that are: their names stand below the curves, and a border that changes is drawn whole."""
    jobs = humanize.plural(max(chosen, len(rows)), "job")
    return f"{len(rows)} of {jobs}" if len(rows) < chosen else jobs


def _nothing(rows: Sequence[JobRow], name: str) -> str:
    """Return why there is no metric of some jobs, or none with this in its name."""
    if name:
        return f"no metric has {name} in its name"
    if len(rows) != 1:
        return f"none of {humanize.plural(len(rows), 'job')} has metrics: {_HOW}"
    if rows[0].is_final:
        return f"{name_of(rows[0])} has no metrics: {_HOW}"
    return f"{name_of(rows[0])} is {rows[0].state}: no metrics yet"
