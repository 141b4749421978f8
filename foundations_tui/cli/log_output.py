"""A log on this terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from foundations_tui.cli.params import say
from foundations_tui.errors import HostError
from foundations_tui.store import queries
from foundations_tui.text.sanitize import RESET, LogFilter

if TYPE_CHECKING:
    from foundations_tui.session import Session
    from foundations_tui.store.rows import JobRow


def print_log(session: Session, row: JobRow, writer: LogWriter, only: int | None) -> int:
    """Print the whole log, or one attempt's; when the host is out of reach, what is here, and say so."""
    from foundations_tui.config import locations
    from foundations_tui.store import sparse
    from foundations_tui.sync import pull

    code = 0
    if not row.complete:
        try:
            pull.catch_up(session, row.host, jobs=[row.job])
        except HostError as error:
            say(f"warning: {error}; this is the log as far as it is here")
            code = error.exit_code
    for attempt in [only] if only else range(1, queries.job(session.store.conn, row.job).attempt + 1):
        path = locations.log_file(row.job, attempt)
        if path.exists():
            with path.open("rb") as file:
                for _, page in sparse.pages(file.fileno(), 0):
                    writer.write(page)
    return code


class LogWriter:
    """Writes a log: the exact bytes, or on a terminal what is safe."""

    def __init__(self, to_stderr: bool) -> None:
        stream = sys.stderr if to_stderr else sys.stdout
        self._stream = stream.buffer
        self._filter = LogFilter() if stream.isatty() else None

    def write(self, page: bytes) -> None:
        self._stream.write(page if self._filter is None else self._filter.feed(page).encode())
        self._stream.flush()

    def end(self) -> None:
        if self._filter is not None:
            self._stream.write((self._filter.end() + RESET).encode())
            self._stream.flush()
