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
_SEEDS = {"seed", "random_seed", "random_state", "manual_seed", "rng_seed"}
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
    return key.replace("-", "_").lower() in _SEEDS


def alike_error(line: str) -> str:
    """Return the line of an error without what differs from run to run: addresses, times, paths of a workspace."""
    line = re.sub(r"0x[0-9a-fA-F]+|\b[0-9a-f]{12,}\b", "#", line)
    line = re.sub(r"/\S+/", "/", line)
    return re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*|\b\d+\.\d{4,}\b", "#", line).strip()


class Members:
    """The jobs of a sweep, by the values with which they ran: what is asked of each of them is looked up once."""

    def __init__(self, jobs: Sequence[Sibling]) -> None:
        self.jobs = jobs
        texts = {job.job: {key: value_text(value) for key, value in job.given.items()} for job in jobs}
        keys = dict.fromkeys(key for job in jobs for key in job.given)
        self.keys = [key for key in keys if not is_seed(key) and len({texts[job.job].get(key) for job in jobs}) > 1]
        """The parameters in which they differ, but for seeds, in the order in which they were given."""
        self.by_value: dict[str, dict[str, list[Sibling]]] = {key: {} for key in self.keys}
        """Those that have a parameter, by its value as text."""
        for job in jobs:
            for key in self.keys:
                if key in job.given:
                    self.by_value[key].setdefault(texts[job.job][key], []).append(job)
        self._failed: dict[str, list[Sibling]] = {}
        """By their errors."""
        for job in jobs:
            if job.state == "failed" and job.error:
                self._failed.setdefault(job.error, []).append(job)

    def failed_alike(self, own: Sibling) -> Alike | None:
        """Return which jobs failed as one did, and with which value; None for fewer than three, itself counted."""
        same = self._failed.get(own.error, [])
        if not own.error or len(same) < LEAST_FAILED:
            return None
        found: list[Alike] = []
        for key in self.keys:
            with_it = self.by_value[key].get(value_text(own.given[key]), []) if key in own.given else []
            jobs = tuple(job.job for job in with_it if _failed_as(job, own))
            if len(jobs) + 1 >= LEAST_FAILED and not any_completed(with_it):
                found.append(Alike(key, own.given[key], jobs))
        if found:
            return max(found, key=lambda alike: len(alike.jobs))
        if any_completed(self.jobs):
            return None  # some fail so and some do not, and no value tells which
        return Alike("", None, tuple(job.job for job in same if job.job != own.job))


def _failed_as(job: Sibling, own: Sibling) -> bool:
    return job.state == "failed" and job.error == own.error and job.job != own.job


def any_completed(jobs: Iterable[Sibling]) -> bool:
    """Return whether any of some jobs succeeded."""
    return any(job.state == "completed" for job in jobs)


def value_text(value: Any) -> str:
    """Return a parameter's value as what is equal for equal ones."""
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
