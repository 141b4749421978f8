"""The verb stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from foundations_tui.cli.each import each
from foundations_tui.cli.params import Duration, chosen_jobs, connecting, jobs_argument, say, where_option, yes_option
from foundations_tui.errors import UsageError
from foundations_tui.store import queries
from remote_agent.protocol.jobs import LONGEST_GRACE

if TYPE_CHECKING:
    from foundations_tui.session import Session
    from foundations_tui.store.rows import JobRow


_ACTIVE = ("submitting", "queued", "preparing", "running")


@click.command()
@jobs_argument(*_ACTIVE, required=False)
@where_option
@yes_option
@click.option("--grace", default=None, type=Duration(), help="Time between its stop signal and KILL (its own: 30 s).")
@click.option("--others", is_flag=True, help="Also jobs of other people.")
@connecting
def stop(session: Session, jobs: tuple[str, ...], where: str, yes: bool, grace: float | None, others: bool) -> int:
    """Stop jobs: TERM (or their --stop-signal) to their processes, KILL to all of them after the grace time."""
    from foundations_tui.config.hosts import owner_name
    from foundations_tui.jobs import operations
    from foundations_tui.jobs.ownership import Actor

    if grace is not None and not 0 <= grace <= LONGEST_GRACE:
        raise UsageError(f"--grace takes 0 to {LONGEST_GRACE} seconds")
    actor = Actor(owner_name(session.hosts), others)
    if where:
        rows = chosen_jobs(session.store.conn, jobs, where, yes, "stop")
        jobs = tuple(row.job for row in rows if not row.is_final)
    elif not jobs:
        raise UsageError("stop takes jobs, or --where QUERY", "foundations stop --help")

    def one(row: JobRow) -> None:
        actor.check(row)
        operations.stop(session, row, actor.owner, grace)
        click.echo(row.job)
        if row.state != "queued":
            spec = queries.spec(session.store.conn, row.job)
            after = spec.get("grace", 30.0) if grace is None else grace
            say(f"{row.job[:6]} is being stopped: {spec.get('stop_signal', 'TERM')} now, KILL in {after:g} s")

    return each(session, jobs, one)
