"""What a model server has counted, from its text for Prometheus, and what came of that between two looks. Pure."""

from __future__ import annotations

import re
from typing import Dict, List, NamedTuple, Optional, Tuple

from remote_agent.protocol.services import Traffic

_REQUESTS = re.compile(r'foundations_requests_total\{.*status="(\d{3})"\} (\d{1,18})\Z')
_BUCKET = re.compile(r'foundations_request_seconds_bucket\{le="([0-9.]{1,12}|\+Inf)"\} (\d{1,18})\Z')
_LONGEST = 1e6
"""Seconds that stand for an answer which took longer than the last bound."""


class Counts(NamedTuple):
    """Counters as read at a moment."""

    at: float = 0.0
    """On the monotonic clock; 0 for never."""
    total: int = 0
    errors: int = 0
    buckets: Tuple[Tuple[float, int], ...] = ()
    """(Upper bound in seconds, requests up to it), rising."""


def counts_of(text: str, at: float) -> Optional[Counts]:
    """Return the counters in a text; None where there are none.

    Args:
        text: as the server wrote it.
        at: when it was read, on the monotonic clock.
    """
    total = errors = 0
    buckets: Dict[float, int] = {}
    for line in text.splitlines():
        found = _REQUESTS.match(line)
        if found:
            total += int(found[2])
            errors += int(found[2]) if int(found[1]) >= 500 else 0
        found = _BUCKET.match(line)
        if found:
            try:
                buckets[float(found[1])] = int(found[2])
            except ValueError:  # "1.2.3"
                return None
    return Counts(at, total, errors, tuple(sorted(buckets.items()))) if buckets else None


def between(before: Counts, now: Counts) -> Traffic:
    """Return what was answered between two looks; counters that have fallen are those of a fresh start."""
    if not before.at or now.total < before.total or now.at <= before.at:
        return Traffic(total=now.total)
    count = now.total - before.total
    if not count:
        return Traffic(total=now.total)
    earlier = dict(before.buckets)
    grown = [(bound, many - earlier.get(bound, 0)) for bound, many in now.buckets]
    return Traffic(
        rate=round(count / (now.at - before.at), 3),
        p50=_quantile(grown, 0.5),
        p99=_quantile(grown, 0.99),
        errors=round(max(0, now.errors - before.errors) / count, 4),
        total=now.total,
    )


def _quantile(grown: List[Tuple[float, int]], share: float) -> float:
    """Return the time within which a share was answered, between two bounds as if evenly; 0 for not known."""
    total = grown[-1][1] if grown else 0
    wanted = share * total
    low = reached = 0.0
    for bound, many in grown:
        if many >= wanted > 0 and many > reached:
            if bound > _LONGEST:
                return low
            return round(low + (bound - low) * (wanted - reached) / (many - reached), 6)
        low, reached = (bound if bound < _LONGEST else low), many
    return 0.0
