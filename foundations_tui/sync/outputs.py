"""Files of a job, fetched: on request, or by themselves when a job has ended that declared its outputs."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foundations_tui.config import locations
from foundations_tui.errors import FoundationsError, HostRefused, HostUnreachable, NotFoundError
from foundations_tui.hosts.agent import refusal
from foundations_tui.hosts.shell import NonceLines
from foundations_tui.hosts.transport import Channel
from foundations_tui.ingest import local_runs
from foundations_tui.session import Session
from foundations_tui.store import queries, writes
from foundations_tui.store.rows import JobRow
from foundations_tui.sync import unpacking
from foundations_tui.text import humanize
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.messages import Received
from remote_agent.protocol.roles import FilesAnnounced, FilesWanted
from remote_agent.protocol.wire import JsonTable

_MOST_SAID = 5
"""Most files to name that do not come."""
SYNCED = "synced"
"""Kind of the artifacts that are directories kept in step."""


@dataclass(frozen=True)
class FetchRequest:
    """Which files of a job are to be fetched."""

    what: str
    """"written" (all that it wrote in its folder), "paths", "code" (its snapshot), "artifacts", "synced", "checkpoints"
    or "outputs"."""
    paths: tuple[str, ...] = ()
    """For "paths" names, for "outputs" patterns, for "artifacts" and "synced" which of them; none for all."""
    limit: int = 0
    """For "outputs" and "artifacts": bytes that come at most."""
    base: str = ""
    """For "outputs": the folder below the job's that patterns begin in."""
    with_git: bool = False
    """Whether files below a ``.git`` come, too."""
    attempt: int = 0
    """Which attempt's folder; 0 for the last one's."""

    def has_asked_for(self, name: str) -> bool:
        """Return whether a name was asked for, or is below one that was."""
        if self.what == "paths":
            return any(
                path == "." or name == path or name.startswith(path + "/") for path in map(os.path.normpath, self.paths)
            )
        if self.what in ("artifacts", SYNCED) and self.paths:
            return name.split("/")[0] in self.paths
        return True


@dataclass
class Fetched:
    """What was fetched."""

    files: list[tuple[str, int]]
    """(path below the folder, bytes)."""
    left: list[tuple[str, int]]
    """(path, bytes) of those that a limit kept away, as far as they are named."""
    left_bytes: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)
    """(path, why) of those that cannot be written here."""


def fetch(
    session: Session,
    job: JobRow,
    request: FetchRequest,
    target: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
    within: str = "",
    host: str = "",
) -> Fetched:
    """Bring files of a job into a folder.

    Args:
        session: the client's.
        job: whose files.
        request: which.
        target: made when it is not there; files of the same name are replaced whole or not at all.
        progress: called with (bytes that came, bytes in all).
        within: folders below the target that the files come into; no link among them is followed.
        host: whom to ask; empty for the job's own.
    Returns:
        The files that came, and those that did not.
    Raises:
        NotFoundError: there is no such file. HostError: the host is out of reach. FoundationsError: the disk is full.
    """
    order = FilesWanted(
        job.job,
        request.attempt or max(job.attempt, 1),
        request.what,
        job.snapshot,
        list(request.paths),
        request.limit,
        request.base,
        request.with_git,
    )
    host = host or job.host

    def pull(agent: Any) -> Fetched:
        channel, lines, said = agent.open_bulk("send", json.dumps(order.to_wire()))
        try:
            if "error" in said:
                raise refusal(host, said["error"])
            announced = _announced(host, said)
            source = _TarBytes(channel, lines, announced.bytes, progress)
            with unpacking.Folder(target, within, request.with_git) as folder:
                tree = job.snapshot if request.what == "code" else ""
                came = unpacking.unpack(source, folder, request.limit, tree, host, request.has_asked_for)
            gone = announced.files - len(came.files) - len(came.refused)
            if gone > 0:
                session.say(f"warning: {host}: {humanize.plural(gone, 'file')} went away before they were sent")
            elif announced.receipt and not came.refused:
                with contextlib.suppress(NotFoundError):  # its folder has gone: no receipt is needed any more
                    agent.call(Received(job.job, announced.receipt))
            _say_what_stays(session, job, announced, bool(came.files))
            return Fetched(came.files, announced.left, announced.left_bytes, came.refused)
        finally:
            channel.close()

    try:
        return session.retrying(host, pull)
    except OSError as error:
        raise FoundationsError(f"{target}: {error.strerror or error}") from None


def _announced(host: str, answer: JsonTable) -> FilesAnnounced:
    try:
        return FilesAnnounced.from_wire(answer, "what it sends")
    except BadRequest as error:
        raise HostRefused(f"{host}: what it says of its files makes no sense: {error}") from None


def _say_what_stays(session: Session, job: JobRow, announced: FilesAnnounced, others_came: bool) -> None:
    """Say what stays on the host because it cannot travel."""
    refused = announced.refused
    if refused:
        shown = "; ".join(f"{name}: {why}" for name, why in refused[:_MOST_SAID])
        more = (announced.refused_count or len(refused)) - min(len(refused), _MOST_SAID)
        text_ = f"{job.host}: left there: {shown}" + (f"; and {more} more" if more > 0 else "")
        if not others_came:
            raise FoundationsError(text_)
        session.say(f"warning: {text_}")
    if announced.in_git:
        count = humanize.plural(announced.in_git, "file")
        session.say(f"{job.host}: left there: {count} below .git/; --with-git fetches them")


def refused_words(where: str, refused: list[tuple[str, str]]) -> str:
    """Return which files could not be written here, in words."""
    shown = "; ".join(f"{name[:200]!a}: {why}" for name, why in refused[:_MOST_SAID])
    more = f"; and {len(refused) - _MOST_SAID} more" if len(refused) > _MOST_SAID else ""
    return f"{where}: {humanize.plural(len(refused), 'file')} refused: {shown}{more}"


class _TarBytes:
    """The bytes of a bulk channel as a file that tarfile can read."""

    def __init__(self, channel: Channel, lines: NonceLines, total: int, progress: Callable[[int, int], None]) -> None:
        self._channel, self._buffer = channel, lines.rest
        self._total, self._came, self._progress = total, 0, progress
        self.is_cut = False
        """Whether more was read than came: a tar stream says itself where it ends."""
        channel.set_timeout(120)

    def read(self, size: int = -1) -> bytes:
        while len(self._buffer) < size:
            try:
                data = self._channel.recv(1 << 18)
            except TimeoutError:
                raise HostUnreachable("the connection was lost while fetching: nothing came for 120 s") from None
            if not data:
                self.is_cut = not self._buffer
                break
            self._buffer += data
        page, self._buffer = self._buffer[:size], self._buffer[size:]
        self._came += len(page)
        self._progress(min(self._came, self._total), self._total)
        return page


def collect_outputs(session: Session, host: str) -> None:
    """Bring the declared outputs of this client's ended jobs from a host, each once; say what cannot be fetched.

    Raises:
        HostError: the host is out of reach.
    """
    for job in writes.to_collect(session.store, host):
        with _only_here(job) as alone:
            if alone and queries.job(session.store.conn, job).outputs is None:
                _collect(session, host, job)


@contextlib.contextmanager
def _only_here(job: str) -> Iterator[bool]:
    """Return whether no other process collects a job's outputs meanwhile."""
    folder = locations.outputs_folder(job)
    path = folder.parent / f".{folder.name}.lock"  # no job is called so
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
    requests = []
    if spec.get("outputs"):
        request = FetchRequest("outputs", tuple(dict.fromkeys(spec["outputs"])), limit, spec["subdir"])
        requests.append((request, locations.outputs_folder(job)))
    are_synced = {facts.get("kind") == SYNCED for facts in row.artifacts.values() if isinstance(facts, dict)}
    if False in are_synced:
        requests.append((FetchRequest("artifacts", limit=limit), locations.artifacts_folder(job)))
    if True in are_synced:
        requests.append((FetchRequest(SYNCED, limit=limit), locations.synced_folder(job)))
    came = Fetched([], [])
    try:
        for request, folder in requests:
            part = fetch(session, row, request, folder)
            left_bytes = came.left_bytes + part.left_bytes
            came = Fetched(came.files + part.files, came.left + part.left, left_bytes, came.refused + part.refused)
    except HostUnreachable:
        raise
    except NotFoundError as error:
        session.say(f"warning: outputs of {job[:6]}: {error}")
        writes.put_outputs(session.store, job, {"folder": None, "files": 0, "bytes": 0, "error": str(error)})
        return
    except FoundationsError as error:
        session.say(f"warning: outputs of {job[:6]}: {error}; they are tried again at the next sync")
        return
    facts = {"folder": str(requests[0][1]), "files": len(came.files), "bytes": sum(size for _, size in came.files)}
    refused = [[name[:200], why] for name, why in came.refused[:100]]
    kept = {"left": came.left[:100], "left_bytes": came.left_bytes, "refused": refused}
    writes.put_outputs(session.store, job, {**facts, **kept})
    if came.left:
        session.say(
            f"warning: outputs of {job[:6]}: {humanize.plural(len(came.left), 'file')},"
            f" {humanize.size(came.left_bytes)}, stayed on {host}: they are over the limit of {humanize.size(limit)} "
            "(limit_mb under [outputs])"
        )
    if came.refused:
        session.say("warning: " + refused_words(f"outputs of {job[:6]}", came.refused))


def artifact(session: Session, row: JobRow, key: str) -> Path:
    """Return the path of one artifact of a job on this machine, fetched when it is not here yet.

    A directory that is kept in step is one, too: its key begins with "synced/".

    Raises:
        NotFoundError: the job has none of this name. HostError: its host is out of reach.
    """
    facts = row.artifacts.get(key)
    if not isinstance(facts, dict):
        all_artifacts = ", ".join(row.artifacts) or "none"
        raise NotFoundError(f"job {row.job} has no artifact {key!r}", f"it has: {all_artifacts}")
    path = place_of_artifact(row, facts)
    if path is None:
        raise NotFoundError(f"the artifact {key!r} of job {row.job} has no name that a file can have")
    if row.kind != local_runs.KIND:
        is_synced = facts.get("kind") == SYNCED
        may_have_grown = is_synced and not row.is_final
        if may_have_grown or not os.path.exists(path):
            came = fetch(session, row, FetchRequest(SYNCED if is_synced else "artifacts", (path.name,)), path.parent)
            if came.refused:
                session.say("warning: " + refused_words(f"{row.job[:6]}: {key}", came.refused))
    if not os.path.exists(path):  # its name may be too long for a file
        raise NotFoundError(f"the artifact {key!r} of job {row.job} is gone")
    return path


def place_of_artifact(row: JobRow, facts: JsonTable) -> Path | None:
    """Return where an artifact of a job is on this machine once it is here; None where it has no name of a file.

    Args:
        row: the job.
        facts: what the job said of it, which may be anything.
    """
    is_synced = facts.get("kind") == SYNCED
    name = facts.get("name" if is_synced else "path")
    if not isinstance(name, str) or "/" in name or name in ("", ".", "..") or "\0" in name:
        return None
    if row.kind == local_runs.KIND:
        folder = local_runs.synced(row.job, row.attempt) if is_synced else local_runs.artifacts(row.job, row.attempt)
    else:
        folder = locations.synced_folder(row.job) if is_synced else locations.artifacts_folder(row.job)
    return folder / name
