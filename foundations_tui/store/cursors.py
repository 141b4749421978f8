"""Where each stream stands, and which host may speak of a job."""

from __future__ import annotations

import sqlite3

from foundations_tui.store.db import Store

PUT_SIZE = (
    "INSERT INTO streams (job, attempt, name, offset, size, host) VALUES (?1, ?2, ?3, 0, ?4, ?5)"
    " ON CONFLICT (job, attempt, name) DO UPDATE SET size = IIF(host = ?5, MAX(size, ?4), ?4), host = ?5"
)


def may_speak_of(conn: sqlite3.Connection, host: str, job: str, journal: str = "") -> bool:
    """Return whether a host may say something of a job: one of its own, or one that nobody knows yet.

    What a host says of another host's job is passed over, everywhere. A host that the user has given a new name shows
    itself by its journal's id, which nobody else learns.
    """
    row = conn.execute("SELECT host, journal FROM jobs WHERE job = ?", [job]).fetchone()
    return row is None or row["host"] == host or bool(journal and row["journal"] == journal)


def move(store: Store, job: str, attempt: int, name: str, base: int, to: int) -> bool:
    """Move a stream's cursor, if it still stands where the page began."""
    changed = store.conn.execute(
        "UPDATE streams SET offset = ?, size = MAX(size, ?) WHERE job = ? AND attempt = ? AND name = ? AND offset = ?",
        [to, to, job, attempt, name, base],
    )
    return changed.rowcount == 1
