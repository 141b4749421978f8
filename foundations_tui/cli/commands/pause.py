"""The verb pause."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from foundations_tui.cli.params import HostName, connecting
from foundations_tui.cli.pausing import set_paused

if TYPE_CHECKING:
    from foundations_tui.session import Session


@click.command()
@click.argument("group", default="")
@click.option("--host", default="", type=HostName(), help="Only there; without GROUP, all its jobs.")
@connecting
def pause(session: Session, group: str, host: str) -> int:
    """Start no more jobs of a GROUP (submit --group), or of a whole --host; what runs goes on."""
    return set_paused(session, group, host, True)
