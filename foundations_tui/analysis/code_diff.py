"""Differences in code: of two jobs, of one since the commit it was submitted from, or from a folder."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from foundations_tui.errors import NotFoundError, SnapshotError
from foundations_tui.store import queries
from foundations_tui.store.rows import JobRow
from foundations_tui.text import humanize


def code_difference(conn: sqlite3.Connection, rows: Sequence[JobRow]) -> str:
    """Return what differs in the code of two jobs, or of one since its commit, as ``git diff`` prints it.

    Raises:
        NotFoundError: one has no snapshot or no commit, or that is not here.
    """
    from foundations_tui.snapshot import difference

    if len(rows) == 2:
        return between(*rows)
    if not rows[0].snapshot:
        raise NotFoundError("a run that was started by hand has no snapshot to compare")
    git = queries.spec(conn, rows[0].job).get("git")
    commit = git.get("commit") if isinstance(git, dict) else None
    if not commit:
        hint = "foundations diff JOB JOB compares two jobs"
        raise NotFoundError(f"job {rows[0].job} was not submitted from a commit", hint)
    return difference.since_commit(rows[0].snapshot, str(commit))


def between(first: JobRow, other: JobRow) -> str:
    """Return what differs in the code of two jobs, as ``git diff`` prints it.

    Raises:
        NotFoundError: one has no snapshot, or it is not here.
    """
    from foundations_tui.snapshot import difference

    if not first.snapshot or not other.snapshot:
        raise NotFoundError("a run that was started by hand has no snapshot to compare")
    return difference.of_snapshots(first.snapshot, other.snapshot)


def changed(rows: Sequence[JobRow]) -> list[str | None]:
    """Return in how many files and lines the code of each job differs from the first one's, in words.

    None where that is not known: this client does not have the code.
    """
    from foundations_tui.snapshot import difference

    words: dict[str, str | None] = {rows[0].snapshot: ""}
    for row in rows:
        if row.snapshot in words:
            continue
        try:
            files, added, removed = difference.counts(rows[0].snapshot, row.snapshot)
            words[row.snapshot] = f"{humanize.plural(files, 'file')}, +{added} -{removed}"
        except (NotFoundError, SnapshotError):
            words[row.snapshot] = None
    return [words[row.snapshot] for row in rows]


def difference_from_folder(row: JobRow, folder: Path, reverse: bool = False) -> str:
    """Return how the working tree that a folder is in differs from the code of a job, as ``git diff`` prints it.

    Args:
        row: the job.
        folder: in the tree.
        reverse: how the job differs from the tree instead.
    Raises:
        NotFoundError: the job has no snapshot, or it is not here. SnapshotError: the folder cannot be frozen.
    """
    from foundations_tui.config.project import load_project
    from foundations_tui.snapshot import difference, freeze

    if not row.snapshot:
        raise NotFoundError("a run that was started by hand has no snapshot to compare")
    project = load_project(folder)
    frozen = freeze.take(freeze.top_of(folder), project.max_file, project.include)
    trees = [row.snapshot, frozen.tree]
    return difference.of_snapshots(*(reversed(trees) if reverse else trees))
