"""The verb delete."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from foundations_tui.cli.outcomes import exit_code, print_annotated, print_failure, print_outcome
from foundations_tui.cli.params import FINAL, chosen_jobs, connecting, jobs_argument, need_terminal, say, where_option
from foundations_tui.text.sanitize import one_line

if TYPE_CHECKING:
    from foundations_tui.jobs.operations import Deletion
    from foundations_tui.session import Session


@click.command()
@jobs_argument(*FINAL, required=False)
@where_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--others", is_flag=True, help="Also jobs of other people.")
@click.option("--now", is_flag=True, help="For good, and free the space.")
@click.option("--force", is_flag=True, help="For good, also what nobody has fetched.")
@connecting
def delete(session: Session, jobs: tuple[str, ...], where: str, yes: bool, others: bool, now: bool, force: bool) -> int:
    """Delete ended jobs; `foundations restore` brings them back for 30 days.

    Before you are asked, it lists files that a job wrote and nobody fetched; --yes deletes them, too.

    \b
      foundations delete 8f3a12                 out of all listings
      foundations jobs --where is:trashed       what can be restored
      foundations delete --now 8f3a12           its folder on the host, its log and metrics, for good
    """
    from foundations_tui.jobs import operations
    from foundations_tui.jobs.ownership import actor_of

    actor = actor_of(session.hosts, others)
    rows = chosen_jobs(session.store.conn, jobs, where, yes, "delete")
    for_good = now or force
    if for_good and not yes and not where:
        need_terminal("delete --now asks before it deletes")
    deletion = operations.what_delete_loses(session, actor, rows)
    _say_what_is_lost(deletion, for_good)
    if not yes and sys.stdin.isatty() and ((for_good and not where) or deletion.unfetched):
        for row in rows if for_good else ():
            click.echo(one_line(f"  {row.job}  {row.state}  {row.host}  {row.name}"), err=True)
        click.confirm(_question(len(rows), for_good), abort=True, err=True)
    if for_good:
        return exit_code(operations.delete_for_good(session, actor, rows, deletion, force, print_outcome))
    deleted = operations.delete(session, actor, rows, print_failure)
    if deleted.annotated is not None:
        print_annotated(deleted.annotated)
    return exit_code(deleted.outcomes)


def _say_what_is_lost(deletion: Deletion, for_good: bool) -> None:
    """Name what nobody has fetched of jobs that are deleted."""
    if not for_good:  # else the error is met again, and said, when the job is to go
        for error in deletion.warnings:
            say(f"warning: {error}: what was not fetched there is not known")
    when = "now" if for_good else "in 30 days"
    for job, left in deletion.unfetched.items():
        say(f"{job[:6]}: {left.words}; they go with it {when} (foundations get {job[:6]})")


def _question(count: int, for_good: bool) -> str:
    jobs = "this job" if count == 1 else f"these {count} jobs"
    return f"Delete {jobs} for good, with all files?" if for_good else f"Delete {jobs}?"
