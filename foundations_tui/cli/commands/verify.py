"""The verb verify."""

from __future__ import annotations

import time

import click

from foundations_tui.cli import output
from foundations_tui.cli.params import job_argument, json_option, reader, sync_option
from foundations_tui.cli.stderr import use_color
from foundations_tui.store import queries
from foundations_tui.text.sanitize import one_line

_COLORS = {"ok": "green", "missing": "yellow", "damaged": "red"}


@click.command()
@job_argument
@sync_option
@json_option
def verify(job: str, sync_first: bool, as_json: bool) -> int:
    """Check that all that was recorded of a job is on this machine: its code is read and hashed, object by object.

    Ends with 1 when something is missing or damaged.
    """
    from foundations_tui.jobs import verification

    conn = reader(sync_first)
    row = queries.find(conn, job)
    checks = verification.verify(conn, row)
    if as_json:
        output.print_json({"job": row.job, "checks": [vars(check) for check in checks]})
    else:
        for check in checks:
            state = click.style(f"{check.state:<12}", fg=_COLORS.get(check.state))
            click.echo(f"{state}  {check.part:<12}  {one_line(check.words)}", color=use_color())
    output.print_age(conn, {row.host}, time.time())
    return 0 if all(check.is_good for check in checks) else 1
