"""What hosts used over time: each sample for a day, a line a minute for 30 days."""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from foundations_tui.store.db import Store
from foundations_tui.store.rows import HostSample, json_value, stored_json

KEPT_WHOLE = 86400.0
"""Seconds for which each sample is kept."""
KEPT = 30 * 86400.0
_MINUTE = 60.0
_MOST_HOLDERS = 100
_MOST = 1 << 62
_GPU_VALUES = 4
"""Utilisation, MiB, degrees, watts: the values of a GPU behind its UUID; its holders follow."""
Range = tuple[float, float, float]
"""Least, mean and greatest value."""


@dataclass(frozen=True)
class HostMinute:
    """What a host used in a minute."""

    time: float
    """When it began, seconds since the epoch."""
    count: int
    """Samples in it."""
    load: Range | None
    ram: Range | None
    """Bytes."""
    disk_free: Range | None
    gpus: dict[str, tuple[list[Range | None], list[Any]]]
    """By UUID: ranges of utilisation, MiB, degrees and watts; and who held it."""


def offset(store: Store, host: str) -> int:
    """Return up to where a host's own samples are here."""
    row = store.conn.execute("SELECT samples_offset FROM hosts WHERE name = ?", [host]).fetchone()
    return int(row[0]) if row else 0


def put_page(store: Store, host: str, base: int, begin: int, page: bytes, now: float | None = None) -> int:
    """Take in the whole lines of a page of a host's samples; what is older than a day becomes minutes.

    Args:
        store: open for writing.
        host: whose.
        base: the cursor that the page was asked for with.
        begin: where the page begins.
        page: its bytes.
        now: seconds since the epoch; the clock's when it is not given.
    Returns:
        The cursor behind it.
    """
    now = time.time() if now is None else now
    end = begin + page.rfind(b"\n") + 1
    rows = [(host, *values[:4], json.dumps(values[4])) for values in _lines(page)]
    with store.transaction() as conn:
        moved = conn.execute(
            "UPDATE hosts SET samples_offset = ? WHERE name = ? AND samples_offset = ?", [end, host, base]
        )
        if moved.rowcount == 1:
            conn.executemany("INSERT OR IGNORE INTO host_samples VALUES (?, ?, ?, ?, ?, ?)", rows)
            _fold(conn, host, math.floor((now - KEPT_WHOLE) / _MINUTE) * _MINUTE)
            conn.execute("DELETE FROM host_minutes WHERE host = ? AND time < ?", [host, now - KEPT])
    return end


def since(conn: sqlite3.Connection, host: str, moment: float) -> list[HostSample]:
    """Return the samples of a host since a moment, oldest first."""
    query = "SELECT time, load, ram, disk_free, gpus FROM host_samples WHERE host = ? AND time >= ? ORDER BY time"
    return [
        HostSample(row[0], _amount(row[1]), _amount(row[2]), _amount(row[3]), list(_well_formed(stored_json(row[4]))))
        for row in conn.execute(query, [host, moment])
        if _is_number(row[0])
    ]


def minutes(conn: sqlite3.Connection, host: str, begin: float, end: float) -> list[HostMinute]:
    """Return what a host used in each minute of a span that is more than a day ago, oldest first."""
    query = (
        "SELECT time, count, load, ram, disk_free, gpus FROM host_minutes"
        " WHERE host = ? AND time >= ? AND time < ? ORDER BY time"
    )
    found = conn.execute(query, [host, begin, end])
    return [HostMinute(row[0], row[1], _range(row[2]), _range(row[3]), _range(row[4]), _gpus(row[5])) for row in found]


def _range(text: str | None) -> Range | None:
    values = stored_json(text) if text else None
    return (values[0], values[1], values[2]) if values else None


def _gpus(text: str) -> dict[str, tuple[list[Range | None], list[Any]]]:
    return {
        uuid: ([tuple(value) if value else None for value in values], holders)
        for uuid, values, holders in stored_json(text)
    }


def _lines(page: bytes) -> list[list[Any]]:
    """Return the values of each whole line that is a sample of a host."""
    samples = []
    for line in page[: page.rfind(b"\n") + 1].splitlines():
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(values, list) and len(values) == 5 and _is_number(values[0]) and isinstance(values[4], list):
            amounts = [_amount(value) for value in values[1:4]]
            samples.append([values[0], *amounts, json_value(list(_well_formed(values[4])))])
    return samples


def _fold(conn: sqlite3.Connection, host: str, before: float) -> None:
    """Make minutes of the samples before a moment that begins a minute."""
    query = "SELECT time, load, ram, disk_free, gpus FROM host_samples WHERE host = ? AND time < ? ORDER BY time"
    rows = conn.execute(query, [host, before]).fetchall()
    by_minute: dict[float, list[Sequence[Any]]] = {}
    for row in rows:
        by_minute.setdefault(math.floor(row[0] / _MINUTE) * _MINUTE, []).append(row)
    for minute, samples in by_minute.items():
        known = conn.execute(
            "SELECT count, load, ram, disk_free, gpus FROM host_minutes WHERE host = ? AND time = ?", [host, minute]
        ).fetchone()
        row = (host, minute, *_merged(samples, known))
        conn.execute("INSERT OR REPLACE INTO host_minutes VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    conn.execute("DELETE FROM host_samples WHERE host = ? AND time < ?", [host, before])


def _merged(samples: list[Sequence[Any]], known: Sequence[Any] | None) -> list[Any]:
    """Return the columns of a minute: of its samples, and of what was known of it."""
    before = known[0] if known else 0
    columns: list[Any] = [before + len(samples)]
    for place in (1, 2, 3):
        values = [sample[place] for sample in samples]
        columns.append(_joined(values, _range(known[place]) if known else None, before))
    ranges: dict[str, tuple[list[list[Any]], list[Any]]] = {}
    for sample in samples:
        for gpu in _well_formed(stored_json(sample[4])):
            values_of, holders = ranges.setdefault(gpu[0], ([[] for _ in range(_GPU_VALUES)], []))
            for place in range(_GPU_VALUES):
                values_of[place].append(gpu[1 + place])
            holders.extend(one for one in _holders(gpu) if one not in holders)
    earlier = _gpus(known[4]) if known else {}
    gpus = []
    for uuid in {**earlier, **ranges}:
        old, old_holders = earlier.get(uuid, ([None] * _GPU_VALUES, []))
        new, new_holders = ranges.get(uuid, ([[] for _ in range(_GPU_VALUES)], []))
        values_now = [_triple(values, kept, before) for values, kept in zip(new, old, strict=True)]
        gpus.append([uuid, values_now, [*old_holders, *(one for one in new_holders if one not in old_holders)]])
    return [*columns, json.dumps(json_value(gpus))]


def _well_formed(gpus: Any) -> Iterable[list[Any]]:
    """Yield the GPUs of a sample: UUID, values that are amounts or nothing, holders."""
    for gpu in gpus if isinstance(gpus, list) else ():
        if isinstance(gpu, list) and len(gpu) >= 1 + _GPU_VALUES and isinstance(gpu[0], str):
            yield [gpu[0], *map(_amount, gpu[1 : 1 + _GPU_VALUES]), _holders(gpu)]


def _amount(value: Any) -> Any:
    """Return an amount, None for what is none: not below 0, and small enough for every sum."""
    return value if _is_number(value) and value >= 0 else None


def _holders(gpu: list[Any]) -> list[Any]:
    return gpu[5][:_MOST_HOLDERS] if len(gpu) > 5 and isinstance(gpu[5], list) else []


def _joined(values: list[Any], known: Range | None, weight: int) -> str | None:
    triple = _triple(values, known, weight)
    return None if triple is None else json.dumps(triple)


def _triple(values: list[Any], known: Range | None, weight: int) -> list[float] | None:
    """Return [min, mean, max] of values, and of a range that stands for as many as its weight."""
    numbers = [value for value in values if _is_number(value)]
    if not numbers:
        return list(known) if known else None
    least, greatest, total, count = min(numbers), max(numbers), sum(numbers), len(numbers)
    if known:
        least, greatest = min(least, known[0]), max(greatest, known[2])
        total, count = total + known[1] * weight, count + weight
    return [least, round(total / count, 3), greatest]


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return -_MOST < value < _MOST  # so that it is finite, and SQLite can hold it
