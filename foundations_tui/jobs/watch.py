"""Waiting for jobs and following their logs, over dropped connections."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from foundations_tui.config import locations
from foundations_tui.errors import FoundationsError, as_ours
from foundations_tui.ingest import local_runs
from foundations_tui.session import Session
from foundations_tui.store import queries, sparse
from foundations_tui.store.rows import JobRow
from foundations_tui.sync import outputs, pull
from foundations_tui.sync.follower import Follower

_LOOK_SECONDS = 60.0
"""The store is looked at so often at least, whatever a follower tells."""


def fresh(session: Session, row: JobRow) -> JobRow:
    """Return a job as its host knows it now; as of the last contact, which is said, when that cannot be reached."""
    if row.kind == local_runs.KIND:
        local_runs.take_into(session.store)
    elif (error := pull.catch_up_job(session, row)) is not None:
        session.say(f"warning: {error}; this is as of the last contact")
    return queries.job(session.store.conn, row.job)


def follow_log(session: Session, job_id: str) -> Iterator[bytes]:
    """Yield a job's log as it grows, from its beginning to its end, over dropped connections."""
    log = LocalLog(job_id)
    watched = _Watched(session, [job_id])
    with watched:
        while True:
            row = watched.next()[0]
            yield from log.new_bytes(row)
            if row.is_final and row.complete:
                return
            if row.is_final and row.is_gone:
                return


def wait_for(
    session: Session, ids: list[str], changed: Callable[[JobRow], None], seconds: float = math.inf
) -> list[JobRow]:
    """Wait until jobs have ended; a host out of reach is waited for.

    Args:
        session: the client's.
        ids: whole ids.
        changed: called with each job whose state changed.
        seconds: how long at most.
    Returns:
        The jobs, in the order asked for.
    """
    deadline = time.monotonic() + seconds
    states: dict[str, str] = {}
    with _Watched(session, ids, streams=False) as watched:
        while True:
            rows = watched.next(deadline)
            for row in rows:
                if states.get(row.job) != row.state:
                    states[row.job] = row.state
                    changed(row)
            if all(row.is_final for row in rows) or time.monotonic() >= deadline:
                return rows


def wait_for_any(session: Session, ids: list[str]) -> None:
    """Wait until at least one of some jobs has ended and its records are here.

    Args:
        session: the client's.
        ids: whole ids.
    """
    with _Watched(session, ids) as watched:
        while not any(row.is_final and row.complete for row in watched.next()):
            pass


NO_EXIT_CODE = 125
"""What stands for the exit code of a job that has none: it was lost, or stopped before it ran."""


def exit_code(rows: Iterable[JobRow]) -> int:
    """Return the exit code of ended jobs: of several, the first that is not 0, in their order."""
    return next((code for code in map(_exit_code, rows) if code), 0)


def _exit_code(row: JobRow) -> int:
    if row.state == "completed":
        return 0
    if row.state in ("failed", "stopped") and row.exit_code:
        return row.exit_code
    return NO_EXIT_CODE


def bring_results(session: Session, rows: Sequence[JobRow]) -> list[FoundationsError]:
    """Bring what ended jobs logged and declared as outputs, before whoever waited goes on with it.

    Returns:
        Why something could not be brought, of each host where that is so.
    """
    problems = []
    for host in dict.fromkeys(row.host for row in rows if row.kind != local_runs.KIND):
        jobs = [row.job for row in rows if row.host == host]
        with_patterns = [job for job in jobs if queries.spec(session.store.conn, job)["metrics"].get("patterns")]
        try:
            pull.catch_up(session, host, jobs, logs=False)
            if with_patterns:
                pull.catch_up(session, host, with_patterns)
            outputs.collect_outputs(session, host)
        except FoundationsError as error:
            problems.append(error)
    return problems


class _Watched:
    """Jobs whose hosts are followed in the background."""

    def __init__(self, session: Session, ids: list[str], streams: bool = True) -> None:
        self._session = session
        self._ids = ids
        self._streams = streams
        self._news = threading.Event()
        hosts = {queries.job(session.store.conn, job).host for job in ids}
        self._followers = [Follower(session, host, self._news.set, ids, streams) for host in hosts]
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

    def next(self, deadline: float = math.inf) -> list[JobRow]:
        """Return the jobs as they are now; from the second call on, when there is news.

        Args:
            deadline: by the monotonic clock; then they are returned without news, too.
        Raises:
            FoundationsError: a host can be followed no longer.
        """
        if not self._first:
            self._news.wait(timeout=max(0.0, min(_LOOK_SECONDS, deadline - time.monotonic())))
        self._first = False
        self._news.clear()
        if self._problem is not None:
            raise self._problem
        rows = self._rows()
        for row in rows:
            self._say_reach(row)
        return rows

    def _follow(self, follower: Follower) -> None:
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


class LocalLog:
    """Reads what is new in the local copy of a job's log, attempt after attempt."""

    def __init__(self, job: str, attempt: int = 1) -> None:
        """Make one.

        Args:
            job: whole id.
            attempt: the first one that is read.
        """
        self._job = job
        self._attempt = attempt
        self._offset = 0

    def new_bytes(self, row: JobRow) -> Iterator[bytes]:
        """Yield what has come since the last time."""
        if row.attempt == 0:
            return
        while True:
            yield from self._of_attempt()
            if self._attempt >= row.attempt:
                return
            self._attempt, self._offset = self._attempt + 1, 0

    def _of_attempt(self) -> Iterator[bytes]:
        try:
            with locations.log_file(self._job, self._attempt).open("rb") as file:
                for begin, page in sparse.pages(file.fileno(), self._offset):
                    self._offset = begin + len(page)
                    yield page
        except FileNotFoundError:
            return
