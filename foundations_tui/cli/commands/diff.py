"""The verb diff: what is different in the code or the log of jobs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from foundations_tui.analysis import log_diff
from foundations_tui.analysis.log_diff import MOST_BYTES
from foundations_tui.cli import output
from foundations_tui.cli.params import JobName, json_option, open_session, reader, say, sync_option
from foundations_tui.cli.stderr import use_color
from foundations_tui.config import locations
from foundations_tui.errors import UsageError
from foundations_tui.store import queries
from foundations_tui.text import humanize
from foundations_tui.text.diff_colors import painted
from foundations_tui.text.sanitize import one_line, several_lines

if TYPE_CHECKING:
    from foundations_tui.store.rows import JobRow

HERE = "."
"""Names the working directory in place of a job."""


@click.command()
@click.argument("job", type=JobName(), metavar="JOB|.")
@click.argument("other", type=JobName(), default="", metavar="[JOB|.]")
@click.option("--log", "of_log", is_flag=True, help="What differs in their logs.")
@click.option("--numbers", is_flag=True, help="With --log: also lines in which only numbers differ.")
@sync_option
@json_option
def diff(job: str, other: str, of_log: bool, numbers: bool, sync_first: bool, as_json: bool) -> None:
    """Show how the code of two jobs differs; for one job, what had been changed since its commit.

    With . the code of the job and that of the working directory. With --log, the logs of two jobs: lines that differ
    only in numbers count as equal.
    """
    conn = reader(sync_first)
    sides = [None if name == HERE else queries.find(conn, name) for name in (job, other) if name]
    rows = [row for row in sides if row is not None]
    if not rows:
        raise UsageError("name a job", "foundations diff JOB . compares it with the working directory")
    if of_log and len(rows) < 2:
        raise UsageError("--log compares the logs of two jobs", "foundations diff JOB JOB --log")
    if numbers and not of_log:
        raise UsageError("--numbers is for logs", "foundations diff JOB JOB --log --numbers")
    difference, is_cut = _logs(rows, numbers) if of_log else (_code(sides, rows), False)
    if as_json:
        of = "log" if of_log else "code"
        names = [HERE if row is None else row.job for row in sides]
        output.print_json({"jobs": names, "of": of, "difference": difference, "cut": is_cut})
        return
    if difference:
        click.echo(painted(several_lines(difference)), color=use_color())
    elif not is_cut:
        say("the logs say the same" if of_log else "the code is the same")
    if is_cut:
        none = "" if difference else "no difference; "
        say(f"{none}only the first {humanize.size(MOST_BYTES)} of each log were compared")
    output.print_age(conn, {row.host for row in rows}, time.time())


def _code(sides: list[JobRow | None], rows: list[JobRow]) -> str:
    """Return the difference of jobs, or of one and the working directory, which stands for None among the sides."""
    from foundations_tui.sync import code

    with open_session() as session:
        if None in sides:
            return code.difference_from_folder(session, rows[0], Path.cwd(), reverse=sides[0] is None)
        return code.difference(session, rows)


def _logs(rows: list[JobRow], numbers: bool) -> tuple[str, bool]:
    """Return the difference, and whether a part of a log was not looked at."""
    first, other = (locations.log_file(row.job, row.attempt) for row in rows)
    pairs = log_diff.pairs(first, other, numbers)
    lines = [line.decode("utf-8", "replace") for line in log_diff.unified(pairs)]
    heads = [
        f"{sign} {row.job[: queries.SHORTEST]} {one_line(row.label)}"
        for sign, row in zip(("---", "+++"), rows, strict=True)
    ]
    text = "\n".join([*heads, *lines]) + "\n" if lines else ""
    return text, log_diff.is_cut(first) or log_diff.is_cut(other)
