"""The request log: a sample of requests with what was asked and answered, in files of a bounded size.

Each line is a JSON array, beside the records of a job (``foundations.records``), whose readers pass over it:

    ["r", TIME, ROUTE, STATUS, SECONDS, INPUTS, OUTPUTS]

TIME is seconds since the epoch. INPUTS and OUTPUTS are tables by name; null where there is none. A value that is not
kept is a table that says so: ``{"redacted": true}``, ``{"text": LENGTH}``, ``{"shape": [...]}``, ``{"bytes": LENGTH}``.
"""

from __future__ import annotations

import json
import math
import os
import random
import re
import time
from typing import IO, Any, Dict, List, Optional

from foundations_serve import tensors
from foundations_serve.manifest import RequestLogging

PREFIX = "requests-"
SEGMENTS = 8
"""Files of one log; when a further one begins, the oldest goes."""
_HEADER = '["foundations-records",1]\n'
_MOST_VALUES = 4000
"""Of one request; of what is more, the shape is kept."""
_MOST_BITS = 64
"""Of a whole number; of a larger one, how many it has is kept."""
_MOST_LINE = 64 << 10
_MOST_A_SECOND = 200
_DEEPEST = 6
_NAME = re.compile(re.escape(PREFIX) + r"(\d{6})\.jsonl\Z")


class RequestLog:
    """Where requests of one server are written down; what goes wrong with that costs no request."""

    def __init__(self, settings: RequestLogging, folder: str) -> None:
        """Begin behind what is there.

        Args:
            settings: what is kept.
            folder: where its files lie; "" for no log.
        """
        self._settings = settings
        self._folder = folder if settings.sample > 0 else ""
        self._file: Optional[IO[str]] = None
        self._size = self._second = self._in_second = 0
        self._number = max(self._numbers(), default=0)

    def _numbers(self) -> List[int]:
        try:
            found = [_NAME.match(name) for name in os.listdir(self._folder)] if self._folder else []
        except OSError:
            return []
        return sorted(int(one[1]) for one in found if one)

    def draw(self) -> bool:
        """Return whether the next request is written down: a share of them, and not too many a second."""
        if not self._folder or random.random() >= self._settings.sample:
            return False
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._in_second = second, 0
        self._in_second += 1
        return self._in_second <= _MOST_A_SECOND

    def take(self, route: str, status: int, seconds: float, inputs: Optional[Dict[str, Any]], result: Any) -> None:
        """Write a request down.

        Args:
            route: its kind: "infer", "predict".
            status: of HTTP.
            seconds: how long it took.
            inputs: by name; None where they could not be read.
            result: what the model gave; None for nothing, or for a stream.
        """
        outputs = None if result is None else result if isinstance(result, dict) else {"output-0": result}
        if 400 <= status < 500:
            inputs = None  # nobody knows what it is, nor what of it is to be left out
        head = ["r", round(time.time(), 3), route, status, round(seconds, 6)]
        try:
            kept = [None if table is None else _Kept(self._settings).table(table, 0) for table in (inputs, outputs)]
            line = json.dumps([*head, *kept], separators=(",", ":"))
        except Exception:  # of the model's own making: it cannot be said
            line = json.dumps([*head, None, None], separators=(",", ":"))
        if len(line) > _MOST_LINE:
            line = json.dumps([*head, {"bytes": len(line)}, None], separators=(",", ":"))
        try:
            self._write(line + "\n")
        except OSError:
            self._close()  # a full disk: the next one tries again

    def _write(self, line: str) -> None:
        if self._file is None or self._size + len(line) > max(self._settings.limit // SEGMENTS, _MOST_LINE):
            self._begin()
        assert self._file is not None
        self._file.write(line)
        self._file.flush()
        self._size += len(line)

    def _begin(self) -> None:
        """Begin a further file; the oldest goes."""
        self._close()
        self._number += 1
        path = os.path.join(self._folder, f"{PREFIX}{self._number:06}.jsonl")
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._file = os.fdopen(fd, "w", encoding="utf-8")
        self._file.write(_HEADER)
        self._size = len(_HEADER)
        for number in self._numbers()[:-SEGMENTS]:
            os.unlink(os.path.join(self._folder, f"{PREFIX}{number:06}.jsonl"))

    def _close(self) -> None:
        if self._file is not None:
            try:
                self._file.close()
            except OSError:
                pass
            self._file = None


class _Kept:
    """What is kept of the values of one request."""

    def __init__(self, settings: RequestLogging) -> None:
        self._settings = settings
        self._left = _MOST_VALUES

    def table(self, table: Dict[Any, Any], depth: int) -> Any:
        """Return a table as it is kept."""
        if not self._has_room(len(table), depth):
            return {"shape": [len(table)]}
        hidden = self._settings.redact
        return {
            str(name): {"redacted": True} if str(name) in hidden else self._value(part, depth + 1)
            for name, part in table.items()
        }

    def _has_room(self, count: int, depth: int) -> bool:
        self._left -= count
        return self._left >= 0 and depth < _DEEPEST

    def _value(self, value: Any, depth: int) -> Any:
        """Return a value as it is kept: numbers as they are, texts only if that is wanted."""
        if isinstance(value, int) and value.bit_length() > _MOST_BITS:
            return {"text": value.bit_length()}
        if value is None or isinstance(value, (bool, int, float)):
            return tensors.plain(value)
        if isinstance(value, (str, bytes)):
            return tensors.plain(value) if self._settings.text else {"text": len(value)}
        if isinstance(value, dict):
            return self.table(value, depth)
        if isinstance(value, (list, tuple)):
            if not self._has_room(len(value), depth):
                return {"shape": [len(value)]}
            return [self._value(part, depth + 1) for part in value]
        shape = getattr(value, "shape", None)
        if isinstance(shape, tuple):  # of numpy, pandas, PyTorch
            lengths = [int(length) for length in shape]
            if math.prod(lengths) > self._left:
                return {"shape": lengths}
            return self._value(tensors.plain(value), depth)
        return {"text": 0}
