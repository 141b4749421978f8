"""The verb bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from foundations_tui.cli import output
from foundations_tui.cli.params import LocalPath, chosen_jobs, connecting, jobs_argument, json_option, say, where_option
from foundations_tui.cli.progress import ProgressLine
from foundations_tui.text import humanize
from foundations_tui.text.sanitize import one_line

if TYPE_CHECKING:
    from foundations_tui.session import Session

_MOST_SAID = 20


@click.command()
@jobs_argument(required=False)
@click.argument("file", type=LocalPath(), metavar="FILE")
@where_option
@click.option("--with-env", is_flag=True, help="With the values of environment variables.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@json_option
@connecting
def bundle(
    session: Session, jobs: tuple[str, ...], file: str, where: str, with_env: bool, force: bool, as_json: bool
) -> int:
    """Write ended jobs into one file: code, records, logs, facts, locks, and the artifacts that are here.

    \b
      foundations bundle 3f9a2c best.zip
      foundations bundle --where group=sweep-3f9a2c sweep.zip

    It is an ordinary zip with a README. `foundations unbundle FILE` takes the jobs into another store, where they can
    be shown, compared, restored and run again. Code, commands, logs and names of hosts stand in it: read it before you
    publish it.
    """
    from foundations_tui.jobs import bundling

    rows = chosen_jobs(session.store.conn, jobs, where, True, "bundle")
    line = ProgressLine()
    try:
        written = bundling.bundle(session, rows, Path(file), with_env, force, line.stage)
    finally:
        line.end()
    for words in written.left_out[:_MOST_SAID]:
        say(f"left out: {one_line(words)}")
    if as_json:
        output.print_json(
            {
                "file": file,
                "jobs": [row.job for row in rows],
                "files": written.files,
                "bytes": written.bytes,
                "left_out": written.left_out,
            }
        )
    else:
        count = humanize.plural(len(rows), "job")
        click.echo(f"{count} in {one_line(file)}: {written.files:,} files, {humanize.size(written.bytes)}")
    return 0
