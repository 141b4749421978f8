"""The verb stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from foundations_tui.cli.outcomes import exit_code, find_each, print_outcome
from foundations_tui.cli.params import (
    UNFINISHED,
    Duration,
    chosen_jobs,
    connecting,
    jobs_argument,
    where_option,
    yes_option,
)
from foundations_tui.errors import UsageError

if TYPE_CHECKING:
    from foundations_tui.session import Session


@click.command()
@jobs_argument(*UNFINISHED, required=False)
@where_option
@yes_option
@click.option("--grace", default=None, type=Duration(), help="Time between its stop signal and KILL (its own: 30 s).")
@click.option("--others", is_flag=True, help="Also jobs of other people.")
@connecting
def stop(session: Session, jobs: tuple[str, ...], where: str, yes: bool, grace: float | None, others: bool) -> int:
    """Stop jobs: TERM (or their --stop-signal) to their processes, KILL to all of them after the grace time."""
    from foundations_tui.jobs import operations
    from foundations_tui.jobs.ownership import actor_of
    from foundations_tui.jobs.states import possible

    if where:
        chosen = chosen_jobs(session.store.conn, jobs, where, yes, "stop")
        rows, code = possible(chosen).stop, 0
    elif jobs:
        rows, code = find_each(session.store.conn, jobs)
    else:
        raise UsageError("stop takes jobs, or --where QUERY", "foundations stop --help")
    outcomes = operations.stop(session, actor_of(session.hosts, others), rows, grace, print_outcome)
    return code or exit_code(outcomes)
