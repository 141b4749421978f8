"""What becomes of a job: leased, started, ended, tried again, and the jobs that waited for it."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Callable, Dict, List, Optional, Set, Tuple

from remote_agent.backends import Attempt, Backend, Status
from remote_agent.core import events, replicas, scheduler
from remote_agent.core.scheduler import Capacity
from remote_agent.core.state import HostState
from remote_agent.daemon.effects import RemoveAttempt, RemovePrivate, SendNotice, StartAttempt, StopAttempt
from remote_agent.daemon.ledger import Ledger
from remote_agent.daemon.notifications import Notices
from remote_agent.protocol.ends import AttemptEnd
from remote_agent.protocol.jobs import JobView
from remote_agent.protocol.lease import Lease
from remote_agent.protocol.services import MOST_ATTEMPTS, Readiness
from remote_agent.protocol.states import ACTIVE_STATES, STATE_OF_REASON, EndReason, JobState, retry_class
from remote_agent.protocol.supervision import RUNNING
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
        self.peak_gpu_memory: Callable[[Attempt], Optional[int]] = lambda attempt: None
        """Says how many bytes of GPU memory an ended attempt was seen to hold."""
        self.pids: Dict[Attempt, int] = {}
        """The process at the top of each running attempt, where there is one on this host."""
        self.readiness: Dict[Attempt, Readiness] = {}
        """Of the replicas that run, as their supervisors say."""
        self.ending: Callable[[JobView, AttemptEnd], None] = lambda view, end: None
        """Called with each job that ends, before that is written down: what follows from it comes first."""
        self._restarting: Set[Attempt] = set()
        """Attempts of replicas that end because somebody restarts them."""
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
            self.take_news(attempt, status)
        for job in self._notices.delivered():
            self._ledger.record(events.Notified(job))
            self._ledger.later(RemovePrivate(job))

    def active_attempts(self) -> List[Attempt]:
        """Return the attempts that are preparing or running."""
        return [(job, self._state.jobs[job].attempt) for job in self._state.active]

    def take_news(self, attempt: Attempt, status: Status) -> None:
        """Take in where an attempt is."""
        job, number = attempt
        view = self._state.jobs.get(job)
        if view is None or view.attempt != number or view.state not in ACTIVE_STATES:
            return
        if status.pid and status.end is None:
            self.pids[attempt] = status.pid
        if status.readiness is not None and status.end is None:
            self.readiness[attempt] = status.readiness
        if status.end is not None:
            failpoints.point("daemon.ended")
            self.end(job, self._completed(attempt, status.end))
        elif status.phase == RUNNING and view.state is JobState.PREPARING:
            self._ledger.append(events.Started(job, status.started_at or self._ledger.clock()))

    def _completed(self, attempt: Attempt, end: AttemptEnd) -> AttemptEnd:
        """Return an end with what else is known of the attempt."""
        return replace(
            end,
            ended_at=end.ended_at or self._ledger.clock(),
            usage=replace(end.usage, peak_gpu_memory=self.peak_gpu_memory(attempt)),
            streams=streams.sizes(self._paths.job(attempt[0]).attempt(attempt[1]), fresh=True),
        )

    def end(self, job: str, end: AttemptEnd) -> None:
        """End an attempt: the job tries again, or ends, and so do the jobs that waited for its success."""
        view = self._state.jobs[job]
        self.pids.pop((job, view.attempt), None)
        self.readiness.pop((job, view.attempt), None)
        self._restarting.discard((job, view.attempt))
        if view.spec.is_replica and not view.stop_requested_by:
            self._pause(view, end)
            return
        kind = retry_class(EndReason(end.reason_code), end.cause.code if end.cause else "")
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

    def _pause(self, view: JobView, end: AttemptEnd) -> None:
        """End an attempt of a replica: the next one begins after a while, and the oldest goes."""
        job, pause = view.spec.job, replicas.pause(view, end)
        self._ledger.record(events.AttemptEnded(job, end, self._ledger.clock() + pause if pause else 0.0))
        if view.attempt > MOST_ATTEMPTS:
            self._ledger.later(RemoveAttempt((job, view.attempt - MOST_ATTEMPTS)))

    def restart(self, job: str, by: str) -> None:
        """End the running attempt of a replica, or its pause: the next attempt begins."""
        view = self._state.jobs[job]
        if view.state in ACTIVE_STATES:
            self._restarting.add((job, view.attempt))
            self._ledger.later(StopAttempt((job, view.attempt), by, view.spec.grace))
        elif self._state.pausing.pop(job, None) is not None:
            self._ledger.changed()

    def is_restarting(self, view: JobView) -> bool:
        """Return whether somebody has asked for the end of a replica's attempt."""
        return (view.spec.job, view.attempt) in self._restarting

    def end_pauses(self) -> None:
        """Let the replicas begin again whose pause is over."""
        for job in replicas.rested(self._state, self._ledger.clock()):
            del self._state.pausing[job]
            self._ledger.changed()

    def _end_for_good(self, job: str, end: AttemptEnd) -> None:
        self.ending(self._state.jobs[job], end)
        spec = self._state.jobs[job].spec
        tell = spec.private and self._notices.is_wanted(job, STATE_OF_REASON[EndReason(end.reason_code)].value)
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

    def give_up(self, job: str) -> None:
        """Have an attempt say why the environment of a waiting job could not be built; it holds nothing."""
        if job in self._state.queue and self._state.may_start(job):
            self._lease(job, Lease(cpus=0))

    def _lease(self, job: str, lease: Lease) -> None:
        attempt = (job, self._state.jobs[job].attempt + 1)
        self._ledger.record(events.Leased(job, attempt[1], lease))
        self._ledger.later(self._start_of(attempt, lease))

    def _start_of(self, attempt: Attempt, lease: Lease) -> StartAttempt:
        spec = self._state.jobs[attempt[0]].spec
        usual = None if spec.is_replica else self._state.usual_duration(spec)
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
                self._ledger.perform(SendNotice(view) if job in self._state.pending_notices else RemovePrivate(job))
        for job in [job for job in os.listdir(self._paths.jobs) if job not in self._state.jobs]:
            self._ledger.perform(RemovePrivate(job))  # of a submit that was cut short before it was accepted
        for other, unmet in list(self._state.queue.blocked.items()):
            failed = [job for job in unmet if job in self._state.jobs and self._state.jobs[job].state.is_final]
            if failed:  # its end was not written down with that of the job it waited for
                self.end(other, self._dependency_failed(failed[0]))
