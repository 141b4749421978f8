"""What a host has, and what of it is free. Pure."""

from __future__ import annotations

from typing import List, Optional

from remote_agent.protocol.checks import LARGEST, flag, listing, number, optional, sieve, text, whole
from remote_agent.protocol.wire import Message, TolerantMessage, field, message, nested

_AMOUNT = optional(number())
_WORDS = text(10_000)


@message
class GpuProcess(TolerantMessage):
    """A process that uses a GPU."""

    uuid: str = field(text(200), "")
    pid: Optional[int] = field(whole(0, 2**31), None)
    memory: Optional[float] = field(_AMOUNT, None)
    """MiB."""
    uid: Optional[int] = field(optional(whole(0, 2**32)), None)
    user: str = field(text(200), "")
    since: str = field(text(100), "")
    job: str = field(text(64), "")
    """Of this agent; "" for none."""


@message
class HostGpu(Message):
    """A GPU of a host, and who has it."""

    index: int = field(whole(0, 10_000))
    uuid: str = field(text(200))
    name: str = field(text(200))
    memory_total: Optional[float] = field(_AMOUNT, None)
    """MiB."""
    memory_used: Optional[float] = field(_AMOUNT, None)
    """MiB."""
    utilization: Optional[float] = field(_AMOUNT, None)
    """Percent."""
    temperature: Optional[float] = field(_AMOUNT, None)
    """Degrees Celsius."""
    power: Optional[float] = field(_AMOUNT, None)
    """Watts."""
    vendor: str = field(text(50), "nvidia")
    job: Optional[str] = field(optional(text(64)), None)
    """The first job that has leased it."""
    jobs: List[str] = field(listing(text(64), 1000), [])
    busy: bool = field(flag, False)
    """Whether somebody else holds it."""
    held: Optional[str] = field(optional(_WORDS), None)
    """Why it may not be leased, in words."""
    sick: str = field(_WORDS, "")
    """Why it is not used at all, in words."""
    processes: List[GpuProcess] = field(sieve(nested(GpuProcess), 1000), [])


@message
class Resources(TolerantMessage):
    """What a host has, and what of it is free."""

    cpus: Optional[float] = field(_AMOUNT, 0)
    cpus_free: Optional[float] = field(optional(number(-1_000_000)), 0)
    memory: Optional[float] = field(_AMOUNT, 0)
    """Bytes, as the following."""
    memory_free: Optional[float] = field(optional(number(-float(LARGEST))), 0)
    disk_free: Optional[float] = field(_AMOUNT, 0)
    disk_total: Optional[float] = field(_AMOUNT, 0)
    disk_jobs: Optional[float] = field(optional(number(-float(LARGEST))), 0)
    """Of the folders of ended jobs."""
    queued: Optional[float] = field(_AMOUNT, 0)
    paused: List[str] = field(sieve(text(1000), 10_000), [])
    gpus: List[HostGpu] = field(sieve(nested(HostGpu), 1000), [])

    @property
    def free_gpus(self) -> int:
        """How many GPUs are held neither by our jobs nor by anybody else, and may be used."""
        return sum(1 for gpu in self.gpus if not (gpu.job or gpu.busy or gpu.held or gpu.sick))
