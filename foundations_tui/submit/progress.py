"""Who is told how far a submit is."""

from __future__ import annotations

VARIABLE = "FOUNDATIONS_PROGRESS"
"""Set by who shows a verb's output in a window: it says how far it is although its stderr is no terminal."""


class Progress:
    """Takes it in; this one keeps it to itself."""

    def stage(self, what: str) -> None:
        """Take in what begins now."""

    def sent(self, done: int, total: int, size: int) -> None:
        """Take in how many objects of how many have gone, and their bytes."""


SILENT = Progress()
