"""The run that this process belongs to, and what it logs.

Each process appends to a records file of its own (appends of several writers to one file are not atomic over NFS),
one ``os.write`` a call: what was logged survives a kill of the process. A disk that is full gives one warning.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import sys
import time
import warnings
from typing import Any

from foundations import records

_fd: int | None = None
_broken = False
_next_step: dict[str, int] = {}


def log_param(key: str, value: Any) -> None:
    """Record a parameter of this job; of several values for one key the last stands.

    Args:
        key: name of the parameter.
        value: anything JSON can say; NumPy and torch scalars are taken as the numbers they hold.
    Raises:
        ValueError: the key is not a string. TypeError: the value has no JSON form.
    """
    _write(records.encode_pair(records.PARAM, time.time(), _checked_key(key), _json_value(value)))


def log_metric(key: str, value: Any, step: int | None = None) -> None:
    """Record one value of a metric, or each value of a list in order.

    Args:
        key: name of the metric.
        value: a string, bool, int or float (NaN and infinities too), a NumPy or torch scalar, or a flat list of those.
        step: where on the x axis; counted for each key, from 0, when not given.
    Raises:
        ValueError: the key is not a string. TypeError: a value of another type.
    """
    key = _checked_key(key)
    for item in value if isinstance(value, list) else [value]:
        scalar = _scalar(key, item)
        at = _next_step.get(key, 0) if step is None else int(step)
        _next_step[key] = at + 1
        _write(records.encode_metric(time.time(), key, at, scalar))


def set_tag(key: str, value: Any = "") -> None:
    """Put a tag on this job; the same key again replaces its value.

    Raises:
        ValueError: the key is not a string. TypeError: the value is no string, number or bool.
    """
    key = _checked_key(key)
    _write(records.encode_pair(records.TAG, time.time(), key, _scalar(key, value)))


def in_job() -> bool:
    """Say whether this process runs inside a job."""
    return bool(os.environ.get("FOUNDATIONS_RECORDS_DIR"))


def _checked_key(key: str) -> str:
    if not isinstance(key, str):
        raise ValueError(f"a key is a string; got {type(key).__name__}: {key!r}")
    return key


def _plain(value: Any) -> Any:
    """Return the Python number in a NumPy or torch scalar, without importing either."""
    if not isinstance(value, (str, bytes, bool, int, float)) and callable(getattr(value, "item", None)):
        try:
            return value.item()
        except (ValueError, RuntimeError, TypeError):
            return value  # an array of several values has no single one
    return value


def _scalar(key: str, value: Any) -> Any:
    value = _plain(value)
    if isinstance(value, (str, bool, int, float)):
        return value
    raise TypeError(f"{key!r}: a string, bool, int or float is needed; got {type(value).__name__}: {value!r}")


def _json_value(value: Any) -> Any:
    value = _plain(value)
    if isinstance(value, dict):
        return {str(key): _json_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_value(item) for item in value]
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    raise TypeError(f"a parameter is something JSON can say; got {type(value).__name__}: {value!r}")


def _write(line: bytes) -> None:
    global _broken
    if _broken:
        return
    try:
        fd = _fd if _fd is not None else _open()
        if fd is not None and os.write(fd, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        _broken = True
        warnings.warn(f"foundations: records are no longer written: {error}", RuntimeWarning, stacklevel=3)


def _open() -> int | None:
    """Open this process's own records file, or say once that there is no job."""
    global _fd, _broken
    if not in_job():
        _broken = True
        print("Foundations WARNING: Script not run with Foundations; nothing is recorded.", file=sys.stderr)
        return None
    folder = os.environ["FOUNDATIONS_RECORDS_DIR"]
    host = re.sub(r"[^A-Za-z0-9._-]", "_", socket.gethostname())
    name = f"{host}-{os.getpid()}-{time.time_ns():x}.jsonl"
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    fd = os.open(os.path.join(folder, name), flags, 0o600)
    os.write(fd, records.HEADER)
    if _fd is None:
        _fd = fd  # only now: another thread that finds it may write at once
    return fd


def _after_fork() -> None:
    global _fd
    if _fd is not None:
        os.close(_fd)  # the child appends to a file of its own
        _fd = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
