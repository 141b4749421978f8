"""When the lines of a log were written: a log has no times, but samples say how long it was at certain moments."""

from __future__ import annotations

import sqlite3
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from foundations_tui.store import queries
from foundations_tui.store.rows import JobRow


@dataclass(frozen=True)
class LogClock:
    """The length of a log over time; between two moments it is taken to have grown evenly."""

    times: Sequence[float] = ()
    """Seconds since the epoch, rising."""
    sizes: Sequence[int] = ()
    """Bytes by then, never falling."""

    def offset_at(self, time: float) -> int | None:
        """Return how long the log was at a moment, bytes; None when nothing is known of it."""
        if not self.times:
            return None
        place = bisect_right(self.times, time)
        if place in (0, len(self.times)):
            return self.sizes[0 if place == 0 else -1]
        before, behind = self.times[place - 1], self.times[place]
        grown = self.sizes[place] - self.sizes[place - 1]
        return self.sizes[place - 1] + round(grown * (time - before) / (behind - before))

    def time_at(self, offset: int) -> float | None:
        """Return when the byte at an offset was written; None when nothing is known of it."""
        if not self.times:
            return None
        place = bisect_right(self.sizes, offset)
        if place in (0, len(self.sizes)):
            last = bisect_left(self.sizes, self.sizes[-1])
            return self.times[0 if place == 0 else last]
        before, grown = self.sizes[place - 1], self.sizes[place] - self.sizes[place - 1]
        return self.times[place - 1] + (self.times[place] - self.times[place - 1]) * (offset - before) / grown


def clock(knots: Sequence[tuple[float, int]]) -> LogClock:
    """Return the clock of a log.

    Args:
        knots: (seconds since the epoch, bytes), in any order; what contradicts an earlier one is passed over.
    """
    times: list[float] = []
    sizes: list[int] = []
    for time, size in sorted(knots):
        if not times or (time > times[-1] and size >= sizes[-1]):
            times.append(time)
            sizes.append(size)
    return LogClock(times, sizes)


def read(conn: sqlite3.Connection, row: JobRow, attempt: int, size: int) -> LogClock:
    """Return the clock of an attempt's log.

    Args:
        conn: the store.
        row: the job.
        attempt: which.
        size: bytes of the log as it is here.
    """
    samples = queries.job_samples(conn, row.job, attempt)
    knots = [(sample.time, sample.log) for sample in samples if sample.log is not None]
    began, ended = span(row, attempt)
    knots += [(began, 0)] if began else []
    end = ended or _now_here(row, knots)
    knots += [(end, size)] if end else []
    return clock(knots)


def span(row: JobRow, attempt: int) -> tuple[float | None, float | None]:
    """Return when an attempt of a job began and ended, as far as that is known and has happened."""
    past = next((past for past in row.attempts if past.attempt == attempt), None)
    return (past.started_at, past.ended_at) if past else (row.started_at, row.ended_at)


def _now_here(row: JobRow, knots: Sequence[tuple[float, int]]) -> float | None:
    """Return the last contact, by this machine's clock, unless the host's own clock is ahead of it."""
    last = max((time for time, _ in knots), default=0.0)
    return row.data_as_of if row.data_as_of is not None and row.data_as_of > last else None
