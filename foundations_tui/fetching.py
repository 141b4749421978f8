"""Files of a job, brought here: by wish, or by themselves when a job has ended that declared its outputs."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foundations_tui import eventfiles, locations, runs, words
from foundations_tui.errors import FoundationsError, HostError, HostUnreachable, NotFoundError
from foundations_tui.hosts.agent import refusal
from foundations_tui.hosts.shell import NonceLines
from foundations_tui.hosts.transport import Channel
from foundations_tui.session import Session
from foundations_tui.store import queries, writes
from foundations_tui.store.rows import JobRow


@dataclass(frozen=True)
class Wish:
    """Which files of a job are to be fetched."""

    what: str
    """"written" (all that it wrote in its folder), "paths", "code" (its snapshot), "artifacts", "synced" or
    "outputs"."""
    paths: tuple[str, ...] = ()
    """For "paths" names, for "outputs" patterns, for "artifacts" and "synced" which of them; none for all."""
    limit: int = 0
    """For "outputs" and "artifacts": bytes that come at most."""
    base: str = ""
    """For "outputs": the folder below the job's that patterns begin in."""


@dataclass(frozen=True)
class Fetched:
    """What came of a wish."""

    files: list[tuple[str, int]]
    """(path below the folder, bytes)."""
    left: list[list[Any]]
    """[path, bytes] of those that a limit kept away."""


def fetch(session: Session, job: JobRow, wish: Wish, target: Path, progress: Callable[[int, int], None]) -> Fetched:
    """Bring files of a job into a folder.

    Args:
        session: the client's.
        job: whose files.
        wish: which.
        target: made when it is not there; files of the same name are replaced whole or not at all.
        progress: called with (bytes that came, bytes in all).
    Returns:
        The files that came, and those that did not.
    Raises:
        NotFoundError: there is no such file. HostError: the host is out of reach. FoundationsError: the disk is full.
    """
    words = {
        "job": job.job,
        "attempt": max(job.attempt, 1),
        "snapshot": job.snapshot,
        "what": wish.what,
        "paths": list(wish.paths),
        "limit": wish.limit,
        "base": wish.base,
    }

    def pull(agent: Any) -> Fetched:
        channel, lines, said = agent.open_bulk("send", json.dumps(words))
        try:
            if "error" in said:
                raise refusal(job.host, said["error"])
            found = _unpack(_TarBytes(channel, lines, said["bytes"], progress), target)
            _say_unreadable(session, job, said["unreadable"], bool(found))
            return Fetched(found, said.get("left", []))
        finally:
            channel.close()

    try:
        return session.retrying(job.host, pull)
    except OSError as error:
        raise FoundationsError(f"{target}: {error.strerror or error}") from None


def _say_unreadable(session: Session, job: JobRow, names: list[str], others_came: bool) -> None:
    if not names:
        return
    words = f"{job.host}: the job left files that cannot be read: {', '.join(names[:5])}"
    if not others_came:
        raise FoundationsError(words)
    session.say(f"warning: {words}")


class _TarBytes:
    """The bytes of a bulk channel as a file that tarfile can read."""

    def __init__(self, channel: Channel, lines: NonceLines, total: int, progress: Callable[[int, int], None]) -> None:
        self._channel, self._buffer = channel, lines.rest
        self._total, self._came, self._progress = total, 0, progress
        channel.set_timeout(120)

    def read(self, size: int = -1) -> bytes:
        while len(self._buffer) < size:
            try:
                data = self._channel.recv(1 << 18)
            except TimeoutError:
                raise HostUnreachable("the connection was lost while fetching: nothing came for 120 s") from None
            if not data:
                break
            self._buffer += data
        page, self._buffer = self._buffer[:size], self._buffer[size:]
        self._came += len(page)
        self._progress(min(self._came, self._total), self._total)
        return page


def _unpack(source: _TarBytes, target: Path) -> list[tuple[str, int]]:
    """Write the files of a tar stream below a folder: no name leads out of it, no file is left half written."""
    target.mkdir(parents=True, exist_ok=True)
    found = []
    try:
        with tarfile.open(fileobj=source, mode="r|") as tar:  # type: ignore[call-overload]
            for member in tar:
                _write_member(tar, member, target)
                found.append((member.name, member.size))
    except (tarfile.ReadError, EOFError) as error:
        raise HostUnreachable(f"the connection was lost while fetching ({error})") from None
    return found


def _write_member(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    path = target / member.name
    inside = os.path.realpath(path.parent) + os.sep
    if (
        member.name.startswith("/")
        or ".." in Path(member.name).parts
        or not inside.startswith(os.path.realpath(target) + os.sep)
    ):
        raise FoundationsError(f"the host sent a file name that leads out of the folder: {member.name!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    # Several processes may fetch the same file: each writes one of its own, and the last one whole stands.
    temporary = path.with_name(f".{path.name[:180]}.{os.getpid()}-{os.urandom(3).hex()}.part")
    try:
        if member.issym():
            os.symlink(member.linkname, temporary)
        elif member.isreg():
            _copy(tar, member, temporary)
        else:
            return
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _copy(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    reader = tar.extractfile(member)
    assert reader is not None
    with path.open("xb") as writer:  # never through a link that came before
        while page := reader.read(1 << 20):
            writer.write(page)
    os.chmod(path, 0o755 if member.mode & 0o100 else 0o644)
    os.utime(path, (member.mtime, member.mtime))


def collect_outputs(session: Session, host: str) -> None:
    """Bring the declared outputs of this client's ended jobs from a host, each once; what cannot come is said.

    Raises:
        HostError: the host is out of reach.
    """
    for job in writes.to_collect(session.store, host):
        with _only_here(job) as alone:
            if alone and queries.job(session.store.conn, job).outputs is None:
                _collect(session, host, job)


@contextlib.contextmanager
def _only_here(job: str) -> Iterator[bool]:
    """Say whether no other process collects a job's outputs meanwhile."""
    path = locations.outputs_folder(job).with_suffix(".lock")
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True
        path.unlink(missing_ok=True)


def _collect(session: Session, host: str, job: str) -> None:
    """Bring the outputs of one job; what fails on this side is tried again at the next sync."""
    row = queries.job(session.store.conn, job)
    spec = queries.spec(session.store.conn, job)
    limit = int(spec.get("output_limit") or 0)
    wishes = []
    if spec.get("outputs"):
        wishes.append((Wish("outputs", tuple(spec["outputs"]), limit, spec["subdir"]), locations.outputs_folder(job)))
    events = bool(spec.get("metrics", {}).get("tensorboard"))
    if events:
        wish = Wish("outputs", (eventfiles.PATTERN,), limit, spec["subdir"])
        wishes.append((wish, locations.outputs_folder(job)))
    if row.artifacts:
        wishes.append((Wish("artifacts", limit=limit), locations.artifacts_folder(job)))
    came = Fetched([], [])
    try:
        for wish, folder in wishes:
            part = fetch(session, row, wish, folder, lambda done, total: None)
            came = Fetched(came.files + part.files, came.left + part.left)
    except HostError:
        raise
    except NotFoundError as error:
        session.say(f"warning: outputs of {job[:6]}: {error}")
        writes.put_outputs(session.store, job, {"folder": None, "files": 0, "bytes": 0, "error": str(error)})
        return
    except FoundationsError as error:
        session.say(f"warning: outputs of {job[:6]}: {error}; they are tried again at the next sync")
        return
    if events:
        _take_in_events(session, row)
    left = sum(size for _, size in came.left)
    facts = {"folder": str(wishes[0][1]), "files": len(came.files), "bytes": sum(size for _, size in came.files)}
    writes.put_outputs(session.store, job, {**facts, "left": came.left[:100], "left_bytes": left})
    if left:
        session.say(
            f"warning: outputs of {job[:6]}: {words.plural(len(came.left), 'file')}, {words.size(left)}, stayed on"
            f" {host}: they are over the limit of {words.size(limit)} (limit_mb under [outputs])"
        )


def _take_in_events(session: Session, row: JobRow) -> None:
    """Read the event files that came as metrics, each folder's scalars by the folder's name."""
    top = locations.outputs_folder(row.job)
    try:
        folders = eventfiles.runs_below(top)
        for folder in folders:
            place = "" if len(folders) == 1 else f"{folder.relative_to(top)}/"
            writer = f"tensorboard/{place}"
            records = eventfiles.read(folder, place)
            if records and writes.run_offset(session.store, row.job, row.attempt, writer) == 0:
                writes.put_found(session.store, row.job, row.attempt, writer, 0, len(records), writer, records)
    except FoundationsError as error:
        session.say(f"warning: {row.job[:6]}: {error}")


def artifact(session: Session, row: JobRow, key: str) -> Path:
    """Return the path of one artifact of a job on this machine, fetched when it is not here yet.

    Raises:
        NotFoundError: the job has none of this name. HostError: its host is out of reach.
    """
    facts = row.artifacts.get(key)
    if not isinstance(facts, dict) or not isinstance(facts.get("path"), str):
        known = ", ".join(row.artifacts) or "none"
        raise NotFoundError(f"job {row.job} has no artifact {key!r}", f"it has: {known}")
    name = Path(facts["path"]).name
    folder = runs.artifacts(row.job, row.attempt) if row.kind == runs.KIND else locations.artifacts_folder(row.job)
    if not (folder / name).exists() and row.kind != runs.KIND:
        fetch(session, row, Wish("artifacts", (name,)), folder, lambda done, total: None)
    if not (folder / name).exists():
        raise NotFoundError(f"the artifact {key!r} of job {row.job} is gone")
    return folder / name
