"""Which queued jobs start now, on which GPUs, and why the others wait. Pure: the clock and all facts are arguments.

The order is priority, then first come. The first job that cannot start has a reservation: those behind it may start
when they leave it what it needs at the moment when it can start, or end before that moment (EASY backfill: Lifka,
"The ANL/IBM SP scheduling system", 1995). A job that waits for what others than our jobs hold reserves nothing:
nobody knows when they will go. The same holds for what services hold: they stay until somebody stops them.
"""

from __future__ import annotations

import heapq
import math
import statistics
from collections import Counter
from dataclasses import dataclass, field
from typing import Dict, Iterable, List, Mapping, Optional, Set, Tuple

from remote_agent.core.state import ALL_GROUPS, HostState, similarity_key
from remote_agent.gpu.inventory import Gpu, size_words
from remote_agent.protocol.errors import Conflict
from remote_agent.protocol.jobs import JobSpec, JobView
from remote_agent.protocol.lease import Lease

HELD = (
    "held: the journal was damaged, and a stop or delete of this job may be among what is missing;"
    " foundations resume starts it"
)
_MOST_ESTIMATES = 500
"""Most waiting jobs to estimate."""


@dataclass(frozen=True)
class Capacity:
    """What a host has."""

    cpus: int
    """CPU slots."""
    gpus: Tuple[Gpu, ...] = ()
    max_jobs: int = 0
    """Most jobs at once; 0 for no bound but the slots."""
    ram: int = 0
    """Bytes; 0 when it is not known."""
    held: Mapping[str, str] = field(default_factory=dict)
    """GPUs that may not be leased now, and why, in words, by UUID."""
    gpu_problem: str = ""
    """Why GPUs are not known, in words."""
    environments: Mapping[str, str] = field(default_factory=dict)
    """Environments that are not there yet, and why, in words, by hash: their jobs start later, and reserve nothing."""

    def refusal(self, spec: JobSpec) -> str:
        """Return why this host can never run a job, or an empty string when it can."""
        if spec.cpus > self.cpus:
            return f"the job asks for {spec.cpus} CPUs; this host has {self.cpus}"
        if self.ram and spec.ram > self.ram:
            return f"the job asks for {_bytes(spec.ram)} of memory; this host has {_bytes(self.ram)}"
        has = ", ".join(sorted({gpu.name for gpu in self.gpus})) or "none"
        if spec.gpus > len(self.gpus):
            why = f"; {self.gpu_problem}" if self.gpu_problem else ""
            return f"the job asks for {_count(spec.gpus, 'GPU')}; this host has {len(self.gpus)} ({has}){why}"
        large = [gpu for gpu in self.gpus if (gpu.memory_total or 0) >= spec.gpu_memory]
        if spec.gpus > len(large):
            return (
                f"the job asks for {size_words(spec.gpu_memory)} on {_count(spec.gpus, 'GPU')};"
                f" this host has {len(large)} GPUs of that size ({has})"
            )
        return ""


@dataclass
class Plan:
    """What to do now."""

    starts: List[Tuple[str, Lease]] = field(default_factory=list)
    reserved: str = ""
    """The job that others may not delay; empty when there is none."""


@dataclass(frozen=True)
class Wait:
    """Why a job waits."""

    words: str
    starts_at: Optional[float] = None
    """When it is expected to start, seconds since the epoch; None when it cannot be estimated."""


def plan(state: HostState, capacity: Capacity, now: float) -> Plan:
    """Decide what starts.

    Args:
        state: jobs, queue and leases.
        capacity: what the host has, GPUs as last seen.
        now: seconds since the epoch.
    """
    decided = Plan()
    room = _FreeResources(capacity, state.leases.values())
    reservation: Optional[_Reservation] = None
    refused: Set[object] = set()
    """Kinds of jobs that would delay the first one: thousands may be of a kind."""
    hopeless: Set[Tuple[int, int, int, int]] = set()
    for job in state.queue:
        if room.is_full:
            break
        spec = state.jobs[job].spec
        shape = _shape(spec)
        if shape in hopeless or not state.may_start(job) or spec.environment_hash in capacity.environments:
            continue
        kind = (shape, spec.time_limit, similarity_key(spec)) if reservation else None
        if kind in refused:
            continue
        chosen = room.fit(spec)
        if chosen is None:
            hopeless.add(shape)
            if reservation is None:
                reservation = _reserve(state, capacity, decided.starts, spec, now)
                decided.reserved = job if reservation else ""
            continue
        if reservation is not None:
            chosen = reservation.admit(state, spec, chosen, room.free_gpus(spec), now)
            refused.update([kind] if chosen is None else [])
        if chosen is not None:
            lease = _lease(spec, chosen)
            room.take(lease)
            decided.starts.append((job, lease))
    return decided


def explain(
    state: HostState, capacity: Capacity, now: float, told_ends: Optional[Mapping[str, float]] = None
) -> Dict[str, Wait]:
    """Return why each waiting job waits: it could be started by nobody, as ``plan`` has just been carried out.

    Args:
        state: jobs, queue and leases.
        capacity: what the host has, GPUs as last seen.
        now: seconds since the epoch.
        told_ends: when running jobs say that they end, seconds since the epoch, by job. Estimates heed them; what
            starts does not depend on what jobs say.
    """
    room = _FreeResources(capacity, state.leases.values())
    reserved = plan(state, capacity, now).reserved
    estimates = _estimates(state, capacity, now, told_ends or {})
    words_of: Dict[Tuple[int, int, int, int], str] = {}
    waits = {}
    for job in state.queue:
        spec = state.jobs[job].spec
        shape = _shape(spec)
        if shape not in words_of:
            words = room.why_not(spec)
            words_of[shape] = words + (_held_by_services(state, capacity, spec) if words else "")
        words = words_of[shape]
        if job in state.pausing:
            words = "waits a while before it begins again"
        elif state.jobs[job].held:
            words = HELD
        elif state.is_paused(spec.group):
            words = "paused" if ALL_GROUPS not in state.paused else "paused: this host starts no jobs"
        elif spec.environment_hash in capacity.environments:
            words = capacity.environments[spec.environment_hash]
        elif not words:
            first = reserved[:6] if reserved and reserved != job else ""
            words = f"waits behind job {first}, which would be delayed" if first else "is about to start"
        waits[job] = Wait(words, estimates.get(job))
    for job, others in state.queue.blocked.items():
        some = ", ".join(f"{other[:6]}…" if len(other) > 6 else other for other in sorted(others)[:3])
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        waits[job] = Wait(f"waits for {'job' if len(others) == 1 else 'jobs'} {some}{more}")
    return waits


def _held_by_services(state: HostState, capacity: Capacity, spec: JobSpec) -> str:
    """Return which services hold what a job waits for, in words; empty when the end of other jobs would do."""
    services = {job: lease for job, lease in state.leases.items() if state.jobs[job].spec.is_replica}
    fits_alone = _FreeResources(capacity, ()).fit(spec) is not None
    if not services or not fits_alone or _FreeResources(capacity, services.values()).fit(spec) is not None:
        return ""
    holders = {job for job, lease in services.items() if lease.gpus or not spec.gpus}
    names = sorted({str(state.jobs[job].spec.service.get("name")) for job in holders})
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"; held by {'service' if len(names) == 1 else 'services'} {', '.join(names[:3])}{more}"


def place(state: HostState, job: str, where: str, other: str) -> Tuple[int, float]:
    """Return the priority and the rank of a place in the queue.

    Args:
        state: jobs and queue.
        job: the one that is to be put there.
        where: "first", "last", "before" or "after".
        other: for "before" and "after", of which waiting job.
    Raises:
        Conflict: that job does not wait.
    """
    others = [view for view in map(state.jobs.__getitem__, state.queue) if view.spec.job != job]
    if not others:
        return state.jobs[job].priority, state.jobs[job].rank
    if where in ("first", "last"):
        end = others[0 if where == "first" else -1]
        return end.priority, end.rank + (-1.0 if where == "first" else 1.0)
    at = next((n for n, view in enumerate(others) if view.spec.job == other), None)
    if at is None:
        raise Conflict(f"job {other} does not wait for its turn")
    beside = others[at]
    step = at - 1 if where == "before" else at + 1
    neighbour = others[step] if 0 <= step < len(others) else None
    if neighbour is not None and neighbour.priority == beside.priority:
        return beside.priority, (beside.rank + neighbour.rank) / 2
    return beside.priority, beside.rank + (-1.0 if where == "before" else 1.0)


def _shape(spec: JobSpec) -> Tuple[int, int, int, int]:
    return spec.cpus, spec.gpus, spec.gpu_memory, spec.ram


def _lease(spec: JobSpec, gpus: List[Gpu]) -> Lease:
    return Lease(
        cpus=spec.cpus,
        gpus=tuple(gpu.uuid for gpu in gpus),
        gpu_indices=tuple(gpu.index for gpu in gpus),
        gpu_memory=spec.gpu_memory,
        ram=spec.ram,
        vendor=gpus[0].vendor if gpus else "nvidia",
    )


class _FreeResources:
    """What is left of a host beside some leases."""

    def __init__(self, capacity: Capacity, leases: Iterable[Lease]) -> None:
        self._capacity = capacity
        self._cpus = capacity.cpus
        self._ram = capacity.ram
        self._jobs = 0
        self._whole: Dict[str, int] = {}
        """Leases of a whole GPU, by UUID."""
        self._shared: Dict[str, List[int]] = {}
        """MiB of the leases that share a GPU, by UUID."""
        for lease in leases:
            self.take(lease)

    @property
    def is_full(self) -> bool:
        """Whether not even the smallest job fits."""
        return self._cpus <= 0 or self._no_slot

    @property
    def _no_slot(self) -> bool:
        return 0 < self._capacity.max_jobs <= self._jobs

    def take(self, lease: Lease) -> None:
        self._count(lease, 1)

    def give_back(self, lease: Lease) -> None:
        self._count(lease, -1)

    def _count(self, lease: Lease, sign: int) -> None:
        self._cpus -= sign * lease.cpus
        self._ram -= sign * lease.ram
        self._jobs += sign
        for uuid in lease.gpus:
            if not lease.gpu_memory:
                self._whole[uuid] = self._whole.get(uuid, 0) + sign
            elif sign > 0:
                self._shared.setdefault(uuid, []).append(lease.gpu_memory)
            else:
                self._shared[uuid].remove(lease.gpu_memory)

    def fit(self, spec: JobSpec, among: Optional[List[str]] = None) -> Optional[List[Gpu]]:
        """Return the GPUs that a job would get, or None when it does not fit; ``among`` bounds which it may get."""
        if spec.cpus > self._cpus or self._no_slot or self._lacks_ram(spec):
            return None
        gpus = [gpu for gpu in self.free_gpus(spec) if among is None or gpu.uuid in among]
        return gpus[: spec.gpus] if len(gpus) >= spec.gpus else None

    def _lacks_ram(self, spec: JobSpec) -> bool:
        return bool(self._capacity.ram) and spec.ram > self._ram

    def free_gpus(self, spec: JobSpec) -> List[Gpu]:
        """Return the GPUs that a job could have, the best first: shares fill the fullest GPU that has room."""
        if not spec.gpus:
            return []
        usable = [gpu for gpu in self._capacity.gpus if self._may_use(gpu, spec.gpu_memory)]
        return sorted(usable, key=lambda gpu: self._left(gpu)) if spec.gpu_memory else usable

    def _may_use(self, gpu: Gpu, memory: int) -> bool:
        if self._whole.get(gpu.uuid):
            return False
        sharers = self._shared.get(gpu.uuid)
        if not sharers and gpu.uuid in self._capacity.held:
            return False
        return self._left(gpu) >= memory if memory else not sharers

    def _left(self, gpu: Gpu) -> int:
        return (gpu.memory_total or 0) - sum(self._shared.get(gpu.uuid, ()))

    def why_not(self, spec: JobSpec) -> str:
        """Return what is lacking for a job, in words; empty when nothing is."""
        refusal = self._capacity.refusal(spec)
        if refusal:
            return f"cannot start: {refusal}"
        if self._no_slot:
            return f"waits for a job to end: this host runs at most {self._capacity.max_jobs} at once"
        if self._cpus <= 0:
            return f"waits for a CPU slot: all {self._capacity.cpus} are in use"
        if spec.cpus > self._cpus:
            return f"waits for {spec.cpus} CPU slots: {self._cpus} of {self._capacity.cpus} are free"
        if self._lacks_ram(spec):
            return f"waits for {_bytes(spec.ram)} of memory: {_bytes(max(self._ram, 0))} are not planned for others"
        free = len(self.free_gpus(spec))
        return self._why_no_gpus(spec, free) if spec.gpus > free else ""

    def _why_no_gpus(self, spec: JobSpec, free: int) -> str:
        ours = sum(1 for gpu in self._capacity.gpus if self._is_leased(gpu)) - (free if spec.gpu_memory else 0)
        share = f"{size_words(spec.gpu_memory)} on " if spec.gpu_memory else ""
        parts = [f"{free} free"]
        if ours > 0:
            parts.append(f"{ours} leased to jobs")
        held = [
            (gpu, self._capacity.held[gpu.uuid])
            for gpu in self._capacity.gpus
            if gpu.uuid in self._capacity.held and not self._is_leased(gpu)
        ]
        parts += [f"GPU {gpu.index} {words}" for gpu, words in held if words[:4] != "held"]
        by_words = Counter(words for _, words in held if words[:4] == "held")
        parts += [f"{count} {words}" for words, count in by_words.items()]
        return f"waits for {share}{_count(spec.gpus, 'GPU')}: {', '.join(parts)}"

    def _is_leased(self, gpu: Gpu) -> bool:
        return bool(self._whole.get(gpu.uuid) or self._shared.get(gpu.uuid))


class _Reservation:
    """What the first job that waits will need, and when."""

    def __init__(self, at: float, room: _FreeResources) -> None:
        self._at = at
        self._room = room
        """What is left beside that job, at the moment when it can start."""

    def admit(
        self, state: HostState, spec: JobSpec, gpus: List[Gpu], free: List[Gpu], now: float
    ) -> Optional[List[Gpu]]:
        """Return the GPUs on which a job may start now, and count it in; None when it would delay the first one.

        Args:
            state: knows how long like jobs took.
            spec: the job.
            gpus: what it would get if it ends in time.
            free: all that it could have now.
            now: seconds since the epoch.
        """
        usual = math.inf if spec.is_replica else spec.time_limit or state.usual_duration(spec) or math.inf
        if now + usual <= self._at < math.inf:
            return gpus
        beside = self._room.fit(spec, [gpu.uuid for gpu in free])
        if beside is not None:
            self._room.take(_lease(spec, beside))
        return beside


def _reserve(
    state: HostState, capacity: Capacity, starts: List[Tuple[str, Lease]], spec: JobSpec, now: float
) -> Optional[_Reservation]:
    """Return the reservation of a job; None when the end of all our jobs but services would not let it start."""
    leases = {**state.leases, **dict(starts)}
    room = _FreeResources(capacity, leases.values())
    ending = [job for job in leases if not state.jobs[job].spec.is_replica]
    for at, job in sorted((_expected_end(state, job, now), job) for job in ending):
        room.give_back(leases[job])
        chosen = room.fit(spec)
        if chosen is not None:
            room.take(_lease(spec, chosen))
            return _Reservation(at, room)
    return None


def _expected_end(state: HostState, job: str, now: float, told: float = 0.0) -> float:
    """Return when a job that holds a lease is expected to end; infinity when nothing tells.

    Args:
        state: knows how long like jobs took.
        job: its id.
        now: seconds since the epoch.
        told: when it, or one like it, says that it ends; a moment that has passed says nothing.
    """
    view = state.jobs[job]
    if view.spec.is_replica:
        return math.inf
    begun = _begun(view, now)
    limit = view.spec.time_limit or math.inf
    if told > now:
        return min(told, begun + limit)
    usual = state.usual_duration(view.spec, after=max(0.0, now - begun))
    return begun + min(limit, usual if usual is not None else math.inf)


def _begun(view: JobView, now: float) -> float:
    return view.started_at if view.started_at is not None else now


def _told_durations(state: HostState, now: float, told_ends: Mapping[str, float]) -> Dict[str, float]:
    """Return how long jobs take of which one runs that says so, the median of such, seconds, by what they are like."""
    told: Dict[str, List[float]] = {}
    for job in state.leases.keys() & told_ends.keys():
        begun = state.jobs[job].started_at
        if begun is not None and told_ends[job] > now:
            told.setdefault(similarity_key(state.jobs[job].spec), []).append(told_ends[job] - begun)
    return {kind: statistics.median(durations) for kind, durations in told.items()}


def _told_end(
    state: HostState, job: str, now: float, told_ends: Mapping[str, float], told_durations: Mapping[str, float]
) -> float:
    """Return when a job says that it ends; where it says nothing, when it would if it took as long as those like it."""
    told = told_ends.get(job, 0.0)
    view = state.jobs[job]
    return told if told > now else _begun(view, now) + told_durations.get(similarity_key(view.spec), 0.0)


def _estimates(state: HostState, capacity: Capacity, now: float, told_ends: Mapping[str, float]) -> Dict[str, float]:
    """Return when waiting jobs are expected to start: the queue simulated, each job taking its usual time.

    What those that run say of how long they take counts more than how long earlier ones took: they may have more steps.
    A job of which too little is known ends the simulation: nothing behind it can be estimated.
    """
    told_durations = _told_durations(state, now, told_ends)
    room = _FreeResources(capacity, state.leases.values())
    ends = [
        (_expected_end(state, job, now, _told_end(state, job, now, told_ends, told_durations)), number, lease)
        for number, (job, lease) in enumerate(state.leases.items())
    ]
    heapq.heapify(ends)
    estimates: Dict[str, float] = {}
    clock = now
    for number, job in enumerate(state.queue):
        spec = state.jobs[job].spec
        if not state.may_start(job) or spec.environment_hash in capacity.environments:
            continue
        chosen = room.fit(spec)
        while chosen is None and ends and ends[0][0] < math.inf:
            clock, _, lease = heapq.heappop(ends)
            room.give_back(lease)
            chosen = room.fit(spec)
        if chosen is None or number >= _MOST_ESTIMATES:
            break
        estimates[job] = max(clock, now)
        told = told_durations.get(similarity_key(spec))
        usual = math.inf if spec.is_replica else told or state.usual_duration(spec)
        if usual is None:
            break
        usual = min(usual, spec.time_limit or math.inf)
        lease = _lease(spec, chosen)
        room.take(lease)
        heapq.heappush(ends, (max(clock, now) + usual, len(state.leases) + number, lease))
    return estimates


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _bytes(count: int) -> str:
    return f"{count / (1 << 30):.0f} GB" if count >= 1 << 30 else f"{count / (1 << 20):.0f} MB"
