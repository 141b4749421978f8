"""The family of a job as rows of a table: what it comes from above it, what came of it below."""

from __future__ import annotations

import time

from foundations_tui.store.lineage import Relative
from foundations_tui.text import humanize
from foundations_tui.ui.models.table import Column, TableRow
from foundations_tui.ui.theme import LOOK

_WIDE = (
    *(Column("RELATION", 28), Column("ID", 6), Column("NAME", 0), Column("STATE", 12), Column("HOST", 12)),
    Column("CREATED", 20, right=True),
)
_NARROW = (Column("RELATION", 24), Column("ID", 6), Column("NAME", 0), Column("STATE", 12))
_TINY = (Column("RELATION", 12), Column("ID", 6), Column("NAME", 0))
_WIDE_FROM, _NARROW_FROM = 130, 60


def columns(room: int) -> tuple[Column, ...]:
    """Return the columns for which there is room."""
    return _WIDE if room >= _WIDE_FROM else _NARROW if room >= _NARROW_FROM else _TINY


def drawn(family: list[Relative], room: int) -> list[TableRow]:
    """Return a family as rows of those columns."""
    return [_row(number, one, room) for number, one in enumerate(family)]


def key_of(number: int, one: Relative) -> str:
    """Return what a relative is known by: a job may be one in several ways."""
    return f"{number}:{one.kind}:{one.name}"


def _row(number: int, one: Relative, room: int) -> TableRow:
    is_self = one.generation == 0
    relation = "this job" if is_self else _indent(one.generation) + one.relation
    if one.kind != "job":
        cells = [relation, one.kind, f"{one.name}  {one.words}".strip(), "", "", ""]
        styles = ["dim", "dim", "bold"]
    elif one.row is None:
        cells, styles = [relation, one.name[:6], "not known here", "", "", ""], ["dim", "dim", "dim"]
    else:
        row = one.row
        state = f"{LOOK.glyph(row.shown_state)} {row.state}"
        when = humanize.clock(row.created_at, time.time(), seconds=True)
        cells = [relation, row.job[:6], row.label, state, row.host, when]
        styles = ["bold" if is_self else "dim", "dim", "bold" if is_self else "", LOOK.style(row.shown_state), "dim"]
        styles.append("dim")
    return TableRow(key_of(number, one), cells[: len(columns(room))], styles, one.row and one.row.state)


def _indent(generation: int) -> str:
    """Return what stands before a relation: how far below the job it is."""
    branch = "`- " if LOOK.ascii else "└ "
    return "" if generation < 0 else "  " * (generation - 1) + branch
