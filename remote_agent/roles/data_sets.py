"""Data sets, on channels of their own: ``take-data`` takes one in, ``keep-data`` makes one of a job's files,
``check-data`` hashes one.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import zlib
from typing import BinaryIO, Iterator

from remote_agent.protocol.data_sets import (
    MOST_MANIFEST_BYTES,
    is_name,
    manifest_hash,
    manifest_of,
    manifest_text,
    marks,
)
from remote_agent.protocol.errors import AgentError, BadRequest, Conflict, NotFound
from remote_agent.protocol.models import FilesToKeep, KeptFiles
from remote_agent.protocol.process_identity import ProcessIdentity
from remote_agent.roles.nonce import say
from remote_agent.storage import data_sets, files
from remote_agent.storage.data_sets import Receiver
from remote_agent.storage.paths import JobPaths, Paths
from remote_agent.system import processes

_MOST_WRONG, _LONGEST_WORDS = 200, 1000
_BEGINS_SECONDS = 10.0
_HEAD = 20
"""Digits before a manifest: its bytes."""


def take(root: str, nonce: str, name: str) -> int:
    """Take a data set in from standard input: the compressed manifest, then the missing files, one behind the other.

    Says, behind the nonce, first that it is ready, then which contents are missing, and how many bytes are here of
    those that were cut, then how it ended.
    """
    paths = Paths(root)
    say(nonce, ready=True)
    try:
        if not is_name(name):
            raise BadRequest(f"{name[:50]!r} is no name of a data set: letters, digits and _")
        manifest = manifest_of(_manifest(sys.stdin.buffer))
        with _lock(paths, manifest_hash(manifest_text(manifest))):
            _take(paths, nonce, name, Receiver(paths, manifest))
    except (AgentError, EOFError, OSError, zlib.error) as error:
        code = error.code if isinstance(error, AgentError) else "failed"
        say(nonce, error={"code": code, "message": _words(error)})
        return 1
    return 0


def _take(paths: Paths, nonce: str, name: str, receiver: Receiver) -> None:
    say(nonce, hash=receiver.set.hash, missing=marks(receiver.is_missing), begun=receiver.done)
    for file in receiver.missing:
        receiver.take(file, sys.stdin.buffer)
    receiver.finish()
    data_sets.put_name(paths, name, receiver.set.hash, time.time())
    if not receiver.set.is_whole:
        raise AgentError("the data set was removed while it was sent; send it again")
    say(nonce, hash=receiver.set.hash)


@contextlib.contextmanager
def _lock(paths: Paths, digest: str) -> Iterator[None]:
    """Keep others from sending the same data set; the lock of a process that has died does not count.

    Raises:
        Conflict: another one is sending it.
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


def _manifest(source: BinaryIO) -> bytes:
    head = source.read(_HEAD)
    if not head.isdigit() or int(head) > MOST_MANIFEST_BYTES:
        raise BadRequest("a manifest was expected")
    inflate = zlib.decompressobj()
    data = inflate.decompress(source.read(int(head)), MOST_MANIFEST_BYTES)
    if not inflate.eof:
        raise BadRequest("the manifest is cut, or too large")
    return data


def keep(root: str, nonce: str, order: str) -> int:
    """Make a data set of files that a job has written, and say behind the nonce which one it is.

    Args:
        root: the agent's folder.
        nonce: what stands before the answer.
        order: a ``models.FilesToKeep``, as JSON.
    """
    paths = Paths(root)
    try:
        wanted = FilesToKeep.from_wire(json.loads(order), "an order")
        job = paths.job(wanted.job)
        mark = os.urandom(32).hex()
        with _lock(paths, mark):
            kept = data_sets.gathered(paths, _in_job(job, wanted), mark)
            data_sets.put_name(paths, f"model_{kept.hash[:16]}", kept.hash, time.time())
        place, count, size = kept.summary()
        say(nonce, **KeptFiles(kept.hash, place, count, size).to_wire())
    except (AgentError, OSError, ValueError) as error:
        code = error.code if isinstance(error, AgentError) else "failed"
        say(nonce, error={"code": code, "message": _words(error)})
        return 1
    return 0


def _in_job(job: JobPaths, wanted: FilesToKeep) -> str:
    """Return where a path of a job leads: among its artifacts, or below the folder that it ran in.

    Raises:
        BadRequest: it leads out of that. NotFound: there is nothing.
    """
    first, _, rest = wanted.path.partition("/")
    top, below = (job.artifacts, rest) if first == "artifacts" else (job.attempt(wanted.attempt).work, wanted.path)
    found = files.inside(top, below)
    if not os.path.exists(found):
        raise NotFound(f"job {wanted.job} has no {wanted.path!r} on this host")
    return found


def check(root: str, nonce: str, name: str) -> int:
    """Hash a data set, and say behind the nonce what is wrong with it."""
    paths = Paths(root)
    try:
        known = {one.name: one.hash for one in data_sets.names(paths)}
        if name not in known:
            raise NotFound(f"there is no data set {name!r} on this host")
        wrong = data_sets.check(paths, known[name])
        say(nonce, hash=known[name], wrong=[words[:_LONGEST_WORDS] for words in wrong[:_MOST_WRONG]], count=len(wrong))
    except (AgentError, OSError) as error:
        code = error.code if isinstance(error, AgentError) else "failed"
        say(nonce, error={"code": code, "message": _words(error)})
        return 1
    return 0


def _words(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error)
