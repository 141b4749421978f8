"""What becomes of a job: leased, started, ended, tried again, and the jobs that waited for it."""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, List, Tuple

from remote_agent.backends import Attempt, Backend
from remote_agent.core import events, scheduler
from remote_agent.core.events import AttemptEnd
from remote_agent.core.scheduler import Capacity
from remote_agent.core.state import HostState
from remote_agent.daemon.effects import RemovePrivate, SendNotice, StartAttempt, StopAttempt
from remote_agent.daemon.ledger import Ledger
from remote_agent.daemon.notifications import Notices
from remote_agent.protocol.jobs import ACTIVE_STATES, STATE_OF_REASON, EndReason, JobState, Lease, retry_class
from remote_agent.storage import streams
from remote_agent.storage.paths import Paths
from remote_agent.system import failpoints

_BRIEF_SECONDS = 2.0
"""Jobs that usually take less are brief."""


class Lifecycle:
    """The way of each job through its states."""

    def __init__(
        self,
        ledger: Ledger,
        backend: Backend,
        paths: Paths,
        notices: Notices,
        capacity: Callable[[], Capacity],
    ) -> None:
        """Make it.

        Args:
            ledger: takes what is decided.
            backend: where attempts run.
            paths: the agent's files.
            notices: tells of ends.
            capacity: returns what the host has.
        """
        self.more_usage: Callable[[Attempt], Dict[str, Any]] = lambda attempt: {}
        """Says what else is known of what an attempt used."""
        self._ledger = ledger
        self._backend = backend
        self._paths = paths
        self._notices = notices
        self._capacity = capacity
        ledger.unstarted = self._has_not_started

    @property
    def _state(self) -> HostState:
        return self._ledger.state

    def advance(self) -> None:
        """Take in the backend's news, and that notices were delivered."""
        for attempt, status in self._backend.poll(self.active_attempts()).items():
            self.take_news(attempt, status.phase, status.facts)
        for job in self._notices.delivered():
            self._ledger.record(events.Told(job))
            self._ledger.later(RemovePrivate(job))

    def active_attempts(self) -> List[Attempt]:
        """Return the attempts that are preparing or running."""
        return [(job, self._state.jobs[job].attempt) for job in self._state.active]

    def take_news(self, attempt: Attempt, phase: str, facts: Dict[str, Any]) -> None:
        job, number = attempt
        view = self._state.jobs.get(job)
        if view is None or view.attempt != number or view.state not in ACTIVE_STATES:
            return
        if phase == "running" and view.state is JobState.PREPARING:
            self._ledger.append(events.Started(job, facts["started_at"]))
        elif phase == "ended":
            failpoints.point("daemon.ended")
            self.end(job, self._end_of(attempt, facts))

    def _end_of(self, attempt: Attempt, record: Dict[str, Any]) -> AttemptEnd:
        """Return the end that an exit record tells, with what else is known of the attempt."""
        return AttemptEnd.from_wire(
            {
                **{name: record.get(name) for name in ("reason_code", "reason", "exit_code", "signal", "cause")},
                "ended_at": record.get("ended_at") or self._ledger.clock(),
                "started_at": record.get("started_at") or None,
                "usage": {**(record.get("usage") or {}), **self.more_usage(attempt)},
                "streams": streams.sizes(self._paths.job(attempt[0]).attempt(attempt[1]), fresh=True),
            }
        )

    def end(self, job: str, end: AttemptEnd) -> None:
        """End an attempt: the job tries again, or ends, and so do the jobs that waited for its success."""
        view = self._state.jobs[job]
        kind = retry_class(EndReason(end.reason_code), (end.cause or {}).get("code", ""))
        if kind in view.spec.retry_on and view.attempt <= view.spec.retries and not view.stop_requested_by:
            self._ledger.record(events.AttemptEnded(job, end))
            return
        ends: List[Tuple[str, AttemptEnd]] = [(job, end)]
        while ends:
            job, end = ends.pop()
            dependents = list(self._state.dependents.get(job, ()))
            self._end_for_good(job, end)
            if self._state.jobs[job].state is not JobState.COMPLETED:
                ends += [(other, self._dependency_failed(job)) for other in dependents if self._needs(other, job)]

    def _end_for_good(self, job: str, end: AttemptEnd) -> None:
        spec = self._state.jobs[job].spec
        tell = spec.private and self._notices.is_wanted(job, STATE_OF_REASON[EndReason(end.reason_code)])
        self._ledger.record(events.Ended(job, end, untold=tell))
        if tell:
            self._ledger.later(SendNotice(self._state.jobs[job]))
        elif spec.private:
            self._ledger.later(RemovePrivate(job))

    def _needs(self, job: str, other: str) -> bool:
        view = self._state.jobs.get(job)
        return view is not None and view.state is JobState.QUEUED and other in view.spec.after

    def _dependency_failed(self, job: str) -> AttemptEnd:
        words = f"dependency {job} {self._state.jobs[job].state.value}"
        return AttemptEnd("dependency_failed", words, self._ledger.clock())

    def plan(self) -> None:
        """Start what can start."""
        plan = scheduler.plan(self._state, self._capacity(), self._ledger.clock())
        for job, lease in plan.starts:
            self._lease(job, lease)
        if plan.starts:
            self._capacity()  # what is leased now is no longer looked at as free

    def _lease(self, job: str, lease: Lease) -> None:
        attempt = (job, self._state.jobs[job].attempt + 1)
        self._ledger.record(events.Leased(job, attempt[1], lease))
        self._ledger.later(self._start_of(attempt, lease))

    def _start_of(self, attempt: Attempt, lease: Lease) -> StartAttempt:
        spec = self._state.jobs[attempt[0]].spec
        usual = self._state.usual_duration(spec)
        return StartAttempt(attempt, spec, lease, usual is not None and usual < _BRIEF_SECONDS)

    def _has_not_started(self, effect: StartAttempt, why_not: str) -> None:
        self.end(effect.spec.job, AttemptEnd("workspace_failed", why_not, self._ledger.clock()))

    def resume(self) -> None:
        """After a start: begin the attempts that were leased but never begun, pass on stops that were asked for."""
        for attempt in self.active_attempts():
            view = self._state.jobs[attempt[0]]
            if not self._backend.adopt(attempt):
                self._ledger.perform(self._start_of(attempt, self._state.leases[attempt[0]]))
            if view.stop_requested_by:
                left = (view.stop_deadline or 0.0) - self._ledger.clock()  # the clock may have been set meanwhile
                grace = min(max(0.0, left), view.spec.grace)
                self._ledger.perform(StopAttempt(attempt, view.stop_requested_by, grace))
        for job, view in self._state.jobs.items():
            if view.spec.private and view.state.is_final:
                self._ledger.perform(SendNotice(view) if job in self._state.untold else RemovePrivate(job))
        for job in [job for job in os.listdir(self._paths.jobs) if job not in self._state.jobs]:
            self._ledger.perform(RemovePrivate(job))  # of a submit that was cut short before it was accepted
        for other, unmet in list(self._state.queue.blocked.items()):
            failed = [job for job in unmet if job in self._state.jobs and self._state.jobs[job].state.is_final]
            if failed:  # its end was not written down with that of the job it waited for
                self.end(other, self._dependency_failed(failed[0]))
