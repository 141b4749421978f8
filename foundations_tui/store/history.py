"""What was at an earlier moment: the states of jobs, the queue, what hosts did and who held their GPUs.

Moments are by the clock of this machine. What a host recorded is by its own: the difference that was seen when it was
last connected to is taken out.
"""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import replace

from foundations_tui.store import host_samples, queries, stories
from foundations_tui.store.host_samples import KEPT, HostMinute
from foundations_tui.store.rows import FINAL_STATES, HostRow, HostSample, JobRow, MetricSummary, TransitionRow
from remote_agent.protocol.resources import HostGpu

LEAST_OFFSET = 2.0
"""Seconds by which a clock has to differ: less may be the way of the answer."""
_MOST_WAITING = 2000
_NEAR = 60.0
"""Seconds that a sample speaks for."""


def begin(conn: sqlite3.Connection, now: float) -> float:
    """Return the first moment of which something is known, 30 days ago at most."""
    query = (
        "SELECT MIN(t) FROM (SELECT MIN(time) AS t FROM transitions WHERE time > ?1"
        " UNION ALL SELECT MIN(time) FROM host_samples UNION ALL SELECT MIN(time) FROM host_minutes"
        " UNION ALL SELECT MIN(created_at) FROM jobs WHERE created_at > ?1)"
    )
    found = conn.execute(query, [now - KEPT]).fetchone()[0]
    return now if found is None else min(now, max(float(found), now - KEPT))


def offsets(conn: sqlite3.Connection) -> dict[str, float]:
    """Return by how many seconds the clock of each host is ahead of this machine's, where that is worth a word."""
    rows = conn.execute("SELECT name, clock_offset FROM hosts WHERE ABS(clock_offset) >= ?", [LEAST_OFFSET])
    return {row[0]: float(row[1]) for row in rows}


def by_their_clocks(conn: sqlite3.Connection, rows: Iterable[JobRow], moment: float) -> dict[str, float]:
    """Return what the clock of the host of each job showed at a moment, by job."""
    ahead = offsets(conn)
    return {row.job: moment + ahead.get(row.host, 0.0) for row in rows}


def jobs(conn: sqlite3.Connection, rows: Sequence[JobRow], moment: float) -> list[JobRow]:
    """Return jobs as they were at a moment; those that there were not yet are left out."""
    return [row for row, _ in _with_last_transition(conn, rows, moment)]


def _with_last_transition(
    conn: sqlite3.Connection, rows: Sequence[JobRow], moment: float
) -> Iterator[tuple[JobRow, TransitionRow | None]]:
    """Yield jobs as they were, each with what had happened to it last; None where that was not recorded."""
    ahead = offsets(conn)
    for row in rows:
        if row.created_at <= moment:
            by_host = ahead.get(row.host, 0.0)
            last = _last_transition(conn, row.job, moment + by_host)
            yield _job(conn, row, last, moment + by_host, by_host), last


def _job(conn: sqlite3.Connection, row: JobRow, last: TransitionRow | None, moment: float, ahead: float) -> JobRow:
    """Return a job as it was, its times by this machine's clock.

    Args:
        conn: reads the store.
        row: as it is.
        last: what had happened to it last.
        moment: by the clock of its host.
        ahead: by how much that is ahead.
    """
    state = last.state if last is not None else _state(row, moment)
    is_over = state in FINAL_STATES
    began = row.started_at is not None and row.started_at <= moment and state not in ("submitting", "queued")
    return replace(
        row,
        state=state,
        attempt=last.attempt if last is not None else row.attempt,
        reason_code=last.reason_code if last is not None else None,
        reason=row.reason if is_over and row.state == state else "",
        cause=row.cause if is_over and row.state == state else None,
        exit_code=row.exit_code if is_over else None,
        started_at=row.started_at - ahead if began and row.started_at is not None else None,
        ended_at=row.ended_at - ahead if is_over and row.ended_at is not None else None,
        starts_at=None,
        stop_requested_by=None,
        story=row.story if is_over and row.state == state else None,
        stalled_since=None,
        unreachable_since=None,
        gpus=row.gpus if began else [],
        metrics=row.metrics if is_over and row.state == state else _metrics(conn, row, moment),
    )


def _last_transition(conn: sqlite3.Connection, job: str, moment: float) -> TransitionRow | None:
    query = (
        "SELECT time, attempt, state, NULLIF(reason_code, ''), place FROM transitions WHERE job = ? AND time <= ?"
        " ORDER BY time DESC, seq DESC LIMIT 1"
    )
    found = conn.execute(query, [job, moment]).fetchone()
    return None if found is None else TransitionRow(*found)


def _state(row: JobRow, moment: float) -> str:
    """Return the state of a job whose host recorded no transitions, as its own times say."""
    if row.ended_at is not None and row.ended_at <= moment:
        return row.state
    return "running" if row.started_at is not None and row.started_at <= moment else "queued"


def _metrics(conn: sqlite3.Connection, row: JobRow, moment: float) -> dict[str, MetricSummary]:
    """Return the metrics of a job with the values that they had; only the last one is known then."""
    found = stories.points_before(conn, row.job, row.attempt, list(row.metrics), moment, 1)
    last = {key: points[-1] for key, points in found.items() if points}
    broken = {
        one.key: (one.step, one.value) for one in stories.broken(conn, row.job, row.attempt) if one.time <= moment
    }
    return {key: MetricSummary(None, value, None, None, 0, step) for key, (step, value) in {**last, **broken}.items()}


def waiting(conn: sqlite3.Connection, moment: float) -> list[JobRow]:
    """Return the jobs that waited at a moment, each host's in their order as far as that is known."""
    day = 86400.0  # clocks differ by less
    query = (
        "SELECT job FROM jobs WHERE trashed = 0 AND created_at <= ?1 AND (started_at IS NULL OR started_at > ?1 - ?2"
        " OR attempt > 1) AND (ended_at IS NULL OR ended_at > ?1 - ?2) ORDER BY created_at LIMIT ?3"
    )
    ids = [row[0] for row in conn.execute(query, [moment, day, _MOST_WAITING])]
    found = [
        (row.host, last.place if last is not None and last.place is not None else _MOST_WAITING, row.created_at, row)
        for row, last in _with_last_transition(conn, queries.jobs_by_id(conn, ids), moment)
        if row.is_waiting
    ]
    return [row for *_, row in sorted(found, key=lambda one: one[:3])]


def samples(conn: sqlite3.Connection, host: str, first: float, last: float) -> list[HostSample]:
    """Return what a host did between two moments, oldest first: each sample, of what is older than a day each minute.

    Args:
        conn: reads the store.
        host: its name.
        first: seconds since the epoch, by this machine's clock, as their times are.
        last: likewise.
    """
    ahead = offsets(conn).get(host, 0.0)
    fine = [one for one in host_samples.since(conn, host, first + ahead) if one.time <= last + ahead]
    coarse = host_samples.minutes(conn, host, first + ahead, last + ahead)
    found = [*(_of_minute(one) for one in coarse), *fine]
    return [replace(one, time=one.time - ahead) for one in found]


def _of_minute(minute: HostMinute) -> HostSample:
    """Return the means of a minute as one sample."""
    gpus = [
        [uuid, *(value and value[1] for value in values), holders] for uuid, (values, holders) in minute.gpus.items()
    ]
    load, ram, disk = (value and value[1] for value in (minute.load, minute.ram, minute.disk_free))
    return HostSample(minute.time, load, _whole(ram), _whole(disk), gpus)


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)


def host(row: HostRow, then: Iterable[HostSample], moment: float) -> HostRow:
    """Return a host as it was: what it had is taken to be what it has; its GPUs did what was recorded.

    Args:
        row: as it is.
        then: its samples up to the moment.
        moment: seconds since the epoch.
    """
    last = next((one for one in reversed(list(then)) if one.time > moment - _NEAR), None)
    resources = None
    if last is not None and row.resources is not None:
        by_uuid = {gpu[0]: gpu for gpu in last.gpus if gpu}
        gpus = [_gpu(gpu, by_uuid.get(gpu.uuid)) for gpu in row.resources.gpus]
        resources = dataclasses.replace(row.resources, gpus=gpus, disk_free=last.disk_free, cpus_free=None)
    return replace(
        row,
        resources=resources,
        problems=[],
        last_contact=None if resources is None else moment,
        error=None,
        unreachable_since=None,
        running=0,
        queued=0,
    )


def _gpu(gpu: HostGpu, sample: Sequence[object] | None) -> HostGpu:
    """Return a GPU as a sample has it."""
    values = [value if isinstance(value, int | float) else None for value in (sample or ())[1:5]]
    used = [*values, None, None, None, None][:4]
    holders = sample[5] if sample is not None and len(sample) > 5 and isinstance(sample[5], list) else []
    held = [one for one in holders if isinstance(one, str)]
    strangers = [one for one in holders if isinstance(one, list) and len(one) == 2]
    words = f"held by uid {strangers[0][0]}, pid {strangers[0][1]}" if strangers and not held else None
    return dataclasses.replace(
        gpu,
        utilization=used[0],
        memory_used=used[1],
        temperature=used[2],
        power=used[3],
        job=held[0] if held else None,
        jobs=held,
        busy=bool(strangers) and not held,
        held=words,
        sick="",
        processes=[],
    )
