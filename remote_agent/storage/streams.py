"""A job's append-only files as clients replicate them: sizes, pages by offset, and who has grown.

Growth is heard through inotify(7) where ctypes is there; without it the sizes are looked at four times a second
while a client watches.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import time
from typing import Dict, Optional, Set, Tuple

from remote_agent.protocol.ends import MOST_STREAMS
from remote_agent.storage import event_files, files
from remote_agent.storage.paths import EVENTS, WRITER, AttemptPaths

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

LOOK_PAUSE = 0.25
"""Seconds between two looks at what inotify does not tell about."""
_IN_MODIFY, _IN_CREATE = 0x2, 0x100
_EVENT = struct.Struct("iIII")


def sizes(attempt: AttemptPaths, fresh: bool = False) -> Dict[str, int]:
    """Return the size of each stream of an attempt, bytes, by its name.

    These are "log", "facts", "samples", "records/<writer>" and "events/<path>".

    Args:
        attempt: whose.
        fresh: look for new event files now, for the last time.
    """
    sizes_by_name = {"log": files.size(attempt.log)}
    for name, path in (("facts", attempt.facts), ("samples", attempt.samples)):
        size = files.size(path)
        if size:
            sizes_by_name[name] = size
    try:
        for entry in os.scandir(attempt.records):
            writer, dot, kind = entry.name.rpartition(".")
            if kind == "jsonl" and WRITER.match(writer) and entry.is_file(follow_symlinks=False):
                sizes_by_name["records/" + writer] = entry.stat().st_size
            if len(sizes_by_name) >= MOST_STREAMS:
                break  # more than any training has processes: somebody else's files
    except OSError:
        pass
    sizes_by_name.update(event_files.sizes(attempt, fresh))
    return sizes_by_name


def path(attempt: AttemptPaths, name: str) -> str:
    """Return the file of a stream.

    Raises:
        ValueError: there is no such stream.
    """
    if not name.startswith(EVENTS):
        return attempt.stream(name)
    if any(part in ("", ".", "..") for part in name.split("/")):
        raise ValueError(f"no such stream: {name!r}")
    return event_files.path(attempt, name[len(EVENTS) :])


def read(path: str, offset: int, limit: int) -> Tuple[int, bytes, int]:
    """Return (where the page begins, a page of a stream, its size now); empty when it is not there, or no plain file.

    A page begins later than asked for where the file has a hole: what was dropped, or never written, does not travel.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return offset, b"", 0
    try:
        stats = os.fstat(fd)
        if not stat.S_ISREG(stats.st_mode):
            return offset, b"", 0
        begin, end = _data(fd, offset, stats.st_size)
        return begin, os.pread(fd, min(limit, end - begin), begin), stats.st_size
    finally:
        os.close(fd)


def _data(fd: int, offset: int, size: int) -> Tuple[int, int]:
    """Return (where bytes begin behind an offset, up to where they go): a file system without holes has none."""
    if offset >= size:
        return offset, offset
    try:
        begin = os.lseek(fd, offset, os.SEEK_DATA)
        return begin, min(size, os.lseek(fd, begin, os.SEEK_HOLE))
    except OSError as error:
        return (size, size) if error.errno == errno.ENXIO else (offset, size)


class GrowthWatch:
    """Tells which running attempts may have written something."""

    def __init__(self) -> None:
        fd = _inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC) if HAS_INOTIFY else -1
        self.fd: Optional[int] = fd if fd >= 0 else None
        self.by_clock: Set[str] = set()
        """Jobs that inotify does not tell about: there is none, or its limits are reached."""
        self._looked = 0.0
        self._attempts: Dict[str, Set[int]] = {}
        self._jobs: Dict[int, str] = {}

    @property
    def jobs(self) -> Set[str]:
        """The jobs that are watched."""
        return set(self._attempts)

    def add(self, job: str, attempt: AttemptPaths) -> None:
        """Watch the folders of a running attempt."""
        marks = self._attempts.setdefault(job, set())
        for folder in (attempt.folder, attempt.records):
            mark = -1
            if self.fd is not None:
                mark = _inotify_add_watch(self.fd, os.fsencode(folder), _IN_MODIFY | _IN_CREATE)
            if mark >= 0:
                marks.add(mark)
                self._jobs[mark] = job
            else:
                self.by_clock.add(job)

    def remove(self, job: str) -> None:
        """Watch a job no longer."""
        self.by_clock.discard(job)
        for mark in self._attempts.pop(job, ()):
            self._jobs.pop(mark, None)
            _inotify_rm_watch(self.fd, mark)

    def heard(self) -> Set[str]:
        """Return the jobs that may have grown since the last call."""
        grown = self._due_by_clock()
        try:
            while self.fd is not None:
                grown |= self._parse(os.read(self.fd, 65536))
        except BlockingIOError:
            pass
        return grown

    def _due_by_clock(self) -> Set[str]:
        now = time.monotonic()
        if not self.by_clock or now - self._looked < LOOK_PAUSE:
            return set()
        self._looked = now
        return set(self.by_clock)

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
