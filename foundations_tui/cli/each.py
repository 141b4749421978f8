"""One deed for each of several jobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from foundations_tui.cli.stderr import tell
from foundations_tui.errors import FoundationsError
from foundations_tui.store import queries

if TYPE_CHECKING:
    from foundations_tui.session import Session
    from foundations_tui.store.rows import JobRow


def each(session: Session, jobs: tuple[str, ...], action: Callable[[JobRow], None]) -> int:
    """Do something to each job; what fails is said and the rest goes on. The first error gives the exit code."""
    code = 0
    for job in jobs:
        try:
            action(queries.find(session.store.conn, job))
        except FoundationsError as error:
            tell(error)
            code = code or error.exit_code
    return code
