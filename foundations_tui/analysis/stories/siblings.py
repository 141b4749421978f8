"""What the other jobs of a sweep say of one: which value they fail with, and where it stands among them. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from foundations_tui.analysis import aggregate

LEAST_FAILED = 3
"""Jobs that have to fail alike before that is said of a value."""
SEEDS = {"seed", "random_seed", "random_state", "manual_seed", "rng_seed"}
"""Names of parameters in which repeats of one experiment differ."""


@dataclass(frozen=True)
class Sibling:
    """A job of a sweep, as far as the others ask."""

    job: str
    state: str
    error: str
    """How it failed: the exception with its message, without what differs from run to run; empty for another end."""
    given: Mapping[str, Any]
    """Its parameters and arguments."""
    value: float | None = None
    """The best value of the sweep's metric."""


@dataclass(frozen=True)
class Alike:
    """The jobs that failed as one did."""

    key: str
    """The parameter that all of them share, and no job that succeeded; empty where there is none."""
    value: Any
    jobs: tuple[str, ...]
    """The others' whole ids."""


def is_seed(key: str) -> bool:
    """Return whether a parameter is one in which repeats differ."""
    return key.replace("-", "_").lower() in SEEDS


def alike_error(line: str) -> str:
    """Return the line of an error without what differs from run to run: addresses, times, paths of a workspace."""
    line = re.sub(r"0x[0-9a-fA-F]+|\b[0-9a-f]{12,}\b", "#", line)
    line = re.sub(r"/\S+/", "/", line)
    return re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*|\b\d+\.\d{4,}\b", "#", line).strip()


def failed_alike(own: Sibling, others: Sequence[Sibling]) -> Alike | None:
    """Return which jobs failed as one did, and with which value; None for fewer than three, itself counted.

    Args:
        own: a job that failed.
        others: the other jobs of its sweep.
    """
    if not own.error:
        return None
    same = [other for other in others if other.state == "failed" and other.error == own.error]
    if len(same) + 1 < LEAST_FAILED:
        return None
    found: list[Alike] = []
    for key in varied([own, *others]):
        if key not in own.given or is_seed(key):
            continue
        with_it = [other for other in others if _same(other.given.get(key), own.given[key])]
        jobs = tuple(other.job for other in with_it if other in same)
        if len(jobs) + 1 >= LEAST_FAILED and not any(other.state == "completed" for other in with_it):
            found.append(Alike(key, own.given[key], jobs))
    if found:
        return max(found, key=lambda alike: len(alike.jobs))
    if any(other.state == "completed" for other in others):
        return None  # some fail so and some do not, and no value tells which
    return Alike("", None, tuple(other.job for other in same))


def varied(jobs: Sequence[Sibling]) -> list[str]:
    """Return the parameters in which some jobs differ, in the order in which they were given."""
    keys = list(dict.fromkeys(key for job in jobs for key in job.given))
    return [key for key in keys if len({_text(job.given.get(key)) for job in jobs}) > 1]


def _same(a: Any, b: Any) -> bool:
    return _text(a) == _text(b)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def ranks(values: Iterable[tuple[str, float | None]], direction: str) -> dict[str, tuple[int, int]]:
    """Return (place from 1, of how many) of each job that has a value, where at least two do; equal ones share one.

    Args:
        values: (job, value).
        direction: "min" or "max": which value is better.
    """
    known = [(job, value) for job, value in values if value is not None and aggregate.is_number(value)]
    if len(known) < 2:
        return {}
    sign = 1 if direction == "min" else -1
    ordered = sorted(sign * value for _, value in known)
    places: dict[float, int] = {}
    for place, value in enumerate(ordered, 1):
        places.setdefault(value, place)
    return {job: (places[sign * value], len(known)) for job, value in known}
