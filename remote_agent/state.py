"""The agent's state is the fold of its journal: one ``apply`` for live events and for replay. Pure."""

from __future__ import annotations

import bisect
from dataclasses import replace
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

from remote_agent.jobs import ACTIVE_STATES, STATE_OF_REASON, EndReason, JobSpec, JobState, JobView, Lease

Event = Dict[str, Any]
"""One entry of the journal: "seq", "time" (seconds since the epoch), "type", and the fields of that type."""


class HostState:
    """All that the agent knows about its jobs, as of one journal sequence number."""

    def __init__(self) -> None:
        self.seq = 0
        self.jobs: Dict[str, JobView] = {}
        self.deleted: Dict[str, int] = {}
        """Ids of deleted jobs and when (seq): kept, so that a resent submit does not run twice."""
        self.queue: Dict[str, None] = {}
        """Queued jobs, first come first."""
        self.active: Set[str] = set()
        self.leases: Dict[str, Lease] = {}
        self._touched: List[Tuple[int, str]] = []

    def changes(self, after: int, limit: int) -> Tuple[List[JobView], List[str], int]:
        """Return what changed after a sequence number, oldest first.

        Returns:
            (jobs, ids of deleted jobs, the sequence number that a reader who took these has reached).
        """
        jobs: List[JobView] = []
        deleted: List[str] = []
        start = bisect.bisect_right(self._touched, (after, "\U0010ffff"))
        for seq, job in self._touched[start:]:
            if self.deleted.get(job) == seq:
                deleted.append(job)
            elif job in self.jobs and self.jobs[job].seq == seq:
                jobs.append(self.jobs[job])
            if len(jobs) + len(deleted) >= limit:
                return jobs, deleted, seq
        return jobs, deleted, self.seq

    def touch(self, job: str, seq: int) -> None:
        """Remember that an event changed a job; forget the older marks of jobs now and then."""
        self._touched.append((seq, job))
        if len(self._touched) > 2 * (len(self.jobs) + len(self.deleted)) + 1000:
            self._touched = [(s, j) for s, j in self._touched if s == self._last_seq(j)]

    def _last_seq(self, job: str) -> Optional[int]:
        view = self.jobs.get(job)
        return view.seq if view else self.deleted.get(job)


def apply(state: HostState, event: Event) -> None:
    """Fold one event into the state. Events of an unknown type only move the sequence number."""
    state.seq = event["seq"]
    handler = _HANDLERS.get(event["type"])
    if handler is None:
        return
    handler(state, event)
    state.touch(event["job"], event["seq"])


def _submitted(state: HostState, event: Event) -> None:
    spec = JobSpec.from_wire(event["spec"])
    state.jobs[spec.job] = JobView(spec, JobState.QUEUED, event["seq"], queued_at=event["time"])
    state.queue[spec.job] = None


def _leased(state: HostState, event: Event) -> None:
    lease = Lease(event["cpus"], tuple(event["gpus"]), tuple(event["gpu_indices"]))
    state.queue.pop(event["job"], None)
    state.active.add(event["job"])
    state.leases[event["job"]] = lease
    _update(state, event, state=JobState.PREPARING, attempt=event["attempt"], gpus=lease.gpus)


def _started(state: HostState, event: Event) -> None:
    if state.jobs[event["job"]].state in ACTIVE_STATES:
        _update(state, event, state=JobState.RUNNING, started_at=event["started_at"])


def _stop_requested(state: HostState, event: Event) -> None:
    deadline = event["time"] + event.get("grace", 30.0)
    earlier = state.jobs[event["job"]].stop_deadline
    _update(
        state,
        event,
        stop_requested_by=event["by"],
        stop_deadline=deadline if earlier is None else min(deadline, earlier),
    )


def _ended(state: HostState, event: Event) -> None:
    reason = EndReason(event["reason_code"])
    state.queue.pop(event["job"], None)
    state.active.discard(event["job"])
    state.leases.pop(event["job"], None)
    view = state.jobs[event["job"]]
    _update(
        state,
        event,
        state=STATE_OF_REASON[reason],
        reason_code=reason.value,
        reason=event["reason"],
        exit_code=event.get("exit_code"),
        started_at=event.get("started_at", view.started_at),
        ended_at=event["ended_at"],
        streams=event.get("streams", {}),
        usage=event.get("usage", {}),
    )


def _deleted(state: HostState, event: Event) -> None:
    state.jobs.pop(event["job"], None)
    state.deleted[event["job"]] = event["seq"]


def _update(host: HostState, event: Event, **changes: Any) -> None:
    host.jobs[event["job"]] = replace(host.jobs[event["job"]], seq=event["seq"], **changes)


_HANDLERS: Dict[str, Callable[[HostState, Event], None]] = {
    "submitted": _submitted,
    "leased": _leased,
    "started": _started,
    "stop_requested": _stop_requested,
    "ended": _ended,
    "deleted": _deleted,
}
