"""What long work says of itself while it goes on: one line on stderr that is drawn over."""

from __future__ import annotations

import os
import sys
import time

from foundations_tui.submit.progress import VARIABLE, Progress, Sending, bar
from foundations_tui.text.sanitize import one_line

_PATIENCE, _PAUSE = 0.5, 0.1
"""Seconds: what is done sooner needs no line; between two lines."""


def is_in_window() -> bool:
    """Return whether output goes to a window of the app, not to a terminal."""
    return bool(os.environ.get(VARIABLE)) and not sys.stderr.isatty()


class ProgressLine(Progress):
    """The line."""

    def __init__(self) -> None:
        self._is_window = is_in_window()
        self._is_shown = False
        self._sending = Sending()
        self._next = time.monotonic() + (0.0 if self._is_window else _PATIENCE)

    def stage(self, what: str) -> None:
        """Say what begins."""
        if self._is_window and self._is_shown:
            self._write("\n")  # there each stage keeps a line of its own
        self._next = min(self._next, time.monotonic()) if self._is_window else self._next
        self._show(what)

    def sent(self, done: int, total: int) -> None:
        """Say how much has gone."""
        self.bar("sending", done, total, self._sending.words(done, total, time.monotonic()))

    def bar(self, what: str, done: int, total: int, amount: str) -> None:
        """Say how far something is."""
        if done >= total:
            self._next = 0.0 if self._is_shown else self._next  # the end is never left out
        self._show(bar(what, done, total, amount))

    def end(self) -> None:
        """Clear the line; in a window it stays."""
        if self._is_shown:
            self._write("\n" if self._is_window else "\r\x1b[K")
            self._is_shown = False

    def _show(self, text: str) -> None:
        now = time.monotonic()
        if now < self._next or not (self._is_window or sys.stderr.isatty()):
            return
        self._next = now + _PAUSE
        self._is_shown = True
        self._write("\r" + one_line(text) + ("" if self._is_window else " \x1b[K"))

    @staticmethod
    def _write(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
