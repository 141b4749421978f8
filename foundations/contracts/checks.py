"""The tests of a contract: each says of every column whether it is as it was."""

from __future__ import annotations

from collections import Counter
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Set, Union

from foundations.contracts import profiles
from foundations.contracts.profiles import Profile
from foundations.contracts.tables import NUMBER, special_of

HEALTHY, WARNING, CRITICAL = "healthy", "warning", "critical"
_SHOWN = 10
Attributes = Union[str, Iterable[str]]


class Seen(NamedTuple):
    """A column of the data that is checked, beside what is kept of it."""

    name: str
    profile: Profile
    values: Sequence[Any]
    usual: Sequence[Any]
    """Those that are not special."""


def seen(name: str, profile: Profile, values: Sequence[Any]) -> Seen:
    """Return a column to be checked."""
    return Seen(name, profile, values, [value for value in values if special_of(value) is None])


class Check:
    """One kind of test: its settings by column, and for all that have none of their own."""

    usual: Dict[str, Any] = {}
    """What holds for a column of which nothing is said."""

    def __init__(self, settings: Optional[Mapping[str, Dict[str, Any]]] = None, left_out: Iterable[str] = ()) -> None:
        self.settings: Dict[str, Dict[str, Any]] = {}
        self.left_out: Set[str] = set()
        for name, own in (settings or {}).items():
            self.configure(name, **own)
        self.left_out.update(left_out)

    def configure(self, attributes: Attributes, **settings: Any) -> None:
        """Set what holds for some columns.

        Args:
            attributes: a name, or several.
            settings: see the class.
        Raises:
            ValueError: there is no such setting.
        """
        unknown = ", ".join(sorted(set(settings) - set(self.usual)))
        if unknown:
            raise ValueError("%s has no setting %s; it has %s" % (type(self).__name__, unknown, ", ".join(self.usual)))
        for name in [attributes] if isinstance(attributes, str) else attributes:
            own = {
                key: list(value) if isinstance(value, (set, frozenset)) else value for key, value in settings.items()
            }
            self.settings[name] = {**self.usual, **self.settings.get(name, {}), **own}
            self.left_out.discard(name)

    def exclude(self, attributes: Attributes) -> None:
        """Leave some columns out; "all" leaves out all."""
        self.left_out.update([attributes] if isinstance(attributes, str) else attributes)

    def of(self, column: Seen) -> Optional[Dict[str, Any]]:
        """Return what is found of a column, "outcome" among it; None where it is not tested."""
        if column.name in self.left_out or "all" in self.left_out:
            return None
        return self._of(column, self.settings.get(column.name, self.usual))

    def _of(self, column: Seen, settings: Dict[str, Any]) -> Optional[Dict[str, Any]]:
        raise NotImplementedError


class SpecialValueTest(Check):
    """Missing values, NaN and infinities: their shares may differ by less than ``threshold``."""

    usual = {"threshold": 0.1}

    def _of(self, column: Seen, settings: Dict[str, Any]) -> Optional[Dict[str, Any]]:
        found = Counter(filter(None, map(special_of, column.values)))
        names = sorted({*found, *column.profile.specials})
        rows, before = max(1, len(column.values)), max(1, column.profile.rows)
        shares = {name: [column.profile.specials.get(name, 0) / before, found.get(name, 0) / rows] for name in names}
        worst = max((abs(actual - expected) for expected, actual in shares.values()), default=0.0)
        outcome = HEALTHY if worst < settings["threshold"] or not worst else CRITICAL
        return {"outcome": outcome, "difference": worst, "shares": shares}


class DistributionTest(Check):
    """The shares of fixed bins: ``method`` "l_infinity" or "psi", below ``threshold``."""

    usual = {"threshold": 0.1, "method": "l_infinity"}

    def configure(self, attributes: Attributes, **settings: Any) -> None:
        if settings.get("method", "psi") not in ("l_infinity", "psi"):
            raise ValueError("method is l_infinity or psi; got %r" % (settings["method"],))
        super().configure(attributes, **settings)

    def _of(self, column: Seen, settings: Dict[str, Any]) -> Optional[Dict[str, Any]]:
        bins = column.profile.bins
        if bins is None or not column.usual:
            return None
        actual = bins.shares_of(column.usual)
        distance = {"l_infinity": profiles.l_infinity, "psi": profiles.psi}[settings["method"]](bins.shares, actual)
        return {
            "outcome": HEALTHY if distance < settings["threshold"] else CRITICAL,
            "method": settings["method"],
            "distance": distance,
            "bins": bins.names(),
            "expected": list(bins.shares),
            "actual": actual,
        }


class MinMaxTest(Check):
    """Numbers within ``low`` and ``high``, those of training unless set; a share of ``tolerance`` may lie beyond."""

    usual = {"low": None, "high": None, "tolerance": 0.01}

    def _of(self, column: Seen, settings: Dict[str, Any]) -> Optional[Dict[str, Any]]:
        numbers = [value for value in column.usual if isinstance(value, (int, float)) and not isinstance(value, bool)]
        low = column.profile.low if settings["low"] is None else settings["low"]
        high = column.profile.high if settings["high"] is None else settings["high"]
        if column.profile.kind != NUMBER or not numbers or low is None or high is None:
            return None
        beyond = sum(1 for value in numbers if not low <= value <= high) / len(numbers)
        outcome = CRITICAL if beyond > settings["tolerance"] else WARNING if beyond else HEALTHY
        return {
            "outcome": outcome,
            "low": low,
            "high": high,
            "min": min(numbers),
            "max": max(numbers),
            "beyond": beyond,
        }


class DomainTest(Check):
    """Values that are allowed: ``values``, else those of training where they are few; ``tolerance`` as for bounds."""

    usual = {"values": None, "tolerance": 0.01}

    def _of(self, column: Seen, settings: Dict[str, Any]) -> Optional[Dict[str, Any]]:
        bins = column.profile.bins
        learnt = bins.values if bins is not None and column.profile.kind != NUMBER else None
        allowed = learnt if settings["values"] is None else settings["values"]
        if not allowed or not column.usual:
            return None
        known = set(allowed)
        other = Counter(value for value in column.usual if value not in known)
        share = sum(other.values()) / len(column.usual)
        outcome = CRITICAL if share > settings["tolerance"] else WARNING if share else HEALTHY
        return {"outcome": outcome, "beyond": share, "others": [value for value, _ in other.most_common(_SHOWN)]}


class UniquenessTest(Check):
    """No value twice, in columns that are named here; a share of ``tolerance`` may."""

    usual = {"tolerance": 0.0}

    def _of(self, column: Seen, settings: Dict[str, Any]) -> Optional[Dict[str, Any]]:
        if column.name not in self.settings or not column.usual:
            return None
        counts = Counter(column.usual)
        again = [value for value, count in counts.most_common() if count > 1]
        share = sum(counts[value] - 1 for value in again) / len(column.usual)
        outcome = CRITICAL if share > settings["tolerance"] else HEALTHY
        return {"outcome": outcome, "repeated": share, "values": again[:_SHOWN]}


CHECKS: Dict[str, Any] = {
    "special_values": SpecialValueTest,
    "distribution": DistributionTest,
    "min_max": MinMaxTest,
    "domain": DomainTest,
    "uniqueness": UniquenessTest,
}
"""By the name that each has in a report."""


def details(check: Check, columns: Iterable[Seen]) -> List[Dict[str, Any]]:
    """Return what a test finds of columns, of each that it tests."""
    found = ((column.name, check.of(column)) for column in columns)
    return [{"attribute": name, **result} for name, result in found if result is not None]
