"""Metrics out of a log: named regular expressions of a project over the lines that have come."""

from __future__ import annotations

import functools
import math
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from foundations.records import METRIC, Record
from foundations_tui.config import locations
from foundations_tui.ingest import log_clock
from foundations_tui.store import queries, sparse, write_streams
from foundations_tui.store.db import Store
from foundations_tui.text.command_line import MOST_DIGITS

WRITER = "log"
"""The writer of metrics that were read out of a log."""
_STEP = "step"
_LONGEST_LINE = 4096
_PAGE = 1 << 22


def ingest(store: Store, job: str, attempt: int) -> None:
    """Read the lines of a log that are new here, and keep what the job's patterns find in them.

    A log has no times of its own: what is found bears the moment at which its line was written, as far as the samples
    of the job's log tell, else at which it was seen.
    """
    patterns = queries.log_patterns(store.conn, job)
    if not patterns:
        return
    path = locations.log_file(job, attempt)
    job_row = queries.job(store.conn, job)
    clock = log_clock.read(store.conn, job_row, attempt, path.stat().st_size if path.exists() else 0)
    ended_at = log_clock.span(job_row, attempt)[1]
    now = ended_at or time.time()
    steps = functools.partial(queries.next_step, store.conn, job, attempt)
    is_whole = ended_at is not None and queries.is_stream_whole(store.conn, job, attempt, "log")
    while True:
        known = write_streams.run_offset(store, job, attempt, "patterns")
        offset, page, size = _page(path, known)
        begin, end = 0, page.rfind(b"\n") + 1
        taken = end
        is_last = offset + len(page) >= size
        if (is_last and is_whole) or len(page) - taken > _LONGEST_LINE:
            end = taken = len(page)  # the last line of a log may lack its end, and one without end is passed over
        elif not is_last and len(page) < _PAGE:
            taken = len(page)  # a hole follows: what it left of a line says nothing
        if not taken:
            return
        if offset > known:
            begin = page.find(b"\n") + 1 or len(page)  # what a hole cut off the line before it says nothing
            write_streams.skip_unfinished(store, job, attempt, "patterns", known, offset)
        when = functools.partial(_written_at, clock, now)
        records = _records(compiled(patterns), page[begin:end], offset + begin, when, steps)
        write_streams.add_log_metrics(store, job, attempt, "patterns", offset, taken, WRITER, list(records))


def _written_at(clock: log_clock.LogClock, otherwise: float, offset: int) -> float:
    return clock.time_at(offset) or otherwise


def _page(path: Path, offset: int) -> tuple[int, bytes, int]:
    """Return (where it begins, a page of a log, its size): it begins later than asked for where the log has a hole."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size  # before the page: what comes meanwhile is no part of it
            begin, page = next(sparse.pages(file.fileno(), offset, _PAGE), (offset, b""))
            return begin, page, max(size, begin + len(page))
    except FileNotFoundError:
        return offset, b"", 0


@functools.lru_cache(64)
def compiled(patterns: Sequence[str]) -> tuple[re.Pattern[str], ...]:
    """Return patterns ready for use; what is none any more finds nothing."""
    expressions = []
    for pattern in patterns:
        try:
            expressions.append(re.compile(pattern))
        except (re.error, OverflowError, RecursionError):
            pass
    return tuple(expressions)


def find(patterns: Sequence[re.Pattern[str]], line: str) -> dict[str, str]:
    """Return what the patterns find in a line, by the names of their groups."""
    values = {}
    for pattern in patterns:
        match = pattern.search(line)
        if match is not None:
            values.update({name: text for name, text in match.groupdict().items() if text is not None})
    return values


def _records(
    patterns: Sequence[re.Pattern[str]],
    page: bytes,
    base: int,
    written_at: Callable[[int], float],
    first_step: functools.partial[int],
) -> Iterator[Record]:
    steps: dict[str, int] = {}
    offset = base
    for number, line in enumerate(page.split(b"\n")):
        for key, step, value in _values(patterns, as_read(line)):
            steps.setdefault(key, first_step(key))
            at = steps[key] if step is None else step
            steps[key] = min(at + 1, _LARGEST_STEP)
            yield Record(METRIC, written_at(offset) + number * 1e-6, key, at, value, offset)
        offset += len(line) + 1


def as_read(line: bytes) -> str:
    """Return a line as a person reads it: what stands there last, without colors.

    Progress bars write over their line, and nested ones go up by an escape sequence: the last text of each counts.
    """
    text = line[-_LONGEST_LINE:].decode("utf-8", "replace")
    text = _ESCAPE.sub("", _TO_LINE_START.sub("\r", text)).rstrip("\r").rpartition("\r")[2]
    return _typed_over(text) if "\b" in text else text


def _typed_over(text: str) -> str:
    """Return what backspaces leave of a text."""
    left: list[str] = []
    for character in text:
        if character != "\b":
            left.append(character)
        elif left:
            left.pop()
    return "".join(left)


_TO_LINE_START = re.compile("\x1b\\[0?1?G")
"""CHA of ECMA-48."""
_ESCAPE = re.compile("\x1b([PX^_][^\x1b]*\x1b\\\\|\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b]*(\x07|\x1b\\\\)?|[ -/]*[0-~])")
"""Control sequences as ECMA-48 has them, and operating system commands (xterm's)."""


def _values(patterns: Sequence[re.Pattern[str]], line: str) -> Iterator[tuple[str, int | None, int | float]]:
    """Yield (metric, its step, its value) of what a line says; what cannot be kept costs only itself."""
    values = find(patterns, line)
    step_text = values.pop(_STEP, None)
    step = read_number(step_text) if step_text is not None else None
    if step_text is not None and step is None:
        return  # it says a place, and nobody can read which
    if step is not None and (step != step or step in (math.inf, -math.inf) or abs(step) > _LARGEST_STEP):
        return  # a place that no series has
    for key, text in values.items():
        value = read_number(text)
        if value is not None:
            yield key, None if step is None else int(step), value


_LARGEST_STEP = 2**63 - 1
_READ = re.compile(r"\s*([-+]?)((?:\d{1,3}(?:,\d{3})+|\d[\d_]*)?(?:\.\d*)?)([eE][-+]?\d+)?", re.DOTALL)
_BEHIND = re.compile(r"[^\s\d(\[±<>|;~]*([\s(\[±<>|;~]|\Z)")
"""What may follow a number: a unit without digits, then anything that stands apart. ``0,5`` and ``0x1F`` are others."""
_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "infinity": math.inf}


def read_number(text: str) -> int | float | None:
    """Return the number in a text as a person reads it: leading zeros, thousands with commas, a unit behind it.

    Args:
        text: as a pattern found it: "007", "1,234.5", "12.5%", "3.2s", "-inf".
    Returns:
        The number; None where there is none.
    """
    text = text.replace("\u2212", "-")
    word = text.strip().lower().rstrip(",;)]}")
    if word.lstrip("+-") in _NOT_FINITE and len(word) - len(word.lstrip("+-")) <= 1:
        return -_NOT_FINITE[word[1:]] if word.startswith("-") else _NOT_FINITE[word.lstrip("+")]
    match = _READ.match(text)
    if match is None or not any(map(str.isdigit, match[2])) or not match[2].isascii():
        return None
    if not _BEHIND.match(text, match.end(3) if match[3] else match.end(2)):
        return None
    digits = match[2].replace(",", "").replace("_", "")
    if "." not in digits and match[3] is None and len(digits) <= MOST_DIGITS:
        return int(match[1] + digits)  # a longer one is infinite as a float
    return float(match[1] + digits + (match[3] or ""))
