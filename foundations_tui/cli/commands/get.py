"""The verb get."""

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
    from foundations_tui.jobs.fetching import FetchResult
    from foundations_tui.session import Session

_MOST_REFUSED = 20
_SHOWN_FROM = 1 << 20
"""Bytes: less is here sooner than it is read."""


@click.command()
@job_argument
@click.argument("paths", nargs=-1, metavar="[PATH...]")
@click.option("--code", is_flag=True, help="The code it ran, into code/.")
@click.option("--artifacts", is_flag=True, help="What it saved as artifacts, into artifacts/.")
@click.option("--artifact", "keys", multiple=True, metavar="KEY", help="One artifact, into artifacts/ (repeatable).")
@click.option("--log", is_flag=True, help="Its log, as output.log.")
@click.option("--checkpoints", is_flag=True, help="What it left in its folder of checkpoints, into checkpoints/.")
@click.option(
    "--attempt", default=None, type=click.IntRange(1), help="Which attempt's files (default: the last one's)."
)
@click.option("--with-git", is_flag=True, help="Also what lies below a .git/ there.")
@click.option(
    "--dest",
    default="",
    type=LocalPath("dir"),
    metavar="DIR",
    help="Where to (default: a folder named by the job's id, which git then ignores).",
)
@json_option
@connecting
def get(
    session: Session,
    job: str,
    paths: tuple[str, ...],
    code: bool,
    artifacts: bool,
    keys: tuple[str, ...],
    log: bool,
    checkpoints: bool,
    attempt: int | None,
    with_git: bool,
    dest: str,
    as_json: bool,
) -> int:
    """Fetch files of a job: by default all that it wrote in its folder; or PATHs, files and folders.

    \b
      foundations get 3f2a91                       all that it wrote, into ./3f2a91/
      foundations get 3f2a91 runs/x/model.pt       one file, into ./3f2a91/runs/x/
    """
    from foundations_tui.jobs.fetching import FileSelection, fetch

    row = queries.find(session.store.conn, job)
    request = FileSelection(paths, code, artifacts, keys, log, checkpoints, attempt, with_git)
    line = ProgressLine()

    def received(so_far: int, total: int) -> None:
        if total > _SHOWN_FROM:
            line.bar("fetching", so_far, total, f"{humanize.size(so_far)} of {humanize.size(total)}")

    try:
        result = fetch(session, row, request, Path(dest) if dest else None, received)
    finally:
        line.end()
    return _tell(result, as_json)


def _tell(result: FetchResult, as_json: bool) -> int:
    """Print what came, say what was refused, and return the exit code."""
    if as_json:
        output.print_json([{"path": str(result.folder / name), "bytes": size} for name, size in result.files])
    else:
        for name, _ in result.files:
            click.echo(one_line(str(result.folder / name)))
        size = humanize.size(sum(size for _, size in result.files))
        say(f"{humanize.plural(len(result.files), 'file')}, {size}, in {result.folder}/")
    for name, why in result.refused[:_MOST_REFUSED]:
        say(f"refused: {name}: {why}")
    if len(result.refused) > _MOST_REFUSED:
        say(f"refused: {len(result.refused) - _MOST_REFUSED} more")
    return 1 if result.refused else 0
