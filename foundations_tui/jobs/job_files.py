"""The files of a job's working directory, as they are on its host."""

from __future__ import annotations

import dataclasses

from foundations_tui.session import Session
from foundations_tui.store.rows import JobRow
from foundations_tui.text import humanize
from remote_agent.protocol import messages

_MOST_ENTRIES = 5000
"""Most names of a folder to list."""


HEADERS = ("SIZE", "CHANGED", "NAME")


def cells(folder: messages.ListFolderAnswer, now: float) -> list[list[str]]:
    """Return the entries of a folder as rows of a table below ``HEADERS``."""
    return [
        [
            "" if entry.kind == "folder" else humanize.size(entry.size),
            humanize.ago(entry.modified_at, now),
            f"{entry.name}/" if entry.kind == "folder" else entry.name,
        ]
        for entry in folder.entries
    ]


def list_files(session: Session, job: JobRow, path: str = "") -> messages.ListFolderAnswer:
    """Return a folder of a job's working directory: all pages of it as one answer.

    Raises:
        NotFoundError: there is no such path. HostError: its host is out of reach.
    """
    first = messages.ListFolder(job.job, max(job.attempt, 1), path)
    answer = session.ask(job.host, first)
    entries = answer.entries
    while answer.truncated and answer.entries and len(entries) < _MOST_ENTRIES:
        answer = session.ask(job.host, dataclasses.replace(first, offset=len(entries)))
        entries = [*entries, *answer.entries]
    return dataclasses.replace(answer, entries=entries)
