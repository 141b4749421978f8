"""What is done with jobs that exist: stop, delete, look at their files, fetch them, follow their log, wait for them."""

from __future__ import annotations

import json
import os
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foundations_tui import locations, sync
from foundations_tui.errors import FoundationsError, HostUnreachable, NotFoundError, as_ours
from foundations_tui.hosts.agent import refusal
from foundations_tui.hosts.shell import NonceLines
from foundations_tui.hosts.transport import Channel
from foundations_tui.session import Session
from foundations_tui.store import queries, writes
from foundations_tui.store.rows import JobRow
from remote_agent.jobs import JobView


def stop(session: Session, job: JobRow, by: str, grace: float) -> None:
    """Ask a job's host to end it: TERM to its processes, KILL after ``grace`` seconds.

    Raises:
        FoundationsError: it has ended already. HostError: its host is out of reach.
    """
    answer = session.retrying(job.host, lambda agent: agent.call("stop", {"job": job.job, "by": by, "grace": grace})[0])
    view = JobView.from_wire(answer["job"])
    writes.put_acknowledged(session.store, job.host, session.agent(job.host).hello["journal"], view)


def delete(session: Session, job: JobRow) -> None:
    """Remove an ended job: its folder on the host, then all of it here.

    Raises:
        FoundationsError: it has not ended. HostError: its host is out of reach.
    """
    if not job.is_final and job.state != "submitting":
        raise FoundationsError(f"job {job.job} has not ended ({job.state})", f"foundations stop {job.job}")
    if job.reason_code not in ("host_reinstalled", "submit_interrupted"):
        try:
            session.retrying(job.host, lambda agent: agent.call("delete", {"job": job.job}))
        except NotFoundError:
            pass  # the host has forgotten it already
    writes.remove_job(session.store, job.job)


def end_agent(session: Session, host: str) -> None:
    """End the agent of a host on which nothing runs or waits, and wait until it is gone.

    Raises:
        FoundationsError: jobs run or wait there. HostError: the host is out of reach.
    """
    agent = session.agent(host)
    agent.call("shutdown")
    agent.wait_for_end(10.0)


def list_files(session: Session, job: JobRow, path: str) -> dict[str, Any]:
    """Return a folder of a job's working directory: "entries" (name, kind, size, modified_at), "truncated".

    Raises:
        NotFoundError: there is no such path. HostError: its host is out of reach.
    """
    wish = {"job": job.job, "attempt": max(job.attempt, 1), "path": path}
    return session.retrying(job.host, lambda agent: agent.call("list", wish)[0])


# --- fetching ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wish:
    """Which files of a job are to be fetched."""

    what: str
    """"written" (all that it wrote in its folder), "paths", "code" (its snapshot) or "artifacts"."""
    paths: tuple[str, ...] = ()


def fetch(
    session: Session, job: JobRow, wish: Wish, target: Path, progress: Callable[[int, int], None]
) -> list[tuple[str, int]]:
    """Bring files of a job into a folder.

    Args:
        session: the client's.
        job: whose files.
        wish: which.
        target: made when it is not there; files of the same name are replaced whole or not at all.
        progress: called with (bytes that came, bytes in all).
    Returns:
        (path below the folder, bytes) of each file.
    Raises:
        NotFoundError: there is no such file. HostError: the host is out of reach. FoundationsError: the disk is full.
    """
    words = {
        "job": job.job,
        "attempt": max(job.attempt, 1),
        "snapshot": job.snapshot,
        "what": wish.what,
        "paths": list(wish.paths),
    }

    def pull(agent: Any) -> list[tuple[str, int]]:
        channel, lines, said = agent.open_bulk("send", json.dumps(words))
        try:
            if "error" in said:
                raise refusal(job.host, said["error"])
            found = _unpack(_TarBytes(channel, lines, said["bytes"], progress), target)
            _say_unreadable(session, job, said["unreadable"], bool(found))
            return found
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
    temporary = path.with_name(f".{path.name[:200]}.part")
    temporary.unlink(missing_ok=True)
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


# --- following and waiting --------------------------------------------------------------------------------------


def follow_log(session: Session, job_id: str) -> Iterator[bytes]:
    """Yield a job's log as it grows, from its beginning to its end, over dropped connections."""
    log = _LocalLog(job_id)
    watched = _Watched(session, [job_id])
    with watched:
        while True:
            row = watched.next()[0]
            yield from log.new_bytes(row)
            if row.is_final and row.complete:
                return
            if row.is_final and row.reason_code in ("host_reinstalled", "submit_interrupted"):
                return


def wait_for(session: Session, ids: list[str], changed: Callable[[JobRow], None]) -> list[JobRow]:
    """Wait until jobs have ended; a host out of reach is waited for.

    Args:
        session: the client's.
        ids: whole ids.
        changed: called with each job whose state changed.
    Returns:
        The jobs, in the order asked for.
    """
    states: dict[str, str] = {}
    with _Watched(session, ids, streams=False) as watched:
        while True:
            rows = watched.next()
            for row in rows:
                if states.get(row.job) != row.state:
                    states[row.job] = row.state
                    changed(row)
            if all(row.is_final for row in rows):
                return rows


class _Watched:
    """Jobs whose hosts are followed in the background."""

    def __init__(self, session: Session, ids: list[str], streams: bool = True) -> None:
        self._session = session
        self._ids = ids
        self._streams = streams
        self._news = threading.Event()
        hosts = {queries.job(session.store.conn, job).host for job in ids}
        self._followers = [sync.Follower(session, host, self._news.set, ids, streams) for host in hosts]
        self._told: dict[str, str | None] = {}
        self._first = True
        self._problem: FoundationsError | None = None

    def __enter__(self) -> _Watched:
        rows = self._rows()
        if not all(row.is_final and (row.complete or not self._streams) for row in rows):
            for follower in self._followers:
                threading.Thread(target=self._follow, args=(follower,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for follower in self._followers:
            follower.stop()

    def next(self) -> list[JobRow]:
        """Return the jobs as they are now; from the second call on, when there is news.

        Raises:
            FoundationsError: a host can be followed no longer.
        """
        if not self._first:
            self._news.wait(timeout=60)
        self._first = False
        self._news.clear()
        if self._problem is not None:
            raise self._problem
        rows = self._rows()
        for row in rows:
            self._say_reach(row)
        return rows

    def _follow(self, follower: sync.Follower) -> None:
        try:
            follower.run()
        except Exception as error:
            self._problem = as_ours(error)
            self._news.set()

    def _rows(self) -> list[JobRow]:
        return [queries.job(self._session.store.conn, job) for job in self._ids]

    def _say_reach(self, row: JobRow) -> None:
        if self._told.get(row.host, "reachable") != row.host_state and not row.is_final:
            back = row.host_state == "reachable"
            self._session.say(
                f"{row.host} is back" if back else f"{row.host} is out of reach; the job goes on there; trying again"
            )
        self._told[row.host] = row.host_state


class _LocalLog:
    """Reads what is new in the local copy of a job's log, attempt after attempt."""

    def __init__(self, job: str) -> None:
        self._job = job
        self._attempt = 0
        self._offset = 0

    def new_bytes(self, row: JobRow) -> Iterator[bytes]:
        if row.attempt == 0:
            return
        if self._attempt == 0:
            self._attempt = 1
        while True:
            yield from self._of_attempt()
            if self._attempt >= row.attempt:
                return
            self._attempt, self._offset = self._attempt + 1, 0

    def _of_attempt(self) -> Iterator[bytes]:
        try:
            with locations.log_file(self._job, self._attempt).open("rb") as file:
                file.seek(self._offset)
                while page := file.read(1 << 16):
                    self._offset += len(page)
                    yield page
        except FileNotFoundError:
            return
