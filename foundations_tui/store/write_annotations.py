"""What people say of jobs: here at once, and sent to their hosts at the next contact."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable

from foundations.records import valid_text
from foundations_tui.store.db import Store
from foundations_tui.store.write_records import PUT_FACT, fact_value
from remote_agent.protocol.wire import JsonTable


def put_annotations(store: Store, jobs: Iterable[str], changes: JsonTable, moment: float) -> None:
    """Annotate jobs: here at once, and on their hosts at the next contact.

    Args:
        store: open for writing.
        jobs: whole ids.
        changes: "note", "starred", "archived", "trashed", "project", "tag:KEY" (None takes a tag away).
        moment: when they were made, seconds since the epoch.
    """
    with store.transaction():
        for job in jobs:
            merge_annotations(store, job, {key: [value, moment] for key, value in changes.items()}, sent=False)


def unsent_annotations(store: Store, host: str) -> dict[str, JsonTable]:
    """Return the annotations of jobs that their host does not know, as the host takes them."""
    unsent: dict[str, JsonTable] = {}
    query = (
        "SELECT a.job, a.key, a.value, a.time FROM annotations a JOIN jobs j ON j.job = a.job"
        " WHERE a.sent = 0 AND j.host = ? AND j.journal IS NOT NULL AND j.state != 'submitting'"
        " ORDER BY a.job LIMIT 200"
    )
    room = _MOST_UNSENT
    for job, key, value, moment in store.conn.execute(query, [host]):
        room -= len(key) + len(value)
        if room < 0 and unsent:
            break
        unsent.setdefault(job, {})[key] = [json.loads(value), moment]
    return unsent


_MOST_UNSENT = 1 << 20
"""Characters of annotations in one message."""


def put_annotations_sent(store: Store, sent: dict[str, JsonTable]) -> None:
    """Note that a host knows these annotations, unless newer ones were made meanwhile."""
    rows = [(job, key, entry[1]) for job, changes in sent.items() for key, entry in changes.items()]
    with store.transaction() as conn:
        conn.executemany("UPDATE annotations SET sent = 1 WHERE job = ? AND key = ? AND time = ?", rows)


def long_in_trash(store: Store, host: str, before: float) -> list[str]:
    """Return the jobs of a host that were deleted before a moment (seconds since the epoch)."""
    query = "SELECT job FROM jobs WHERE trashed > 0 AND trashed < ? AND host = ?"
    return [row[0] for row in store.conn.execute(query, [before, host])]


def merge_annotations(store: Store, job: str, changes: JsonTable, sent: bool) -> None:
    """Take in annotations of a job that are newer than the known ones, and show them."""
    rows = [
        (job, valid_text(key), json.dumps(value), float(moment), int(sent)) for key, (value, moment) in changes.items()
    ]
    store.conn.executemany(
        "INSERT INTO annotations (job, key, value, time, sent) VALUES (?, ?, ?, ?, ?) ON CONFLICT (job, key) DO UPDATE"
        " SET value = excluded.value, time = excluded.time, sent = excluded.sent WHERE excluded.time >= time",
        rows,
    )
    stored = store.conn.execute("SELECT key, value, time FROM annotations WHERE job = ?", [job]).fetchall()
    for key, text, moment in stored:
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
            row = ("tag", key[4:], job, *fact_value(value), moment, _PEOPLE, 0)
            store.conn.execute(PUT_FACT, row)


_ANNOTATED = ("note", "starred", "archived", "trashed", "project")
"""Annotations that are columns of a job."""
_PEOPLE = "\x7f"
"""The writer of what people say: behind every file's name, should the time be the same."""
