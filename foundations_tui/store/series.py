"""Metrics in the store: a series for each key of an attempt, its points, and rollups that keep a chart cheap.

Points stand in the order of their time; a series also knows its first and last value, bounds and count. A long series
has rollups besides: one row for each 256 points in the order they came, so that a chart of a million points reads four
thousand rows.
"""

from __future__ import annotations

import math
import operator
import sqlite3
from typing import Any

from foundations.records import Record, nonfinite_name

BUCKET = 256
"""Points of a row of rollups."""
LONG = 8 * BUCKET
"""Points from which a series has rollups."""
_INTEGERS = 1 << 63
"""SQLite's integers are smaller than this."""


def put(conn: sqlite3.Connection, job: str, attempt: int, writer: str, by_key: dict[str, list[Record]]) -> None:
    """Add points to the series of an attempt, within a transaction.

    Args:
        conn: a connection that writes.
        job: whole id.
        attempt: which of its attempts.
        writer: the records file they stand in.
        by_key: the records of each metric, in the order of the file; none of them is here yet.
    """
    number = _writer(conn, writer)
    for key, records in by_key.items():
        identity, count = _series(conn, job, attempt, key)
        rows = [(identity, time, number, offset, step, to_column(v)) for _, time, _, step, v, offset in records]
        conn.executemany("INSERT OR IGNORE INTO points VALUES (?, ?, ?, ?, ?, ?)", rows)
        numbers = [number_of(record[4]) for record in records]
        _put_summary(conn, identity, records, numbers)
        if count + len(records) >= LONG:
            _put_rollups(conn, identity, count, records, numbers)


def forget(conn: sqlite3.Connection, job: str) -> None:
    """Remove the series of a job."""
    found = [(row[0],) for row in conn.execute("SELECT id FROM series WHERE job = ?", [job])]
    conn.executemany("DELETE FROM points WHERE series = ?", found)
    conn.executemany("DELETE FROM rollups WHERE series = ?", found)
    conn.execute("DELETE FROM series WHERE job = ?", [job])


def to_column(value: Any) -> Any:
    """Return what SQLite can hold: it has no NaN and no large integers, so those are kept by name and by digits."""
    if isinstance(value, float):
        return value if value - value == 0.0 else nonfinite_name(value)
    if isinstance(value, int) and not -_INTEGERS <= value < _INTEGERS:
        return str(value).encode()
    return value


def from_column(value: Any) -> Any:
    """Return the value that a column holds; what is not finite stays a name."""
    return int(value) if isinstance(value, bytes) else value


def number_of(value: Any) -> float | None:
    """Return a value as the number that a chart shows; None for text, NaN and what has none."""
    if type(value) is float:
        return value if value == value else None
    if isinstance(value, int):
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    return None


def _writer(conn: sqlite3.Connection, name: str) -> int:
    found = conn.execute("SELECT id FROM writers WHERE name = ?", [name]).fetchone()
    if found is None:
        found = conn.execute("INSERT INTO writers (name) VALUES (?) RETURNING id", [name]).fetchone()
    return int(found[0])


def _series(conn: sqlite3.Connection, job: str, attempt: int, key: str) -> tuple[int, int]:
    """Return (id, how many points are here) of a series, made when it is not there."""
    query = "SELECT id, count FROM series WHERE key = ? AND job = ? AND attempt = ?"
    found = conn.execute(query, [key, job, attempt]).fetchone()
    if found is None:
        made = (
            "INSERT INTO series (key, job, attempt, id, count)"
            " SELECT ?, ?, ?, COALESCE(MAX(id), 0) + 1, 0 FROM series RETURNING id, count"
        )
        found = conn.execute(made, [key, job, attempt]).fetchone()
    return int(found[0]), int(found[1])


def _put_summary(conn: sqlite3.Connection, identity: int, records: list[Record], numbers: list[float | None]) -> None:
    known = [n for n in numbers if n is not None]
    first, last = min(records, key=_order), max(records, key=_order)
    low, high = (min(known), max(known)) if known else (None, None)
    conn.execute(
        "UPDATE series SET count = count + ?1, min = COALESCE(MIN(min, ?2), min, ?2),"
        " max = COALESCE(MAX(max, ?3), max, ?3),"
        " last = CASE WHEN time IS NULL OR ?4 >= time THEN ?5 ELSE last END,"
        " step = CASE WHEN time IS NULL OR ?4 >= time THEN ?6 ELSE step END,"
        " first = CASE WHEN time IS NULL OR ?7 <= (SELECT time FROM points WHERE series = ?9 ORDER BY time LIMIT 1)"
        " THEN ?8 ELSE first END, time = MAX(COALESCE(time, ?4), ?4) WHERE id = ?9",
        [
            *(len(records), low, high, last.time, to_column(last.value), last.step),
            *(first.time, to_column(first.value), identity),
        ],
    )


_order = operator.itemgetter(1, 5)
"""Time and offset of a record."""


def _put_rollups(
    conn: sqlite3.Connection, identity: int, count: int, records: list[Record], numbers: list[float | None]
) -> None:
    """Add points to the rollups; those that a series has when it becomes long are summed up then."""
    if count < LONG:
        conn.execute("DELETE FROM rollups WHERE series = ?", [identity])
        query = "SELECT value, step, time FROM points WHERE series = ? ORDER BY time, writer, offset"
        points, count = [(number_of(row[0]), row[1], row[2]) for row in conn.execute(query, [identity])], 0
    else:
        points = [(n, record[3], record[1]) for n, record in zip(numbers, records, strict=True)]
    rows = []
    while points:
        room = BUCKET - count % BUCKET
        part, points = points[:room], points[room:]
        rows.append((identity, count // BUCKET, *_summed(part)))
        count += len(part)
    conn.executemany(
        "INSERT INTO rollups VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (series, bucket) DO UPDATE SET"
        " count = count + excluded.count, min = COALESCE(MIN(min, excluded.min), min, excluded.min),"
        " max = COALESCE(MAX(max, excluded.max), max, excluded.max), last = COALESCE(excluded.last, last),"
        " step_min = MIN(step_min, excluded.step_min), step_max = MAX(step_max, excluded.step_max),"
        " time_min = MIN(time_min, excluded.time_min), time_max = MAX(time_max, excluded.time_max),"
        " odd = odd + excluded.odd",
        rows,
    )


def _summed(points: list[tuple[float | None, int, float]]) -> tuple[Any, ...]:
    """Return the columns of a row of rollups; "odd" counts what is no finite number."""
    numbers, steps, times = zip(*points, strict=True)
    known = [n for n in numbers if n is not None and n - n == 0.0]
    low, high, last = (min(known), max(known), known[-1]) if known else (None, None, None)
    return len(points), low, high, last, min(steps), max(steps), min(times), max(times), len(points) - len(known)
