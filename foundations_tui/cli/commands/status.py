"""The verb status."""

from __future__ import annotations

import sqlite3
import time

import click

from foundations_tui.cli import output
from foundations_tui.cli.looking import looking_option, looking_reader
from foundations_tui.cli.params import json_option
from foundations_tui.store import queries
from foundations_tui.store.rows import JobRow, iso
from foundations_tui.text import humanize

_DEFAULT_ROWS = 50


@click.command()
@looking_option
@json_option
def status(sync_first: bool | None, as_json: bool) -> None:
    """Show what ended, failed or waits since you last looked."""
    from foundations_tui.store import writes

    conn = looking_reader(sync_first, as_json)
    now = time.time()
    since = queries.looked_at(conn)
    ended = queries.changed_since(conn, since)
    running = queries.jobs(conn, queries.JobFilter(("preparing", "running")))
    waiting = queries.jobs(conn, queries.JobFilter(("submitting", "queued")), details=False)
    hosts = {row.host for row in (*running, *waiting)}
    if as_json:
        groups = {"ended": ended, "running": running, "waiting": waiting}
        output.print_json(
            {"since": iso(since) if since else None, **{k: [r.to_json(now) for r in v] for k, v in groups.items()}}
        )
    else:
        _print_status(conn, since, now, ended, running, waiting)
    output.print_age(conn, hosts, now)
    writes.put_looked_at(now)


def _print_status(
    conn: sqlite3.Connection,
    since: float,
    now: float,
    ended: list[JobRow],
    running: list[JobRow],
    waiting: list[JobRow],
) -> None:
    when = f"since {humanize.ago(since, now)}" if since else "so far"
    failed = sum(row.went_wrong for row in ended)
    summary = f"{humanize.plural(len(ended), 'job')} ended {when}, {failed} of them failed; "
    click.echo(summary + f"{len(running)} running, {len(waiting)} waiting")
    for title, rows in (("Ended", ended), ("Running", running), ("Waiting", waiting)):
        if rows:
            click.echo(f"\n{title}")
            output.print_jobs(conn, rows[:_DEFAULT_ROWS])
            if len(rows) > _DEFAULT_ROWS:
                click.echo(f"and {len(rows) - _DEFAULT_ROWS} more")
