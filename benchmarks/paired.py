"""Timing two things in turns, so that a noisy machine is noisy for both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Pair:
    """Medians of a floor and of ours."""

    name: str
    floor: float
    """Seconds."""
    ours: float
    """Seconds."""
    aim: float
    """The ratio that ours is to stay below."""

    @property
    def ratio(self) -> float:
        """Ours, in floors."""
        return self.ours / self.floor


def time_pair(name: str, aim: float, floor: Callable[[], object], ours: Callable[[], object], runs: int) -> Pair:
    """Time a floor and ours in turns, after one run of each that does not count.

    Args:
        name: what it is.
        aim: the ratio to stay below.
        floor: the least work that does the same thing.
        ours: what we do.
        runs: how often each.
    """
    times: tuple[list[float], list[float]] = ([], [])
    for run in range(runs + 1):
        for action, found in zip((floor, ours), times, strict=True):
            began = time.perf_counter()
            action()
            if run:
                found.append(time.perf_counter() - began)
    return Pair(name, statistics.median(times[0]), statistics.median(times[1]), aim)
