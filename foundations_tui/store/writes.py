"""What is written to the store. A page from a host and its cursor are one transaction: nothing lost, nothing twice."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from foundations.records import ARTIFACT, METRIC, PARAM, TAG, USED, Point, Record, decode, valid_text
from foundations_tui.config import locations
from foundations_tui.errors import StoreError
from foundations_tui.store import series
from foundations_tui.store.db import Store
from foundations_tui.store.queries import LOOKED_AT
from foundations_tui.store.rows import PATIENCE, json_value
from foundations_tui.text import command_line
from remote_agent.jobs import EndReason, JobSpec, JobState, JobView

# --- submitting -------------------------------------------------------------------------------------------------


def add_intents(store: Store, specs: list[JobSpec], host: str, submitter: str) -> None:
    """Write down that jobs are about to be sent, before anything is."""
    with store.transaction():
        for spec in specs:
            _put_view(store, host, "", JobView(spec, JobState.SUBMITTING, 0))
        store.conn.executemany("UPDATE jobs SET submitter = ? WHERE job = ?", [(submitter, spec.job) for spec in specs])


def drop_intents(store: Store, jobs: Iterable[str]) -> None:
    """Forget jobs that were never sent."""
    with store.transaction():
        for job in jobs:
            if store.conn.execute("SELECT 1 FROM jobs WHERE job = ? AND state = 'submitting'", [job]).fetchone():
                _forget(store, job)


def put_accepted(store: Store, host: str, journal: str, views: Iterable[JobView]) -> None:
    """Take in that a host has accepted jobs whose intent is written down, unless a sync was faster."""
    rows = [(journal, view.queued_at, view.rank, time.time(), view.spec.job, host) for view in views]
    with store.transaction() as conn:
        conn.executemany(
            "UPDATE jobs SET state = 'queued', journal = ?, queued_at = ?, rank = ?, noticed_at = ?"
            " WHERE job = ? AND host = ? AND state = 'submitting'",
            rows,
        )


def put_acknowledged(store: Store, host: str, journal: str, views: Iterable[JobView]) -> None:
    """Take in what the host answered to a stop or a move, unless a sync was faster."""
    with store.transaction():
        known, seq = cursor(store, host)
        for view in views:
            if (journal != known or view.seq > seq) and _may_speak_of(store.conn, host, view.spec.job, journal):
                _put_view(store, host, journal, view)


def intents(store: Store, host: str) -> list[tuple[str, str]]:
    """Return (job, who submits it) of the jobs that the host has not acknowledged."""
    query = "SELECT job, submitter FROM jobs WHERE host = ? AND state = 'submitting'"
    return [(row["job"], row["submitter"] or "") for row in store.conn.execute(query, [host])]


def fail_intent(store: Store, job: str) -> None:
    """End a job whose submit was interrupted and of which its host knows nothing."""
    with store.transaction():
        _end(store, job, EndReason.SUBMIT_INTERRUPTED, JobState.FAILED, "its submit was interrupted; nothing ran")


def remove_job(store: Store, job: str) -> None:
    """Remove all that is known of a job, its local files too."""
    with store.transaction():
        _forget(store, job)


# --- hosts ------------------------------------------------------------------------------------------------------


def cursor(store: Store, host: str) -> tuple[str, int]:
    """Return (journal id, sequence number) up to which a host's changes are here."""
    row = store.conn.execute("SELECT journal, seq FROM hosts WHERE name = ?", [host]).fetchone()
    return (row["journal"] or "", row["seq"]) if row else ("", 0)


def put_contact(store: Store, host: str, facts: dict[str, Any]) -> None:
    """Note that a host was heard, and what it has."""
    columns = {
        "resources": json.dumps(facts["resources"]),
        "problems": json.dumps(facts.get("problems", [])),
        "last_contact": time.time(),
        "error": None,
        "unreachable_since": None,
    }
    columns.update({key: facts[key] for key in ("python", "agent_version") if key in facts})
    with store.transaction():
        store.db.table("hosts").upsert({"name": host, **columns}, pk="name")


def put_unreachable(store: Store, host: str, error: str) -> None:
    """Note that a host cannot be reached."""
    with store.transaction():
        store.conn.execute(
            "INSERT INTO hosts (name, error, unreachable_since) VALUES (?1, ?2, ?3) ON CONFLICT (name) DO UPDATE"
            " SET error = ?2, unreachable_since = COALESCE(unreachable_since, ?3)",
            [host, error, time.time()],
        )


def put_changes(store: Store, host: str, base: tuple[str, int], page: dict[str, Any]) -> bool:
    """Apply one page of a host's changes together with the cursor behind it.

    Args:
        store: open for writing.
        host: whose changes.
        base: the cursor that the page was asked for with.
        page: the host's answer, its "jobs" as JobView.
    Returns:
        Whether it was applied; not when another client process has moved the cursor meanwhile.
    """
    with store.transaction() as conn:
        if cursor(store, host) != base:
            return False
        for view in page["jobs"]:
            if _may_speak_of(conn, host, view.spec.job, page["journal"]):
                _put_view(store, host, page["journal"], view)
        for job in page["deleted"]:
            if conn.execute("SELECT 1 FROM jobs WHERE job = ? AND host = ?", [job, host]).fetchone():
                _forget(store, job)
        if not page["more"]:
            _lose_unknown(store, host, page["journal"], page.get("earlier", []))
        conn.execute(
            "INSERT INTO hosts (name, journal, seq, last_contact) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (name) DO UPDATE"
            " SET journal = ?2, seq = ?3, last_contact = ?4, error = NULL, unreachable_since = NULL",
            [host, page["journal"], page["seq"], time.time()],
        )
        return True


def put_waits(store: Store, host: str, groups: Iterable[tuple[str, list[str]]], estimates: dict[str, float]) -> None:
    """Write why jobs of a host wait and when they are expected to start.

    Args:
        store: open for writing.
        host: whose jobs.
        groups: (why, the jobs that wait for it).
        estimates: seconds since the epoch, by job.
    """
    with store.transaction() as conn:
        for reason, jobs in groups:
            conn.executemany(
                "UPDATE jobs SET reason_code = 'waits', reason = ?"
                " WHERE job = ? AND host = ? AND state = 'queued' AND reason IS NOT ?",
                [(valid_text(reason), job, host, reason) for job in jobs],
            )
        conn.execute("UPDATE jobs SET starts_at = NULL WHERE host = ? AND starts_at IS NOT NULL", [host])
        conn.executemany(
            "UPDATE jobs SET starts_at = ? WHERE job = ? AND host = ? AND state = 'queued'",
            [(moment, job, host) for job, moment in estimates.items()],
        )


def put_client_id(store: Store, made: str) -> str:
    """Return this installation's id; the one given becomes it when there is none."""
    with store.transaction() as conn:
        conn.execute("INSERT OR IGNORE INTO meta (key, value) VALUES ('client', ?)", [made])
        return str(conn.execute("SELECT value FROM meta WHERE key = 'client'").fetchone()[0])


def put_meta(store: Store, key: str, value: str | None) -> None:
    """Remember one value; None forgets it."""
    with store.transaction() as conn:
        if value is None:
            conn.execute("DELETE FROM meta WHERE key = ?", [key])
            return
        store.db.table("meta").upsert({"key": key, "value": value}, pk="key")


def remember(key: str, value: str | None) -> None:
    """Remember one value where no store is open; None forgets it."""
    with contextlib.closing(Store()) as store:
        put_meta(store, key, value)


def put_looked_at(now: float) -> None:
    """Remember that the user has seen what ended until now, seconds since the epoch."""
    remember(LOOKED_AT, repr(now))


# --- snapshots that a host has ----------------------------------------------------------------------------------


def shipped_tree(store: Store, journal: str, folder: str) -> str | None:
    """Return the last tree of a folder that a host is known to have whole."""
    query = "SELECT tree FROM shipped WHERE journal = ? AND folder = ?"
    row = store.conn.execute(query, [journal, folder]).fetchone()
    return row["tree"] if row else None


def put_shipped(store: Store, journal: str, folder: str, tree: str) -> None:
    """Remember that a host has a tree whole."""
    with store.transaction():
        store.db.table("shipped").upsert({"journal": journal, "folder": folder, "tree": tree}, pk=("journal", "folder"))


# --- streams ----------------------------------------------------------------------------------------------------


def put_sizes(store: Store, host: str, sizes: Iterable[tuple[str, int, str, int]]) -> None:
    """Note how long streams are on their host: (job, attempt, name, bytes)."""
    now = time.time()
    with store.transaction() as conn:
        rows = [
            (job, int(attempt), valid_text(name), int(size), host)
            for job, attempt, name, size in sizes
            if _may_speak_of(conn, host, job)
        ]
        _note_watched(conn, host, now)
        _note_activity(conn, rows, now)
        conn.executemany(_PUT_SIZE, rows)


_WATCHED_SECONDS = 90.0
"""A host that is watched says how long its streams are at least so often."""


def _note_watched(conn: sqlite3.Connection, host: str, now: float) -> None:
    """Note that the sizes of a host are known; time in which nobody watched is no silence of its jobs."""
    found = conn.execute("SELECT sizes_at FROM hosts WHERE name = ?", [host]).fetchone()
    conn.execute("UPDATE hosts SET sizes_at = ? WHERE name = ?", [now, host])
    before = found["sizes_at"] if found else None
    if before is not None and now - before > _WATCHED_SECONDS:
        query = (
            "UPDATE activity SET at = at + ? WHERE job IN"
            " (SELECT job FROM jobs WHERE host = ? AND state IN ('preparing', 'running'))"
        )
        conn.execute(query, [now - before, host])


_LEAST_GAP = 1.0
"""Seconds of silence that count as one."""
_MOST_GAPS = 64
_PUT_ACTIVITY = (
    "INSERT INTO activity VALUES (?1, ?2, ?3, ?4, ?5)"
    " ON CONFLICT (job) DO UPDATE SET attempt = ?2, at = ?3, patience = ?4, gaps = ?5"
)


def _note_activity(conn: sqlite3.Connection, rows: Iterable[tuple[str, int, str, int, str]], now: float) -> None:
    """Remember which jobs have written something, and for how long they are usually silent."""
    query = "SELECT size FROM streams WHERE job = ? AND attempt = ? AND name = ?"
    for job, attempt, name, size, _ in rows:
        if name != "log" and not name.startswith("records/"):
            continue
        known = conn.execute(query, [job, attempt, name]).fetchone()
        if size <= (known[0] if known else 0):
            continue
        found = conn.execute("SELECT attempt, at, gaps FROM activity WHERE job = ?", [job]).fetchone()
        gaps = json.loads(found["gaps"]) if found else []
        if found and found["attempt"] == attempt:
            gap = now - found["at"]
            if 0 <= gap < _LEAST_GAP:
                continue  # no need to write each of many a second
            if gap > 0:
                gaps = [*gaps, round(gap, 1)][-_MOST_GAPS:]
        conn.execute(_PUT_ACTIVITY, [job, attempt, now, patience(gaps), json.dumps(gaps)])


def claim_notices(told: Sequence[tuple[str, int, str]]) -> list[bool]:
    """Note that others are told of events of jobs; return of which nobody has told them yet.

    Args:
        told: (job, attempt, event).
    """
    with contextlib.closing(Store()) as store, store.transaction() as conn:
        return [conn.execute("INSERT OR IGNORE INTO told VALUES (?, ?, ?)", one).rowcount == 1 for one in told]


def patience(gaps: Sequence[float]) -> float:
    """Return how long a job may be silent before it counts as stalled, seconds: ten times what it seldom exceeds.

    Args:
        gaps: how long it was silent lately, seconds.
    """
    usual = sorted(gaps)[min(len(gaps) - 1, int(len(gaps) * 0.95))] if gaps else 0.0
    return max(PATIENCE, 10 * usual)


_PUT_SIZE = (
    "INSERT INTO streams (job, attempt, name, offset, size, host) VALUES (?1, ?2, ?3, 0, ?4, ?5)"
    " ON CONFLICT (job, attempt, name) DO UPDATE SET size = IIF(host = ?5, MAX(size, ?4), ?4), host = ?5"
)


def behind(
    store: Store, host: str, jobs: Iterable[str] | None = None, logs: bool = True
) -> list[tuple[str, int, str, int, int]]:
    """Return the streams of a host of which bytes are missing here: (job, attempt, name, offset, size).

    Args:
        store: open.
        host: whose streams.
        jobs: only of these jobs; None for all.
        logs: with the logs, or only the records.
    """
    query = (
        "SELECT s.job, s.attempt, s.name, s.offset, s.size FROM streams s JOIN jobs j ON j.job = s.job"
        " WHERE s.host = ?1 AND j.host = ?1 AND s.offset < s.size ORDER BY s.name = 'log', j.created_at"
    )
    wanted = None if jobs is None else set(jobs)
    return [
        (row["job"], row["attempt"], row["name"], row["offset"], row["size"])
        for row in store.conn.execute(query, [host])
        if (wanted is None or row["job"] in wanted) and (logs or row["name"] != "log")
    ]


def put_size(store: Store, job: str, attempt: int, name: str, size: int) -> None:
    """Note that a stream ends earlier than its host said."""
    with store.transaction() as conn:
        query = "UPDATE streams SET size = MAX(offset, ?) WHERE job = ? AND attempt = ? AND name = ?"
        conn.execute(query, [size, job, attempt, name])


EVENTS = "events/"
"""Begins the name of the stream of an event file of TensorBoard's."""
READ_EVENTS = "tensorboard"
"""Name of the cursor up to which event files were read, bytes of all of them."""


def is_file(name: str) -> bool:
    """Say whether a stream is kept as a file: it is read by other programs, or line by line."""
    return name == "log" or name.startswith(EVENTS)


def put_hole(store: Store, job: str, attempt: int, name: str, offset: int, end: int) -> None:
    """Move the cursor of a stream that is kept as a file over what its host does not keep: it takes no space here.

    Raises:
        StoreError: the disk does not take it.
    """
    with _to_write(job, attempt, name) as fd:
        if os.fstat(fd).st_size < end:
            os.ftruncate(fd, end)
    with store.transaction():
        _move(store, job, attempt, name, offset, end)


def put_page(store: Store, job: str, attempt: int, name: str, offset: int, page: bytes) -> None:
    """Append a page of a stream to its file, then move the cursor: bytes written twice are the same bytes.

    Raises:
        StoreError: the disk does not take it.
    """
    with _to_write(job, attempt, name) as fd:
        view, at = memoryview(page), offset
        while view:
            count = os.pwrite(fd, view, at)
            view, at = view[count:], at + count
    with store.transaction():
        _move(store, job, attempt, name, offset, offset + len(page))


@contextlib.contextmanager
def _to_write(job: str, attempt: int, name: str) -> Iterator[int]:
    """Give a descriptor of a stream's file, made when it is not there.

    Raises:
        StoreError: the disk does not take it.
    """
    path = locations.stream_file(job, attempt, name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600), "wb", buffering=0) as file:
            yield file.fileno()
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}", "free space on this machine's disk") from None


def put_records_page(store: Store, job: str, attempt: int, name: str, offset: int, page: bytes) -> int:
    """Take in the whole lines of a page of a records file, with the cursor behind them.

    Returns:
        How many bytes were taken: an unfinished last line is left for later.
    """
    taken = page.rfind(b"\n") + 1
    if not taken:
        return 0
    from foundations_tui.store.points import decode_points  # its library takes longer to load than most verbs run

    writer = name.partition("/")[2]
    with store.transaction() as conn:
        if _move(store, job, attempt, name, offset, offset + taken):
            for base, part in _parts(page[:taken], offset):
                points = decode_points(part, base)
                if points is None:
                    _put_records(store, job, attempt, writer, decode(part, base))
                else:
                    series.put(conn, job, attempt, writer, points)
    return taken


_PART_BYTES = 1 << 16
"""What is decoded at once: more does not fit into a processor's cache, and takes half as long again."""


def _parts(page: bytes, offset: int) -> Iterator[tuple[int, bytes]]:
    """Cut whole lines into parts of whole lines: (where it begins in the file, the part)."""
    start = 0
    while start < len(page):
        end = page.rfind(b"\n", start, start + _PART_BYTES) + 1 or page.find(b"\n", start) + 1
        yield offset + start, page[start:end]
        start = end


def put_found(
    store: Store, job: str, attempt: int, name: str, offset: int, taken: int, writer: str, found: list[Record]
) -> None:
    """Take in metrics that were found in a file here, with the cursor behind what was read.

    Args:
        store: open for writing.
        job: whole id.
        attempt: which of its attempts.
        name: the cursor's.
        offset: where the page began.
        taken: its bytes.
        writer: whose records they are.
        found: in their order.
    """
    with store.transaction():
        if _move(store, job, attempt, name, offset, offset + taken):
            _put_records(store, job, attempt, writer, found)


def unread_events(store: Store, host: str) -> list[tuple[str, int]]:
    """Return the attempts of a host's jobs (job, attempt) of whose event files more is here than was read."""
    query = (
        "SELECT s.job, s.attempt FROM streams s WHERE s.host = ? AND s.name GLOB 'events/*' GROUP BY s.job, s.attempt"
        " HAVING SUM(s.offset) > COALESCE((SELECT c.offset FROM streams c WHERE c.job = s.job"
        f" AND c.attempt = s.attempt AND c.name = '{READ_EVENTS}'), 0)"
    )
    return [(row["job"], row["attempt"]) for row in store.conn.execute(query, [host])]


def event_files(conn: sqlite3.Connection, job: str, attempt: int) -> dict[str, int]:
    """Return the event files of an attempt, by their path on the host, and how many bytes of each are here."""
    query = "SELECT name, offset FROM streams WHERE job = ? AND attempt = ? AND name GLOB 'events/*' ORDER BY name"
    return {row["name"].removeprefix(EVENTS): row["offset"] for row in conn.execute(query, [job, attempt])}


def put_events(store: Store, job: str, attempt: int, known: int, size: int, found: dict[str, list[Record]]) -> None:
    """Take in what event files say, in place of what was read out of them before.

    Args:
        store: open for writing.
        job: whole id.
        attempt: which of its attempts.
        known: up to where they had been read, bytes of all of them.
        size: up to where they are read now.
        found: the records, by the prefix that their names bear.
    """
    with store.transaction() as conn:
        if _move(store, job, attempt, READ_EVENTS, known, size):
            series.forget_writers(conn, job, attempt, READ_EVENTS + "/")
            for prefix, records in found.items():
                _put_records(store, job, attempt, f"{READ_EVENTS}/{prefix}", records)


def skip_unfinished(store: Store, job: str, attempt: int, name: str, offset: int, size: int) -> None:
    """Pass over the torn last line of a writer that has ended."""
    with store.transaction():
        _move(store, job, attempt, name, offset, size)


def put_samples_page(store: Store, job: str, attempt: int, offset: int, page: bytes) -> int:
    """Take in the whole lines of a page of a job's samples, with the cursor behind them; return how many bytes."""
    taken = page.rfind(b"\n") + 1
    if not taken:
        return 0
    known = _sample_lines(page[:taken], 5, 6)
    rows = [(job, attempt, offset + at, *values, *[None] * (6 - len(values))) for at, values in known]
    with store.transaction() as conn:
        if _move(store, job, attempt, "samples", offset, offset + taken):
            conn.executemany("INSERT OR IGNORE INTO job_samples VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    return taken


def samples_offset(store: Store, host: str) -> int:
    """Return up to where a host's own samples are here."""
    row = store.conn.execute("SELECT samples_offset FROM hosts WHERE name = ?", [host]).fetchone()
    return int(row[0]) if row else 0


def put_host_samples(store: Store, host: str, base: int, offset: int, page: bytes) -> int:
    """Take in the whole lines of a page of a host's samples; what is older than some days goes.

    Args:
        store: open for writing.
        host: whose.
        base: the cursor that the page was asked for with.
        offset: where the page begins.
        page: its bytes.
    Returns:
        The cursor behind it.
    """
    end = offset + page.rfind(b"\n") + 1
    rows = [(host, *values[:4], json.dumps(values[4])) for _, values in _sample_lines(page, 5)]
    with store.transaction() as conn:
        moved = conn.execute(
            "UPDATE hosts SET samples_offset = ? WHERE name = ? AND samples_offset = ?", [end, host, base]
        )
        if moved.rowcount == 1:
            conn.executemany("INSERT OR IGNORE INTO host_samples VALUES (?, ?, ?, ?, ?, ?)", rows)
            conn.execute("DELETE FROM host_samples WHERE host = ? AND time < ?", [host, time.time() - _SAMPLES_KEPT])
    return end


_SAMPLES_KEPT = 7 * 86400.0


def _sample_lines(page: bytes, *widths: int) -> list[tuple[int, list[Any]]]:
    """Return (where it begins, its values) of each whole line that is a sample."""
    found, start = [], 0
    while (end := page.find(b"\n", start)) >= 0:
        try:
            values = json.loads(page[start:end])
            if isinstance(values, list) and len(values) in widths and isinstance(values[0], int | float):
                found.append((start, values))
        except (ValueError, RecursionError):
            pass
        start = end + 1
    return found


_HAS_FILES = (
    "(COALESCE(json_array_length(json_extract(spec, '$.outputs')), 0) > 0 OR EXISTS"
    " (SELECT 1 FROM facts f WHERE f.job = jobs.job AND f.kind = 'artifact'))"
)
"""Whether files of a job come by themselves: outputs that it declared, artifacts that it saved."""


def to_acknowledge(store: Store, host: str) -> list[str]:
    """Return the ended jobs of a host of which everything is here and the host has not been told so."""
    query = (
        "SELECT job FROM jobs WHERE host = ? AND acknowledged = 0 AND complete = 1"
        " AND state IN ('completed', 'failed', 'stopped', 'lost') AND reason_code NOT IN"
        " ('host_reinstalled', 'submit_interrupted')"
        " AND (outputs IS NOT NULL OR client IS NOT (SELECT value FROM meta WHERE key = 'client')"
        f" OR NOT ({_HAS_FILES}))"
    )
    return [row["job"] for row in store.conn.execute(query, [host])]


def put_told(store: Store, jobs: Iterable[str]) -> None:
    """Note that a host has been told that everything of these jobs is here."""
    with store.transaction() as conn:
        conn.executemany("UPDATE jobs SET acknowledged = 1 WHERE job = ?", [(job,) for job in jobs])


def to_collect(store: Store, host: str) -> list[str]:
    """Return the ended jobs of this client whose outputs are still to be brought from a host."""
    query = (
        "SELECT job FROM jobs WHERE host = ? AND outputs IS NULL AND acknowledged = 0 AND pruned = 0 AND attempt > 0"
        " AND state IN ('completed', 'failed', 'stopped', 'lost')"
        f" AND {_HAS_FILES}"
        " AND client = (SELECT value FROM meta WHERE key = 'client')"
    )
    return [row["job"] for row in store.conn.execute(query, [host])]


def put_outputs(store: Store, job: str, facts: dict[str, Any]) -> None:
    """Note which outputs of a job were brought: "folder", "files", "bytes", "left"."""
    with store.transaction() as conn:
        conn.execute("UPDATE jobs SET outputs = ? WHERE job = ?", [json.dumps(facts), job])


def mark_complete(store: Store, host: str) -> None:
    """Mark the ended jobs of a host whose streams are here whole."""
    with store.transaction() as conn:
        conn.execute(
            "UPDATE jobs SET complete = 1 WHERE host = ? AND complete = 0"
            " AND state IN ('completed', 'failed', 'stopped', 'lost')"
            " AND NOT EXISTS (SELECT 1 FROM streams s WHERE s.job = jobs.job AND s.offset < s.size)",
            [host],
        )


# --- runs outside of jobs ---------------------------------------------------------------------------------------


def put_run(store: Store, view: JobView) -> None:
    """Take in a run of this machine: a job of ``local`` that no agent knows."""
    with store.transaction():
        _put_view(store, "local", "", view)


def put_imported(store: Store, view: JobView, records: list[Record]) -> tuple[bool, bool]:
    """Take in a run of another tool, whole, or what became of it since; say whether it is new, and whether it changed.

    What was said of it here stays.
    """
    job = view.spec.job
    with store.transaction() as conn:
        before = _imported(conn, job)
        series.forget(conn, job)
        conn.execute("DELETE FROM facts WHERE job = ? AND writer = ?", [job, _IMPORT])
        _put_view(store, "local", "", view)
        _put_records(store, job, view.attempt, _IMPORT, records)
        conn.execute("UPDATE jobs SET complete = 1, acknowledged = 1 WHERE job = ?", [job])
        return not before, before != _imported(conn, job)


_IMPORT = "import"
"""The writer of what is taken in from other tools."""


def _imported(conn: sqlite3.Connection, job: str) -> list[tuple[Any, ...]]:
    """Return what there is of an imported run, to be compared."""
    queries = (
        "SELECT state, reason, started_at, ended_at FROM jobs WHERE job = ?",
        "SELECT key, count, first, last, min, max, step, time FROM series WHERE job = ? ORDER BY key",
        "SELECT kind, key, value FROM facts WHERE job = ? ORDER BY kind, key",
    )
    return [tuple(row) for query in queries for row in conn.execute(query, [job])]


def put_run_complete(store: Store, job: str) -> None:
    """Note that a run has ended and all its records are here; there is nobody to be told."""
    with store.transaction() as conn:
        conn.execute("UPDATE jobs SET complete = 1, acknowledged = 1 WHERE job = ?", [job])
        conn.execute("UPDATE annotations SET sent = 1 WHERE job = ?", [job])


def run_offset(store: Store, job: str, attempt: int, name: str) -> int:
    """Return up to where a records file of a run is here."""
    with store.transaction() as conn:
        conn.execute(_PUT_SIZE, [job, attempt, name, 0, ""])
        query = "SELECT offset FROM streams WHERE job = ? AND attempt = ? AND name = ?"
        return int(conn.execute(query, [job, attempt, name]).fetchone()[0])


# --- annotations ------------------------------------------------------------------------------------------------


def put_annotations(store: Store, jobs: Iterable[str], changes: dict[str, Any], moment: float) -> None:
    """Say something of jobs: it stands here at once, and is sent to their hosts.

    Args:
        store: open for writing.
        jobs: whole ids.
        changes: "note", "starred", "archived", "trashed", "project", "tag:KEY" (None takes a tag away).
        moment: when it was said, seconds since the epoch.
    """
    with store.transaction():
        for job in jobs:
            _put_annotations(store, job, {key: [value, moment] for key, value in changes.items()}, sent=False)


def unsent_annotations(store: Store, host: str) -> dict[str, dict[str, Any]]:
    """Return what was said of jobs and their host does not know, as the host takes it."""
    found: dict[str, dict[str, Any]] = {}
    query = (
        "SELECT a.job, a.key, a.value, a.time FROM annotations a JOIN jobs j ON j.job = a.job"
        " WHERE a.sent = 0 AND j.host = ? AND j.journal IS NOT NULL AND j.state != 'submitting'"
        " ORDER BY a.job LIMIT 200"
    )
    room = _MOST_UNSENT
    for job, key, value, moment in store.conn.execute(query, [host]):
        room -= len(key) + len(value)
        if room < 0 and found:
            break
        found.setdefault(job, {})[key] = [json.loads(value), moment]
    return found


_MOST_UNSENT = 1 << 20
"""Characters of annotations in one message."""


def put_annotations_sent(store: Store, sent: dict[str, dict[str, Any]]) -> None:
    """Note that a host knows these annotations, unless newer ones were made meanwhile."""
    rows = [(job, key, entry[1]) for job, changes in sent.items() for key, entry in changes.items()]
    with store.transaction() as conn:
        conn.executemany("UPDATE annotations SET sent = 1 WHERE job = ? AND key = ? AND time = ?", rows)


def long_in_trash(store: Store, host: str, before: float) -> list[str]:
    """Return the jobs of a host that were deleted before a moment (seconds since the epoch)."""
    query = "SELECT job FROM jobs WHERE trashed > 0 AND trashed < ? AND host = ?"
    return [row[0] for row in store.conn.execute(query, [before, host])]


# --- inside: called within a transaction ------------------------------------------------------------------------


def _may_speak_of(conn: sqlite3.Connection, host: str, job: str, journal: str = "") -> bool:
    """Say whether a host may say something of a job: one of its own, or one that nobody knows yet.

    What a host says of another host's job is passed over, everywhere. A host that the user has given a new name shows
    itself by its journal's id, which is told to nobody else.
    """
    found = conn.execute("SELECT host, journal FROM jobs WHERE job = ?", [job]).fetchone()
    return found is None or found["host"] == host or bool(journal and found["journal"] == journal)


def _put_view(store: Store, host: str, journal: str, view: JobView) -> None:
    spec, wire = view.spec, view.spec.to_wire()
    row = {
        "job": spec.job,
        "host": host,
        "journal": journal or None,
        "project": spec.project,
        "name": spec.name,
        "owner": spec.owner,
        "client": spec.client,
        "state": view.state.value,
        "reason_code": view.reason_code,
        "reason": view.reason,
        "exit_code": view.exit_code,
        "attempt": view.attempt,
        "command": json.dumps(list(spec.command)),
        "spec": json.dumps(json_value(wire)),  # SQLite's JSON has no NaN
        "snapshot": spec.snapshot,
        "cpus": spec.cpus,
        "gpus_requested": spec.gpus,
        "gpus": json.dumps(list(view.gpus)),
        "created_at": spec.created_at,
        "queued_at": view.queued_at,
        "started_at": view.started_at,
        "ended_at": view.ended_at,
        "stop_requested_by": view.stop_requested_by,
        "usage": json.dumps(view.usage),
        "noticed_at": time.time(),
        "signal": view.signal,
        "cause": json.dumps(view.cause) if view.cause else None,
        "priority": view.priority,
        "rank": view.rank,
        "group_name": spec.group,
        "attempts": json.dumps(view.attempts),
        "pruned": int(view.pruned),
    }
    for key in _FREE_TEXT:
        if row[key]:
            row[key] = valid_text(str(row[key]))
    is_new = store.conn.execute("SELECT 1 FROM jobs WHERE job = ?", [spec.job]).fetchone() is None
    store.conn.execute(_PUT_JOB, row)
    if is_new:  # a specification never changes
        _put_facts(store, spec.job, "param", spec.params)
        _put_facts(store, spec.job, "tag", spec.tags)
        _put_facts(store, spec.job, "arg", command_line.parse(spec.command, spec.shell))
    if not is_new or view.annotations:
        _put_annotations(store, spec.job, view.annotations, sent=True)
    streams = [(view.attempt, view.streams), *((past["attempt"], past["streams"]) for past in view.attempts)]
    sizes = [(spec.job, int(n), valid_text(name), size, host) for n, found in streams for name, size in found.items()]
    if sizes:
        store.conn.executemany(_PUT_SIZE, sizes)
    if view.state.is_final and view.streams:
        _forget_event_files(store, spec.job, view.attempt, view.streams)


def _forget_event_files(store: Store, job: str, attempt: int, streams: Iterable[str]) -> None:
    """Pass over the event files that an ended attempt has no more: it has removed them, or given them other names."""
    known = set(streams)
    gone = [EVENTS + name for name in event_files(store.conn, job, attempt) if EVENTS + name not in known]
    for name in gone:
        query = "DELETE FROM streams WHERE job = ? AND attempt = ? AND name = ?"
        store.conn.execute(query, [job, attempt, name])
    if gone:
        again = "UPDATE streams SET offset = 0, size = 0 WHERE job = ? AND attempt = ? AND name = ?"
        store.conn.execute(again, [job, attempt, READ_EVENTS])


_JOB_COLUMNS = (
    "job host journal project name owner client state reason_code reason exit_code attempt command spec snapshot cpus"
    " gpus_requested gpus created_at queued_at started_at ended_at stop_requested_by usage noticed_at signal cause"
    " priority rank group_name attempts pruned"
).split()
_VIEW_COLUMNS = (
    "host journal state reason_code reason exit_code attempt gpus queued_at started_at ended_at stop_requested_by usage"
    " noticed_at signal cause priority rank attempts pruned"
).split()
"""What may change: a specification is what it was when it first came, whatever its host says later."""
_FREE_TEXT = ("project", "name", "owner", "client", "reason", "stop_requested_by", "signal", "group_name")
"""Columns whose text somebody made up; what is written as JSON is ASCII."""
_KEPT_WHILE_QUEUED = ("reason_code", "reason")
"""Why a queued job waits comes apart from its view."""


def _update_of(column: str) -> str:
    if column in _KEPT_WHILE_QUEUED:
        return f"{column} = CASE WHEN excluded.state = 'queued' THEN {column} ELSE excluded.{column} END"
    return f"{column} = excluded.{column}"


_PUT_JOB = (
    f"INSERT INTO jobs ({', '.join(_JOB_COLUMNS)}) VALUES ({', '.join(':' + c for c in _JOB_COLUMNS)})"
    f" ON CONFLICT (job) DO UPDATE SET {', '.join(map(_update_of, _VIEW_COLUMNS))}, complete = 0"
)


def _put_annotations(store: Store, job: str, changes: dict[str, Any], sent: bool) -> None:
    """Take in what was said of a job, where it is newer than what is known, and let it show."""
    rows = [
        (job, valid_text(key), json.dumps(value), float(moment), int(sent)) for key, (value, moment) in changes.items()
    ]
    store.conn.executemany(
        "INSERT INTO annotations (job, key, value, time, sent) VALUES (?, ?, ?, ?, ?) ON CONFLICT (job, key) DO UPDATE"
        " SET value = excluded.value, time = excluded.time, sent = excluded.sent WHERE excluded.time >= time",
        rows,
    )
    known = store.conn.execute("SELECT key, value, time FROM annotations WHERE job = ?", [job]).fetchall()
    for key, text, moment in known:
        value = json.loads(text)
        if key in _ANNOTATED:
            if key == "trashed":  # days are counted from when it was heard of: other clocks may be wrong
                when = "CASE WHEN ? = 0 THEN 0 WHEN trashed > 0 THEN trashed ELSE ? END"
                query = f"UPDATE jobs SET trashed = {when} WHERE job = ?"
                store.conn.execute(query, [int(bool(value)), time.time(), job])
                continue
            shown = valid_text(value) if isinstance(value, str) else int(value)
            store.conn.execute(f"UPDATE jobs SET {key} = ? WHERE job = ?", [shown, job])
        elif key.startswith("tag:"):
            row = ("tag", key[4:], job, *_fact_value(value), moment, _PEOPLE, 0)
            store.conn.execute(_PUT_FACT, row)


_ANNOTATED = ("note", "starred", "archived", "trashed", "project")
"""Annotations that are columns of a job."""
_PEOPLE = "\x7f"
"""The writer of what people say: behind every file's name, should the time be the same."""


def _lose_unknown(store: Store, host: str, journal: str, earlier: list[str]) -> None:
    """End the jobs of a host that answers with another journal and does not know them: it was reinstalled, or damaged.

    Args:
        store: within a transaction.
        host: which.
        journal: its journal's id.
        earlier: ids that the same journal had before it was damaged.
    """
    query = (
        "SELECT job, journal FROM jobs WHERE host = ? AND state IN ('queued', 'preparing', 'running')"
        " AND journal IS NOT NULL AND journal != ?"
    )
    for row in store.conn.execute(query, [host, journal]).fetchall():
        words = "host was reinstalled"
        if row["journal"] in earlier:
            words = "the journal of its host was damaged, and nothing of this job is left there"
        _end(store, row["job"], EndReason.HOST_REINSTALLED, JobState.LOST, words)


def _put_facts(store: Store, job: str, kind: str, pairs: dict[str, Any]) -> None:
    """Take in what a specification says; whatever a record says of the same key is newer."""
    rows = [(kind, valid_text(key), job, *_fact_value(value), 0.0, "", 0) for key, value in pairs.items()]
    store.conn.executemany(_PUT_FACT, rows)


def _fact_value(value: Any) -> tuple[str, float | None]:
    """Return a value as JSON, and as the number it is sorted and compared by; a text may say one."""
    number = command_line.number(value) if isinstance(value, str) and len(value) < _LONGEST_NUMBER else value
    return json.dumps(value), series.number_of(number)


_LONGEST_NUMBER = 40


_PUT_FACT = (
    "INSERT INTO facts (kind, key, job, value, number, time, writer, offset) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (kind, key, job) DO UPDATE SET value = excluded.value, number = excluded.number,"
    " time = excluded.time, writer = excluded.writer, offset = excluded.offset"
    " WHERE (excluded.time, excluded.writer, excluded.offset) >= (time, writer, offset)"
)
"""Of several values for one key the last stands: by time, then writer, then place in its file."""


def _put_records(store: Store, job: str, attempt: int, writer: str, found: Iterable[Record]) -> None:
    points: dict[str, list[Point]] = {}
    facts = []
    for record in found:
        if record.kind == METRIC:
            points.setdefault(record.key, []).append((record.time, record.offset, record.step or 0, record.value))
        elif record.kind in _FACTS:
            value, number = _fact_value(record.value)
            facts.append((_FACTS[record.kind], record.key, job, value, number, record.time, writer, record.offset))
    if facts:
        store.conn.executemany(_PUT_FACT, facts)
    series.put(store.conn, job, attempt, writer, points)


_FACTS = {PARAM: "param", TAG: "tag", ARTIFACT: "artifact", USED: "used"}
"""What the kinds of records are called in the table of facts."""


def _move(store: Store, job: str, attempt: int, name: str, base: int, to: int) -> bool:
    """Move a stream's cursor, if it still stands where the page began."""
    changed = store.conn.execute(
        "UPDATE streams SET offset = ?, size = MAX(size, ?) WHERE job = ? AND attempt = ? AND name = ? AND offset = ?",
        [to, to, job, attempt, name, base],
    )
    return changed.rowcount == 1


def _end(store: Store, job: str, reason: EndReason, state: JobState, words: str) -> None:
    store.conn.execute(
        "UPDATE jobs SET state = ?, reason_code = ?, reason = ?, ended_at = ?, noticed_at = ? WHERE job = ?",
        [state.value, reason.value, words, time.time(), time.time(), job],
    )


def _forget(store: Store, job: str) -> None:
    """Remove a job's rows and its local log: what remains of the log without rows would be overwritten anyway."""
    shutil.rmtree(locations.log_file(job, 1).parent, ignore_errors=True)
    series.forget(store.conn, job)
    for table in ("job_samples", "facts", "annotations", "streams", "activity", "told", "jobs"):
        store.conn.execute(f"DELETE FROM {table} WHERE job = ?", [job])
