"""The verb queue."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from foundations_tui.cli import output
from foundations_tui.cli.params import HostName, connecting, json_option, say
from foundations_tui.cli.stderr import tell
from foundations_tui.store.rows import iso
from foundations_tui.text import humanize
from remote_agent.protocol.wire import JsonTable

if TYPE_CHECKING:
    from foundations_tui.jobs.on_hosts import WaitingJob
    from foundations_tui.session import Session


@click.command()
@click.argument("names", nargs=-1, type=HostName(), metavar="[HOST...]")
@json_option
@connecting
def queue(session: Session, names: tuple[str, ...], as_json: bool) -> int:
    """Show the waiting jobs of the hosts in the order they will start, with the reason and the expected start."""
    from foundations_tui.jobs import on_hosts

    listing = on_hosts.queues(session, [session.hosts.host(name).name for name in names] or list(session.hosts.hosts))
    for error in listing.errors.values():
        tell(error)
    for note in listing.notes:
        say(note)
    rows = [_entry(waiting) for waiting in listing.jobs]
    if as_json:
        output.print_json(rows)
    elif rows:
        now = time.time()
        starts = [humanize.ahead(waiting.starts_at, now) for waiting in listing.jobs]
        cells = [_cells(row, words) for row, words in zip(rows, starts, strict=True)]
        headers = ("HOST", "PLACE", "ID", "NAME", "PRIORITY", "STARTS", "WHY")
        output.print_table(headers, cells, droppable=("PRIORITY", "PLACE", "STARTS"), last_wants=40)
    elif not listing.errors:
        say("nothing waits")
    return next((error.exit_code for error in listing.errors.values()), 0)


def _entry(waiting: WaitingJob) -> JsonTable:
    row = waiting.row
    name, owner, group = (row.label, row.owner, row.group) if row else ("", "", "")
    facts = {"host": waiting.host, "place": waiting.place, "job": waiting.job, "name": name}
    facts |= {"owner": owner or None, "group": group or None, "priority": waiting.priority, "reason": waiting.reason}
    starts_in = None if waiting.starts_in is None else round(waiting.starts_in, 1)
    return {**facts, "estimated_start": iso(waiting.starts_at), "starts_in": starts_in}


def _cells(row: JsonTable, starts: str) -> list[str]:
    return [
        row["host"],
        str(row["place"]),
        row["job"][:6],
        row["name"],
        str(row["priority"] or ""),
        starts,
        row["reason"],
    ]
