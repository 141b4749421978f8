"""A log of any size as lines: one number for each 64 KiB, and only what is looked at is read. No widgets."""

from __future__ import annotations

import os
import re
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

CHUNK_BYTES = 64 << 10
LONGEST_LINE = 4096
"""Bytes of a line that are shown: the last ones, where a progress bar stands."""
_SEARCH_BYTES = 1 << 20
ERRORS = re.compile(rb"(?i)\b(?:error|exception|traceback|fatal|critical|out of memory|nan)\b")
"""What the jump to the next error looks for."""


class LogFile:
    """The lines of a file that may grow; it may also be replaced by another one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._before = array("Q")
        """How many lines end before each chunk."""
        self._scanned = 0
        self._lines = 0
        self._inode = 0
        self._ends_open = False

    @property
    def line_count(self) -> int:
        """How many lines are known, an unfinished last one among them."""
        return self._lines + self._ends_open

    @property
    def scanned(self) -> int:
        """Up to where lines are counted, bytes."""
        return self._scanned

    def size(self) -> int:
        """Return the bytes of the file; 0 when it is not there."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def scan(self, most: int) -> int:
        """Count on through at most so many new bytes; return how many there were."""
        try:
            with self.path.open("rb") as file:
                stats = os.fstat(file.fileno())
                if stats.st_ino != self._inode or stats.st_size < self._scanned:
                    self._inode = stats.st_ino
                    self._before, self._scanned, self._lines, self._ends_open = array("Q"), 0, 0, False
                file.seek(self._scanned)
                began = self._scanned
                while self._scanned - began < most:
                    data = file.read(CHUNK_BYTES - self._scanned % CHUNK_BYTES)
                    if not data:
                        break
                    if self._scanned % CHUNK_BYTES == 0:
                        self._before.append(self._lines)
                    self._lines += data.count(b"\n")
                    self._ends_open = not data.endswith(b"\n")
                    self._scanned += len(data)
                return self._scanned - began
        except OSError:
            return 0

    def lines(self, first: int, count: int) -> list[bytes]:
        """Return lines by their numbers, from 0, as far as they are known."""
        found: list[bytes] = []
        if not 0 <= first < self.line_count:
            return found
        try:
            with self.path.open("rb") as file:
                file.seek(self._start_of(file, first))
                while len(found) < min(count, self.line_count - first):
                    found.append(_rest_of_line(file))
        except OSError:
            pass
        return found

    def line_at(self, offset: int) -> int:
        """Return the number of the line in which a byte stands, as far as lines are counted."""
        chunk = min(offset // CHUNK_BYTES, len(self._before) - 1)
        if chunk < 0:
            return 0
        try:
            with self.path.open("rb") as file:
                file.seek(chunk * CHUNK_BYTES)
                return self._before[chunk] + file.read(offset - chunk * CHUNK_BYTES).count(b"\n")
        except OSError:
            return 0

    def offset_of(self, number: int) -> int:
        """Return the offset at which a line begins, as far as lines are counted."""
        if not 0 <= number < self.line_count:
            return self._scanned
        try:
            with self.path.open("rb") as file:
                return self._start_of(file, number)
        except OSError:
            return 0

    def tail(self, count: int) -> list[bytes]:
        """Return the last lines, however much of the file has been counted."""
        want = count * 400
        try:
            with self.path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(max(0, size - max(want, LONGEST_LINE)))
                data = file.read()
        except OSError:
            return []
        lines = data.split(b"\n")
        if lines and not lines[-1]:
            lines.pop()
        return [line[-LONGEST_LINE:] for line in lines[-count:]]

    def _start_of(self, file: BinaryIO, number: int) -> int:
        """Return the offset at which a line begins."""
        if number == 0:
            return 0
        chunk = bisect_right(self._before, number - 1) - 1
        missing = number - self._before[chunk]
        offset = chunk * CHUNK_BYTES
        file.seek(offset)
        data = file.read(CHUNK_BYTES)
        place = -1
        for _ in range(missing):
            place = data.find(b"\n", place + 1)
        return offset + place + 1


def _rest_of_line(file: BinaryIO) -> bytes:
    """Read to the end of a line and return its last bytes, without the newline."""
    kept = b""
    while True:
        part = file.readline(CHUNK_BYTES)
        kept = (kept + part)[-LONGEST_LINE - 2 :]
        if not part or part.endswith(b"\n"):
            return kept.rstrip(b"\r\n")


Ended = Callable[[], bool]


def matches(path: Path, pattern: re.Pattern[bytes], ended: Ended, start: int = 0) -> Iterator[tuple[list[int], int]]:
    """Yield (offsets of lines that match, up to where was searched) for each MiB.

    Args:
        path: the file.
        pattern: looked for in each line.
        ended: whether nobody waits any more.
        start: the offset of a line to begin at.
    """
    with path.open("rb") as file:
        file.seek(start)
        carry, base = b"", start
        while not ended():
            data = file.read(_SEARCH_BYTES)
            block = carry + data
            whole = block.rfind(b"\n") + 1 if data else len(block)
            yield _lines_that_match(block[:whole], pattern, base), base + whole
            base += whole
            carry = block[whole:][-_SEARCH_BYTES:]
            if not data:
                return


def _lines_that_match(block: bytes, pattern: re.Pattern[bytes], base: int) -> list[int]:
    found, place = [], 0
    while (match := pattern.search(block, place)) is not None:
        start = block.rfind(b"\n", 0, match.start()) + 1
        found.append(base + start)
        end = block.find(b"\n", match.start())
        if end < 0:
            break
        place = end + 1
    return found


def compile_words(words: str) -> re.Pattern[bytes]:
    """Return what looks for words: as a regular expression where it is one, else as they stand; small letters match
    capitals too."""
    flags = re.IGNORECASE if words == words.lower() else 0
    data = words.encode("utf-8", "surrogateescape")
    try:
        return re.compile(data, flags | re.MULTILINE) if _is_tame(words) else re.compile(re.escape(data), flags)
    except re.error:
        return re.compile(re.escape(data), flags)


def _is_tame(words: str) -> bool:
    """Say whether a pattern cannot take forever: no repeated groups, no references."""
    return not re.search(r"[)\]][*+{]|\\\d|\(\?", words)
