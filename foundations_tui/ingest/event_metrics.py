"""Metrics out of TensorBoard's event files, while they grow: they come as streams, and are read again as wholes.

That is simple, and right where a writer began again and what it had written before was not to be; a pause that grows
with what the reading takes keeps it cheap.
"""

from __future__ import annotations

import time

from foundations_tui.config import locations
from foundations_tui.ingest import event_files
from foundations_tui.session import Session
from foundations_tui.store import queries, write_streams

_SHORTEST_PAUSE = 2.0
"""Seconds between two readings of the event files of a job that runs."""
_SHARE = 10
"""Pause before the next reading, as a multiple of how long the last one took."""
_due: dict[tuple[str, int], float] = {}


def ingest(session: Session, host: str) -> None:
    """Read the event files of a host's jobs of which something new is here.

    Args:
        session: the client's.
        host: whose jobs.
    Raises:
        FoundationsError: the reader is not installed; they are read once it is.
    """
    for job, attempt in write_streams.unread_events(session.store, host):
        key = (job, attempt)
        if not queries.job(session.store.conn, job).is_final and time.monotonic() < _due.get(key, 0.0):
            continue
        began = time.monotonic()
        _ingest(session, job, attempt)
        _due[key] = time.monotonic() + max(_SHORTEST_PAUSE, _SHARE * (time.monotonic() - began))


def _ingest(session: Session, job: str, attempt: int) -> None:
    offset = write_streams.run_offset(session.store, job, attempt, write_streams.READ_EVENTS)
    files = write_streams.event_files(session.store.conn, job, attempt)
    paths = {name: locations.stream_file(job, attempt, write_streams.EVENTS + name) for name in files}
    write_streams.put_events(session.store, job, attempt, offset, sum(files.values()), event_files.by_folder(paths))
