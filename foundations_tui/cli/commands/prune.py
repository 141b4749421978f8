"""The verb prune."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from foundations_tui.cli import output
from foundations_tui.cli.params import (
    FINAL,
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
from foundations_tui.errors import UsageError
from foundations_tui.text import humanize
from remote_agent.protocol.wire import JsonTable

if TYPE_CHECKING:
    from foundations_tui.jobs.pruning import HostEnvironments, PrunePlan, PruneResult
    from foundations_tui.session import Session
    from foundations_tui.store.rows import JobRow

_MOST_SHOWN = 30
_MONTH = 30 * 86400.0


@click.command()
@jobs_argument(*FINAL, required=False)
@click.option("--older-than", default=None, type=Duration(), help="Only jobs that ended at least this long ago (7d).")
@click.option("--state", "states", multiple=True, type=click.Choice(FINAL), help="Only such jobs (repeatable).")
@click.option("--larger-than", default=0, type=Size(), help="Only folders larger than this (1G).")
@click.option("--host", default="", type=HostName(), help="Only on this host.")
@click.option("--project", default="", type=ProjectName(), help="Only of this project.")
@click.option("--environments", is_flag=True, help="Not jobs: environments that none has used for --older-than (30d).")
@click.option("--force", is_flag=True, help="Also what nobody has fetched: it is lost.")
@click.option("--others", is_flag=True, help="Also jobs of other people.")
@click.option("--dry-run", is_flag=True, help="Only show what would go.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@connecting
def prune(
    session: Session,
    jobs: tuple[str, ...],
    environments: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Free a host's disk: remove the folders of ended jobs. They stay listed, with their logs and metrics.

    \b
      foundations prune --older-than 7d               what ended a week ago
      foundations prune --larger-than 10G --dry-run   only show it
      foundations prune --environments                what jobs have not used for 30 days

    A job stays, unless --force is given, while its submitter's client lacks logs or metrics of it, or while nobody has
    fetched files that it wrote.
    """
    from foundations_tui.jobs import pruning
    from foundations_tui.jobs.ownership import actor_of

    if environments:
        others = {name for name, value in options.items() if value and name not in ("host", "older_than")}
        if jobs or others:
            raise UsageError("--environments goes with --older-than, --host, --dry-run and --yes alone")
        return _prune_environments(session, options["host"], options["older_than"], dry_run, yes, as_json)
    actor = actor_of(session.hosts, options.pop("others"))
    plan = pruning.plan(session, actor, pruning.PruneRequest(jobs, **options))
    for error in plan.warnings:
        say(f"warning: {error}")
    for job, why in plan.left_out.items():
        say(f"stays: {job[:6]}: {why}")
    errors = list(plan.preview.errors)
    for error in errors:
        tell(error)
    if not as_json:
        _show(session, plan)
    pruned = plan.preview
    if plan.going and not dry_run:
        _confirm(plan.going, yes)
        pruned = pruning.prune(session, plan)
        errors += pruned.errors
        for error in pruned.errors:
            tell(error)
        if not as_json:
            freed = humanize.size(sum(map(pruning.folder_bytes, plan.going)))
            say(f"removed {humanize.plural(len(pruned.pruned), 'folder')}, {freed}")
    if as_json:
        output.print_json(_wire(plan, pruned, dry_run))
    return errors[0].exit_code if errors else 0


def _prune_environments(
    session: Session, host: str, older_than: float | None, dry_run: bool, yes: bool, as_json: bool
) -> int:
    """Remove environments that no job has used for long; those that a job needs stay."""
    from foundations_tui.jobs import pruning

    unused_for = _MONTH if older_than is None else older_than
    found = pruning.environments(session, host, unused_for, preview=True)
    for error in found.errors:
        tell(error)
    if not as_json:
        _show_environments(found)
    if found.going and not dry_run:
        size = humanize.size(sum(one.bytes for one in found.going))
        _ask(f"Remove {humanize.plural(len(found.going), 'environment')}, {size}?", yes)
        found = pruning.environments(session, host, unused_for, preview=False)
        say(f"removed {humanize.plural(len(found.going), 'environment')}")
    if as_json:
        rows = [{"host": name, **one.to_wire()} for name, some in found.by_host.items() for one in some]
        output.print_json([{**row, "removed": row.pop("going") and not dry_run} for row in rows])
    return found.errors[0].exit_code if found.errors else 0


def _show_environments(found: HostEnvironments) -> None:
    now = time.time()
    cells = [
        [one.hash[:12], name, one.source, one.python, str(one.packages), humanize.size(one.bytes)]
        + [humanize.ago(one.used_at, now), f"{one.in_use} jobs" if one.in_use else "goes" if one.going else ""]
        for name, some in found.by_host.items()
        for one in some
    ]
    if cells:
        headers = ("HASH", "HOST", "FROM", "PYTHON", "PACKAGES", "SIZE", "USED", "ABOUT")
        output.print_table(headers, cells, droppable=("PACKAGES", "HOST"))
    if not found.going:
        say("nothing to remove")


def _show(session: Session, plan: PrunePlan) -> None:
    from foundations_tui.jobs.pruning import folder_bytes

    now = time.time()
    own = session.client_id
    if plan.going:
        cells = [
            [row.job[:6], row.label, row.host, row.state, humanize.ago(row.ended_at, now)]
            + [humanize.size(folder_bytes(row)), _others(plan.preview.not_fetched_by.get(row.job, []), own)]
            for row in plan.going[:_MOST_SHOWN]
        ]
        output.print_table(
            ("ID", "NAME", "HOST", "STATE", "ENDED", "SIZE", "ABOUT"), cells, droppable=("HOST", "STATE")
        )
    else:
        say("nothing to remove")
    if len(plan.going) > _MOST_SHOWN:
        say(f"and {len(plan.going) - _MOST_SHOWN:,} more (--json lists all)")
    for row in [row for row in plan.going if row.job in plan.unfetched][:_MOST_SHOWN]:
        say(f"is lost: {row.job[:6]}: {plan.unfetched[row.job].words}")
    for job, why in list(plan.preview.kept.items())[:_MOST_SHOWN]:
        say(f"stays: {job[:6]}: {plan.unfetched[job].words if job in plan.unfetched else why}")
    if plan.preview.kept:
        say("foundations get JOB fetches what a job wrote, --checkpoints its checkpoints; --force lets it go")


def _others(clients: list[str], own: str) -> str:
    count = len([client for client in clients if client != own])
    return f"{humanize.plural(count, 'other client')} of this host never fetched it" if count else ""


def _confirm(rows: list[JobRow], yes: bool) -> None:
    from foundations_tui.jobs.pruning import folder_bytes

    _ask(f"Remove {humanize.plural(len(rows), 'folder')}, {humanize.size(sum(map(folder_bytes, rows)))}?", yes)


def _ask(question: str, yes: bool) -> None:
    if not yes:
        need_terminal("prune asks before it removes anything", "say --yes, or --dry-run")
        click.confirm(question, abort=True, err=True)


def _wire(plan: PrunePlan, pruned: PruneResult, dry_run: bool) -> list[JsonTable]:
    from foundations_tui.jobs.pruning import folder_bytes

    return [
        {
            "job": row.job,
            "host": row.host,
            "bytes": folder_bytes(row),
            "removed": row.job in pruned.pruned and not dry_run,
            "would_remove": row.job in pruned.pruned,
            "kept_because": pruned.kept.get(row.job),
            "not_fetched_by": pruned.not_fetched_by.get(row.job, []),
            "unfetched": asdict(plan.unfetched[row.job]) if row.job in plan.unfetched else None,
        }
        for row in plan.rows
    ]
