"""Random parameters for a search."""

from __future__ import annotations

import random

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict


def generate_random_parameters(space: "Dict[str, Any]") -> "Dict[str, Any]":
    """Return parameters drawn from a space.

    Args:
        space: by name: ``{"min", "max"}`` gives a number between them (a whole one when both are), with ``min_count``
            and ``max_count`` (``count_min``, ``count_max``) a list of that length, the last included; a list under
            ``"choice"`` one of it; anything else stands for itself.
    Raises:
        TypeError: the space is no dict. ValueError: a range is empty.
    """
    if not isinstance(space, dict):
        raise TypeError(f"a space is a dict; got {type(space).__name__}: {space!r}")
    return {key: _draw(key, value) for key, value in space.items()}


def _draw(key: str, value: "Any") -> "Any":
    if not isinstance(value, dict):
        return value
    if set(value) == {"choice"}:
        return random.choice(value["choice"])
    low, high = value.get("min"), value.get("max")
    if low is None or high is None:
        return value
    if low > high:
        raise ValueError(f"{key!r}: min {low!r} is above max {high!r}")
    least, most = value.get("min_count", value.get("count_min")), value.get("max_count", value.get("count_max"))
    if least is None or most is None:
        return _number(low, high)
    if least > most:
        raise ValueError(f"{key!r}: the least count {least!r} is above the largest {most!r}")
    return [_number(low, high) for _ in range(random.randint(least, most))]


def _number(low: "Any", high: "Any") -> "Any":
    if isinstance(low, int) and isinstance(high, int):
        return random.randint(low, high)
    return random.uniform(low, high)
