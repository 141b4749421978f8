"""Whether all that was recorded of a job is on this machine, and hashes to what was recorded. Nothing is changed."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from foundations_tui.config import locations
from foundations_tui.snapshot import git_cli, objects, shadows
from foundations_tui.store import queries
from foundations_tui.store.rows import JobRow, StreamRow
from foundations_tui.sync.outputs import SYNCED
from foundations_tui.text import humanize
from remote_agent.protocol import facts

OK, MISSING, DAMAGED, UNKNOWN = "ok", "missing", "damaged", "not recorded"


@dataclass(frozen=True)
class Check:
    """One part of what is known of a job."""

    part: str
    """"code", "facts", "packages", "lock", "log", "records" or an artifact."""
    state: str
    """"ok", "missing", "damaged", or "not recorded": then there is nothing to be checked."""
    words: str

    @property
    def is_good(self) -> bool:
        """Whether nothing is missing that was recorded."""
        return self.state in (OK, UNKNOWN)


def verify(conn: sqlite3.Connection, row: JobRow) -> list[Check]:
    """Look at each part of what was recorded of a job.

    Args:
        conn: a connection of the store.
        row: the job, with details.
    """
    checks = [_code(row), *_facts(conn, row), *_lock(conn, row)]
    by_attempt: dict[int, list[StreamRow]] = {}
    for stream in queries.streams(conn, row.job):
        by_attempt.setdefault(stream.attempt, []).append(stream)
    for attempt, streams in sorted(by_attempt.items()):
        checks += _streams(row, attempt, streams, f" of attempt {attempt}" if len(by_attempt) > 1 else "")
    return [*checks, *_artifacts(row)]


def _code(row: JobRow) -> Check:
    """Read every object of the snapshot, and hash it."""
    if not row.snapshot:
        return Check("code", UNKNOWN, "it was started by hand")
    problem = Check("code", MISSING, "not on this machine: foundations get JOB --code brings it")
    for shadow in shadows.holding(row.snapshot):
        try:
            listed = list(objects.entries(shadow, row.snapshot))
            for _ in objects.read(shadow, [row.snapshot, *dict.fromkeys(entry.oid for entry in listed)]):
                pass
        except (objects.Damaged, git_cli.GitFailed) as error:
            problem = Check("code", DAMAGED, str(error))
            continue
        files = [entry for entry in listed if entry.kind == "blob"]
        size = humanize.size(sum(entry.size for entry in files))
        return Check("code", OK, f"{humanize.plural(len(files), 'file')}, {size}, tree {row.snapshot}")
    return problem


def _facts(conn: sqlite3.Connection, row: JobRow) -> Iterator[Check]:
    recorded = queries.recorded(conn, row)
    if recorded.facts is None:
        yield Check("facts", UNKNOWN, "none have come of its last attempt")
        return
    yield Check("facts", OK, f"version {recorded.facts.version}")
    digest = recorded.facts.packages
    if digest is None:
        yield Check("packages", UNKNOWN, "its Python could not be asked")
    elif recorded.packages is None:
        yield Check("packages", MISSING, f"the list {digest[:12]} has not come: foundations sync")
    elif facts.packages_hash(facts.packages_text(recorded.packages)) != digest:
        yield Check("packages", DAMAGED, f"the list is not that of hash {digest[:12]}")
    else:
        yield Check("packages", OK, humanize.plural(len(recorded.packages), "package"))


def _lock(conn: sqlite3.Connection, row: JobRow) -> Iterator[Check]:
    recorded = queries.recorded(conn, row)
    digest = recorded.lock
    if not digest:
        return
    text = queries.lock_text(conn, digest)
    if text is None:
        yield Check("lock", MISSING, f"the lock {digest[:12]} has not come: foundations sync")
    elif hashlib.sha256(text.encode()).hexdigest() != digest:
        yield Check("lock", DAMAGED, f"it is not that of hash {digest[:12]}")
    else:
        yield Check("lock", OK, f"{recorded.recipe.get('source') or 'lock'}, {digest[:12]}")


def _streams(row: JobRow, attempt: int, streams: Sequence[StreamRow], which: str) -> Iterator[Check]:
    """Look whether the log and the records of an attempt have come whole."""
    for stream in streams:
        if stream.name != "log":
            continue
        path = locations.log_file(row.job, attempt)
        here = os.path.getsize(path) if path.exists() else 0
        if here < stream.offset:
            words = f"{humanize.size(stream.offset)} came, {humanize.size(here)} are in {path}"
            yield Check("log" + which, DAMAGED, words)
        else:
            yield _whole("log" + which, stream.offset, stream.size)
    records = [stream for stream in streams if stream.name.startswith("records/")]
    if records:
        yield _whole("records" + which, sum(s.offset for s in records), sum(s.size for s in records))


def _whole(part: str, here: int, size: int) -> Check:
    if here < size:
        return Check(part, MISSING, f"{humanize.size(size - here)} of {humanize.size(size)} are still on the host")
    return Check(part, OK, humanize.size(here))


def _artifacts(row: JobRow) -> Iterator[Check]:
    """Look whether the artifacts are here, and as large as the job said."""
    files = {key: told for key, told in row.artifacts.items() if isinstance(told, dict) and told.get("kind") != SYNCED}
    if not files:
        return
    here, wrong = 0, []
    for key, told in files.items():
        name = told.get("path")
        path = locations.artifacts_folder(row.job) / name if isinstance(name, str) and "/" not in name else None
        if path is None or not path.is_file():
            continue
        here += 1
        if isinstance(told.get("size"), int) and path.stat().st_size != told["size"]:
            wrong.append(key)
    if wrong:
        yield Check("artifacts", DAMAGED, f"not of the size that was recorded: {', '.join(wrong[:5])}")
    elif here < len(files):
        hint = "foundations get JOB --artifacts brings them"
        yield Check("artifacts", MISSING, f"{len(files) - here} of {len(files)} are not here: {hint}")
    else:
        yield Check("artifacts", OK, humanize.plural(here, "file"))
