"""The verb tensorboard: TensorBoard over the event files that jobs brought home."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from foundations_tui.cli.params import chosen_jobs, jobs_argument, reader, say, where_option
from foundations_tui.config import locations
from foundations_tui.errors import FoundationsError, NotFoundError
from foundations_tui.ingest import event_files, local_runs
from foundations_tui.store import queries, write_streams
from foundations_tui.store.rows import JobRow
from foundations_tui.text import humanize


@click.command()
@jobs_argument(required=False)
@where_option
@click.option("--port", default=6006, type=click.IntRange(1, 65535), help="On this port of this machine (6006).")
def tensorboard(jobs: tuple[str, ...], where: str, port: int) -> int:
    """Open TensorBoard over the event files of jobs, until Ctrl-C.

    They come home while they grow with [metrics] tensorboard = true or foundations.set_tensorboard_logdir(), else as
    outputs or artifacts.
    """
    conn = reader(False)
    rows = chosen_jobs(conn, jobs, where, True, "tensorboard")
    program = shutil.which("tensorboard", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if program is None:
        raise FoundationsError("tensorboard is not installed", "pip install 'foundations-tui[tensorboard]'")
    with tempfile.TemporaryDirectory(prefix="foundations-tensorboard-") as folder:
        short = queries.short_ids(conn, [row.job for row in rows])
        linked = [row for row in rows if _link(conn, row, Path(folder) / short[row.job])]
        if not linked:
            raise NotFoundError(
                "these jobs brought no event files home", "[metrics] tensorboard = true before a submit"
            )
        say(f"{humanize.plural(len(linked), 'job')} at http://127.0.0.1:{port}/ until Ctrl-C")
        child = subprocess.Popen([program, "--logdir", folder, "--host", "127.0.0.1", "--port", str(port)])
        try:
            return child.wait()
        except KeyboardInterrupt:
            child.send_signal(signal.SIGINT)
            child.wait()
            return 0


def _link(conn: sqlite3.Connection, row: JobRow, place: Path) -> bool:
    """Link the folders of a job that hold event files, or such files; say whether there are any."""
    streams = [
        name for name, size in write_streams.event_files(conn, row.job, row.attempt).items() if size and _is_plain(name)
    ]
    for name in streams:
        link = place / (name if "/" in name else f"run/{name}")
        with contextlib.suppress(OSError):  # a host that calls a file and a folder the same
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(locations.stream_file(row.job, row.attempt, write_streams.EVENTS + name))
    if streams:
        return True
    tops = [locations.outputs_folder(row.job), locations.artifacts_folder(row.job)]
    if row.kind == local_runs.KIND:
        tops += [link.resolve() for link in sorted(local_runs.event_folders(row.job, row.attempt))]
    folders = [(top, folder) for top in tops if top.is_dir() for folder in event_files.runs_below(top)]
    for top, folder in folders:
        link = place / folder.relative_to(top) if folder != top else place / "run"
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(folder)
    return bool(folders)


def _is_plain(name: str) -> bool:
    """Return whether a host's name of a file leads below a folder."""
    parts = name.split("/")
    return not any(part in ("", ".", "..") or "\0" in part or len(part.encode()) > 255 for part in parts)
