"""The verb logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from foundations_tui.cli.log_output import LogWriter, print_log
from foundations_tui.cli.params import connecting, job_argument, say
from foundations_tui.errors import NotFoundError, UsageError
from foundations_tui.store import queries, services

if TYPE_CHECKING:
    from foundations_tui.session import Session
    from foundations_tui.store.services import ServiceRow


@click.command()
@job_argument
@click.option("-f", "--follow", is_flag=True, help="Print what comes until the job ends.")
@click.option("--attempt", default=None, type=click.IntRange(1), help="Only that of this attempt (default: of all).")
@connecting
def logs(session: Session, job: str, follow: bool, attempt: int | None) -> int:
    """Print the log of a job: its standard output and error, byte for byte; of a service, of its replicas.

    To a terminal, colors pass and every other escape sequence is shown instead of obeyed.
    """
    from foundations_tui.jobs import watch

    of_service = _service(session, job)
    if of_service is not None:
        return _logs_of_service(session, of_service, follow, attempt)
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


def _service(session: Session, name: str) -> ServiceRow | None:
    """Return the service of that name, where no job has it."""
    try:
        queries.find(session.store.conn, name)
        return None
    except (NotFoundError, UsageError):
        pass
    try:
        return services.service(session.store.conn, name)
    except NotFoundError:
        return None


def _logs_of_service(session: Session, row: ServiceRow, follow: bool, attempt: int | None) -> int:
    from foundations_tui.services import logs as of_services, operations

    if attempt is not None:
        raise UsageError("--attempt is of one replica: name it by its job", f"foundations service show {row.name}")
    writer, joined = LogWriter(to_stderr=False), of_services.Joined()
    try:
        if follow:
            for name, page in of_services.follow(session, row):
                writer.write(joined.feed(name, page))
            return 0
        row = operations.fresh(session, row.name, row.host)
        codes = []
        for replica in of_services.replicas(session, row):
            say(f"--- {replica.name}, job {replica.job[:6]}")
            codes.append(print_log(session, replica, writer, replica.attempt or None))
        return max(codes, default=0)
    except KeyboardInterrupt:
        writer.write(joined.end())
        say("\nleft the logs; the service goes on")
        return 130
    finally:
        writer.end()
