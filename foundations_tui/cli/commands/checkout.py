"""The verb checkout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from foundations_tui.cli import output
from foundations_tui.cli.params import LocalPath, connecting, job_argument, json_option, say
from foundations_tui.cli.progress import ProgressLine
from foundations_tui.store import queries
from foundations_tui.text import humanize
from foundations_tui.text.sanitize import one_line

if TYPE_CHECKING:
    from foundations_tui.session import Session


@click.command()
@job_argument
@click.argument("folder", type=LocalPath("dir"), metavar="DIR")
@json_option
@connecting
def checkout(session: Session, job: str, folder: str, as_json: bool) -> int:
    """Restore a job to a new folder: its code to the byte, parameters, facts, and a script that runs it.

    DIR gets code/, run.sh, job.json, parameters.json, and facts.json and packages.txt as far as they were recorded.
    """
    from foundations_tui.jobs.checkout import checkout as restore

    row = queries.find(session.store.conn, job)
    line = ProgressLine()

    def received(so_far: int, total: int) -> None:
        line.bar("fetching", so_far, total, f"{humanize.size(so_far)} of {humanize.size(total)}")

    try:
        unpacked = restore(session, row, Path(folder), received)
    finally:
        line.end()
    for name, why in unpacked.refused[:20]:
        say(f"left out: {one_line(name)}: {why}")
    if as_json:
        output.print_json({"job": row.job, "folder": folder, "files": len(unpacked.files), "snapshot": row.snapshot})
    else:
        count = humanize.plural(len(unpacked.files), "file")
        click.echo(f"job {row.job} is in {one_line(folder)}: {count} in code/; run.sh runs it")
    return 1 if unpacked.refused else 0
