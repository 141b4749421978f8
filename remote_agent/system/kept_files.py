"""Files of a job that are kept as a data set: a copy that nothing changes afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import Iterator, Tuple

from remote_agent.protocol.errors import BadRequest, Conflict, NotFound
from remote_agent.protocol.models import FilesToKeep, KeptFiles
from remote_agent.protocol.process_identity import ProcessIdentity
from remote_agent.storage import data_sets, files
from remote_agent.storage.paths import JobPaths, Paths
from remote_agent.system import processes

_BEGINS_SECONDS = 10.0


def keep(paths: Paths, wanted: FilesToKeep) -> KeptFiles:
    """Make a data set of files that a job has written, and return which one it is.

    Raises:
        NotFound: there is nothing. BadRequest: it leads out of the job, or is no file. DiskFull: there is no room.
    """
    mark = os.urandom(32).hex()
    with lock(paths, mark):
        kept = data_sets.gathered(paths, _in_job(paths.job(wanted.job), wanted), mark)
        data_sets.put_name(paths, name_of(kept.hash), kept.hash, time.time())
    place, count, size = kept.summary()
    return KeptFiles(kept.hash, place, count, size)


def name_of(digest: str) -> str:
    """Return by which name files that were kept are a data set."""
    return f"model_{digest[:16]}"


def _in_job(job: JobPaths, wanted: FilesToKeep) -> str:
    """Return where a path of a job leads: among its artifacts, or below the folder that it ran in, where many programs
    have a folder "artifacts" of their own.

    Raises:
        BadRequest: it leads out of that. NotFound: there is nothing.
    """
    for top, below in _places(job, wanted):
        found = files.inside(top, below)
        if os.path.exists(found):
            return found
    raise NotFound(f"job {wanted.job} has no {wanted.path!r} on this host")


def _places(job: JobPaths, wanted: FilesToKeep) -> Iterator[Tuple[str, str]]:
    """Yield (folder, path below it) for each place that is meant, the likeliest first."""
    work = job.attempt(wanted.attempt).work
    first, _, rest = wanted.path.partition("/")
    if first == "artifacts":
        if rest or (os.path.isdir(job.artifacts) and os.listdir(job.artifacts)):
            yield job.artifacts, rest
        spec = files.read_json(job.spec)
        subdir = spec.get("subdir") if isinstance(spec, dict) else ""
        yield work, os.path.join(str(subdir or ""), wanted.path)
    yield work, wanted.path


@contextlib.contextmanager
def lock(paths: Paths, digest: str) -> Iterator[None]:
    """Keep others from making the same data set; the lock of a process that has died does not count.

    Raises:
        Conflict: another one is making it.
    """
    path = data_sets.lock(paths, digest)
    os.makedirs(paths.data, 0o700, exist_ok=True)
    while True:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            break
        except FileExistsError:
            if is_held(path):
                raise Conflict("another client is sending this data set; try again when it is done") from None
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            json.dump(processes.identity(os.getpid()).to_wire(), file)
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def is_held(path: str) -> bool:
    """Return whether the process that a lock names is still there."""
    try:
        told = os.stat(path)
    except FileNotFoundError:
        return False
    try:
        return processes.is_alive(ProcessIdentity.from_wire(files.read_json(path), "a lock"))
    except BadRequest:
        return time.time() - told.st_mtime < _BEGINS_SECONDS  # it was just made, and is still empty
