"""The verb logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from foundations_tui.cli.log_output import LogWriter, print_log
from foundations_tui.cli.params import connecting, job_argument, say
from foundations_tui.errors import NotFoundError, UsageError
from foundations_tui.store import queries

if TYPE_CHECKING:
    from foundations_tui.session import Session


@click.command()
@job_argument
@click.option("-f", "--follow", is_flag=True, help="Print what comes until the job ends.")
@click.option("--attempt", default=None, type=click.IntRange(1), help="Only that of this attempt (default: of all).")
@connecting
def logs(session: Session, job: str, follow: bool, attempt: int | None) -> int:
    """Print the log of a job: its standard output and error, byte for byte.

    To a terminal, colors pass and every other escape sequence is shown instead of obeyed.
    """
    from foundations_tui.jobs import watch

    row = queries.find(session.store.conn, job)
    if row.kind == "run":
        where = "its output went to the terminal that started it"
        raise NotFoundError(f"job {row.job} has no captured log: {where}", "foundations submit keeps logs")
    writer = LogWriter(to_stderr=False)
    try:
        if follow and attempt is not None:
            raise UsageError("--follow goes on with the attempts; --attempt names one")
        if attempt is not None and attempt > row.attempt:
            raise NotFoundError(f"job {row.job} has no attempt {attempt}", f"it has {row.attempt}")
        if follow:
            for page in watch.follow_log(session, row.job):
                writer.write(page)
            return 0
        return print_log(session, row, writer, attempt)
    except KeyboardInterrupt:
        say("\nleft the log; the job runs on")
        return 130
    finally:
        writer.end()
