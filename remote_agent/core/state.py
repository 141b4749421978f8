"""The agent's state is the fold of its journal: one ``apply`` for live events and for replay. Pure."""

from __future__ import annotations

import bisect
import functools
import re
import statistics
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any, Callable, Deque, Dict, Iterable, Iterator, List, Optional, Set, Tuple

from remote_agent.protocol import checks
from remote_agent.protocol.jobs import ACTIVE_STATES, STATE_OF_REASON, EndReason, JobSpec, JobState, JobView, Lease

Event = Dict[str, Any]
"""One entry of the journal: "seq", "time" (seconds since the epoch), "type", and the fields of that type."""

ALL_GROUPS = "*"
"""What ``paused`` holds when the whole host is paused."""
_LIKE_JOBS = 31
"""So many last durations of like jobs are remembered."""
ENOUGH_LIKE_JOBS = 5
"""From so many on, an estimate is made."""
_NUMBER = re.compile(r"[-+]?\d+(\.\d*)?([eE][-+]?\d+)?")


class Queue:
    """The jobs that wait for their turn, by priority, then rank; and those that wait for other jobs first."""

    def __init__(self) -> None:
        self._order: List[Tuple[int, float, str]] = []
        self._keys: Dict[str, Tuple[int, float, str]] = {}
        self.blocked: Dict[str, Set[str]] = {}
        """Jobs whose ``after`` has not ended yet, with the jobs they wait for."""

    def __contains__(self, job: str) -> bool:
        return job in self._keys or job in self.blocked

    def __len__(self) -> int:
        return len(self._order) + len(self.blocked)

    def __iter__(self) -> Iterator[str]:
        """Go through the jobs whose turn may come, in order."""
        return (key[2] for key in self._order)

    def everyone(self) -> Iterator[str]:
        """Go through all jobs, those that wait for other jobs last."""
        yield from self
        yield from self.blocked

    def add(self, view: JobView) -> None:
        """Put a job in its place."""
        job = view.spec.job
        self._keys[job] = (-view.priority, view.rank, job)
        bisect.insort(self._order, self._keys[job])

    def remove(self, job: str) -> None:
        """Take a job out, wherever it stands."""
        self.blocked.pop(job, None)
        key = self._keys.pop(job, None)
        if key is not None:
            del self._order[bisect.bisect_left(self._order, key)]


@dataclass
class Changes:
    """A page of what changed."""

    seq: int
    """The sequence number that a reader who took it has reached."""
    jobs: List[Dict[str, Any]] = field(default_factory=list)
    """Views as JSON can carry them."""
    large: List[Tuple[str, int, int]] = field(default_factory=list)
    """(job, its sequence number, bytes) of those that are too large for a page."""
    deleted: List[str] = field(default_factory=list)
    count: int = 0
    bytes: int = 0
    last: int = 0


class HostState:
    """All that the agent knows about its jobs, as of one journal sequence number."""

    def __init__(self) -> None:
        self.seq = 0
        self.jobs: Dict[str, JobView] = {}
        self.deleted: Dict[str, int] = {}
        """Ids of deleted jobs and when (seq): kept, so that a resent submit does not run twice."""
        self.queue = Queue()
        self.active: Set[str] = set()
        self.leases: Dict[str, Lease] = {}
        self.paused: Set[str] = set()
        """Groups of which no job starts; ALL_GROUPS for all."""
        self.acknowledged: Dict[str, Set[str]] = {}
        """The clients that have everything of an ended job, by job."""
        self.clients: Set[str] = set()
        """The clients that ever acknowledged something."""
        self.untold: Set[str] = set()
        """Ended jobs whose end is still to be told to whom they asked to notify."""
        self.disk = 0
        """Bytes that the folders of ended jobs take, as far as it was counted."""
        self.dependents: Dict[str, List[str]] = {}
        """The jobs that wait for a job's end."""
        self._durations: Dict[str, Deque[float]] = {}
        self._touched: List[Tuple[int, str]] = []

    def changes(self, after: int, room: int, limit: int) -> Changes:
        """Return what changed after a sequence number, oldest first.

        Args:
            after: that number.
            room: bytes at which the page closes; a job that alone has more is only named.
            limit: entries at most.
        """
        page = Changes(self.seq)
        start = bisect.bisect_right(self._touched, (after, "\U0010ffff"))
        for seq, job in self._touched[start:]:
            is_deleted = self.deleted.get(job) == seq
            if not is_deleted and (job not in self.jobs or self.jobs[job].seq != seq):
                continue
            wire = {} if is_deleted else self.jobs[job].to_wire()
            size = checks.json_size(wire)
            cost = size if size <= room else 100
            if page.count and (page.bytes + cost > room or page.count >= limit):
                page.seq = page.last
                return page
            if is_deleted:
                page.deleted.append(job)
            elif size <= room:
                page.jobs.append(wire)
            else:
                page.large.append((job, seq, size))
            page.count, page.last, page.bytes = page.count + 1, seq, page.bytes + cost + len(job)
        return page

    def touch(self, job: str, seq: int) -> None:
        """Remember that an event changed a job; forget the older marks of jobs now and then."""
        self._touched.append((seq, job))
        if len(self._touched) > 2 * (len(self.jobs) + len(self.deleted)) + 1000:
            self._touched = [(s, j) for s, j in self._touched if s == self._last_seq(j)]

    def may_start(self, job: str) -> bool:
        """Say whether nobody wants a waiting job to stay where it is."""
        view = self.jobs[job]
        return not (view.held or self.is_paused(view.spec.group))

    def is_paused(self, group: str) -> bool:
        """Say whether the jobs of a group may not start."""
        return ALL_GROUPS in self.paused or (bool(group) and group in self.paused)

    def usual_duration(self, spec: JobSpec, after: float = 0.0) -> Optional[float]:
        """Return how long jobs like this one took, the median, seconds; None when too few have ended.

        Args:
            spec: the job.
            after: only of those that took longer than this.
        """
        known = self._durations.get(likeness(spec), ())
        if len(known) < ENOUGH_LIKE_JOBS:
            return None
        longer = [seconds for seconds in known if seconds > after]
        return statistics.median(longer) if longer else after * 1.1

    def remember_duration(self, view: JobView) -> None:
        """Take in how long a job took, when it has completed."""
        if view.state is JobState.COMPLETED and view.started_at is not None and view.ended_at is not None:
            known = self._durations.setdefault(likeness(view.spec), deque(maxlen=_LIKE_JOBS))
            known.append(max(0.0, view.ended_at - view.started_at))

    def _last_seq(self, job: str) -> Optional[int]:
        view = self.jobs.get(job)
        return view.seq if view else self.deleted.get(job)


def likeness(spec: JobSpec) -> str:
    """Return what jobs have in common that take about as long: project, command without its numbers, GPUs."""
    return _likeness(spec.project, spec.gpus, spec.command)


@functools.lru_cache(maxsize=20_000)
def _likeness(project: str, gpus: int, command: Tuple[str, ...]) -> str:
    return "\0".join([project, str(gpus), *(_NUMBER.sub("#", word) for word in command)])


def apply(state: HostState, event: Event) -> None:
    """Fold one event into the state. Events of an unknown type only move the sequence number."""
    state.seq = event["seq"]
    handler = _HANDLERS.get(event["type"])
    if handler is not None:
        handler(state, event)


def snapshot_events(state: HostState, now: float) -> Iterable[Event]:
    """Yield the events that bring an empty state to this one: what a compacted journal begins with.

    Every view keeps the sequence number that it has, so clients' cursors go on; the last event brings the state's own.
    """
    marks = [(view.seq, job) for job, view in state.jobs.items()] + [(seq, job) for job, seq in state.deleted.items()]
    for seq, job in sorted(marks):
        if job in state.deleted:
            yield {"seq": seq, "time": now, "type": "deleted", "job": job}
        else:
            yield _view_event(state, state.jobs[job], now)
    yield {"seq": state.seq, "time": now, "type": "paused", "groups": sorted(state.paused)}


def submits(state: HostState, now: float) -> Iterable[Event]:
    """Yield the submits of the jobs that have not ended."""
    for job, view in state.jobs.items():
        if not view.state.is_final:
            yield {"seq": view.seq, "time": now, "type": "submitted", "job": job, "spec": view.spec.to_wire()}


def _view_event(state: HostState, view: JobView, now: float) -> Event:
    job = view.spec.job
    event: Event = {"seq": view.seq, "time": now, "type": "view", "job": job, "view": view.to_wire()}
    if job in state.leases:
        event["lease"] = state.leases[job].to_wire()
    if job in state.queue.blocked:
        event["unmet"] = sorted(state.queue.blocked[job])
    if state.acknowledged.get(job):
        event["acknowledged"] = sorted(state.acknowledged[job])
    if job in state.untold:
        event["untold"] = True
    return event


def _view(state: HostState, event: Event) -> None:
    """A whole job, as a compacted journal has it."""
    view = JobView.from_wire(event["view"])
    job = view.spec.job
    state.jobs[job] = view
    if view.state is JobState.QUEUED:
        _enqueue(state, view, set(event.get("unmet", ())))
    elif view.state in ACTIVE_STATES:
        state.active.add(job)
        state.leases[job] = Lease.from_wire(event["lease"])
    state.remember_duration(view)
    if not view.pruned:
        state.disk += _disk(view)
    if event.get("acknowledged"):
        state.acknowledged[job] = set(event["acknowledged"])
        state.clients.update(event["acknowledged"])
    if event.get("untold"):
        state.untold.add(job)
    state.touch(job, event["seq"])


def _submitted(state: HostState, event: Event) -> None:
    spec = JobSpec.from_wire(event["spec"])
    seq = event["seq"]
    view = JobView(spec, JobState.QUEUED, seq, queued_at=event["time"], priority=spec.priority, rank=float(seq))
    state.jobs[spec.job] = view
    _enqueue(state, view, {job for job in (*spec.after, *spec.after_any) if not _has_ended(state, job)})
    state.touch(spec.job, seq)


def _enqueue(state: HostState, view: JobView, unmet: Set[str]) -> None:
    job = view.spec.job
    for other in unmet:
        state.dependents.setdefault(other, []).append(job)
    if unmet:
        state.queue.blocked[job] = unmet
    else:
        state.queue.add(view)


def _held(state: HostState, event: Event) -> None:
    """A waiting job starts only when somebody says so."""
    _update(state, event, held=True)


def _released(state: HostState, event: Event) -> None:
    """A job that was held may start."""
    _update(state, event, held=False)


def _has_ended(state: HostState, job: str) -> bool:
    return job not in state.jobs or state.jobs[job].state.is_final


def _leased(state: HostState, event: Event) -> None:
    lease = Lease.from_wire(event)
    state.queue.remove(event["job"])
    state.active.add(event["job"])
    state.leases[event["job"]] = lease
    _update(state, event, state=JobState.PREPARING, attempt=event["attempt"], gpus=lease.gpus, held=False)


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
    view = _end_attempt(state, event, STATE_OF_REASON[EndReason(event["reason_code"])])
    job = view.spec.job
    state.remember_duration(view)
    if event.get("untold"):
        state.untold.add(job)
    for other in state.dependents.pop(job, ()):
        unmet = state.queue.blocked.get(other)
        is_met = view.state is JobState.COMPLETED or job not in state.jobs[other].spec.after
        if unmet is not None and is_met:  # the end of what is not met is an event of its own
            unmet.discard(job)
            if not unmet:
                del state.queue.blocked[other]
                state.queue.add(state.jobs[other])


def _attempt_ended(state: HostState, event: Event) -> None:
    """An attempt has ended that is followed by another one: the job waits again, in its old place."""
    view = _end_attempt(state, event, STATE_OF_REASON[EndReason(event["reason_code"])])
    fresh: Dict[str, Any] = dict.fromkeys(("reason_code", "reason", "exit_code", "signal", "started_at", "ended_at"))
    past = (*view.attempts, view.past())
    _update(state, event, state=JobState.QUEUED, gpus=(), attempts=past, streams={}, usage={}, cause={}, **fresh)
    state.queue.add(state.jobs[event["job"]])


def _end_attempt(state: HostState, event: Event, to: JobState) -> JobView:
    job = event["job"]
    state.queue.remove(job)
    state.active.discard(job)
    state.leases.pop(job, None)
    view = state.jobs[job]
    _update(
        state,
        event,
        state=to,
        reason_code=EndReason(event["reason_code"]).value,
        reason=event["reason"],
        exit_code=event.get("exit_code"),
        signal=event.get("signal"),
        cause=event.get("cause") or {},
        started_at=event.get("started_at", view.started_at),
        ended_at=event["ended_at"],
        streams=event.get("streams", {}),
        usage=event.get("usage", {}),
    )
    state.disk += _disk_of(event.get("usage", {}))
    return state.jobs[job]


def _disk(view: JobView) -> int:
    """Return the bytes that a job's folder takes."""
    return _disk_of(view.usage) + sum(_disk_of(past.get("usage", {})) for past in view.attempts)


def _disk_of(usage: Dict[str, Any]) -> int:
    return int(usage.get("disk") or 0)


def _moved(state: HostState, event: Event) -> None:
    _update(state, event, priority=event["priority"], rank=event["rank"])
    job = event["job"]
    if job in state.queue and job not in state.queue.blocked:
        state.queue.remove(job)
        state.queue.add(state.jobs[job])


def _deleted(state: HostState, event: Event) -> None:
    view = state.jobs.pop(event["job"], None)
    state.queue.remove(event["job"])  # its end may be missing from a damaged journal
    state.active.discard(event["job"])
    state.leases.pop(event["job"], None)
    if view is not None and not view.pruned:
        state.disk -= _disk(view)
    state.acknowledged.pop(event["job"], None)
    state.untold.discard(event["job"])
    state.deleted[event["job"]] = event["seq"]
    state.touch(event["job"], event["seq"])


def _pruned(state: HostState, event: Event) -> None:
    state.disk -= _disk(state.jobs[event["job"]])
    _update(state, event, pruned=True)


def _annotated(state: HostState, event: Event) -> None:
    """Of two values the later one stands, in whatever order they arrive."""
    known = dict(state.jobs[event["job"]].annotations)
    for key, entry in event["changes"].items():
        if key not in known or entry[1] >= known[key][1]:
            known[key] = entry
    _update(state, event, annotations=known)


def _paused(state: HostState, event: Event) -> None:
    state.paused.update(event["groups"])


def _resumed(state: HostState, event: Event) -> None:
    state.paused.difference_update(event["groups"])


def _acknowledged(state: HostState, event: Event) -> None:
    """A client has everything of these jobs; no view changes by that."""
    state.clients.add(event["client"])
    for job in event["jobs"]:
        if job in state.jobs:
            state.acknowledged.setdefault(job, set()).add(event["client"])


def _told(state: HostState, event: Event) -> None:
    state.untold.discard(event["job"])


def _update(host: HostState, event: Event, **changes: Any) -> None:
    job = event["job"]
    host.jobs[job] = replace(host.jobs[job], seq=event["seq"], **changes)
    host.touch(job, event["seq"])


_HANDLERS: Dict[str, Callable[[HostState, Event], None]] = {
    "view": _view,
    "submitted": _submitted,
    "held": _held,
    "released": _released,
    "leased": _leased,
    "started": _started,
    "stop_requested": _stop_requested,
    "attempt_ended": _attempt_ended,
    "ended": _ended,
    "moved": _moved,
    "deleted": _deleted,
    "pruned": _pruned,
    "annotated": _annotated,
    "paused": _paused,
    "resumed": _resumed,
    "acknowledged": _acknowledged,
    "told": _told,
}
