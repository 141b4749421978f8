"""Bulk bytes, on channels of their own and in processes of their own: the daemon's loop never waits for them.

``receive`` takes a pack of objects from standard input; ``send`` writes files of a job as a tar stream.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tarfile
from typing import Any, BinaryIO, Dict, Iterator, List, NamedTuple

from remote_agent import files
from remote_agent.errors import AgentError, NotFound
from remote_agent.objects import ObjectStore
from remote_agent.paths import AttemptPaths, Paths
from remote_agent.workspace import PARAMETERS_FILE

_NOISE = {"__pycache__", ".ipynb_checkpoints"}
_LINK = "120000"


class _Member(NamedTuple):
    """One file of the stream."""

    name: str
    source: str
    """Where its bytes lie on this host."""
    size: int
    mode: str = ""
    """Git's mode, for a file of the snapshot; else the file's own counts."""


def receive(root: str, nonce: str) -> int:
    """Take in a pack and print one line: the nonce and how many objects were new, or the error."""
    _say(nonce, ready=True)
    store = ObjectStore(Paths(root).objects)
    try:
        _say(nonce, new=store.receive(sys.stdin.buffer))
    except (AgentError, OSError) as error:
        _say(nonce, error=str(error), code=getattr(error, "code", "storage_broken"))
        return 1
    return 0


def send(root: str, nonce: str, wish: str) -> int:
    """Write what a client wishes for as a tar stream, after one line that says it begins.

    Args:
        root: the agent's folder.
        nonce: what the line begins with.
        wish: JSON: "job", "attempt", "snapshot", "what" ("written", "paths", "code", "artifacts"), "paths".
    """
    wanted: Dict[str, Any] = json.loads(wish)
    paths = Paths(root)
    try:
        members = list(_members(paths, wanted))
    except (AgentError, OSError) as error:
        _say(nonce, error=str(error), code=getattr(error, "code", "failed"))
        return 1
    _say(nonce, ready=True, files=len(members), bytes=sum(member.size for member in members))
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for member in members:
            _add(tar, member)
    sys.stdout.buffer.flush()
    return 0


def _members(paths: Paths, wanted: Dict[str, Any]) -> Iterator[_Member]:
    """Yield the files that are wished for."""
    job = paths.job(wanted["job"])
    attempt = job.attempt(int(wanted["attempt"]))
    store = ObjectStore(paths.objects)
    if wanted["what"] == "code":
        for mode, name, oid in store.walk(wanted["snapshot"]):
            source = store.path(oid)
            yield _Member(os.fsdecode(name), source, os.stat(source).st_size, mode)
    elif wanted["what"] == "artifacts":
        yield from _below(job.artifacts, "")
    elif wanted["what"] == "written":
        yield from _written(store, wanted["snapshot"], attempt)
    else:
        for path in wanted["paths"]:
            yield from _named(attempt.work, path)


def _named(work: str, path: str) -> Iterator[_Member]:
    source = files.inside(work, path)
    if not os.path.exists(source):
        raise NotFound(f"the job's folder has no {path!r}")
    if os.path.isdir(source):
        yield from _below(work, os.path.relpath(source, os.path.realpath(work)))
    else:
        yield _Member(os.path.normpath(path), source, os.stat(source).st_size)


def _below(top: str, folder: str) -> Iterator[_Member]:
    for parent, folders, names in os.walk(os.path.join(top, folder)):
        folders.sort()
        for name in sorted(names):
            source = os.path.join(parent, name)
            if os.path.isfile(source):
                name = os.path.normpath(os.path.relpath(source, top))
                yield _Member(name, source, os.stat(source).st_size)


def _written(store: ObjectStore, snapshot: str, attempt: AttemptPaths) -> Iterator[_Member]:
    """Yield the files of the job's folder that are not as the snapshot had them."""
    shipped = {os.fsdecode(name): oid for _, name, oid in store.walk(snapshot)}
    for member in _below(attempt.work, ""):
        parts = member.name.split(os.sep)
        if _NOISE.intersection(parts) or (parts[-1] == PARAMETERS_FILE and member.name not in shipped):
            continue
        oid = shipped.get(member.name)
        if oid is None or _differs(member, store.path(oid), oid):
            yield member


def _differs(member: _Member, shipped: str, oid: str) -> bool:
    return member.size != os.stat(shipped).st_size or _blob_id(member.source, member.size) != oid


def _blob_id(path: str, size: int) -> str:
    digest = hashlib.sha1(b"blob %d\0" % size)
    with open(path, "rb") as file:
        for chunk in iter(lambda: file.read(1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest()


def _add(tar: tarfile.TarFile, member: _Member) -> None:
    """Add one file; one that grows or shrinks meanwhile is cut or padded to the size it had."""
    info = tarfile.TarInfo(member.name)
    with open(member.source, "rb") as file:
        if member.mode == _LINK:
            info.type, info.linkname = tarfile.SYMTYPE, os.fsdecode(file.read())
            return tar.addfile(info)
        stats = os.fstat(file.fileno())
        executable = member.mode == "100755" if member.mode else stats.st_mode & 0o100
        info.size, info.mtime, info.mode = stats.st_size, int(stats.st_mtime), 0o755 if executable else 0o644
        tar.addfile(info, _Padded(file))  # type: ignore[arg-type]


class _Padded:
    """A file that never ends early."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        return data + bytes(size - len(data))


def _say(nonce: str, **words: Any) -> None:
    line: List[str] = ["", f"{nonce} {json.dumps(words)}", ""]
    os.write(1, "\n".join(line).encode())
