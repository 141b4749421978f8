"""The verb wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from foundations_tui.cli.params import connecting, jobs_argument
from foundations_tui.cli.stderr import tell
from foundations_tui.cli.waiting import OURS, watch_to_end
from foundations_tui.errors import FoundationsError
from foundations_tui.store import queries

if TYPE_CHECKING:
    from foundations_tui.session import Session


@click.command()
@jobs_argument()
@connecting
def wait(session: Session, jobs: tuple[str, ...]) -> int:
    """Wait for jobs to end and exit with their exit code: of several, the first that is not 0, in their order.

    128+n: ended by signal n. 125: lost, stopped before it ran, or anything that went wrong on this side.
    """
    try:
        return watch_to_end(session, [queries.resolve(session.store.conn, job) for job in jobs])
    except FoundationsError as error:
        tell(error)
        return OURS
