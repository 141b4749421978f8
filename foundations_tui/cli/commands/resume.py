"""The verb resume."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from foundations_tui.cli.params import HostName, connecting
from foundations_tui.cli.pausing import _hosts_of, set_paused
from foundations_tui.errors import NotFoundError
from foundations_tui.jobs.ownership import Actor
from foundations_tui.store import queries

if TYPE_CHECKING:
    from foundations_tui.session import Session


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
    return set_paused(session, group, host, False)


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
