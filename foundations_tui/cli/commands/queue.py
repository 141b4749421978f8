"""The verb queue."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from foundations_tui.cli import output
from foundations_tui.cli.params import HostName, connecting, json_option, say
from foundations_tui.cli.stderr import tell
from foundations_tui.errors import NotFoundError
from foundations_tui.store import queries
from foundations_tui.store.rows import iso
from foundations_tui.text import humanize
from remote_agent.protocol.wire import JsonTable

if TYPE_CHECKING:
    from foundations_tui.session import Session


@click.command()
@click.argument("names", nargs=-1, type=HostName(), metavar="[HOST...]")
@json_option
@connecting
def queue(session: Session, names: tuple[str, ...], as_json: bool) -> int:
    """Show the waiting jobs of the hosts in the order they will start, with the reason and the expected start."""
    from foundations_tui.jobs import on_hosts
    from foundations_tui.sync import pull

    hosts = [session.hosts.host(name).name for name in names] or list(session.hosts.hosts)
    problems = pull.catch_up_all(session, hosts, streams=False)
    rows: list[JsonTable] = []
    for host in hosts:
        if host in problems:
            tell(problems[host])
            continue
        answer = on_hosts.queue(session, host)
        if answer.paused:
            say(f"{host}: paused: {on_hosts.paused_words(answer.paused)}")
        rows += [_entry(session, host, place, *facts) for place, facts in enumerate(answer.jobs, 1)]
        if answer.more:
            say(f"{host}: {answer.more:,} more wait")
    if as_json:
        output.print_json(rows)
    elif rows:
        cells = [_cells(row) for row in rows]
        headers = ("HOST", "PLACE", "ID", "NAME", "PRIORITY", "STARTS", "WHY")
        output.print_table(headers, cells, droppable=("PRIORITY", "PLACE", "STARTS"), last_wants=40)
    elif not problems:
        say("nothing waits")
    return next((error.exit_code for error in problems.values()), 0)


def _entry(
    session: Session, host: str, place: int, job: str, priority: int, why: str, starts_at: float | None
) -> JsonTable:
    try:
        row = queries.job(session.store.conn, job)
        name, owner, group = row.label, row.owner, row.group
    except NotFoundError:
        name, owner, group = "", "", ""  # submitted a moment ago by somebody else
    facts = {"host": host, "place": place, "job": job, "name": name, "owner": owner or None, "group": group or None}
    starts_in = None if starts_at is None else round(max(0.0, starts_at - time.time()), 1)
    return {**facts, "priority": priority, "reason": why, "estimated_start": iso(starts_at), "starts_in": starts_in}


def _cells(row: JsonTable) -> list[str]:
    starts_in = row["starts_in"]
    starts = "" if starts_in is None else f"in {humanize.duration(starts_in)}"
    return [
        row["host"],
        str(row["place"]),
        row["job"][:6],
        row["name"],
        str(row["priority"] or ""),
        starts,
        row["reason"],
    ]
