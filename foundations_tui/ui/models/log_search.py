"""Looking through a log in threads: the next line with some words, or all of them. No widgets."""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass

from foundations_tui.ui.models.log_file import LogFile, Wanted, compile_words, matches, next_match

_TOLD_EVERY = 0.05
"""Seconds between two pages of a filter."""


@dataclass(frozen=True)
class Match:
    """What a search has found."""

    offset: int | None
    """Of the line; None when there is none."""
    went_round: bool
    """Whether it went on from the other end."""


class Search:
    """A search for the next line that goes on in a thread until it is ended."""

    def __init__(self, words: str) -> None:
        """Make it; ``start`` begins.

        Args:
            words: what to look for, as shown to the user.
        """
        self.words = words
        self._is_ended = False

    def start(
        self, file: LogFile, pattern: Wanted, place: int, direction: int, tell: Callable[[Match], object]
    ) -> None:
        """Look for the next line.

        Args:
            file: where.
            pattern: what.
            place: the offset of a line to begin at; backwards, the line before it comes first.
            direction: 1 forwards, -1 backwards.
            tell: called from a thread.
        """

        def run() -> None:
            try:
                offset, went_round = next_match(file.path, pattern, lambda: self._is_ended, place, direction)
            except OSError:
                offset, went_round = None, False  # the file is not here (any more)
            tell(Match(offset, went_round))

        threading.Thread(target=run, daemon=True).start()

    def end(self) -> None:
        """Give it up."""
        self._is_ended = True


@dataclass(frozen=True)
class FilteredPage:
    """Lines that a filter lets through."""

    offsets: list[int]
    position: int
    """Up to where whole lines were looked through, bytes."""
    seen: int | None = None
    """At the end of the file: how long it was when that began."""


class LineFilter:
    """The lines of a file that hold some words: a thread finds them, page by page."""

    def __init__(self, file: LogFile, words: str, tell: Callable[[LineFilter, FilteredPage], object]) -> None:
        """Make it; ``go_on`` begins.

        Args:
            file: whose lines.
            words: what they have to hold.
            tell: called from a thread; hands each page over to ``take``.
        """
        self.words = words
        self.offsets = array("Q")
        """Of the lines that it has let through."""
        self.began: float | None = None
        """Since when it goes through the file, on the monotonic clock; None while it waits for more."""
        self._file = file
        self._wanted = compile_words(words)
        self._tell = tell
        self._position = 0
        self._is_ended = False

    def go_on(self) -> None:
        """Look through what the file has gained."""
        if self.began is None and not self._is_ended:
            self.began = time.monotonic()
            threading.Thread(target=self._run, args=(self._position,), daemon=True).start()

    def _run(self, start: int) -> None:
        position, collected, told, seen = start, [], 0.0, self._file.size()
        try:
            for offsets, position in matches(self._file.path, self._wanted, lambda: self._is_ended, start):
                collected += offsets
                if collected and time.monotonic() - told > _TOLD_EVERY:
                    self._tell(self, FilteredPage(collected, position))
                    collected, told = [], time.monotonic()
        except OSError:
            pass  # not here yet
        self._tell(self, FilteredPage(collected, position, seen))

    def take(self, page: FilteredPage) -> None:
        """Take a page in; after the last one, go on with what came meanwhile."""
        self._position = page.position
        last = self.offsets[-1] if self.offsets else -1
        self.offsets.extend(offset for offset in page.offsets if offset > last)  # an unfinished line comes again
        if page.seen is not None:
            self.began = None
            if self._file.scanned > page.seen:
                self.go_on()

    def end(self) -> None:
        """Give it up."""
        self._is_ended = True
