"""The verb shell."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from foundations_tui.cli.console import enter
from foundations_tui.cli.params import HostOrJob, connecting
from foundations_tui.errors import UsageError
from foundations_tui.store import queries

if TYPE_CHECKING:
    from foundations_tui.session import Session


@click.command()
@click.argument("name", type=HostOrJob(), metavar="HOST|JOB")
@connecting
def shell(session: Session, name: str) -> int:
    """Open a shell on a host, or in a job's folder with its environment and GPUs."""
    if not sys.stdin.isatty():
        raise UsageError("shell needs a terminal", "foundations exec JOB -- COMMAND runs one command")
    if name in session.hosts.hosts:
        return enter(session, name, None, ())
    row = queries.find(session.store.conn, name)
    return enter(session, row.host, row, ())
