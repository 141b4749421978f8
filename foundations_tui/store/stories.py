"""The stories of jobs and sweeps in the store: which are to be told anew, from what, and as they were told.

Triggers count in ``jobs.story_due`` what has come of a job since its story was told: whoever writes, nothing is missed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from foundations_tui.store import search, series
from foundations_tui.store.db import Store
from foundations_tui.store.rows import JobRow, stored_json
from foundations_tui.text import story
from foundations_tui.text.story import Story


@dataclass(frozen=True)
class Due:
    """A job whose story is to be told anew."""

    job: str
    count: int
    """How many times something came since; 0 for one of which only time has passed."""


def due(conn: sqlite3.Connection, most: int) -> list[Due]:
    """Return the jobs of which something has come, the newest first, and those that have gone silent.

    Args:
        conn: a connection of the store.
        most: how many of the former.
    """
    changed = "SELECT job, story_due FROM jobs WHERE story_due > 0 ORDER BY created_at DESC LIMIT ?"
    found = {row[0]: Due(row[0], row[1]) for row in conn.execute(changed, [most])}
    silent = (
        "SELECT j.job FROM jobs j JOIN hosts h ON h.name = j.host LEFT JOIN activity a ON a.job = j.job"
        f" WHERE j.state = 'running' AND {search.STALLED_SINCE} IS NOT NULL"
    )
    for (job,) in conn.execute(silent):
        found.setdefault(job, Due(job, 0))
    return list(found.values())


def put(store: Store, told: Iterable[tuple[Due, JobRow, Story | None]]) -> None:
    """Keep what jobs tell; one of which more has come meanwhile stays due.

    Args:
        store: open for writing.
        told: the job, as it was when its story was made, and that.
    """
    with store.transaction() as conn:
        for one, row, made in told:
            if made is None:
                conn.execute("DELETE FROM stories WHERE job = ?", [row.job])
            else:
                values = [row.job, row.attempt, row.state, made.stored()]
                conn.execute("INSERT OR REPLACE INTO stories VALUES (?, ?, ?, ?)", values)
            conn.execute("UPDATE jobs SET story_due = 0 WHERE job = ? AND story_due = ?", [one.job, one.count])


def put_sweep(store: Store, group: str, made: Story | None) -> None:
    """Keep what a sweep tells."""
    with store.transaction() as conn:
        if made is None:
            conn.execute("DELETE FROM sweep_stories WHERE group_name = ?", [group])
        else:
            conn.execute("INSERT OR REPLACE INTO sweep_stories VALUES (?, ?)", [group, made.stored()])


def of_sweep(conn: sqlite3.Connection, group: str) -> Story | None:
    """Return what a sweep tells."""
    row = conn.execute("SELECT story FROM sweep_stories WHERE group_name = ?", [group]).fetchone()
    return story.read(row[0]) if row else None


def of_sweeps(conn: sqlite3.Connection) -> dict[str, Story]:
    """Return what all sweeps tell, by their names."""
    told = {row[0]: story.read(row[1]) for row in conn.execute("SELECT group_name, story FROM sweep_stories")}
    return {group: made for group, made in told.items() if made is not None}


def time_left(conn: sqlite3.Connection, host: str, now: float) -> dict[str, float]:
    """Return how long the running jobs of a host still take as they tell, seconds, by job; none where no job waits.

    Args:
        conn: a connection of the store.
        host: whose jobs.
        now: seconds since the epoch.
    """
    query = (
        "SELECT j.job, t.story FROM jobs j JOIN stories t ON t.job = j.job AND t.attempt = j.attempt"
        " WHERE j.host = ?1 AND j.state = 'running'"
        " AND EXISTS (SELECT 1 FROM jobs WHERE host = ?1 AND state = 'queued')"
    )
    read = ((job, story.read(stored)) for job, stored in conn.execute(query, [host]))
    left = {job: story.time_left(told, now) for job, told in read if told is not None}
    return {job: seconds for job, seconds in left.items() if seconds is not None}


def usual_gap(conn: sqlite3.Connection, job: str, attempt: int) -> float | None:
    """Return how long an attempt is usually silent, seconds; None where too little is known."""
    row = conn.execute("SELECT gaps FROM activity WHERE job = ? AND attempt = ?", [job, attempt]).fetchone()
    gaps = sorted(stored_json(row[0])) if row else []
    return float(gaps[len(gaps) // 2]) if len(gaps) >= 3 else None


def heard_at(conn: sqlite3.Connection, host: str) -> float | None:
    """Return when a host last said how long its streams are, seconds since the epoch."""
    row = conn.execute("SELECT sizes_at FROM hosts WHERE name = ?", [host]).fetchone()
    return row[0] if row else None


@dataclass(frozen=True)
class Broken:
    """A metric whose last value is no number."""

    key: str
    value: str
    step: int
    """Since when."""
    time: float


def broken(conn: sqlite3.Connection, job: str, attempt: int) -> list[Broken]:
    """Return the metrics that are no numbers any more, the first of them first."""
    names = "'NaN', 'Infinity', '-Infinity'"
    query = f"SELECT key, id, last FROM series WHERE job = ? AND attempt = ? AND last IN ({names})"
    found = []
    for key, identity, last in conn.execute(query, [job, attempt]).fetchall():
        since = _since(conn, identity)
        if since is not None:
            found.append(Broken(key, last, *since))
    return sorted(found, key=lambda one: (one.step, one.key))


def _since(conn: sqlite3.Connection, identity: int) -> tuple[int, float] | None:
    """Return (step, time) of the first point behind the last finite one."""
    place = "time, writer, offset"
    finite = (
        f"SELECT {place} FROM points WHERE series = ? AND typeof(value) != 'text'"
        " ORDER BY time DESC, writer DESC, offset DESC LIMIT 1"
    )
    last = conn.execute(finite, [identity]).fetchone() or (float("-inf"), -1, -1)
    query = f"SELECT step, time FROM points WHERE series = ? AND ({place}) > (?, ?, ?) ORDER BY {place} LIMIT 1"
    row = conn.execute(query, [identity, *last]).fetchone()
    return None if row is None or row[0] is None else (int(row[0]), row[1])


def points_before(
    conn: sqlite3.Connection, job: str, attempt: int, keys: Sequence[str], time: float, most: int
) -> dict[str, list[tuple[int, float]]]:
    """Return the last finite points of metrics up to a moment, in order: (step, value).

    Args:
        conn: a connection of the store.
        job: whole id.
        attempt: which of its attempts.
        keys: which metrics.
        time: seconds since the epoch.
        most: points of each.
    """
    found: dict[str, list[tuple[int, float]]] = {}
    for key in keys:
        query = (
            "SELECT p.step, p.value FROM series s JOIN points p ON p.series = s.id"
            " WHERE s.key = ? AND s.job = ? AND s.attempt = ? AND p.time <= ?"
            " ORDER BY p.time DESC, p.writer DESC, p.offset DESC LIMIT ?"
        )
        rows = conn.execute(query, [key, job, attempt, time, most]).fetchall()
        found[key] = [
            (int(step or 0), number)
            for step, value in reversed(rows)
            if not isinstance(value, str) and (number := series.number_of(series.from_column(value))) is not None
        ]
    return found


def last_values(conn: sqlite3.Connection, job: str, attempt: int, key: str, most: int) -> list[float]:
    """Return the last finite values of a metric, in order."""
    return [value for _, value in points_before(conn, job, attempt, [key], float("inf"), most)[key]]


def groups_of(conn: sqlite3.Connection, jobs: Sequence[str]) -> list[str]:
    """Return the sweeps that jobs belong to."""
    marks = ",".join("?" * len(jobs))
    query = f"SELECT DISTINCT group_name FROM jobs WHERE job IN ({marks}) AND group_name != ''"
    return [row[0] for row in conn.execute(query, list(jobs))]


def size_of_group(conn: sqlite3.Connection, group: str) -> int:
    """Return how many jobs a sweep has."""
    return int(conn.execute("SELECT COUNT(*) FROM jobs WHERE group_name = ?", [group]).fetchone()[0])
