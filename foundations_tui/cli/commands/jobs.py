"""The verb jobs."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, Any

import click

from foundations_tui.analysis.cells import cell
from foundations_tui.cli import output
from foundations_tui.cli.looking import looking_option, looking_reader
from foundations_tui.cli.params import (
    HostName,
    ProjectName,
    json_option,
    project_filter,
    say,
)
from foundations_tui.cli.view_options import view_options
from foundations_tui.store import expressions, queries, search, views
from foundations_tui.store.rows import JobRow, json_value
from foundations_tui.text import humanize
from foundations_tui.text.options import MANY

if TYPE_CHECKING:
    from foundations_tui.analysis import aggregate

_DEFAULT_ROWS = 50
_STATES = ("submitting", "queued", "preparing", "running", "completed", "failed", "stopped", "lost")


@click.command()
@view_options
@click.option(
    "--state", "states", multiple=True, type=click.Choice(_STATES), help="Only jobs in this state (repeatable)."
)
@click.option("--host", default="", type=HostName(), help="Only jobs of this host.")
@click.option("--project", default="", type=ProjectName(), help="Only jobs of this project.")
@click.option("--archived", is_flag=True, help="Archived jobs, too.")
@click.option("--view", default="", metavar="NAME", help="As a saved view has it; options given here come on top.")
@click.option(
    "--limit",
    default=None,
    type=click.IntRange(0, MANY),
    help=f"Most rows; 0 for all (default {_DEFAULT_ROWS}; JSON: all).",
)
@looking_option
@click.option("--jsonl", "as_lines", is_flag=True, help="Print JSON, a line for each job.")
@json_option
def jobs(
    where: str,
    sort: str,
    columns: str,
    group_by: str,
    states: tuple[str, ...],
    host: str,
    project: str,
    archived: bool,
    view: str,
    limit: int | None,
    sync_first: bool | None,
    as_lines: bool,
    as_json: bool,
) -> None:
    """List jobs, newest first, from the local store.

    \b
      foundations jobs --where 'state=failed and lr<1e-3 and age<2d'
      foundations jobs --sort val_loss:min --columns job,lr,val_loss:min,acc,age
      foundations jobs --group-by bs --columns val_loss:min
    The language: docs/queries.md
    """
    conn = looking_reader(sync_first, as_json or as_lines)
    saved = views.view(conn, view).parts if view else {}
    parts = [part for part in (saved.get("where"), where) if part]
    where = " and ".join(f"({part})" for part in parts) if len(parts) > 1 else "".join(parts)
    sort = sort or saved.get("sort", "created")
    columns, group_by = columns or saved.get("columns", ""), group_by or saved.get("group_by", "")
    which = project_filter(conn, states=states, host=host, project=project, query=where, archived=archived)
    if columns == "help":
        return _print_names(conn)
    shown = expressions.parse_columns(columns) if columns else []
    if group_by:
        return _print_groups(conn, which, expressions.parse_expression(group_by), shown, as_json or as_lines)
    if limit is None:
        limit = 0 if as_json or as_lines else _DEFAULT_ROWS
    rows = queries.jobs(conn, which, sort, limit, details=as_json or as_lines or not shown)
    values = queries.values(conn, which, shown, [row.job for row in rows]) if shown else {}
    now = time.time()
    if as_json or as_lines:
        objects = [_json_row(row, shown, values, now) for row in rows]
        (output.print_json_lines if as_lines else output.print_json)(objects)
    elif rows:
        output.print_columns(conn, rows, shown, values) if shown else output.print_jobs(conn, rows)
        total = queries.count_jobs(conn, which)
        if total > len(rows):
            say(f"{len(rows)} of {total:,} jobs (--limit 0 shows all)")
    else:
        is_any = bool(states or host or project or where)
        say("no jobs" + (" like that" if is_any else " yet: foundations submit -- python train.py"))
    output.print_age(conn, {row.host for row in rows}, now)


def _json_row(
    row: JobRow, shown_columns: list[expressions.Expression], values: dict[str, list[Any]], now: float
) -> Any:
    if not shown_columns:
        return row.to_json(now)
    cells = values.get(row.job, [None] * len(shown_columns))
    shown = {e.text: json_value(value) for e, value in zip(shown_columns, cells, strict=True)}
    return {**row.to_json(now), "columns": shown}


def _print_names(conn: sqlite3.Connection) -> None:
    """Say what can stand in an expression."""
    rows = [[name, field.words] for name, field in expressions.FIELDS.items()]
    rows += [[f"{kind}:{name}", ""] for kind, name in search.KnownNames(conn).all()]
    output.print_table(("EXPRESSION", "WHAT IT IS"), rows)
    say(f"behind a metric: {', '.join(':' + name for name in expressions.AGGREGATES)}")


def _print_groups(
    conn: sqlite3.Connection,
    which: queries.JobFilter,
    by: expressions.Expression,
    shown: list[expressions.Expression],
    as_json: bool,
) -> None:
    from foundations_tui.analysis import aggregate

    rows = queries.jobs(conn, which, details=False)
    values = queries.values(conn, which, [by, *shown], [row.job for row in rows])
    groups = aggregate.group([values[row.job] for row in rows])
    names = [e.text for e in shown]
    if as_json:
        output.print_json([group.to_json(by.text, names) for group in groups])
        return
    table = [[cell(group.value), str(group.jobs), *(_spread(spread) for spread in group.columns)] for group in groups]
    output.print_table((by.text, "JOBS", *names), table)


def _spread(spread: aggregate.Spread | None) -> str:
    if spread is None:
        return ""
    if spread.count == 1:
        return humanize.number(spread.mean)
    return f"{humanize.number(spread.mean)} ± {humanize.number(spread.deviation)}"


# --- views ------------------------------------------------------------------------------------------------------
