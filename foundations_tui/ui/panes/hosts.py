"""The hosts: a line each, with state, jobs and GPUs."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from foundations_tui import words
from foundations_tui.store import queries
from foundations_tui.store.rows import HostRow
from foundations_tui.terminal import one_line

_DOTS = {
    "reachable": ("●", "#009E73"),
    "unreachable": ("✗", "#D55E00"),
    "unknown": ("◌", "#999999"),
}

_ONE_LINE_FROM = 60
"""Cells from which a host's resources stand beside its jobs, not below."""


class HostsPane(VerticalScroll):
    """All hosts of hosts.toml."""

    def __init__(self, conn: sqlite3.Connection, names: Iterable[str], id: str | None = None) -> None:
        super().__init__(id=id)
        self._conn = conn
        self._names = list(names)
        self.border_title = "hosts"

    def compose(self) -> ComposeResult:
        """Lay out the pane."""
        yield Static(id="hosts-text", markup=False)

    def reload(self) -> None:
        """Show what the store has now."""
        known = queries.hosts(self._conn)
        now = time.time()
        rows = [known.get(name) or HostRow(name, {}, [], None, None, None) for name in self._names]
        lines = [_host(row, now, self.size.width >= _ONE_LINE_FROM) for row in rows]
        self.query_one("#hosts-text", Static).update(Content("\n").join(lines))


def _host(row: HostRow, now: float, one_line_each: bool) -> Content:
    glyph, style = _DOTS[row.state]
    has = row.resources
    gpus = has.get("gpus", [])
    free = sum(1 for gpu in gpus if not gpu.get("job") and not gpu.get("busy"))
    jobs = f"{row.running} running  {row.queued} queued"
    resources = f"CPU {has['cpus_free']}/{has['cpus']} free" if has else ""
    resources += f"  GPU {free}/{len(gpus)} free" if gpus else ""
    if row.state == "unreachable":
        jobs = f"out of reach since {words.clock(row.unreachable_since or now, now)}: {row.error}"
        resources = ""
    elif row.state == "unknown":
        jobs = "connecting"
    between = "  " if one_line_each else "\n  "
    text = one_line(jobs) + (between + one_line(resources) if resources else "")
    name = Content.styled(one_line(row.name), "bold")
    lines = [Content.assemble(Content.styled(glyph, style), " ", name, "  ", text)]
    lines += [_gpu(gpu) for gpu in gpus]
    return Content("\n").join(lines)


def _gpu(gpu: dict[str, object]) -> Content:
    job = str(gpu.get("job") or "")[:6]
    holder = job or ("others" if gpu.get("busy") else "free")
    used, total = gpu.get("memory_used"), gpu.get("memory_total")
    memory = f"{used}/{total} MiB" if total else ""
    load = "" if gpu.get("utilization") is None else f"{gpu['utilization']} %"
    text = "  ".join(part for part in (f"    {gpu['index']} {gpu['name']}", holder, load, memory) if part)
    return Content.styled(one_line(text), "dim" if holder == "free" else "")
