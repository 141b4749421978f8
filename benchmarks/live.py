"""The terminal app on what is large or moves: long logs, long curves, jobs that run."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from pathlib import Path

from rich.style import Style

from benchmarks.agent import Host
from benchmarks.app import Terminal, figures, hello_world, press_for, program, table_of_textual
from benchmarks.paired import Pair
from foundations import records
from foundations_tui.config import locations
from foundations_tui.session import Session
from foundations_tui.store import write_streams
from foundations_tui.store.db import Store
from foundations_tui.submit.pipeline import submit_all
from foundations_tui.ui.app import FoundationsApp
from foundations_tui.ui.widgets.chart import Chart
from tests.support.store import fill

_JOB = "0" * 12
_JOBS = 100_000
_KEYS = 200
_TICKS = os.sysconf("SC_CLK_TCK")
_GIB = 1 << 30
_LINES = 1_000_000
_POINTS = 1_000_000
_WATCHED = 20.0
"""Seconds for which the app is left alone."""
_TRAIN = """
import sys, time, foundations
for step in range(100000):
    foundations.log_metric("loss", 1 / (step + 1))
    foundations.log_metric("acc", 1 - 1 / (step + 1))
    print(f"step {step} loss {1 / (step + 1):.4f}", flush=True)
    time.sleep(1)
"""
_POUR = """
import sys, time
line = "x" * 99 + "\\n"
began, written = time.monotonic(), 0
while True:
    sys.stdout.write(line * 1000)
    written += 100_000
    time.sleep(max(0.0, began + written / 10e6 - time.monotonic()))
"""


def run() -> list[Pair]:
    """Return the pairs."""
    floor = table_of_textual()
    pairs = [pair for part in (_long_log, _filter, _long_curve, _ten_jobs) for pair in part()]
    return [*pairs, *_four_jobs(floor), *_pouring_log(floor)]


def _long_log() -> list[Pair]:
    """From the key to the last line of 1 GiB, and what the app's memory gains by it."""
    fill(1)
    path = locations.log_file(_JOB, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    block = b"".join(
        b"step %09d loss 0.123456 acc 0.987654 and some more words to fill a line\n" % n for n in range(14_000)
    )
    with path.open("wb") as file:
        while file.tell() < _GIB:
            file.write(block)
        file.write(b"the very last line of it\n")
    taken, grown = [], []
    hello = statistics.median(hello_world() for _ in range(5))
    for _ in range(5):
        terminal = Terminal([*program(), "queue"])
        terminal.wait_for_words(b"queue")
        time.sleep(1.5)
        before = resident(terminal.pid)
        began = time.perf_counter()
        terminal.type(b"3")
        taken.append(terminal.wait_for_words(b"very last line") - began)
        time.sleep(8)
        grown.append(resident(terminal.pid) - before)
        terminal.end()
    path.unlink()
    return [
        Pair("app, a log of 1 GiB opened / hello world of Textual", hello, statistics.median(taken), 0.5),
        Pair("app, memory that it takes, MB / 20 MB", 0.020, statistics.median(grown) / 1e9, 1.0),
    ]


def _filter() -> list[Pair]:
    """From enter to the first line that a filter lets through, of a million."""
    path = locations.log_file(_JOB, 1)
    with path.open("wb") as file:
        for first in range(0, _LINES, 1000):
            lines = [b"step %09d loss 0.123456 acc 0.987654" % n for n in range(first, first + 1000)]
            lines[500] = b"step %09d needle FOUND" % first
            file.write(b"\n".join(lines) + b"\n")
    taken = []
    for _ in range(5):
        terminal = Terminal([*program(), "log"])
        terminal.wait_for_words(b"loss")
        time.sleep(4)
        terminal.type(b"&needle")
        time.sleep(0.5)
        began = time.perf_counter()
        seen = len(terminal.output)
        terminal.type(b"\r")
        taken.append(terminal.wait_for_words(b"FOUND", seen) - began)
        terminal.end()
    path.unlink()
    return [Pair("app, first lines of a filter over 1,000,000 / 100 ms", 0.1, statistics.median(taken), 1.0)]


def _long_curve() -> list[Pair]:
    """Drawing a chart of 160x50 with a curve of a million points, and with one of a hundred."""
    found = []
    for key, count in (("short", 100), ("long", _POINTS)):
        store = Store()
        write_streams.put_sizes(store, "local", [(_JOB, 1, f"records/{key}", 1 << 40)])
        offset = 0
        for first in range(0, count, 10_000):
            numbers = range(first, min(first + 10_000, count))
            page = b"".join(records.encode_metric(1e9 + n, key, n, 1 / (n + 1)) for n in numbers)
            write_streams.put_records_page(store, _JOB, 1, f"records/{key}", offset, page)
            offset += len(page)
        store.close()
        found.append(asyncio.run(_redraw(key)))
    return [
        Pair("app, a chart of 1,000,000 points drawn / 10 ms", 0.010, found[1], 1.0),
        Pair("app, a chart of 1,000,000 points drawn / one of 100", found[0], found[1], 1.5),
    ]


async def _redraw(key: str) -> float:
    app = FoundationsApp(Session(), page="metrics", follow=False)
    async with app.run_test(size=(160, 50)) as pilot:
        for _ in range(100):
            await pilot.pause(0.1)
            charts = [chart for chart in app.main.query(Chart) if chart.title == key]
            if charts:
                break
        taken = []
        for _ in range(50):
            began = time.perf_counter()
            charts[0]._draw(Style())
            taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def _four_jobs(floor: float) -> list[Pair]:
    """A key, while four jobs run and a hundred thousand are in the store."""
    with Host(max_jobs=4) as host:
        fill(_JOBS, host="elsewhere")
        terminal = _start(host, 4, _TRAIN)
        taken = press_for(terminal, lambda presses: presses < _KEYS)
        terminal.end()
    return figures("4 jobs run, 100,000 in the store", taken, floor)


def _ten_jobs() -> list[Pair]:
    """What the app costs while ten jobs run and nobody touches it, and what it draws when nothing happens."""
    with Host(max_jobs=10) as host:
        terminal = _start(host, 10, _TRAIN)
        cpu, sent = _cpu(terminal.pid), len(terminal.output)
        time.sleep(_WATCHED)
        busy = (_cpu(terminal.pid) - cpu) / _WATCHED, (len(terminal.output) - sent) / _WATCHED
        terminal.end()
    with Host(max_jobs=1) as host:
        _hosts_file(host)
        terminal = Terminal(program())
        terminal.wait_for_words(b"no jobs yet")
        time.sleep(15)
        sent = len(terminal.output)
        time.sleep(8)
        idle = len(terminal.output) - sent
        terminal.end()
    return [
        Pair("app, overview of 10 jobs, % of a core / 5 %", 0.005, busy[0] / 10, 1.0),
        Pair("app, overview of 10 jobs, KiB/s to the terminal / 60", 0.060, busy[1] / 1024 / 1000, 1.0),
        Pair("app, bytes to the terminal in 8 s of nothing / 1", 0.001, idle / 1000, 1.0),
    ]


def _pouring_log(floor: float) -> list[Pair]:
    """A key, while the log that is shown gains 10 MB a second."""
    with Host(max_jobs=1) as host:
        terminal = _start(host, 1, _POUR, "log")
        terminal.wait_for_words(b"xxxxxxxx")
        time.sleep(3)
        path = next(locations.log_file("x", 1).parent.parent.glob("*/*"))
        size, began = path.stat().st_size, time.monotonic()
        taken = press_for(terminal, lambda presses: presses < _KEYS, (b"k", b"j"))
        rate = (path.stat().st_size - size) / (time.monotonic() - began) / 1e6
        terminal.end()
    return figures(f"while {rate:.1f} MB/s of log arrive", taken, floor)


def _start(host: Host, jobs: int, script: str, page: str = "") -> Terminal:
    _hosts_file(host)
    (host.project / "live.py").write_text(script)
    submit_all(host.session, [host.request("python3", "live.py")] * jobs)
    terminal = Terminal([*program(), *([page] if page else [])])
    terminal.wait_for_words(b"running")
    time.sleep(5)
    return terminal


def _hosts_file(host: Host) -> None:
    lines = f'[hosts.local]\nroot = "{host.root}"\nmax_jobs = 10\n'
    (host.root.parent / "hosts.toml").write_text(lines)


def _cpu(pid: int) -> float:
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / _TICKS


def resident(pid: int) -> int:
    """Return the memory that a process has, bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
