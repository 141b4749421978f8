"""A sweep as a race: who leads where all of them have been, who is too far behind, what to try next. Pure.

Who is behind is judged as in Golovin et al., "Google Vizier: A Service for Black-Box Optimization" (KDD 2017),
section 3.2.2: the best value of a trial against the median of the running means of the others at the same step.
"""

from __future__ import annotations

import bisect
import itertools
import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from foundations_tui.analysis import aggregate
from foundations_tui.analysis.stories.siblings import is_seed, value_text

LEAST_SHARE, LEAST_SIBLINGS = 0.25, 5
"""How far a job has to be, and with how many others it is compared, before it counts as behind."""
_LOOK_BACK = 0.9
"""The second look: when it had made this part of its steps."""
_SAFE = 1 / 3
"""This part of the field, the best of it, is never behind."""
_ALIKE = 0.05
"""By how much the ratios, or the differences, of a grid may differ."""


@dataclass(frozen=True)
class Entrant:
    """A job of a sweep, as far as the race asks."""

    job: str
    given: Mapping[str, Any]
    """Its parameters."""
    is_running: bool
    is_out: bool = False
    """Whether it failed, or was stopped or lost: it has no place."""
    is_own: bool = True
    share: float = 0.0
    """What it has done of its steps, from 0 to 1."""
    left: float | None = None
    """Seconds until it will have ended; None where that is not known."""
    gpus: int = 0
    steps: Sequence[int] = ()
    """Of the metric, rising."""
    values: Sequence[float] = ()
    best: float | None = None
    """The best of all its values, where it has completed: ``values`` may be the last ones of many each."""

    def at(self, step: float) -> float | None:
        """Return the last value up to a step; None where there is none, and for what is no number."""
        place = bisect.bisect_right(self.steps, step)
        value = self.values[place - 1] if place else math.nan
        return value if math.isfinite(value) else None

    def upto(self, step: float) -> Sequence[float]:
        """Return the finite values up to a step."""
        return [value for value in self.values[: bisect.bisect_right(self.steps, step)] if math.isfinite(value)]


@dataclass(frozen=True)
class Standing:
    """Where a job, or several that differ only in their seed, stand."""

    jobs: tuple[Entrant, ...]
    value: float | None
    """At the step of the race; the mean of several."""
    spread: float | None = None
    """Standard deviation of several."""
    place: int | None = None
    """From 1; None for who has none."""


@dataclass(frozen=True)
class Race:
    """All of a sweep."""

    standings: Sequence[Standing]
    """The best first, those without a place last."""
    step: int | None
    """The last one that all running jobs have reached; None when none runs: then each counts as it ended."""


def race(entrants: Sequence[Entrant], direction: str, over_seeds: bool = False) -> Race:
    """Return who stands where.

    Args:
        entrants: the jobs.
        direction: "min" or "max" of their values.
        over_seeds: jobs that differ only in their seed stand together.
    """
    running = [one.steps[-1] for one in entrants if one.is_running and one.steps and not one.is_out]
    step = min(running) if running else None
    groups = grouped(entrants) if over_seeds else [(one,) for one in entrants]
    sign = -1 if direction == "max" else 1
    judged = [_standing(group, step, sign) for group in groups]
    ranked = sorted((one for one in judged if one.value is not None), key=lambda one: sign * (one.value or 0.0))
    placed = [Standing(one.jobs, one.value, one.spread, n) for n, one in enumerate(ranked, 1)]
    return Race([*placed, *(one for one in judged if one.value is None)], step)


def grouped(entrants: Sequence[Entrant]) -> list[tuple[Entrant, ...]]:
    """Return the jobs with those together that differ only in their seed."""
    groups: dict[str, list[Entrant]] = {}
    for one in entrants:
        groups.setdefault(value_text({k: v for k, v in one.given.items() if not is_seed(k)}), []).append(one)
    return [tuple(group) for group in groups.values()]


def _standing(group: tuple[Entrant, ...], step: int | None, sign: int) -> Standing:
    at = math.inf if step is None else step
    values = [_counts(one, at, sign) for one in group if not one.is_out]
    known = [value for value in values if value is not None]
    if not known:
        return Standing(group, None)
    return Standing(group, aggregate.mean(known), _deviation(known))


def _counts(one: Entrant, step: float, sign: int) -> float | None:
    """Return what counts of a job: its value at a step; of one that has ended, once nobody runs, its best."""
    if step != math.inf:
        return one.at(step)
    return one.best if one.best is not None else min(one.upto(step), key=lambda value: sign * value, default=None)


_SCORES = re.compile(r"acc|(?:^|[/_.-])(?:f1|auc|map|iou|bleu|rouge|r2|reward|return|score)\b", re.IGNORECASE)


def assumed(metric: str) -> str:
    """Return the direction that a metric has by its name, where nobody has said it: "max" of scores, else "min"."""
    return "max" if _SCORES.search(metric) else "min"


@dataclass(frozen=True)
class Behind:
    """Jobs that are unlikely to catch up: one, or several that differ only in their seed."""

    jobs: tuple[str, ...]
    step: int
    """Where they were judged."""
    best: float
    """Theirs; the mean of several."""
    median: float
    """Of the others' running means there."""
    seconds: float | None
    """Of GPUs, or without GPUs of the job itself, that are not used if it ends now; None where that is not known."""
    has_gpus: bool

    @property
    def margin(self) -> float:
        """By how much they are worse."""
        return abs(self.best - self.median)


def behind(entrants: Sequence[Entrant], direction: str) -> list[Behind]:
    """Return who is too far behind to go on with, the furthest first.

    A job counts that has made a quarter of its steps and whose best value is worse than the median of the running means
    of at least five others at the same step, now and when it had made a tenth fewer steps. Never the best third, never
    somebody else's, and jobs that differ only in their seed only together.

    Args:
        entrants: the jobs.
        direction: "min" or "max" of their values.
    """
    sign = -1 if direction == "max" else 1
    standings = race(entrants, direction, over_seeds=True).standings
    safe = math.ceil(len([one for one in standings if one.place is not None]) * _SAFE)
    found = []
    for standing in standings:
        running = [one for one in standing.jobs if one.is_running]
        if not running or standing.place is None or standing.place <= safe:
            continue
        if not all(one.is_own and one.share >= LEAST_SHARE and one.steps for one in running):
            continue
        others = [one for one in entrants if one not in standing.jobs]
        judged = _judged(standing, running, others, sign)
        if judged is not None:
            found.append(judged)
    return sorted(found, key=lambda one: -one.margin)


def _judged(standing: Standing, running: Sequence[Entrant], others: Sequence[Entrant], sign: int) -> Behind | None:
    """Return by how much a group is behind; None where it is not at both looks."""
    last = min(one.steps[-1] for one in running)
    looks = [_look(standing, others, step, sign) for step in (last, last * _LOOK_BACK)]
    if not all(look is not None and sign * (look[0] - look[1]) > 0 for look in looks) or looks[0] is None:
        return None
    seconds = [one.left * (one.gpus or 1) if one.left is not None else None for one in running]
    saved = None if None in seconds else math.fsum(one for one in seconds if one is not None)
    return Behind(tuple(one.job for one in running), last, *looks[0], saved, any(one.gpus for one in running))


def _look(standing: Standing, others: Sequence[Entrant], step: float, sign: int) -> tuple[float, float] | None:
    """Return a group's best value up to a step, and the median of the others' running means there."""
    bests = [min(values, key=lambda value: sign * value) for one in standing.jobs if (values := one.upto(step))]
    there = [one for one in others if one.steps and one.steps[-1] >= step]
    means = [aggregate.mean(values) for one in there if (values := one.upto(step))]
    if not bests or len(means) < LEAST_SIBLINGS:
        return None
    return aggregate.mean(bests), statistics.median_low(means) / 2 + statistics.median_high(means) / 2


def _deviation(values: Sequence[float]) -> float | None:
    """Return the standard deviation; None of one value, and where it is beyond all floats."""
    try:
        return statistics.stdev(values) if len(values) > 1 else None
    except OverflowError:
        return None


@dataclass(frozen=True)
class Neighbour:
    """What is worth trying beside the job that leads."""

    job: str
    """The leader."""
    key: str
    """The parameter that is to have another value."""
    value: float | int
    tried: Sequence[float | int] = field(default_factory=tuple)
    """The values that there are, rising."""


def neighbour(found: Race) -> Neighbour | None:
    """Return the leader and the next value of a parameter: beyond the grid where it leads at the edge of it, else
    between it and the better of its two neighbours; None where no parameter is a number with two values.

    The next value keeps the grid's ratio where it is geometric, else its difference.
    """
    if not found.standings or found.standings[0].place is None:
        return None
    leader = found.standings[0].jobs[0]
    numbers = [{key: value for key, value in one.given.items() if aggregate.is_finite(value)} for one in _all(found)]
    axes = {key: sorted({given[key] for given in numbers if key in given}) for key in leader.given}
    axes = {
        key: tried
        for key, tried in axes.items()
        if len(tried) > 1 and aggregate.is_finite(leader.given[key]) and not is_seed(key)
    }
    for key, tried in sorted(axes.items(), key=lambda axis: -len(axis[1])):
        value = _next(tried, tried.index(leader.given[key]), _means(found, key))
        if value is not None and value not in tried:
            return Neighbour(leader.job, key, value, tried)
    return None


def _all(found: Race) -> list[Entrant]:
    return [one for standing in found.standings for one in standing.jobs]


def _means(found: Race, key: str) -> dict[Any, float]:
    """Return the mean place of the jobs with each value of a parameter."""
    places: dict[Any, list[int]] = {}
    for standing in found.standings:
        for one in standing.jobs:
            if standing.place is not None and aggregate.is_finite(one.given.get(key)):
                places.setdefault(one.given[key], []).append(standing.place)
    return {value: aggregate.mean(each) for value, each in places.items()}


def _next(tried: Sequence[float], place: int, means: Mapping[Any, float]) -> float | int | None:
    """Return the value beyond an edge, or within the grid the one between a value and its better neighbour."""
    geometric = is_geometric(tried)
    if 0 < place < len(tried) - 1:
        beside = min((place - 1, place + 1), key=lambda n: means.get(tried[n], math.inf))
        low, high = sorted((tried[place], tried[beside]))
        value = math.sqrt(low) * math.sqrt(high) if geometric else low / 2 + high / 2
    else:
        edge, inner = (tried[0], tried[1]) if place == 0 else (tried[-1], tried[-2])
        value = edge * (edge / inner) if geometric else edge + (edge - inner)
    if not math.isfinite(value):
        return None
    if all(isinstance(one, int) for one in tried):
        return round(value)
    return float(f"{value:.3g}")


def is_geometric(tried: Sequence[float]) -> bool:
    """Return whether values lie on a geometric grid rather than on an arithmetic one: of two, where one is at least
    twice the other."""
    if min(tried) <= 0:
        return False
    ratios = [high / low for low, high in itertools.pairwise(tried)]
    if len(tried) == 2:
        return ratios[0] >= 2
    gaps = [high - low for low, high in itertools.pairwise(tried)]
    return _spread(ratios) <= _spread(gaps) or _spread(ratios) <= _ALIKE


def _spread(numbers: Sequence[float]) -> float:
    return max(numbers) / min(numbers) - 1 if min(numbers) > 0 else math.inf
