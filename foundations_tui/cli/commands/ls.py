"""The verb ls."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from foundations_tui.cli import output
from foundations_tui.cli.params import connecting, job_argument, json_option, say
from foundations_tui.store import queries
from foundations_tui.store.rows import iso

if TYPE_CHECKING:
    from foundations_tui.session import Session


@click.command()
@job_argument
@click.argument("path", default="")
@json_option
@connecting
def ls(session: Session, job: str, path: str, as_json: bool) -> None:
    """List a folder of a job's working directory, on its host."""
    from foundations_tui.jobs import job_files

    row = queries.find(session.store.conn, job)
    folder = job_files.list_files(session, row, path)
    if as_json:
        output.print_json([{**entry.to_wire(), "modified_at": iso(entry.modified_at)} for entry in folder.entries])
    else:
        output.print_table(job_files.HEADERS, job_files.cells(folder, time.time()))
    if folder.truncated:
        say("there are more: give a folder below it")
