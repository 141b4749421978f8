"""What models that are served were asked, and metrics of what they do."""

from __future__ import annotations

import json
import os
import re
import stat
import time

from foundations import run
from foundations.submission import client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, Iterator, List

_SERVICES = "FOUNDATIONS_SERVICES"
"""Holds where the services of this host are, in a job of an agent."""
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?\Z")
_FILE = re.compile(r"requests-\d{6}\.jsonl\Z")
_REQUEST = "r"
_WIDTH = 7
_LONGEST_LINE = 1 << 20
_END_OF_TIME = 253402300800
"""The year 10000, seconds since the epoch."""


def request_log(service: str, since: float = 0.0) -> "List[Dict[str, Any]]":
    """Return requests that a service has answered, as far as its model keeps them ([model.log]), oldest first.

    In a job, those of the service of the same host; elsewhere those that the client has brought here.

    Args:
        service: its name.
        since: only those from then on, seconds since the epoch; a negative number counts back from now.
    Returns:
        Each with "time" (seconds since the epoch), "route", "status", "seconds", "inputs" and "outputs" (by name; None
        where there is none).
    Raises:
        ValueError: that is no service's name. FileNotFoundError: this host has no such service. ImportError: this is
            no job, and the client is not installed.
    """
    if not isinstance(service, str) or not _NAME.match(service):
        raise ValueError("a service is named by lowercase letters, digits and -; got %r" % (service,))
    begin = time.time() + since if since < 0 else since
    folder = os.environ.get(_SERVICES, "") if run.in_job() else ""
    paths = _beside(folder, service) if folder else client().request_files(service)
    found = [record for path in paths for record in read_requests(path) if record["time"] >= begin]
    return sorted(found, key=lambda record: record["time"])


def track_production_metrics(name: str, metrics: "Dict[str, Any]") -> None:
    """Record numbers of a model in use, as metrics ``NAME/KEY`` of this job: a scheduled one, say.

    Args:
        name: what they are of.
        metrics: a number by key, or several.
    Raises:
        TypeError: a value is no number.
    """
    numbers = {
        "%s/%s" % (name, key): [_number(key, one) for one in (value if isinstance(value, (list, tuple)) else [value])]
        for key, value in metrics.items()
    }
    run.log_metrics(numbers)


def _number(key: str, value: "Any") -> "Any":
    try:
        return value if isinstance(value, int) and not isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        raise TypeError("%s must be a number; got %r" % (key, value)) from None


def _beside(services: str, service: str) -> "Iterable[str]":
    """Return the files of a service's request log on this host.

    Raises:
        FileNotFoundError: there is no such service.
    """
    top = os.path.join(services, service)
    if not os.path.isdir(top):
        raise FileNotFoundError(2, "this host has no such service", service)
    found = []
    for link in _listed(os.path.join(top, "requests")):
        folder = os.path.join(top, "requests", link)
        found += [os.path.join(folder, name) for name in _listed(folder) if _FILE.match(name)]
    return sorted(found)


def _listed(folder: str) -> "List[str]":
    try:
        return os.listdir(folder)
    except OSError:
        return []  # of an attempt that was removed


def read_requests(path: str) -> "Iterator[Dict[str, Any]]":
    """Yield the requests in a file; a line that is torn or makes no sense is passed over."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a job may have put a FIFO there
        with open(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return
            for line in iter(lambda: file.readline(_LONGEST_LINE), b""):
                try:
                    told = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(told, list) and len(told) == _WIDTH and told[0] == _REQUEST and _is_time(told[1]):
                    names = ("time", "route", "status", "seconds", "inputs", "outputs")
                    yield dict(zip(names, told[1:]))  # noqa: B905 - 3.8
    except OSError:
        return  # removed meanwhile


def _is_time(value: "Any") -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < _END_OF_TIME
