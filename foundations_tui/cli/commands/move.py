"""The verb move."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from foundations_tui.cli.params import JobName, connecting, job_argument
from foundations_tui.errors import UsageError
from foundations_tui.store import queries
from foundations_tui.text.options import MANY

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
    from foundations_tui.jobs import operations
    from foundations_tui.jobs.ownership import actor_of

    if sum(choice is not None for choice in (where, before, behind, priority)) != 1:
        raise UsageError("say one of --first, --last, --before JOB, --behind JOB, --priority N")
    row = queries.find(session.store.conn, job)
    beside = before if before is not None else behind
    other = queries.find(session.store.conn, beside) if beside is not None else None
    place = where or ("before" if before is not None else "after" if behind is not None else "")
    operations.move(session, actor_of(session.hosts, others), row, place, other, priority)
    click.echo(row.job)
