"""The hosts: state, jobs and GPUs; where there is room, what they used lately and whose the GPUs are."""

from __future__ import annotations

import sqlite3
import textwrap
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from foundations_tui.store import host_samples, queries
from foundations_tui.store.rows import HostRow, HostSample
from foundations_tui.text import humanize
from foundations_tui.text.sanitize import one_line
from foundations_tui.ui.models.curves import sparkline
from foundations_tui.ui.models.store_reader import Reader
from foundations_tui.ui.theme import LOOK
from remote_agent.protocol.resources import HostGpu

_LATELY = 600.0
"""Seconds of history that are drawn."""
_HISTORY_CELLS = 12
_FULL_FROM = 70
"""Cells from which everything is shown."""
_WEEK = 7 * 86400.0
_MOST_PROJECTS = 6
_IDLE_SECONDS = 300.0
_IDLE_PERCENT = 5
_OLD_SECONDS = 30.0


@dataclass(frozen=True)
class _Known:
    hosts: dict[str, HostRow]
    samples: dict[str, list[HostSample]]
    names: dict[str, str]
    """What the jobs on the GPUs are called."""
    gpu_seconds: dict[tuple[str, str], float]
    """For how long GPUs were held lately, by host and project."""


class HostsPane(VerticalScroll):
    """All hosts of hosts.toml."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "scroll_down", "down", show=False, id="hosts.down"),
        Binding("k", "scroll_up", "up", show=False, id="hosts.up"),
        Binding("g", "scroll_home", "top", show=False, id="hosts.top"),
        Binding("G", "scroll_end", "bottom", show=False, id="hosts.bottom"),
    ]

    def __init__(self, reader: Reader, names: Iterable[str], id: str | None = None) -> None:
        super().__init__(id=id)
        self._reader = reader
        self.names = list(names)
        self._text = ""
        self.border_title = "hosts"
        self.border_subtitle = "ctrl+t new host"

    def compose(self) -> ComposeResult:
        """Lay out the pane."""
        yield Static(id="hosts-text", markup=False)

    def reload(self) -> None:
        """Show what the store has now."""
        if not self.display:
            return
        since = time.time() - _LATELY
        is_full = self.size.width >= _FULL_FROM

        def read(conn: sqlite3.Connection) -> _Known:
            hosts = queries.hosts(conn)
            samples = {name: host_samples.since(conn, name, since) if is_full else [] for name in hosts}
            jobs = {gpu.job for host in hosts.values() for gpu in host.gpus if gpu.job}
            rows = queries.jobs_by_id(conn, sorted(jobs), details=False)
            now = time.time()
            held = queries.gpu_seconds(conn, now - _WEEK, now) if is_full else {}
            return _Known(hosts, samples, {row.job: row.label for row in rows}, held)

        self._reader.ask(self, read, self._take)

    def _take(self, read: _Known) -> None:
        now = time.time()
        lines: list[Content] = []
        for name in self.names:
            if lines and self.size.width >= _FULL_FROM:
                lines.append(Content(""))
            row = read.hosts.get(name) or HostRow(name, None, [], None, None, None)
            lines += _host(row, read, now, self.size.width)
        text = Content("\n").join(lines)
        if text.markup != self._text:
            self._text = text.markup
            self.query_one("#hosts-text", Static).update(text)

    def on_resize(self) -> None:
        """Show as much as fits."""
        self.reload()


def _host(row: HostRow, read: _Known, now: float, room: int) -> list[Content]:
    has, is_full = row.resources, room >= _FULL_FROM
    dot, color = {"reachable": ("●", "completed"), "unreachable": ("✗", "failed"), "unknown": ("◌", "queued")}[
        row.state
    ]
    dot = {"●": "*", "✗": "x", "◌": "o"}[dot] if LOOK.ascii else dot
    jobs = f"{row.running} running  {row.queued} queued"
    problems = list(row.problems)
    resources = f"CPU {has.cpus_free}/{has.cpus} free" if has else ""
    resources += f"  GPU {row.free_gpus}/{len(row.gpus)} free" if row.gpus else ""
    if row.state == "unreachable":
        jobs = f"out of reach since {humanize.clock(row.unreachable_since or now, now)}"
        resources = ""
        problems = [(row.error or "").removeprefix(f"{row.name}: "), *problems]
    elif row.state == "unknown":
        jobs = "connecting"
    between = "  " if is_full else "\n  "
    text = one_line(jobs) + (between + one_line(resources) if resources else "")
    name = Content.styled(one_line(row.name), "bold")
    lines = [Content.assemble(Content.styled(dot, LOOK.style(color)), " ", name, "  ", text)]
    samples = read.samples.get(row.name, [])
    if is_full and row.state == "reachable":
        lines += _machine(row, samples, now)
    lines += [_gpu(gpu, samples, read, is_full) for gpu in row.gpus]
    held = {project: seconds for (host, project), seconds in read.gpu_seconds.items() if host == row.name}
    if held:
        most = sorted(held.items(), key=lambda item: -item[1])[:_MOST_PROJECTS]
        text = "   ".join(f"{project} {seconds / 3600:.1f}" for project, seconds in most)
        lines.append(
            Content.styled(one_line(f"    GPU hours of 7 days: {sum(held.values()) / 3600:.1f}   {text}"), "dim")
        )
    if len(problems) > 1 and not is_full:
        problems = [f"{humanize.plural(len(problems), 'problem')} (press 4)"]
    for problem in problems:
        text = "\n    ".join(textwrap.wrap(one_line(problem), max(20, room - 8)))
        lines.append(Content.styled("  ! " + text, LOOK.style("lost")))
    return lines


def _machine(row: HostRow, samples: list[HostSample], now: float) -> list[Content]:
    """Return what the machine used lately, a line each."""
    if not samples:
        return []
    last = samples[-1]
    facts: list[tuple[str, Sequence[float | None], str]] = [
        ("load", [s.load for s in samples], "" if last.load is None else f"{last.load:.1f}"),
        ("RAM", [s.ram for s in samples], humanize.size(last.ram)),
    ]
    parts = [f"{name} {sparkline(values, _HISTORY_CELLS)} {value}" for name, values, value in facts if value]
    parts.append(f"disk {humanize.size(last.disk_free)} free" if last.disk_free is not None else "")
    is_old = row.last_contact is not None and now - row.last_contact > _OLD_SECONDS
    parts.append(f"as of {humanize.ago(row.last_contact, now)}" if is_old else "")
    return [Content.styled("    " + one_line("   ".join(part for part in parts if part)), "dim")]


def _gpu(gpu: HostGpu, samples: list[HostSample], read: _Known, is_full: bool) -> Content:
    job = gpu.job or ""
    holder = f"{job[:6]} {read.names.get(job, '') if is_full else ''}".strip()
    why_not = gpu.held or gpu.sick
    if not holder:
        holder = why_not if is_full and why_not else "others" if gpu.busy or why_not else "free"
    memory = f"{gpu.memory_used}/{gpu.memory_total} MiB" if gpu.memory_total else ""
    load = "" if gpu.utilization is None else f"{gpu.utilization} %"
    parts = [f"    {gpu.index} {gpu.name}", holder, load, memory]
    style = "dim" if holder == "free" else ""
    if is_full:
        history = _history(samples, gpu.uuid)
        parts.append(sparkline(history, _HISTORY_CELLS))
        parts.append(f"{gpu.temperature} C" if gpu.temperature is not None else "")
        parts.append(f"{gpu.power:.0f} W" if gpu.power is not None else "")
        if job and _is_idle(samples, history):
            parts.append("idle, but held")
            style = LOOK.style("lost")
    return Content.styled(one_line("  ".join(part for part in parts if part)), style)


def _history(samples: list[HostSample], uuid: str) -> list[float | None]:
    return [next((gpu[1] for gpu in sample.gpus if gpu[0] == uuid), None) for sample in samples]


def _is_idle(samples: list[HostSample], history: list[float | None]) -> bool:
    """Return whether a GPU has done next to nothing for minutes."""
    if not samples or samples[-1].time - samples[0].time < _IDLE_SECONDS:
        return False
    late = [v for s, v in zip(samples, history, strict=True) if s.time >= samples[-1].time - _IDLE_SECONDS]
    return bool(late) and all(value is not None and value < _IDLE_PERCENT for value in late)
