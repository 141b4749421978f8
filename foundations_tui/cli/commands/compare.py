"""The verb compare."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence

import click

from foundations_tui.analysis import account, code_diff, comparison
from foundations_tui.analysis.cells import cell
from foundations_tui.cli import output
from foundations_tui.cli.params import (
    chosen_jobs,
    jobs_argument,
    json_option,
    open_session,
    project_filter,
    reader,
    say,
    sync_option,
    where_option,
)
from foundations_tui.errors import NotFoundError, UsageError
from foundations_tui.store import queries
from foundations_tui.store.rows import JobRow, json_value
from foundations_tui.text import humanize
from foundations_tui.text.sanitize import one_line, several_lines


@click.command()
@jobs_argument(required=False)
@where_option
@click.option("--all", "everything", is_flag=True, help="Also what is the same.")
@click.option(
    "--over", default="", metavar="PARAM", help="Mean and deviation of jobs that differ only in this, a seed."
)
@click.option("--code", is_flag=True, help="And what differs in the code of the first two (git diff).")
@sync_option
@json_option
def compare(
    jobs: tuple[str, ...], where: str, everything: bool, over: str, code: bool, sync_first: bool, as_json: bool
) -> None:
    """Compare jobs: parameters, packages, machines and metrics in which they differ, the best marked with *."""
    conn = reader(sync_first)
    rows = chosen_jobs(conn, jobs, where, True, "compare")
    if len(rows) < 2:
        raise UsageError("compare takes at least two jobs")
    directions = project_filter(conn, project=rows[0].project).directions
    if over:
        _print_average(conn, rows, over, comparison.average(rows, over, directions, everything), as_json)
        return output.print_age(conn, {row.host for row in rows}, time.time())
    now, recorded = time.time(), [queries.recorded(conn, row) for row in rows]
    known = comparison.compare(rows, recorded, directions, now, everything=True)
    lines = list(known) if everything else comparison.compare(rows, recorded, directions, now)
    changed = code_diff.changed(rows) if len({row.snapshot for row in rows}) > 1 else []
    if any(changed):
        lines.insert(0, comparison.Line("code", "changed", list(changed)))
    same = account.common(rows, known)
    verdicts = account.verdicts(conn, rows, directions) if len(rows) == 2 else []
    difference = _code_difference(rows[:2]) if code else ""
    if as_json:
        printed = {"jobs": [row.job for row in rows], "lines": [line.to_json() for line in lines]}
        printed.update(same=same, verdicts=[json_value(verdict.to_json()) for verdict in verdicts])
        output.print_json({**printed, "code": difference} if code else printed)
        return
    short = queries.short_ids(conn, [row.job for row in rows])
    shown = comparison.for_readers(lines, everything)
    table = [[_title(line), *(_value_cell(line, n) for n in range(len(rows)))] for line in shown]
    output.print_table(("", *(short[row.job] for row in rows)), table)
    if not lines:
        say("they do not differ in anything that is known")
    if same:
        click.echo(f"\nthe same: {', '.join(same)}")
    for verdict in verdicts:
        click.echo(one_line(verdict.words))
    if difference:
        click.echo("\n" + several_lines(difference))
    output.print_age(conn, {row.host for row in rows}, time.time())


def _code_difference(rows: Sequence[JobRow]) -> str:
    from foundations_tui.sync import code

    with open_session() as session:
        return code.difference(session, rows)


def _print_average(
    conn: sqlite3.Connection, rows: Sequence[JobRow], over: str, averaged: comparison.Averaged, as_json: bool
) -> None:
    if not any(over in row.params or over in row.args for row in rows):
        all_parameters = ", ".join(dict.fromkeys(key for row in rows for key in (*row.params, *row.args))) or "none"
        raise NotFoundError(f"none of these jobs has a parameter {over!r}", f"they have: {all_parameters}")
    if as_json:
        groups = [[row.job for row in group] for group in averaged.groups]
        output.print_json({"over": over, "groups": groups, "lines": [line.to_json() for line in averaged.lines]})
        return
    short = queries.short_ids(conn, [row.job for row in rows])
    heads = [short[group[0].job] + (f" +{len(group) - 1}" if len(group) > 1 else "") for group in averaged.groups]
    table = [[_title(line), *(_value_cell(line, n) for n in range(len(heads)))] for line in averaged.lines]
    output.print_table(("", *heads), table)


def _title(line: comparison.Line) -> str:
    return line.name if line.kind == "job" else f"{line.kind}:{line.name}"


def _value_cell(line: comparison.Line, number: int) -> str:
    value = line.values[number]
    if line.name == "duration" and line.kind == "job" and value is not None:
        return humanize.duration(value)
    if line.kind == "job" and line.name.startswith("peak") and value is not None:
        return humanize.size(value)
    return cell(value) + (" *" if line.best == number else "")
