"""Parts of a log as text: lines by their numbers, its end, or what looks like an error, however long the log is."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from foundations_tui.store import sparse
from foundations_tui.text.sanitize import clip, one_line

ERROR_WORDS = (b"error", b"exception", b"traceback", b"fatal", b"critical", b"out of memory", b"nan")
ERROR = re.compile(rb"(?i)(?:error|exception|\b(?:%s))\b" % b"|".join(ERROR_WORDS))
"""What looks like an error in a line of a log."""
_PAGE = 1 << 20
_LONGEST_LINE = 1 << 16
"""Bytes of a line that are looked at."""
_CELLS = 500
"""Cells of a line that are returned."""


@dataclass(frozen=True)
class Excerpt:
    """Some lines of a log."""

    lines: list[tuple[int, str]]
    """(number from 1, the line), without escape sequences; of a progress bar what stood there last."""
    total: int
    """How many lines the log has."""


def read(path: Path, count: int, first: int = 0, errors_only: bool = False) -> Excerpt:
    """Return a part of a log.

    Args:
        path: the log.
        count: how many lines, or errors, at most.
        first: number of the first line, from 1; 0 for the end of the log.
        errors_only: only what looks like an error, with its context.
    """
    if errors_only:
        return errors(path, count)
    return lines_between(path, first, count) if first else last_lines(path, count)


def last_lines(path: Path, count: int) -> Excerpt:
    """Return the last lines of a log."""
    kept: deque[tuple[int, bytes]] = deque(maxlen=count)
    kept.extend(_numbered(path))
    return _excerpt(kept, kept[-1][0] if kept else 0)


def lines_between(path: Path, first: int, count: int) -> Excerpt:
    """Return lines of a log.

    Args:
        path: the log.
        first: number of the first one, from 1.
        count: how many at most.
    """
    kept, total = [], 0
    for total, line in _numbered(path):
        if first <= total < first + count:
            kept.append((total, line))
    return _excerpt(kept, total)


def errors(path: Path, count: int, context: int = 2) -> Excerpt:
    """Return the last lines that look like errors, each with what stands around it.

    Args:
        path: the log.
        count: how many such lines at most.
        context: lines before and behind each.
    """
    total = 0
    before: deque[tuple[int, bytes]] = deque(maxlen=context)
    excerpts: deque[list[tuple[int, bytes]]] = deque(maxlen=count)
    behind = 0
    for total, line in _numbered(path):
        if ERROR.search(line):
            excerpts.append([*before, (total, line)])
            behind = context
        elif behind:
            excerpts[-1].append((total, line))
            behind -= 1
        before.append((total, line))
    lines = {number: line for part in excerpts for number, line in part}
    return _excerpt(sorted(lines.items()), total)


def _excerpt(lines: Iterable[tuple[int, bytes]], total: int) -> Excerpt:
    return Excerpt([(number, _shown(line)) for number, line in lines], total)


def _shown(line: bytes) -> str:
    text = line.rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", "replace")
    return clip(one_line(_ESCAPES.sub("", text)), _CELLS)


_ESCAPES = re.compile(r"\x1b\[[0-9;:]*[A-Za-z]")


def _numbered(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (number, line) of a log; what is beyond the length of a line that anybody reads is left out."""
    number, rest = 0, b""
    for page in _pages(path):
        *lines, rest = (rest + page).split(b"\n")
        for line in lines:
            number += 1
            yield number, line[:_LONGEST_LINE]
        rest = rest[-_LONGEST_LINE:] if len(rest) > _PAGE else rest
    if rest:
        yield number + 1, rest[:_LONGEST_LINE]


def _pages(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            for _, page in sparse.pages(file.fileno(), 0, _PAGE):
                yield page
    except FileNotFoundError:
        return
