"""A job's append-only files as clients replicate them: sizes, pages by offset, and who has grown.

Growth is heard through inotify(7) where ctypes is there; without it the sizes are looked at four times a second
while a client watches.
"""

from __future__ import annotations

import os
import struct
from typing import Dict, Optional, Set, Tuple

from remote_agent import files
from remote_agent.paths import AttemptPaths

try:
    import ctypes

    _libc = ctypes.CDLL(None, use_errno=True)
    _inotify_init1, _inotify_add_watch, _inotify_rm_watch = (
        _libc.inotify_init1,
        _libc.inotify_add_watch,
        _libc.inotify_rm_watch,
    )
    HAS_INOTIFY = True
except (ImportError, OSError, AttributeError):
    HAS_INOTIFY = False

_IN_MODIFY, _IN_CREATE = 0x2, 0x100
_EVENT = struct.Struct("iIII")


def sizes(attempt: AttemptPaths) -> Dict[str, int]:
    """Return the size of each stream of an attempt, bytes: "log" and "records/<writer>"."""
    found = {"log": files.size(attempt.log)}
    try:
        for entry in os.scandir(attempt.records):
            if entry.name.endswith(".jsonl"):
                found["records/" + entry.name[: -len(".jsonl")]] = entry.stat().st_size
    except OSError:
        pass
    return found


def read(path: str, offset: int, limit: int) -> Tuple[bytes, int]:
    """Return (a page of a stream, its size now); empty when the stream is not there."""
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            return file.read(limit), os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        return b"", 0


class GrowthWatch:
    """Tells which running attempts may have written something."""

    def __init__(self) -> None:
        self.fd: Optional[int] = _inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC) if HAS_INOTIFY else None
        self._attempts: Dict[str, Set[int]] = {}
        self._jobs: Dict[int, str] = {}

    @property
    def jobs(self) -> Set[str]:
        """The jobs that are watched."""
        return set(self._attempts)

    def add(self, job: str, attempt: AttemptPaths) -> None:
        """Watch the folders of a running attempt."""
        marks = self._attempts.setdefault(job, set())
        if self.fd is None or self.fd < 0:
            return
        for folder in (attempt.folder, attempt.records):
            mark = _inotify_add_watch(self.fd, os.fsencode(folder), _IN_MODIFY | _IN_CREATE)
            if mark >= 0:
                marks.add(mark)
                self._jobs[mark] = job

    def remove(self, job: str) -> None:
        """Watch a job no longer."""
        for mark in self._attempts.pop(job, ()):
            self._jobs.pop(mark, None)
            _inotify_rm_watch(self.fd, mark)

    def heard(self) -> Set[str]:
        """Return the jobs that may have grown since the last call; all of them when that is not known."""
        if self.fd is None or self.fd < 0:
            return self.jobs
        grown: Set[str] = set()
        try:
            while True:
                grown |= self._parse(os.read(self.fd, 65536))
        except BlockingIOError:
            return grown

    def _parse(self, events: bytes) -> Set[str]:
        grown, start = set(), 0
        while start < len(events):
            mark, _, _, length = _EVENT.unpack_from(events, start)
            start += _EVENT.size + length
            if mark == -1:  # the kernel's queue ran over
                return self.jobs
            if mark in self._jobs:
                grown.add(self._jobs[mark])
        return grown
