"""The verb sync."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from foundations_tui.cli.params import HostName, connecting
from foundations_tui.cli.stderr import tell
from foundations_tui.store import queries

if TYPE_CHECKING:
    from foundations_tui.session import Session


@click.command()
@click.argument("names", nargs=-1, type=HostName(), metavar="[HOST...]")
@connecting
def sync(session: Session, names: tuple[str, ...]) -> int:
    """Bring the local store up to date with the hosts: states, logs, metrics."""
    from foundations_tui.sync import pull as syncing

    hosts = [session.hosts.host(name).name for name in names] or list(session.hosts.hosts)
    problems = syncing.catch_up_all(session, hosts)
    for name in hosts:
        if name in problems:
            tell(problems[name])
        else:
            row = queries.hosts(session.store.conn)[name]
            click.echo(f"{name}: up to date, {row.running} running, {row.queued} queued")
    return next((error.exit_code for error in problems.values()), 0)
