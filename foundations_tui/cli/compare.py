"""Looking closer: the verbs compare, metrics, chart and export."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sqlite3
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from foundations_tui.analysis import aggregate, braille, comparison
from foundations_tui.analysis.cells import cell
from foundations_tui.cli import output
from foundations_tui.cli.diff import code_difference
from foundations_tui.cli.params import (
    MANY,
    chosen_jobs,
    jobs_argument,
    json_option,
    project_filter,
    reader,
    say,
    sync_option,
    where_option,
)
from foundations_tui.cli.stderr import use_color
from foundations_tui.errors import FoundationsError, NotFoundError, UsageError
from foundations_tui.store import expressions, queries
from foundations_tui.store.rows import JobRow, MetricRow, json_number, json_value
from foundations_tui.text import humanize
from foundations_tui.text.sanitize import one_line, several_lines

_COLORS = ("cyan", "yellow", "magenta", "green", "blue", "red", "bright_cyan", "bright_yellow", "white")
_MOST_CURVES = 9


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
    """Compare jobs: parameters, arguments, hosts, code and metrics in which they differ, the best marked with *."""
    conn = reader(sync_first)
    rows = chosen_jobs(conn, jobs, where, True, "compare")
    if len(rows) < 2:
        raise UsageError("compare takes at least two jobs")
    directions = project_filter(conn, project=rows[0].project).directions
    if over:
        _print_average(conn, rows, over, comparison.average(rows, over, directions, everything), as_json)
        return output.print_age(conn, {row.host for row in rows}, time.time())
    lines = comparison.compare(rows, directions, time.time(), everything)
    difference = code_difference(conn, rows[:2]) if code else ""
    if as_json:
        found = {"jobs": [row.job for row in rows], "lines": [line.to_json() for line in lines]}
        output.print_json({**found, "code": difference} if code else found)
        return
    short = queries.short_ids(conn, [row.job for row in rows])
    shown = comparison.without_doubles(lines)
    table = [[_title(line), *(_value_cell(line, n) for n in range(len(rows)))] for line in shown]
    output.print_table(("", *(short[row.job] for row in rows)), table)
    if not lines:
        say("they do not differ in anything that is known")
    if difference:
        click.echo("\n" + several_lines(difference))
    output.print_age(conn, {row.host for row in rows}, time.time())


def _print_average(
    conn: sqlite3.Connection, rows: Sequence[JobRow], over: str, found: comparison.Averaged, as_json: bool
) -> None:
    if not any(over in row.params or over in row.args for row in rows):
        known = ", ".join(dict.fromkeys(key for row in rows for key in (*row.params, *row.args))) or "none"
        raise NotFoundError(f"none of these jobs has a parameter {over!r}", f"they have: {known}")
    if as_json:
        groups = [[row.job for row in group] for group in found.groups]
        output.print_json({"over": over, "groups": groups, "lines": [line.to_json() for line in found.lines]})
        return
    short = queries.short_ids(conn, [row.job for row in rows])
    heads = [short[group[0].job] + (f" +{len(group) - 1}" if len(group) > 1 else "") for group in found.groups]
    table = [[_title(line), *(_value_cell(line, n) for n in range(len(heads)))] for line in found.lines]
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
            known = ", ".join(known_keys) or "none"
            raise NotFoundError(f"job {row.job} has no metric {key!r}", f"it has: {known}")
    if as_csv or as_json:
        values = [(row.job, value) for row in rows for value in _values_of(conn, row, key, attempt)]
        if as_csv:
            cells = [[job, v.key, v.step, json_number(v.value), repr(v.time)] for job, v in values]
            text = _csv(("job", "key", "step", "value", "time"), cells)
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


@click.command()
@jobs_argument(required=False)
@where_option
@click.option("--key", required=True, help="The metric.")
@click.option(
    "--x", "axis", default="step", type=click.Choice(("step", "time")), help="Along steps, or time since the start."
)
@click.option("--log", is_flag=True, help="Logarithmic values.")
@click.option("--height", default=15, type=click.IntRange(3, 100), help="Lines high (default 15).")
@sync_option
def chart(jobs: tuple[str, ...], where: str, key: str, axis: str, log: bool, height: int, sync_first: bool) -> None:
    """Draw a metric of jobs in the terminal; of a sweep: --where group=SWEEP."""
    conn = reader(sync_first)
    rows = chosen_jobs(conn, jobs, where, True, "chart")
    if len(rows) > _MOST_CURVES:
        raise UsageError(f"a chart takes at most {_MOST_CURVES} jobs")
    curves = [_curve(conn, row, key, axis) for row in rows]
    if not any(curve.xs for curve in curves):
        known = ", ".join(dict.fromkeys(name for row in rows for name in row.metrics)) or "none"
        raise NotFoundError(f"there are no numbers of {key!r}", f"there are: {known}")
    if log and not any(high > 0 for curve in curves for high in curve.highs):
        raise FoundationsError(
            f"no value of {key!r} is above 0: a logarithmic chart has nothing to draw", "leave out --log"
        )
    columns = min(shutil.get_terminal_size((80, 24)).columns, 200)
    click.echo("\n".join(_chart_lines(rows, curves, key, axis, log, columns, height)), color=use_color())
    output.print_age(conn, {row.host for row in rows}, time.time())


def _curve(conn: sqlite3.Connection, row: JobRow, key: str, axis: str) -> braille.Curve:
    points = [p for p in queries.curve(conn, row.job, row.attempt, key) if p.min is not None and p.max is not None]
    start = row.started_at or (points[0].time_min if points else 0.0)
    xs = [float(p.step_max) if axis == "step" else p.time_max - start for p in points]
    return braille.Curve(xs, [p.min or 0.0 for p in points], [p.max or 0.0 for p in points])


def _chart_lines(
    rows: Sequence[JobRow], curves: Sequence[braille.Curve], key: str, axis: str, log: bool, columns: int, height: int
) -> list[str]:
    left, right, low, high = braille.bounds(curves, log)
    legend = _labels(rows)
    labels = braille.labels(low, high, height, log)
    margin = max(map(len, labels)) + 1
    drawn = braille.draw(curves, max(1, columns - margin - 1), height, log)
    lines = [one_line(key) + (" (log)" if log else "")]
    for number in range(height):
        lines.append(f"{labels[number]:>{margin - 1}} ┤{_overlaid([one[number] for one in drawn])}")
    ends = humanize.number(left), humanize.number(right)
    unit = "" if axis == "step" else " s"
    room = columns - margin - 1 - len(ends[0]) - len(ends[1]) - len(unit)
    lines.append(f"{'':>{margin}}└{ends[0]}{'─' * max(1, room)}{ends[1]}{unit}")
    for number, row in enumerate(rows):
        mark = click.style("──", fg=_COLORS[number])
        lines.append(f"{'':>{margin}} {mark} {row.job[: queries.SHORTEST]} {one_line(legend[number])}")
    return lines


def _labels(rows: Sequence[JobRow]) -> list[str]:
    """Return what tells jobs apart in a legend: their parameters where those differ, else their names."""
    varying = comparison.varying(rows)
    if not varying or any(row.name for row in rows):
        return [row.label for row in rows]
    return [" ".join(f"{key}={cell(row.params.get(key))}" for key in varying) for row in rows]


def _overlaid(layers: Sequence[str]) -> str:
    """Return the layers in their colours; where several are, the dots of all in the colour of the last."""
    cells = []
    for column in zip(*layers, strict=True):
        owners = [number for number, cell in enumerate(column) if cell != " "]
        if not owners:
            cells.append(" ")
            continue
        bits = 0
        for number in owners:
            bits |= ord(column[number]) - 0x2800
        cells.append(click.style(chr(0x2800 + bits), fg=_COLORS[owners[-1]]))
    return "".join(cells)


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
    wanted = expressions.parse_columns(columns) if columns else _all_columns(conn, rows)
    values = queries.values(conn, which, wanted, [row.job for row in rows])
    names = [e.text for e in wanted]
    table = [values[row.job] for row in rows]
    if kind in ("md", "latex"):  # for people; the others are for programs, and have seconds since the epoch
        moments = [place for place, one in enumerate(wanted) if one.kind == "field" and one.name in _MOMENTS]
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
    found = [expressions.parse_expression(name) for name in fields]
    for kind, of_jobs in tables.items():
        names = dict.fromkeys(key for table in of_jobs for key in table)
        found += [expressions.Expression(kind, name, text=f"{kind}:{name}") for name in names]
    return found


def _csv(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([[_plain(value) for value in row] for row in rows])
    return buffer.getvalue()


def _plain(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool | dict | list):
        return json.dumps(value, ensure_ascii=False)
    return repr(value) if isinstance(value, float) else value


def _json(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    found = [dict(zip(names, map(json_value, row), strict=True)) for row in rows]
    return output.to_json(found, indent=2) + "\n"


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


_TEXTS = {"csv": _csv, "json": _json, "md": _markdown, "latex": _latex}


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
    known = [v for v in values if v is not None]
    if known and all(type(v) is int and -(1 << 63) <= v < 1 << 63 for v in known):
        return values
    if known and all(aggregate.is_number(v) or isinstance(v, float) for v in known):
        return [None if v is None else float(v) for v in values]
    return [None if v is None else str(_plain(v)) for v in values]


def _write(out: str, data: bytes) -> None:
    try:
        Path(out).write_bytes(data)
    except OSError as error:
        raise FoundationsError(f"{out}: {error.strerror}") from None
