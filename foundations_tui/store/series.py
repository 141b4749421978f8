"""Metrics in the store: a series for each key of an attempt, its points, and rollups that keep a chart cheap.

An attempt that goes on from a checkpoint takes over the points of the one before up to its own first step (their writer
is ``INHERITED``): the last attempt's series is the job's. What one attempt alone logged are the other points.

Points stand in the order of their time; a series also knows its first and last value, bounds and count. A long series
has rollups besides: one row for each 256 points in the order they came, so that a chart of a million points reads four
thousand rows.
"""

from __future__ import annotations

import itertools
import math
import operator
import sqlite3
from collections.abc import Sequence
from typing import Any

from foundations.records import Point, nonfinite_name

BUCKET = 256
"""Points of a row of rollups."""
LONG = 8 * BUCKET
"""Points from which a series has rollups."""
INHERITED = "inherited"
"""The writer of points that an attempt took over."""
_INTEGERS = 1 << 63
"""SQLite's integers are smaller than this."""


def put(conn: sqlite3.Connection, job: str, attempt: int, writer: str, by_key: dict[str, list[Point]]) -> None:
    """Add points to the series of an attempt, within a transaction.

    Args:
        conn: a connection that writes.
        job: whole id.
        attempt: which of its attempts.
        writer: the records file they stand in.
        by_key: the points of each metric, in the order of the file; none of them is here yet.
    """
    number = _writer(conn, writer) if by_key else 0
    if attempt > 1 and by_key:
        _take_over(conn, job, attempt, {key: min(point[2] for point in points) for key, points in by_key.items()})
    for key, points in by_key.items():
        identity, count = _series(conn, job, attempt, key)
        times, _, steps, values = zip(*points, strict=True)
        numbers: Sequence[float | None] = values
        rows = points
        if set(map(type, values)) != {float} or not all(map(math.isfinite, values)):
            numbers = [number_of(value) for value in values]
            rows = [(time, offset, step, to_column(value)) for time, offset, step, value in points]
        _insert(conn, identity, number, rows)
        _put_summary(conn, identity, points, numbers)
        if count + len(points) >= LONG:
            _put_rollups(conn, identity, count, times, steps, numbers)
        _pass_on(conn, job, attempt, key, rows, number)


def _take_over(conn: sqlite3.Connection, job: str, attempt: int, first_steps: dict[str, int]) -> None:
    """Begin the series of an attempt with what the one before logged, up to where this one took over.

    Args:
        conn: a connection that writes.
        job: whole id.
        attempt: the later attempt.
        first_steps: where it begins, by metric; a metric that it has not logged yet is taken over up to the least.
    """
    query = "SELECT key, attempt, id FROM series WHERE job = ? AND attempt <= ? ORDER BY attempt"
    earlier: dict[str, tuple[int, int]] = {}
    keys_there: set[str] = set()
    for key, number, identity in conn.execute(query, [job, attempt]):
        if number == attempt:
            keys_there.add(key)
        else:
            earlier[key] = identity, number
    least = min(first_steps.values())
    for key, (source, number) in earlier.items():
        if key in keys_there or (key not in first_steps and keys_there):
            continue
        condition = [source, first_steps.get(key, least)]
        if conn.execute("SELECT 1 FROM points WHERE series = ? AND step < ? LIMIT 1", condition).fetchone():
            identity, _ = _series(conn, job, attempt, key)
            conn.execute(_INHERIT, [identity, _writer(conn, INHERITED), *condition, _apart(number)])
            _sum_up_again(conn, identity)


_APART = 1024
"""Writers whose points keep distinct places when one writer, ``INHERITED``, takes them over."""
_INHERIT = (
    "INSERT OR IGNORE INTO points SELECT ?1, time, ?2,"
    f" CASE writer WHEN ?2 THEN offset ELSE offset * {_APART} + (writer + ?5) % {_APART} END, step, value FROM points"
    " WHERE series = ?3 AND step < ?4"
)


def _apart(attempt: int) -> int:
    """Return what keeps places of one writer apart that are of several attempts."""
    return attempt * 67 % _APART


def _pass_on(conn: sqlite3.Connection, job: str, attempt: int, key: str, rows: Sequence[Point], writer: int) -> None:
    """Give points of an attempt to later ones that are here already: records do not always come in their order."""
    query = "SELECT id FROM series WHERE key = ? AND job = ? AND attempt > ?"
    for (later,) in conn.execute(query, [key, job, attempt]).fetchall():
        inherited = _writer(conn, INHERITED)
        own = "SELECT MIN(step) FROM points WHERE series = ? AND writer != ?"
        begins = conn.execute(own, [later, inherited]).fetchone()[0]
        late = [
            (later, time, inherited, offset * _APART + (writer + _apart(attempt)) % _APART, step, value)
            for time, offset, step, value in rows
            if begins is not None and step < begins
        ]
        if late:
            conn.executemany("INSERT OR IGNORE INTO points VALUES (?, ?, ?, ?, ?, ?)", late)
            _sum_up_again(conn, later)


def _sum_up_again(conn: sqlite3.Connection, identity: int) -> None:
    """Make the summary and the rollups of a series from its points."""
    query = "SELECT time, step, value FROM points WHERE series = ? ORDER BY time, writer, offset"
    points = conn.execute(query, [identity]).fetchall()
    finite = [number for number in (_number_in(value) for _, _, value in points) if number is not None]
    low, high = (min(finite), max(finite)) if finite else (None, None)
    (_, _, first), (time, step, last) = points[0], points[-1]
    conn.execute(
        "UPDATE series SET count = ?, min = ?, max = ?, first = ?, last = ?, step = ?, time = ? WHERE id = ?",
        [len(points), low, high, first, last, step, time, identity],
    )
    if len(points) >= LONG:
        _put_rollups(conn, identity, 0, (), (), ())


def _number_in(value: Any) -> float | None:
    """Return the number in a column."""
    if isinstance(value, str):
        return {"Infinity": math.inf, "-Infinity": -math.inf}.get(value)
    return number_of(from_column(value))


def _insert(conn: sqlite3.Connection, identity: int, writer: int, rows: Sequence[Point]) -> None:
    """Add points, many with one statement: half the time of ``executemany``."""
    start = 0
    for size, query in _INSERTS.items():
        while len(rows) - start >= size:
            part = itertools.chain.from_iterable(rows[start : start + size])
            conn.execute(query, [identity, writer, *part])
            start += size


def _insert_of(rows: int) -> str:
    places = (f"(?1, ?{n}, ?2, ?{n + 1}, ?{n + 2}, ?{n + 3})" for n in range(3, 3 + 4 * rows, 4))
    return f"INSERT OR IGNORE INTO points VALUES {', '.join(places)}"


_INSERTS = {size: _insert_of(size) for size in (64, 8, 1)}
"""Statements by how many points they add."""


def forget(conn: sqlite3.Connection, job: str) -> None:
    """Remove the series of a job."""
    ids = [(row[0],) for row in conn.execute("SELECT id FROM series WHERE job = ?", [job])]
    conn.executemany("DELETE FROM points WHERE series = ?", ids)
    conn.executemany("DELETE FROM rollups WHERE series = ?", ids)
    conn.execute("DELETE FROM series WHERE job = ?", [job])


def forget_writers(conn: sqlite3.Connection, job: str, attempt: int, begin: str) -> None:
    """Remove the points of an attempt whose writers' names begin with some words."""
    writers = "SELECT id FROM writers WHERE substr(name, 1, ?) = ?"
    for (identity,) in conn.execute("SELECT id FROM series WHERE job = ? AND attempt = ?", [job, attempt]).fetchall():
        gone = f"DELETE FROM points WHERE series = ? AND writer IN ({writers})"
        if not conn.execute(gone, [identity, len(begin), begin]).rowcount:
            continue
        conn.execute("DELETE FROM rollups WHERE series = ?", [identity])
        if conn.execute("SELECT 1 FROM points WHERE series = ? LIMIT 1", [identity]).fetchone():
            _sum_up_again(conn, identity)
        else:
            conn.execute("DELETE FROM series WHERE id = ?", [identity])


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
    if isinstance(value, float):
        return value if value == value else None
    if isinstance(value, int):
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    return None


def _writer(conn: sqlite3.Connection, name: str) -> int:
    row = conn.execute("SELECT id FROM writers WHERE name = ?", [name]).fetchone()
    if row is None:
        row = conn.execute("INSERT INTO writers (name) VALUES (?) RETURNING id", [name]).fetchone()
    return int(row[0])


def _series(conn: sqlite3.Connection, job: str, attempt: int, key: str) -> tuple[int, int]:
    """Return (id, how many points are here) of a series, made when it is not there."""
    query = "SELECT id, count FROM series WHERE key = ? AND job = ? AND attempt = ?"
    row = conn.execute(query, [key, job, attempt]).fetchone()
    if row is None:
        made = (
            "INSERT INTO series (key, job, attempt, id, count)"
            " SELECT ?, ?, ?, COALESCE(MAX(id), 0) + 1, 0 FROM series RETURNING id, count"
        )
        row = conn.execute(made, [key, job, attempt]).fetchone()
    return int(row[0]), int(row[1])


def _put_summary(conn: sqlite3.Connection, identity: int, points: list[Point], numbers: Sequence[float | None]) -> None:
    finite = [n for n in numbers if n is not None]
    first, last = points[0], points[-1]
    if not all(map(operator.le, points, points[1:])):
        first, last = min(points, key=_order), max(points, key=_order)
    low, high = (min(finite), max(finite)) if finite else (None, None)
    conn.execute(
        "UPDATE series SET count = count + ?1, min = COALESCE(MIN(min, ?2), min, ?2),"
        " max = COALESCE(MAX(max, ?3), max, ?3),"
        " last = CASE WHEN time IS NULL OR ?4 >= time THEN ?5 ELSE last END,"
        " step = CASE WHEN time IS NULL OR ?4 >= time THEN ?6 ELSE step END,"
        " first = CASE WHEN time IS NULL OR ?7 <= (SELECT time FROM points WHERE series = ?9 ORDER BY time LIMIT 1)"
        " THEN ?8 ELSE first END, time = MAX(COALESCE(time, ?4), ?4) WHERE id = ?9",
        [
            *(len(points), low, high, last[0], to_column(last[3]), last[2]),
            *(first[0], to_column(first[3]), identity),
        ],
    )


_order = operator.itemgetter(0, 1)
"""Time and offset of a point."""


def _put_rollups(
    conn: sqlite3.Connection,
    identity: int,
    count: int,
    times: Sequence[float],
    steps: Sequence[int],
    numbers: Sequence[float | None],
) -> None:
    """Add points to the rollups; those that a series has when it becomes long are summed up then."""
    if count < LONG:
        conn.execute("DELETE FROM rollups WHERE series = ?", [identity])
        query = "SELECT value, step, time FROM points WHERE series = ? ORDER BY time, writer, offset"
        values, steps, times = zip(*map(tuple, conn.execute(query, [identity])), strict=True)
        numbers, count = [number_of(value) for value in values], 0
    rows = []
    start = 0
    while start < len(times):
        part = slice(start, start + BUCKET - (count + start) % BUCKET)
        rows.append((identity, (count + start) // BUCKET, *_summed(times[part], steps[part], numbers[part])))
        start = part.stop
    conn.executemany(
        "INSERT INTO rollups VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (series, bucket) DO UPDATE SET"
        " count = count + excluded.count, min = COALESCE(MIN(min, excluded.min), min, excluded.min),"
        " max = COALESCE(MAX(max, excluded.max), max, excluded.max), last = COALESCE(excluded.last, last),"
        " step_min = MIN(step_min, excluded.step_min), step_max = MAX(step_max, excluded.step_max),"
        " time_min = MIN(time_min, excluded.time_min), time_max = MAX(time_max, excluded.time_max),"
        " odd = odd + excluded.odd",
        rows,
    )


def _summed(times: Sequence[float], steps: Sequence[int], numbers: Sequence[float | None]) -> tuple[Any, ...]:
    """Return the columns of a row of rollups; "odd" counts what is no finite number."""
    finite = [n for n in numbers if n is not None and n - n == 0.0]
    low, high, last = (min(finite), max(finite), finite[-1]) if finite else (None, None, None)
    return len(times), low, high, last, min(steps), max(steps), min(times), max(times), len(times) - len(finite)
