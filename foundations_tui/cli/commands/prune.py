"""The verb prune."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from foundations_tui.cli import output
from foundations_tui.cli.params import (
    Duration,
    HostName,
    ProjectName,
    Size,
    connecting,
    jobs_argument,
    json_option,
    need_terminal,
    say,
)
from foundations_tui.cli.stderr import tell
from foundations_tui.errors import FoundationsError, HostError, UsageError
from foundations_tui.jobs.ownership import Actor
from foundations_tui.store import queries
from foundations_tui.text import humanize

if TYPE_CHECKING:
    from foundations_tui.jobs.operations import Pruned, Unfetched
    from foundations_tui.session import Session
    from foundations_tui.store.rows import JobRow

_MOST_SHOWN = 30
_STATES = ("completed", "failed", "stopped", "lost")


@click.command()
@jobs_argument(*_STATES, required=False)
@click.option("--older-than", default=None, type=Duration(), help="Only what ended so long ago (7d).")
@click.option("--state", "states", multiple=True, type=click.Choice(_STATES), help="Only such jobs (repeatable).")
@click.option("--larger-than", default=0, type=Size(), help="Only folders larger than this (1G).")
@click.option("--host", default="", type=HostName(), help="Only on this host.")
@click.option("--project", default="", type=ProjectName(), help="Only of this project.")
@click.option("--force", is_flag=True, help="Also what nobody has fetched: it is lost.")
@click.option("--others", is_flag=True, help="Also jobs of other people.")
@click.option("--dry-run", is_flag=True, help="Only show what would go.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@connecting
def prune(session: Session, jobs: tuple[str, ...], dry_run: bool, yes: bool, as_json: bool, **options: Any) -> int:
    """Free a host's disk: remove the folders of ended jobs. They stay listed, with their logs and metrics.

    \b
      foundations prune --older-than 7d               what ended a week ago
      foundations prune --larger-than 10G --dry-run   only show it

    A job of which something was not fetched stays, unless --force is given: logs and metrics that the client that
    submitted it does not have yet, and files that it wrote and nobody got.
    """
    from foundations_tui.config.hosts import owner_name
    from foundations_tui.sync import pull

    if not jobs and options["older_than"] is None and not options["larger_than"] and not options["states"]:
        raise UsageError("say what may go: JOBs, --older-than 7d, --larger-than 1G or --state failed")
    hosts = [session.hosts.host(options["host"]).name] if options["host"] else list(session.hosts.hosts)
    for error in pull.catch_up_all(session, hosts).values():
        say(f"warning: {error}")
    actor = Actor(owner_name(session.hosts), options["others"])
    rows = [row for row in _chosen(session, jobs, options) if actor.may_touch(row)]
    for name in jobs:
        actor.check(queries.find(session.store.conn, name))
    _say_left_out(session, jobs, rows)
    unfetched = _survey(session, rows)
    found, code = _prune(session, rows, options["force"], preview=True)
    going = [row for row in rows if row.job in found.pruned]
    if not as_json:
        _show(session, going, found, unfetched)
    if going and not dry_run:
        _confirm(going, yes)
        done, problem = _prune(session, going, options["force"], preview=False)
        found = done
        code = code or problem
        pull.catch_up_all(session, list({row.host for row in going}), streams=False)
        if not as_json:
            say(f"removed {humanize.plural(len(done.pruned), 'folder')}, {humanize.size(sum(map(_size, going)))}")
    if as_json:
        output.print_json(_wire(rows, found, dry_run, unfetched))
    return code


def _chosen(session: Session, jobs: tuple[str, ...], options: dict[str, Any]) -> list[JobRow]:
    conn = session.store.conn
    which = queries.JobFilter(options["states"], options["host"], options["project"], trashed=True)
    rows = queries.ended(conn, which, time.time() - (options["older_than"] or 0.0))
    if jobs:
        wanted = {queries.resolve(conn, job) for job in jobs}
        rows = [row for row in rows if row.job in wanted]
    return [row for row in rows if _size(row) >= options["larger_than"]]


def _say_left_out(session: Session, jobs: tuple[str, ...], rows: list[JobRow]) -> None:
    """Say of each job that was named and is not among the rows why it is not."""
    meant = {row.job for row in rows}
    for name in jobs:
        row = queries.find(session.store.conn, name)
        if row.job not in meant:
            why = "its folder was removed already" if row.pruned else f"it is {row.state}"
            why = why if row.pruned or not row.is_final else "it has no folder, or the other options leave it out"
            say(f"stays: {row.job[:6]}: {why}")


def _survey(session: Session, rows: list[JobRow]) -> dict[str, Unfetched]:
    """Have each host look for what was never fetched; one that is out of reach is met again, and said, by prune."""
    from foundations_tui.jobs import operations

    found: dict[str, Unfetched] = {}
    for host in dict.fromkeys(row.host for row in rows):
        try:
            found.update(operations.survey(session, [row for row in rows if row.host == host]))
        except HostError:
            continue
    return found


def _prune(session: Session, rows: list[JobRow], force: bool, preview: bool) -> tuple[Pruned, int]:
    from foundations_tui.jobs import operations

    found, code = operations.Pruned([], {}, {}), 0
    for host in dict.fromkeys(row.host for row in rows):
        try:
            part = operations.prune(session, host, [row.job for row in rows if row.host == host], force, preview)
        except FoundationsError as error:
            tell(error)
            code = code or error.exit_code
            continue
        found.pruned.extend(part.pruned)
        found.kept.update(part.kept)
        found.not_fetched_by.update(part.not_fetched_by)
    return found, code


def _show(session: Session, going: list[JobRow], found: Pruned, unfetched: dict[str, Unfetched]) -> None:
    now = time.time()
    own = session.client_id
    if going:
        cells = [
            [row.job[:6], row.label, row.host, row.state, humanize.ago(row.ended_at, now)]
            + [humanize.size(_size(row)), _others(found.not_fetched_by.get(row.job, []), own)]
            for row in going[:_MOST_SHOWN]
        ]
        output.print_table(("ID", "NAME", "HOST", "STATE", "ENDED", "SIZE", ""), cells, droppable=("HOST", "STATE"))
    else:
        say("nothing to remove")
    if len(going) > _MOST_SHOWN:
        say(f"and {len(going) - _MOST_SHOWN:,} more (--json lists all)")
    for row in [row for row in going if row.job in unfetched][:_MOST_SHOWN]:
        say(f"is lost: {row.job[:6]}: {unfetched[row.job].words}")
    for job, why in list(found.kept.items())[:_MOST_SHOWN]:
        say(f"stays: {job[:6]}: {unfetched[job].words if job in unfetched else why}")
    if found.kept:
        say("foundations get JOB fetches what a job wrote, --checkpoints its checkpoints; --force lets it go")


def _others(clients: list[str], own: str) -> str:
    count = len([client for client in clients if client != own])
    return f"{humanize.plural(count, 'other client')} of this host never fetched it" if count else ""


def _confirm(rows: list[JobRow], yes: bool) -> None:
    if yes:
        return
    need_terminal("prune asks before it removes anything", "say --yes, or --dry-run")
    what = f"{humanize.plural(len(rows), 'folder')}, {humanize.size(sum(map(_size, rows)))}"
    click.confirm(f"Remove {what}?", abort=True, err=True)


def _size(row: JobRow) -> int:
    return int(row.usage.get("disk") or 0) + sum(int(past["usage"].get("disk") or 0) for past in row.attempts)


def _wire(rows: list[JobRow], found: Pruned, dry_run: bool, unfetched: dict[str, Unfetched]) -> list[dict[str, Any]]:
    return [
        {
            "job": row.job,
            "host": row.host,
            "bytes": _size(row),
            "removed": row.job in found.pruned and not dry_run,
            "would_remove": row.job in found.pruned,
            "kept_because": found.kept.get(row.job),
            "not_fetched_by": found.not_fetched_by.get(row.job, []),
            "unfetched": asdict(unfetched[row.job]) if row.job in unfetched else None,
        }
        for row in rows
    ]
