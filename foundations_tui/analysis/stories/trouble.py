"""When a metric stopped being a number, and what jumped just before. Pure: the points are given."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Point = tuple[int, float]
"""Step and value, finite, in order."""
JUST_BEFORE = 0.01
"""Share of the steps before that counts as just before."""
USUAL = 200
"""Points whose median is what is usual."""
MOST_JUST_BEFORE = 1000
"""Points that are looked at of those just before."""
_LEAST_USUAL = 5
_JUMP = 10.0


@dataclass(frozen=True)
class Spike:
    """A value that stood out just before."""

    key: str
    step: int
    value: float
    ratio: float
    """To the median of the points before it."""


def window(step: int) -> int:
    """Return the first step that is just before another one."""
    return min(step - 1, int(step * (1.0 - JUST_BEFORE)))


def spike(series: Mapping[str, Sequence[Point]], step: int) -> Spike | None:
    """Return what jumped most just before a step: ten times the median of the 200 points before it, at least.

    Args:
        series: finite points before the step, by metric: those just before it and at least 200 earlier ones, as far as
            there are any.
        step: at which something broke.
    """
    found = [one for key, points in series.items() if (one := _spike_of(key, points, window(step)))]
    return max(found, key=lambda one: one.ratio, default=None)


def _spike_of(key: str, points: Sequence[Point], first_step: int) -> Spike | None:
    late = [place for place, (step, _) in enumerate(points) if step >= first_step]
    if not late:
        return None
    place = max(late, key=lambda one: abs(points[one][1]))
    before = [abs(value) for _, value in points[max(0, place - USUAL) : place]]
    if len(before) < _LEAST_USUAL:
        return None
    usual = statistics.median(before)
    step, value = points[place]
    if not usual or abs(value) < _JUMP * usual:
        return None
    return Spike(key, step, value, abs(value) / usual)
