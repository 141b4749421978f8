"""The verbs that go with a job through its life: logs, wait, stop, delete."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from foundations_tui.cli.params import (
    Duration,
    chosen_jobs,
    connecting,
    job_argument,
    jobs_argument,
    need_terminal,
    say,
    where_option,
    yes_option,
)
from foundations_tui.cli.stderr import tell
from foundations_tui.errors import FoundationsError, HostError, NotFoundError, UsageError
from foundations_tui.store import queries
from foundations_tui.text.sanitize import RESET, LogFilter, one_line
from remote_agent.jobs import LONGEST_GRACE

if TYPE_CHECKING:
    from foundations_tui.jobs.operations import Unfetched
    from foundations_tui.session import Session
    from foundations_tui.store.rows import JobRow

_ACTIVE = ("submitting", "queued", "preparing", "running")
OURS = 125
"""Exit code, where it is the job's own, for anything that went wrong on our side."""


@click.command()
@job_argument
@click.option("-f", "--follow", is_flag=True, help="Print what comes until the job ends.")
@click.option("--attempt", default=None, type=click.IntRange(1), help="Only that of this attempt (default: of all).")
@connecting
def logs(session: Session, job: str, follow: bool, attempt: int | None) -> int:
    """Print the log of a job: its standard output and error, byte for byte.

    To a terminal, colours pass and every other escape sequence is shown instead of obeyed.
    """
    from foundations_tui.jobs import watch

    row = queries.find(session.store.conn, job)
    if row.kind == "run":
        where = "its output went to the terminal that started it"
        raise NotFoundError(f"job {row.job} has no captured log: {where}", "foundations submit keeps logs")
    writer = _LogWriter(to_stderr=False)
    try:
        if follow and attempt is not None:
            raise UsageError("--follow goes on with the attempts; --attempt names one")
        if attempt is not None and attempt > row.attempt:
            raise NotFoundError(f"job {row.job} has no attempt {attempt}", f"it has {row.attempt}")
        if follow:
            for page in watch.follow_log(session, row.job):
                writer.write(page)
            return 0
        return _print_log(session, row, writer, attempt)
    except KeyboardInterrupt:
        say("\nleft the log; the job runs on")
        return 130
    finally:
        writer.end()


@click.command()
@jobs_argument()
@connecting
def wait(session: Session, jobs: tuple[str, ...]) -> int:
    """Wait for jobs to end and exit with their exit code: of several, the first that is not 0, in their order.

    128+n: ended by signal n. 125: lost, stopped before it ran, or anything that went wrong on this side.
    """
    try:
        return watch_to_end(session, [queries.resolve(session.store.conn, job) for job in jobs])
    except FoundationsError as error:
        tell(error)
        return OURS


@click.command()
@jobs_argument(*_ACTIVE, required=False)
@where_option
@yes_option
@click.option("--grace", default=None, type=Duration(), help="Time between its stop signal and KILL (its own: 30 s).")
@click.option("--others", is_flag=True, help="Also jobs of other people.")
@connecting
def stop(session: Session, jobs: tuple[str, ...], where: str, yes: bool, grace: float | None, others: bool) -> int:
    """Stop jobs: TERM (or their --stop-signal) to their processes, KILL to all of them after the grace time."""
    from foundations_tui.config.hosts import owner_name
    from foundations_tui.jobs import operations
    from foundations_tui.jobs.ownership import Actor

    if grace is not None and not 0 <= grace <= LONGEST_GRACE:
        raise UsageError(f"--grace takes 0 to {LONGEST_GRACE} seconds")
    actor = Actor(owner_name(session.hosts), others)
    if where:
        rows = chosen_jobs(session.store.conn, jobs, where, yes, "stop")
        jobs = tuple(row.job for row in rows if not row.is_final)
    elif not jobs:
        raise UsageError("stop takes jobs, or --where QUERY", "foundations stop --help")

    def one(row: JobRow) -> None:
        actor.check(row)
        operations.stop(session, row, actor.owner, grace)
        click.echo(row.job)
        if row.state != "queued":
            spec = queries.spec(session.store.conn, row.job)
            after = spec.get("grace", 30.0) if grace is None else grace
            say(f"{row.job[:6]} is being stopped: {spec.get('stop_signal', 'TERM')} now, KILL in {after:g} s")

    return _each(session, jobs, one)


@click.command()
@jobs_argument("completed", "failed", "stopped", "lost", required=False)
@where_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--others", is_flag=True, help="Also jobs of other people.")
@click.option("--now", is_flag=True, help="For good, and free the space.")
@click.option("--force", is_flag=True, help="For good, also what nobody has fetched.")
@connecting
def delete(session: Session, jobs: tuple[str, ...], where: str, yes: bool, others: bool, now: bool, force: bool) -> int:
    """Delete ended jobs; 30 days long `foundations restore` brings them back.

    Files that a job wrote and nobody fetched are named before it is asked; --yes takes them, too.

    \b
      foundations delete 8f3a12                 out of all listings
      foundations jobs --where is:trashed       what can be restored
      foundations delete --now 8f3a12           its folder on the host, its log and metrics, for good
    """
    from foundations_tui.cli.annotate import annotate
    from foundations_tui.config.hosts import owner_name
    from foundations_tui.jobs.ownership import Actor
    from foundations_tui.sync import trash

    actor = Actor(owner_name(session.hosts), others)
    rows = chosen_jobs(session.store.conn, jobs, where, yes, "delete")
    for_good = now or force
    mine = [row for row in rows if actor.may_touch(row)]
    if for_good and not yes and not where:
        need_terminal("delete --now asks before it deletes")
    lost = _say_what_is_lost(session, mine, for_good)
    if not yes and sys.stdin.isatty() and ((for_good and not where) or lost):
        for row in rows if for_good else ():
            click.echo(one_line(f"  {row.job}  {row.state}  {row.host}  {row.name}"), err=True)
        click.confirm(_question(len(rows), for_good), abort=True, err=True)
    going: list[JobRow] = []

    def one(row: JobRow) -> None:
        actor.check(row)
        if for_good:
            trash.remove(session, row, files=row.job in lost, force=force)
            click.echo(row.job)
        else:
            trash.check_can_go(row)
            going.append(row)

    code = _each(session, tuple(row.job for row in rows), one)
    if going:
        annotate(session, going, {"trashed": True})
    return code


def _say_what_is_lost(session: Session, rows: list[JobRow], for_good: bool) -> dict[str, Unfetched]:
    """Name what nobody has fetched of jobs that are deleted, and return it."""
    from foundations_tui.jobs import operations

    lost: dict[str, Unfetched] = {}
    when = "now" if for_good else "in 30 days"
    for host in dict.fromkeys(row.host for row in rows):
        try:
            found = operations.survey(session, [row for row in rows if row.host == host])
        except FoundationsError as error:
            if for_good:
                continue  # it is met again, and said, when the job is to go
            say(f"warning: {error}: what was not fetched there is not known")
            continue
        lost.update(found)
        for job, left in found.items():
            say(f"{job[:6]}: {left.words}; they go with it {when} (foundations get {job[:6]})")
    return lost


def _question(count: int, for_good: bool) -> str:
    jobs = "this job" if count == 1 else f"these {count} jobs"
    return f"Delete {jobs} for good, with all files?" if for_good else f"Delete {jobs}?"


def watch_to_end(session: Session, ids: list[str], log: bool = False, log_to_stderr: bool = False) -> int:
    """Wait for jobs and return the exit code that is theirs; Ctrl-C detaches.

    Args:
        session: the client's.
        ids: whole ids.
        log: print the log of the (one) job meanwhile.
        log_to_stderr: stdout is taken.
    """
    from foundations_tui.jobs import watch

    try:
        if log:
            writer = _LogWriter(log_to_stderr)
            for page in watch.follow_log(session, ids[0]):
                writer.write(page)
            writer.end()
        rows = watch.wait_for(session, ids, lambda row: None)
    except KeyboardInterrupt:
        say(f"\ndetached; the job runs on: foundations logs -f {ids[0][:6]}")
        return 130
    _bring_what_they_made(session, rows)
    for row in rows:
        if row.state != "completed":
            say(f"{row.job[:6]} {row.state}" + (f": {row.reason}" if row.reason else ""))
            _say_what_lies_here(row)
    return next((code for code in map(exit_code_of, rows) if code), 0)


_QUOTED = re.compile(r"'([^'\n]{1,300})'\s*$|: ([^\s:][^:\n]{0,300}): No such file")


def _say_what_lies_here(row: JobRow) -> None:
    """Say that a file which a failed job did not find lies in the folder that it was submitted from."""
    found = _QUOTED.search(row.cause.get("line") or "") if row.cause.get("code") == "file_missing" else None
    name = (found[1] or found[2]) if found else ""
    if name and not name.startswith(("/", "~")) and os.path.exists(name):
        say(
            f"  {name} lies here and was not shipped: git ignores it, or it is new;"
            f" [snapshot] include = [{json.dumps(name)}] in foundations.toml ships it"
        )


def _bring_what_they_made(session: Session, rows: list[JobRow]) -> None:
    """Bring what the jobs logged and declared as outputs, before whoever waited goes on with it."""
    from foundations_tui.sync import outputs, pull

    for host in {row.host for row in rows if row.kind != "run"}:
        jobs = [row.job for row in rows if row.host == host]
        with_patterns = [job for job in jobs if queries.spec(session.store.conn, job)["metrics"].get("patterns")]
        try:
            pull.catch_up(session, host, jobs, logs=False)
            if with_patterns:
                pull.catch_up(session, host, with_patterns)
            outputs.collect_outputs(session, host)
        except FoundationsError as error:
            say(f"warning: {error}; foundations sync brings what the jobs made")


def exit_code_of(row: JobRow) -> int:
    """Return what ``wait`` exits with for one ended job."""
    if row.state == "completed":
        return 0
    if row.state in ("failed", "stopped") and row.exit_code:
        return row.exit_code
    return OURS


def _print_log(session: Session, row: JobRow, writer: _LogWriter, only: int | None) -> int:
    """Print the whole log, or one attempt's; when the host is out of reach, what is here, and say so."""
    from foundations_tui.config import locations
    from foundations_tui.store import sparse
    from foundations_tui.sync import pull

    code = 0
    if not row.complete:
        try:
            pull.catch_up(session, row.host, jobs=[row.job])
        except HostError as error:
            say(f"warning: {error}; this is the log as far as it is here")
            code = error.exit_code
    for attempt in [only] if only else range(1, queries.job(session.store.conn, row.job).attempt + 1):
        path = locations.log_file(row.job, attempt)
        if path.exists():
            with path.open("rb") as file:
                for _, page in sparse.pages(file.fileno(), 0):
                    writer.write(page)
    return code


def _each(session: Session, jobs: tuple[str, ...], action: Callable[[JobRow], None]) -> int:
    """Do something to each job; what fails is said and the rest goes on. The first error gives the exit code."""
    code = 0
    for job in jobs:
        try:
            action(queries.find(session.store.conn, job))
        except FoundationsError as error:
            tell(error)
            code = code or error.exit_code
    return code


class _LogWriter:
    """Writes a log: the exact bytes, or on a terminal what is safe."""

    def __init__(self, to_stderr: bool) -> None:
        stream = sys.stderr if to_stderr else sys.stdout
        self._stream = stream.buffer
        self._filter = LogFilter() if stream.isatty() else None

    def write(self, page: bytes) -> None:
        self._stream.write(page if self._filter is None else self._filter.feed(page).encode())
        self._stream.flush()

    def end(self) -> None:
        if self._filter is not None:
            self._stream.write((self._filter.end() + RESET).encode())
            self._stream.flush()
