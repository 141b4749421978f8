"""The run that this process belongs to, and what it logs.

Each process appends to a records file of its own (appends of several writers to one file are not atomic over NFS),
one ``os.write`` a call: what was logged survives a kill of the process. A disk that is full gives one warning. Inside a
job the agent says where the records go; outside of one ``foundations.inplace`` begins a run on this machine.
"""

from __future__ import annotations

import _thread
import atexit
import itertools
import os
import sys
import time

from foundations import encoding

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself is never imported: that would cost more than all the rest
    from typing import Any, Dict, Iterator, Optional, Set

_STEPS = 1 << 63
LONGEST_LINE = 1 << 18
"""Bytes of a record; what is longer is not written."""
MOST_BYTES = 1 << 30
"""Bytes of a records file; what comes then is not written."""
OFF = os.environ.get("FOUNDATIONS_TRACK", "").lower() in ("off", "0", "no", "false")
"""Whether the user has turned tracking off."""

_fd: "Optional[int]" = None
_is_broken = OFF
_written = 0
_steps: "Dict[str, Iterator[int]]" = {}
_heads: "Dict[str, str]" = {}
"""The beginning of a metric's line behind the time, by key."""
_too_long: "Dict[str, bool]" = {}
_lock = _thread.allocate_lock()
"""Held while the file is opened: threads that log first at the same time have one run and one file."""


def log_metric(key: str, value: "Any", step: "Optional[int]" = None) -> None:
    """Record one value of a metric, or each value of a list in order.

    Args:
        key: name of the metric.
        value: a string, bool, int or float (NaN and infinities too), a NumPy or torch scalar, or a flat list of those.
        step: where on the x axis; counted for each key, from 0, when not given.
    Raises:
        ValueError: the key is not a string. TypeError: a value of another type, or a step that is no number.
    """
    if type(value) is float and key in _heads and value - value == 0.0:  # finite, and seen before: the usual case
        at = next(_steps[key]) if step is None else _set_step(key, step)
        _write(f'["m",{time.time():.3f},{_heads[key]}{at},{value!r}]\n'.encode())
    elif not _is_broken:
        lines = b"".join(_metric_lines(key, value, step))
        if lines:
            _write(lines)


def log_metrics(values: "Dict[str, Any]", step: "Optional[int]" = None) -> None:
    """Record values of several metrics with one write.

    Args:
        values: by key; see ``log_metric``.
        step: the same for all; counted for each key when not given.
    Raises:
        ValueError: a key is not a string. TypeError: a value of another type; then none was recorded.
    """
    if _is_broken:
        return
    if not isinstance(values, dict):
        raise TypeError(f"log_metrics takes a dict; got {type(values).__name__}")
    lines = b"".join(line for key, value in values.items() for line in _metric_lines(key, value, step))
    if lines:
        _write(lines)


def log_param(key: str, value: "Any") -> None:
    """Record a parameter of this job; of several values for one key the last stands.

    Args:
        key: name of the parameter.
        value: anything JSON can say; NumPy and torch scalars are taken as the numbers they hold.
    Raises:
        ValueError: the key is not a string. TypeError: the value has no JSON form.
    """
    if not _is_broken:
        _write(encoding.pair(encoding.PARAM, time.time(), encoding.checked_key(key), encoding.json_value(value)))


def log_params(parameters: "Dict[str, Any]") -> None:
    """Record parameters; nested values are flattened as ``a_b`` and ``l_0``, an empty one counts as None.

    Raises:
        ValueError: a key is not a string. TypeError: a value has no JSON form; then none was recorded.
    """
    if _is_broken:
        return
    if not isinstance(parameters, dict):
        raise TypeError(f"log_params takes a dict; got {type(parameters).__name__}")
    now = time.time()
    lines = [
        encoding.pair(encoding.PARAM, now, key, encoding.json_value(value))
        for key, value in encoding.flatten(parameters)
    ]
    if lines:
        _write(b"".join(lines))


def set_tag(key: str, value: "Any" = "") -> None:
    """Put a tag on this job; the same key again replaces its value.

    Raises:
        ValueError: the key is not a string. TypeError: the value is no string, number or bool.
    """
    if not _is_broken:
        key = encoding.checked_key(key)
        _write(encoding.pair(encoding.TAG, time.time(), key, encoding.scalar(key, value)))


def set_tags(tags: "Dict[str, Any]") -> None:
    """Put several tags on this job; a list of keys gives tags without a value.

    Raises:
        ValueError: a key is not a string. TypeError: a value is no string, number or bool.
    """
    for key, value in tags.items() if isinstance(tags, dict) else [(key, "") for key in tags]:
        set_tag(key, value)


def job_id() -> "Optional[str]":
    """Return the id of this job, or of the run that has begun outside of one; None when nothing is tracked."""
    if OFF:
        return None
    if not in_job():
        _open_if_needed()
    return os.environ.get("FOUNDATIONS_JOB_ID") or None


def in_job() -> bool:
    """Return whether this process runs inside a job, or a run that has begun."""
    return bool(os.environ.get("FOUNDATIONS_RECORDS_DIR"))


def record(kind: str, key: str, value: "Any") -> None:
    """Write a record of another kind, such as an artifact."""
    if not _is_broken:
        _write(encoding.pair(kind, time.time(), encoding.checked_key(key), value))


def warn(words: str) -> None:
    """Tell the user something on stderr, once for each line of theirs."""
    import warnings

    try:
        warnings.warn("foundations: " + words, RuntimeWarning, stacklevel=4)
    except Warning:  # python -W error: what is no error of the training must not end it
        print("foundations: " + words, file=sys.stderr)


# --- inside -----------------------------------------------------------------------------------------------------


def _metric_lines(key: str, value: "Any", step: "Optional[int]") -> "Iterator[bytes]":
    head = _heads.get(encoding.checked_key(key)) or _new_key(key)
    for item in value if isinstance(value, list) else [value]:
        text = encoding.value(encoding.scalar(key, item))
        at = next(_steps[key]) if step is None else _set_step(key, step)
        yield f'["m",{time.time():.3f},{head}{at},{text}]\n'.encode("utf-8", "surrogatepass")


def _new_key(key: str) -> str:
    _steps.setdefault(key, itertools.count())
    head = encoding.value(key) + ","
    if key.isascii():  # a key that UTF-8 cannot say takes the slow way
        _heads[key] = head
    return head


_told_fractions: "Set[str]" = set()
"""Keys whose fractional steps were warned about."""


def _set_step(key: str, step: "Any") -> int:
    """Take a step that was given; what follows without one counts from there."""
    number = encoding.plain(step)
    try:
        at = int(number)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"a step is a whole number; got {type(step).__name__}: {step!r}") from None
    if at != number and isinstance(number, float) and key not in _told_fractions:
        _told_fractions.add(key)
        warn(f"a step is a whole number: of {key!r}, step {number!r} is kept as {at}")
    if not -_STEPS <= at < _STEPS:
        raise ValueError("a step is a whole number of at most 64 bits")
    _steps[key] = itertools.count(at + 1)
    return at


def _write(line: bytes) -> None:
    global _is_broken, _written
    if _is_broken:
        return
    if len(line) > LONGEST_LINE:
        return _leave_out(line)
    try:
        fd = _fd if _fd is not None else _opened()
        if fd is None:
            return
        if os.write(fd, line) < len(line):
            raise OSError(28, os.strerror(28))  # a disk that is full
    except OSError as error:
        _is_broken = True
        warn(f"records are no longer written: {error}")
        return
    _written += len(line)
    if _written > MOST_BYTES:
        _is_broken = True
        warn(f"this process has written {MOST_BYTES >> 20} MiB of records; the rest is left out")


def _leave_out(lines: bytes) -> None:
    """Write the lines of a call but those that are too long; each key is warned of once."""
    for line in lines.splitlines(True):
        if len(line) <= LONGEST_LINE:
            _write(line)
            continue
        key = line[:200].decode("utf-8", "replace").split('"')[3:4]
        if str(key) not in _too_long:
            _too_long[str(key)] = True
            warn(f"a value of {key[0] if key else 'a key'!r} has {len(line):,} bytes and is left out")


def _open_if_needed() -> None:
    global _is_broken
    try:
        if _fd is None and not _is_broken:
            _opened()
    except OSError as error:
        _is_broken = True
        warn(f"nothing is recorded: {error}")


def _opened() -> "Optional[int]":
    """Return this process's own records file, opened by one thread; outside a job a run begins."""
    with _lock:
        return _fd if _fd is not None or _is_broken else _open()


def _open() -> "Optional[int]":
    global _fd, _is_broken
    if in_job():
        if "FOUNDATIONS_RUN" in os.environ:
            from foundations import inplace

            inplace.join()
    else:
        from foundations import inplace

        try:
            inplace.begin()
        except OSError as error:
            _is_broken = True
            warn(f"this run is not tracked: {error}")
            return None
    folder = os.environ["FOUNDATIONS_RECORDS_DIR"]
    host = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in os.uname().nodename)
    name = f"{host}-{os.getpid()}-{time.time_ns():x}.jsonl"
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    fd = os.open(os.path.join(folder, name), flags, 0o600)
    os.write(fd, encoding.HEADER)
    _fd = fd  # only now: another thread that finds it may write at once
    return fd


def _after_fork() -> None:
    global _fd, _written, _lock
    _lock = _thread.allocate_lock()  # another thread may have held it
    if _fd is not None:
        os.close(_fd)  # the child appends to a file of its own
        _fd, _written = None, 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
if "pytest" in sys.modules and not in_job() and os.environ.get("FOUNDATIONS_TRACK", "") == "":
    _is_broken = OFF = True  # tests of a training are no trainings


def _at_end() -> None:
    """Where only children of this process have logged, say how it ended itself."""
    if "multiprocessing.process" in sys.modules and not OFF and not in_job():
        from foundations import inplace

        inplace.end_of_children()


atexit.register(_at_end)
