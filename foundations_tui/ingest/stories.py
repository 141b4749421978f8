"""Telling the stories of jobs anew when something has come of them: read here, made by ``analysis.stories``, kept.

The last lines of a log are read for jobs that run; listings only read what was kept.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from foundations_tui.analysis.stories import jobs as job_stories, siblings, sweeps, trouble
from foundations_tui.analysis.stories.jobs import Known, Line, NotFinite
from foundations_tui.analysis.stories.siblings import Sibling
from foundations_tui.config import locations
from foundations_tui.ingest import log_patterns
from foundations_tui.store import queries, sparse, stories
from foundations_tui.store.db import Store
from foundations_tui.store.rows import JobRow
from foundations_tui.store.stories import Due
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
_TREND = 20
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
    members: list[Sibling] = field(default_factory=list)
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
        rows = {row.job: row for row in stories.rows(self._conn, [one.job for one in due])}
        made = [(one, rows[one.job], self._told(rows[one.job])) for one in due if one.job in rows]
        made += [told for group in self._sweeps.values() for told in self._of_siblings(group, rows)]
        stories.put(self._store, made)
        for group, sweep in self._sweeps.items():
            stories.put_sweep(self._store, group, sweeps.tell(sweep.members, sweep.metric, sweep.direction, self._now))

    def _told(self, row: JobRow) -> Story | None:
        try:
            return job_stories.tell(self._known(row), self._now)
        except (ArithmeticError, ValueError, TypeError):  # a story is never worth a sync
            _log.exception("no story could be told", extra={"action": "story", "job": row.job})
            return None

    def _known(self, row: JobRow) -> Known:
        directions = self._of_project(row.project)
        sweep = self._sweeps.get(row.group, _Sweep())
        is_running = row.state == "running"
        main = job_stories.main_metric(list(row.metrics), directions)
        return Known(
            row,
            lines=tail(row.job, row.attempt) if is_running else (),
            directions=directions,
            trend=stories.last_values(self._conn, row.job, row.attempt, main, _TREND) if main and is_running else (),
            not_finite=self._not_finite(row) if row.state in ("running", "completed") else None,
            heard_at=stories.heard_at(self._conn, row.host),
            usual_gap=stories.usual_gap(self._conn, row.job, row.attempt),
            siblings=[one for one in sweep.members if one.job != row.job],
            rank=sweep.ranks.get(row.job) if main == sweep.metric else None,
        )

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
        return _Sweep(rows, members, metric, direction, ranks)

    def _of_siblings(self, sweep: _Sweep, already: Mapping[str, JobRow]) -> list[tuple[Due, JobRow, Story | None]]:
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

    def _not_finite(self, row: JobRow) -> NotFinite | None:
        """Return the first metric that is no number any more, and what jumped before; what was found once stays."""
        broken = stories.broken(self._conn, row.job, row.attempt)
        if not broken:
            return None
        first = broken[0]
        keys = [key for key in row.metrics if not key.startswith("system/")][:_MOST_SPIKES]
        most = trouble.USUAL + trouble.MOST_JUST_BEFORE
        points = stories.points_before(self._conn, row.job, row.attempt, keys, first.time, most)
        before = {key: [point for point in series if point[0] < first.step] for key, series in points.items()}
        return NotFinite(first.key, first.value, first.step, trouble.spike(before, first.step))


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
