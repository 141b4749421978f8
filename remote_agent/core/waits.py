"""Why jobs wait, found out again now and then: with thousands in the queue it takes a moment."""

from __future__ import annotations

import time
from typing import Dict, Mapping, Tuple

from remote_agent.core import scheduler
from remote_agent.core.state import HostState

_ESTIMATES_AGE = 30.0
"""Seconds after which changed estimates alone are worth telling."""
_LEAST_PAUSE = 0.2
_LEAST_SHIFT, _LEAST_SHARE = 5.0, 0.05
"""Seconds, and share of what is left, by which an end that is told has to move to be news."""


class WaitReasons:
    """The reasons as last found."""

    def __init__(self) -> None:
        self.by_job: Dict[str, scheduler.Wait] = {}
        self.version = 0
        """Goes up when there is something new to tell."""
        self._told_ends: Dict[Tuple[str, int], float] = {}
        """When running jobs say that they end, seconds since the epoch, by job and attempt."""
        self._is_stale = True
        self._is_untold = False
        """Whether estimates have changed that were not worth telling so soon."""
        self._told = self._due = 0.0

    def expire(self) -> None:
        """Something has changed: what is known may be so no longer."""
        self._is_stale = True

    def take_time_left(self, time_left: Mapping[str, float], state: HostState, now: float) -> None:
        """Take in how long running jobs still take, as clients read it in their logs.

        Args:
            time_left: seconds, by job; jobs that do not run are passed over.
            state: knows what runs.
            now: seconds since the epoch.
        """
        runs = {job: state.jobs[job].attempt for job in state.leases}
        ends = {(job, attempt): end for (job, attempt), end in self._told_ends.items() if runs.get(job) == attempt}
        for job in time_left.keys() & runs.keys():
            run, left = (job, runs[job]), time_left[job]
            if abs(now + left - ends.get(run, 0.0)) > max(_LEAST_SHIFT, _LEAST_SHARE * left):
                ends[run] = now + left
                self._is_stale = True
        if ends.keys() != self._told_ends.keys():  # what was estimated may be far off: it is told at once
            self._is_stale = True
            self._told = -_ESTIMATES_AGE
        self._told_ends = ends

    def refresh(self, state: HostState, capacity: scheduler.Capacity, now: float, at_once: bool = False) -> None:
        """Find the reasons again, unless that was just done.

        Args:
            state: jobs, queue and leases.
            capacity: what the host has.
            now: seconds since the epoch.
            at_once: even if it was just done.
        """
        began = time.monotonic()
        is_time = at_once or began - self._told > _ESTIMATES_AGE
        is_wanted = self._is_stale or (self._is_untold and is_time)
        if not is_wanted or (began < self._due and not at_once):
            return
        reasons = scheduler.explain(state, capacity, now, {job: end for (job, _), end in self._told_ends.items()})
        self._is_stale = False
        is_news = _words(reasons) != _words(self.by_job) or (reasons != self.by_job and is_time)
        self._is_untold = reasons != self.by_job and not is_news
        if is_news:
            self._told = began
            self.version += 1
            self.by_job = reasons
        self._due = time.monotonic() + max(_LEAST_PAUSE, 10 * (time.monotonic() - began))


def _words(waits: Dict[str, scheduler.Wait]) -> Dict[str, str]:
    return {job: wait.words for job, wait in waits.items()}
