"""What the host and its jobs use, over time: a ring for the host, a file for each attempt.

A line is a JSON array. Host: [time, CPU load, RAM used, disk free, [[UUID, utilisation, MiB, degrees, watts, holders],
...]], where a holder is a job's id, or [uid, pid] of a process that is no job's;
job: [time, CPUs used, RAM, GPU utilisation, GPU MiB, log]. Times are seconds since the epoch, RAM, disk and log bytes,
load and CPUs counts of CPUs, utilisation percent (of a job's GPUs the mean). The host's ring is one stream: its
segments are named by the offset at which they begin, and the oldest go.
"""

from __future__ import annotations

import json
import os
import time
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from remote_agent.backends import Attempt
from remote_agent.gpu.inventory import Gpu
from remote_agent.storage import files
from remote_agent.storage.paths import Paths
from remote_agent.system import processes

INTERVAL = 10.0
"""Seconds between two samples, while a job runs or a client watches."""
SEGMENT_BYTES = 1 << 20
SEGMENTS = 16
_MOST_HOLDERS = 8
"""Holders of a GPU that are named in a sample."""


class Ring:
    """The host's samples."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        os.makedirs(folder, 0o700, exist_ok=True)

    @property
    def end(self) -> int:
        """Offset behind the last byte."""
        base = self._bases()[-1:]
        return base[0] + files.size(self._path(base[0])) if base else 0

    def append(self, line: bytes) -> None:
        """Put a line at the end; the oldest segment goes when there are too many."""
        bases = self._bases()
        base = bases[-1] if bases else 0
        if files.size(self._path(base)) >= SEGMENT_BYTES:
            base += files.size(self._path(base))
            for old in [*bases, base][:-SEGMENTS]:
                os.unlink(self._path(old))
        with open(self._path(base), "ab") as file:
            file.write(line)

    def read(self, offset: int, limit: int) -> Tuple[int, bytes]:
        """Return (where the page begins, a page): later than asked for where that part is gone."""
        for base in self._bases():
            path = self._path(base)
            if offset < base + files.size(path):
                start = max(offset, base)
                with open(path, "rb") as file:
                    file.seek(start - base)
                    return start, file.read(limit)
        return self.end, b""

    def _bases(self) -> List[int]:
        names = [
            name[5:-6] for name in os.listdir(self._folder) if name.startswith("host-") and name.endswith(".jsonl")
        ]
        return sorted(int(name) for name in names if name.isdigit())

    def _path(self, base: int) -> str:
        return os.path.join(self._folder, f"host-{base}.jsonl")


class Sampler:
    """Takes the samples."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self.ring = Ring(paths.samples)
        self.peak_gpu_memory: Dict[Attempt, int] = {}
        """Most MiB that a running attempt's GPUs were seen to hold."""
        self._due = 0.0
        self._cpu: Dict[Attempt, Tuple[float, float]] = {}

    def due(self) -> float:
        """Return in how many seconds the next samples are due."""
        return max(0.0, self._due - time.monotonic())

    def sample(
        self,
        supervisors: Mapping[Attempt, int],
        leased: Mapping[str, Sequence[str]],
        gpus: Sequence[Gpu],
        strangers: Mapping[str, Sequence[Tuple[int, int]]],
    ) -> None:
        """Take a sample of the host and of each running attempt; a full disk keeps none.

        Args:
            supervisors: pid of each running attempt's supervisor.
            leased: the UUIDs of the GPUs of each job.
            gpus: as last seen.
            strangers: (uid, pid) of the processes on GPUs that no job has leased, by UUID.
        """
        self._due = time.monotonic() + INTERVAL
        moment = round(time.time(), 1)
        try:
            self.ring.append(_line(_host(moment, self._paths.root, gpus, _holders(leased, strangers))))
            if supervisors:
                self._sample_jobs(moment, supervisors, leased, {gpu.uuid: gpu for gpu in gpus})
        except OSError:
            pass
        self._forget(supervisors)

    def peak_gpu_memory_of(self, attempt: Attempt) -> Optional[int]:
        """Return the most bytes that an ended attempt's GPUs were seen to hold; None for none."""
        return (self.peak_gpu_memory.pop(attempt, 0) << 20) or None

    def _sample_jobs(
        self,
        moment: float,
        supervisors: Mapping[Attempt, int],
        leased: Mapping[str, Sequence[str]],
        gpus: Mapping[str, Gpu],
    ) -> None:
        used = processes.usage_below(set(supervisors.values()))
        for attempt, pid in supervisors.items():
            cpu, ram = used.get(pid, (0.0, 0))
            held = [gpus[uuid] for uuid in leased.get(attempt[0], ()) if uuid in gpus]
            loads = [gpu.utilization for gpu in held if gpu.utilization is not None]
            memory = sum(gpu.memory_used or 0 for gpu in held)
            self.peak_gpu_memory[attempt] = max(memory, self.peak_gpu_memory.get(attempt, 0))
            load = round(sum(loads) / len(loads)) if loads else None
            cpus = self._cpus(attempt, moment, cpu)
            if cpus is not None:
                paths = self._paths.job(attempt[0]).attempt(attempt[1])
                with open(paths.samples, "ab") as file:
                    file.write(_line([moment, cpus, ram, load, memory if held else None, files.size(paths.log)]))

    def _cpus(self, attempt: Attempt, moment: float, cpu: float) -> Optional[float]:
        """Return how many CPUs an attempt used since the last sample; None for the first one."""
        before = self._cpu.get(attempt)
        self._cpu[attempt] = (moment, cpu)
        if before is None or moment <= before[0]:
            return None
        return round(max(0.0, cpu - before[1]) / (moment - before[0]), 2)

    def _forget(self, supervisors: Mapping[Attempt, int]) -> None:
        for attempt in set(self._cpu) - set(supervisors):
            del self._cpu[attempt]


def _holders(
    leased: Mapping[str, Sequence[str]], strangers: Mapping[str, Sequence[Tuple[int, int]]]
) -> Dict[str, List[object]]:
    """Return who holds each GPU, by UUID."""
    holders: Dict[str, List[object]] = {}
    for job, uuids in leased.items():
        for uuid in uuids:
            holders.setdefault(uuid, []).append(job)
    for uuid, processes_there in strangers.items():
        holders.setdefault(uuid, []).extend([uid, pid] for uid, pid in processes_there)
    return {uuid: some[:_MOST_HOLDERS] for uuid, some in holders.items()}


def _host(moment: float, root: str, gpus: Sequence[Gpu], holders: Mapping[str, List[object]]) -> List[object]:
    return [
        moment,
        round(os.getloadavg()[0], 2),
        processes.memory_used(),
        files.free_bytes(root),
        [
            [gpu.uuid, gpu.utilization, gpu.memory_used, gpu.temperature, gpu.power, holders.get(gpu.uuid, [])]
            for gpu in gpus
        ],
    ]


def _line(values: List[object]) -> bytes:
    return json.dumps(values, separators=(",", ":")).encode() + b"\n"
