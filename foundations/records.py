"""The record format: what the SDK writes and the client reads.

A records file is append-only and has one writer. Its lines are JSON arrays:

    ["foundations-records", 1]                     the first line: format and version
    ["m", TIME, KEY, STEP, VALUE]                  one metric value
    ["p", TIME, KEY, VALUE]                        a parameter; the last one of a key stands
    ["t", TIME, KEY, VALUE]                        a tag

TIME is seconds since the epoch. A float that JSON cannot say is written as ``{"float": "NaN"}`` (or ``"Infinity"``,
``"-Infinity"``). Bump ``VERSION`` when a line's meaning changes; new kinds of line need no bump, readers skip them.
This module opens no file.
"""

from __future__ import annotations

import json
import math
from typing import Any, Iterator, NamedTuple

FORMAT = "foundations-records"
VERSION = 1
HEADER = f'["{FORMAT}",{VERSION}]\n'.encode()

METRIC, PARAM, TAG = "m", "p", "t"
_INTEGERS = 1 << 63
"""Bound of a step, and of a value that is kept as an integer."""
_END_OF_TIME = 253402300800
"""The year 10000, seconds since the epoch."""


class Record(NamedTuple):
    """One thing that the SDK said."""

    kind: str
    """METRIC, PARAM or TAG."""
    time: float
    """When it was said, seconds since the epoch."""
    key: str
    step: int | None
    """The step of a metric; None for parameters and tags."""
    value: Any
    offset: int
    """Where its line begins in the writer's file, bytes: with the writer's name, the identity of the record."""


def encode_value(value: Any) -> str:
    """Return a value as JSON, floats that JSON lacks included."""
    if isinstance(value, float) and not math.isfinite(value):
        return json.dumps({"float": nonfinite_name(value)})
    return json.dumps(value, ensure_ascii=False)


def nonfinite_name(value: float) -> str:
    """Return "NaN", "Infinity" or "-Infinity" for a float that is not finite."""
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def encode_metric(time: float, key: str, step: int, value: Any) -> bytes:
    """Return the line of one metric value."""
    line = f'["m",{time:.3f},{json.dumps(key, ensure_ascii=False)},{step},{encode_value(value)}]\n'
    return line.encode("utf-8", "surrogatepass")


def encode_pair(kind: str, time: float, key: str, value: Any) -> bytes:
    """Return the line of a parameter or tag."""
    line = f'["{kind}",{time:.3f},{json.dumps(key, ensure_ascii=False)},{encode_value(value)}]\n'
    return line.encode("utf-8", "surrogatepass")


def decode(page: bytes, base: int) -> Iterator[Record]:
    """Yield the records of the whole lines in a page of a records file.

    Args:
        page: bytes of the file that begin at a line's start; a last line without its newline is left for later.
        base: offset of the page in the file, bytes.
    Lines that are no records (torn, of another kind, damaged, with a step or time out of all bounds) are passed over:
    reading never fails, and what it gives can be stored.
    """
    start = 0
    while True:
        end = page.find(b"\n", start)
        if end < 0:
            return
        record = _decode_line(page[start:end], base + start)
        if record is not None:
            yield record
        start = end + 1


def _decode_line(line: bytes, offset: int) -> Record | None:
    try:
        fields = json.loads(line.decode("utf-8", "replace"))
        kind, time, key = fields[0], float(fields[1]), fields[2]
        if not isinstance(key, str) or not 0 <= time < _END_OF_TIME:
            return None
        if kind == METRIC and -_INTEGERS <= int(fields[3]) < _INTEGERS:
            return Record(kind, time, valid_text(key), int(fields[3]), _decode_value(fields[4]), offset)
        if kind in (PARAM, TAG):
            return Record(kind, time, valid_text(key), None, _decode_value(fields[3]), offset)
    except (ValueError, TypeError, IndexError, KeyError, OverflowError, RecursionError):
        pass
    return None


def valid_text(text: str) -> str:
    """Return a text without lone surrogates: JSON can say them, UTF-8 and a store cannot."""
    return text.encode("utf-8", "replace").decode()


def _decode_value(value: Any) -> Any:
    if isinstance(value, str):
        return valid_text(value)
    if isinstance(value, int) and not -_INTEGERS <= value < _INTEGERS:
        return float(value) if abs(value) < 1 << 1023 else math.inf if value > 0 else -math.inf
    if isinstance(value, dict) and set(value) == {"float"}:
        return float(value["float"])
    return value
