"""What is kept of a column of training data: enough to see later whether other data is like it."""

from __future__ import annotations

import bisect
import math
from collections import Counter
from typing import Any, Dict, List, NamedTuple, Sequence

from foundations.contracts.tables import BOOL, EMPTY, NUMBER, OTHER, TEXT, kind_of, special_of

MOST_BINS = 50
FEW_VALUES = 10
"""A column of at most so many different numbers has a bin for each."""
FLOOR = 1e-4
"""The least share of a bin in ``psi``: an empty one would make it infinite."""
_OTHER = "other"


class Bins(NamedTuple):
    """How a column is divided, and the share of each part."""

    edges: Sequence[float]
    """Of numbers: the bins lie below the first, between two, and from the last on."""
    values: Sequence[Any]
    """Or a bin for each value, and one more for all others."""
    shares: Sequence[float]

    def shares_of(self, values: Sequence[Any]) -> List[float]:
        """Return the share of each bin among some values; none of them is special."""
        counts = [0] * len(self.shares)
        places = {value: place for place, value in enumerate(self.values)}
        for value in values:
            if self.values:
                counts[places.get(value, len(self.values))] += 1
            elif isinstance(value, (int, float)):
                counts[bisect.bisect_right(self.edges, value)] += 1
        return [count / max(1, len(values)) for count in counts]

    def names(self) -> List[str]:
        """Return what each bin is, in words."""
        if self.values:
            return [*map(str, self.values), _OTHER]
        if not self.edges:
            return ["all"]
        pairs = zip(self.edges, self.edges[1:])  # noqa: B905 - 3.8
        between = ["%g to %g" % (low, high) for low, high in pairs]
        return ["below %g" % self.edges[0], *between, "from %g" % self.edges[-1]]


class Profile(NamedTuple):
    """One column of training data."""

    kind: str
    rows: int
    specials: Dict[str, int]
    """How often each special value was there."""
    low: Any
    high: Any
    """The smallest and the largest number; None where there is none."""
    bins: Any
    """``Bins``; None for texts of too many kinds."""
    distinct: float
    """The share of different values."""

    def to_json(self) -> Dict[str, Any]:
        """Return it as JSON can carry it."""
        return {**self._asdict(), "bins": None if self.bins is None else self.bins._asdict()}

    @classmethod
    def from_json(cls, told: Dict[str, Any]) -> "Profile":
        """Return the profile that JSON tells of.

        Raises:
            ValueError: it is none.
        """
        try:
            bins = told["bins"] if told["bins"] is None else Bins(**told["bins"])
            profile = cls(**{**told, "bins": bins})
            known = (NUMBER, TEXT, BOOL, OTHER, EMPTY)
            is_whole = bins is None or len(bins.shares) == len(bins.names())
            if profile.kind not in known or not is_whole or not isinstance(profile.specials, dict):
                raise ValueError
        except (TypeError, KeyError, ValueError, AttributeError):
            raise ValueError("this is no profile of a column") from None
        return profile


def profile_of(values: Sequence[Any], most_bins: int) -> Profile:
    """Return what is kept of a column.

    Args:
        values: plain ones.
        most_bins: how many bins numbers get; of texts, how many different ones count as categories.
    """
    kind = kind_of(values)
    specials = Counter(filter(None, map(special_of, values)))
    usual = [value for value in values if special_of(value) is None]
    numbers = usual if kind == NUMBER else []
    bins = _bins_of(kind, usual, most_bins) if usual else None
    distinct = len(set(usual)) / len(usual) if usual else 0.0
    low, high = (min(numbers), max(numbers)) if numbers else (None, None)
    return Profile(kind, len(values), dict(specials), low, high, bins, distinct)


def _bins_of(kind: str, usual: Sequence[Any], most_bins: int) -> "Any":
    different = set(usual)
    if kind == NUMBER and len(different) > FEW_VALUES:
        return _with_shares(Bins(_edges(sorted(usual), most_bins), (), ()), usual)
    if kind == OTHER or len(different) > max(most_bins, FEW_VALUES):
        return None
    return _with_shares(Bins((), sorted(different), ()), usual)


def _edges(ordered: Sequence[float], most_bins: int) -> List[float]:
    """Return edges between which about as many values lie each."""
    places = [len(ordered) * number // most_bins for number in range(1, most_bins)]
    found = {ordered[place] for place in places}
    if ordered[0] in found:  # nothing lies below the smallest: what is larger is set apart
        found.discard(ordered[0])
        found.add(ordered[bisect.bisect_right(ordered, ordered[0])])
    return sorted(float(edge) for edge in found)


def _with_shares(bins: Bins, usual: Sequence[Any]) -> Bins:
    size = len(bins.values) + 1 if bins.values else len(bins.edges) + 1
    empty = bins._replace(shares=[0.0] * size)
    return empty._replace(shares=empty.shares_of(usual))


def l_infinity(expected: Sequence[float], actual: Sequence[float]) -> float:
    """Return the largest difference of a bin's shares."""
    return max((abs(a - e) for e, a in zip(expected, actual)), default=0.0)  # noqa: B905 - 3.8


def psi(expected: Sequence[float], actual: Sequence[float]) -> float:
    """Return the population stability index: the sum of (a - e) ln(a / e) over the bins.

    N. Siddiqi, Credit Risk Scorecards (2006), chapter 8. Shares below ``FLOOR`` count as that.
    """
    pairs = [(max(e, FLOOR), max(a, FLOOR)) for e, a in zip(expected, actual)]  # noqa: B905 - 3.8
    return sum((a - e) * math.log(a / e) for e, a in pairs)
