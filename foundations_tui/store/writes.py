"""What is written to the store. A page from a host and its cursor are one transaction: nothing lost, nothing twice."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from foundations.records import Record, valid_text
from foundations_tui.config import locations
from foundations_tui.config.hosts import IN_A_BUNDLE
from foundations_tui.store import series
from foundations_tui.store.cursors import PUT_SIZE, may_speak_of
from foundations_tui.store.db import Store, upsert
from foundations_tui.store.queries import LOOKED_AT, TRIED
from foundations_tui.store.rows import json_value
from foundations_tui.store.write_annotations import merge_annotations
from foundations_tui.store.write_records import put_facts, put_records
from foundations_tui.store.write_streams import forget_event_files
from foundations_tui.text import command_line
from remote_agent.protocol.jobs import JobSpec, JobView
from remote_agent.protocol.resources import Resources
from remote_agent.protocol.states import EndReason, JobState
from remote_agent.protocol.wire import JsonTable

if TYPE_CHECKING:
    from remote_agent.protocol.messages import ChangesAnswer, HelloAnswer

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
            if (journal != known or view.seq > seq) and may_speak_of(store.conn, host, view.spec.job, journal):
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


def put_contact(
    store: Store, host: str, resources: Resources, problems: list[str], hello: HelloAnswer | None = None
) -> None:
    """Note that a host was heard, and what it has.

    Args:
        store: the client's.
        host: its name.
        resources: what it has.
        problems: what is wrong there, in words.
        hello: who its agent is, where it has just said so.
    """
    columns: dict[str, Any] = {
        "resources": json.dumps(resources.to_wire()),
        "problems": json.dumps(problems),
        "last_contact": time.time(),
        "error": None,
        "unreachable_since": None,
    }
    if hello is not None:
        columns.update(python=hello.python, agent_version=hello.version)
        columns["clock_offset"] = hello.time - time.time() if hello.time else 0.0
    with store.transaction() as conn:
        upsert(conn, "hosts", {"name": host, **columns}, "name")


def put_unreachable(store: Store, host: str, error: str) -> None:
    """Note that a host cannot be reached."""
    with store.transaction():
        store.conn.execute(
            "INSERT INTO hosts (name, error, unreachable_since) VALUES (?1, ?2, ?3) ON CONFLICT (name) DO UPDATE"
            " SET error = ?2, unreachable_since = COALESCE(unreachable_since, ?3)",
            [host, error, time.time()],
        )
        upsert(store.conn, "meta", {"key": TRIED + host, "value": str(time.time())}, "key")


def put_changes(store: Store, host: str, base: tuple[str, int], page: ChangesAnswer, views: Iterable[JobView]) -> bool:
    """Apply one page of a host's changes together with the cursor behind it.

    Args:
        store: open for writing.
        host: whose changes.
        base: the cursor that the page was asked for with.
        page: the host's answer.
        views: its jobs.
    Returns:
        Whether it was applied; not when another client process has moved the cursor meanwhile.
    """
    with store.transaction() as conn:
        if cursor(store, host) != base:
            return False
        for view in views:
            if may_speak_of(conn, host, view.spec.job, page.journal):
                _put_view(store, host, page.journal, view)
        for job in page.deleted:
            if conn.execute("SELECT 1 FROM jobs WHERE job = ? AND host = ?", [job, host]).fetchone():
                _forget(store, job)
        _put_transitions(conn, host, page)
        if not page.more:
            _lose_unknown(store, host, page.journal, page.earlier)
        conn.execute(
            "INSERT INTO hosts (name, journal, seq, last_contact) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (name) DO UPDATE"
            " SET journal = ?2, seq = ?3, last_contact = ?4, error = NULL, unreachable_since = NULL",
            [host, page.journal, page.seq, time.time()],
        )
        return True


def _put_transitions(conn: sqlite3.Connection, host: str, page: ChangesAnswer) -> None:
    """Write what jobs of a host went through; what it says of others, or of those that are deleted, is passed over."""
    conn.executemany(
        "INSERT OR IGNORE INTO transitions SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9"
        " WHERE EXISTS (SELECT 1 FROM jobs WHERE job = ?5 AND host = ?1)",
        [(host, page.journal, *transition) for transition in page.transitions],
    )


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
        conn.execute(
            "UPDATE jobs SET starts_at = NULL WHERE host = ? AND starts_at IS NOT NULL"
            " AND job NOT IN (SELECT value FROM json_each(?))",
            [host, json.dumps(list(estimates))],
        )
        conn.executemany(
            "UPDATE jobs SET starts_at = ?1 WHERE job = ?2 AND host = ?3 AND state = 'queued' AND starts_at IS NOT ?1",
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
        upsert(conn, "meta", {"key": key, "value": value}, "key")


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
    with store.transaction() as conn:
        upsert(conn, "shipped", {"journal": journal, "folder": folder, "tree": tree}, "journal", "folder")


# --- streams ----------------------------------------------------------------------------------------------------


def claim_notices(told: Sequence[tuple[str, int, str]]) -> list[bool]:
    """Note that notifications of events are sent; return which of them nobody has sent yet.

    Args:
        told: (job, attempt, event).
    """
    with contextlib.closing(Store()) as store, store.transaction() as conn:
        return [conn.execute("INSERT OR IGNORE INTO told VALUES (?, ?, ?)", notice).rowcount == 1 for notice in told]


_HAS_FILES = (
    "(COALESCE(json_array_length(json_extract(spec, '$.outputs')), 0) > 0 OR EXISTS"
    " (SELECT 1 FROM facts f WHERE f.job = jobs.job AND f.kind = 'artifact'))"
)
"""Whether files of a job come by themselves: outputs that it declared, artifacts that it saved."""


def to_acknowledge(store: Store, host: str) -> list[str]:
    """Return the ended jobs of a host of which everything is here, unknown to the host."""
    query = (
        "SELECT job FROM jobs WHERE host = ? AND acknowledged = 0 AND complete = 1"
        " AND state IN ('completed', 'failed', 'stopped', 'lost') AND reason_code NOT IN"
        " ('host_reinstalled', 'submit_interrupted')"
        " AND (outputs IS NOT NULL OR client IS NOT (SELECT value FROM meta WHERE key = 'client')"
        f" OR NOT ({_HAS_FILES}))"
    )
    return [row["job"] for row in store.conn.execute(query, [host])]


def mark_acknowledged(store: Store, jobs: Iterable[str]) -> None:
    """Note that a host knows that everything of these jobs is here."""
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


def put_outputs(store: Store, job: str, facts: JsonTable) -> None:
    """Note which outputs of a job were brought: "folder", "files", "bytes", "left"."""
    with store.transaction() as conn:
        conn.execute("UPDATE jobs SET outputs = ? WHERE job = ?", [json.dumps(facts), job])


# --- runs outside of jobs ---------------------------------------------------------------------------------------


def put_run(store: Store, view: JobView) -> None:
    """Take in a run of this machine: a job of ``local`` that no agent knows."""
    with store.transaction():
        _put_view(store, "local", "", view)


def put_imported(store: Store, view: JobView, records: list[Record]) -> tuple[bool, bool]:
    """Take in a run of another tool, whole, or what became of it since; say whether it is new, and whether it changed.

    Annotations made here stay.
    """
    job = view.spec.job
    with store.transaction() as conn:
        before = _imported(conn, job)
        series.forget(conn, job)
        conn.execute("DELETE FROM facts WHERE job = ? AND writer = ?", [job, _IMPORT])
        _put_view(store, "local", "", view)
        put_records(store, job, view.attempt, _IMPORT, records)
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
    """Note that a run has ended and all its records are here; no host has to know."""
    with store.transaction() as conn:
        conn.execute("UPDATE jobs SET complete = 1, acknowledged = 1 WHERE job = ?", [job])
        conn.execute("UPDATE annotations SET sent = 1 WHERE job = ?", [job])


def put_bundled(store: Store, view: JobView) -> None:
    """Take in a job that came in a bundle, within a transaction; it never changes."""
    _put_view(store, IN_A_BUNDLE, "", view)
    store.conn.execute("UPDATE jobs SET complete = 1, acknowledged = 1 WHERE job = ?", [view.spec.job])


# --- inside: called within a transaction ------------------------------------------------------------------------


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
        "usage": json.dumps(view.usage.to_wire()),
        "noticed_at": time.time(),
        "signal": view.signal,
        "cause": json.dumps(view.cause.to_wire()) if view.cause else None,
        "priority": view.priority,
        "rank": view.rank,
        "group_name": spec.group,
        "attempts": json.dumps([past.to_wire() for past in view.attempts]),
        "pruned": int(view.pruned),
        "code_of": spec.code_of,
    }
    for key in _FREE_TEXT:
        if row[key]:
            row[key] = valid_text(str(row[key]))
    is_new = store.conn.execute("SELECT 1 FROM jobs WHERE job = ?", [spec.job]).fetchone() is None
    store.conn.execute(_PUT_JOB, row)
    if is_new:  # a specification never changes
        put_facts(store, spec.job, "param", spec.params)
        put_facts(store, spec.job, "tag", spec.tags)
        put_facts(store, spec.job, "arg", command_line.parse(spec.command, spec.shell))
    if not is_new or view.annotations:
        merge_annotations(store, spec.job, view.annotations, sent=True)
    streams = [(view.attempt, view.streams), *((past.attempt, past.streams) for past in view.attempts)]
    sizes = [
        (spec.job, int(n), valid_text(name), size, host) for n, by_name in streams for name, size in by_name.items()
    ]
    if sizes:
        store.conn.executemany(PUT_SIZE, sizes)
    if view.state.is_final and view.streams:
        forget_event_files(store, spec.job, view.attempt, view.streams)


_JOB_COLUMNS = (
    "job host journal project name owner client state reason_code reason exit_code attempt command spec snapshot cpus"
    " gpus_requested gpus created_at queued_at started_at ended_at stop_requested_by usage noticed_at signal cause"
    " priority rank group_name attempts pruned code_of"
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


def _lose_unknown(store: Store, host: str, journal: str, earlier: list[str]) -> None:
    """End the jobs of a host that answers with another journal and does not know them: it was reinstalled, or damaged.

    Args:
        store: within a transaction.
        host: which.
        journal: its journal's id.
        earlier: ids that the same journal had before it was damaged.
    """
    query = (
        "SELECT job, journal FROM jobs WHERE host = ? AND journal IS NOT NULL AND journal != ?"
        " AND state NOT IN ('submitting', 'completed', 'failed', 'stopped', 'lost')"
    )
    for row in store.conn.execute(query, [host, journal]).fetchall():
        words = "host was reinstalled"
        if row["journal"] in earlier:
            words = "the journal of its host was damaged, and nothing of this job is left there"
        _end(store, row["job"], EndReason.HOST_REINSTALLED, JobState.LOST, words)


def _end(store: Store, job: str, reason: EndReason, state: JobState, words: str) -> None:
    store.conn.execute(
        "UPDATE jobs SET state = ?, reason_code = ?, reason = ?, ended_at = ?, noticed_at = ? WHERE job = ?",
        [state.value, reason.value, words, time.time(), time.time(), job],
    )


def _forget(store: Store, job: str) -> None:
    """Remove a job's rows and its local log: what remains of the log without rows would be overwritten anyway."""
    shutil.rmtree(locations.log_file(job, 1).parent, ignore_errors=True)
    series.forget(store.conn, job)
    for table in (
        *(
            "job_samples",
            "attempt_facts",
            "facts",
            "annotations",
            "streams",
            "activity",
            "told",
            "transitions",
            "stories",
        ),
        "jobs",
    ):
        store.conn.execute(f"DELETE FROM {table} WHERE job = ?", [job])
