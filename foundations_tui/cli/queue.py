"""The verbs for what waits: queue, move, pause, resume, clear-queue."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from foundations_tui.cli import output
from foundations_tui.cli.params import (
    MANY,
    HostName,
    JobName,
    ProjectName,
    connecting,
    job_argument,
    json_option,
    need_terminal,
    say,
)
from foundations_tui.cli.stderr import tell
from foundations_tui.errors import FoundationsError, NotFoundError, UsageError
from foundations_tui.jobs.ownership import Actor
from foundations_tui.store import queries
from foundations_tui.store.rows import iso
from foundations_tui.text import humanize
from foundations_tui.text.sanitize import one_line

if TYPE_CHECKING:
    from foundations_tui.session import Session
    from foundations_tui.store.rows import JobRow


@click.command()
@click.argument("names", nargs=-1, type=HostName(), metavar="[HOST...]")
@json_option
@connecting
def queue(session: Session, names: tuple[str, ...], as_json: bool) -> int:
    """Show what waits on the hosts: in the order in which it starts, with why, and when that is expected."""
    from foundations_tui.jobs import operations
    from foundations_tui.sync import pull

    wanted = [session.hosts.host(name).name for name in names] or list(session.hosts.hosts)
    problems = pull.catch_up_all(session, wanted, streams=False)
    rows: list[dict[str, Any]] = []
    for host in wanted:
        if host in problems:
            tell(problems[host])
            continue
        found = operations.queue(session, host)
        if found["paused"]:
            groups = ", ".join("all jobs" if group == "*" else f"group {group}" for group in found["paused"])
            say(f"{host}: paused: {groups}")
        rows += [_entry(session, host, place, *facts) for place, facts in enumerate(found["jobs"], 1)]
        if found["more"]:
            say(f"{host}: {found['more']:,} more wait")
    if as_json:
        output.print_json(rows)
    elif rows:
        cells = [_cells(row) for row in rows]
        headers = ("HOST", "PLACE", "ID", "NAME", "PRIORITY", "STARTS", "WHY")
        output.print_table(headers, cells, droppable=("PRIORITY", "PLACE", "STARTS"), last_wants=40)
    elif not problems:
        say("nothing waits")
    return next((error.exit_code for error in problems.values()), 0)


def _entry(
    session: Session, host: str, place: int, job: str, priority: int, why: str, starts_at: float | None
) -> dict[str, Any]:
    try:
        row = queries.job(session.store.conn, job)
        name, owner, group = row.label, row.owner, row.group
    except NotFoundError:
        name, owner, group = "", "", ""  # submitted a moment ago by somebody else
    facts = {"host": host, "place": place, "job": job, "name": name, "owner": owner or None, "group": group or None}
    starts_in = None if starts_at is None else round(max(0.0, starts_at - time.time()), 1)
    return {**facts, "priority": priority, "reason": why, "estimated_start": iso(starts_at), "starts_in": starts_in}


def _cells(row: dict[str, Any]) -> list[str]:
    starts_in = row["starts_in"]
    starts = "" if starts_in is None else f"in {humanize.duration(starts_in)}"
    return [
        row["host"],
        str(row["place"]),
        row["job"][:6],
        row["name"],
        str(row["priority"] or ""),
        starts,
        row["reason"],
    ]


@click.command()
@job_argument
@click.option("--first", "where", flag_value="first", help="Before all others.")
@click.option("--last", "where", flag_value="last", help="Behind all others.")
@click.option("--before", default=None, type=JobName(("queued",)), help="Just before this job.")
@click.option("--behind", default=None, type=JobName(("queued",)), help="Just behind this job.")
@click.option("--priority", default=None, type=click.IntRange(-MANY, MANY), help="With this priority.")
@click.option("--others", is_flag=True, help="Also a job of other people.")
@connecting
def move(
    session: Session,
    job: str,
    where: str | None,
    before: str | None,
    behind: str | None,
    priority: int | None,
    others: bool,
) -> None:
    """Give a waiting job another place in its host's queue, or another priority."""
    from foundations_tui.config.hosts import owner_name
    from foundations_tui.jobs import operations

    if sum(wish is not None for wish in (where, before, behind, priority)) != 1:
        raise UsageError("say one of --first, --last, --before JOB, --behind JOB, --priority N")
    row = queries.find(session.store.conn, job)
    Actor(owner_name(session.hosts), others).check(row)
    if where or priority is not None:
        operations.move(session, row, where or "", priority=priority)
    else:
        other = queries.find(session.store.conn, before or behind or "")
        if other.host != row.host:
            raise UsageError(f"{other.job[:6]} waits on {other.host}, {row.job[:6]} on {row.host}")
        operations.move(session, row, "before" if before else "after", other.job)
    click.echo(row.job)


@click.command()
@click.argument("group", default="")
@click.option("--host", default="", type=HostName(), help="Only there; without GROUP, all its jobs.")
@connecting
def pause(session: Session, group: str, host: str) -> int:
    """Start no more jobs of a GROUP (submit --group), or of a whole --host; what runs goes on."""
    return _pause(session, group, host, True)


@click.command()
@click.argument("group", default="")
@click.option("--host", default="", type=HostName(), help="Only there; without GROUP, all its jobs.")
@click.option("--others", is_flag=True, help="Also a job of other people.")
@connecting
def resume(session: Session, group: str, host: str, others: bool) -> int:
    """Start the jobs of a GROUP, or of a whole --host, again; or one JOB that its host holds.

    A host holds a job that it found again in its copy after its journal was damaged: a stop or delete of it may be
    among what is missing.
    """
    if group and not host and not _hosts_of(session, group):
        return _release(session, group, others)
    return _pause(session, group, host, False)


def _release(session: Session, job: str, others: bool) -> int:
    from foundations_tui.config.hosts import owner_name
    from foundations_tui.jobs import operations

    try:
        row = queries.find(session.store.conn, job)
    except NotFoundError:
        raise NotFoundError(f"there is neither a group nor a job {job!r} that waits") from None
    Actor(owner_name(session.hosts), others).check(row)
    operations.resume(session, row)
    click.echo(row.job)
    return 0


def _pause(session: Session, group: str, host: str, paused: bool) -> int:
    from foundations_tui.jobs import operations

    if not group and not host:
        raise UsageError("name a group, or a host with --host")
    if group == "*":
        raise UsageError("* is no group", "--host HOST without a group means all jobs there")
    hosts = [session.hosts.host(host).name] if host else _hosts_of(session, group)
    if not hosts:
        raise NotFoundError(f"no unfinished job is in a group {group!r}", "submit --group NAME puts it there")
    code = 0
    for name in hosts:
        try:
            operations.pause(session, name, group, paused)
            what = f"group {group}" if group else "all jobs"
            say(f"{name}: {what} {'paused: what runs goes on' if paused else 'resumed'}")
        except FoundationsError as error:
            tell(error)
            code = code or error.exit_code
    return code


def _hosts_of(session: Session, group: str) -> list[str]:
    """Return the hosts that have unfinished jobs of a group, and those on which it is paused."""
    conn = session.store.conn
    known = [name for name, row in queries.hosts(conn).items() if group in row.resources.get("paused", [])]
    return list(dict.fromkeys([*queries.groups(conn, group), *(name for name in known if name in session.hosts.hosts)]))


@click.command(name="clear-queue")
@click.option("--host", default="", type=HostName(), help="Only jobs of this host.")
@click.option("--project", default="", type=ProjectName(), help="Only jobs of this project.")
@click.option("--group", default="", help="Only jobs of this group.")
@click.option("--others", is_flag=True, help="Also jobs of other people.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@connecting
def clear_queue(session: Session, host: str, project: str, group: str, others: bool, yes: bool) -> int:
    """Stop your waiting jobs: what runs goes on."""
    from foundations_tui.config.hosts import owner_name
    from foundations_tui.jobs import operations
    from foundations_tui.sync import pull

    hosts = [session.hosts.host(host).name] if host else list(session.hosts.hosts)
    for error in pull.catch_up_all(session, hosts, streams=False).values():
        say(f"warning: {error}")
    actor = Actor(owner_name(session.hosts), others)
    which = queries.JobFilter(("queued",), host, project)
    waiting = queries.jobs(session.store.conn, which, details=False)
    rows = [row for row in waiting if actor.may_touch(row) and (not group or row.group == group)]
    if not rows:
        say("none of your jobs waits" if not others else "no job waits")
        return 0
    _confirm(rows, yes)
    code = 0
    for row in rows:
        try:
            operations.stop(session, row, actor.owner)
            click.echo(row.job)
        except FoundationsError as error:
            tell(error)
            code = code or error.exit_code
    return code


def _confirm(rows: list[JobRow], yes: bool) -> None:
    if yes:
        return
    need_terminal("clear-queue asks before it stops jobs")
    for row in rows[:20]:
        click.echo(one_line(f"  {row.job}  {row.host}  {row.label}"), err=True)
    if len(rows) > 20:
        click.echo(f"  and {len(rows) - 20} more", err=True)
    click.confirm(f"Stop {humanize.plural(len(rows), 'waiting job')}?", abort=True, err=True)
