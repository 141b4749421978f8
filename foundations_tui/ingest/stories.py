"""Telling the stories of jobs anew when something has come of them: read here, made by ``analysis.stories``, kept.

The last lines of a log are read for jobs that run; listings only read what was kept.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from foundations_tui.analysis.stories import jobs as job_stories, siblings, sweeps, trouble
from foundations_tui.analysis.stories.jobs import Known, Line, NotFinite
from foundations_tui.analysis.stories.siblings import Members
from foundations_tui.config import locations
from foundations_tui.ingest import log_patterns
from foundations_tui.store import queries, sparse, stories
from foundations_tui.store.db import Store
from foundations_tui.store.rows import JobRow
from foundations_tui.store.stories import Broken, Due
from foundations_tui.text import story as told
from foundations_tui.text.story import Story

_log = logging.getLogger(__name__)
_AT_ONCE = 500
"""Jobs that are told in one round; what is older waits for the next one."""
_TAIL_BYTES = 1 << 16
_MOST_LINES = 400
_MOST_SIBLINGS = 2000
"""Jobs of a sweep up to which they are compared."""
_MOST_SPIKES = 40
"""Metrics in which a jump is looked for."""
_MEASURING = ("running", "completed")
"""States in which it is told that a metric is no number any more."""
_one_at_a_time = threading.Lock()


def refresh(store: Store) -> None:
    """Tell the stories anew of what has come since they were told.

    Args:
        store: open for writing.
    """
    with _one_at_a_time:
        due = stories.due(store.conn, _AT_ONCE)
        if due:
            _Telling(store, time.time()).run(due)


@dataclass
class _Sweep:
    """The jobs of a sweep, and what is said of all of them."""

    rows: list[JobRow] = field(default_factory=list)
    members: Members = field(default_factory=lambda: Members(()))
    metric: str = ""
    """The one by which they are compared; empty for none."""
    direction: str = "min"
    ranks: Mapping[str, tuple[int, int]] = field(default_factory=dict)


class _Telling:
    """One round."""

    def __init__(self, store: Store, now: float) -> None:
        self._store = store
        self._conn: sqlite3.Connection = store.conn
        self._now = now
        self._directions: dict[str, dict[str, str]] = {}
        self._sweeps: dict[str, _Sweep] = {}

    def run(self, due: Sequence[Due]) -> None:
        """Tell of jobs, and of the sweeps that they belong to."""
        groups = stories.groups_of(self._conn, [one.job for one in due])
        for group in groups:
            if stories.size_of_group(self._conn, group) <= _MOST_SIBLINGS:
                self._sweeps[group] = self._sweep(group)
        rows = {row.job: row for sweep in self._sweeps.values() for row in sweep.rows}
        others = queries.jobs_by_id(self._conn, [one.job for one in due if one.job not in rows])
        rows.update((row.job, row) for row in others)
        made = [(one, rows[one.job], self._told(rows[one.job])) for one in due if one.job in rows]
        already = {one.job for one in due}
        made += [told for sweep in self._sweeps.values() for told in self._of_siblings(sweep, already)]
        stories.put(self._store, made)
        for group, sweep in self._sweeps.items():
            stories.put_sweep(self._store, group, sweeps.tell(sweep.members, sweep.metric, sweep.direction, self._now))

    def _told(self, row: JobRow) -> Story | None:
        try:
            broken = stories.broken(self._conn, row.job, row.attempt) if row.state in _MEASURING else []
            if broken and row.story is not None and _tells(row.story, broken[0]):
                return row.story  # what jumped before is not looked for again
            return job_stories.tell(self._known(row, broken[0] if broken else None), self._now)
        except (ArithmeticError, ValueError, TypeError):  # a story is never worth a sync
            _log.exception("no story could be told", extra={"action": "story", "job": row.job})
            return None

    def _known(self, row: JobRow, broken: Broken | None) -> Known:
        directions = self._of_project(row.project)
        sweep = self._sweeps.get(row.group, _Sweep())
        main = job_stories.main_metric(list(row.metrics), directions)
        known = Known(
            row,
            directions=directions,
            not_finite=self._not_finite(row, broken) if broken is not None else None,
            alike=sweep.members.failed_alike(job_stories.sibling(row)) if row.state == "failed" else None,
            rank=sweep.ranks.get(row.job) if main == sweep.metric else None,
        )
        return self._with_what_runs(known, main) if row.state == "running" else known

    def _with_what_runs(self, known: Known, main: str) -> Known:
        """Add what is asked of a job that runs: its log's end, which way its metric moves, how silent it is."""
        row = known.row
        known = replace(known, lines=tail(row.job, row.attempt))
        if main:
            trend = stories.last_values(self._conn, row.job, row.attempt, main, job_stories.TREND)
            known = replace(known, trend=trend)
        if row.stalled_since is not None:
            heard_at = stories.heard_at(self._conn, row.host)
            known = replace(known, heard_at=heard_at, usual_gap=stories.usual_gap(self._conn, row.job, row.attempt))
        return known

    def _of_project(self, project: str) -> dict[str, str]:
        if project not in self._directions:
            self._directions[project] = queries.directions(self._conn, project)
        return self._directions[project]

    def _sweep(self, group: str) -> _Sweep:
        rows = queries.jobs_of_group(self._conn, group)
        directions = self._of_project(rows[0].project)
        metric = next((key for key in directions if any(key in row.metrics for row in rows)), "")
        direction = directions.get(metric, "min")
        members = [job_stories.sibling(row, metric, direction) for row in rows]
        ranks = siblings.ranks([(one.job, one.value) for one in members if one.state != "failed"], direction)
        return _Sweep(rows, Members(members), metric, direction, ranks)

    def _of_siblings(self, sweep: _Sweep, already: Collection[str]) -> list[tuple[Due, JobRow, Story | None]]:
        """Tell of the other jobs of a sweep whose story has become another one: their place, who failed as they did."""
        made: list[tuple[Due, JobRow, Story | None]] = []
        for row in sweep.rows:
            if row.job in already or row.story is None:
                continue
            if row.story.code == told.FAILED:
                again = self._told(row)
            else:
                again = _with_rank(row.story, sweep.metric, sweep.ranks.get(row.job))
            if again is not None and again.params != row.story.params:
                made.append((Due(row.job, 0), row, again))
        return made

    def _not_finite(self, row: JobRow, first: Broken) -> NotFinite:
        """Return a metric that is no number any more, with what jumped just before."""
        keys = [key for key in row.metrics if not key.startswith("system/")][:_MOST_SPIKES]
        most = trouble.USUAL + trouble.MOST_JUST_BEFORE
        points = stories.points_before(self._conn, row.job, row.attempt, keys, first.time, most)
        before = {key: [point for point in series if point[0] < first.step] for key, series in points.items()}
        return NotFinite(first.key, first.value, first.step, trouble.spike(before, first.step))


def _tells(story: Story, broken: Broken) -> bool:
    """Return whether a story tells of a break already, and of what jumped before it."""
    said = [story.params.get(name) for name in ("key", "value", "step")]
    return story.code == told.NOT_FINITE and said == [broken.key, broken.value, broken.step] and "spike" in story.params


def _with_rank(story: Story, metric: str, rank: tuple[int, int] | None) -> Story:
    """Return a story with the place that its job has now."""
    measured = story.params.get("metric")
    if not measured or measured["key"] != metric:
        return story
    place = {"place": rank[0], "of": rank[1]} if rank else None
    return Story(story.code, {**story.params, "metric": {**measured, "rank": place}}, story.evidence, story.at)


def tail(job: str, attempt: int) -> list[Line]:
    """Return the last lines of an attempt's log, as a person reads them."""
    path = locations.log_file(job, attempt)
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            pages = list(sparse.pages(file.fileno(), max(0, size - _TAIL_BYTES), _TAIL_BYTES))
    except OSError:
        return []
    if not pages:
        return []
    begin, data = pages[-1]
    lines: list[Line] = []
    for line in data.split(b"\n"):
        text = log_patterns.as_read(line)
        if text.strip():
            lines.append(Line(begin, text))
        begin += len(line) + 1
    return lines[-_MOST_LINES:]
