"""Freeing a host's disk: which folders of ended jobs may go, what would be lost with them, and their removal."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from foundations_tui.errors import FoundationsError, HostError, UsageError
from foundations_tui.ingest import local_runs
from foundations_tui.jobs.ownership import Actor
from foundations_tui.session import Session
from foundations_tui.store import queries
from foundations_tui.store.rows import JobRow
from foundations_tui.sync import pull
from foundations_tui.text import humanize
from remote_agent.protocol import checks, messages
from remote_agent.protocol.messages import BuiltEnvironment

_SURVEYED_AT_ONCE = 100
"""Jobs whose folders are looked through in one call: their ids go on a command line."""
_PAGE = 500
"""Jobs in one request."""


@dataclass(frozen=True)
class PruneResult:
    """Which folders a host removed, or would."""

    pruned: list[str]
    kept: dict[str, str]
    """Why a job's folder stays, by job."""
    not_fetched_by: dict[str, list[str]]
    """Clients of that host that have not fetched all of a job, by job."""
    errors: list[FoundationsError] = field(default_factory=list)
    """Of hosts that could not be asked."""


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


@dataclass(frozen=True)
class PruneRequest:
    """Which folders are to go."""

    jobs: tuple[str, ...] = ()
    """As the user names them; none for all that the other conditions fit."""
    older_than: float | None = None
    """Seconds since the job ended."""
    states: tuple[str, ...] = ()
    larger_than: int = 0
    """Bytes."""
    host: str = ""
    project: str = ""
    force: bool = False
    """Even when the client that submitted a job has not fetched all of it."""


@dataclass(frozen=True)
class PrunePlan:
    """What would go, what would be lost with it, and what stays."""

    rows: list[JobRow]
    """The jobs that were meant."""
    going: list[JobRow]
    preview: PruneResult
    unfetched: dict[str, Unfetched]
    left_out: dict[str, str]
    """Why a job that was named is not among them, by job."""
    warnings: list[FoundationsError]
    """Errors of hosts that could not be synced."""
    force: bool


def plan(session: Session, actor: Actor, request: PruneRequest) -> PrunePlan:
    """Find out which folders of ended jobs would go, and what would be lost; nothing is removed.

    Raises:
        UsageError: the request names nothing, or somebody else's job. NotFoundError: there is no such job or host.
    """
    if not request.jobs and request.older_than is None and not request.larger_than and not request.states:
        raise UsageError("say what may go: JOBs, --older-than 7d, --larger-than 1G or --state failed")
    hosts = [session.hosts.host(request.host).name] if request.host else list(session.hosts.hosts)
    warnings = list(pull.catch_up_all(session, hosts).values())
    named = [queries.find(session.store.conn, name) for name in request.jobs]
    for row in named:
        actor.check(row)
    rows = [row for row in _matching(session, named, request) if actor.may_touch(row)]
    unfetched = _survey_reachable(session, rows)
    preview = _prune_on_each(session, rows, request.force, preview=True)
    going = [row for row in rows if row.job in preview.pruned]
    left_out = _left_out(named, {row.job for row in rows})
    return PrunePlan(rows, going, preview, unfetched, left_out, warnings, request.force)


def prune(session: Session, planned: PrunePlan) -> PruneResult:
    """Remove what was planned; the jobs stay listed, with what was fetched."""
    pruned = _prune_on_each(session, planned.going, planned.force, preview=False)
    pull.catch_up_all(session, list({row.host for row in planned.going}), streams=False)
    return pruned


@dataclass(frozen=True)
class HostEnvironments:
    """The environments of hosts."""

    by_host: dict[str, list[BuiltEnvironment]]
    errors: list[FoundationsError]
    """Of hosts that could not be asked."""

    @property
    def going(self) -> list[BuiltEnvironment]:
        """Return those that went, or would."""
        return [one for some in self.by_host.values() for one in some if one.going]


def environments(session: Session, host: str, unused_for: float | None, preview: bool) -> HostEnvironments:
    """List the environments of hosts, and remove those that no job has used for long; none that a job needs.

    Args:
        session: the client's.
        host: of which; "" for all.
        unused_for: seconds since a job last began in one that goes; None for none.
        preview: remove none.
    Raises:
        NotFoundError: there is no such host.
    """
    found, errors = {}, []
    for name in [session.hosts.host(host).name] if host else list(session.hosts.hosts):
        try:
            found[name] = session.ask(name, messages.Environments(unused_for, preview)).environments
        except FoundationsError as error:
            errors.append(error)
    return HostEnvironments(found, errors)


def folder_bytes(row: JobRow) -> int:
    """Return how many bytes a job's folders on its host hold."""
    return sum(int(usage.disk or 0) for usage in (row.usage, *(past.usage for past in row.attempts)))


def _matching(session: Session, named: Sequence[JobRow], request: PruneRequest) -> list[JobRow]:
    which = queries.JobFilter(request.states, request.host, request.project, trashed=True)
    rows = queries.ended(session.store.conn, which, time.time() - (request.older_than or 0.0))
    ids = {row.job for row in named}
    return [row for row in rows if (not ids or row.job in ids) and folder_bytes(row) >= request.larger_than]


def _left_out(named: Iterable[JobRow], meant: set[str]) -> dict[str, str]:
    reasons = {}
    for row in named:
        if row.job in meant:
            continue
        if row.pruned:
            reasons[row.job] = "its folder was removed already"
        elif row.is_final:
            reasons[row.job] = "it has no folder, or the other options leave it out"
        else:
            reasons[row.job] = f"it is {row.state}"
    return reasons


def _survey_reachable(session: Session, rows: list[JobRow]) -> dict[str, Unfetched]:
    """Have each host look for what was never fetched; one that is out of reach is met again when it is to prune."""
    unfetched: dict[str, Unfetched] = {}
    for host in dict.fromkeys(row.host for row in rows):
        try:
            unfetched.update(survey(session, [row for row in rows if row.host == host]))
        except HostError:
            continue
    return unfetched


def _prune_on_each(session: Session, rows: list[JobRow], force: bool, preview: bool) -> PruneResult:
    total = PruneResult([], {}, {})
    for host in dict.fromkeys(row.host for row in rows):
        try:
            part = ask_to_prune(session, host, [row.job for row in rows if row.host == host], force, preview)
        except FoundationsError as error:
            total.errors.append(error)
            continue
        total.pruned.extend(part.pruned)
        total.kept.update(part.kept)
        total.not_fetched_by.update(part.not_fetched_by)
    return total


def ask_to_prune(session: Session, host: str, jobs: list[str], force: bool, preview: bool) -> PruneResult:
    """Have a host remove the folders of ended jobs, or say which it would.

    Args:
        session: the client's.
        host: where.
        jobs: whole ids.
        force: even when the client that submitted a job has not fetched all of it.
        preview: only say what would go.
    Raises:
        HostError: the host is out of reach.
    """
    total = PruneResult([], {}, {})
    for start in range(0, len(jobs), _PAGE):
        page = jobs[start : start + _PAGE]
        answer = session.ask(host, messages.Prune(page, force, preview))
        asked = set(page)
        total.pruned.extend(job for job in answer.pruned if job in asked)
        total.kept.update({job: why for job, why in answer.kept.items() if job in asked})
        total.not_fetched_by.update({job: who for job, who in answer.not_fetched_by.items() if job in asked})
    return total


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
    by_host: dict[str, list[list[str]]] = {}
    for row in rows:
        if row.kind != local_runs.KIND and row.is_final and row.attempt and not row.pruned and not row.is_gone:
            by_host.setdefault(row.host, []).append([row.job, row.snapshot])
    unfetched: dict[str, Unfetched] = {}
    for host, jobs in by_host.items():
        for start in range(0, len(jobs), _SURVEYED_AT_ONCE):
            page = json.dumps(jobs[start : start + _SURVEYED_AT_ONCE])
            answer = session.retrying(host, lambda agent, page=page: agent.run_role("survey", page))  # type: ignore[misc]
            for job, left in _UNFETCHED(answer.get("unfetched", {}), "unfetched").items():
                unfetched[job] = Unfetched(left["files"], left["bytes"], tuple(left["largest"]))
    return unfetched
