"""The verb clear-queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from foundations_tui.cli.params import HostName, ProjectName, connecting, need_terminal, say
from foundations_tui.cli.stderr import tell
from foundations_tui.errors import FoundationsError
from foundations_tui.jobs.ownership import Actor
from foundations_tui.store import queries
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
