"""What the page of hosts shows: a row for each host and for each of its GPUs, and more of the one under the cursor.

No widgets.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from textual.content import Content

from foundations_tui.store import history, queries
from foundations_tui.store.rows import HostRow, HostSample
from foundations_tui.text import humanize
from foundations_tui.text.sanitize import one_line
from foundations_tui.ui.models.curves import sparkline
from foundations_tui.ui.models.table import Column, TableRow, fitted
from foundations_tui.ui.theme import LOOK
from remote_agent.protocol.resources import HostGpu

_LATELY = 600.0
"""Seconds of history that are drawn."""
_HISTORY_CELLS = 12
_BAR_CELLS, _WIDE_BAR_CELLS = 6, 10
_NARROW_FROM, _WIDE_FROM, _WIDEST_FROM = 70, 110, 140
_WEEK = 7 * 86400.0
_MOST_PROJECTS = 6
_MOST_PROCESSES = 8
_IDLE_SECONDS, _IDLE_PERCENT = 300.0, 5
_OLD_SECONDS = 30.0
_WARM, _HOT = 70, 83
"""Degrees Celsius from which a GPU is warm, and near to where it slows down."""
_NEARLY_FULL, _FULL = 0.9, 0.98
"""Shares of a memory from which it is a warning: its next program fails."""
_NAME, _BARS = {"HOST, GPU": 18}, {"LOAD": 24, "MEMORY": 26}
"""Cells at most: who has what gets what is left."""
_LEAST = 0.01
"""A share that is drawn as more than nothing."""


@dataclass(frozen=True)
class Known:
    """What is known of the hosts."""

    hosts: dict[str, HostRow]
    samples: dict[str, list[HostSample]]
    names: dict[str, str]
    """What the jobs on the GPUs are called."""
    gpu_seconds: dict[tuple[str, str], float]
    """For how long GPUs were held in the last seven days, by host and project."""
    until: float = 0.0
    """Where their history ends, seconds since the epoch."""
    is_past: bool = False

    def host(self, name: str) -> HostRow:
        """Return a host; one that was never asked has only its name."""
        return self.hosts.get(name) or HostRow(name, None, [], None, None, None)

    def gpu(self, place: Place) -> HostGpu | None:
        """Return the GPU that a row is of; None for that of a host."""
        return next((one for one in self.host(place.host).gpus if one.uuid == place.gpu), None)


@dataclass(frozen=True)
class Place:
    """What a row is of."""

    host: str
    gpu: str = ""
    """UUID; empty for the host itself."""

    @property
    def key(self) -> str:
        """Return what the row is known by."""
        return f"{self.host} {self.gpu}"

    @classmethod
    def of(cls, key: str | None) -> Place | None:
        """Return what a row's key says."""
        if not key:
            return None
        host, _, gpu = key.partition(" ")
        return cls(host, gpu)


def read(conn: sqlite3.Connection, now: float, moment: float | None = None) -> Known:
    """Return what the store knows of the hosts.

    Args:
        conn: reads the store.
        now: seconds since the epoch.
        moment: as they were then; None for now.
    """
    hosts, until = queries.hosts(conn), now if moment is None else moment
    samples = {name: history.samples(conn, name, until - _LATELY, until) for name in hosts}
    if moment is not None:
        hosts = {name: history.host(row, samples[name], moment) for name, row in hosts.items()}
    jobs = {job for host in hosts.values() for gpu in host.gpus for job in gpu.jobs}
    rows = queries.jobs_by_id(conn, sorted(jobs), details=False)
    seconds = queries.gpu_seconds(conn, until - _WEEK, until)
    return Known(hosts, samples, {row.job: row.label for row in rows}, seconds, until, moment is not None)


def columns(room: int, rows: Sequence[TableRow]) -> Sequence[Column]:
    """Return the columns that fit; names and bars take as many cells as those of these rows."""
    with_bars = [row for row in rows if row.cells[-1].strip()]  # the others have words in the place of bars
    return fitted(fitted(_columns(room), rows, _NAME), with_bars, _BARS)


def _columns(room: int) -> Sequence[Column]:
    bar = _WIDE_BAR_CELLS if room >= _WIDE_FROM else _BAR_CELLS
    name = Column("HOST, GPU", 18 if room >= _WIDE_FROM else 12)
    load, memory = Column("LOAD", bar + 10), Column("MEMORY", bar + 12)
    if room < _NARROW_FROM:
        return (name, Column("LOAD", 6, right=True), Column("WHO", 0))
    if room < _WIDE_FROM:
        return (name, load, memory, Column("TEMP", 5, right=True), Column(" WHO", 0))
    heat = (Column("TEMP", 5, right=True), Column("POWER", 6, right=True))
    return (name, load, memory, *heat, Column(" 10 MIN", _HISTORY_CELLS + 1), Column("WHO", 0))


def rows(known: Known, names: Iterable[str], room: int, now: float) -> list[TableRow]:
    """Return a row for each host, its GPUs below it; one that is out of reach is a row alone."""
    shown = _columns(room)
    made = []
    for name in names:
        host = known.host(name)
        made.append(_row(shown, Place(name), *_host_cells(host, known, room, now)))
        if host.state == "reachable":
            samples = known.samples.get(name, [])
            made += [_row(shown, Place(name, gpu.uuid), *_gpu_cells(gpu, samples, known, room)) for gpu in host.gpus]
    return made


def _below(title: str, text: str, style: str) -> tuple[str, str]:
    """Return a cell that begins where its title does."""
    return (" " * (len(title) - len(title.lstrip())) + text if text else ""), style


Cells = dict[str, tuple[str, str]]
"""Text and style by the title of a column."""


def _row(shown: Sequence[Column], place: Place, cells: Cells, version: object) -> TableRow:
    made = [_below(column.title, *cells.get(column.title.strip(), ("", ""))) for column in shown]
    return TableRow(place.key, [text for text, _ in made], [style for _, style in made], version)


def _host_cells(host: HostRow, known: Known, room: int, now: float) -> tuple[Cells, object]:
    badge = f" !{len(host.problems)}" if host.problems else ""
    name = (f"{LOOK.glyph(host.state)} {host.name}{badge}", host_style(host))
    words = _host_words(host, room, now, known.is_past)
    if host.state != "reachable" or not host.resources:
        return {"HOST, GPU": name, "LOAD" if room >= _NARROW_FROM else "WHO": words}, host.state
    cells: Cells = {"HOST, GPU": name, "WHO": words}
    samples = known.samples.get(host.name, [])
    has, last = host.resources, samples[-1] if samples else None
    cpus, load = has.cpus or 0.0, last.load if last else None
    if load is not None and cpus:
        share = load / cpus
        text = f"{load:.1f}/{cpus:g}"
        cells["LOAD"] = (_bar(share, text, room), LOOK.work(share)) if room >= _NARROW_FROM else (text, "")
    used = last.ram if last else None
    if used is not None and has.memory:
        text = f"{used / 1e9:.0f}/{has.memory / 1e9:.0f}G"
        cells["MEMORY"] = (_bar(used / has.memory, text, room), _fullness(used / has.memory))
    history_cells = _in_cells([(one.time, one.load) for one in samples], known.until)
    cells["10 MIN"] = (sparkline(history_cells, _HISTORY_CELLS, cpus), "dim")
    return cells, (host.state, host.running, host.queued)


def host_style(host: HostRow) -> str:
    """Return how the name of a host is drawn: what is to be said of it is seen before it is read."""
    if host.state == "unreachable":
        return LOOK.style("failed")
    if host.problems:
        return LOOK.style("lost")
    return LOOK.style("completed" if host.state == "reachable" else "queued")


def _host_words(host: HostRow, room: int, now: float, is_past: bool) -> tuple[str, str]:
    """Return what a host does, or since when it is out of reach."""
    if host.state == "unreachable":
        since = f" since {humanize.clock(host.unreachable_since or now, now)}" if room >= _WIDE_FROM else ""
        why = _cause_first((host.error or "").removeprefix(f"{host.name}: "))
        return f"out of reach{since}: {why}", LOOK.style("failed")
    if host.state == "unknown":
        return "nothing is recorded of then" if is_past else "connecting", "dim"
    slots = "CPU slots" if room >= _WIDEST_FROM or not host.gpus else "slots"
    free = [f"GPU {host.free_gpus}/{len(host.gpus)}" if host.gpus else ""]
    has = host.resources
    if has is not None and has.cpus and has.cpus_free is not None and (room >= _NARROW_FROM or not host.gpus):
        free.append(f"{slots} {has.cpus_free:g}/{has.cpus:g}")
    parts = [f"{', '.join(one for one in free if one)} free" if any(free) else ""]
    parts += [f"{host.running} running" if host.running else "", f"{host.queued} waiting" if host.queued else ""]
    if has is not None and has.disk_free and room >= _WIDE_FROM:
        parts.append(f"disk {humanize.size(has.disk_free)} free")
    if host.last_contact is not None and now - host.last_contact > _OLD_SECONDS:
        parts.append(f"as of {humanize.ago(host.last_contact, now)}")
    return "  ".join(part for part in parts if part), "bold" if LOOK.has_colors else ""


def _cause_first(error: str) -> str:
    """Return an error with what happened before where: the end of it may be cut."""
    where, _, cause = error.rpartition(": ")
    return f"{cause} ({where})" if where else cause


def _gpu_cells(gpu: HostGpu, samples: list[HostSample], known: Known, room: int) -> tuple[Cells, object]:
    history = _history(samples, gpu.uuid)
    words, style = _holder(gpu, known)
    if gpu.jobs and _is_idle(samples, history):
        words, style = f"idle: {words}", LOOK.style("lost")
    cells: Cells = {"HOST, GPU": (f"    GPU {gpu.index}", "dim"), "WHO": (words, style)}
    if gpu.utilization is not None:
        share, text = gpu.utilization / 100, f"{gpu.utilization:.0f}%"
        drawn = _bar(share, text, room) if room >= _NARROW_FROM else text
        cells["LOAD"] = (drawn, LOOK.work(share) if share >= _LEAST else "dim")
    if gpu.memory_total and gpu.memory_used is not None:
        text = f"{gpu.memory_used / 1024:.0f}/{gpu.memory_total / 1024:.0f}G"
        share = gpu.memory_used / gpu.memory_total
        cells["MEMORY"] = (_bar(share, text, room), _fullness(share))
    if gpu.temperature is not None:
        heat = "failed" if gpu.temperature >= _HOT else "lost" if gpu.temperature >= _WARM else ""
        cells["TEMP"] = (f"{gpu.temperature:.0f}°C", LOOK.style(heat))
    if gpu.power is not None:
        cells["POWER"] = (f"{gpu.power:.0f} W", "")
    timed = [(one.time, value) for one, value in zip(samples, history, strict=True)]
    cells["10 MIN"] = (sparkline(_in_cells(timed, known.until), _HISTORY_CELLS, 100.0), "dim")
    return cells, (gpu.job, gpu.held, gpu.sick)


def _holder(gpu: HostGpu, known: Known) -> tuple[str, str]:
    """Return who has a GPU, and how that is drawn."""
    if gpu.jobs:
        first = f"{gpu.jobs[0][:6]} {known.names.get(gpu.jobs[0], '')}".strip()
        more = f" and {len(gpu.jobs) - 1} more" if len(gpu.jobs) > 1 else ""
        return first + more, LOOK.style("running")
    if gpu.sick:
        return gpu.sick, LOOK.style("failed")
    if gpu.held or gpu.busy:
        return gpu.held or "held by others", LOOK.style("stopped")
    return "free", "dim"


def _fullness(share: float) -> str:
    """Return the color of memory of which so much is taken."""
    color = "failed" if share >= _FULL else "lost" if share >= _NEARLY_FULL else "completed"
    return LOOK.style(color) if share >= _LEAST else "dim"


def _bar(share: float, text: str, room: int) -> str:
    """Return a share as a bar with its value."""
    cells = _WIDE_BAR_CELLS if room >= _WIDE_FROM else _BAR_CELLS
    share = min(1.0, max(0.0, share))
    eighths = round(share * cells * 8)
    if LOOK.ascii:
        full = round(share * cells)
        bar = f"[{'#' * full}{' ' * (cells - full)}]"
    else:
        part = " ▏▎▍▌▋▊▉"[eighths % 8] if eighths % 8 else ""
        bar = f"▕{('█' * (eighths // 8) + part).ljust(cells)}▏"
    return f"{bar} {text}"


def _history(samples: list[HostSample], uuid: str) -> list[float | None]:
    return [next((gpu[1] for gpu in sample.gpus if gpu[0] == uuid), None) for sample in samples]


def _in_cells(timed: Sequence[tuple[float, float | None]], until: float) -> list[float | None]:
    """Return the largest value in each cell of the last minutes; None where nothing was measured: a gap is one."""
    cells: list[float | None] = [None] * _HISTORY_CELLS
    for time, value in timed:
        place = int((time - until + _LATELY) / _LATELY * _HISTORY_CELLS)
        if value is not None and 0 <= place <= _HISTORY_CELLS:
            place = min(place, _HISTORY_CELLS - 1)
            before = cells[place]
            cells[place] = value if before is None else max(before, value)
    return cells


def _is_idle(samples: list[HostSample], history: list[float | None]) -> bool:
    """Return whether a GPU has done next to nothing for minutes."""
    if not samples or samples[-1].time - samples[0].time < _IDLE_SECONDS:
        return False
    late = [v for s, v in zip(samples, history, strict=True) if s.time >= samples[-1].time - _IDLE_SECONDS]
    return bool(late) and all(value is not None and value < _IDLE_PERCENT for value in late)


def details(known: Known, place: Place | None) -> list[Content]:
    """Return what more is known of the host or the GPU under the cursor."""
    if place is None:
        return []
    gpu = known.gpu(place)
    return _of_gpu(gpu, known) if gpu is not None else _of_host(known.host(place.host), known)


def _of_host(host: HostRow, known: Known) -> list[Content]:
    models = list(dict.fromkeys(gpu.name for gpu in host.gpus))
    named = [f"{sum(gpu.name == model for gpu in host.gpus)} x {model}" for model in models]
    parts = [*named, f"Python {host.python}" if host.python else ""]
    lines = [Content.styled(one_line("  ".join(filter(None, [host.name, *parts]))), "bold")]
    held = {project: seconds for (name, project), seconds in known.gpu_seconds.items() if name == host.name}
    if held:
        most = sorted(held.items(), key=lambda item: -item[1])[:_MOST_PROJECTS]
        text = "   ".join(f"{project} {seconds / 3600:.1f}" for project, seconds in most)
        lines.append(Content(one_line(f"GPU hours of 7 days: {sum(held.values()) / 3600:.1f}   {text}")))
    if host.state == "unreachable":
        lines.append(Content.styled(one_line(host.error or ""), LOOK.style("failed")))
    lines += [Content.styled(one_line(f"! {problem}"), LOOK.style("lost")) for problem in host.problems]
    return lines


def _of_gpu(gpu: HostGpu, known: Known) -> list[Content]:
    lines = [Content.styled(one_line(f"GPU {gpu.index}  {gpu.name}  {gpu.uuid}"), "bold")]
    lines += [Content(one_line(f"job {job[:6]}  {known.names.get(job, '')}")) for job in gpu.jobs]
    lines += [Content.styled(one_line(why), LOOK.style("lost")) for why in (gpu.held, gpu.sick) if why]
    for process in gpu.processes[:_MOST_PROCESSES]:
        memory = f"{process.memory / 1024:.1f} GB" if process.memory is not None else ""
        since = f"since {process.since}" if process.since else ""
        parts = [f"pid {process.pid}", process.user, memory, since]
        lines.append(Content.styled(one_line("  ".join(part for part in parts if part)), "dim"))
    return lines
