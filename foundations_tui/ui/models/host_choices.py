"""The hosts that a new job can go to, with what of them is free. No widgets."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from textual.content import Content

from foundations_tui.store import queries
from foundations_tui.store.rows import HostRow
from foundations_tui.text import humanize
from foundations_tui.text.sanitize import one_line, width
from foundations_tui.ui.models.hosts_table import host_style
from foundations_tui.ui.theme import LOOK


@dataclass(frozen=True)
class HostChoice:
    """A host, and what of it is free, in words."""

    name: str
    words: str
    state: str
    style: str
    """How its glyph is drawn."""


def read(conn: sqlite3.Connection, names: Sequence[str]) -> list[HostChoice]:
    """Return the hosts, those with the most free GPUs first, those out of reach last."""
    known = queries.hosts(conn)
    rows = [known.get(name) or HostRow(name, None, [], None, None, None) for name in names]
    rows.sort(key=lambda row: (row.state != "reachable", -row.free_gpus, -_free_cpus(row)))
    return [HostChoice(row.name, _words(row), row.state, host_style(row)) for row in rows]


def _words(row: HostRow) -> str:
    if row.state == "unreachable":
        return "out of reach"
    if row.resources is None:
        return "not heard yet"
    parts = [f"{row.free_gpus} of {humanize.plural(len(row.gpus), 'GPU')} free"] if row.gpus else []
    parts.append(f"{max(0.0, _free_cpus(row)):g} of {humanize.plural(int(row.resources.cpus or 0), 'CPU')} free")
    parts += [f"{row.queued} waiting"] if row.queued else []
    return ", ".join(parts)


def _free_cpus(row: HostRow) -> float:
    return float(row.resources.cpus_free or 0) if row.resources is not None else 0.0


def lines(choices: Sequence[HostChoice], most: int) -> Content:
    """Return the hosts as a list.

    Args:
        choices: all of them.
        most: how many are listed.
    """
    shown = choices[:most]
    wide = max((width(one_line(one.name)) for one in shown), default=0)
    made = []
    for one in shown:
        name = one_line(one.name)
        glyph = (LOOK.glyph(one.state), one.style)
        made.append(Content.assemble("  ", glyph, f" {name}{' ' * (wide - width(name))}  ", (one.words, "dim")))
    if len(choices) > len(shown):
        made.append(Content.styled(f"    and {len(choices) - len(shown)} more", "dim"))
    return Content("\n").join(made)
