"""The named queries: what the CLI, the terminal app and the SDK read. Each is one function; none writes."""

from __future__ import annotations

import math
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from foundations_tui.errors import NotFoundError, UsageError
from foundations_tui.store import expressions, search, series
from foundations_tui.store.rows import (
    FINAL_STATES,
    CurvePoint,
    HostRow,
    JobRow,
    JobSample,
    MetricRow,
    MetricSummary,
    ProjectRow,
    StreamRow,
    SweepRow,
    TransitionRow,
    stored_json,
)
from foundations_tui.text import humanize, story
from remote_agent.protocol.ends import PastAttempt, known_cause, known_usage
from remote_agent.protocol.wire import JsonTable

if TYPE_CHECKING:
    from remote_agent.protocol.facts import Facts, Package

FACTS = {"param": "params", "arg": "args", "tag": "tags", "artifact": "artifacts", "used": "uses"}
"""The kinds of facts, and what each is called of a job."""
FINAL_SQL = ", ".join(f"'{state}'" for state in FINAL_STATES)
_FALLING = ("created", "started", "ended", "duration", "priority")
"""Fields whose largest value comes first unless the user says otherwise."""
SHORTEST = 6
_LONGEST_ID = 64
"""Least characters of a job's id that are shown or taken."""

_JOB = (
    "SELECT j.*, h.last_contact AS data_as_of, h.unreachable_since AS unreachable_since,"
    f" {search.STALLED_SINCE} AS stalled_since, t.story AS story"
    " FROM jobs j LEFT JOIN hosts h ON h.name = j.host LEFT JOIN activity a ON a.job = j.job"
    " LEFT JOIN stories t ON t.job = j.job AND t.attempt = j.attempt AND t.state = j.state"
)


@dataclass(frozen=True)
class JobFilter:
    """Which jobs are meant; an empty field means all."""

    states: tuple[str, ...] = ()
    host: str = ""
    project: str = ""
    group: str = ""
    query: str = ""
    """In the language of docs/queries.md."""
    archived: bool = True
    """With those that are archived; a query that speaks of ``is:archived`` decides by itself."""
    trashed: bool = False
    """With those that are deleted; a query that speaks of ``is:trashed`` decides by itself."""
    directions: Mapping[str, str] = field(default_factory=dict)
    """"min" or "max" of metrics, for ``:best``."""
    created_until: float | None = None
    """Only those that there were at this moment, seconds since the epoch."""

    def where(self, conn: sqlite3.Connection) -> search.Sql:
        """Return the SQL condition over ``jobs j``.

        Raises:
            QueryError: the query cannot be understood.
        """
        parts = [search.Sql("1")]
        if self.states:
            parts.append(search.Sql(f"j.state IN ({_marks(self.states)})", self.states))
        for column, value in (("j.host", self.host), ("j.project", self.project), ("j.group_name", self.group)):
            if value:
                parts.append(search.Sql(f"{column} = ?", (value,)))
        if self.created_until is not None:
            parts.append(search.Sql("j.created_at <= ?", (self.created_until,)))
        if self.query.strip():
            condition = self.search(conn).where(self.query)
            parts.append(search.Sql(f"({condition.text})", condition.args))
        if not self.archived and "is:archived" not in self.query and "is:trashed" not in self.query:
            parts.append(search.Sql("j.archived = 0"))
        if not self.trashed and "is:trashed" not in self.query:
            parts.append(search.Sql("j.trashed = 0"))
        return search.Sql(" AND ".join(part.text for part in parts), tuple(a for part in parts for a in part.args))

    def search(self, conn: sqlite3.Connection) -> search.QueryCompiler:
        """Return what compiles expressions for these jobs."""
        return search.QueryCompiler(conn, self.directions)


ALL = JobFilter()


def jobs(
    conn: sqlite3.Connection,
    which: JobFilter = ALL,
    sort: str = "created",
    limit: int = 0,
    offset: int = 0,
    details: bool = True,
) -> list[JobRow]:
    """Return jobs in order.

    Args:
        conn: a connection of the store.
        which: which jobs.
        sort: an expression, with ``:asc`` or ``:desc``; ties go by the newest.
        limit: most rows; 0 for all.
        offset: how many rows to pass over.
        details: with params, metrics and tags.
    Raises:
        QueryError: the sort or the query cannot be understood.
    """
    # The ids first: to sort whole rows takes several times as long.
    ids = ordered_ids(conn, which, sort, limit, offset)
    return _of_ids(conn, ids, details)


def _of_ids(conn: sqlite3.Connection, ids: Sequence[str], details: bool) -> list[JobRow]:
    """Return jobs by their whole ids, in that order."""
    rows: dict[str, sqlite3.Row] = {}
    for start in range(0, len(ids), 500):
        page = ids[start : start + 500]
        for row in conn.execute(f"{_JOB} WHERE j.job IN ({_marks(page)})", page):
            rows[row["job"]] = row
    return _rows(conn, [rows[job_id] for job_id in ids if job_id in rows], details)


def sort_order(compiler: search.QueryCompiler, sort: str) -> search.Sql:
    """Return the ORDER BY of an expression with or without its way.

    Raises:
        QueryError: it cannot be understood.
    """
    if sort == "created":
        return search.Sql("j.created_at DESC, j.rowid DESC")  # as the index has it
    return compiler.order(*sort_way(sort)) + search.Sql(", j.created_at DESC, j.rowid DESC")


def sort_way(sort: str) -> tuple[expressions.Expression, bool]:
    """Return what a sort goes by, and whether the largest comes first.

    Raises:
        QueryError: it cannot be understood.
    """
    expression, descending = expressions.parse_sort(sort)
    if descending is None:
        descending = expression.kind == "field" and expression.name in _FALLING
    return expression, descending


def values(
    conn: sqlite3.Connection, which: JobFilter, expressions_read: Sequence[expressions.Expression], ids: Sequence[str]
) -> dict[str, list[Any]]:
    """Return the values of expressions for jobs, by id; None where a job has none.

    Args:
        conn: a connection of the store.
        which: the filter the jobs were found with.
        expressions_read: which values.
        ids: whole ids.
    Raises:
        QueryError: an expression stands for nothing.
    """
    compiler = which.search(conn)
    meanings = [compiler.meaning(expression) for expression in expressions_read]
    columns = [compiler.shown(meaning) for meaning in meanings]
    text, args = ", ".join(column.text for column in columns), [a for column in columns for a in column.args]
    by_job: dict[str, list[Any]] = {}
    for start in range(0, len(ids), 500):
        page = ids[start : start + 500]
        query = f"SELECT j.job, {text} FROM jobs j WHERE j.job IN ({_marks(page)})"
        for job_id, *cells in conn.execute(query, [*args, *page]):
            by_job[job_id] = [_cell(meaning, cell) for meaning, cell in zip(meanings, cells, strict=True)]
    return by_job


def _cell(meaning: search.ResolvedExpression, value: Any) -> Any:
    if meaning.kinds[0] in FACTS:
        return None if value is None else stored_json(value)
    if meaning.kinds == ("is",):
        return bool(value)
    if meaning.expression.name == "command" and meaning.kinds == ("field",):
        return humanize.command(stored_json(value))
    if meaning.kinds[0] == "metric" and value in _INFINITE:
        return _INFINITE[value]
    return series.from_column(value)


_INFINITE = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}
"""What a column of values has by name."""


def count_jobs(conn: sqlite3.Connection, which: JobFilter = ALL) -> int:
    """Return how many jobs there are."""
    where = which.where(conn)
    return int(conn.execute(f"SELECT COUNT(*) FROM jobs j WHERE {where.text}", where.args).fetchone()[0])


_TOLD_WITHIN = 200
"""Newest jobs to ask which way metrics get better."""


def directions(conn: sqlite3.Connection, project: str = "") -> dict[str, str]:
    """Return which way metrics get better ("min" or "max"), as the newest job of a project, or of all, has it."""
    condition, args = ("WHERE project = ?", [project]) if project else ("", [])
    query = (
        "SELECT direction FROM (SELECT json_extract(spec, '$.metrics.direction') AS direction FROM jobs"
        f" {condition} ORDER BY created_at DESC LIMIT {_TOLD_WITHIN}) WHERE direction IS NOT NULL LIMIT 1"
    )
    row = conn.execute(query, args).fetchone()
    return {} if row is None else dict(stored_json(row[0]))


def position(conn: sqlite3.Connection, job_id: str, which: JobFilter = ALL, sort: str = "created") -> int | None:
    """Return where a job stands among others in an order; None when it is not among them.

    Raises:
        QueryError: the sort or the query cannot be understood.
    """
    where = which.where(conn)
    if sort != "created":
        ids = ordered_ids(conn, which, sort)
        return ids.index(job_id) if job_id in ids else None
    query = f"SELECT j.created_at, j.rowid FROM jobs j WHERE j.job = ? AND {where.text}"
    row = conn.execute(query, [job_id, *where.args]).fetchone()
    if row is None:
        return None
    query = f"SELECT COUNT(*) FROM jobs j WHERE (j.created_at, j.rowid) > (?, ?) AND {where.text}"
    return int(conn.execute(query, [*row, *where.args]).fetchone()[0])


def ordered_ids(
    conn: sqlite3.Connection, which: JobFilter, sort: str = "created", limit: int = 0, offset: int = 0
) -> list[str]:
    """Return the ids of jobs in order; see ``jobs``."""
    where, order = which.where(conn), sort_order(which.search(conn), sort)
    source = "jobs j INDEXED BY idx_jobs_by_id" if "SELECT" in order.text else "jobs j"
    query = f"SELECT j.job FROM {source} WHERE {where.text} ORDER BY {order.text} LIMIT ? OFFSET ?"
    return [row[0] for row in conn.execute(query, [*where.args, *order.args, limit or -1, offset])]


def jobs_by_id(conn: sqlite3.Connection, ids: Sequence[str], details: bool = True) -> list[JobRow]:
    """Return jobs by their whole ids, in that order; those that are not there are left out."""
    return _of_ids(conn, ids, details)


def job(conn: sqlite3.Connection, job_id: str) -> JobRow:
    """Return one job by its whole id.

    Raises:
        NotFoundError: there is none.
    """
    rows = conn.execute(f"{_JOB} WHERE j.job = ?", [job_id]).fetchall()
    if not rows:
        raise NotFoundError(f"there is no job {job_id}")
    return _rows(conn, rows, True)[0]


def was_frozen_here(conn: sqlite3.Connection, job: str) -> bool:
    """Return whether this client itself made the job's snapshot: then its id is not only its host's word."""
    row = conn.execute("SELECT submitter FROM jobs WHERE job = ?", [job]).fetchone()
    return row is not None and bool(row["submitter"])


def spec(conn: sqlite3.Connection, job_id: str) -> JsonTable:
    """Return a job's specification as its host has it.

    Raises:
        NotFoundError: there is no such job.
    """
    row = conn.execute("SELECT spec FROM jobs WHERE job = ?", [job_id]).fetchone()
    if row is None:
        raise NotFoundError(f"there is no job {job_id}")
    table: JsonTable = stored_json(row["spec"])
    return table


def whole_spec(conn: sqlite3.Connection, job_id: str) -> JsonTable:
    """Return every field of a job's specification: what its host did not say is as by default.

    Raises:
        NotFoundError: there is no such job.
    """
    from remote_agent.protocol.jobs import JobSpec  # 7 ms, which listings do without

    usual = JobSpec(job=job_id, command=(), snapshot="").to_wire()
    told = spec(conn, job_id)
    return {name: told.get(name, default) for name, default in usual.items()}


def facts(conn: sqlite3.Connection, job_id: str, attempt: int) -> Facts | None:
    """Return what was recorded of an attempt; None when nothing was, or it has not come."""
    from remote_agent.protocol.facts import Facts  # lists of jobs do without

    query = "SELECT facts FROM attempt_facts WHERE job = ? AND attempt = ?"
    row = conn.execute(query, [job_id, attempt]).fetchone()
    return Facts.from_wire(stored_json(row["facts"]), "facts") if row else None


@dataclass(frozen=True)
class Recorded:
    """What was recorded of a job's last attempt."""

    facts: Facts | None
    """None when nothing was recorded, or it has not come."""
    packages: list[Package] | None
    recipe: JsonTable = field(default_factory=dict)
    """Of its environment, as its specification has it; empty for none."""

    @property
    def lock(self) -> str | None:
        """Return the hash of the lock that its environment was built from; None where it is not known."""
        return self.recipe.get("lock") or (self.facts.lock if self.facts is not None else None)


def recorded(conn: sqlite3.Connection, row: JobRow) -> Recorded:
    """Return what was recorded of a job's last attempt."""
    of_attempt = facts(conn, row.job, row.attempt)
    recipe = spec(conn, row.job).get("environment") or {}
    return Recorded(of_attempt, packages(conn, of_attempt.packages) if of_attempt else None, recipe)


def packages(conn: sqlite3.Connection, digest: str | None) -> list[Package] | None:
    """Return a list of packages; None when it is not known."""
    row = conn.execute("SELECT list FROM packages WHERE hash = ?", [digest]).fetchone()
    return [(kind, name, version, origin) for kind, name, version, origin in stored_json(row["list"])] if row else None


def lock_of(conn: sqlite3.Connection, job_id: str) -> str | None:
    """Return the hash of the lock that a job's environment was built from, as submitted or as its last facts say.

    Raises:
        NotFoundError: there is no such job.
    """
    submitted = (spec(conn, job_id).get("environment") or {}).get("lock")
    if submitted:
        return str(submitted)
    query = "SELECT facts ->> 'lock' AS lock FROM attempt_facts WHERE job = ? ORDER BY attempt DESC LIMIT 1"
    row = conn.execute(query, [job_id]).fetchone()
    return row["lock"] if row else None


def lock_text(conn: sqlite3.Connection, digest: str | None) -> str | None:
    """Return a lock; None when it is not here."""
    row = conn.execute("SELECT text FROM locks WHERE hash = ?", [digest]).fetchone()
    return row["text"] if row else None


def annotated(conn: sqlite3.Connection, job_id: str) -> dict[str, list[Any]]:
    """Return what people said of a job: key -> [value, seconds since the epoch]."""
    query = "SELECT key, value, time FROM annotations WHERE job = ?"
    return {row["key"]: [stored_json(row["value"]), row["time"]] for row in conn.execute(query, [job_id])}


def said(conn: sqlite3.Connection, job_id: str) -> list[tuple[str, str, Any, float]]:
    """Return (kind, key, value, time) of what a job itself said: parameters, tags, artifacts, uses."""
    query = (
        "SELECT kind, key, value, time FROM facts WHERE job = ? AND writer != '' AND kind IN"
        " ('param', 'tag', 'artifact', 'used') ORDER BY kind, key"
    )
    return [(row["kind"], row["key"], stored_json(row["value"]), row["time"]) for row in conn.execute(query, [job_id])]


_NOT_SUBMITTED = ("service", "check")
"""Kinds of jobs that follow from something else: nobody means them by @last."""


def find(conn: sqlite3.Connection, name: str) -> JobRow:
    """Return the job that a user means; see ``resolve``."""
    return job(conn, resolve(conn, name))


def resolve(conn: sqlite3.Connection, name: str) -> str:
    """Return the id of the job that a user means: an id, a prefix of one, a unique name, @last or @last-failed.

    Raises:
        NotFoundError: no job is meant. UsageError: several are.
    """
    if name in ("@last", "@last-failed"):
        states = "AND state = 'failed'" if name == "@last-failed" else ""
        own = f"COALESCE(json_extract(spec, '$.kind'), '') NOT IN ({_marks(_NOT_SUBMITTED)})"
        row = conn.execute(
            f"SELECT job FROM jobs WHERE trashed = 0 AND {own} {states} ORDER BY created_at DESC, rowid DESC",
            _NOT_SUBMITTED,
        ).fetchone()
        if row is None:
            raise NotFoundError("there is no such job yet", "foundations jobs lists them")
        return str(row[0])
    if conn.execute("SELECT 1 FROM jobs WHERE job = ?", [name]).fetchone():
        return name
    named = [
        str(row[0]) for row in conn.execute("SELECT job FROM jobs WHERE name = ? AND trashed = 0 LIMIT 20", [name])
    ]
    if len(named) == 1:
        return named[0]
    prefixed: list[str] = []
    if SHORTEST <= len(name) <= _LONGEST_ID:
        query = "SELECT job FROM jobs WHERE job LIKE ? ESCAPE '\\' ORDER BY job LIMIT 20"
        prefixed = [str(row[0]) for row in conn.execute(query, [search.like(name)[1:]])]
    if len(prefixed) == 1 and not named:
        return prefixed[0]
    several = named or prefixed
    if several:
        what = "are named" if named else "begin with"
        raise UsageError(f"several jobs {what} {name!r}: {', '.join(several[:8])}", "give more of the id")
    if len(name) < SHORTEST:
        raise NotFoundError(f"there is no job {name!r}", f"give at least {SHORTEST} characters of its id, or its name")
    raise NotFoundError(f"there is no job {name!r}", "foundations jobs lists them; foundations sync asks the hosts")


def filled(conn: sqlite3.Connection, jobs: Sequence[str]) -> dict[tuple[str, str], int]:
    """Return how many of some jobs have each parameter, argument, tag and metric, by (kind, name)."""
    counts: Counter[tuple[str, str]] = Counter()
    for start in range(0, len(jobs), 500):
        part = jobs[start : start + 500]
        marks = _marks(part)
        facts = f"SELECT kind, key, COUNT(DISTINCT job) FROM facts WHERE job IN ({marks}) GROUP BY kind, key"
        metric = f"SELECT 'metric', key, COUNT(DISTINCT job) FROM series WHERE job IN ({marks}) GROUP BY key"
        for query in (facts, metric):
            counts.update({(row[0], row[1]): row[2] for row in conn.execute(query, part)})
    return {pair: number for pair, number in counts.items() if pair[0] in ("param", "arg", "tag", "metric")}


_LONGEST_SOUGHT, _MOST_SOUGHT = 200, 12
"""Characters and words of a text by which jobs are sought."""


def jobs_called(conn: sqlite3.Connection, text: str, most: int) -> list[JobRow]:
    """Return the newest jobs whose name or command has each word of a text, or whose id begins with one; those whose
    name or id it is come first."""
    conditions, args = [], []
    words = text[:_LONGEST_SOUGHT].split()[:_MOST_SOUGHT]
    for word in words:
        pattern = search.like(word)
        conditions.append("(name LIKE ? ESCAPE '\\' OR command LIKE ? ESCAPE '\\' OR job LIKE ? ESCAPE '\\')")
        args += [pattern, pattern, pattern[1:]]
    query = f"SELECT job FROM jobs WHERE trashed = 0 AND {' AND '.join(conditions or ['1'])}"
    first = search.like(words[0]) if words else "%"
    order = "(name LIKE ? ESCAPE '\\' OR job LIKE ? ESCAPE '\\') DESC, created_at DESC"
    rows = conn.execute(f"{query} ORDER BY {order} LIMIT ?", [*args, first, first[1:], most])
    return jobs_by_id(conn, [row[0] for row in rows], details=False)


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


def contacts(conn: sqlite3.Connection) -> dict[str, tuple[float | None, float | None]]:
    """Return, by host, when it was last heard and since when it is out of reach, seconds since the epoch."""
    query = "SELECT name, last_contact, unreachable_since FROM hosts"
    return {name: (heard, unreachable) for name, heard, unreachable in conn.execute(query)}


TRIED = "tried:"
"""Begin of the remembered values that say when a host was last tried in vain."""


def active_hosts(conn: sqlite3.Connection) -> list[str]:
    """Return the hosts on which jobs run or wait, as far as is known."""
    active = "('submitting', 'queued', 'preparing', 'running')"
    return [row[0] for row in conn.execute(f"SELECT DISTINCT host FROM jobs WHERE state IN {active} ORDER BY host")]


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
        " SUM(state = 'completed'), SUM(state = 'failed'), SUM(state = 'lost'), MAX(created_at)"
        " FROM jobs WHERE trashed = 0 GROUP BY project ORDER BY 8 DESC"
    )
    return [ProjectRow(*row) for row in conn.execute(query)]


def gpu_seconds(conn: sqlite3.Connection, since: float, now: float) -> dict[tuple[str, str], float]:
    """Return for how long GPUs were held since a moment, seconds by host and project."""
    held = (
        "SELECT host, project,"
        " (MIN(COALESCE(ended_at, ?2), ?2) - MAX(started_at, ?1)) * json_array_length(gpus) AS held"
        " FROM jobs INDEXED BY idx_jobs_gpus WHERE gpus != '[]' AND started_at IS NOT NULL AND "
    )
    query = (
        f"SELECT host, project, SUM(held) FROM ({held} ended_at IS NULL UNION ALL {held} ended_at > ?1)"
        " WHERE held > 0 GROUP BY 1, 2"
    )
    return {(row[0], row[1]): float(row[2]) for row in conn.execute(query, [since, now])}


_OWN = f" AND p.writer NOT IN (SELECT id FROM writers WHERE name = '{series.INHERITED}')"
"""Only what an attempt logged itself."""


def metrics(conn: sqlite3.Connection, job_id: str, attempt: int, key: str = "", alone: bool = False) -> list[MetricRow]:
    """Return the values of a job's metrics, as they were logged.

    Args:
        conn: reads the store.
        job_id: whole id.
        attempt: which attempt: the last one's series are the job's.
        key: only this metric.
        alone: without what the attempt took over from earlier ones.
    """
    condition, args = ("AND s.key = ?", [key]) if key else ("", [])
    condition += _OWN if alone else ""
    query = (
        "SELECT s.key, p.step, p.value, p.time FROM series s JOIN points p ON p.series = s.id"
        f" WHERE s.job = ? AND s.attempt = ? {condition} ORDER BY p.time, p.writer, p.offset"
    )
    rows = conn.execute(query, [job_id, attempt, *args])
    return [MetricRow(key, step, series.from_column(value), time) for key, step, value, time in rows]


def curve(conn: sqlite3.Connection, job_id: str, attempt: int, key: str, most: int = series.LONG) -> list[CurvePoint]:
    """Return a metric as a chart needs it: every point of a short series, a row for each 256 of a long one.

    Points without a number (text, NaN, infinities) are counted as not finite.

    Args:
        conn: reads the store.
        job_id: the whole id.
        attempt: which attempt's.
        key: the metric.
        most: points from which a series is long; not less than ``series.LONG``.
    """
    query = "SELECT id, count FROM series WHERE key = ? AND job = ? AND attempt = ?"
    series_row = conn.execute(query, [key, job_id, attempt]).fetchone()
    if series_row is None:
        return []
    if series_row["count"] >= most:
        columns = "count, min, max, last, step_min, step_max, time_min, time_max, odd"
        rows = conn.execute(f"SELECT {columns} FROM rollups WHERE series = ? ORDER BY bucket", [series_row["id"]])
        return [CurvePoint(*row) for row in rows]
    query = "SELECT value, step, time FROM points p WHERE series = ? ORDER BY time, writer, offset"
    return [_point(*row) for row in conn.execute(query, [series_row["id"]])]


def curve_between(
    conn: sqlite3.Connection, job_id: str, attempt: int, key: str, times: tuple[float, float]
) -> list[CurvePoint]:
    """Return every point of a metric between two times, seconds since the epoch."""
    query = (
        "SELECT p.value, p.step, p.time FROM series s JOIN points p ON p.series = s.id"
        " WHERE s.key = ? AND s.job = ? AND s.attempt = ? AND p.time BETWEEN ? AND ?"
        " ORDER BY p.time, p.writer, p.offset"
    )
    return [_point(*row) for row in conn.execute(query, [key, job_id, attempt, *times])]


def keys_of(conn: sqlite3.Connection, job_id: str, attempt: int) -> list[str]:
    """Return the metrics of one attempt of a job."""
    query = "SELECT key FROM series WHERE job = ? AND attempt = ? ORDER BY key"
    return [str(row[0]) for row in conn.execute(query, [job_id, attempt])]


def first_own(conn: sqlite3.Connection, job_id: str, attempt: int, key: str) -> CurvePoint | None:
    """Return the first point of a metric that an attempt logged itself; None when it took all of them over."""
    query = (
        "SELECT p.value, p.step, p.time FROM series s JOIN points p ON p.series = s.id"
        f" WHERE s.key = ? AND s.job = ? AND s.attempt = ?{_OWN} ORDER BY p.time, p.writer, p.offset LIMIT 1"
    )
    row = conn.execute(query, [key, job_id, attempt]).fetchone()
    return None if row is None else _point(*row)


def attempts_with(conn: sqlite3.Connection, job_id: str, key: str) -> list[int]:
    """Return the attempts of a job that have a metric."""
    query = "SELECT attempt FROM series WHERE key = ? AND job = ? ORDER BY attempt"
    return [int(row[0]) for row in conn.execute(query, [key, job_id])]


def metric_keys(conn: sqlite3.Connection, jobs: Sequence[str]) -> list[str]:
    """Return the metrics of some jobs, those of most jobs first."""
    query = f"SELECT key FROM series WHERE job IN ({_marks(jobs)}) GROUP BY key ORDER BY COUNT(DISTINCT job) DESC, key"
    return [str(row[0]) for row in conn.execute(query, list(jobs))]


def numbers(conn: sqlite3.Connection, job_id: str, attempt: int, key: str) -> Iterator[float | None]:
    """Yield all values of a metric as numbers, in order; None for what is no finite number."""
    query = (
        "SELECT p.value FROM series s JOIN points p ON p.series = s.id WHERE s.key = ? AND s.job = ? AND s.attempt = ?"
        " ORDER BY p.time, p.writer, p.offset"
    )
    for row in conn.execute(query, [key, job_id, attempt]):
        number = series.number_of(series.from_column(row[0]))
        yield None if number is None or math.isinf(number) else number


def _point(value: Any, step: int, time: float) -> CurvePoint:
    number = series.number_of(series.from_column(value))
    if number is not None and math.isinf(number):
        number = None
    return CurvePoint(1, number, number, number, step, step, time, time, int(number is None))


def streams(conn: sqlite3.Connection, job_id: str) -> list[StreamRow]:
    """Return how far a job's streams are replicated."""
    query = "SELECT job, attempt, name, offset, size FROM streams WHERE job = ?"
    return [StreamRow(*row) for row in conn.execute(query, [job_id])]


def job_samples(conn: sqlite3.Connection, job_id: str, attempt: int) -> list[JobSample]:
    """Return what an attempt used over time."""
    query = (
        "SELECT time, cpus, ram, gpu, gpu_memory, log FROM job_samples WHERE job = ? AND attempt = ? ORDER BY offset"
    )
    return [JobSample(*row) for row in conn.execute(query, [job_id, attempt])]


def transitions(conn: sqlite3.Connection, job_id: str) -> list[TransitionRow]:
    """Return the states that a job came into, in order, as far as they are known."""
    query = (
        "SELECT time, attempt, state, NULLIF(reason_code, ''), place FROM transitions WHERE job = ? ORDER BY time, seq"
    )
    return [TransitionRow(*row) for row in conn.execute(query, [job_id])]


def groups(conn: sqlite3.Connection, group: str) -> list[str]:
    """Return the hosts that have unfinished jobs of a group."""
    query = "SELECT DISTINCT host FROM jobs WHERE group_name = ? AND state IN ('queued', 'preparing', 'running')"
    return [row[0] for row in conn.execute(query, [group])]


def jobs_of_group(conn: sqlite3.Connection, group: str) -> list[JobRow]:
    """Return the jobs of a group, oldest first."""
    query = f"{_JOB} WHERE j.group_name = ? AND j.group_name != '' ORDER BY j.created_at, j.rowid"
    return _rows(conn, conn.execute(query, [group]).fetchall(), True)


def completed_with(conn: sqlite3.Connection, project: str, snapshot: str, most: int) -> list[JobRow]:
    """Return completed jobs of a project that had the same code, the newest first."""
    query = (
        f"{_JOB} WHERE j.snapshot = ? AND j.project = ? AND j.state = 'completed' AND j.trashed = 0"
        " ORDER BY j.created_at DESC LIMIT ?"
    )
    return _rows(conn, conn.execute(query, [snapshot, project, most]).fetchall(), True)


@dataclass(frozen=True)
class Lineage:
    """Which jobs a job comes from, and which come from it."""

    rerun_of: str
    """Whole id; empty for a job that was submitted from a working tree."""
    reruns: list[str]
    """Whole ids, oldest first."""


def lineage(conn: sqlite3.Connection, job_id: str) -> Lineage:
    """Return of which job a job is a rerun, and its reruns."""
    row = conn.execute("SELECT code_of FROM jobs WHERE job = ?", [job_id]).fetchone()
    query = "SELECT job FROM jobs WHERE code_of = ? AND code_of != '' AND trashed = 0 ORDER BY created_at"
    return Lineage(row["code_of"] if row else "", [found["job"] for found in conn.execute(query, [job_id])])


def sweeps(conn: sqlite3.Connection) -> list[SweepRow]:
    """Return the groups of jobs, the newest first."""
    query = (
        "SELECT group_name, MIN(project), COUNT(*), SUM(state IN ('preparing', 'running')),"
        " SUM(state IN ('submitting', 'queued')), SUM(state = 'completed'),"
        " SUM(state IN ('failed', 'stopped', 'lost')), MIN(created_at)"
        " FROM jobs WHERE group_name != '' AND trashed = 0 GROUP BY group_name ORDER BY 8 DESC"
    )
    return [SweepRow(*row) for row in conn.execute(query)]


def are_any(conn: sqlite3.Connection, table: Literal["services", "registry", "schedules"]) -> bool:
    """Return whether any host has something that is in a table of what hosts have."""
    return conn.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() is not None


def is_any_sweep(conn: sqlite3.Connection) -> bool:
    """Return whether jobs were submitted as one."""
    return conn.execute("SELECT 1 FROM jobs WHERE group_name <> '' LIMIT 1").fetchone() is not None


def usual_duration(conn: sqlite3.Connection, project: str) -> float | None:
    """Return the median of what the last completed jobs of a project took, seconds; None when there is none."""
    query = (
        "SELECT ended_at - started_at FROM jobs WHERE project = ? AND state = 'completed' AND started_at IS NOT NULL"
        " AND ended_at IS NOT NULL ORDER BY created_at DESC LIMIT 50"
    )
    durations = sorted(row[0] for row in conn.execute(query, [project]))
    return durations[len(durations) // 2] if durations else None


def ended(conn: sqlite3.Connection, which: JobFilter, before: float) -> list[JobRow]:
    """Return the jobs that ended before a moment and whose folder on the host still stands, oldest first."""
    where = which.where(conn)
    query = (
        f"{_JOB} WHERE {where.text} AND j.pruned = 0 AND j.attempt > 0 AND j.state IN ({_marks(FINAL_STATES)})"
        " AND COALESCE(j.ended_at, 0) < ? ORDER BY j.ended_at"
    )
    return _rows(conn, conn.execute(query, [*where.args, *FINAL_STATES, before]).fetchall(), False)


def changed_since(conn: sqlite3.Connection, moment: float) -> list[JobRow]:
    """Return the jobs that ended, as far as this client noticed, after a moment; oldest first."""
    query = (
        f"SELECT job FROM jobs INDEXED BY idx_jobs_ended WHERE noticed_at > ? AND state IN ({FINAL_SQL})"
        " AND trashed = 0 ORDER BY noticed_at"
    )
    return _of_ids(conn, [row[0] for row in conn.execute(query, [moment])], True)


def jobs_before(conn: sqlite3.Connection, row: JobRow, limit: int) -> list[str]:
    """Return the jobs with code that were made before one in its project, the last of them first."""
    query = (
        "SELECT job FROM jobs WHERE project = ? AND created_at < ? AND snapshot != '' AND trashed = 0"
        " ORDER BY created_at DESC LIMIT ?"
    )
    return [str(columns[0]) for columns in conn.execute(query, [row.project, row.created_at, limit])]


def stalled(conn: sqlite3.Connection) -> list[JobRow]:
    """Return the jobs that run and have been silent for longer than they ever are."""
    return jobs(conn, JobFilter(query="is:stalled"), details=False)


def waiting(conn: sqlite3.Connection, limit: int) -> list[JobRow]:
    """Return the queued jobs, each host's in the order in which it looks at them."""
    query = (
        "SELECT job FROM jobs WHERE state = 'queued' AND trashed = 0"
        " ORDER BY host, priority DESC, rank, created_at LIMIT ?"
    )
    return _of_ids(conn, [row[0] for row in conn.execute(query, [limit])], False)


def state_counts(conn: sqlite3.Connection) -> dict[str, int]:
    """Return how many jobs are in each state that is not final."""
    active = "('submitting', 'queued', 'preparing', 'running')"
    return dict(
        tuple(row) for row in conn.execute(f"SELECT state, COUNT(*) FROM jobs WHERE state IN {active} GROUP BY 1")
    )


def counts(conn: sqlite3.Connection) -> dict[str, int]:
    """Return how much there is of everything."""
    tables = {"jobs": "jobs", "facts": "facts", "metrics": "series", "points": "points", "hosts": "hosts"}
    return {name: int(conn.execute(f"SELECT COUNT(*) FROM {t}").fetchone()[0]) for name, t in tables.items()}


LOOKED_AT = "looked_at"
"""The remembered value that says until when the user has seen what ended."""


def looked_at(conn: sqlite3.Connection) -> float:
    """Return until when the user has seen what ended, seconds since the epoch; 0 for never."""
    return float(meta(conn, LOOKED_AT) or 0)


def meta(conn: sqlite3.Connection, key: str) -> str | None:
    """Return one remembered value."""
    row = conn.execute("SELECT value FROM meta WHERE key = ?", [key]).fetchone()
    return None if row is None else str(row[0])


def metas(conn: sqlite3.Connection, prefix: str) -> dict[str, str]:
    """Return remembered values by what stands behind a prefix of their names."""
    query = "SELECT key, value FROM meta WHERE key >= ?1 AND key < ?1 || char(0x10ffff) ORDER BY key"
    return {row[0][len(prefix) :]: str(row[1]) for row in conn.execute(query, [prefix])}


# --- inside -----------------------------------------------------------------------------------------------------


def _rows(conn: sqlite3.Connection, rows: list[sqlite3.Row], details: bool) -> list[JobRow]:
    extra = _Details(conn, [(row["job"], row["attempt"]) for row in rows]) if details else None
    return [_row(row, extra) for row in rows]


def _row(row: sqlite3.Row, extra: _Details | None) -> JobRow:
    job_id = row["job"]
    spec = stored_json(row["spec"])
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
        command=stored_json(row["command"]),
        snapshot=row["snapshot"],
        gpus_requested=row["gpus_requested"],
        gpus=stored_json(row["gpus"]),
        created_at=row["created_at"],
        queued_at=row["queued_at"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        stop_requested_by=row["stop_requested_by"],
        cpus=row["cpus"],
        gpu_memory=spec.get("gpu_memory", 0),
        signal=row["signal"],
        cause=known_cause(stored_json(row["cause"] or "{}")),
        usage=known_usage(stored_json(row["usage"] or "{}")),
        priority=row["priority"],
        group=row["group_name"],
        after=spec.get("after", []),
        after_any=spec.get("after_any", []),
        time_limit=spec.get("time_limit", 0.0),
        retries=spec.get("retries", 0),
        attempts=[PastAttempt.known(past) for past in stored_json(row["attempts"])],
        starts_at=row["starts_at"] if row["state"] == "queued" else None,
        outputs=stored_json(row["outputs"]) if row["outputs"] else None,
        pruned=bool(row["pruned"]),
        client=row["client"] or "",
        complete=bool(row["complete"]),
        data_as_of=row["data_as_of"],
        unreachable_since=row["unreachable_since"],
        stalled_since=row["stalled_since"],
        story=story.read(row["story"]),
        kind=spec.get("kind", "batch"),
        note=row["note"],
        starred=bool(row["starred"]),
        archived=bool(row["archived"]),
        trashed_at=row["trashed"] or None,
        metrics=extra.metrics.get(job_id, {}) if extra else {},
        **{name: extra.facts[kind].get(job_id, {}) if extra else {} for kind, name in FACTS.items()},
    )


class _Details:
    """Facts and metrics of some jobs, a few queries for all of them."""

    def __init__(self, conn: sqlite3.Connection, ids: list[tuple[str, int]]) -> None:
        self.facts: dict[str, dict[str, JsonTable]] = {kind: {} for kind in FACTS}
        self.metrics: dict[str, dict[str, MetricSummary]] = {}
        attempts = dict(ids)
        for start in range(0, len(ids), 500):
            page = [job_id for job_id, _ in ids[start : start + 500]]
            marks = _marks(page)
            query = f"SELECT job, kind, key, value FROM facts WHERE job IN ({marks}) ORDER BY job, time, writer, offset"
            for job_id, kind, key, value in conn.execute(query, page):
                value = stored_json(value)
                if value is not None or kind != "tag":
                    self.facts[kind].setdefault(job_id, {})[key] = value
            query = f"SELECT job, attempt, key, first, last, min, max, count, step FROM series WHERE job IN ({marks})"
            for job_id, attempt, key, first, last, *numbers in conn.execute(query, page):
                if attempt == attempts[job_id]:
                    ends = series.from_column(first), series.from_column(last)
                    self.metrics.setdefault(job_id, {})[key] = MetricSummary(*ends, *numbers)


def _host(row: sqlite3.Row, counts: dict[str, int]) -> HostRow:
    from remote_agent.protocol.resources import Resources  # lists of jobs do without

    return HostRow(
        name=row["name"],
        resources=Resources.from_wire(stored_json(row["resources"])) if row["resources"] else None,
        problems=stored_json(row["problems"] or "[]"),
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


def state(conn: sqlite3.Connection, job_id: str) -> str | None:
    """Return a job's state; None for one that the store does not have."""
    row = conn.execute("SELECT state FROM jobs WHERE job = ?", [job_id]).fetchone()
    return None if row is None else str(row["state"])


def log_patterns(conn: sqlite3.Connection, job_id: str) -> tuple[str, ...]:
    """Return the patterns of a job's project for lines of its log; none for a job that is not here."""
    row = conn.execute("SELECT spec FROM jobs WHERE job = ?", [job_id]).fetchone()
    return tuple(stored_json(row["spec"]).get("metrics", {}).get("patterns", ())) if row is not None else ()


def is_stream_whole(conn: sqlite3.Connection, job_id: str, attempt: int, name: str) -> bool:
    """Return whether all of a stream that its host has is here."""
    query = "SELECT 1 FROM streams WHERE job = ? AND attempt = ? AND name = ? AND offset < size"
    return conn.execute(query, [job_id, attempt, name]).fetchone() is None


def next_step(conn: sqlite3.Connection, job_id: str, attempt: int, key: str) -> int:
    """Return the step after the last one of a metric."""
    query = "SELECT step FROM series WHERE key = ? AND job = ? AND attempt = ?"
    row = conn.execute(query, [key, job_id, attempt]).fetchone()
    return 0 if row is None or row["step"] is None else int(row["step"]) + 1


def version(conn: sqlite3.Connection) -> int:
    """Return a number that changes when anybody else has written to the store."""
    return int(conn.execute("PRAGMA data_version").fetchone()[0])


def integrity_problems(conn: sqlite3.Connection) -> list[str]:
    """Return what SQLite finds wrong with the file, some of it when that is much."""
    return [row[0] for row in conn.execute("PRAGMA integrity_check(20)") if row[0] != "ok"]
