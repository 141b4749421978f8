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

from foundations_tui.analysis.log_excerpt import ERROR, ERROR_WORDS
from foundations_tui.store import sparse

CHUNK_BYTES = 64 << 10
LONGEST_LINE = 4096
"""Bytes of a line that are shown: the last ones, where a progress bar stands."""
_SMALLEST_HOLE = 4096
"""Zeros in a row that are a gap in a log, not text."""
_LONGEST_SHOWN = 1 << 20
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
        offsets = []
        place = block.find(self.text)
        while place >= 0:
            offsets.append(base + block.rfind(b"\n", 0, place) + 1)
            end = block.find(b"\n", place)
            place = block.find(self.text, end + 1) if end >= 0 else -1
        return offsets

    def _lines_by_line(self, block: bytes, base: int) -> list[int]:
        """Let the pattern look at the end of each line for itself: it could take very long over a long one."""
        offsets, start = [], 0
        while start < len(block):
            end = block.find(b"\n", start)
            end = len(block) if end < 0 else end
            if self.pattern.search(block, max(start, end - LONGEST_LINE), end):
                offsets.append(base + start)
            start = end + 1
        return offsets


ERRORS = Wanted(ERROR, ERROR_WORDS)
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
        self._taken: dict[int, int] = {}
        """How many line ends of a chunk were taken back behind it: progress bars below one another are one line."""
        self._carry = b""
        """The last bytes that were counted: a step up may go on in what follows."""
        self._looked_at: tuple[int, int, list[int]] = (-1, 0, [])
        """The chunk that was looked at last, its bytes, and the offsets behind the ends of its lines."""

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
        """Count lines in at most this many new bytes; return how many bytes there were."""
        try:
            with self.path.open("rb") as file:
                stats = os.fstat(file.fileno())
                if stats.st_ino != self._inode or stats.st_size < self._scanned:
                    self._inode = stats.st_ino
                    self._before, self._scanned, self._lines, self._ends_open = array("Q"), 0, 0, False
                    self._taken, self._carry, self._looked_at = {}, b"", (-1, 0, [])
                done = 0
                while done < most and self._scanned < stats.st_size:
                    self._pass_over(sparse.next_data(file.fileno(), self._scanned, stats.st_size))
                    data = os.pread(file.fileno(), CHUNK_BYTES - self._scanned % CHUNK_BYTES, self._scanned)
                    if not data:
                        break
                    self._count(data)
                    done += len(data)
                return done
        except OSError:
            return 0

    def _count(self, data: bytes) -> None:
        """Count the lines in what follows, within one chunk."""
        if self._scanned % CHUNK_BYTES == 0:
            self._before.append(self._lines)
        across = _ups_across(self._carry, data)
        if across or _has_ups(data):
            ends, taken = _ends(data)
            self._rollback(across + taken)
            self._lines += len(ends)
            self._ends_open = not ends or ends[-1] != len(data) - 1
        else:
            self._lines += data.count(b"\n")
            self._ends_open = not data.endswith(b"\n")
        self._carry = (self._carry + data[-_LONGEST_UP + 1 :])[-_LONGEST_UP + 1 :]
        self._scanned += len(data)

    def _rollback(self, count: int) -> None:
        """Take line ends back, the last first: what follows was drawn over what stood before them."""
        self._lines = max(0, self._lines - count)
        chunk = len(self._before) - 1
        while chunk > 0 and self._before[chunk] > self._lines:
            lost = self._before[chunk] - max(self._lines, self._before[chunk - 1])
            self._taken[chunk - 1] = self._taken.get(chunk - 1, 0) + lost
            self._before[chunk] = self._lines
            chunk -= 1

    def _pass_over(self, end: int) -> None:
        """Pass over a hole: what a log lost to its limit has no lines, and is not read."""
        if end > self._scanned:
            chunks = -(-end // CHUNK_BYTES)
            self._before.extend([self._lines] * (chunks - len(self._before)))
            self._scanned, self._ends_open, self._carry = end, True, b""

    def lines(self, first: int, count: int) -> list[bytes]:
        """Return lines by their numbers, from 0, as far as they are known."""
        lines: list[bytes] = []
        if not 0 <= first < self.line_count:
            return lines
        try:
            with self.path.open("rb") as file:
                begin = self._start_of(file, first)
                for number in range(first, min(first + count, self.line_count)):
                    end = self._start_of(file, number + 1) if number < self._lines else self._scanned
                    lines.append(_between(file, begin, end))
                    begin = end
        except OSError:
            pass
        return lines

    def lines_from(self, offsets: Iterable[int]) -> list[bytes]:
        """Return the lines that begin at some offsets."""
        lines: list[bytes] = []
        try:
            with self.path.open("rb") as file:
                for offset in offsets:
                    file.seek(offset)
                    lines.append(_rest_of_line(file))
        except OSError:
            pass
        return lines

    def line_at(self, offset: int) -> int:
        """Return the number of the line in which a byte stands, as far as lines are counted."""
        chunk = min(offset // CHUNK_BYTES, len(self._before) - 1)
        if chunk < 0:
            return 0
        try:
            with self.path.open("rb") as file:
                return self._before[chunk] + bisect_right(self._ends_in(file, chunk), offset)
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
        want = max(count * 400, LONGEST_LINE)
        try:
            with self.path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                while True:
                    file.seek(max(0, size - want))
                    lines = _split(file.read(want))
                    if len(lines) > count or want >= min(size, _LONGEST_SHOWN):
                        return [line[-LONGEST_LINE:] for line in lines[-count:]]
                    want *= 8
        except OSError:
            return []

    def _start_of(self, file: BinaryIO, number: int) -> int:
        """Return the offset at which a line begins."""
        if number == 0:
            return 0
        chunk = bisect_right(self._before, number - 1) - 1
        ends = self._ends_in(file, chunk)
        missing = number - self._before[chunk]
        return ends[missing - 1] if missing <= len(ends) else min(self._scanned, (chunk + 1) * CHUNK_BYTES)

    def _ends_in(self, file: BinaryIO, chunk: int) -> list[int]:
        """Return the offsets behind the ends of the lines that end in a chunk; those of the last one are kept."""
        begin = chunk * CHUNK_BYTES
        size = min(CHUNK_BYTES, self._scanned - begin)
        if self._looked_at[:2] != (chunk, size):
            file.seek(begin)
            self._looked_at = (chunk, size, [begin + end + 1 for end in _ends(file.read(size))[0]])
        ends = self._looked_at[2]
        return ends[: len(ends) - self._taken.get(chunk, 0)]


_END = re.compile(rb"\n")
_UP_OR_END = re.compile(rb"\x1b\[1?A|\n")
_LONGEST_UP = 4


def _has_ups(data: bytes) -> bool:
    """Return whether a step up (CUU of ECMA-48) stands in some bytes; progress bars below one another make them."""
    return b"\x1b" in data and (b"\x1b[A" in data or b"\x1b[1A" in data)  # one byte is found much sooner


def _ups_across(before: bytes, data: bytes) -> int:
    """Return how many steps up begin in the last bytes before some, and end in those: 0 or 1."""
    joined = before + data[: _LONGEST_UP - 1]
    spans = [match.span() for match in _UP_OR_END.finditer(joined) if match.group() != b"\n"]
    return sum(begin < len(before) < end for begin, end in spans)


def _ends(data: bytes) -> tuple[list[int], int]:
    """Return where lines end in some bytes, and how many line ends before them are taken back.

    Each step up takes the last line end back.
    """
    if not _has_ups(data):
        return [match.start() for match in _END.finditer(data)], 0
    ends: list[int] = []
    taken = 0
    for match in _UP_OR_END.finditer(data):
        if match.group() == b"\n":
            ends.append(match.start())
        elif ends:
            ends.pop()
        else:
            taken += 1
    return ends, taken


def _split(data: bytes) -> list[bytes]:
    """Return the lines in some bytes; within one, each time that it was drawn again begins with a carriage return."""
    lines, begin = [], 0
    for end in [*_ends(data)[0], len(data)]:
        lines.append(data[begin:end].replace(b"\n", b"\r"))
        begin = end + 1
    return lines if lines[-1] else lines[:-1]


def _between(file: BinaryIO, begin: int, end: int) -> bytes:
    """Return the last bytes of the line between two offsets; of one with a hole, those before that."""
    stop = end
    if end - begin >= _SMALLEST_HOLE:
        with open(file.name, "rb") as other:  # lseek(2) would move a buffered file behind its back
            stop = next((upto for start, upto in sparse.segments(other.fileno(), begin, end) if start == begin), end)
    file.seek(max(begin, stop - LONGEST_LINE - 1))
    data = file.read(stop - file.tell()).rstrip(b"\r\n" if stop == end else b"\0")
    return data.replace(b"\n", b"\r")[-LONGEST_LINE:]


def _rest_of_line(file: BinaryIO) -> bytes:
    """Read to the end of a line, whatever takes it back, and return its last bytes, without the newline."""
    kept, read = b"", 0
    while True:
        part = file.readline(CHUNK_BYTES)
        kept, read = (kept + part)[-LONGEST_LINE - 2 :], read + len(part)
        if not part or part.endswith(b"\n") or read > _LONGEST_SHOWN:
            return kept.rstrip(b"\r\n")


def drawn_last(line: bytes) -> bytes:
    """Return what a line shows last: a progress bar writes over it, and those below one another step up to others."""
    if not _has_ups(line):
        return line.rpartition(b"\r")[2]
    shown = (_STEERED.sub(b"", part).strip() for part in reversed(line.split(b"\r")))
    return next((part for part in shown if part), b"")


_STEERED = re.compile(rb"\x1b\[[0-9]*[A-KSTfsu]")
"""Steps and erasures (CUU to EL of ECMA-48): of one line only what is drawn last is shown."""


Ended = Callable[[], bool]


def matches(path: Path, pattern: Wanted, ended: Ended, start: int = 0) -> Iterator[tuple[list[int], int]]:
    """Yield (offsets of lines that match, up to where whole lines were searched), piece by piece.

    An unfinished last line is searched too, and again by whoever goes on from where whole lines end.

    Args:
        path: the file.
        pattern: looked for in each line.
        ended: whether nobody waits any more.
        start: the offset of a line to begin at.
    """
    with path.open("rb") as file:
        carry, line, base, pause = b"", start, start, 0.0  # the line that is not whole yet begins at ``line``
        pages = sparse.pages(file.fileno(), start, _SEARCH_BYTES)
        while not ended():
            begin, data = next(pages, (base + len(carry), b""))
            if begin > base + len(carry):  # behind a hole another line begins
                yield [line if offset == base else offset for offset in pattern.lines(carry, base)], line
                carry, line, base = b"", begin, begin
            block = carry + data
            whole = block.rfind(b"\n") + 1 if data else len(block)
            offsets = [line if offset == base else offset for offset in pattern.lines(block[:whole], base)]
            if not data:
                yield offsets, line
                return
            if whole:
                line = base + whole
            yield offsets, line
            carry = block[whole:][-_LONGEST_SEARCHED:]
            base += len(block) - len(carry)
            if time.monotonic() > pause:
                time.sleep(_PAUSE)
                pause = time.monotonic() + 2 * _PAUSE


def next_match(path: Path, pattern: Wanted, ended: Ended, place: int, direction: int) -> tuple[int | None, bool]:
    """Return the offset of the next line that matches, or None, and whether the search went on from the other end.

    Args:
        path: the file.
        pattern: looked for in each line.
        ended: whether nobody waits any more.
        place: the offset of a line to begin at; backwards, the line before it comes first.
        direction: 1 forwards, -1 backwards.
    """
    parts = [(place, None), (0, place)] if direction > 0 else [(0, place), (place, None)]
    for number, (start, end) in enumerate(parts):
        offset = _match_between(path, pattern, ended, start, end, is_last=direction < 0)
        if offset is not None:
            return offset, number > 0
    return None, False


def _match_between(path: Path, pattern: Wanted, ended: Ended, start: int, end: int | None, is_last: bool) -> int | None:
    last = None
    for offsets, upto in matches(path, pattern, ended, start):
        inside = [offset for offset in offsets if end is None or offset < end]
        if inside and not is_last:
            return inside[0]
        last = inside[-1] if inside else last
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
    """Return whether a pattern cannot take forever: no repeated groups, no references."""
    return not re.search(r"[)\]][*+{]|\\\d|\(\?", words)
