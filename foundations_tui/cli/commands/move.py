"""The verb move."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from foundations_tui.cli.params import MANY, JobName, connecting, job_argument
from foundations_tui.errors import UsageError
from foundations_tui.jobs.ownership import Actor
from foundations_tui.store import queries

if TYPE_CHECKING:
    from foundations_tui.session import Session


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
