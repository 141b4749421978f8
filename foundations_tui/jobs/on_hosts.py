"""Operations on hosts: pause and list their queues, release GPUs, end and remove agents."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from foundations_tui.config import locations
from foundations_tui.errors import FoundationsError, HostError, NotFoundError, UsageError
from foundations_tui.hosts.agent import Agent
from foundations_tui.ingest import local_runs
from foundations_tui.jobs import pruning
from foundations_tui.jobs.outcome import HostOutcome
from foundations_tui.jobs.ownership import Actor
from foundations_tui.session import Session
from foundations_tui.store import queries
from foundations_tui.store.rows import JobRow
from foundations_tui.sync import pull
from foundations_tui.text import humanize
from remote_agent.protocol import messages
from remote_agent.protocol.resources import HostGpu
from remote_agent.protocol.roles import Autostart, SetupTrial

_MOST_QUEUED = 1000
"""Most waiting jobs of a host to list."""
_MOST_OWNERS = 3
_ROUND_TRIPS = 5
_GPU_TOOLS = ("nvidia-smi", "rocm-smi", "amd-smi")
_FRESH, _LOOK_PATIENCE = 1.0, 5.0
"""Seconds: how old a shown look may be, and how long to wait for a newer one."""


# --- queues -----------------------------------------------------------------------------------------------------


def hosts_of_group(session: Session, group: str) -> list[str]:
    """Return the hosts that have unfinished jobs of a group, and those on which it is paused."""
    conn = session.store.conn
    paused = [name for name, row in queries.hosts(conn).items() if row.resources and group in row.resources.paused]
    return list(
        dict.fromkeys([*queries.groups(conn, group), *(name for name in paused if name in session.hosts.hosts)])
    )


def set_paused(session: Session, group: str, host: str, paused: bool) -> list[HostOutcome]:
    """Start no more jobs of a group, or of a whole host, or start them again; what runs goes on.

    Args:
        session: the client's.
        group: the group; empty for all jobs of the host.
        host: only there; empty for each host that has jobs of the group.
        paused: whether none is to start.
    Raises:
        UsageError: neither is named. NotFoundError: no host has jobs of the group.
    """
    if not group and not host:
        raise UsageError("name a group, or a host with --host")
    if group == "*":
        raise UsageError("* is no group", "--host HOST without a group means all jobs there")
    hosts = [session.hosts.host(host).name] if host else hosts_of_group(session, group)
    if not hosts:
        raise NotFoundError(f"no unfinished job is in a group {group!r}", "submit --group NAME puts it there")
    what = f"group {group}" if group else "all jobs"
    words = f"{what} {'paused: what runs goes on' if paused else 'resumed'}"
    outcomes = []
    for name in hosts:
        try:
            session.ask(name, messages.Pause(paused, group))
            outcomes.append(HostOutcome(name, words=words))
        except FoundationsError as error:
            outcomes.append(HostOutcome(name, error))
    return outcomes


@dataclass(frozen=True)
class WaitingJob:
    """A job in the queue of a host."""

    host: str
    place: int
    """In the order in which the jobs of the host start, from 1."""
    job: str
    row: JobRow | None
    """What the store has of it; None for one that somebody else submitted a moment ago."""
    priority: int
    reason: str
    starts_at: float | None
    """When it is expected to start, seconds since the epoch; None when that is not known."""

    @property
    def starts_in(self) -> float | None:
        """Seconds until it is expected to start."""
        return None if self.starts_at is None else max(0.0, self.starts_at - time.time())


@dataclass(frozen=True)
class QueueListing:
    """The queues of some hosts."""

    jobs: list[WaitingJob]
    notes: list[str]
    """What is to be said of them: paused groups, more jobs than are listed."""
    errors: dict[str, FoundationsError]
    """What went wrong with hosts that could not be asked."""


def queues(session: Session, hosts: Sequence[str]) -> QueueListing:
    """Return what waits on hosts, with why, and when it is expected to start."""
    errors = pull.catch_up_all(session, hosts, streams=False)
    listing = QueueListing([], [], errors)
    for host in hosts:
        if host not in errors:
            try:
                _list_queue(session, host, listing)
            except HostError as error:
                errors[host] = error
    return listing


def _list_queue(session: Session, host: str, listing: QueueListing) -> None:
    answer = session.ask(host, messages.Queue())
    jobs = answer.jobs
    while answer.more and answer.jobs and len(jobs) < _MOST_QUEUED:
        answer = session.ask(host, messages.Queue(len(jobs)))
        jobs = [*jobs, *answer.jobs]
    if answer.paused:
        listing.notes.append(f"{host}: paused: {paused_words(answer.paused)}")
    if answer.more:
        listing.notes.append(f"{host}: {answer.more:,} more wait")
    rows = {row.job: row for row in queries.jobs_by_id(session.store.conn, [job for job, *_ in jobs], details=False)}
    listing.jobs.extend(
        WaitingJob(host, place, job, rows.get(job), priority, reason, starts_at)
        for place, (job, priority, reason, starts_at) in enumerate(jobs, 1)
    )


# --- GPUs -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GpuListing:
    """The GPUs of some hosts."""

    gpus: list[tuple[str, HostGpu]]
    """(host, one of its GPUs)."""
    problems: list[tuple[str, str]]
    """(host, what is wrong with its GPUs, where its tool told)."""
    errors: list[FoundationsError]
    """Of hosts that could not be asked."""


GPU_HEADERS = ("HOST", "GPU", "NAME", "MEMORY", "LOAD", "TEMP", "POWER", "HELD BY")


def gpus(session: Session, hosts: Sequence[str]) -> GpuListing:
    """Have hosts look at their GPUs, and return them.

    Args:
        session: the client's.
        hosts: their names.
    """
    for host in hosts:
        _have_looked(session, host)
    errors = list(pull.catch_up_all(session, list(hosts), streams=False).values())
    by_name = queries.hosts(session.store.conn)
    rows = [by_name[host] for host in hosts if host in by_name]
    held_gpus = [(row.name, gpu) for row in rows for gpu in row.gpus]
    problems = [(row.name, problem) for row in rows for problem in row.problems if _is_of_gpus(problem)]
    return GpuListing(held_gpus, problems, errors)


def _is_of_gpus(problem: str) -> bool:
    return any(tool in problem for tool in _GPU_TOOLS) or "GPU" in problem


def _have_looked(session: Session, host: str) -> None:
    """Wait a moment until a host has looked at its GPUs: while nothing runs there it does so only when it is asked."""
    deadline = time.monotonic() + _LOOK_PATIENCE
    try:
        age = session.agent(host).call(messages.Hello(look=True)).gpus_age
        while age > _FRESH and time.monotonic() < deadline:
            time.sleep(0.05)
            age = session.agent(host).call(messages.Hello()).gpus_age
    except FoundationsError:
        return  # the sync that follows meets it again


def gpu_cells(conn: sqlite3.Connection, host: str, gpu: HostGpu) -> list[str]:
    """Return a GPU as a row of a table below ``GPU_HEADERS``."""
    total = gpu.memory_total
    memory = f"{(gpu.memory_used or 0) / 1024:.1f} of {total / 1024:.0f} GB" if total else ""
    measured = ((gpu.utilization, "%"), (gpu.temperature, "°C"), (gpu.power, "W"))
    in_words = ["" if value is None else f"{value} {unit}" for value, unit in measured]
    return [host, str(gpu.index), gpu.name, memory, *in_words, _holder(conn, gpu)]


def _holder(conn: sqlite3.Connection, gpu: HostGpu) -> str:
    if not gpu.jobs:
        return gpu.held or gpu.sick or "free"
    return ", ".join(_job_words(conn, job) for job in gpu.jobs)


def _job_words(conn: sqlite3.Connection, job: str) -> str:
    try:
        row = queries.job(conn, job)
    except NotFoundError:
        return f"job {job[:6]}"
    return f"{job[:6]} {row.label}" + (f" ({row.owner})" if row.owner else "")


def release_quarantine(session: Session, host: str, gpu: str) -> list[str]:
    """End the quarantine of a GPU, by index or UUID; return the UUIDs that were in quarantine.

    Raises:
        NotFoundError: there is no such GPU. HostError: the host is out of reach.
    """
    return session.ask(host, messages.ReleaseQuarantine(gpu)).released


def ignore_claims(session: Session, host: str, gpu: str, ignored: bool) -> None:
    """Overrule what other agents of a host claim of a GPU, or heed it again.

    Args:
        session: the client's.
        host: where.
        gpu: its index or UUID.
        ignored: whether claims do not count.
    Raises:
        NotFoundError: there is no such GPU. HostError: the host is out of reach.
    """
    session.ask(host, messages.Claims(gpu, ignored))


# --- hosts and their agents -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HostReport:
    """What a host has, as ``hosts test --json`` prints it."""

    host: str
    connect_seconds: float
    round_trip_seconds: float
    agent_version: str
    root: str
    python: str
    python_version: str
    cpus: float | None
    memory: float | None
    """Bytes, as the following."""
    disk_free: float | None
    disk_jobs: float | None
    gpus: list[HostGpu]
    problems: list[str]

    @property
    def lines(self) -> list[tuple[str, str]]:
        """Return it in words: (what, how much), as they stand below one another."""
        counts = Counter(gpu.name for gpu in self.gpus)
        gpus = ", ".join(f"{count} x {name}" for name, count in counts.items())
        disk = f"disk free {humanize.size(self.disk_free)}"
        return [
            ("connected in", f"{self.connect_seconds:.2f} s, round trip {self.round_trip_seconds * 1000:.1f} ms"),
            ("agent", f"{self.agent_version} in {self.root}"),
            ("python", f"{self.python} ({self.python_version})"),
            ("CPUs", f"{self.cpus}, memory {humanize.size(self.memory)}, {disk}"),
            ("GPUs", gpus or "none"),
            ("jobs' disk", humanize.size(self.disk_jobs)),
            *(("warning", problem) for problem in self.problems),
        ]


def test(session: Session, host: str) -> HostReport:
    """Connect to a host and find out what is there, and whether its setup lines work.

    Raises:
        NotFoundError: there is no such host. HostError: it is out of reach or refuses.
    """
    session.hosts.host(host)
    began = time.monotonic()
    agent = session.agent(host)
    connected = time.monotonic() - began
    resources = agent.hello.resources
    return HostReport(
        host,
        round(connected, 3),
        round(_round_trip(agent), 5),
        agent.hello.version,
        agent.hello.root,
        agent.place.python,
        agent.place.version,
        resources.cpus,
        resources.memory,
        resources.disk_free,
        resources.disk_jobs,
        resources.gpus,
        problems=[*agent.hello.problems, *_try_setup(session, host)],
    )


def _round_trip(agent: Agent) -> float:
    """Return the shortest of some round trips, seconds."""
    times = []
    for _ in range(_ROUND_TRIPS):
        began = time.monotonic()
        agent.call(messages.StreamSizes())
        times.append(time.monotonic() - began)
    return min(times)


def _try_setup(session: Session, host: str) -> list[str]:
    """Run the setup lines of a host as a job would, and return what is wrong with them, in words."""
    setup = session.hosts.host(host).setup
    if not setup:
        return []
    trial = SetupTrial.from_wire(session.agent(host).run_role("trial", setup))
    if trial.exit_code == 0:
        return []
    lines = [line for line in trial.output.splitlines() if line.strip()]
    return [f"its setup fails: {' / '.join(lines[-3:])[:500] or 'it says nothing'}; no job will run there"]


@dataclass(frozen=True)
class AgentReport:
    """What the agent of a host does and holds, as ``hosts agent status --json`` prints it."""

    host: str
    agent_version: str
    protocol: int
    agent: str
    root: str
    running: int
    queued: float | None
    paused: list[str]
    """Groups that start nothing; "*" stands for all jobs."""
    disk_jobs: float | None
    """Bytes that the folders of ended jobs hold."""
    autostart: str | None
    """What starts it at boot; None when nothing does."""
    problems: list[str]

    @property
    def lines(self) -> list[tuple[str, str]]:
        """Return it in words: (what, how much), as they stand below one another."""
        paused = f", paused: {paused_words(self.paused)}" if self.paused else ""
        boot = f"started by {self.autostart}" if self.autostart else "not started: hosts autostart NAME"
        return [
            ("agent", f"{self.agent_version} (protocol {self.protocol}) in {self.root}"),
            ("jobs", f"{self.running} running, {self.queued} waiting{paused}"),
            ("disk", f"folders of ended jobs hold {humanize.size(self.disk_jobs)}"),
            ("at boot", boot),
            *(("warning", problem) for problem in self.problems),
        ]


def paused_words(groups: Iterable[str]) -> str:
    """Return which groups start nothing, in words."""
    return ", ".join("all jobs" if group == "*" else f"group {group}" for group in groups)


def agent_status(session: Session, host: str) -> AgentReport:
    """Ask the agent of a host what it does and holds, and whether it starts at boot.

    Raises:
        NotFoundError: there is no such host. HostError: it is out of reach or refuses.
    """
    agent = session.agent(session.hosts.host(host).name)
    hello, boot = agent.hello, Autostart.from_wire(agent.run_role("autostart", "status"))
    return AgentReport(
        host=host,
        agent_version=hello.version,
        protocol=hello.protocol,
        agent=hello.agent,
        root=hello.root,
        running=hello.active,
        queued=hello.resources.queued,
        paused=hello.resources.paused,
        disk_jobs=hello.resources.disk_jobs,
        autostart=boot.by or None,
        problems=[*hello.problems, *([boot.problem] if boot.problem else [])],
    )


def end_agent(session: Session, host: str) -> None:
    """End the agent of a host on which nothing runs or waits, and wait until it is gone.

    Raises:
        FoundationsError: jobs run or wait there. HostError: the host is out of reach.
    """
    agent = session.agent(host)
    agent.call(messages.Shutdown())
    agent.wait_for_end(10.0)


def what_uninstall_loses(session: Session, actor: Actor, host: str) -> dict[str, str]:
    """Return what would be lost with the agent's folder on a host, in words, by job.

    Raises:
        UsageError: the host has jobs of other people. HostError: it is out of reach.
    """
    pull.catch_up(session, host)
    rows = queries.ended(session.store.conn, queries.JobFilter(host=host, trashed=True), time.time())
    rows = [row for row in rows if row.kind != local_runs.KIND and not row.pruned]
    theirs = [row for row in rows if not actor.may_touch(row)]
    if theirs:
        owners = ", ".join(actor.strangers(theirs)[:_MOST_OWNERS])
        raise UsageError(f"{host} has {humanize.plural(len(theirs), 'job')} of {owners}", "--others removes them, too")
    unfetched = pruning.survey(session, rows)
    kept = pruning.ask_to_prune(session, host, [row.job for row in rows], force=False, preview=True).kept
    return {**kept, **{job: left.words for job, left in unfetched.items()}}


def uninstall(session: Session, host: str) -> str:
    """Remove all that the agent has on a host; return the folder that was removed.

    Raises:
        FoundationsError: jobs run or wait there. HostError: the host is out of reach.
    """
    agent = session.agent(host)
    agent.call(messages.Shutdown())
    removed = agent.run_role("uninstall")["removed"]
    agent.wait_for_end(10.0)
    return str(removed)


def start_at_boot(session: Session, host: str) -> str:
    """Have the agent of a host started at boot; return what is missing for that, in words."""
    if locations.home() is not None:  # what it holds is a trial, and changes nothing outside of it
        return f"FOUNDATIONS_HOME is set, so that was left alone; foundations hosts autostart {host} turns it on"
    try:
        return set_autostart(session, host, True)[1]
    except FoundationsError as error:
        return str(error).removeprefix(f"{host}: ")


def set_autostart(session: Session, host: str, enabled: bool) -> tuple[str, str]:
    """Have a host start its agent at boot, or no longer.

    Returns:
        (what starts it: "systemd" or "cron", empty when it is off; what is still missing, in words).
    Raises:
        HostError: the host is out of reach. FoundationsError: it has nothing that could start it.
    """
    answer = session.agent(session.hosts.host(host).name).run_role("autostart", "on" if enabled else "off")
    boot = Autostart.from_wire(answer)
    if enabled and not boot.by:
        raise FoundationsError(f"{host}: {boot.problem}")
    return boot.by, boot.problem
