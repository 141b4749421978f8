"""The verb exec."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from foundations_tui.cli.console import enter
from foundations_tui.cli.params import connecting, job_argument
from foundations_tui.cli.stderr import tell
from foundations_tui.cli.waiting import OURS
from foundations_tui.errors import FoundationsError, UsageError
from foundations_tui.store import queries

if TYPE_CHECKING:
    from foundations_tui.session import Session


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
        return enter(session, row.host, row, command)
    except UsageError:
        raise
    except FoundationsError as error:
        tell(error)
        return OURS
