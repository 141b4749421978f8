"""The verb delete."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from foundations_tui.cli.each import each
from foundations_tui.cli.params import chosen_jobs, connecting, jobs_argument, need_terminal, say, where_option
from foundations_tui.errors import FoundationsError
from foundations_tui.text.sanitize import one_line

if TYPE_CHECKING:
    from foundations_tui.jobs.operations import Unfetched
    from foundations_tui.session import Session
    from foundations_tui.store.rows import JobRow


@click.command()
@jobs_argument("completed", "failed", "stopped", "lost", required=False)
@where_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--others", is_flag=True, help="Also jobs of other people.")
@click.option("--now", is_flag=True, help="For good, and free the space.")
@click.option("--force", is_flag=True, help="For good, also what nobody has fetched.")
@connecting
def delete(session: Session, jobs: tuple[str, ...], where: str, yes: bool, others: bool, now: bool, force: bool) -> int:
    """Delete ended jobs; 30 days long `foundations restore` brings them back.

    Files that a job wrote and nobody fetched are named before it is asked; --yes takes them, too.

    \b
      foundations delete 8f3a12                 out of all listings
      foundations jobs --where is:trashed       what can be restored
      foundations delete --now 8f3a12           its folder on the host, its log and metrics, for good
    """
    from foundations_tui.cli.annotations import annotate
    from foundations_tui.config.hosts import owner_name
    from foundations_tui.jobs.ownership import Actor
    from foundations_tui.sync import trash

    actor = Actor(owner_name(session.hosts), others)
    rows = chosen_jobs(session.store.conn, jobs, where, yes, "delete")
    for_good = now or force
    mine = [row for row in rows if actor.may_touch(row)]
    if for_good and not yes and not where:
        need_terminal("delete --now asks before it deletes")
    lost = _say_what_is_lost(session, mine, for_good)
    if not yes and sys.stdin.isatty() and ((for_good and not where) or lost):
        for row in rows if for_good else ():
            click.echo(one_line(f"  {row.job}  {row.state}  {row.host}  {row.name}"), err=True)
        click.confirm(_question(len(rows), for_good), abort=True, err=True)
    going: list[JobRow] = []

    def one(row: JobRow) -> None:
        actor.check(row)
        if for_good:
            trash.remove(session, row, files=row.job in lost, force=force)
            click.echo(row.job)
        else:
            trash.check_can_go(row)
            going.append(row)

    code = each(session, tuple(row.job for row in rows), one)
    if going:
        annotate(session, going, {"trashed": True})
    return code


def _say_what_is_lost(session: Session, rows: list[JobRow], for_good: bool) -> dict[str, Unfetched]:
    """Name what nobody has fetched of jobs that are deleted, and return it."""
    from foundations_tui.jobs import operations

    lost: dict[str, Unfetched] = {}
    when = "now" if for_good else "in 30 days"
    for host in dict.fromkeys(row.host for row in rows):
        try:
            found = operations.survey(session, [row for row in rows if row.host == host])
        except FoundationsError as error:
            if for_good:
                continue  # it is met again, and said, when the job is to go
            say(f"warning: {error}: what was not fetched there is not known")
            continue
        lost.update(found)
        for job, left in found.items():
            say(f"{job[:6]}: {left.words}; they go with it {when} (foundations get {job[:6]})")
    return lost


def _question(count: int, for_good: bool) -> str:
    jobs = "this job" if count == 1 else f"these {count} jobs"
    return f"Delete {jobs} for good, with all files?" if for_good else f"Delete {jobs}?"
