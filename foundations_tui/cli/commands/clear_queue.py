"""The verb clear-queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from foundations_tui.cli.outcomes import exit_code, print_outcome
from foundations_tui.cli.params import HostName, ProjectName, connecting, need_terminal, say
from foundations_tui.text import humanize
from foundations_tui.text.sanitize import one_line

if TYPE_CHECKING:
    from foundations_tui.session import Session
    from foundations_tui.store.rows import JobRow


@click.command(name="clear-queue")
@click.option("--host", default="", type=HostName(), help="Only jobs of this host.")
@click.option("--project", default="", type=ProjectName(), help="Only jobs of this project.")
@click.option("--group", default="", help="Only jobs of this group.")
@click.option("--others", is_flag=True, help="Also jobs of other people.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@connecting
def clear_queue(session: Session, host: str, project: str, group: str, others: bool, yes: bool) -> int:
    """Stop your waiting jobs: what runs goes on."""
    from foundations_tui.jobs import operations
    from foundations_tui.jobs.ownership import actor_of

    actor = actor_of(session.hosts, others)
    waiting = operations.waiting(session, actor, host, project, group)
    for error in waiting.warnings:
        say(f"warning: {error}")
    if not waiting.rows:
        say("none of your jobs waits" if not others else "no job waits")
        return 0
    _confirm(waiting.rows, yes)
    return exit_code(operations.stop(session, actor, waiting.rows, report=print_outcome))


def _confirm(rows: list[JobRow], yes: bool) -> None:
    if yes:
        return
    need_terminal("clear-queue asks before it stops jobs")
    for row in rows[:20]:
        click.echo(one_line(f"  {row.job}  {row.host}  {row.label}"), err=True)
    if len(rows) > 20:
        click.echo(f"  and {len(rows) - 20} more", err=True)
    click.confirm(f"Stop {humanize.plural(len(rows), 'waiting job')}?", abort=True, err=True)
