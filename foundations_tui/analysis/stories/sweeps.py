"""What a sweep tells: which value always fails, and which configuration leads, by how much more than chance. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from foundations_tui.analysis import aggregate
from foundations_tui.analysis.stories.siblings import LEAST_FAILED, Members, Sibling, any_completed, value_text
from foundations_tui.text import humanize
from foundations_tui.text.story import SWEEP, Evidence, Story, value

_MOST_ALWAYS = 3


def tell(members: Members, metric: str, direction: str, now: float) -> Story | None:
    """Return what a sweep tells; None for nothing.

    Args:
        members: all of its jobs, with their best values.
        metric: its name; empty when no metric has a direction.
        direction: "min" or "max".
        now: seconds since the epoch.
    """
    fails = _always_fail(members)
    leader, evidence = _leader(members, metric, direction) if metric else (None, [])
    if not fails and leader is None:
        return None
    evidence += [
        Evidence("param", f"{key}={value(what)}: {count} failed, none completed") for key, what, count in fails
    ]
    params = {"always_fail": [[key, what] for key, what, _ in fails], **({"leader": leader} if leader else {})}
    return Story(SWEEP, params, tuple(evidence), now)


def _always_fail(members: Members) -> list[tuple[str, Any, int]]:
    """Return (parameter, value, jobs) of values with which at least three jobs failed and none completed.

    Nothing where all jobs failed: then no value tells why.
    """
    if not any_completed(members.jobs):
        return []
    found = []
    for key, by_value in members.by_value.items():
        for with_it in by_value.values():
            failed = sum(job.state == "failed" for job in with_it)
            if failed >= LEAST_FAILED and not any_completed(with_it):
                found.append((key, with_it[0].given[key], failed))
    return sorted(found, key=lambda one: -one[2])[:_MOST_ALWAYS]


def _leader(members: Members, metric: str, direction: str) -> tuple[dict[str, Any] | None, list[Evidence]]:
    """Return the configuration whose mean over seeds is best, and by how much."""
    keys = members.keys
    groups: dict[str, list[Sibling]] = {}
    for job in members.jobs:
        if aggregate.is_number(job.value) and job.state != "failed":
            own = {key: job.given.get(key) for key in keys}
            groups.setdefault(value_text(own), []).append(job)
    if len(groups) < 2:
        return None, []
    sign = 1 if direction == "min" else -1
    ordered = sorted(groups.values(), key=lambda group: sign * _mean(group))
    first, second = ordered[0], ordered[1]
    by = abs(_mean(first) - _mean(second))
    if not math.isfinite(by):
        return None, []
    leader = {
        "metric": metric,
        "values": [[key, first[0].given[key]] for key in keys if key in first[0].given],
        "mean": _mean(first),
        "by": by,
        "error": _error(first, second),
    }
    return leader, [_of_group(group, keys, metric) for group in (first, second)]


def _mean(group: Sequence[Sibling]) -> float:
    return statistics.fmean(_values(group))


def _values(group: Sequence[Sibling]) -> list[float]:
    return [float(job.value) for job in group if job.value is not None]


def _error(first: Sequence[Sibling], second: Sequence[Sibling]) -> float | None:
    """Return the standard error of the difference of two means; None unless both have at least two seeds."""
    groups = [_values(first), _values(second)]
    if min(map(len, groups)) < 2:
        return None
    return math.sqrt(sum(statistics.variance(group) / len(group) for group in groups))


def _of_group(group: Sequence[Sibling], keys: Sequence[str], metric: str) -> Evidence:
    given = ", ".join(f"{key} {value(group[0].given[key])}" for key in keys if key in group[0].given)
    jobs = " ".join(job.job[:6] for job in group[:8])
    return Evidence("job", f"{given}: {metric} {value(_mean(group))} ({humanize.plural(len(group), 'seed')})", jobs)
