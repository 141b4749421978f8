"""Which GPUs may be leased: what was seen of each, over time. Pure: the clock is an argument.

A GPU is free when its memory, its compute processes, other agents' claims and a settle time agree. One that we
leased is looked at again when its job has ended: memory that does not fall back quarantines it. What others
hold is reported with their names. While a job of ours holds a GPU its use is not questioned: it may be warming up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, List, Mapping, Optional, Tuple

from remote_agent.gpu.inventory import ComputeProcess, Gpu, size_words

SETTLE_SECONDS = 10.0
"""How long a GPU must look free after others have used it."""
CLEAR_SECONDS = 60.0
"""How long the memory of an ended job may take to fall back."""


@dataclass(frozen=True)
class GpuObservation:
    """One look at all GPUs."""

    began: float
    """Seconds on a monotonic clock."""
    gpus: Tuple[Gpu, ...] = ()
    processes: Tuple[ComputeProcess, ...] = ()
    claims: Mapping[str, str] = field(default_factory=dict)
    """Who else says they have a GPU, in words, by UUID."""
    sick: Mapping[str, str] = field(default_factory=dict)
    """GPUs that do not answer, and since when, in words, by UUID."""


@dataclass
class _Past:
    """What is remembered of one GPU."""

    busy_until: Optional[float] = None
    """When it was last seen in use by others."""
    released_at: Optional[float] = None
    """When our lease ended, until its memory has fallen back."""
    released_by: str = ""
    is_quarantined: bool = False


class Occupancy:
    """The memory of looks and leases."""

    def __init__(self) -> None:
        self.look = GpuObservation(0.0)
        self._past: Dict[str, _Past] = {}
        self._leased: Dict[str, str] = {}

    def take(self, look: GpuObservation) -> None:
        """Take in a look."""
        self.look = look
        for gpu in look.gpus:
            past = self._of(gpu.uuid)
            if past.released_at is not None and look.began > past.released_at and not self._is_in_use(gpu):
                past.released_at, past.is_quarantined = None, False
            if gpu.uuid not in self._leased and past.released_at is None and self._is_in_use(gpu):
                past.busy_until = look.began

    def lease(self, leased: Mapping[str, str], now: float) -> None:
        """Take in which GPUs are leased now, and to which job; what is no longer leased was released."""
        for uuid, job in self._leased.items():
            if uuid not in leased:
                past = self._of(uuid)
                past.released_at, past.released_by = now, job
        for uuid in leased:
            self._past[uuid] = _Past()
        self._leased = dict(leased)

    def release_quarantine(self, uuid: str) -> bool:
        """End a quarantine, because the user says so; say whether there was one."""
        past = self._of(uuid)
        was = past.is_quarantined
        if was:
            past.released_at, past.is_quarantined = None, False
        return was

    def awaits_look(self, now: float) -> bool:
        """Return whether a GPU was released a moment ago, so that a fresh look would tell whether it is free."""
        released = [past.released_at for past in self._past.values() if past.released_at is not None]
        return any(now - moment < CLEAR_SECONDS for moment in released)

    def held(self, now: float) -> Dict[str, str]:
        """Return why each GPU that may not be leased may not, in words, by UUID; ours are not in it.

        Args:
            now: seconds on the clock of the looks.
        """
        reasons = {}
        for gpu in self.look.gpus:
            if gpu.uuid not in self._leased:
                words = self._why(gpu, now)
                if words:
                    reasons[gpu.uuid] = words
        return reasons

    def quarantined(self) -> List[str]:
        """Return the UUIDs of the GPUs in quarantine."""
        return [uuid for uuid, past in self._past.items() if past.is_quarantined]

    def _why(self, gpu: Gpu, now: float) -> str:
        past = self._of(gpu.uuid)
        if gpu.uuid in self.look.sick:
            return self.look.sick[gpu.uuid]
        if past.released_at is not None:
            return self._why_not_clear(gpu, past, now)
        holders = self._holders(gpu.uuid)
        if holders:
            return "held by " + "; ".join(map(_named, holders))
        if gpu.looks_busy:
            return f"held by a process that cannot be seen ({size_words(gpu.memory_used)})"
        if gpu.uuid in self.look.claims:
            return f"claimed by {self.look.claims[gpu.uuid]}"
        if past.busy_until is not None:
            if now - past.busy_until < SETTLE_SECONDS:
                return f"used by others until {max(0.0, now - past.busy_until):.0f} s ago; it has to stay free a while"
            past.busy_until = None
        return ""

    def _why_not_clear(self, gpu: Gpu, past: _Past, now: float) -> str:
        assert past.released_at is not None
        if self.look.began <= past.released_at:
            return f"just released by job {past.released_by[:6]}; its memory is being looked at"
        held = size_words(gpu.memory_used)
        if now - past.released_at < CLEAR_SECONDS:
            return f"job {past.released_by[:6]} has ended, but {held} of it are still in use"
        past.is_quarantined = True
        return f"in quarantine: {held} are still in use, {CLEAR_SECONDS:.0f} s after job {past.released_by[:6]} ended"

    def _is_in_use(self, gpu: Gpu) -> bool:
        return gpu.looks_busy or bool(self._holders(gpu.uuid)) or gpu.uuid in self.look.claims

    def _holders(self, uuid: str) -> List[ComputeProcess]:
        return [process for process in self.look.processes if process.uuid == uuid]

    def _of(self, uuid: str) -> _Past:
        return self._past.setdefault(uuid, _Past())


def _named(process: ComputeProcess) -> str:
    """Return whose process it is, in words."""
    facts = [f"pid {process.pid}", size_words(process.memory)]
    if process.since:
        facts.append(f"since {process.since}")
    if process.job:
        return f"job {process.job[:6]}, which did not lease it ({', '.join(facts)})"
    who = f"uid {process.uid}" if process.uid is not None else "unknown uid"
    return f"{'user ' + process.user if process.user else 'another user'} ({', '.join([who, *facts])})"
