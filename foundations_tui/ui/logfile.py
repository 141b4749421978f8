"""A log of any size as lines: one number for each 64 KiB, and only what is looked at is read. No widgets."""

from __future__ import annotations

import os
import re
import time
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from foundations_tui import sparse

CHUNK_BYTES = 64 << 10
LONGEST_LINE = 4096
"""Bytes of a line that are shown: the last ones, where a progress bar stands."""
_SMALLEST_HOLE = 4096
"""So many zeros are what a log lost, and no text."""
_LONGEST_SHOWN = 8 << 20
"""Bytes of a line that are looked through for its end."""
_SEARCH_BYTES = 256 << 10
"""So much is searched at once: a search holds up the app's own thread, and must not for longer than a key may wait."""
_PAUSE = 0.002
"""Seconds: who searches lets the app's thread have its turn."""
_LONGEST_SEARCHED = 1 << 20
"""Bytes of a line that are searched."""


@dataclass(frozen=True)
class Wanted:
    """What is looked for in lines."""

    pattern: re.Pattern[bytes]
    texts: tuple[bytes, ...] = ()
    """In small letters: the pattern has to look only where one of them stands, which is found much sooner."""
    text: bytes = b""
    """What the pattern looks for, when that is a text as it stands."""

    def lines(self, block: bytes, base: int) -> list[int]:
        """Return the offsets of the lines in a block of whole lines that begins at an offset."""
        small = block.lower() if self.texts else b""
        if self.texts and not any(text in small for text in self.texts):
            return []
        if self.text:
            return self._lines_with_text(small if self.pattern.flags & re.IGNORECASE else block, base)
        return self._lines_by_line(block, base)

    def _lines_with_text(self, block: bytes, base: int) -> list[int]:
        found = []
        place = block.find(self.text)
        while place >= 0:
            found.append(base + block.rfind(b"\n", 0, place) + 1)
            end = block.find(b"\n", place)
            place = block.find(self.text, end + 1) if end >= 0 else -1
        return found

    def _lines_by_line(self, block: bytes, base: int) -> list[int]:
        """Let the pattern look at the end of each line for itself: it could take very long over a long one."""
        found, start = [], 0
        while start < len(block):
            end = block.find(b"\n", start)
            end = len(block) if end < 0 else end
            if self.pattern.search(block, max(start, end - LONGEST_LINE), end):
                found.append(base + start)
            start = end + 1
        return found


_ERROR_WORDS = (b"error", b"exception", b"traceback", b"fatal", b"critical", b"out of memory", b"nan")
ERRORS = Wanted(re.compile(rb"(?i)\b(?:%s)\b" % b"|".join(_ERROR_WORDS)), _ERROR_WORDS)
"""What the jump to the next error looks for."""
TRACEBACK = Wanted(re.compile(rb"\bTraceback \(most recent call last\)"), (b"traceback",))
"""It may stand behind a progress bar, which ends no line."""


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
                done = 0
                while done < most and self._scanned < stats.st_size:
                    self._pass_over(sparse.next_data(file.fileno(), self._scanned, stats.st_size))
                    data = os.pread(file.fileno(), CHUNK_BYTES - self._scanned % CHUNK_BYTES, self._scanned)
                    if not data:
                        break
                    if self._scanned % CHUNK_BYTES == 0:
                        self._before.append(self._lines)
                    self._lines += data.count(b"\n")
                    self._ends_open = not data.endswith(b"\n")
                    self._scanned += len(data)
                    done += len(data)
                return done
        except OSError:
            return 0

    def _pass_over(self, end: int) -> None:
        """Pass over a hole: what a log lost to its limit has no lines, and is not read."""
        if end > self._scanned:
            chunks = -(-end // CHUNK_BYTES)
            self._before.extend([self._lines] * (chunks - len(self._before)))
            self._scanned, self._ends_open = end, True

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

    def lines_from(self, offsets: Iterable[int]) -> list[bytes]:
        """Return the lines that begin at some offsets."""
        found: list[bytes] = []
        try:
            with self.path.open("rb") as file:
                for offset in offsets:
                    file.seek(offset)
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
    """Read to the end of a line, or a hole, and return its last bytes, without the newline."""
    kept, read = b"", 0
    while True:
        part = file.readline(CHUNK_BYTES)
        read += len(part)
        is_hole = len(part) >= _SMALLEST_HOLE and part.endswith(bytes(_SMALLEST_HOLE))
        kept = (kept + part)[-LONGEST_LINE - 2 :] if not is_hole else (kept + part.rstrip(b"\0"))[-LONGEST_LINE - 2 :]
        if is_hole:
            _pass_over_hole(file)
        if not part or is_hole or part.endswith(b"\n") or read > _LONGEST_SHOWN:
            return kept.rstrip(b"\r\n")


def _pass_over_hole(file: BinaryIO) -> None:
    """Go on behind a hole, and behind what it left of the line that it ends in."""
    with open(file.name, "rb") as other:  # lseek(2) would move a buffered file behind its back
        file.seek(sparse.next_data(other.fileno(), file.tell(), os.fstat(other.fileno()).st_size))
    while (part := file.readline(CHUNK_BYTES)) and not part.endswith(b"\n"):
        pass


Ended = Callable[[], bool]


def matches(path: Path, wanted: Wanted, ended: Ended, start: int = 0) -> Iterator[tuple[list[int], int]]:
    """Yield (offsets of lines that match, up to where whole lines were searched), piece by piece.

    An unfinished last line is searched too, and again by whoever goes on from where whole lines end.

    Args:
        path: the file.
        wanted: looked for in each line.
        ended: whether nobody waits any more.
        start: the offset of a line to begin at.
    """
    with path.open("rb") as file:
        carry, line, base, pause = b"", start, start, 0.0  # the line that is not whole yet begins at ``line``
        pages = sparse.pages(file.fileno(), start, _SEARCH_BYTES)
        while not ended():
            begin, data = next(pages, (base + len(carry), b""))
            if begin > base + len(carry):  # behind a hole another line begins
                yield [line if offset == base else offset for offset in wanted.lines(carry, base)], line
                carry, line, base = b"", begin, begin
            block = carry + data
            whole = block.rfind(b"\n") + 1 if data else len(block)
            found = [line if offset == base else offset for offset in wanted.lines(block[:whole], base)]
            if not data:
                yield found, line
                return
            if whole:
                line = base + whole
            yield found, line
            carry = block[whole:][-_LONGEST_SEARCHED:]
            base += len(block) - len(carry)
            if time.monotonic() > pause:
                time.sleep(_PAUSE)
                pause = time.monotonic() + 2 * _PAUSE


def next_match(path: Path, wanted: Wanted, ended: Ended, place: int, direction: int) -> tuple[int | None, bool]:
    """Return the offset of the next line that matches, or None, and whether the search went on from the other end.

    Args:
        path: the file.
        wanted: looked for in each line.
        ended: whether nobody waits any more.
        place: the offset of a line to begin at; backwards, the line before it comes first.
        direction: 1 forwards, -1 backwards.
    """
    parts = [(place, None), (0, place)] if direction > 0 else [(0, place), (place, None)]
    for number, (start, end) in enumerate(parts):
        found = _match_between(path, wanted, ended, start, end, is_last=direction < 0)
        if found is not None:
            return found, number > 0
    return None, False


def _match_between(path: Path, wanted: Wanted, ended: Ended, start: int, end: int | None, is_last: bool) -> int | None:
    last = None
    for offsets, upto in matches(path, wanted, ended, start):
        found = [offset for offset in offsets if end is None or offset < end]
        if found and not is_last:
            return found[0]
        last = found[-1] if found else last
        if end is not None and upto >= end:
            break
    return last


def compile_words(words: str) -> Wanted:
    """Return what looks for words: as a regular expression where it is one, else as they stand; small letters match
    capitals too."""
    flags = re.IGNORECASE if words == words.lower() else 0
    data = words.encode("utf-8", "surrogateescape")
    text = Wanted(re.compile(re.escape(data), flags), (data.lower(),), data.lower() if flags else data)
    if not _is_tame(words) or not _SPECIAL.search(words):
        return text
    try:
        return Wanted(re.compile(data, flags | re.MULTILINE))
    except re.error:
        return text


_SPECIAL = re.compile(r"[\\.^$*+?{}\[\]|()]")


def _is_tame(words: str) -> bool:
    """Say whether a pattern cannot take forever: no repeated groups, no references."""
    return not re.search(r"[)\]][*+{]|\\\d|\(\?", words)
