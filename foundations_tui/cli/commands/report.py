"""The verb report."""

from __future__ import annotations

import errno
import math
import sqlite3
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import click

from foundations_tui.analysis import account, code_diff, comparison, html_report
from foundations_tui.analysis.html_report import Curve, Report
from foundations_tui.cli import output
from foundations_tui.cli.params import (
    LocalPath,
    chosen_jobs,
    jobs_argument,
    project_filter,
    reader,
    say,
    sync_option,
    where_option,
)
from foundations_tui.errors import FoundationsError, NotFoundError, SnapshotError, UsageError
from foundations_tui.store import queries
from foundations_tui.store.rows import JobRow
from foundations_tui.sync import unpacking
from foundations_tui.text import humanize

_MOST_JOBS = 200
_MOST_METRICS = 40
_MOST_CODE = 200_000
"""Characters of a difference that a page shows."""
_COMPARED = 30
"""Jobs up to which their differences are a table."""


@click.command()
@jobs_argument(required=False)
@where_option
@click.option("--html", "file", required=True, type=LocalPath(), metavar="FILE", help="The page to write.")
@click.option("--title", default="", help="Its title (default: the project).")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@sync_option
def report(jobs: tuple[str, ...], where: str, file: str, title: str, force: bool, sync_first: bool) -> None:
    """Write jobs as one page of HTML that needs nothing else: for a mail or a web space.

    It has their table, curves, what differs, the code's difference of the first two, and their environment. It loads
    nothing from elsewhere and runs no script. Commands, parameters and paths of your hosts stand in it: read it before
    you publish it.
    """
    conn = reader(sync_first)
    target = Path(file)
    if target.exists() and not force:
        raise UsageError(f"{file} exists already", "--force writes over it")
    rows = chosen_jobs(conn, jobs, where, True, "report")
    if len(rows) > _MOST_JOBS:
        raise UsageError(f"a page takes at most {_MOST_JOBS} jobs; these are {len(rows):,}", "narrow --where")
    now = time.time()
    text = html_report.page(_told(conn, rows, title, now), now)
    _write(target, text)
    say(f"{humanize.plural(len(rows), 'job')} in {file} ({humanize.size(len(text.encode()))})")
    output.print_age(conn, {row.host for row in rows}, now)


def _told(conn: sqlite3.Connection, rows: Sequence[JobRow], title: str, now: float) -> Report:
    directions = project_filter(conn, project=rows[0].project).directions
    recorded = [queries.recorded(conn, row) for row in rows]
    known = comparison.compare(rows, recorded, directions, now, everything=True) if len(rows) > 1 else []
    lines = comparison.compare(rows, recorded, directions, now) if 1 < len(rows) <= _COMPARED else []
    code, words = _code(rows)
    return Report(
        title=title or f"Jobs of {rows[0].project}",
        made=f"{datetime.fromtimestamp(now):%Y-%m-%d %H:%M}",
        jobs=rows,
        recorded=recorded,
        lines=comparison.for_readers(lines),
        same=account.common(rows, known) if known else [],
        verdicts=account.verdicts(conn, rows, directions) if len(rows) == 2 else [],
        curves=_curves(conn, rows, directions),
        code=code,
        code_words=words,
    )


def _code(rows: Sequence[JobRow]) -> tuple[str, str]:
    """Return (the difference of the code of the first two jobs, what is to be said of it)."""
    if len(rows) < 2 or rows[0].snapshot == rows[1].snapshot:
        return "", ""
    try:
        text = code_diff.between(rows[0], rows[1])
    except (NotFoundError, SnapshotError) as error:
        return "", f"The code is not compared: {error}"
    cut = f"; the first {_MOST_CODE:,} characters" if len(text) > _MOST_CODE else ""
    return text[:_MOST_CODE], f"From {rows[0].job[:6]} to {rows[1].job[:6]}{cut}"


def _curves(conn: sqlite3.Connection, rows: Sequence[JobRow], directions: Mapping[str, str]) -> dict[str, list[Curve]]:
    """Return the metrics that have numbers, those with a direction first."""
    names = dict.fromkeys(key for row in rows for key in row.metrics)
    chosen = sorted(names, key=lambda key: key not in directions)[:_MOST_METRICS]
    found = {key: [_curve(conn, row, number, key) for number, row in enumerate(rows)] for key in chosen}
    return {key: drawn for key, curves in found.items() if (drawn := [curve for curve in curves if curve.points])}


def _curve(conn: sqlite3.Connection, row: JobRow, number: int, key: str) -> Curve:
    points = [
        (float(point.step_max), float(point.last))
        for point in queries.curve(conn, row.job, row.attempt, key)
        if isinstance(point.last, int | float) and math.isfinite(point.last)
    ]
    return Curve(number, points)


def _write(target: Path, text: str) -> None:
    """Put the page in place, whole or not at all."""
    try:
        if not target.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, f"there is no folder {target.parent}")
        with unpacking.Folder(target.parent, with_git=True) as folder, folder.new_file(target.name) as file:
            file.write(text.encode())
    except OSError as error:
        raise FoundationsError(f"{target} cannot be written: {error.strerror or error}") from None
    except unpacking.Refused as error:
        raise FoundationsError(f"{target} cannot be written: {error}") from None
