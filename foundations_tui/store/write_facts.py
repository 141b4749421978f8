"""The facts of attempts, and the lists of packages that they name by hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from foundations_tui.store.cursors import move
from foundations_tui.store.db import Store
from foundations_tui.store.rows import json_value
from remote_agent.protocol.facts import Facts, Package, facts_of


def put_page(store: Store, job: str, attempt: int, offset: int, page: bytes) -> int:
    """Take in the whole lines of a page of an attempt's facts, with the cursor behind them; return how many bytes.

    The last line that makes sense counts.
    """
    taken = page.rfind(b"\n") + 1
    if not taken:
        return 0
    lines = [facts for facts in map(facts_of, page[:taken].splitlines()) if facts is not None]
    with store.transaction() as conn:
        if move(store, job, attempt, "facts", offset, offset + taken) and lines:
            values = [job, attempt, lines[-1].packages, _text(lines[-1])]
            conn.execute("INSERT OR REPLACE INTO attempt_facts VALUES (?, ?, ?, ?)", values)
    return taken


def missing_packages(store: Store, host: str) -> list[tuple[str, str, int]]:
    """Return (hash, a job, its attempt) of each list of packages that jobs of a host name and that is not here."""
    query = (
        "SELECT f.packages, f.job, MAX(f.attempt) FROM attempt_facts f JOIN jobs j ON j.job = f.job"
        " WHERE j.host = ? AND f.packages IS NOT NULL"
        " AND NOT EXISTS (SELECT 1 FROM packages p WHERE p.hash = f.packages) GROUP BY f.packages"
    )
    return [(str(row[0]), str(row[1]), int(row[2])) for row in store.conn.execute(query, [host])]


def put_packages(store: Store, digest: str, packages: Sequence[Package]) -> None:
    """Take in a list of packages."""
    with store.transaction() as conn:
        conn.execute("INSERT OR IGNORE INTO packages VALUES (?, ?)", [digest, _ascii(packages)])


def put_lock(store: Store, text: str) -> None:
    """Take in a lock."""
    with store.transaction() as conn:
        conn.execute("INSERT OR IGNORE INTO locks VALUES (?, ?)", [hashlib.sha256(text.encode()).hexdigest(), text])


def missing_locks(store: Store, host: str) -> list[tuple[str, str, int]]:
    """Return (hash, a job, its attempt) of each lock that jobs of a host were built from and that is not here."""
    query = (
        "SELECT f.facts ->> 'lock' AS lock, f.job, MAX(f.attempt) FROM attempt_facts f JOIN jobs j ON j.job = f.job"
        " WHERE j.host = ? AND f.facts ->> 'lock' IS NOT NULL"
        " AND NOT EXISTS (SELECT 1 FROM locks l WHERE l.hash = f.facts ->> 'lock') GROUP BY 1"
    )
    return [(str(row[0]), str(row[1]), int(row[2])) for row in store.conn.execute(query, [host])]


def _text(facts: Facts) -> str:
    return _ascii(json_value(facts.to_wire()))  # SQLite's JSON has no NaN


def _ascii(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
