"""The record format: what the SDK writes (``foundations.encoding``) and the client reads.

A records file is append-only and has one writer. Its lines are JSON arrays:

    ["foundations-records", 1]                     the first line: format and version
    ["m", TIME, KEY, STEP, VALUE]                  one metric value
    ["p", TIME, KEY, VALUE]                        a parameter; the last one of a key stands
    ["t", TIME, KEY, VALUE]                        a tag; VALUE null takes it away
    ["a", TIME, KEY, {"path": PATH, ...}]          an artifact: where below the job's folder of artifacts
    ["u", TIME, KEY, JOB]                          an artifact of another job that was used

TIME is seconds since the epoch; integers are exact at any size. A float that JSON cannot say is written as
``{"float": "NaN"}`` (or ``"Infinity"``, ``"-Infinity"``). Bump ``VERSION`` when a line's meaning changes; new kinds of
line need no bump, readers skip them. This module opens no file.
"""

from __future__ import annotations

import json
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

from foundations.encoding import (
    ARTIFACT,
    HEADER,
    METRIC,
    PARAM,
    TAG,
    USED,
    VERSION,
    metric as encode_metric,
    nonfinite_name,
    pair as encode_pair,
)

__all__ = [
    "ARTIFACT",
    "END_OF_TIME",
    "HEADER",
    "INTEGERS",
    "METRIC",
    "PARAM",
    "TAG",
    "USED",
    "VERSION",
    "Point",
    "Record",
    "decode",
    "encode_metric",
    "encode_pair",
    "nonfinite_name",
    "valid_text",
]
_PAIRS = (PARAM, TAG, ARTIFACT, USED)
INTEGERS = 1 << 63
"""Bound of a step."""
END_OF_TIME = 253402300800
"""The year 10000, seconds since the epoch."""


class Record(NamedTuple):
    """One thing that the SDK said."""

    kind: str
    """METRIC, PARAM, TAG, ARTIFACT or USED."""
    time: float
    """When it was logged, seconds since the epoch."""
    key: str
    step: Optional[int]
    """The step of a metric; None for all else."""
    value: Any
    offset: int
    """Where its line begins in the writer's file, bytes: with the writer's name, the identity of the record."""


Point = Tuple[float, int, int, Any]
"""A value of a metric: its time, the offset of its record, its step, the value."""


def decode(page: bytes, base: int) -> Iterator[Record]:
    """Yield the records of the whole lines in a page of a records file.

    Args:
        page: bytes of the file that begin at a line's start; a last line without its newline is left for later.
        base: offset of the page in the file, bytes.
    Lines that are no records (torn, of another kind, damaged, with a step or time out of all bounds) are passed over:
    reading never fails, and what it gives can be stored.
    """
    lines = page.split(b"\n")[:-1]
    texts: Dict[str, str] = {}
    offset = base
    for line, fields in zip(lines, _parse(page, lines)):
        record = _record(fields, offset, texts)
        if record is not None:
            yield record
        offset += len(line) + 1


def _parse(page: bytes, lines: List[bytes]) -> List[Any]:
    """Return what each line holds, None for what is no JSON: all at once when all are well, which is thrice as fast."""
    if page[:1] == b"[" and page.count(b"]\n") == len(lines) == page.count(b"\n[") + 1:
        try:
            values: List[Any] = json.loads(b"[" + b",".join(lines) + b"]")
            if len(values) == len(lines):
                return values
        except (ValueError, RecursionError):
            pass
    return [_parse_line(line) for line in lines]


def _parse_line(line: bytes) -> Any:
    try:
        return json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None


def _record(fields: Any, offset: int, texts: Dict[str, str]) -> Optional[Record]:
    try:
        kind, time, key = fields[0], float(fields[1]), fields[2]
        if not 0 <= time < END_OF_TIME:
            return None
        if key not in texts:
            if not isinstance(key, str):
                return None
            texts[key] = valid_text(key)
        if kind == METRIC and -INTEGERS <= int(fields[3]) < INTEGERS:
            value = fields[4]
            return Record(
                kind, time, texts[key], int(fields[3]), value if type(value) is float else _value(value), offset
            )
        if kind in _PAIRS:
            return Record(kind, time, texts[key], None, _value(fields[3]), offset)
    except (ValueError, TypeError, IndexError, KeyError, OverflowError):
        pass
    return None


def valid_text(text: str) -> str:
    """Return a text without lone surrogates: JSON can say them, UTF-8 and a store cannot."""
    return text.encode("utf-8", "replace").decode()


def _value(value: Any) -> Any:
    if isinstance(value, str):
        return valid_text(value)
    if isinstance(value, dict) and set(value) == {"float"} and value["float"] in ("NaN", "Infinity", "-Infinity"):
        return float(value["float"])
    return value
