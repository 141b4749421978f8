"""The verb export."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from foundations_tui.analysis import aggregate
from foundations_tui.analysis.cells import cell
from foundations_tui.cli import output
from foundations_tui.cli.csv_text import csv_text, plain
from foundations_tui.cli.params import (
    chosen_jobs,
    jobs_argument,
    project_filter,
    reader,
    say,
    sync_option,
    where_option,
)
from foundations_tui.errors import FoundationsError, NotFoundError, UsageError
from foundations_tui.store import expressions, queries
from foundations_tui.store.rows import JobRow, json_value
from foundations_tui.text import humanize
from foundations_tui.text.options import MANY
from foundations_tui.text.sanitize import one_line, several_lines


@click.command()
@jobs_argument(required=False)
@where_option
@click.option("--columns", default="", metavar="EXPR,EXPR", help="What to export (default: all that the jobs have).")
@click.option(
    "--format",
    "kind",
    default="csv",
    type=click.Choice(("csv", "json", "parquet", "md", "latex")),
    help="(default csv)",
)
@click.option("--sort", default="created", metavar="EXPR", help="Sort by this, as jobs --sort does.")
@click.option("--limit", default=0, type=click.IntRange(0, MANY), help="Most jobs; 0 for all (the default).")
@click.option("--out", default="", type=click.Path(dir_okay=False), help="A file (default: standard output).")
@sync_option
def export(
    jobs: tuple[str, ...], where: str, columns: str, kind: str, sort: str, limit: int, out: str, sync_first: bool
) -> None:
    """Write jobs as a table: a line each, a column for each parameter, argument, tag and metric."""
    conn = reader(sync_first)
    which = project_filter(conn, query=where)
    rows = chosen_jobs(conn, jobs, where, True, "export") if jobs else queries.jobs(conn, which, sort, limit)
    if where and not rows:
        raise NotFoundError(f"no job is found by {where!r}")
    exported = expressions.parse_columns(columns) if columns else _all_columns(conn, rows)
    values = queries.values(conn, which, exported, [row.job for row in rows])
    names = [e.text for e in exported]
    table = [values[row.job] for row in rows]
    if kind in ("md", "latex"):  # for people; the others are for programs, and have seconds since the epoch
        moments = [
            place
            for place, expression in enumerate(exported)
            if expression.kind == "field" and expression.name in _MOMENTS
        ]
        table = [[_clock(value) if place in moments else value for place, value in enumerate(row)] for row in table]
    if kind == "parquet":
        return _write_parquet(names, table, out)
    text = _TEXTS[kind](names, table)
    if out:
        _write(out, text.encode())
        say(f"{humanize.plural(len(rows), 'job')} in {out}")
    else:
        click.echo(several_lines(text) if sys.stdout.isatty() else text, nl=False)


_MOMENTS = ("created", "started", "ended")


def _clock(moment: Any) -> Any:
    return f"{datetime.fromtimestamp(moment):%Y-%m-%d %H:%M:%S}" if isinstance(moment, int | float) else moment


def _all_columns(conn: sqlite3.Connection, rows: Sequence[JobRow]) -> list[expressions.Expression]:
    fields = "job name project host owner state exit attempt group created started ended duration command".split()
    tables = {
        "param": [row.params for row in rows],
        "arg": [row.args for row in rows],
        "tag": [row.tags for row in rows],
        "metric": [row.metrics for row in rows],
    }
    columns = [expressions.parse_expression(name) for name in fields]
    for kind, of_jobs in tables.items():
        names = dict.fromkeys(key for table in of_jobs for key in table)
        columns += [expressions.Expression(kind, name, text=f"{kind}:{name}") for name in names]
    return columns


def _json(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    objects = [dict(zip(names, map(json_value, row), strict=True)) for row in rows]
    return output.to_json(objects, indent=2) + "\n"


def _markdown(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [
        [one_line(name) for name in names],
        ["---"] * len(names),
        *([cell(value) for value in row] for row in rows),
    ]
    escape = {ord("|"): "\\|", ord("\n"): " ", ord("<"): "&lt;"}
    return "".join("| " + " | ".join(str(c).translate(escape) for c in line) + " |\n" for line in lines)


def _latex(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table as booktabs would have it."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {character: "\\" + character for character in "&%$#_{}"}

    def line(cells: Sequence[Any]) -> str:
        return " & ".join("".join(special.get(c, c) for c in str(cell)) for cell in cells) + r" \\" + "\n"

    body = "".join(line([cell(value) for value in row]) for row in rows)
    head = f"\\begin{{tabular}}{{{'l' * len(names)}}}\n\\toprule\n{line([one_line(n) for n in names])}\\midrule\n"
    return head + body + "\\bottomrule\n\\end{tabular}\n"


_TEXTS = {"csv": csv_text, "json": _json, "md": _markdown, "latex": _latex}


def _write_parquet(names: Sequence[str], rows: Sequence[Sequence[Any]], out: str) -> None:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise FoundationsError("parquet needs pyarrow", "pip install 'foundations-tui[export]'") from None
    if not out:
        raise UsageError("parquet goes into a file", "--out jobs.parquet")
    table = pyarrow.table({name: _column([row[n] for row in rows]) for n, name in enumerate(names)})
    try:
        parquet.write_table(table, out)
    except OSError as error:
        raise FoundationsError(f"{out}: {error.strerror or error}") from None
    say(f"{humanize.plural(len(rows), 'job')} in {out}")


def _column(values: list[Any]) -> list[Any]:
    """Return a column of one type: numbers where all are, else text."""
    present = [v for v in values if v is not None]
    if present and all(type(v) is int and -(1 << 63) <= v < 1 << 63 for v in present):
        return values
    if present and all(aggregate.is_number(v) or isinstance(v, float) for v in present):
        return [None if v is None else float(v) for v in values]
    return [None if v is None else str(plain(v)) for v in values]


def _write(out: str, data: bytes) -> None:
    try:
        Path(out).write_bytes(data)
    except OSError as error:
        raise FoundationsError(f"{out}: {error.strerror}") from None
