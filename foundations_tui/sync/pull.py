"""Keeping the store up to date with the hosts: one cursor a stream, pulled from where it stands.

Two kinds of streams: a host's changes (its journal, folded), and each job's log and records. Whatever kills the
client, the next pull goes on where the last whole page ended.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Collection

from foundations_tui.config import locations
from foundations_tui.errors import (
    FoundationsError,
    HostError,
    HostRefused,
    HostUnreachable,
    NotFoundError,
    StoreError,
    as_ours,
)
from foundations_tui.hosts.agent import Agent, Promise
from foundations_tui.ingest import event_metrics, log_patterns, stories
from foundations_tui.session import Session
from foundations_tui.store import (
    host_samples,
    models,
    queries,
    schedules,
    services,
    stories as stored_stories,
    write_annotations,
    write_facts,
    write_streams,
    writes,
)
from foundations_tui.store.db import Store
from foundations_tui.store.process_identity import is_running
from foundations_tui.store.rows import FINAL_STATES, JobRow
from foundations_tui.sync import outputs, trash
from remote_agent.protocol import facts, messages
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.framing import PAGE_BYTES
from remote_agent.protocol.jobs import JobView
from remote_agent.protocol.resources import Resources
from remote_agent.protocol.services import MOST_SERVICES, ServiceView
from remote_agent.protocol.wire import JsonTable
from remote_agent.storage import log_cap

_PAGES_AHEAD = 8
"""Pages to request at once: a far host's round trips overlap."""
_PAGES_A_ROUND = 64
"""Pages of one stream to pull before looking at states again."""
BATCH_BYTES = 8 * PAGE_BYTES
"""So much of a stream is stored at once: a transaction costs as much as many records."""
_LONGEST_LINE = 1 << 20
_JOBS_A_PAGE = 2000
_TRIES = 5
_MOST_SAID = 20
"""Most wrong entries of a page to name."""
_SAMPLE_PAGES = 200
"""Pages of samples in one round; a host keeps fewer."""
_WATCH_SECONDS = 30.0


class HostSync:
    """One host's part of the store, over one connection."""

    def __init__(self, store: Store, agent: Agent) -> None:
        self._store = store
        self._agent = agent
        self._host = agent.host.name
        self._waits_version = -1
        self._services_version = -1
        self._schedules_version = -1
        self._resources: Resources | None = None
        self._facts_came = True
        """Whether lists of packages may be missing."""
        self._no_packages: set[str] = set()
        """Hashes of lists of packages that the host does not have."""
        self.left: set[str] = set()
        """Jobs of which event files stay on the host: they are over the limit of what comes back."""

    def pull_changes(self) -> None:
        """Bring the host's jobs up to date.

        Raises:
            HostError: the connection was lost.
        """
        dead = [job for job, submitter in writes.intents(self._store, self._host) if not is_running(submitter)]
        left = stored_stories.time_left(self._store.conn, self._host, time.time())
        while True:
            base = writes.cursor(self._store, self._host)
            page = self._agent.call(messages.Changes(base[1], base[0], transitions=True, time_left=left))
            self._check_progress(base, page)
            problems: list[str] = []
            views = self._views(page, problems)
            if writes.put_changes(self._store, self._host, base, page, views):
                self._note_contact(page, problems[:_MOST_SAID])
                if not page.more:
                    break
        if page.waits_version not in (None, self._waits_version):
            self._pull_waits()
        if page.services_version not in (None, self._services_version):
            self._pull_services(page.journal)
        if page.schedules_version not in (None, self._schedules_version):
            answer = self._agent.call(messages.Schedules())
            schedules.put_schedules(self._store, self._host, answer.schedules, page.journal)
            self._schedules_version = answer.version
        if page.registry_seq is not None:
            self._pull_registry(page.journal, page.registry_seq)
        unknown = {job for job, _ in writes.intents(self._store, self._host)}
        for job in unknown.intersection(dead):
            writes.fail_intent(self._store, job)

    def _check_progress(self, base: tuple[str, int], page: messages.ChangesAnswer) -> None:
        """Refuse a page that leads to no end."""
        reached = base[1] if page.journal == base[0] else 0
        if page.more and (page.seq <= reached or not (page.jobs or page.large or page.deleted or page.transitions)):
            raise self._endless("its list of jobs")

    def _endless(self, what: str) -> HostRefused:
        return HostRefused(f"{self._host}: {what} has no end: the agent there says that there is more, and gives none")

    def _views(self, page: messages.ChangesAnswer, problems: list[str]) -> list[JobView]:
        """Return the jobs of a page; one that makes no sense costs only itself."""
        views = []
        wires = [*page.jobs, *(self._pull_entry(job) for job, _, _ in page.large)]
        for wire in wires:
            try:
                views.append(JobView.received(wire, problems))
            except BadRequest as error:
                problems.append(f"a job of this host makes no sense and is left out: {error}")
        return views

    def _pull_entry(self, job: str) -> JsonTable:
        """Return one job that is too large for a page, brought page by page."""
        for _ in range(_TRIES):
            data, seq, size = b"", -1, 0
            while seq < 0 or len(data) < size:
                answer, page = self._agent.call_for_bytes(messages.Entry(job, len(data)))
                if seq not in (-1, answer.seq):
                    break  # it changed meanwhile
                seq, size = answer.seq, answer.size
                data += page
                if not page:
                    raise self._endless(f"job {job}")
            else:
                return _json_table(data[:size])
        raise HostRefused(f"{self._host}: job {job} changes faster than it can be brought here")

    def _pull_waits(self) -> None:
        """Learn why jobs wait; when it changes meanwhile, the next round brings it again."""
        groups: list[tuple[str, list[str]]] = []
        estimates: dict[str, float] = {}
        after: int | None = 0
        version = -1
        while after is not None:
            answer = self._agent.call(messages.Waits(after))
            if version not in (-1, answer.version):
                return
            version = answer.version
            groups += answer.groups
            estimates.update(answer.estimates)
            following = answer.next
            if following is not None and following <= after:
                raise self._endless("its list of waiting jobs")
            after = following
        writes.put_waits(self._store, self._host, groups, estimates)
        self._waits_version = version

    def _pull_services(self, journal: str) -> None:
        """Learn which services the host has, and how they are."""
        views: list[ServiceView] = []
        after = ""
        while True:
            answer = self._agent.call(messages.Services(after))
            views += answer.services
            last = answer.services[-1].name if answer.services else ""
            if not answer.more:
                break
            if last <= after or len(views) > MOST_SERVICES:
                raise self._endless("its list of services")
            after = last
        services.put_services(self._store, self._host, views, journal)
        self._services_version = answer.version

    def _pull_registry(self, journal: str, last: int) -> None:
        """Learn what happened to the host's models; give it what only an earlier journal of it knew.

        Args:
            journal: its journal.
            last: the sequence number of the last thing that happened.
        """
        orphans = models.orphans(self._store.conn, self._host, journal)
        refused = sum(self._agent.call(messages.AdoptRegistry(page)).refused for page in models.pages(orphans))
        while True:
            base = models.cursor(self._store.conn, self._host)
            if base == (journal, last) or (base[0] == journal and base[1] > last and not orphans):
                break
            answer = self._agent.call(messages.Registry(base[1], base[0]))
            reached = base[1] if answer.journal == base[0] else 0
            if answer.more and answer.seq <= reached:
                raise self._endless("its list of what happened to models")
            models.put_events(self._store, self._host, base, answer.journal, answer.seq, answer.events)
            if not answer.more:
                break
        if orphans and not refused:
            models.drop_orphans(self._store, self._host, journal)

    def push_annotations(self) -> None:
        """Send the host the annotations that were made of its jobs here.

        Raises:
            HostError: the connection was lost.
        """
        while unsent := write_annotations.unsent_annotations(self._store, self._host):
            self._agent.call(messages.Annotate(unsent))
            write_annotations.put_annotations_sent(self._store, unsent)

    def pull_sizes(self) -> None:
        """Learn how long the streams of running jobs are."""
        last: tuple[str, int, str] | None = None
        while True:
            answer = self._agent.call(messages.StreamSizes(last))
            self._put_sizes(answer.streams)
            if not answer.more:
                return
            job, attempt, name, _ = answer.streams[-1] if answer.streams else ("", 0, "", 0)
            if (job, attempt, name) <= (last or ("", 0, "")):
                raise self._endless("its list of logs and records")
            last = (job, attempt, name)

    def pull_streams(self, jobs: Collection[str] | None = None, logs: bool = True) -> bool:
        """Bring logs and records here, as far as sizes are known.

        Args:
            jobs: only of these; None for all.
            logs: the logs too, or only the records.
        Returns:
            Whether all was brought; a long stream takes several rounds.
        """
        whole = True
        for job, attempt, name, offset, size in write_streams.behind(self._store, self._host, jobs, logs):
            if name.startswith(write_streams.EVENTS) and self._is_over_limit(job, attempt, size - offset):
                write_streams.put_size(self._store, job, attempt, name, offset)
                self.left.add(job)
                continue
            try:
                whole &= _StreamPull(self._store, self._agent, job, attempt, name).run(offset, size)
                self._facts_came |= name == "facts"
                if name == "log":
                    log_patterns.ingest(self._store, job, attempt)
                    _bound_log(self._store, job, attempt)
            except NotFoundError:
                continue  # deleted on the host: the next changes say so
        self._pull_packages()
        write_streams.mark_complete(self._store, self._host)
        return whole

    def _pull_packages(self) -> None:
        """Bring the lists of packages that facts name by hash; one that is not there, or is another, is passed over."""
        if not self._facts_came:
            return
        self._facts_came = False
        for digest, job, attempt in write_facts.missing_packages(self._store, self._host):
            if digest in self._no_packages:
                continue
            try:
                packages = facts.packages_of(self._read_whole(job, attempt, f"packages/{digest}"), digest)
            except (NotFoundError, HostRefused, BadRequest):
                self._no_packages.add(digest)
                continue
            write_facts.put_packages(self._store, digest, packages)
        for digest, job, attempt in write_facts.missing_locks(self._store, self._host):
            if digest not in self._no_packages:
                self._pull_lock(digest, job, attempt)

    def _pull_lock(self, digest: str, job: str, attempt: int) -> None:
        """Bring a lock that a host has made; one that is not there, or is another, is passed over."""
        try:
            data = self._read_whole(job, attempt, f"locks/{digest}")
            if hashlib.sha256(data).hexdigest() != digest:
                raise BadRequest("it is not what its hash says")
            write_facts.put_lock(self._store, data.decode("utf-8"))
        except (NotFoundError, HostRefused, BadRequest, UnicodeDecodeError):
            self._no_packages.add(digest)

    def _read_whole(self, job: str, attempt: int, name: str) -> bytes:
        """Return all of a short stream.

        Raises:
            HostRefused: it is longer than it may be, or has no end.
        """
        data, size = b"", 1
        while len(data) < size:
            answer, page = self._agent.call_for_bytes(messages.Read(job, attempt, name, len(data)))
            size = answer.size
            data += page
            if size > facts.MOST_PACKAGES_BYTES or (not page and len(data) < size):
                raise self._endless(name)
        return data

    def _is_over_limit(self, job: str, attempt: int, more: int) -> bool:
        """Return whether event files would take more than the outputs of a job may."""
        limit = int(queries.spec(self._store.conn, job).get("output_limit") or 0)
        here = sum(write_streams.event_files(self._store.conn, job, attempt).values())
        return bool(limit) and here + more > limit

    def pull_samples(self) -> None:
        """Bring what the host itself used over time, as far as it has been written down.

        Raises:
            HostError: the connection was lost.
        """
        for _ in range(_SAMPLE_PAGES):
            base = host_samples.offset(self._store, self._host)
            answer, page = self._agent.call_for_bytes(messages.Samples(base))
            if not page:
                return
            if answer.offset < base:
                raise HostRefused(f"{self._host}: its samples go back in time: {answer.offset} after {base}")
            if host_samples.put_page(self._store, self._host, base, answer.offset, page) <= base:
                return

    def acknowledge(self, client: str) -> None:
        """Tell the host which ended jobs are here whole, so that it may give up their folders when the user says so.

        Raises:
            HostError: the connection was lost.
        """
        jobs = writes.to_acknowledge(self._store, self._host)
        for start in range(0, len(jobs), _JOBS_A_PAGE):
            page = jobs[start : start + _JOBS_A_PAGE]
            self._agent.call(messages.Acknowledge(client, page))
            writes.mark_acknowledged(self._store, page)

    def ask_for_news(self) -> Promise[messages.WatchAnswer]:
        """Ask the host to answer when a job changes or a stream grows, or after half a minute."""
        _, seq = writes.cursor(self._store, self._host)
        return self._agent.ask(messages.Watch(seq, self._waits_version, self._services_version, _WATCH_SECONDS))

    def take_news(self, asked: Promise[messages.WatchAnswer]) -> None:
        """Wait for that answer and note which streams grew.

        Raises:
            HostError: the connection was lost.
        """
        answer, _ = asked.get(_WATCH_SECONDS + 20)
        self._put_sizes(answer.grown)

    def _put_sizes(self, sizes: list[tuple[str, int, str, int]]) -> None:
        write_streams.put_sizes(self._store, self._host, sizes)

    def _note_contact(self, page: messages.ChangesAnswer, problems: list[str]) -> None:
        if page.resources != self._resources:
            self._resources = page.resources
            writes.put_contact(self._store, self._host, page.resources, [*page.problems, *problems])


def _json_table(data: bytes) -> JsonTable:
    """Return what a host's JSON says; an empty table when it is none."""
    try:
        table = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return table if isinstance(table, dict) else {}


def _bound_log(store: Store, job: str, attempt: int) -> None:
    """Keep a log that its job bounded as short here as its host does."""
    limit = int(queries.spec(store.conn, job).get("log_limit") or 0)
    if limit:
        log_cap.bound(str(locations.log_file(job, attempt)), limit)


class _StreamPull:
    """The pull of one stream, pages asked for ahead."""

    def __init__(self, store: Store, agent: Agent, job: str, attempt: int, name: str) -> None:
        self._store, self._agent = store, agent
        self._key = (job, attempt, name)
        self._carry = b""
        """What has come and is not stored yet."""
        self._stored = 0
        """Up to where the stream is stored."""

    def run(self, offset: int, known_size: int) -> bool:
        """Pull from an offset.

        Args:
            offset: up to where it is here.
            known_size: its size as last heard: one that grows all the time is pulled up to there.
        Returns:
            Whether that was reached.
        """
        self._carry, self._stored = b"", offset
        end, size, pages = offset, known_size, 0
        asked: deque[tuple[int, Promise[messages.ReadAnswer]]] = deque()
        while end < size and (end < known_size or asked):
            if not asked or asked[0][0] > end:
                if pages >= _PAGES_A_ROUND:
                    break
                asked = deque((at, self._ask(at)) for at in _pages_ahead(end, size))
            at, answer = asked.popleft()
            before = end
            try:
                page_answer, page = answer.get()
            except HostError:
                self._take()  # what has come has come
                raise
            size, begin = page_answer.size, max(at, at if page_answer.offset is None else page_answer.offset)
            pages += 1
            if begin > end:
                self._pass_over(end, min(begin, size))
                end = min(begin, size)
            page = page[end - begin :]
            end += len(page)
            self._carry += page
            if len(self._carry) >= BATCH_BYTES:
                self._take()
            if end == before == at and end < size:
                size = end  # it says that there is more, and gives none
                write_streams.put_size(self._store, *self._key, size)
        self._take()
        if size < known_size and self._key[2].startswith(write_streams.EVENTS):
            write_streams.put_size(self._store, *self._key, max(end, size))  # it has gone, or was begun again
        if end >= size and self._carry:
            self._pass_over_torn_line(self._stored, end)
        return end >= min(known_size, size)

    def _pass_over(self, begin: int, end: int) -> None:
        """Pass over a hole: what the host does not keep costs no space here."""
        self._take()
        job, attempt, name = self._key
        if write_streams.is_file(name):
            write_streams.put_hole(self._store, job, attempt, name, begin, end)
        else:
            write_streams.skip_unfinished(self._store, job, attempt, name, self._stored, end)
        self._carry, self._stored = b"", end

    def _ask(self, offset: int) -> Promise[messages.ReadAnswer]:
        job, attempt, name = self._key
        return self._agent.ask(messages.Read(job, attempt, name, offset))

    def _take(self) -> None:
        """Store what can be stored of what has come; an unfinished line is left for later."""
        job, attempt, name = self._key
        data, offset = self._carry, self._stored
        if not data:
            return
        if write_streams.is_file(name):
            write_streams.put_page(self._store, job, attempt, name, offset, data)
            taken = len(data)
        elif name == "facts":
            taken = write_facts.put_page(self._store, job, attempt, offset, data)
        elif name == "samples":
            taken = write_streams.put_samples_page(self._store, job, attempt, offset, data)
        else:
            taken = write_streams.put_records_page(self._store, job, attempt, name, offset, data)
        if len(data) - taken > _LONGEST_LINE:
            write_streams.skip_unfinished(self._store, job, attempt, name, offset + taken, offset + len(data))
            taken = len(data)
        self._carry, self._stored = data[taken:], offset + taken

    def _pass_over_torn_line(self, offset: int, end: int) -> None:
        """A finished writer never completes its last line."""
        job, attempt, name = self._key
        if queries.state(self._store.conn, job) in FINAL_STATES:
            write_streams.skip_unfinished(self._store, job, attempt, name, offset, end)


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
            read_event_files(session, host, host_sync.left)
            host_sync.pull_samples()
            if jobs is None:
                settle(session, host, host_sync)
        stories.refresh(session.store)

    with_contact_noted(session, host, lambda: session.retrying(host, pull, seconds=10))


def read_event_files(session: Session, host: str, left: Collection[str]) -> None:
    """Ingest TensorBoard's event files; warn once of missing files, and of a missing reader."""
    for job in left:
        _say_once(
            session, f"warning: {job[:6]}: event files stay on {host}: they are over the limit of [outputs] limit_mb"
        )
    try:
        event_metrics.ingest(session, host)
    except StoreError:
        raise
    except FoundationsError as error:
        _say_once(session, f"warning: {host}: {error}" + (f" ({error.hint})" if error.hint else ""))


def _say_once(session: Session, words: str) -> None:
    if words not in _told:
        _told.add(words)
        session.say(words)


_told: set[str] = set()


def settle(session: Session, host: str, host_sync: HostSync) -> None:
    """When all streams are here: bring declared outputs, tell the host what is here whole, empty the trash."""
    outputs.collect_outputs(session, host)
    host_sync.acknowledge(session.client_id)
    trash.empty(session, host)


def with_contact_noted(session: Session, host: str, action: Callable[[], None]) -> None:
    """Do something with a host, and note in the store when it cannot be reached."""
    try:
        action()
    except HostUnreachable as error:
        writes.put_unreachable(session.store, host, str(error))
        raise


def catch_up_job(session: Session, row: JobRow) -> HostError | None:
    """Sync one job unless it is complete here; return why its host could not be reached."""
    if row.is_final and row.complete:
        return None
    try:
        catch_up(session, row.host, jobs=[row.job])
    except HostError as error:
        return error
    return None


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


def _pages_ahead(end: int, size: int) -> list[int]:
    """Return where the next pages begin that are asked for at once; a host may say any size."""
    return list(range(end, max(end + 1, size), PAGE_BYTES)[:_PAGES_AHEAD])
