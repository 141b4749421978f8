"""The named queries: what the CLI, the terminal app and the SDK read. Each is one function; none writes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from foundations_tui.errors import NotFoundError, UsageError
from foundations_tui.store.rows import (
    HostRow,
    HostSample,
    JobRow,
    JobSample,
    MetricRow,
    MetricSummary,
    ProjectRow,
    StreamRow,
)

FINAL = ("completed", "failed", "stopped", "lost")
SORTS = {
    "created": "j.created_at DESC",
    "started": "j.started_at DESC",
    "ended": "j.ended_at DESC",
    "name": "j.name",
    "project": "j.project, j.created_at DESC",
    "host": "j.host, j.created_at DESC",
    "state": "j.state, j.created_at DESC",
    "duration": "(COALESCE(j.ended_at, unixepoch()) - j.started_at) DESC",
}
"""What ``--sort`` takes, and the order it means; the last tie is always broken by the id."""
SHORTEST = 6
_LONGEST_ID = 64
"""Least characters of a job's id that are shown or taken."""

_JOB = (
    "SELECT j.*, h.last_contact AS data_as_of, h.unreachable_since AS unreachable_since"
    " FROM jobs j LEFT JOIN hosts h ON h.name = j.host"
)


@dataclass(frozen=True)
class JobFilter:
    """Which jobs are meant; an empty field means all."""

    states: tuple[str, ...] = ()
    host: str = ""
    project: str = ""

    def where(self) -> tuple[str, list[Any]]:
        """Return the SQL condition and its arguments."""
        parts, args = ["1"], list[Any]()
        if self.states:
            parts.append(f"j.state IN ({_marks(self.states)})")
            args += self.states
        for column, value in (("j.host", self.host), ("j.project", self.project)):
            if value:
                parts.append(f"{column} = ?")
                args.append(value)
        return " AND ".join(parts), args


def jobs(
    conn: sqlite3.Connection,
    which: JobFilter = JobFilter(),  # noqa: B008 - frozen
    sort: str = "created",
    limit: int = 0,
    offset: int = 0,
    details: bool = True,
) -> list[JobRow]:
    """Return jobs in order.

    Args:
        conn: a connection of the store.
        which: which jobs.
        sort: a key of SORTS.
        limit: most rows; 0 for all.
        offset: how many rows to pass over.
        details: with params, metrics and tags.
    """
    where, args = which.where()
    found = conn.execute(
        f"{_JOB} WHERE {where} ORDER BY {SORTS[sort]}, j.rowid DESC LIMIT ? OFFSET ?", [*args, limit or -1, offset]
    ).fetchall()
    return _rows(conn, found, details)


def count_jobs(conn: sqlite3.Connection, which: JobFilter = JobFilter()) -> int:  # noqa: B008 - frozen
    """Return how many jobs there are."""
    where, args = which.where()
    return int(conn.execute(f"SELECT COUNT(*) FROM jobs j WHERE {where}", args).fetchone()[0])


def position(conn: sqlite3.Connection, job_id: str) -> int | None:
    """Return where a job stands among all, newest first; None when there is no such job."""
    found = conn.execute("SELECT created_at, rowid FROM jobs WHERE job = ?", [job_id]).fetchone()
    if found is None:
        return None
    query = "SELECT COUNT(*) FROM jobs WHERE (created_at, rowid) > (?, ?)"
    return int(conn.execute(query, tuple(found)).fetchone()[0])


def job(conn: sqlite3.Connection, job_id: str) -> JobRow:
    """Return one job by its whole id.

    Raises:
        NotFoundError: there is none.
    """
    found = conn.execute(f"{_JOB} WHERE j.job = ?", [job_id]).fetchall()
    if not found:
        raise NotFoundError(f"there is no job {job_id}")
    return _rows(conn, found, True)[0]


def spec(conn: sqlite3.Connection, job_id: str) -> dict[str, Any]:
    """Return a job's specification as its host has it.

    Raises:
        NotFoundError: there is no such job.
    """
    row = conn.execute("SELECT spec FROM jobs WHERE job = ?", [job_id]).fetchone()
    if row is None:
        raise NotFoundError(f"there is no job {job_id}")
    found: dict[str, Any] = json.loads(row["spec"])
    return found


def find(conn: sqlite3.Connection, words: str) -> JobRow:
    """Return the job that a user means; see ``resolve``."""
    return job(conn, resolve(conn, words))


def resolve(conn: sqlite3.Connection, words: str) -> str:
    """Return the id of the job that a user means: an id, a prefix of one, a unique name, @last or @last-failed.

    Raises:
        NotFoundError: no job is meant. UsageError: several are.
    """
    if words in ("@last", "@last-failed"):
        states = "AND state = 'failed'" if words == "@last-failed" else ""
        row = conn.execute(f"SELECT job FROM jobs WHERE 1 {states} ORDER BY created_at DESC, rowid DESC").fetchone()
        if row is None:
            raise NotFoundError("there is no such job yet", "foundations jobs lists them")
        return str(row[0])
    if conn.execute("SELECT 1 FROM jobs WHERE job = ?", [words]).fetchone():
        return words
    named = [str(row[0]) for row in conn.execute("SELECT job FROM jobs WHERE name = ? LIMIT 20", [words])]
    if len(named) == 1:
        return named[0]
    prefixed: list[str] = []
    if SHORTEST <= len(words) <= _LONGEST_ID:
        pattern = words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        query = "SELECT job FROM jobs WHERE job LIKE ? ESCAPE '\\' ORDER BY job LIMIT 20"
        prefixed = [str(row[0]) for row in conn.execute(query, [pattern])]
    if len(prefixed) == 1 and not named:
        return prefixed[0]
    several = named or prefixed
    if several:
        what = "are named" if named else "begin with"
        raise UsageError(f"several jobs {what} {words!r}: {', '.join(several[:8])}", "give more of the id")
    if len(words) < SHORTEST:
        raise NotFoundError(f"there is no job {words!r}", f"give at least {SHORTEST} characters of its id, or its name")
    raise NotFoundError(f"there is no job {words!r}", "foundations jobs lists them; foundations sync asks the hosts")


def short_ids(conn: sqlite3.Connection, ids: Iterable[str]) -> dict[str, str]:
    """Return each id's shortest prefix that no other job of the store shares."""
    shortened = {}
    for job_id in ids:
        row = conn.execute(
            "SELECT (SELECT MAX(job) FROM jobs WHERE job < ?1), (SELECT MIN(job) FROM jobs WHERE job > ?1)", [job_id]
        ).fetchone()
        shared = max(_common(job_id, other) for other in row)
        shortened[job_id] = job_id[: max(SHORTEST, shared + 1)]
    return shortened


def hosts(conn: sqlite3.Connection) -> dict[str, HostRow]:
    """Return the hosts that were ever asked, by name."""
    counts: dict[str, dict[str, int]] = {}
    query = "SELECT host, state, COUNT(*) FROM jobs WHERE state IN ('queued', 'preparing', 'running') GROUP BY 1, 2"
    for name, state, number in conn.execute(query):
        kind = "queued" if state == "queued" else "running"
        counts.setdefault(name, {}).setdefault(kind, 0)
        counts[name][kind] += number
    return {row["name"]: _host(row, counts.get(row["name"], {})) for row in conn.execute("SELECT * FROM hosts")}


def projects(conn: sqlite3.Connection) -> list[ProjectRow]:
    """Return the projects, the one with the newest job first."""
    query = (
        "SELECT project, COUNT(*), SUM(state IN ('preparing', 'running')), SUM(state IN ('submitting', 'queued')),"
        " SUM(state = 'completed'), SUM(state IN ('failed', 'lost')), MAX(created_at)"
        " FROM jobs GROUP BY project ORDER BY 7 DESC"
    )
    return [ProjectRow(*row) for row in conn.execute(query)]


def metrics(conn: sqlite3.Connection, job_id: str, attempt: int, key: str = "") -> list[MetricRow]:
    """Return the values of a job's metrics, as they were logged."""
    condition, args = ("AND key = ?", [key]) if key else ("", [])
    query = f"SELECT key, step, value, time FROM metrics WHERE job = ? AND attempt = ? {condition}"
    return [MetricRow(*row) for row in conn.execute(query + " ORDER BY time, writer, offset", [job_id, attempt, *args])]


def streams(conn: sqlite3.Connection, job_id: str) -> list[StreamRow]:
    """Return how far a job's streams are replicated."""
    query = "SELECT job, attempt, name, offset, size FROM streams WHERE job = ?"
    return [StreamRow(*row) for row in conn.execute(query, [job_id])]


def job_samples(conn: sqlite3.Connection, job_id: str, attempt: int) -> list[JobSample]:
    """Return what an attempt used over time."""
    query = "SELECT time, cpus, ram, gpu, gpu_memory FROM job_samples WHERE job = ? AND attempt = ? ORDER BY offset"
    return [JobSample(*row) for row in conn.execute(query, [job_id, attempt])]


def host_samples(conn: sqlite3.Connection, host: str, since: float) -> list[HostSample]:
    """Return what a host used since a moment."""
    query = "SELECT time, load, ram, disk_free, gpus FROM host_samples WHERE host = ? AND time >= ? ORDER BY time"
    return [
        HostSample(row[0], row[1], row[2], row[3], json.loads(row[4])) for row in conn.execute(query, [host, since])
    ]


def groups(conn: sqlite3.Connection, group: str) -> list[str]:
    """Return the hosts that have unfinished jobs of a group."""
    query = "SELECT DISTINCT host FROM jobs WHERE group_name = ? AND state IN ('queued', 'preparing', 'running')"
    return [row[0] for row in conn.execute(query, [group])]


def ended(conn: sqlite3.Connection, which: JobFilter, before: float) -> list[JobRow]:
    """Return the jobs that ended before a moment and whose folder on the host still stands, oldest first."""
    where, args = which.where()
    query = (
        f"{_JOB} WHERE {where} AND j.pruned = 0 AND j.attempt > 0 AND j.state IN ({_marks(FINAL)})"
        " AND COALESCE(j.ended_at, 0) < ? ORDER BY j.ended_at"
    )
    return _rows(conn, conn.execute(query, [*args, *FINAL, before]).fetchall(), False)


def changed_since(conn: sqlite3.Connection, moment: float) -> list[JobRow]:
    """Return the jobs that ended, as far as this client noticed, after a moment; oldest first."""
    query = f"{_JOB} WHERE j.noticed_at > ? AND j.state IN ({_marks(FINAL)}) ORDER BY j.noticed_at"
    return _rows(conn, conn.execute(query, [moment, *FINAL]).fetchall(), True)


def meta(conn: sqlite3.Connection, key: str) -> str | None:
    """Return one remembered value."""
    row = conn.execute("SELECT value FROM meta WHERE key = ?", [key]).fetchone()
    return None if row is None else str(row[0])


# --- inside -----------------------------------------------------------------------------------------------------


def _rows(conn: sqlite3.Connection, found: list[sqlite3.Row], details: bool) -> list[JobRow]:
    extra = _Details(conn, [(row["job"], row["attempt"]) for row in found]) if details else None
    return [_row(row, extra) for row in found]


def _row(row: sqlite3.Row, extra: _Details | None) -> JobRow:
    job_id = row["job"]
    spec = json.loads(row["spec"])
    return JobRow(
        job=job_id,
        host=row["host"],
        project=row["project"],
        name=row["name"],
        owner=row["owner"],
        state=row["state"],
        reason_code=row["reason_code"],
        reason=row["reason"],
        exit_code=row["exit_code"],
        attempt=row["attempt"],
        command=json.loads(row["command"]),
        snapshot=row["snapshot"],
        gpus_requested=row["gpus_requested"],
        gpus=json.loads(row["gpus"]),
        created_at=row["created_at"],
        queued_at=row["queued_at"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        stop_requested_by=row["stop_requested_by"],
        cpus=row["cpus"],
        gpu_memory=spec.get("gpu_memory", 0),
        signal=row["signal"],
        cause=json.loads(row["cause"] or "{}"),
        usage=json.loads(row["usage"] or "{}"),
        priority=row["priority"],
        group=row["group_name"],
        after=spec.get("after", []),
        after_any=spec.get("after_any", []),
        time_limit=spec.get("time_limit", 0.0),
        retries=spec.get("retries", 0),
        attempts=json.loads(row["attempts"]),
        starts_at=row["starts_at"] if row["state"] == "queued" else None,
        outputs=json.loads(row["outputs"]) if row["outputs"] else None,
        pruned=bool(row["pruned"]),
        client=row["client"] or "",
        complete=bool(row["complete"]),
        data_as_of=row["data_as_of"],
        unreachable_since=row["unreachable_since"],
        params=extra.params.get(job_id, {}) if extra else {},
        metrics=extra.metrics.get(job_id, {}) if extra else {},
        tags=extra.tags.get(job_id, {}) if extra else {},
    )


class _Details:
    """Params, metrics and tags of some jobs, a few queries for all of them."""

    def __init__(self, conn: sqlite3.Connection, ids: list[tuple[str, int]]) -> None:
        self.params: dict[str, dict[str, Any]] = {}
        self.tags: dict[str, dict[str, Any]] = {}
        self.metrics: dict[str, dict[str, MetricSummary]] = {}
        attempts = dict(ids)
        for start in range(0, len(ids), 500):
            page = [job_id for job_id, _ in ids[start : start + 500]]
            marks = _marks(page)
            for table, target in (("params", self.params), ("tags", self.tags)):
                query = f"SELECT job, key, value FROM {table} WHERE job IN ({marks}) ORDER BY job, time, key"
                for job_id, key, value in conn.execute(query, page):
                    target.setdefault(job_id, {})[key] = json.loads(value)
            query = f"SELECT job, attempt, key, last, min, max, count, step FROM metric_summary WHERE job IN ({marks})"
            for job_id, attempt, key, *numbers in conn.execute(query, page):
                if attempt == attempts[job_id]:
                    self.metrics.setdefault(job_id, {})[key] = MetricSummary(*numbers)


def _host(row: sqlite3.Row, counts: dict[str, int]) -> HostRow:
    return HostRow(
        name=row["name"],
        resources=json.loads(row["resources"] or "{}"),
        problems=json.loads(row["problems"] or "[]"),
        last_contact=row["last_contact"],
        error=row["error"],
        unreachable_since=row["unreachable_since"],
        running=counts.get("running", 0),
        queued=counts.get("queued", 0),
        python=row["python"],
        agent_version=row["agent_version"],
    )


def _common(a: str, b: str | None) -> int:
    if b is None:
        return 0
    count = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        count += 1
    return count


def _marks(values: Sequence[Any]) -> str:
    return ",".join("?" * len(values))
