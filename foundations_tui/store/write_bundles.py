"""Jobs of bundles: they belong to no host, and never change."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from foundations.records import Record
from foundations_tui.config import locations
from foundations_tui.config.hosts import IN_A_BUNDLE
from foundations_tui.store import write_facts
from foundations_tui.store.cursors import PUT_SIZE
from foundations_tui.store.db import Store
from foundations_tui.store.rows import json_value
from foundations_tui.store.write_records import put_records
from foundations_tui.store.writes import put_bundled
from remote_agent.protocol.facts import Package, facts_of
from remote_agent.protocol.jobs import JobView

_WRITER = "bundle"


@dataclass(frozen=True)
class BundledJob:
    """One job of a bundle, read and checked."""

    view: JobView
    host: str
    """Where it ran."""
    records: dict[int, Callable[[], Iterable[Record]]]
    """What reads them, by attempt: they may be many."""
    facts: dict[int, bytes]
    """Lines of facts, by attempt."""
    artifacts: list[str]
    """Names in the bundle."""
    logs: dict[int, str]
    """Names in the bundle, by attempt."""


def known(conn: sqlite3.Connection, view: JobView) -> bool | None:
    """Return whether a job is here with the same content; None when it is not here at all."""
    row = conn.execute("SELECT spec, state, ended_at, exit_code FROM jobs WHERE job = ?", [view.spec.job]).fetchone()
    if row is None:
        return None
    there, here = json_value(view.spec.to_wire()), json.loads(row["spec"])
    for spec in (there, here):  # values of variables may have been left out of the bundle
        for name in ("env", "from_shell", "environment", "secrets", "private"):
            spec.pop(name, None)
    usual = {name: value for name, value in there.items() if name in here}
    same_end = (row["state"], row["ended_at"], row["exit_code"]) == (view.state.value, view.ended_at, view.exit_code)
    return usual == here and same_end


def put(
    store: Store, jobs: Sequence[BundledJob], packages: Mapping[str, Sequence[Package]], locks: Iterable[str]
) -> None:
    """Take in jobs, all or none, and before them lists of packages by hash, and locks."""
    for digest, listed in packages.items():
        write_facts.put_packages(store, digest, listed)
    for text in locks:
        write_facts.put_lock(store, text)
    with store.transaction():
        for job in jobs:
            _put(store, job)


def _put(store: Store, job: BundledJob) -> None:
    view, identity = job.view, job.view.spec.job
    put_bundled(store, view)
    for attempt, records in sorted(job.records.items()):
        put_records(store, identity, attempt, _WRITER, records())
    for attempt, line in job.facts.items():
        facts = facts_of(line)
        if facts is not None:
            values: list[Any] = [identity, attempt, facts.packages, json.dumps(json_value(facts.to_wire()))]
            store.conn.execute("INSERT OR REPLACE INTO attempt_facts VALUES (?, ?, ?, ?)", values)
    for attempt in job.logs:
        size = os.path.getsize(locations.log_file(identity, attempt))
        store.conn.execute(PUT_SIZE, (identity, attempt, "log", size, IN_A_BUNDLE))
        store.conn.execute("UPDATE streams SET offset = size WHERE job = ? AND name = 'log'", [identity])
