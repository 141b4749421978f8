"""The agent's state is the fold of its journal: one ``apply`` for live events and for replay. Pure."""

from __future__ import annotations

import bisect
import functools
import re
import statistics
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Callable, Deque, Dict, Iterable, Iterator, List, NamedTuple, Optional, Set, Tuple, Type

from remote_agent.core import events
from remote_agent.core.events import Change, JournalEntry
from remote_agent.protocol import checks, models
from remote_agent.protocol.ends import AttemptEnd, Usage
from remote_agent.protocol.jobs import JobSpec, JobView
from remote_agent.protocol.lease import Lease
from remote_agent.protocol.models import Model, RegistryEvent
from remote_agent.protocol.schedules import Schedule
from remote_agent.protocol.services import MOST_ATTEMPTS, MOST_REVISIONS, Probes, Revision
from remote_agent.protocol.states import ACTIVE_STATES, STATE_OF_REASON, EndReason, JobState
from remote_agent.protocol.wire import JsonTable

ALL_GROUPS = "*"
"""What ``paused`` holds when the whole host is paused."""
_LIKE_JOBS = 31
"""Durations of similar jobs to remember, the latest."""
_MOST_TRANSITIONS = 20_000
"""Transitions that are kept, the latest: clients take them from there."""
_TRANSITION_BYTES = 100
"""About so much of a page does one take."""
ENOUGH_LIKE_JOBS = 5
"""Durations from which an estimate is made."""
_NUMBER = re.compile(r"[-+]?\d+(\.\d*)?([eE][-+]?\d+)?")


class JobQueue:
    """The jobs that wait for their turn, by priority, then rank; and those that wait for other jobs first."""

    def __init__(self) -> None:
        self._order: List[Tuple[int, float, str]] = []
        self._keys: Dict[str, Tuple[int, float, str]] = {}
        self.blocked: Dict[str, Set[str]] = {}
        """Jobs whose ``after`` has not ended yet, with the jobs they wait for."""
        self.by_environment: Dict[str, Set[str]] = {}
        """The jobs whose turn may come, by the environment that each needs; those that need none are not there."""
        self._environments: Dict[str, str] = {}

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
        environment = view.spec.environment_hash
        if environment:
            self._environments[job] = environment
            self.by_environment.setdefault(environment, set()).add(job)

    def place(self, job: str) -> Optional[int]:
        """Return a job's place, from 1; None for one whose turn cannot come yet."""
        key = self._keys.get(job)
        return None if key is None else bisect.bisect_left(self._order, key) + 1

    def remove(self, job: str) -> None:
        """Take a job out, wherever it stands."""
        self.blocked.pop(job, None)
        key = self._keys.pop(job, None)
        if key is not None:
            del self._order[bisect.bisect_left(self._order, key)]
        environment = self._environments.pop(job, None)
        if environment is not None:
            self.by_environment[environment].discard(job)
            if not self.by_environment[environment]:
                del self.by_environment[environment]


@dataclass
class Service:
    """A service: what it ran and runs, and what is wanted of it."""

    name: str
    revisions: Dict[int, Revision] = field(default_factory=dict)
    """The latest ones, by number."""
    number: int = 0
    """Of the revision that is wanted."""
    replicas: int = 0
    probes: Probes = field(default_factory=Probes)
    by: str = ""
    """Who said so last."""
    at: float = 0.0
    before: int = 0
    """The revision that was wanted before this one; 0 for none."""
    asleep: bool = False
    """Whether no replica is to run until somebody asks."""

    @property
    def revision(self) -> Revision:
        """Return what is to run."""
        return self.revisions[self.number]


@dataclass
class Scheduled:
    """A schedule, and what has become of it."""

    schedule: Schedule
    paused: bool = False
    done_until: float = 0.0
    """Times up to this one are dealt with, seconds since the epoch."""
    last_job: str = ""
    last_at: float = 0.0
    missed: int = 0
    missed_at: float = 0.0
    skipped: int = 0
    outcome: str = ""
    """What has come of its chain, the last time, in words."""
    outcome_at: float = 0.0


class Pin(NamedTuple):
    """A version that consists of a job."""

    words: str
    """What it is called."""
    data: str
    """Hash of its files, as of a data set; "" for none."""


class Transition(NamedTuple):
    """A job came into another state."""

    seq: int
    """Of the event in the journal."""
    time: float
    """Seconds since the epoch."""
    job: str
    attempt: int
    state: str
    reason_code: str
    """Of an end; "" for other states."""
    place: Optional[int]
    """In the queue, from 1; None where it has none."""


@dataclass
class ChangesPage:
    """A page of what changed."""

    seq: int
    """The sequence number that a reader who took it has reached."""
    jobs: List[JsonTable] = field(default_factory=list)
    """Views as JSON can carry them."""
    large: List[Tuple[str, int, int]] = field(default_factory=list)
    """(job, its sequence number, bytes) of those that are too large for a page."""
    deleted: List[str] = field(default_factory=list)
    transitions: List[Transition] = field(default_factory=list)
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
        self.queue = JobQueue()
        self.active: Set[str] = set()
        self.leases: Dict[str, Lease] = {}
        self.paused: Set[str] = set()
        """Groups of which no job starts; ALL_GROUPS for all."""
        self.acknowledged: Dict[str, Set[str]] = {}
        """The clients that have everything of an ended job, by job."""
        self.clients: Set[str] = set()
        """The clients that ever acknowledged something."""
        self.pending_notices: Set[str] = set()
        """Ended jobs with notices that are not delivered yet."""
        self.disk = 0
        """Bytes that the folders of ended jobs take, as far as it was counted."""
        self.dependents: Dict[str, List[str]] = {}
        """The jobs that wait for a job's end."""
        self.transitions: Deque[Transition] = deque(maxlen=_MOST_TRANSITIONS)
        self.services: Dict[str, Service] = {}
        self.replicas: Dict[str, Set[str]] = {}
        """The jobs of each service that have not ended."""
        self.pausing: Dict[str, float] = {}
        """When the next attempt of replicas may begin that wait for it, seconds since the epoch, by job."""
        self.registry: List[Tuple[int, RegistryEvent]] = []
        """What happened to models, each with its sequence number in the journal."""
        self.registry_known: Set[str] = set()
        """The identities of those events."""
        self.models: Dict[str, Model] = {}
        """The fold of it."""
        self.schedules: Dict[str, Scheduled] = {}
        self.pins: Dict[str, Dict[str, Pin]] = {}
        """The versions that consist of a job, by its id and their identities."""
        self._durations: Dict[str, Deque[float]] = {}
        self._touched: List[Tuple[int, str]] = []

    def changes(self, after: int, room: int, limit: int, transitions: bool = False) -> ChangesPage:
        """Return what changed after a sequence number, oldest first.

        Args:
            after: that number.
            room: bytes at which the page closes; a job that alone has more is only named.
            limit: entries at most.
            transitions: also what jobs went through on the way; it takes a part of the room.
        """
        passed = self._transitions_after(after) if transitions else []
        most = room // 4 // _TRANSITION_BYTES
        last = self.seq if len(passed) <= most else passed[most - 1].seq
        page = self._jobs_until(last, after, room * 3 // 4 if transitions else room, limit)
        page.transitions = [one for one in passed if one.seq <= page.seq]
        return page

    def _transitions_after(self, after: int) -> List[Transition]:
        """Return the transitions behind a sequence number, oldest first; only the latest are known."""
        passed: List[Transition] = []
        for transition in reversed(self.transitions):
            if transition.seq <= after:
                break
            passed.append(transition)
        return passed[::-1]

    def _jobs_until(self, last: int, after: int, room: int, limit: int) -> ChangesPage:
        page = ChangesPage(last)
        start = bisect.bisect_right(self._touched, (after, "\U0010ffff"))
        end = bisect.bisect_right(self._touched, (last, "\U0010ffff"))
        for seq, job in self._touched[start:end]:
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

    def specs_to_come(self) -> Iterator[JsonTable]:
        """Yield the specifications of which jobs are made later: of services as they are wanted, and of schedules."""
        for service in self.services.values():
            yield service.revision.spec
        for one in self.schedules.values():
            yield one.schedule.spec
            if one.schedule.then:
                yield one.schedule.then

    def may_start(self, job: str) -> bool:
        """Return whether nobody wants a waiting job to stay where it is."""
        view = self.jobs[job]
        return not (view.held or self.is_paused(view.spec.group) or job in self.pausing)

    def is_paused(self, group: str) -> bool:
        """Return whether the jobs of a group may not start."""
        return ALL_GROUPS in self.paused or (bool(group) and group in self.paused)

    def usual_duration(self, spec: JobSpec, after: float = 0.0) -> Optional[float]:
        """Return how long jobs like this one took, the median, seconds; None when too few have ended.

        Args:
            spec: the job.
            after: only of those that took longer than this.
        """
        durations = self._durations.get(similarity_key(spec), ())
        if len(durations) < ENOUGH_LIKE_JOBS:
            return None
        longer = [seconds for seconds in durations if seconds > after]
        return statistics.median(longer) if longer else after * 1.1

    def remember_duration(self, view: JobView) -> None:
        """Take in how long a job took, when it has completed."""
        if view.state is JobState.COMPLETED and view.started_at is not None and view.ended_at is not None:
            durations = self._durations.setdefault(similarity_key(view.spec), deque(maxlen=_LIKE_JOBS))
            durations.append(max(0.0, view.ended_at - view.started_at))

    def _last_seq(self, job: str) -> Optional[int]:
        view = self.jobs.get(job)
        return view.seq if view else self.deleted.get(job)


def similarity_key(spec: JobSpec) -> str:
    """Return what jobs have in common that take about as long: project, command without its numbers, GPUs."""
    return _similarity_key(spec.project, spec.gpus, spec.command)


@functools.lru_cache(maxsize=20_000)
def _similarity_key(project: str, gpus: int, command: Tuple[str, ...]) -> str:
    return "\0".join([project, str(gpus), *(_NUMBER.sub("#", word) for word in command)])


def apply(state: HostState, entry: JournalEntry) -> None:
    """Fold one entry of the journal into the state."""
    state.seq = entry.seq
    fold = _FOLDS.get(type(entry.change))
    if fold is not None:
        fold(state, entry, entry.change)


def snapshot_events(state: HostState, now: float) -> Iterable[JournalEntry]:
    """Yield the events that bring an empty state to this one: what a compacted journal begins with.

    Every view keeps the sequence number that it has, so clients' cursors go on; the last event brings the state's own.
    """
    marks: List[Tuple[int, str, Optional[RegistryEvent]]] = [(view.seq, job, None) for job, view in state.jobs.items()]
    marks += [(seq, job, None) for job, seq in state.deleted.items()]
    marks += [(seq, "", event) for seq, event in state.registry]
    for seq, job, event in sorted(marks, key=lambda mark: mark[:2]):
        if event is not None:
            yield JournalEntry(seq, now, events.RegistryChanged(event))
            continue
        change = events.Deleted(job) if job in state.deleted else _viewed(state, state.jobs[job])
        yield JournalEntry(seq, now, change)
    for name, service in state.services.items():
        for revision in service.revisions.values():
            yield JournalEntry(state.seq, now, events.ServiceRevised(name, revision))
        yield JournalEntry(state.seq, now, _wanted(service))
    for name, one in state.schedules.items():
        yield JournalEntry(state.seq, now, events.ScheduleSet(one.schedule))
        if one.missed:
            yield JournalEntry(state.seq, now, events.ScheduleNoted(name, "missed", one.missed_at, one.missed))
        if one.skipped:
            yield JournalEntry(state.seq, now, events.ScheduleNoted(name, "skipped", one.done_until, one.skipped))
        yield JournalEntry(state.seq, now, events.ScheduleRan(name, one.last_job, one.done_until, one.last_at))
        if one.outcome:
            yield JournalEntry(state.seq, now, events.ScheduleTold(name, one.outcome, one.outcome_at))
        if one.paused:
            yield JournalEntry(state.seq, now, events.SchedulePaused(name, True, now))
    for job, pins in state.pins.items():
        for key, pin in pins.items():
            yield JournalEntry(state.seq, now, events.Pinned(job, key, pin.words, pin.data))
    yield JournalEntry(state.seq, now, events.Paused(tuple(sorted(state.paused))))


def submits(state: HostState, now: float) -> Iterable[JournalEntry]:
    """Yield the submits of the jobs that have not ended."""
    for job, view in state.jobs.items():
        if not view.state.is_final:
            yield JournalEntry(view.seq, now, events.Submitted(job, view.spec))


def _wanted(service: Service) -> events.ServiceWanted:
    return events.ServiceWanted(
        service.name,
        service.number,
        service.replicas,
        service.probes,
        service.by,
        service.at,
        service.before,
        service.asleep,
    )


def _viewed(state: HostState, view: JobView) -> events.Viewed:
    job = view.spec.job
    return events.Viewed(
        job,
        view,
        lease=state.leases.get(job),
        unmet=tuple(sorted(state.queue.blocked.get(job, ()))),
        acknowledged=tuple(sorted(state.acknowledged.get(job, ()))),
        untold=job in state.pending_notices,
    )


def _view(state: HostState, entry: JournalEntry, change: events.Viewed) -> None:
    view = change.view
    job = view.spec.job
    state.jobs[job] = view
    _note_replica(state, view)
    if view.state is JobState.QUEUED:
        _enqueue(state, view, set(change.unmet))
    elif view.state in ACTIVE_STATES and change.lease is not None:
        state.active.add(job)
        state.leases[job] = change.lease
    state.remember_duration(view)
    if not view.pruned:
        state.disk += _disk(view)
    if change.acknowledged:
        state.acknowledged[job] = set(change.acknowledged)
        state.clients.update(change.acknowledged)
    if change.untold:
        state.pending_notices.add(job)
    state.touch(job, entry.seq)


def _submitted(state: HostState, entry: JournalEntry, change: events.Submitted) -> None:
    spec, seq = change.spec, entry.seq
    view = JobView(spec, JobState.QUEUED, seq, queued_at=entry.time, priority=spec.priority, rank=float(seq))
    state.jobs[spec.job] = view
    _note_replica(state, view)
    _enqueue(state, view, {job for job in (*spec.after, *spec.after_any) if not _has_ended(state, job)})
    _note_transition(state, entry, view)
    state.touch(spec.job, seq)


def _enqueue(state: HostState, view: JobView, unmet: Set[str]) -> None:
    job = view.spec.job
    for other in unmet:
        state.dependents.setdefault(other, []).append(job)
    if unmet:
        state.queue.blocked[job] = unmet
    else:
        state.queue.add(view)


def _held(state: HostState, entry: JournalEntry, change: events.Held) -> None:
    _update(state, entry, change.job, held=True)


def _released(state: HostState, entry: JournalEntry, change: events.Released) -> None:
    _update(state, entry, change.job, held=False)


def _has_ended(state: HostState, job: str) -> bool:
    return job not in state.jobs or state.jobs[job].state.is_final


def _leased(state: HostState, entry: JournalEntry, change: events.Leased) -> None:
    job, lease = change.job, change.lease
    state.queue.remove(job)
    state.active.add(job)
    state.leases[job] = lease
    state.pausing.pop(job, None)
    begun: Dict[str, Any] = {"state": JobState.PREPARING, "attempt": change.attempt, "gpus": lease.gpus}
    _update(state, entry, job, **begun, held=False, not_before=None)


def _started(state: HostState, entry: JournalEntry, change: events.Started) -> None:
    if state.jobs[change.job].state in ACTIVE_STATES:
        _update(state, entry, change.job, state=JobState.RUNNING, started_at=change.started_at)


def _stop_requested(state: HostState, entry: JournalEntry, change: events.StopRequested) -> None:
    deadline = entry.time + change.grace
    earlier = state.jobs[change.job].stop_deadline
    if earlier is not None:
        deadline = min(deadline, earlier)
    _update(state, entry, change.job, stop_requested_by=change.by, stop_deadline=deadline)


def _ended(state: HostState, entry: JournalEntry, change: events.Ended) -> None:
    job = change.job
    view = _end_attempt(state, entry, job, change.end)
    _note_replica(state, view)
    state.remember_duration(view)
    if change.untold:
        state.pending_notices.add(job)
    for other in state.dependents.pop(job, ()):
        unmet = state.queue.blocked.get(other)
        is_met = view.state is JobState.COMPLETED or job not in state.jobs[other].spec.after
        if unmet is not None and is_met:  # the end of what is not met is an event of its own
            unmet.discard(job)
            if not unmet:
                del state.queue.blocked[other]
                state.queue.add(state.jobs[other])


def _attempt_ended(state: HostState, entry: JournalEntry, change: events.AttemptEnded) -> None:
    """The job waits again, in its old place."""
    view = _end_attempt(state, entry, change.job, change.end)
    past = (*view.attempts, view.past())
    if view.spec.is_replica:
        state.disk -= sum(int(gone.usage.disk or 0) for gone in past[:-MOST_ATTEMPTS])
        past = past[-MOST_ATTEMPTS:]
    waiting = {"state": JobState.QUEUED, "gpus": (), "attempts": past, "streams": {}, "usage": Usage()}
    waiting["not_before"] = change.not_before or None
    _update(state, entry, change.job, **dict.fromkeys(_OF_AN_END), **waiting)
    _note_replica(state, state.jobs[change.job])
    state.queue.add(state.jobs[change.job])
    _note_transition(state, entry, state.jobs[change.job])


def _end_attempt(state: HostState, entry: JournalEntry, job: str, end: AttemptEnd) -> JobView:
    state.queue.remove(job)
    state.active.discard(job)
    state.leases.pop(job, None)
    reason = EndReason(end.reason_code)
    _update(
        state,
        entry,
        job,
        state=STATE_OF_REASON[reason],
        reason_code=reason.value,
        reason=end.reason,
        exit_code=end.exit_code,
        signal=end.signal,
        cause=end.cause,
        started_at=state.jobs[job].started_at if end.started_at is None else end.started_at,
        ended_at=end.ended_at,
        streams=end.streams,
        usage=end.usage,
    )
    state.disk += int(end.usage.disk or 0)
    return state.jobs[job]


def _disk(view: JobView) -> int:
    """Return the bytes that a job's folder takes."""
    return sum(int(usage.disk or 0) for usage in (view.usage, *(past.usage for past in view.attempts)))


_OF_AN_END = ("reason_code", "reason", "exit_code", "signal", "cause", "started_at", "ended_at")
"""Fields of a view that a job which waits again does not have."""


def _moved(state: HostState, entry: JournalEntry, change: events.Moved) -> None:
    job = change.job
    _update(state, entry, job, priority=change.priority, rank=change.rank)
    if job in state.queue and job not in state.queue.blocked:
        state.queue.remove(job)
        state.queue.add(state.jobs[job])


def _note_replica(state: HostState, view: JobView) -> None:
    """Keep what is known of the replicas of services in step with a job."""
    if not view.spec.is_replica:
        return
    if view.state.is_final:
        _forget_replica(state, view)
        return
    state.replicas.setdefault(str(view.spec.service.get("name")), set()).add(view.spec.job)
    if view.not_before is not None:
        state.pausing[view.spec.job] = view.not_before


def _forget_replica(state: HostState, view: JobView) -> None:
    state.replicas.get(str(view.spec.service.get("name")), set()).discard(view.spec.job)
    state.pausing.pop(view.spec.job, None)


def _deleted(state: HostState, entry: JournalEntry, change: events.Deleted) -> None:
    job = change.job
    view = state.jobs.pop(job, None)
    if view is not None and view.spec.is_replica:
        _forget_replica(state, view)
    state.queue.remove(job)  # its end may be missing from a damaged journal
    state.active.discard(job)
    state.leases.pop(job, None)
    if view is not None and not view.pruned:
        state.disk -= _disk(view)
    state.acknowledged.pop(job, None)
    state.pending_notices.discard(job)
    state.deleted[job] = entry.seq
    state.touch(job, entry.seq)


def _pruned(state: HostState, entry: JournalEntry, change: events.Pruned) -> None:
    state.disk -= _disk(state.jobs[change.job])
    _update(state, entry, change.job, pruned=True)


def _annotated(state: HostState, entry: JournalEntry, change: events.Annotated) -> None:
    """Of two values the later one stands, in whatever order they arrive."""
    annotations = dict(state.jobs[change.job].annotations)
    for key, value in change.changes.items():
        if key not in annotations or value[1] >= annotations[key][1]:
            annotations[key] = value
    _update(state, entry, change.job, annotations=annotations)


def _paused(state: HostState, entry: JournalEntry, change: events.Paused) -> None:
    state.paused.update(change.groups)


def _resumed(state: HostState, entry: JournalEntry, change: events.Resumed) -> None:
    state.paused.difference_update(change.groups)


def _acknowledged(state: HostState, entry: JournalEntry, change: events.Acknowledged) -> None:
    """No view changes by that."""
    state.clients.add(change.client)
    for job in change.jobs:
        if job in state.jobs:
            state.acknowledged.setdefault(job, set()).add(change.client)


def _told(state: HostState, entry: JournalEntry, change: events.Notified) -> None:
    state.pending_notices.discard(change.job)


def _revised(state: HostState, entry: JournalEntry, change: events.ServiceRevised) -> None:
    service = state.services.setdefault(change.service, Service(change.service))
    service.revisions[change.revision.number] = change.revision
    service.number = service.number or change.revision.number  # what is wanted of it may have been cut off
    for number in sorted(service.revisions)[:-MOST_REVISIONS]:
        if number != service.number:
            del service.revisions[number]


def _service_wanted(state: HostState, entry: JournalEntry, change: events.ServiceWanted) -> None:
    service = state.services.get(change.service)
    if service is not None and change.number in service.revisions:  # a damaged journal may lack it
        service.number, service.replicas, service.probes = change.number, change.replicas, change.probes
        service.by, service.at, service.before = change.by, change.at, change.before
        service.asleep = change.asleep


def _service_removed(state: HostState, entry: JournalEntry, change: events.ServiceRemoved) -> None:
    state.services.pop(change.service, None)


def _registry_changed(state: HostState, entry: JournalEntry, change: events.RegistryChanged) -> None:
    state.registry.append((entry.seq, change.event))
    state.registry_known.add(change.event.identity)
    models.apply(state.models, change.event)


def _pinned(state: HostState, entry: JournalEntry, change: events.Pinned) -> None:
    pins = state.pins.setdefault(change.job, {})
    if change.words:
        pins[change.key] = Pin(change.words, change.data)
    else:
        pins.pop(change.key, None)
    if not pins:
        del state.pins[change.job]


def _schedule_set(state: HostState, entry: JournalEntry, change: events.ScheduleSet) -> None:
    schedule = change.schedule
    before = state.schedules.get(schedule.name)
    last = (before.last_job, before.last_at) if before else ("", 0.0)
    state.schedules[schedule.name] = Scheduled(schedule, False, schedule.at, *last)
    if before is not None:
        _tell(state.schedules[schedule.name], before.outcome, before.outcome_at)


def _schedule_paused(state: HostState, entry: JournalEntry, change: events.SchedulePaused) -> None:
    one = state.schedules.get(change.name)
    if one is not None:
        one.paused = change.paused
        one.done_until = one.done_until if change.paused else change.at


def _schedule_ran(state: HostState, entry: JournalEntry, change: events.ScheduleRan) -> None:
    one = state.schedules.get(change.name)
    if one is not None:
        one.last_job, one.last_at = change.job, change.at
        one.done_until = change.due


def _schedule_noted(state: HostState, entry: JournalEntry, change: events.ScheduleNoted) -> None:
    one = state.schedules.get(change.name)
    if one is None:
        return
    one.done_until = change.due
    if change.what == "missed":
        one.missed, one.missed_at = one.missed + change.count, change.due
    elif change.what == "skipped":
        one.skipped += change.count


def _schedule_told(state: HostState, entry: JournalEntry, change: events.ScheduleTold) -> None:
    one = state.schedules.get(change.name)
    if one is not None:
        _tell(one, change.words, change.at)


def _tell(one: Scheduled, words: str, at: float) -> None:
    one.outcome, one.outcome_at = words, at


def _schedule_removed(state: HostState, entry: JournalEntry, change: events.ScheduleRemoved) -> None:
    state.schedules.pop(change.name, None)


def _update(host: HostState, entry: JournalEntry, job: str, **changes: Any) -> None:
    # As dataclasses.replace would, in a tenth of its time: that is most of a replay.
    view = object.__new__(JobView)
    view.__dict__.update(host.jobs[job].__dict__, seq=entry.seq, **changes)
    host.jobs[job] = view
    host.touch(job, entry.seq)
    if "state" in changes and view.state is not JobState.QUEUED:
        _note_transition(host, entry, view)


def _note_transition(host: HostState, entry: JournalEntry, view: JobView) -> None:
    job = view.spec.job
    told = (job, view.attempt, view.state.value, view.reason_code or "", host.queue.place(job))
    host.transitions.append(Transition(entry.seq, entry.time, *told))


_FOLDS: Dict[Type[Change], Callable[[HostState, JournalEntry, Any], None]] = {
    events.Viewed: _view,
    events.Submitted: _submitted,
    events.Held: _held,
    events.Released: _released,
    events.Leased: _leased,
    events.Started: _started,
    events.StopRequested: _stop_requested,
    events.AttemptEnded: _attempt_ended,
    events.Ended: _ended,
    events.Moved: _moved,
    events.Deleted: _deleted,
    events.Pruned: _pruned,
    events.Annotated: _annotated,
    events.Paused: _paused,
    events.Resumed: _resumed,
    events.Acknowledged: _acknowledged,
    events.Notified: _told,
    events.ServiceRevised: _revised,
    events.ServiceWanted: _service_wanted,
    events.ServiceRemoved: _service_removed,
    events.RegistryChanged: _registry_changed,
    events.Pinned: _pinned,
    events.ScheduleSet: _schedule_set,
    events.SchedulePaused: _schedule_paused,
    events.ScheduleRan: _schedule_ran,
    events.ScheduleNoted: _schedule_noted,
    events.ScheduleTold: _schedule_told,
    events.ScheduleRemoved: _schedule_removed,
}
