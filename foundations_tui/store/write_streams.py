"""Pages of logs, records, samples and event files.

A page and its cursor are one transaction: nothing is lost and nothing is twice.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from foundations.records import Record, decode, valid_text
from foundations_tui.config import locations
from foundations_tui.errors import StoreError
from foundations_tui.store import series
from foundations_tui.store.cursors import PUT_SIZE, may_speak_of, move
from foundations_tui.store.db import Store
from foundations_tui.store.rows import PATIENCE
from foundations_tui.store.write_records import put_records


def put_sizes(store: Store, host: str, sizes: Iterable[tuple[str, int, str, int]]) -> None:
    """Note how long streams are on their host: (job, attempt, name, bytes)."""
    now = time.time()
    with store.transaction() as conn:
        rows = [
            (job, int(attempt), valid_text(name), int(size), host)
            for job, attempt, name, size in sizes
            if may_speak_of(conn, host, job)
        ]
        _note_watched(conn, host, now)
        _note_activity(conn, rows, now)
        conn.executemany(PUT_SIZE, rows)


_WATCHED_SECONDS = 90.0
"""A host that is watched says how long its streams are at least so often."""


def _note_watched(conn: sqlite3.Connection, host: str, now: float) -> None:
    """Note that the sizes of a host are known; time in which nobody watched is no silence of its jobs."""
    row = conn.execute("SELECT sizes_at FROM hosts WHERE name = ?", [host]).fetchone()
    conn.execute("UPDATE hosts SET sizes_at = ? WHERE name = ?", [now, host])
    before = row["sizes_at"] if row else None
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
        stored = conn.execute(query, [job, attempt, name]).fetchone()
        if size <= (stored[0] if stored else 0):
            continue
        row = conn.execute("SELECT attempt, at, gaps FROM activity WHERE job = ?", [job]).fetchone()
        gaps = json.loads(row["gaps"]) if row else []
        if row and row["attempt"] == attempt:
            gap = now - row["at"]
            if 0 <= gap < _LEAST_GAP:
                continue  # no need to write each of many a second
            if gap > 0:
                gaps = [*gaps, round(gap, 1)][-_MOST_GAPS:]
        conn.execute(_PUT_ACTIVITY, [job, attempt, now, patience(gaps), json.dumps(gaps)])


def patience(gaps: Sequence[float]) -> float:
    """Return how long a job may be silent before it counts as stalled, seconds: ten times what it seldom exceeds.

    Args:
        gaps: how long it was silent lately, seconds.
    """
    usual = sorted(gaps)[min(len(gaps) - 1, int(len(gaps) * 0.95))] if gaps else 0.0
    return max(PATIENCE, 10 * usual)


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
    chosen = None if jobs is None else set(jobs)
    return [
        (row["job"], row["attempt"], row["name"], row["offset"], row["size"])
        for row in store.conn.execute(query, [host])
        if (chosen is None or row["job"] in chosen) and (logs or row["name"] != "log")
    ]


def put_size(store: Store, job: str, attempt: int, name: str, size: int) -> None:
    """Note that a stream ends earlier than its host said."""
    with store.transaction() as conn:
        query = "UPDATE streams SET size = MAX(offset, ?) WHERE job = ? AND attempt = ? AND name = ?"
        conn.execute(query, [size, job, attempt, name])


EVENTS = "events/"
"""Begins the name of the stream of an event file of TensorBoard's."""
REQUESTS = "records/requests-"
"""Begins the names of those of a model server's request log, in their order."""
MOST_REQUESTS = 8
"""So many of these are kept here of an attempt, as on its host."""
READ_EVENTS = "tensorboard"
"""Name of the cursor up to which event files were read, bytes of all of them."""


def is_file(name: str) -> bool:
    """Return whether a stream is kept as a file: it is read by other programs, or line by line."""
    return name == "log" or name.startswith((EVENTS, REQUESTS))


def put_hole(store: Store, job: str, attempt: int, name: str, offset: int, end: int) -> None:
    """Move the cursor of a stream that is kept as a file over what its host does not keep: it takes no space here.

    Raises:
        StoreError: the disk does not take it.
    """
    with _to_write(job, attempt, name) as fd:
        if os.fstat(fd).st_size < end:
            os.ftruncate(fd, end)
    with store.transaction():
        move(store, job, attempt, name, offset, end)


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
        move(store, job, attempt, name, offset, offset + len(page))
    if name.startswith(REQUESTS) and not offset:
        _forget_old_requests(store, job, attempt)


def request_files(conn: sqlite3.Connection, job: str, attempt: int) -> list[str]:
    """Return the names of the streams of an attempt's request log, oldest first."""
    query = f"SELECT name FROM streams WHERE job = ? AND attempt = ? AND name GLOB '{REQUESTS}*' ORDER BY name"
    return [row["name"] for row in conn.execute(query, [job, attempt])]


def _forget_old_requests(store: Store, job: str, attempt: int) -> None:
    for name in request_files(store.conn, job, attempt)[:-MOST_REQUESTS]:
        with contextlib.suppress(OSError):
            locations.stream_file(job, attempt, name).unlink()


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
        if move(store, job, attempt, name, offset, offset + taken):
            for base, part in _parts(page[:taken], offset):
                points = decode_points(part, base)
                if points is None:
                    put_records(store, job, attempt, writer, decode(part, base))
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


def add_log_metrics(
    store: Store, job: str, attempt: int, name: str, offset: int, taken: int, writer: str, records: list[Record]
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
        records: in their order.
    """
    with store.transaction():
        if move(store, job, attempt, name, offset, offset + taken):
            put_records(store, job, attempt, writer, records)


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


def put_events(store: Store, job: str, attempt: int, known: int, size: int, by_folder: dict[str, list[Record]]) -> None:
    """Take in what event files say, in place of what was read out of them before.

    Args:
        store: open for writing.
        job: whole id.
        attempt: which of its attempts.
        known: up to where they had been read, bytes of all of them.
        size: up to where they are read now.
        by_folder: the records, by the prefix that their names bear.
    """
    with store.transaction() as conn:
        if move(store, job, attempt, READ_EVENTS, known, size):
            series.forget_writers(conn, job, attempt, READ_EVENTS + "/")
            for prefix, records in by_folder.items():
                put_records(store, job, attempt, f"{READ_EVENTS}/{prefix}", records)


def skip_unfinished(store: Store, job: str, attempt: int, name: str, offset: int, size: int) -> None:
    """Pass over the torn last line of a writer that has ended."""
    with store.transaction():
        move(store, job, attempt, name, offset, size)


def put_samples_page(store: Store, job: str, attempt: int, offset: int, page: bytes) -> int:
    """Take in the whole lines of a page of a job's samples, with the cursor behind them; return how many bytes."""
    taken = page.rfind(b"\n") + 1
    if not taken:
        return 0
    samples = _sample_lines(page[:taken], 5, 6)
    rows = [(job, attempt, offset + at, *values, *[None] * (6 - len(values))) for at, values in samples]
    with store.transaction() as conn:
        if move(store, job, attempt, "samples", offset, offset + taken):
            conn.executemany("INSERT OR IGNORE INTO job_samples VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    return taken


def _sample_lines(page: bytes, *widths: int) -> list[tuple[int, list[Any]]]:
    """Return (where it begins, its values) of each whole line that is a sample."""
    samples, start = [], 0
    while (end := page.find(b"\n", start)) >= 0:
        try:
            values = json.loads(page[start:end])
            if isinstance(values, list) and len(values) in widths and isinstance(values[0], int | float):
                samples.append((start, values))
        except (ValueError, RecursionError):
            pass
        start = end + 1
    return samples


def mark_complete(store: Store, host: str) -> None:
    """Mark the ended jobs of a host whose streams are here whole."""
    with store.transaction() as conn:
        conn.execute(
            "UPDATE jobs SET complete = 1 WHERE host = ? AND complete = 0"
            " AND state IN ('completed', 'failed', 'stopped', 'lost')"
            " AND NOT EXISTS (SELECT 1 FROM streams s WHERE s.job = jobs.job AND s.offset < s.size)",
            [host],
        )


def run_offset(store: Store, job: str, attempt: int, name: str) -> int:
    """Return up to where a records file of a run is here."""
    with store.transaction() as conn:
        conn.execute(PUT_SIZE, [job, attempt, name, 0, ""])
        query = "SELECT offset FROM streams WHERE job = ? AND attempt = ? AND name = ?"
        return int(conn.execute(query, [job, attempt, name]).fetchone()[0])


def forget_event_files(store: Store, job: str, attempt: int, streams: Iterable[str]) -> None:
    """Forget the event files that an ended attempt has removed or renamed."""
    final = set(streams)
    gone = [EVENTS + name for name in event_files(store.conn, job, attempt) if EVENTS + name not in final]
    for name in gone:
        query = "DELETE FROM streams WHERE job = ? AND attempt = ? AND name = ?"
        store.conn.execute(query, [job, attempt, name])
    if gone:
        again = "UPDATE streams SET offset = 0, size = 0 WHERE job = ? AND attempt = ? AND name = ?"
        store.conn.execute(again, [job, attempt, READ_EVENTS])
