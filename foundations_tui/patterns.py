"""Metrics out of a log: named regular expressions of a project over the lines that have come."""

from __future__ import annotations

import functools
import json
import re
import time
from collections.abc import Iterator, Sequence

from foundations.records import METRIC, Record
from foundations_tui import locations
from foundations_tui.arguments import literal
from foundations_tui.store import writes
from foundations_tui.store.db import Store

WRITER = "log"
"""The writer of metrics that were read out of a log."""
_STEP = "step"
_LONGEST_LINE = 4096
_PAGE = 1 << 22


def take_in(store: Store, job: str, attempt: int) -> None:
    """Read the lines of a log that are new here, and keep what the job's patterns find in them.

    A log has no times: what is found bears the moment at which its line was seen.
    """
    row = store.conn.execute("SELECT spec, ended_at FROM jobs WHERE job = ?", [job]).fetchone()
    patterns = json.loads(row["spec"]).get("metrics", {}).get("patterns", ()) if row is not None else ()
    if not patterns:
        return
    offset = writes.run_offset(store, job, attempt, "patterns")
    try:
        with locations.log_file(job, attempt).open("rb") as file:
            file.seek(offset)
            page = file.read(_PAGE)
    except FileNotFoundError:
        return
    taken = page.rfind(b"\n") + 1
    if row["ended_at"] is not None and len(page) < _PAGE:
        taken = len(page)  # the last line of a log may lack its end
    moment = min(time.time(), row["ended_at"] or time.time())
    steps = functools.partial(_next_step, store, job, attempt)
    found = _records(compiled(tuple(patterns)), page[:taken], offset, moment, steps)
    writes.put_found(store, job, attempt, "patterns", offset, taken, WRITER, list(found))
    if taken == _PAGE:
        take_in(store, job, attempt)


@functools.lru_cache(64)
def compiled(patterns: Sequence[str]) -> tuple[re.Pattern[str], ...]:
    """Return patterns ready for use; what is none any more finds nothing."""
    found = []
    for pattern in patterns:
        try:
            found.append(re.compile(pattern))
        except (re.error, OverflowError, RecursionError):
            pass
    return tuple(found)


def find(patterns: Sequence[re.Pattern[str]], line: str) -> dict[str, str]:
    """Return what the patterns find in a line, by the names of their groups."""
    found = {}
    for pattern in patterns:
        match = pattern.search(line)
        if match is not None:
            found.update({name: text for name, text in match.groupdict().items() if text is not None})
    return found


def _records(
    patterns: Sequence[re.Pattern[str]], page: bytes, base: int, moment: float, first_step: functools.partial[int]
) -> Iterator[Record]:
    steps: dict[str, int] = {}
    offset = base
    for number, line in enumerate(page.splitlines(keepends=True)):
        # Progress bars write over their line: what stands there last counts.
        text = line[-_LONGEST_LINE:].decode("utf-8", "replace").rstrip("\r\n").rpartition("\r")[2]
        found = find(patterns, text)
        given = literal(found.pop(_STEP, ""))
        for key, value_text in found.items():
            value = literal(value_text)
            if not isinstance(value, int | float):
                value = _not_finite(value_text)
            if value is None:
                continue
            steps.setdefault(key, first_step(key))
            step = given if isinstance(given, int) and not isinstance(given, bool) else steps[key]
            steps[key] = step + 1
            yield Record(METRIC, moment + number * 1e-6, key, step, value, offset)
        offset += len(line)


def _not_finite(text: str) -> float | None:
    try:
        return float(text)  # nan, inf
    except ValueError:
        return None


def _next_step(store: Store, job: str, attempt: int, key: str) -> int:
    query = "SELECT step FROM series WHERE key = ? AND job = ? AND attempt = ?"
    row = store.conn.execute(query, [key, job, attempt]).fetchone()
    return 0 if row is None or row["step"] is None else int(row["step"]) + 1
