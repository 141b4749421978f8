"""The verb tensorboard: TensorBoard over the event files that jobs brought home."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from foundations_tui import eventfiles, locations, words
from foundations_tui.cli.options import chosen_jobs, jobs_argument, reader, say, where_option
from foundations_tui.errors import FoundationsError, NotFoundError
from foundations_tui.store import queries
from foundations_tui.store.rows import JobRow


@click.command()
@jobs_argument(required=False)
@where_option
@click.option("--port", default=6006, type=click.IntRange(1, 65535), help="On this port of this machine (6006).")
def tensorboard(jobs: tuple[str, ...], where: str, port: int) -> int:
    """Open TensorBoard over the event files of jobs, until Ctrl-C.

    They come home with [metrics] tensorboard = true, or as outputs or artifacts.
    """
    conn = reader(False)
    rows = chosen_jobs(conn, jobs, where, True, "tensorboard")
    program = shutil.which("tensorboard", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if program is None:
        raise FoundationsError("tensorboard is not installed", "pip install 'foundations-tui[tensorboard]'")
    with tempfile.TemporaryDirectory(prefix="foundations-tensorboard-") as folder:
        short = queries.short_ids(conn, [row.job for row in rows])
        found = [row for row in rows if _link(row, Path(folder) / short[row.job])]
        if not found:
            raise NotFoundError(
                "these jobs brought no event files home", "[metrics] tensorboard = true before a submit"
            )
        say(f"{words.plural(len(found), 'job')} at http://127.0.0.1:{port}/ until Ctrl-C")
        child = subprocess.Popen([program, "--logdir", folder, "--host", "127.0.0.1", "--port", str(port)])
        try:
            return child.wait()
        except KeyboardInterrupt:
            child.send_signal(signal.SIGINT)
            child.wait()
            return 0


def _link(row: JobRow, place: Path) -> bool:
    """Link the folders of a job that hold event files; say whether there are any."""
    tops = [locations.outputs_folder(row.job), locations.artifacts_folder(row.job)]
    folders = [(top, folder) for top in tops if top.is_dir() for folder in eventfiles.runs_below(top)]
    for top, folder in folders:
        link = place / folder.relative_to(top) if folder != top else place / "run"
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(folder)
    return bool(folders)
