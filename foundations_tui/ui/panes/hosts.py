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
        lines = [_host(known.get(name) or HostRow(name, {}, [], None, None, None), now) for name in self._names]
        self.query_one("#hosts-text", Static).update(Content("\n").join(lines))


def _host(row: HostRow, now: float) -> Content:
    glyph, style = _DOTS[row.state]
    has = row.resources
    gpus = has.get("gpus", [])
    parts = [f"{row.running} running", f"{row.queued} queued"]
    parts.append(f"CPU {has['cpus_free']}/{has['cpus']}" if has else "")
    free = sum(1 for gpu in gpus if not gpu.get("job") and not gpu.get("busy"))
    parts.append(f"GPU {free}/{len(gpus)}" if gpus else "")
    if row.state == "unreachable":
        parts = [f"out of reach since {words.clock(row.unreachable_since or now, now)}: {row.error}"]
    elif row.state == "unknown":
        parts = ["connecting"]
    head = Content.assemble(Content.styled(glyph, style), " ", Content.styled(one_line(row.name), "bold"), "  ")
    lines = [Content.assemble(head, one_line("  ".join(part for part in parts if part)))]
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
