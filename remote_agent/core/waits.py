"""Why jobs wait, found out again now and then: with thousands in the queue it takes a moment."""

from __future__ import annotations

import time
from typing import Dict

from remote_agent.core import scheduler
from remote_agent.core.state import HostState

_ESTIMATES_AGE = 30.0
"""Seconds after which changed estimates alone are worth telling."""
_LEAST_PAUSE = 0.2


class WaitReasons:
    """The reasons as last found."""

    def __init__(self) -> None:
        self.by_job: Dict[str, scheduler.Wait] = {}
        self.version = 0
        """Goes up when there is something new to tell."""
        self._is_stale = True
        self._told = self._due = 0.0

    def expire(self) -> None:
        """Something has changed: what is known may be so no longer."""
        self._is_stale = True

    def refresh(self, state: HostState, capacity: scheduler.Capacity, now: float, at_once: bool = False) -> None:
        """Find the reasons again, unless that was just done.

        Args:
            state: jobs, queue and leases.
            capacity: what the host has.
            now: seconds since the epoch.
            at_once: even if it was just done.
        """
        began = time.monotonic()
        if not self._is_stale or (began < self._due and not at_once):
            return
        reasons = scheduler.explain(state, capacity, now)
        self._is_stale = False
        changed = _words(reasons) != _words(self.by_job)
        if changed or (reasons != self.by_job and began - self._told > _ESTIMATES_AGE):
            self._told = began
            self.version += 1
            self.by_job = reasons
        self._due = time.monotonic() + max(_LEAST_PAUSE, 10 * (time.monotonic() - began))


def _words(waits: Dict[str, scheduler.Wait]) -> Dict[str, str]:
    return {job: wait.words for job, wait in waits.items()}
