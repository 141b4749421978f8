"""The logs of a service's replicas, as one."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from foundations_tui.errors import FoundationsError, NotFoundError, as_ours
from foundations_tui.jobs.watch import LocalLog
from foundations_tui.session import Session
from foundations_tui.store import queries, services
from foundations_tui.store.rows import JobRow
from foundations_tui.store.services import ServiceRow
from foundations_tui.sync.follower import Follower

_LOOK_SECONDS = 2.0
_LONGEST_LINE = 64 << 10
"""Bytes of a line that is not finished, which are printed all the same."""


def replicas(session: Session, row: ServiceRow) -> list[JobRow]:
    """Return the jobs that are the replicas of a service now, in their order."""
    found = []
    for replica in row.view.running:
        try:
            found.append(queries.job(session.store.conn, replica.job))
        except NotFoundError:
            continue  # begun a moment ago: the next look has it
    return found


def follow(session: Session, row: ServiceRow) -> Iterator[tuple[str, bytes]]:
    """Yield (replica, what came of its log), from the beginning of each one's current attempt, until nobody listens.

    Raises:
        FoundationsError: the host cannot be followed.
    """
    jobs: set[str] = set()
    logs: dict[str, LocalLog] = {}
    news = threading.Event()
    problems: list[FoundationsError] = []
    follower = Follower(session, row.host, news.set, jobs)

    def run() -> None:
        try:
            follower.run()
        except Exception as error:
            problems.append(as_ours(error))
            news.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while not problems:
            now = replicas(session, services.service(session.store.conn, row.name, row.host))
            ending = [queries.job(session.store.conn, job) for job in logs.keys() - {job.job for job in now}]
            for job in (*now, *ending):
                jobs.add(job.job)
                if job.attempt:
                    log = logs.setdefault(job.job, LocalLog(job.job, job.attempt))
                    for page in log.new_bytes(job):
                        yield job.name, page
                if job.is_final and job.complete:
                    jobs.discard(job.job)
                    logs.pop(job.job, None)
            news.wait(_LOOK_SECONDS)
            news.clear()
        raise problems[0]
    finally:
        follower.stop()
        thread.join(5)


class Joined:
    """Puts several logs one behind the other: each line with the name of its replica, once there are two."""

    def __init__(self) -> None:
        self._unfinished: dict[str, bytes] = {}

    def feed(self, name: str, page: bytes) -> bytes:
        """Return what is to be printed now: of one replica all, of several their whole lines."""
        if len(self._unfinished.keys() | {name}) < 2:
            self._unfinished[name] = b""
            return page
        data = self._unfinished.get(name, b"") + page
        end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        if len(data) - end > _LONGEST_LINE:
            end = len(data)
        self._unfinished[name] = data[end:]
        return self._named(name, data[:end])

    def end(self) -> bytes:
        """Return what is left of lines that are not finished."""
        return b"".join(self._named(name, rest) + b"\n" for name, rest in self._unfinished.items() if rest)

    def _named(self, name: str, data: bytes) -> bytes:
        prefix = name.encode() + b" | "
        return b"".join(prefix + line for line in data.splitlines(keepends=True))
