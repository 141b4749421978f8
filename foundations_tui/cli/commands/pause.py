"""The verb pause."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from foundations_tui.cli.outcomes import exit_code, print_hosts
from foundations_tui.cli.params import HostName, connecting

if TYPE_CHECKING:
    from foundations_tui.session import Session


@click.command()
@click.argument("group", default="")
@click.option("--host", default="", type=HostName(), help="Only there; without GROUP, all its jobs.")
@connecting
def pause(session: Session, group: str, host: str) -> int:
    """Start no more jobs of a GROUP (submit --group), or of a whole --host; what runs goes on."""
    from foundations_tui.jobs import on_hosts

    outcomes = on_hosts.set_paused(session, group, host, paused=True)
    print_hosts(outcomes)
    return exit_code(outcomes)
