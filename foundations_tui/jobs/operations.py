"""What is done with jobs that exist, with queues and with hosts: stop, delete, prune, move, follow, wait."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from foundations_tui.errors import FoundationsError, UsageError
from foundations_tui.hosts.agent import Agent, refusal
from foundations_tui.ingest import local_runs
from foundations_tui.session import Session
from foundations_tui.store import write_annotations, writes
from foundations_tui.store.rows import JobRow
from foundations_tui.sync import pull
from foundations_tui.text import humanize
from remote_agent.protocol import checks, messages
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.jobs import JobView, check_annotations
from remote_agent.protocol.messages import A, Request

_SURVEYED_AT_ONCE = 100
"""Jobs whose folders are looked through in one call: their ids go on a command line."""
_GONE = ("host_reinstalled", "submit_interrupted")
_PAGE = 500
"""Jobs in one request."""
_MOST_QUEUED = 1000
"""So many waiting jobs of a host are listed."""
_MOST_ENTRIES = 5000
"""So many names of a folder are listed."""


def stop(session: Session, job: JobRow, by: str, grace: float | None = None) -> None:
    """Ask a job's host to end it: its stop signal to its processes, KILL after ``grace`` seconds.

    Args:
        session: the client's.
        job: which.
        by: who asks.
        grace: seconds; None for the job's own.
    Raises:
        FoundationsError: it has ended already. HostError: its host is out of reach.
    """
    if job.kind == local_runs.KIND:
        return local_runs.stop(job.job, job.attempt)
    _put_acknowledged(session, job, _ask(session, job.host, messages.Stop(job.job, by, grace)))


def _ask(session: Session, host: str, request: Request[A]) -> A:
    """Ask a host's agent, over dropped connections: the requests here may be repeated."""
    return session.retrying(host, lambda agent: agent.call(request))


def _put_acknowledged(session: Session, job: JobRow, answer: messages.JobAnswer) -> None:
    """Take in what a host answered about a job, where that makes sense: the next sync says it again."""
    try:
        view = JobView.received(answer.job, [])
    except BadRequest:
        return
    if view.spec.job == job.job:
        writes.put_acknowledged(session.store, job.host, session.agent(job.host).hello.journal, [view])


def end_agent(session: Session, host: str) -> None:
    """End the agent of a host on which nothing runs or waits, and wait until it is gone.

    Raises:
        FoundationsError: jobs run or wait there. HostError: the host is out of reach.
    """
    agent = session.agent(host)
    agent.call(messages.Shutdown())
    agent.wait_for_end(10.0)


@dataclass(frozen=True)
class Pruned:
    """What came of a wish to free a host's disk."""

    pruned: list[str]
    kept: dict[str, str]
    """Why a job's folder stays, by job."""
    not_fetched_by: dict[str, list[str]]
    """Clients of that host that have not fetched all of a job, by job."""


def prune(session: Session, host: str, jobs: list[str], force: bool, preview: bool) -> Pruned:
    """Remove the folders of ended jobs on a host; they stay listed, with what was fetched.

    Args:
        session: the client's.
        host: where.
        jobs: whole ids.
        force: even when the client that submitted a job has not fetched all of it.
        preview: only say what would go.
    Raises:
        HostError: the host is out of reach.
    """
    found = Pruned([], {}, {})
    for start in range(0, len(jobs), _PAGE):
        asked = jobs[start : start + _PAGE]
        answer = _ask(session, host, messages.Prune(asked, force, preview))
        known = set(asked)
        found.pruned.extend(job for job in answer.pruned if job in known)
        found.kept.update({job: why for job, why in answer.kept.items() if job in known})
        found.not_fetched_by.update({job: who for job, who in answer.not_fetched_by.items() if job in known})
    return found


@dataclass(frozen=True)
class Unfetched:
    """Files of a job that are on its host only, and lost with its folder."""

    files: int
    bytes: int
    largest: tuple[str, int]
    """Name below the job's folder, and bytes, of the largest."""

    @property
    def words(self) -> str:
        """Return it in words."""
        name, size = self.largest
        were = "was" if self.files == 1 else "were"
        return (
            f"{humanize.plural(self.files, 'file')} that it wrote ({humanize.size(self.bytes)}) {were} never fetched,"
            f" the largest {name} ({humanize.size(size)})"
        )


_UNFETCHED = checks.sifted_table(
    checks.record(
        {
            "files": checks.whole(1),
            "bytes": checks.whole(),
            "largest": checks.row(checks.text(10_000), checks.whole()),
        },
        ["files", "bytes", "largest"],
    ),
    100_000,
    checks.text(64),
)


def survey(session: Session, rows: Iterable[JobRow]) -> dict[str, Unfetched]:
    """Have hosts look for what ended jobs wrote and nobody fetched; before a folder goes, each is looked at.

    Args:
        session: the client's.
        rows: the jobs; those without a folder on a host are passed over.
    Returns:
        What would be lost, by job; a job that is not in it loses nothing.
    Raises:
        HostError: a host is out of reach.
    """
    wanted: dict[str, list[list[str]]] = {}
    for one in rows:
        if (
            one.kind != local_runs.KIND
            and one.is_final
            and one.attempt
            and not one.pruned
            and one.reason_code not in _GONE
        ):
            wanted.setdefault(one.host, []).append([one.job, one.snapshot])
    found: dict[str, Unfetched] = {}
    for host, jobs in wanted.items():
        for start in range(0, len(jobs), _SURVEYED_AT_ONCE):
            page = json.dumps(jobs[start : start + _SURVEYED_AT_ONCE])
            said = session.retrying(host, lambda agent, page=page: _run_role(agent, "survey", page))  # type: ignore[misc]
            for job, left in _UNFETCHED(said.get("unfetched", {}), "unfetched").items():
                found[job] = Unfetched(left["files"], left["bytes"], tuple(left["largest"]))
    return found


def pause(session: Session, host: str, group: str, paused: bool) -> None:
    """Start no job of a group on a host any more, or again; an empty group means the whole host.

    Raises:
        HostError: it is out of reach.
    """
    _ask(session, host, messages.Pause(paused, group))


def move(session: Session, job: JobRow, where: str, other: str = "", priority: int | None = None) -> None:
    """Give a waiting job another place in its host's queue.

    Args:
        session: the client's.
        job: which.
        where: "first", "last", "before" or "after"; "" to change only its priority.
        other: the other job, whole id.
        priority: the new priority.
    Raises:
        FoundationsError: it does not wait. HostError: its host is out of reach.
    """
    _put_acknowledged(session, job, _ask(session, job.host, messages.Move(job.job, where, other, priority)))


def resume(session: Session, job: JobRow) -> None:
    """Let a job start that its host holds because something of it may have been lost.

    Raises:
        FoundationsError: it is not held. HostError: its host is out of reach.
    """
    _put_acknowledged(session, job, _ask(session, job.host, messages.Resume(job.job)))


def annotate(
    session: Session, rows: list[JobRow], changes: dict[str, Any], moment: float
) -> dict[str, FoundationsError]:
    """Say something of jobs: here at once, then to their hosts.

    Args:
        session: the client's.
        rows: the jobs.
        changes: "note", "starred", "archived", "trashed", "project", "tag:KEY" (None takes a tag away).
        moment: when it was said, seconds since the epoch.
    Returns:
        What went wrong with which host; that one is told at the next contact.
    Raises:
        UsageError: it cannot be kept.
    """
    try:
        check_annotations({key: [value, moment] for key, value in changes.items()})
    except BadRequest as error:
        raise UsageError(str(error)) from None
    write_annotations.put_annotations(session.store, [row.job for row in rows], changes, moment)
    problems = {}
    for host in dict.fromkeys(row.host for row in rows):
        try:
            session.retrying(host, lambda agent: pull.HostSync(session.store, agent).push_annotations())
        except FoundationsError as error:
            problems[host] = error
    return problems


def queue(session: Session, host: str) -> messages.QueueAnswer:
    """Return what waits on a host: all pages of it as one answer.

    Raises:
        HostError: it is out of reach.
    """
    answer = _ask(session, host, messages.Queue())
    jobs = answer.jobs
    while answer.more and answer.jobs and len(jobs) < _MOST_QUEUED:
        answer = _ask(session, host, messages.Queue(len(jobs)))
        jobs = [*jobs, *answer.jobs]
    return dataclasses.replace(answer, jobs=jobs)


def forgive(session: Session, host: str, gpu: str) -> list[str]:
    """End the quarantine of a GPU, by index or UUID; return the UUIDs that were in quarantine.

    Raises:
        NotFoundError: there is no such GPU. HostError: the host is out of reach.
    """
    return _ask(session, host, messages.Forgive(gpu)).forgiven


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
    _ask(session, host, messages.Claims(gpu, ignored))


def ask_host(session: Session, host: str, role: str, *arguments: str) -> dict[str, Any]:
    """Run a short role of the agent on a host and return what it says.

    Raises:
        FoundationsError: it refuses. HostError: the host is out of reach.
    """
    return _run_role(session.agent(host), role, *arguments)


def _run_role(agent: Agent, role: str, *arguments: str) -> dict[str, Any]:
    channel, _, said = agent.open_bulk(role, *arguments)
    channel.close()
    if "error" in said:
        raise refusal(agent.host.name, said["error"])
    return said


def uninstall(session: Session, host: str) -> str:
    """Remove all that the agent has on a host; return the folder that was removed.

    Raises:
        FoundationsError: jobs run or wait there. HostError: the host is out of reach.
    """
    agent = session.agent(host)
    agent.call(messages.Shutdown())
    removed = _run_role(agent, "uninstall")["removed"]
    agent.wait_for_end(10.0)
    return str(removed)


def list_files(session: Session, job: JobRow, path: str) -> messages.ListFolderAnswer:
    """Return a folder of a job's working directory: all pages of it as one answer.

    Raises:
        NotFoundError: there is no such path. HostError: its host is out of reach.
    """
    first = messages.ListFolder(job.job, max(job.attempt, 1), path)
    answer = _ask(session, job.host, first)
    entries = answer.entries
    while answer.truncated and answer.entries and len(entries) < _MOST_ENTRIES:
        answer = _ask(session, job.host, dataclasses.replace(first, offset=len(entries)))
        entries = [*entries, *answer.entries]
    return dataclasses.replace(answer, entries=entries)


# --- following and waiting --------------------------------------------------------------------------------------
