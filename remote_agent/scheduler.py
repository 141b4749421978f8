"""Which queued jobs start now, on which GPUs, and why the others wait. Pure: the clock and all facts are arguments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, List, Set, Tuple

from remote_agent.gpus import Gpu
from remote_agent.jobs import JobSpec, Lease
from remote_agent.state import HostState


@dataclass(frozen=True)
class Capacity:
    """What a host has."""

    cpus: int
    """CPU slots."""
    gpus: Tuple[Gpu, ...] = ()
    max_jobs: int = 0
    """Most jobs at once; 0 for no bound but the slots."""

    def refusal(self, spec: JobSpec) -> str:
        """Return why this host can never run a job, or an empty string when it can."""
        if spec.cpus > self.cpus:
            return f"the job asks for {spec.cpus} CPUs; this host has {self.cpus}"
        if spec.gpus > len(self.gpus):
            has = ", ".join(sorted({gpu.name for gpu in self.gpus})) or "none"
            return f"the job asks for {spec.gpus} GPUs; this host has {len(self.gpus)} ({has})"
        return ""


@dataclass
class Plan:
    """What to do now."""

    starts: List[Tuple[str, Lease]] = field(default_factory=list)
    waits: Dict[str, str] = field(default_factory=dict)
    """Each waiting job's reason in words."""


def plan(state: HostState, capacity: Capacity, now: float) -> Plan:
    """Decide, first come first served: nobody passes a waiting job on a resource that both of them need.

    Args:
        state: jobs, queue and leases.
        capacity: what the host has, GPUs as last seen.
        now: seconds since the epoch.
    """
    decided = Plan()
    free = _Free(state, capacity)
    for position, job in enumerate(state.queue):
        if free.cpus <= 0 or not free.slots:
            _all_wait(decided, list(state.queue)[position:], free)
            break
        spec = state.jobs[job].spec
        reason = free.why_not(spec)
        if reason:
            decided.waits[job] = reason
            free.reserve(spec)
        else:
            decided.starts.append((job, free.take(spec)))
    return decided


def _all_wait(decided: Plan, jobs: List[str], free: "_Free") -> None:
    reason = free.why_no_slot()
    for job in jobs:
        decided.waits[job] = reason


class _Free:
    """What is left while a plan is being made."""

    def __init__(self, state: HostState, capacity: Capacity) -> None:
        leased: Set[str] = {uuid for lease in state.leases.values() for uuid in lease.gpus}
        self.capacity = capacity
        self.cpus = capacity.cpus - sum(lease.cpus for lease in state.leases.values())
        self.slots = not capacity.max_jobs or capacity.max_jobs > len(state.leases)
        self._jobs = len(state.leases)
        self._leased_gpus = len(leased)
        self.gpus = [gpu for gpu in capacity.gpus if gpu.uuid not in leased and not gpu.looks_busy]
        self._foreign = [gpu for gpu in capacity.gpus if gpu.uuid not in leased and gpu.looks_busy]

    def why_no_slot(self) -> str:
        if not self.slots:
            return f"waits for a job to end: this host runs at most {self.capacity.max_jobs} at once"
        return f"waits for a CPU slot: all {self.capacity.cpus} are in use"

    def why_not(self, spec: JobSpec) -> str:
        if self.capacity.refusal(spec):
            return f"cannot start: {self.capacity.refusal(spec)}"
        if spec.cpus > self.cpus:
            return f"waits for {spec.cpus} CPU slots: {max(self.cpus, 0)} of {self.capacity.cpus} are free"
        if spec.gpus > len(self.gpus):
            held = f"{self._leased_gpus} leased to jobs"
            others = f", {len(self._foreign)} used by others" if self._foreign else ""
            return f"waits for {_count(spec.gpus, 'GPU')}: {len(self.gpus)} free, {held}{others}"
        return ""

    def reserve(self, spec: JobSpec) -> None:
        """Keep what a waiting job needs from the ones behind it."""
        if self.capacity.refusal(spec):
            return
        if spec.cpus > self.cpus:
            self.cpus = 0
        if spec.gpus:
            self.gpus = []

    def take(self, spec: JobSpec) -> Lease:
        taken, self.gpus = self.gpus[: spec.gpus], self.gpus[spec.gpus :]
        self.cpus -= spec.cpus
        self._jobs += 1
        self._leased_gpus += len(taken)
        self.slots = not self.capacity.max_jobs or self.capacity.max_jobs > self._jobs
        return Lease(spec.cpus, tuple(gpu.uuid for gpu in taken), tuple(gpu.index for gpu in taken))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
