"""How listings look: tables as wide as the terminal, JSON, and how old it all is."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import sys
import textwrap
import time
from collections.abc import Sequence
from typing import Any

import click

from foundations_tui.analysis.cells import WIDEST, field_cell
from foundations_tui.cli.stderr import use_color
from foundations_tui.store import queries
from foundations_tui.store.expressions import Expression
from foundations_tui.store.rows import JobRow
from foundations_tui.text import humanize, tables
from foundations_tui.text.glyphs import glyph
from foundations_tui.text.sanitize import clip, one_line

STATE_COLORS = {
    "submitting": "bright_black",
    "queued": "bright_black",
    "preparing": "cyan",
    "running": "cyan",
    "completed": "green",
    "failed": "red",
    "stopped": "magenta",
    "lost": "yellow",
    "reachable": "green",
    "unreachable": "red",
}
"""Of the sixteen that every terminal has: which hues those are, its user has chosen."""
_FRESH_SECONDS = 5
_DROPPED_FIRST = ("STARTED", "EXIT", "PROJECT", "HOST", "TOOK")
_JOB_COLUMNS = ("ID", "NAME", "PROJECT", "HOST", "STATE", "STARTED", "TOOK", "EXIT", "ABOUT")


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    click.echo(to_json(value, indent=2 if sys.stdout.isatty() else None))


def to_json(value: Any, indent: int | None = None) -> str:
    """Return a value as JSON in which nothing moves a terminal: JSON alone leaves DEL, C1 and bidi controls.

    A byte of a file's name that is no UTF-8 is escaped, as ``os.fsdecode`` has it: "\\udcff".
    """
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return _CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


_CONTROLS = re.compile("[\x7f-\x9f\ud800-\udfff\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def print_json_lines(values: Sequence[Any]) -> None:
    """Print values as JSON, one a line."""
    for value in values:
        click.echo(to_json(value))


def print_table(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    droppable: Sequence[str] = (),
    last_wants: int = tables.NARROWEST,
) -> None:
    """Print rows in columns; on a terminal with bold titles, and with glyphs and colors of states.

    Args:
        headers: one a column; below STATE stand states.
        rows: cells; a terminal narrower than all of them clips what is free text, the widest first.
        droppable: headers of columns that go, in this order, when clipping is not enough.
        last_wants: cells that the last column is to keep, at the cost of those.
    """
    is_seen = sys.stdout.isatty()
    room = shutil.get_terminal_size((200, 24)).columns if is_seen else 1 << 20
    if is_seen and "STATE" in headers:
        place = headers.index("STATE")
        rows = [[*row[:place], with_glyph(row[place]), *row[place + 1 :]] for row in rows]
    layout = tables.lay_out(headers, rows, room, droppable, last_wants)

    def paint(row: int, column: int, text: str) -> str:
        if row < 0:
            return click.style(text, bold=True) if is_seen else text
        if layout.headers[column] == "STATE":
            words = text.split()
            return click.style(text, fg=STATE_COLORS.get(words[1] if is_seen and len(words) > 1 else text))
        return text

    click.echo("\n".join(layout.lines(paint)), color=use_color())


def print_wrapped(text: str) -> None:
    """Print a text below a table, in lines as long as the terminal, the later ones set in."""
    room = max(40, shutil.get_terminal_size((100, 24)).columns) if sys.stdout.isatty() else 1 << 20
    click.echo(textwrap.fill(one_line(text), room, subsequent_indent="  ", break_on_hyphens=False))


def with_glyph(state: str) -> str:
    """Return a state with its glyph before it, as far as the terminal can show that."""
    if not state:
        return ""
    can_show = "utf" in (sys.stdout.encoding or "").lower()
    return f"{glyph(state.split()[0], not can_show)} {state}"


def state_words(state: str) -> str:
    """Return a state as it is shown alone: on a terminal with its glyph and its color."""
    return click.style(with_glyph(state) if sys.stdout.isatty() else state, fg=STATE_COLORS.get(state))


def print_jobs(conn: sqlite3.Connection, rows: Sequence[JobRow]) -> None:
    """Print jobs as a table."""
    now = time.time()
    short = queries.short_ids(conn, [row.job for row in rows])
    table = [_job_cells(row, short[row.job], now) for row in rows]
    print_table(_JOB_COLUMNS, table, _DROPPED_FIRST, last_wants=30)


def print_columns(
    conn: sqlite3.Connection, rows: Sequence[JobRow], shown: Sequence[Expression], values: dict[str, list[Any]]
) -> None:
    """Print what was asked for of each job, an id shortened and times in words."""
    now = time.time()
    short = queries.short_ids(conn, [row.job for row in rows])
    headers = ["STATE" if e.kind == "field" and e.name == "state" else e.text for e in shown]
    table = []
    for row in rows:
        cells = values.get(row.job, [None] * len(shown))
        table.append([field_cell(e, value, short, now) for e, value in zip(shown, cells, strict=True)])
    print_table(headers, table)


def print_age(conn: sqlite3.Connection, hosts: set[str], now: float) -> None:
    """Say on stderr how old what was listed is, and which host is out of reach."""
    contacts = {name: times for name, times in queries.contacts(conn).items() if name in hosts}
    oldest = min((heard for heard, _ in contacts.values() if heard is not None), default=None)
    parts = [f"as of {humanize.ago(oldest, now)}"] if oldest is not None else []
    for name, (_, since) in sorted(contacts.items()):
        if since is not None:
            parts.append(f"{name} is out of reach since {humanize.clock(since, now)}")
    fresh = len(parts) == 1 and oldest is not None and now - oldest < _FRESH_SECONDS
    if parts:
        words = "; ".join(parts) + ("" if fresh else " (--sync asks the hosts first)")
        click.echo(click.style(words, dim=True), err=True, color=use_color())


def _job_cells(row: JobRow, short: str, now: float) -> list[str]:
    state = row.state + (" ?" if row.is_unsure else "")
    return [
        short,
        clip(one_line(row.label), WIDEST),
        row.project,
        row.host,
        state,
        humanize.ago(row.started_at, now) if row.started_at else "",
        humanize.duration(row.duration(now)),
        "" if row.exit_code is None else str(row.exit_code),
        row.about(now),
    ]
