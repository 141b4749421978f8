"""The verb chart."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Sequence

import click

from foundations_tui.analysis import braille, comparison
from foundations_tui.analysis.cells import cell
from foundations_tui.cli import output
from foundations_tui.cli.params import chosen_jobs, jobs_argument, reader, sync_option, where_option
from foundations_tui.cli.stderr import use_color
from foundations_tui.errors import FoundationsError, NotFoundError, UsageError
from foundations_tui.store import queries
from foundations_tui.store.rows import JobRow
from foundations_tui.text import humanize
from foundations_tui.text.sanitize import one_line

_COLORS = ("cyan", "yellow", "magenta", "green", "blue", "red", "bright_cyan", "bright_yellow", "white")
_MOST_CURVES = 9


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
        all_metrics = ", ".join(dict.fromkeys(name for row in rows for name in row.metrics)) or "none"
        raise NotFoundError(f"there are no numbers of {key!r}", f"there are: {all_metrics}")
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
        lines.append(f"{labels[number]:>{margin - 1}} ┤{_overlaid([curve[number] for curve in drawn])}")
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
    """Return the layers in their colors; where several are, the dots of all in the color of the last."""
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
