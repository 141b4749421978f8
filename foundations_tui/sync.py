"""Keeping the store up to date with the hosts: one cursor a stream, pulled from where it stands.

Two kinds of streams: a host's changes (its journal, folded), and each job's log and records. Whatever kills the
client, the next pull goes on where the last whole page ended.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from typing import Any

from foundations_tui import fetching, patterns, trash
from foundations_tui.errors import FoundationsError, HostError, HostUnreachable, NotFoundError, StoreError, as_ours
from foundations_tui.hosts.agent import Agent, Answer
from foundations_tui.processes import is_running
from foundations_tui.session import Session
from foundations_tui.store import writes
from foundations_tui.store.db import Store
from remote_agent.protocol import PAGE_BYTES

_PAGES_AHEAD = 8
"""So many pages are asked for at once: a far host's round trips overlap."""
_PAGES_A_ROUND = 64
"""So many pages of one stream are pulled before states are looked at again."""
BATCH_BYTES = 8 * PAGE_BYTES
"""So much of a stream is stored at once: a transaction costs as much as many records."""
_LONGEST_LINE = 1 << 20
_JOBS_A_PAGE = 2000
_WATCH_SECONDS = 30.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0


class HostSync:
    """One host's part of the store, over one connection."""

    def __init__(self, store: Store, agent: Agent) -> None:
        self._store = store
        self._agent = agent
        self._host = agent.host.name
        self._waits_version = -1
        self._resources: dict[str, Any] = {}

    def pull_changes(self) -> None:
        """Bring the host's jobs up to date.

        Raises:
            HostError: the connection was lost.
        """
        dead = [job for job, submitter in writes.intents(self._store, self._host) if not is_running(submitter)]
        while True:
            base = writes.cursor(self._store, self._host)
            wish = {"journal": base[0], "after": base[1], "waits_version": self._waits_version}
            page, _ = self._agent.call("changes", wish)
            if writes.put_changes(self._store, self._host, base, page):
                self._waits_version = page.get("waits_version", self._waits_version)
                self._note_contact(page)
                if not page["more"]:
                    break
        unknown = {job for job, _ in writes.intents(self._store, self._host)}
        for job in unknown.intersection(dead):
            writes.fail_intent(self._store, job)

    def push_annotations(self) -> None:
        """Tell the host what was said of its jobs here.

        Raises:
            HostError: the connection was lost.
        """
        while unsent := writes.unsent_annotations(self._store, self._host):
            self._agent.call("annotate", {"jobs": unsent})
            writes.put_annotations_sent(self._store, unsent)

    def pull_sizes(self) -> None:
        """Learn how long the streams of running jobs are."""
        answer, _ = self._agent.call("stream_sizes")
        self._put_sizes(answer["streams"])

    def pull_streams(self, jobs: Collection[str] | None = None, logs: bool = True) -> bool:
        """Bring logs and records here, as far as sizes are known.

        Args:
            jobs: only of these; None for all.
            logs: the logs too, or only the records.
        Returns:
            Whether all was brought; a long stream takes several rounds.
        """
        whole = True
        for job, attempt, name, offset in writes.behind(self._store, self._host, jobs, logs):
            try:
                whole &= _StreamPull(self._store, self._agent, job, attempt, name).run(offset)
                if name == "log":
                    patterns.take_in(self._store, job, attempt)
            except NotFoundError:
                continue  # deleted on the host: the next changes say so
        writes.mark_complete(self._store, self._host)
        return whole

    def pull_samples(self) -> None:
        """Bring what the host itself used over time, as far as it has been written down.

        Raises:
            HostError: the connection was lost.
        """
        while True:
            base = writes.samples_offset(self._store, self._host)
            answer, page = self._agent.call("samples", {"offset": base})
            if not page:
                return
            if writes.put_host_samples(self._store, self._host, base, answer["offset"], page) == base:
                return

    def acknowledge(self, client: str) -> None:
        """Tell the host which ended jobs are here whole, so that it may give up their folders when the user says so.

        Raises:
            HostError: the connection was lost.
        """
        jobs = writes.to_acknowledge(self._store, self._host)
        for start in range(0, len(jobs), _JOBS_A_PAGE):
            page = jobs[start : start + _JOBS_A_PAGE]
            self._agent.call("acknowledge", {"client": client, "jobs": page})
            writes.put_told(self._store, page)

    def ask_for_news(self) -> Answer:
        """Ask the host to answer when a job changes or a stream grows, or after half a minute."""
        _, seq = writes.cursor(self._store, self._host)
        wish = {"seq": seq, "waits_version": self._waits_version, "timeout": _WATCH_SECONDS}
        return self._agent.ask("watch", wish)

    def take_news(self, asked: Answer) -> None:
        """Wait for that answer and note which streams grew.

        Raises:
            HostError: the connection was lost.
        """
        answer, _ = asked.get(_WATCH_SECONDS + 20)
        self._put_sizes(answer["grown"])

    def _put_sizes(self, sizes: list[list[Any]]) -> None:
        writes.put_sizes(self._store, self._host, [(job, attempt, name, size) for job, attempt, name, size in sizes])

    def _note_contact(self, page: dict[str, Any]) -> None:
        if page["resources"] != self._resources:
            self._resources = page["resources"]
            writes.put_contact(self._store, self._host, page)


class _StreamPull:
    """The pull of one stream, pages asked for ahead."""

    def __init__(self, store: Store, agent: Agent, job: str, attempt: int, name: str) -> None:
        self._store, self._agent = store, agent
        self._key = (job, attempt, name)

    def run(self, offset: int) -> bool:
        """Pull from an offset; say whether the stream's end was reached."""
        job, attempt, name = self._key
        size = offset + 1
        pages = 0
        carry = b""
        asked = [self._ask(offset)]
        end = offset
        while asked:
            try:
                answer, page = asked.pop(0).get()
            except HostError:
                self._take(carry, offset)  # what has come has come
                raise
            size = answer["size"]
            end += len(page)
            pages += 1
            carry += page
            if len(carry) >= BATCH_BYTES:
                carry, offset = self._take(carry, offset)
            if not page:
                break
            if len(page) == PAGE_BYTES and pages + len(asked) < _PAGES_A_ROUND:
                ahead = end + len(asked) * PAGE_BYTES
                while len(asked) < _PAGES_AHEAD and ahead < size:
                    asked.append(self._ask(ahead))
                    ahead += PAGE_BYTES
            elif len(page) < PAGE_BYTES:
                break
        if carry:
            carry, offset = self._take(carry, offset)
        if end >= size and carry:
            self._pass_over_torn_line(offset, end)
        return end >= size

    def _ask(self, offset: int) -> Any:
        job, attempt, name = self._key
        return self._agent.ask("read", {"job": job, "attempt": attempt, "stream": name, "offset": offset})

    def _take(self, data: bytes, offset: int) -> tuple[bytes, int]:
        """Store what can be stored and return (what is left for later, where that begins)."""
        job, attempt, name = self._key
        if name == "log":
            writes.put_log_page(self._store, job, attempt, offset, data)
            return b"", offset + len(data)
        if name == "samples":
            taken = writes.put_samples_page(self._store, job, attempt, offset, data)
        else:
            taken = writes.put_records_page(self._store, job, attempt, name, offset, data)
        left = data[taken:]
        if len(left) > _LONGEST_LINE:
            writes.skip_unfinished(self._store, job, attempt, name, offset + taken, offset + len(data))
            return b"", offset + len(data)
        return left, offset + taken

    def _pass_over_torn_line(self, offset: int, end: int) -> None:
        """A writer that has ended finishes its line no more."""
        job, attempt, name = self._key
        state = self._store.conn.execute("SELECT state FROM jobs WHERE job = ?", [job]).fetchone()
        if state is not None and state["state"] in ("completed", "failed", "stopped", "lost"):
            writes.skip_unfinished(self._store, job, attempt, name, offset, end)


def catch_up(
    session: Session, host: str, jobs: Collection[str] | None = None, streams: bool = True, logs: bool = True
) -> None:
    """Bring all that a host has into the store.

    Args:
        session: the client's.
        host: which.
        jobs: bring only the streams of these; None for all.
        streams: with logs and records, or only the states.
        logs: the logs too, or only the records.
    Raises:
        HostError: it is out of reach.
    """

    def pull(agent: Agent) -> None:
        host_sync = HostSync(session.store, agent)
        host_sync.push_annotations()
        host_sync.pull_changes()
        if streams:
            host_sync.pull_sizes()
            while not host_sync.pull_streams(jobs, logs):
                pass
            host_sync.pull_samples()
            if jobs is None:
                _settle(session, host, host_sync)

    with_contact_noted(session, host, lambda: session.retrying(host, pull, seconds=10))


def _settle(session: Session, host: str, host_sync: HostSync) -> None:
    """When all streams are here: bring declared outputs, tell the host what is here whole, empty the trash."""
    fetching.collect_outputs(session, host)
    host_sync.acknowledge(session.client_id)
    trash.empty(session, host)


def with_contact_noted(session: Session, host: str, action: Callable[[], None]) -> None:
    """Do something with a host, and note in the store when it cannot be reached."""
    try:
        action()
    except HostUnreachable as error:
        writes.put_unreachable(session.store, host, str(error))
        raise


def catch_up_all(session: Session, hosts: Collection[str], streams: bool = True) -> dict[str, FoundationsError]:
    """Bring several hosts up to date at once, and return what went wrong with which."""
    problems: dict[str, FoundationsError] = {}

    def one(host: str) -> None:
        try:
            catch_up(session, host, streams=streams)
        except Exception as error:
            problems[host] = as_ours(error)

    threads = [threading.Thread(target=one, args=(host,), daemon=True) for host in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return problems


class Follower:
    """Keeps the store up to date with one host until it is stopped; a host out of reach is tried again and again."""

    def __init__(
        self,
        session: Session,
        host: str,
        changed: Callable[[], None],
        jobs: Collection[str] | None = None,
        streams: bool = True,
        patient: bool = False,
    ) -> None:
        """Make one; ``run`` it in a thread of its own.

        Args:
            session: the client's.
            host: which.
            changed: called after each round that brought news, or lost or found the host.
            jobs: follow only the streams of these; None for all.
            streams: with logs and records, or only the states.
            patient: try again, too, when the store cannot be written (a full disk).
        """
        self._session, self._host = session, host
        self._patient = patient
        self._changed = changed
        self._jobs, self._streams = jobs, streams
        self._stopped = threading.Event()
        self._asked: Answer | None = None

    def run(self) -> None:
        """Follow the host until ``stop``.

        Raises:
            FoundationsError: it cannot be followed, and trying again would not help.
        """
        pause = _FIRST_PAUSE
        while not self._stopped.is_set():
            try:
                host_sync = HostSync(self._session.store, self._session.agent(self._host))
                host_sync.push_annotations()
                host_sync.pull_changes()
                if self._streams:
                    host_sync.pull_sizes()
                pause = _FIRST_PAUSE
                self._follow(host_sync)
            except HostError as error:
                if self._stopped.is_set():
                    return
                writes.put_unreachable(self._session.store, self._host, str(error))
                self._changed()
                self._stopped.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            except StoreError:
                if not self._patient:
                    raise
                self._stopped.wait(_LONGEST_PAUSE)

    def stop(self) -> None:
        """End it at once; the connection stays."""
        self._stopped.set()
        if self._asked is not None:
            self._asked.fail(HostUnreachable(f"{self._host} is no longer followed"))

    def _follow(self, host_sync: HostSync) -> None:
        while not self._stopped.is_set():
            whole = host_sync.pull_streams(self._jobs) if self._streams else True
            if not whole:
                host_sync.pull_sizes()
            self._changed()
            if whole and self._streams:
                host_sync.pull_samples()
                if self._jobs is None:
                    _settle(self._session, self._host, host_sync)
            if whole:
                self._asked = host_sync.ask_for_news()
                if self._stopped.is_set():
                    return
                host_sync.take_news(self._asked)
            host_sync.push_annotations()
            host_sync.pull_changes()
