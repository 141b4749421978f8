"""Who gets the progress of a submit."""

from __future__ import annotations

from foundations_tui.text import humanize

_CELLS = 24
"""Of a bar."""

VARIABLE = "FOUNDATIONS_PROGRESS"
"""Set by who shows a verb's output in a window: it says how far it is although its stderr is no terminal."""


class Progress:
    """Takes it in; this one keeps it to itself."""

    def stage(self, what: str) -> None:
        """Take in what begins now."""

    def sent(self, done: int, total: int, size: int) -> None:
        """Take in how many objects of how many have gone, and their bytes."""


SILENT = Progress()


def bar(what: str, done: int, total: int, words: str) -> str:
    """Return a line that says how far something is: "sending  ████░░░░  50%  3 of 6 objects"."""
    share = min(1.0, done / total) if total else 1.0
    full = round(share * _CELLS)
    return f"{what}  {'█' * full}{'░' * (_CELLS - full)} {share:4.0%}  {words}"


def sending(done: int, total: int, size: int) -> str:
    """Return a line that says how much of a snapshot has gone: objects, and their bytes."""
    return bar("sending", done, total, f"{done:,} of {total:,} objects, {humanize.size(size)}")
