"""What differs in the code of two jobs, or of one since the commit it was submitted from."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from foundations_tui.errors import NotFoundError
from foundations_tui.store import queries
from foundations_tui.store.rows import JobRow


def code_difference(conn: sqlite3.Connection, rows: Sequence[JobRow]) -> str:
    """Return what differs in the code of two jobs, or of one since its commit, as ``git diff`` prints it.

    Raises:
        NotFoundError: one has no snapshot or no commit, or that is not here.
    """
    from foundations_tui.snapshot import freeze

    if not all(row.snapshot for row in rows):
        raise NotFoundError("a run that was started by hand has no snapshot to compare")
    if len(rows) == 2:
        return freeze.difference(rows[0].snapshot, rows[1].snapshot)
    git = queries.spec(conn, rows[0].job).get("git")
    commit = git.get("commit") if isinstance(git, dict) else None
    if not commit:
        hint = "foundations diff JOB JOB compares two jobs"
        raise NotFoundError(f"job {rows[0].job} was not submitted from a commit", hint)
    return freeze.since_commit(rows[0].snapshot, str(commit))
