"""Who gets the progress of a submit."""

from __future__ import annotations

from foundations_tui.text import humanize

_CELLS = 24
"""Of a bar."""
_LEAST_SECONDS = 2.0
"""After that a rate says something."""

VARIABLE = "FOUNDATIONS_PROGRESS"
"""Set by who shows a verb's output in a window: it says how far it is although its stderr is no terminal."""


class Progress:
    """Takes it in; this one keeps it to itself."""

    def stage(self, what: str) -> None:
        """Take in what begins now."""

    def sent(self, done: int, total: int) -> None:
        """Take in how many bytes of how many have gone, before they are compressed."""


SILENT = Progress()


def bar(what: str, done: int, total: int, words: str) -> str:
    """Return a line that says how far something is: "sending  ████░░░░  50%  3 of 6 objects"."""
    share = min(1.0, done / total) if total else 1.0
    full = round(share * _CELLS)
    return f"{what}  {'█' * full}{'░' * (_CELLS - full)} {share:4.0%}  {words}"


class Sending:
    """Says how much of something has gone, how fast, and how long the rest takes."""

    def __init__(self) -> None:
        self._began: float | None = None

    def words(self, done: int, total: int, now: float) -> str:
        """Return how far it is: bytes, with their rate and the time left once that can be told.

        Args:
            done: bytes that have gone.
            total: of how many.
            now: seconds, of a clock that never goes back.
        """
        self._began = now if self._began is None or not done else self._began
        seconds = now - self._began
        words = f"{humanize.size(done)} of {humanize.size(total)}"
        if seconds >= _LEAST_SECONDS and 0 < done < total:
            rate = done / seconds
            words += f"  {humanize.size(rate)}/s  {humanize.about((total - done) / rate)} left"
        return words

    def line(self, done: int, total: int, now: float) -> str:
        """Return the same as a bar."""
        return bar("sending", done, total, self.words(done, total, now))
