"""Whether a key is held: its steps come faster than anybody presses it anew."""

from __future__ import annotations

import time

_HELD_SECONDS = 0.6
"""Between two steps up to which it counts as held."""


class HeldKey:
    """Counts the steps that came one after the other."""

    def __init__(self) -> None:
        self._way = self._streak = 0
        self._at = 0.0

    def streak(self, way: int) -> int:
        """Return how many steps in the same way came just before this one."""
        now = time.monotonic()
        self._streak = self._streak + 1 if way == self._way and now - self._at < _HELD_SECONDS else 0
        self._way, self._at = way, now
        return self._streak
