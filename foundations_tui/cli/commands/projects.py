"""The verb projects."""

from __future__ import annotations

import time

import click

from foundations_tui.cli import output
from foundations_tui.cli.params import json_option, reader, sync_option
from foundations_tui.store import queries
from foundations_tui.text import humanize


@click.command()
@sync_option
@json_option
def projects(sync_first: bool, as_json: bool) -> None:
    """List projects: named groups of jobs."""
    rows = queries.projects(reader(sync_first))
    if as_json:
        output.print_json([row.to_json() for row in rows])
        return
    now = time.time()
    cells = [
        [
            r.project,
            str(r.jobs),
            str(r.running),
            str(r.queued),
            str(r.completed),
            str(r.failed),
            str(r.lost),
            humanize.ago(r.last_job_at, now),
        ]
        for r in rows
    ]
    output.print_table(("PROJECT", "JOBS", "RUNNING", "QUEUED", "COMPLETED", "FAILED", "LOST", "LAST JOB"), cells)
