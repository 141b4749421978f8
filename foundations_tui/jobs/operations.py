"""What is done with jobs that exist: stop, hold, move, delete, restore, run again.

Each operation holds the rules (whose jobs, in which states) and works on several jobs: what fails for one is an outcome
of its own, and the others have their turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from foundations_tui.errors import FoundationsError, NotFoundError, UsageError
from foundations_tui.ingest import local_runs
from foundations_tui.jobs import on_hosts, pruning
from foundations_tui.jobs.annotations import AnnotateResult, annotate
from foundations_tui.jobs.outcome import HostOutcome, Outcome, Report, for_each, unreported
from foundations_tui.jobs.ownership import Actor
from foundations_tui.jobs.pruning import Unfetched
from foundations_tui.jobs.states import possible
from foundations_tui.session import Session
from foundations_tui.store import models, queries, writes
from foundations_tui.store.rows import JobRow
from foundations_tui.submit import pipeline
from foundations_tui.sync import pull, trash
from remote_agent.protocol import messages
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.jobs import LONGEST_GRACE, JobSpec, JobView
from remote_agent.protocol.services import KIND

_RESUMED = "resumed:"
"""Key of which job took the place of one that did not complete."""
_NOT_COMPLETED = ("failed", "stopped", "lost")


# --- stop -------------------------------------------------------------------------------------------------------


def stop(
    session: Session, actor: Actor, rows: Sequence[JobRow], grace: float | None = None, report: Report = unreported
) -> list[Outcome]:
    """Ask the hosts of jobs to end them: their stop signal to their processes, KILL after the grace time.

    Args:
        session: the client's.
        actor: who asks.
        rows: the jobs; one that has ended is an error of its own.
        grace: seconds; None for each job's own.
        report: takes each outcome as soon as it is known.
    Raises:
        UsageError: the grace time is out of range.
    """
    if grace is not None and not 0 <= grace <= LONGEST_GRACE:
        raise UsageError(f"--grace takes 0 to {LONGEST_GRACE} seconds")
    return for_each("stop", rows, lambda row: _stop(session, actor, row, grace), report)


def _stop(session: Session, actor: Actor, row: JobRow, grace: float | None) -> str:
    actor.check(row)
    if row.kind == local_runs.KIND:
        local_runs.stop(row.job, row.attempt)
        return "is being stopped"
    request = messages.Stop(row.job, actor.owner, grace)
    _put_acknowledged(session, row, session.ask(row.host, request))
    if row.is_waiting:
        return ""
    spec = queries.spec(session.store.conn, row.job)
    seconds = spec.get("grace", 30.0) if grace is None else grace
    return f"is being stopped: {spec.get('stop_signal', 'TERM')} now, KILL in {seconds:g} s"


def _put_acknowledged(session: Session, row: JobRow, answer: messages.JobAnswer) -> None:
    """Take in what a host answered about a job, where that makes sense: the next sync says it again."""
    try:
        view = JobView.received(answer.job, [])
    except BadRequest:
        return
    if view.spec.job == row.job:
        writes.put_acknowledged(session.store, row.host, session.agent(row.host).hello.journal, [view])


@dataclass(frozen=True)
class Waiting:
    """The jobs that wait, as far as the hosts could be asked."""

    rows: list[JobRow]
    warnings: list[FoundationsError]
    """Of hosts that could not be asked."""


def waiting(session: Session, actor: Actor, host: str = "", project: str = "", group: str = "") -> Waiting:
    """Ask the hosts which jobs wait, and return those that somebody may touch: what ``clear-queue`` stops.

    Replicas of services are none of them: those would begin again.

    Args:
        session: the client's.
        actor: who asks.
        host: only of this host.
        project: only of this project.
        group: only of this group.
    Raises:
        NotFoundError: there is no such host.
    """
    hosts = [session.hosts.host(host).name] if host else list(session.hosts.hosts)
    warnings = list(pull.catch_up_all(session, hosts, streams=False).values())
    which = queries.JobFilter(("queued",), host, project)
    rows = queries.jobs(session.store.conn, which, details=False)
    rows = [row for row in rows if row.kind != KIND and (not group or row.group == group)]
    return Waiting([row for row in rows if actor.may_touch(row)], warnings)


# --- the queue --------------------------------------------------------------------------------------------------


def move(
    session: Session,
    actor: Actor,
    row: JobRow,
    where: str = "",
    other: JobRow | None = None,
    priority: int | None = None,
) -> None:
    """Give a waiting job another place in its host's queue, or another priority.

    Args:
        session: the client's.
        actor: who asks.
        row: the job.
        where: "first", "last", "before" or "after"; empty to change only its priority.
        other: the job before or after which it is to stand.
        priority: the new priority.
    Raises:
        UsageError: it is somebody else's, or the other one waits on another host. FoundationsError: it does not wait.
        HostError: its host is out of reach.
    """
    actor.check(row)
    if other is not None and other.host != row.host:
        raise UsageError(f"{other.job[:6]} waits on {other.host}, {row.job[:6]} on {row.host}")
    request = messages.Move(row.job, where, other.job if other is not None else "", priority)
    _put_acknowledged(session, row, session.ask(row.host, request))


@dataclass(frozen=True)
class ResumeResult:
    """What a resume started again: hosts, or one job."""

    hosts: list[HostOutcome]
    job: JobRow | None = None


def resume(session: Session, actor: Actor, name: str, host: str = "") -> ResumeResult:
    """Start the jobs of a group, or of a whole host, again; or one job that its host holds.

    A host holds a job that it found again in its copy after its journal was damaged: a stop or delete of it may be
    among what is missing.

    Args:
        session: the client's.
        actor: who asks.
        name: a group or, where no host has jobs of it, a job as the user names it; empty with a host.
        host: only there.
    Raises:
        NotFoundError: it is neither. UsageError: the job is somebody else's.
    """
    if not name or host or on_hosts.hosts_of_group(session, name):
        return ResumeResult(on_hosts.set_paused(session, name, host, paused=False))
    try:
        row = queries.find(session.store.conn, name)
    except NotFoundError:
        raise NotFoundError(f"there is neither a group nor a job {name!r} that waits") from None
    actor.check(row)
    _put_acknowledged(session, row, session.ask(row.host, messages.Resume(row.job)))
    return ResumeResult([], row)


# --- delete and restore -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Deletion:
    """What a delete would lose, by job, and what could not be looked at."""

    unfetched: dict[str, Unfetched]
    warnings: list[FoundationsError]


def what_delete_loses(session: Session, actor: Actor, rows: Sequence[JobRow]) -> Deletion:
    """Have hosts look for files of jobs that nobody has fetched, before the jobs are deleted."""
    mine = [row for row in rows if actor.may_touch(row)]
    unfetched: dict[str, Unfetched] = {}
    warnings = []
    for host in dict.fromkeys(row.host for row in mine):
        try:
            unfetched.update(pruning.survey(session, [row for row in mine if row.host == host]))
        except FoundationsError as error:
            warnings.append(error)
    return Deletion(unfetched, warnings)


@dataclass(frozen=True)
class DeleteResult:
    """Which jobs went to the trash."""

    outcomes: list[Outcome]
    annotated: AnnotateResult | None
    """None when none of them did."""


def delete(session: Session, actor: Actor, rows: Sequence[JobRow], report: Report = unreported) -> DeleteResult:
    """Put ended jobs into the trash, from where ``restore`` brings them back.

    Args:
        session: the client's.
        actor: who asks.
        rows: the jobs; one that has not ended, or is somebody else's, is an error of its own.
        report: takes each outcome as soon as it is known.
    """

    registered = models.registered_jobs(session.store.conn)

    def check(row: JobRow) -> str:
        actor.check(row)
        trash.check_can_go(row)
        if row.job in registered:
            raise FoundationsError(
                f"job {row.job} is what model {registered[row.job]} consists of",
                "foundations model retire NAME N lets it go",
            )
        return ""

    outcomes = for_each("delete", rows, check, report)
    going = [outcome.row for outcome in outcomes if outcome.error is None]
    if not going:
        return DeleteResult(outcomes, None)
    return DeleteResult(outcomes, annotate(session, actor, going, {"trashed": True}))


def delete_for_good(
    session: Session,
    actor: Actor,
    rows: Sequence[JobRow],
    deletion: Deletion,
    force: bool = False,
    report: Report = unreported,
) -> list[Outcome]:
    """Remove ended jobs with their folders, logs and metrics; nothing brings them back.

    Args:
        session: the client's.
        actor: who asks.
        rows: the jobs.
        deletion: the files that the user knows to be lost with them: those may go.
        force: also what their submitter has not fetched.
        report: takes each outcome as soon as it is known.
    """

    def remove(row: JobRow) -> str:
        actor.check(row)
        trash.remove(session, row, files=row.job in deletion.unfetched, force=force)
        return ""

    return for_each("delete for good", rows, remove, report)


# --- run again --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rerun:
    """A job that runs again what another one ran."""

    of: JobRow
    spec: JobSpec
    host: str


def rerun(session: Session, actor: Actor, rows: Sequence[JobRow]) -> list[Rerun]:
    """Submit jobs again as they were specified, on their hosts, with the code that is there; all, or none of a host.

    Raises:
        UsageError: one is somebody else's, or had secrets. NotFoundError: its host has forgotten the code.
    """
    for row in rows:
        actor.check(row)
    again = []
    for host in dict.fromkeys(row.host for row in rows):
        there = [row for row in rows if row.host == host]
        specs = pipeline.submit_again(session, host, there)
        again += [Rerun(row, spec, host) for row, spec in zip(there, specs, strict=True)]
    return again


def sweep(session: Session, group: str) -> list[JobRow]:
    """Return the jobs of a sweep, oldest first.

    Raises:
        NotFoundError: there is none of this name.
    """
    rows = queries.jobs_of_group(session.store.conn, group)
    if not rows:
        raise NotFoundError(f"there is no sweep {group!r}", "foundations sweep lists them")
    return rows


PRUNED = "pruned"
"""The tag of jobs that were stopped because others of their sweep were far ahead."""


def stop_behind(session: Session, actor: Actor, rows: Sequence[JobRow]) -> list[Outcome]:
    """Stop jobs that are too far behind the others of their sweep, and tag those that are stopped."""
    outcomes = stop(session, actor, rows)
    stopped = [one.row for one in outcomes if one.error is None]
    if stopped:
        annotate(session, actor, stopped, {f"tag:{PRUNED}": ""})
    return outcomes


def stop_sweep(session: Session, actor: Actor, group: str, report: Report = unreported) -> list[Outcome]:
    """Stop all jobs of a sweep that have not ended, the newest first: what waits would take the place of what ends."""
    return stop(session, actor, possible(sweep(session, group)).stop[::-1], report=report)


def resume_sweep(session: Session, actor: Actor, group: str) -> list[Rerun]:
    """Run again what did not complete of a sweep, each job once.

    Raises:
        NotFoundError: there is no such sweep. UsageError: one is somebody else's.
    """
    replaced = queries.metas(session.store.conn, _RESUMED)
    rows = [row for row in sweep(session, group) if row.state in _NOT_COMPLETED and row.job not in replaced]
    again = rerun(session, actor, rows)
    for job in again:
        writes.put_meta(session.store, _RESUMED + job.of.job, job.spec.job)
    return again
