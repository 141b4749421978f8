"""The verb metrics."""

from __future__ import annotations

import sqlite3
import sys
import time

import click

from foundations_tui.cli import output
from foundations_tui.cli.csv_text import csv_text
from foundations_tui.cli.params import jobs_argument, json_option, reader, say, sync_option
from foundations_tui.errors import NotFoundError, UsageError
from foundations_tui.store import queries
from foundations_tui.store.rows import JobRow, MetricRow, json_number
from foundations_tui.text import humanize
from foundations_tui.text.sanitize import one_line, several_lines


@click.command()
@jobs_argument()
@click.option("--key", default="", help="Only this metric: every value of it.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV: job, key, step, value, time.")
@click.option("--attempt", default=None, type=click.IntRange(1), help="What this attempt alone logged.")
@sync_option
@json_option
def metrics(
    jobs: tuple[str, ...], key: str, as_csv: bool, attempt: int | None, sync_first: bool, as_json: bool
) -> None:
    """Show metrics of jobs: a line each, or with --key every value of one.

    A job that went on from a checkpoint has one series: earlier attempts up to where the later one took over.
    """
    if attempt is not None and not (key or as_csv or as_json):
        raise UsageError("--attempt shows values: it goes with --key, --csv or --json")
    conn = reader(sync_first)
    rows = [queries.find(conn, job) for job in jobs]
    for row in rows:
        known_keys = list(row.metrics) if attempt is None else queries.keys_of(conn, row.job, attempt)
        if key and key not in known_keys:
            listed = ", ".join(known_keys) or "none"
            raise NotFoundError(f"job {row.job} has no metric {key!r}", f"it has: {listed}")
    if as_csv or as_json:
        values = [(row.job, value) for row in rows for value in _values_of(conn, row, key, attempt)]
        if as_csv:
            cells = [[job, v.key, v.step, json_number(v.value), repr(v.time)] for job, v in values]
            text = csv_text(("job", "key", "step", "value", "time"), cells)
            click.echo(several_lines(text) if sys.stdout.isatty() else text, nl=False)
        else:
            output.print_json([({} if len(rows) == 1 else {"job": job}) | v.to_json() for job, v in values])
    else:
        for row in rows:
            if len(rows) > 1:
                click.echo(f"{row.job[: queries.SHORTEST]}  {one_line(row.label)}")
            _print_metrics(conn, row, key, attempt)
    output.print_age(conn, {row.host for row in rows}, time.time())


def _values_of(conn: sqlite3.Connection, row: JobRow, key: str, attempt: int | None) -> list[MetricRow]:
    if attempt is None:
        return queries.metrics(conn, row.job, row.attempt, key)
    return queries.metrics(conn, row.job, attempt, key, alone=True)


def _print_metrics(conn: sqlite3.Connection, row: JobRow, key: str, attempt: int | None) -> None:
    if key:
        values = _values_of(conn, row, key, attempt)
        output.print_table(("STEP", key, "TIME"), [_metric_cells(value) for value in values])
    elif row.metrics:
        cells = [
            [name, *(humanize.number(x) if x is not None else "" for x in (m.last, m.min, m.max)), str(m.count)]
            for name, m in sorted(row.metrics.items())
        ]
        output.print_table(("METRIC", "LAST", "MIN", "MAX", "VALUES"), cells)
    else:
        say(f"job {row.job} has logged no metrics")


def _metric_cells(value: MetricRow) -> list[str]:
    shown = value.to_json()
    return ["" if value.step is None else str(value.step), humanize.number(value.value), shown["time"] or ""]
