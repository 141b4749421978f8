"""The verbs shell and exec: a terminal on a host, a command in a job's folder."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from foundations_tui.cli.params import HostOrJob, connecting, job_argument
from foundations_tui.cli.stderr import tell
from foundations_tui.errors import FoundationsError, NotFoundError, UsageError
from foundations_tui.store import queries

if TYPE_CHECKING:
    from foundations_tui.session import Session
    from foundations_tui.store.rows import JobRow

_OURS = 125


@click.command()
@click.argument("name", type=HostOrJob(), metavar="HOST|JOB")
@connecting
def shell(session: Session, name: str) -> int:
    """Open a shell on a host, or in a job's folder with its environment and GPUs."""
    if not sys.stdin.isatty():
        raise UsageError("shell needs a terminal", "foundations exec JOB -- COMMAND runs one command")
    if name in session.hosts.hosts:
        return _enter(session, name, None, ())
    row = queries.find(session.store.conn, name)
    return _enter(session, row.host, row, ())


@click.command(name="exec", context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False})
@job_argument
@click.argument("command", nargs=-1, required=True, metavar="-- COMMAND...")
@connecting
def exec_(session: Session, job: str, command: tuple[str, ...]) -> int:
    """Run a command in a job's folder, with its environment and its GPUs; the exit code is the command's.

    It is no part of the job: it is not stopped with it, and on another host it goes on when this command is
    interrupted. 125: it could not be run at all.
    """
    if command[0] == "--":
        command = command[1:]
    if not command or not command[0]:
        raise UsageError("there is no command", "foundations exec JOB -- nvidia-smi")
    try:
        row = queries.find(session.store.conn, job)
        return _enter(session, row.host, row, command)
    except UsageError:
        raise
    except FoundationsError as error:
        tell(error)
        return _OURS


def _enter(session: Session, host: str, row: JobRow | None, command: tuple[str, ...]) -> int:
    from foundations_tui.hosts import console
    from foundations_tui.sync import pull

    if row is not None:
        pull.catch_up(session, host, streams=False)  # it may have started, or be at another attempt by now
        row = queries.job(session.store.conn, row.job)
    if row is not None and not row.attempt:
        raise NotFoundError(f"job {row.job} has not started: it has no folder yet")
    agent = session.agent(host)
    wish = {"job": row.job if row else "", "attempt": row.attempt if row else 0, "command": list(command)}
    return console.run(agent, agent.place, wish, sys.stdin.isatty() and sys.stdout.isatty())
