"""Records and facts of jobs: parameters, metrics, tags, artifacts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from foundations.records import ARTIFACT, METRIC, PARAM, TAG, USED, Point, Record, valid_text
from foundations_tui.store import series
from foundations_tui.store.db import Store
from foundations_tui.text import command_line
from remote_agent.protocol.wire import JsonTable


def put_facts(store: Store, job: str, kind: str, pairs: JsonTable) -> None:
    """Take in what a specification says; whatever a record says of the same key is newer."""
    rows = [(kind, valid_text(key), job, *fact_value(value), 0.0, "", 0) for key, value in pairs.items()]
    store.conn.executemany(PUT_FACT, rows)


def fact_value(value: Any) -> tuple[str, float | None]:
    """Return a value as JSON, and as the number it is sorted and compared by; a text may say one."""
    number = command_line.number(value) if isinstance(value, str) and len(value) < _LONGEST_NUMBER else value
    return json.dumps(value), series.number_of(number)


_LONGEST_NUMBER = 40


PUT_FACT = (
    "INSERT INTO facts (kind, key, job, value, number, time, writer, offset) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (kind, key, job) DO UPDATE SET value = excluded.value, number = excluded.number,"
    " time = excluded.time, writer = excluded.writer, offset = excluded.offset"
    " WHERE (excluded.time, excluded.writer, excluded.offset) >= (time, writer, offset)"
)
"""Of several values for one key the last stands: by time, then writer, then place in its file."""


def put_records(store: Store, job: str, attempt: int, writer: str, records: Iterable[Record]) -> None:
    points: dict[str, list[Point]] = {}
    facts = []
    for record in records:
        if record.kind == METRIC:
            points.setdefault(record.key, []).append((record.time, record.offset, record.step or 0, record.value))
        elif record.kind in _FACTS:
            value, number = fact_value(record.value)
            facts.append((_FACTS[record.kind], record.key, job, value, number, record.time, writer, record.offset))
    if facts:
        store.conn.executemany(PUT_FACT, facts)
    series.put(store.conn, job, attempt, writer, points)


_FACTS = {PARAM: "param", TAG: "tag", ARTIFACT: "artifact", USED: "used"}
"""What the kinds of records are called in the table of facts."""
