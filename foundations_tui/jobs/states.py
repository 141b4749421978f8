"""Which operation makes sense for a job in which state. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from foundations_tui.store.rows import JobRow


@dataclass(frozen=True)
class Possible:
    """Which of some jobs an operation makes sense for."""

    stop: list[JobRow]
    move: list[JobRow]
    delete: list[JobRow]
    groups: list[str]
    """Groups that could be paused and resumed."""


def possible(rows: Sequence[JobRow]) -> Possible:
    """Return what can be done with jobs in the states in which they are."""
    unfinished = [row for row in rows if not row.is_final]
    return Possible(
        stop=unfinished,
        move=[row for row in rows if row.is_waiting],
        delete=[row for row in rows if row.is_final],
        groups=list(dict.fromkeys(row.group for row in unfinished if row.group)),
    )
