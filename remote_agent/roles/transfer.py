"""Bulk bytes, on channels of their own and in processes of their own: the daemon's loop never waits for them.

``receive`` takes a pack of objects from standard input; ``send`` writes files of a job as a tar stream; ``survey``
looks for what jobs left here only.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import tarfile
from typing import Any, BinaryIO, Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

from remote_agent.protocol.checks import listing, row, text
from remote_agent.protocol.errors import AgentError, NotFound, StorageBroken
from remote_agent.protocol.facts import HASH
from remote_agent.protocol.jobs import JOB_ID
from remote_agent.protocol.roles import FilesAnnounced, FilesWanted, Survey
from remote_agent.roles.nonce import say
from remote_agent.storage import data_sets, files, unfetched
from remote_agent.storage.objects import ObjectStore
from remote_agent.storage.paths import AttemptPaths, Paths
from remote_agent.storage.workspace import PARAMETERS_FILE

_NOISE = set(unfetched.NOISE)
_GIT = ".git"
_LINK = "120000"
_MOST_NAMED = 100
_SURVEYED = listing(row(text(64, JOB_ID), text(40)), 10_000)
_OUTWARD = "a link that leads out of the job's folder"
_ODD = "a device, pipe or socket: there is nothing to fetch"


class _Member(NamedTuple):
    """One file or symbolic link of the stream."""

    name: str
    source: str
    """Where its bytes lie on this host."""
    size: int
    mode: int = 0o644
    link: Optional[str] = None
    """Where a symbolic link leads."""
    why_not: str = ""
    """Why it does not travel, in words."""


def receive(root: str, nonce: str) -> int:
    """Take in a pack and print one line: the nonce and how many objects were new, or the error."""
    say(nonce, ready=True)
    store = ObjectStore(Paths(root).objects)
    try:
        say(nonce, new=store.receive(sys.stdin.buffer))
    except (AgentError, OSError) as error:
        say(nonce, error=_refusal(error))
        return 1
    return 0


def survey(root: str, nonce: str, encoded: str) -> int:
    """Print, in one line, what jobs left on this host only.

    Args:
        root: the agent's folder.
        nonce: what the line begins with.
        encoded: JSON: [job, snapshot] of each.
    """
    try:
        jobs = _SURVEYED(json.loads(encoded), "jobs")
        surveys = {job: _surveyed(root, job, snapshot) for job, snapshot in jobs}
    except (AgentError, OSError, ValueError) as error:
        say(nonce, error=_refusal(error))
        return 1
    say(nonce, unfetched={job: left.to_wire() for job, left in surveys.items() if left.files})
    return 0


def _surveyed(root: str, job: str, snapshot: str) -> Survey:
    """Return what one job left here only; one whose folder cannot be understood costs the others nothing."""
    try:
        return unfetched.survey(Paths(root), job, snapshot)
    except Exception as error:
        return Survey(1, 0, (f"(its folder cannot be looked through: {error!r})"[:300], 0))


def send(root: str, nonce: str, encoded: str) -> int:
    """Write the files that a client asks for as a tar stream, after one line that says it begins.

    Args:
        root: the agent's folder.
        nonce: what the line begins with.
        encoded: ``FilesWanted`` as JSON.
    """
    paths = Paths(root)
    try:
        request = FilesWanted.from_wire(json.loads(encoded), "the request")
        members, refused, in_git = _sorted_out(_members(paths, request), request.with_git)
        members, left = _within(members, request.limit)
    except (AgentError, OSError, ValueError) as error:
        say(nonce, error=_refusal(error))
        return 1
    announced = FilesAnnounced(
        files=len(members),
        bytes=sum(member.size for member in members),
        refused=refused[:_MOST_NAMED],
        refused_count=len(refused),
        in_git=in_git,
        left=left[:_MOST_NAMED],
        left_count=len(left),
        left_bytes=sum(size for _, size in left),
        receipt=_receipt(paths, request, members),
    )
    say(nonce, **announced.to_wire())
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for member in members:
            _add(tar, member)
    sys.stdout.buffer.flush()
    return 0


def _receipt(paths: Paths, request: FilesWanted, members: List[_Member]) -> str:
    if request.what == "code":
        return ""  # it came from home
    return unfetched.write_receipt(paths.job(request.job), [m.source for m in members if m.link is None])


def _sorted_out(members: Iterator[_Member], with_git: bool) -> Tuple[List[_Member], List[Tuple[str, str]], int]:
    """Return (what travels, name and reason of what does not, how many files below .git/ were left out)."""
    good: Dict[str, _Member] = {}
    refused: List[Tuple[str, str]] = []
    in_git = 0
    for member in members:
        if not with_git and _GIT in member.name.split(os.sep):
            in_git += 1
        elif member.why_not:
            refused.append((member.name, member.why_not))
        elif member.link is None and not os.access(member.source, os.R_OK):
            refused.append((member.name, "it cannot be read"))
        else:
            good[member.name] = member  # once, however many of the names mean it
    return list(good.values()), refused, in_git


def _within(members: List[_Member], limit: int) -> Tuple[List[_Member], List[Tuple[str, int]]]:
    """Return (the files that fit into a limit, name and bytes of those that do not); 0 is no limit."""
    fitting, left, total = [], [], 0
    for member in members:
        if limit and total + member.size > limit:
            left.append((member.name, member.size))
        else:
            fitting.append(member)
            total += member.size
    return fitting, left


def _members(paths: Paths, request: FilesWanted) -> Iterator[_Member]:
    """Yield the files that are asked for."""
    job = paths.job(request.job)
    attempt = job.attempt(request.attempt)
    store = ObjectStore(paths.objects)
    if request.what == "checkpoints":
        yield from _below(job.checkpoints, "")
    elif request.what == "code":
        for mode, name, oid in store.walk(request.snapshot):
            yield _of_snapshot(os.fsdecode(name), store.path(oid), mode)
    elif request.what in ("artifacts", "synced"):
        top = job.artifacts if request.what == "artifacts" else job.synced
        names = set(request.paths)
        yield from (member for member in _below(top, "") if not names or member.name.split(os.sep)[0] in names)
    elif request.what == "data":
        for digest in filter(HASH.match, request.paths):
            yield from _below(data_sets.DataSet(paths, digest).files, "")
    elif request.what == "outputs":
        chosen, top = _pattern(request.paths), files.inside(attempt.work, request.base)
        yield from (member for member in _below(top, "") if chosen.match(member.name))
    elif request.what == "written":
        yield from _written(store, request.snapshot, attempt, _data_links(files.read_json(job.spec)))
    else:
        for path in request.paths:
            yield from _named(attempt.work, path)


def _pattern(patterns: List[str]) -> "re.Pattern[str]":
    """Return what matches the files that patterns mean: * within a folder, ** through folders, a folder whole."""
    parts = []
    for pattern in patterns:
        words = re.split(r"(\*\*/|\*\*|\*|\?)", pattern.strip("/"))
        expressions = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
        parts.append("".join(expressions.get(word, re.escape(word)) for word in words) + "(?:/.*)?")
    return re.compile("(?:" + "|".join(parts) + r")\Z", re.DOTALL)


def _of_snapshot(name: str, source: str, mode: str) -> _Member:
    if mode == _LINK:
        with open(source, "rb") as file:
            return _Member(name, source, 0, link=os.fsdecode(file.read()))
    return _Member(name, source, os.stat(source).st_size, 0o755 if mode == "100755" else 0o644)


def _named(work: str, path: str) -> Iterator[_Member]:
    """Yield a file, or all below a folder, that a client names; a link is followed as long as it stays inside."""
    source = files.inside(work, path)
    if not os.path.exists(source):
        raise NotFound(f"the job's folder has no {path!r}")
    if os.path.isdir(source):
        real = os.path.relpath(source, os.path.realpath(work))
        for member in _below(work, real):  # under the name that was asked for, also where a link is on the way
            yield member._replace(name=os.path.normpath(os.path.join(path, os.path.relpath(member.name, real))))
    elif not os.path.isfile(source):
        raise NotFound(f"{path!r} is no file: a device, pipe or socket has nothing to fetch")
    else:
        yield _on_disk(os.path.normpath(path), source)


def _on_disk(name: str, source: str) -> _Member:
    stats = os.stat(source)
    return _Member(name, source, stats.st_size, stats.st_mode & 0o777)


def _below(top: str, folder: str) -> Iterator[_Member]:
    """Yield the files below a folder, and its links as links; what a link to the outside shows does not travel."""
    hidden: List[Tuple[str, OSError]] = []
    for parent, _, names in files.walk(os.path.join(top, folder), lambda *failure: hidden.append(failure)):
        for name in sorted(names):
            source = os.path.join(parent, name)
            relative = os.path.normpath(os.path.relpath(source, top))
            if os.path.islink(source):
                target = os.readlink(source)
                leads_out = os.path.isabs(target) or not files.is_inside(top, source)
                yield _Member(relative, source, 0, link=target, why_not=_OUTWARD if leads_out else "")
            elif os.path.isfile(source):
                yield _on_disk(relative, source)
            elif error := _why_hidden(source):
                hidden.append((source, error))
            else:
                yield _Member(relative, source, 0, why_not=_ODD)
    for source, error in hidden:
        yield _Member(os.path.relpath(source, top), source, 0, why_not=f"it cannot be read: {error.strerror}")


def _why_hidden(source: str) -> Optional[OSError]:
    try:
        os.lstat(source)
    except OSError as error:
        return error
    return None


def _data_links(spec: Any) -> Set[str]:
    """Return where the agent itself has put links to data of the host."""
    data = spec.get("data") if isinstance(spec, dict) else None
    entries = data.values() if isinstance(data, dict) else ()
    return {os.path.normpath(str(entry.get("at"))) for entry in entries if isinstance(entry, dict) and entry.get("at")}


def _written(store: ObjectStore, snapshot: str, attempt: AttemptPaths, ours: Set[str]) -> Iterator[_Member]:
    """Yield the files of the job's folder that are not as the snapshot had them, nor put there by the agent."""
    shipped = {os.fsdecode(name): oid for _, name, oid in store.walk(snapshot)}
    for member in _below(attempt.work, ""):
        parts = member.name.split(os.sep)
        if member.link is not None and member.name in ours:
            continue
        if _NOISE.intersection(parts) or (parts[-1] == PARAMETERS_FILE and member.name not in shipped):
            continue
        oid = shipped.get(member.name)
        if oid is None or (member.why_not and member.link is None) or _differs(member, store.path(oid), oid):
            yield member


def _differs(member: _Member, shipped: str, oid: str) -> bool:
    if member.link is not None:
        link = os.fsencode(member.link)
        return hashlib.sha1(b"blob %d\0%s" % (len(link), link)).hexdigest() != oid
    return member.size != os.stat(shipped).st_size or unfetched.blob_id(member.source, member.size) != oid


def _add(tar: tarfile.TarFile, member: _Member) -> None:
    """Add one file; one that grows or shrinks meanwhile is cut or padded to the size it had, one that goes is gone."""
    info = tarfile.TarInfo(member.name)
    if member.link is not None:
        info.type, info.linkname = tarfile.SYMTYPE, member.link
        return tar.addfile(info)
    try:
        fd = os.open(member.source, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    with open(fd, "rb") as file:
        stats = os.fstat(fd)
        info.size, info.mtime, info.mode = stats.st_size, int(stats.st_mtime), member.mode
        tar.addfile(info, _Padded(file))  # type: ignore[arg-type]


class _Padded:
    """A file that never ends early."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        return data + bytes(size - len(data))


def _refusal(error: Exception) -> Dict[str, str]:
    """Return an error as the protocol's refusals have it."""
    return {"code": getattr(error, "code", StorageBroken.code), "message": str(error)}
