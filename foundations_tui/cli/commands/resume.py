"""The verb resume."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from foundations_tui.cli.outcomes import exit_code, print_hosts
from foundations_tui.cli.params import HostName, connecting

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
    from foundations_tui.jobs import operations
    from foundations_tui.jobs.ownership import actor_of

    resumed = operations.resume(session, actor_of(session.hosts, others), group, host)
    if resumed.job is not None:
        click.echo(resumed.job.job)
    print_hosts(resumed.hosts)
    return exit_code(resumed.hosts)
