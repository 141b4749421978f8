"""The terminal app, as its terminal sees it: the first rows, and how soon a key shows."""

from __future__ import annotations

import fcntl
import os
import pty
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.agent import Host
from benchmarks.paired import Pair
from foundations_tui.submit.pipeline import submit_all
from foundations_tui.ui.pages import KEYS as PAGES
from tests.support.store import fill

_JOBS = 100_000
_MANY = 10_000
_KEYS = 200
_HELLO = """
from textual.app import App
from textual.widgets import Static

class Hello(App):
    def compose(self):
        yield Static("hello, world")

Hello().run()
"""


_TABLE = """
from textual.app import App
from textual.widgets import DataTable

class Table(App):
    def compose(self):
        yield DataTable(cursor_type="row")
    def on_mount(self):
        table = self.query_one(DataTable)
        table.add_columns(*"state id name host took about".split())
        for number in range(50):
            table.add_row("completed", f"{number:06x}", f"row {number}", "gpu1", "3 min", "loss 0.25")
        table.focus()

Table().run()
"""
_TIMES = 7
_LONGEST = 0.250
"""Seconds that no key takes."""


class Terminal:
    """A program in a pty of 160x50, read all the time."""

    def __init__(self, command: list[str]) -> None:
        self.began = time.perf_counter()
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="xterm-256color", COLORTERM="truecolor")
            os.execv(command[0], command)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
        self._news = threading.Condition()
        self.output = bytearray()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._fd, 1 << 16)
            except OSError:
                return
            with self._news:
                self.output += data
                self._news.notify_all()

    def wait_for(self, shown: Callable[[], bool], seconds: float = 60) -> float:
        """Wait until the output satisfies; return when, in seconds of ``perf_counter``."""
        with self._news:
            assert self._news.wait_for(shown, seconds), bytes(self.output[-2000:])
            return time.perf_counter()

    def wait_for_words(self, words: bytes, since: int = 0) -> float:
        """Wait until words stand in the output behind its first bytes; see ``wait_for``."""
        return self.wait_for(lambda: words in self.output[since:])

    def press(self, key: bytes) -> float:
        """Press a key; return how many seconds passed until something was drawn."""
        with self._news:
            before = len(self.output)
        began = time.perf_counter()
        os.write(self._fd, key)
        return self.wait_for(lambda: len(self.output) > before) - began

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._fd, keys)

    def end(self) -> None:
        """Quit with control and q, and collect the program."""
        os.write(self._fd, b"\x11")
        try:
            deadline = time.monotonic() + 10
            while os.waitpid(self.pid, os.WNOHANG) == (0, 0):
                if time.monotonic() > deadline:
                    os.kill(self.pid, 9)
                time.sleep(0.01)
        finally:
            os.close(self._fd)


def run() -> list[Pair]:
    """Return the pairs."""
    fill(_JOBS, host="elsewhere")
    floor = table_of_textual()
    first, keys = _first_row(), _keys("100,000 jobs in the store", floor)
    return [first, *keys, *_pages(floor), *_while_many_are_submitted(floor)]


def program() -> list[str]:
    """Return the command that opens the app."""
    return [str(Path(sys.executable).with_name("foundations")), "ui"]


def _first_row() -> Pair:
    hellos, ours = [], []
    for _ in range(7):
        hellos.append(hello_world())
        ours.append(_start(program(), b"completed"))
    name = "app, first row of 100,000 jobs / hello world of Textual"
    return Pair(name, statistics.median(hellos), statistics.median(ours), 2.0)


def hello_world() -> float:
    """Return how long Textual's own hello world takes to its first picture, seconds."""
    with tempfile.NamedTemporaryFile("w", suffix=".py") as hello:
        hello.write(_HELLO)
        hello.flush()
        return _start([sys.executable, hello.name], b"world")


def _start(command: list[str], words: bytes) -> float:
    terminal = Terminal(command)
    taken = terminal.wait_for_words(words) - terminal.began
    terminal.end()
    return taken


def table_of_textual() -> float:
    """Return how long a key takes in a bare DataTable of Textual, in 95 % of all cases, seconds."""
    with tempfile.NamedTemporaryFile("w", suffix=".py") as table:
        table.write(_TABLE)
        table.flush()
        terminal = Terminal([sys.executable, table.name])
        terminal.wait_for_words(b"row 1")
        time.sleep(1)
        taken = press_for(terminal, lambda presses: presses < _KEYS, (b"\x1b[B",) * 20 + (b"\x1b[A",) * 20)
        terminal.end()
        return _most(taken)


def _keys(what: str, floor: float) -> list[Pair]:
    terminal = Terminal(program())
    terminal.wait_for_words(b"completed")
    time.sleep(1)
    taken = press_for(terminal, lambda presses: presses < _KEYS)
    terminal.end()
    return figures(what, taken, floor)


def _pages(floor: float) -> list[Pair]:
    """Return how long it takes until a page that is chosen begins to be drawn."""
    terminal = Terminal(program())
    terminal.wait_for_words(b"completed")
    time.sleep(1)
    pairs = []
    for page, key in PAGES.items():
        taken = []
        for _ in range(_TIMES):
            terminal.type(b"1" if page != "jobs" else b"2")
            time.sleep(0.4)
            taken.append(terminal.press(key.encode()))
            time.sleep(0.4)
        pairs.append(
            Pair(f"app, key to the page {page} / a key in a bare DataTable", floor, statistics.median(taken), 3.0)
        )
    terminal.end()
    return pairs


def _most(taken: list[float]) -> float:
    return sorted(taken)[int(len(taken) * 0.95)]


def press_for(terminal: Terminal, goes_on: Callable[[int], bool], keys: tuple[bytes, ...] = (b"j",)) -> list[float]:
    """Press keys in turn, and return how many seconds passed until each showed."""
    taken: list[float] = []
    while goes_on(len(taken)):
        taken.append(terminal.press(keys[len(taken) % len(keys)]))
        time.sleep(0.02)
    return taken


def figures(what: str, taken: list[float], floor: float) -> list[Pair]:
    """Return what 95 % of such times are beside a key in a bare DataTable, and the longest beside the budget."""
    return [
        Pair(f"app, key to paint, {what}: 95 % / a bare DataTable's", floor, _most(taken), 1.5),
        Pair(f"app, key to paint, {what}: longest / 250 ms", _LONGEST, max(taken), 1.0),
    ]


def _while_many_are_submitted(floor: float) -> list[Pair]:
    """Another process submits 10,000 jobs in one call; the app follows."""
    with Host(max_jobs=1) as host:
        (host.root.parent / "hosts.toml").write_text(f'[hosts.local]\nroot = "{host.root}"\nmax_jobs = 1\n')
        submit_all(host.session, [host.request("/bin/sleep", "600")], frozen=host.frozen)
        terminal = Terminal(program())
        terminal.wait_for_words(b"running")
        time.sleep(2)
        child = subprocess.Popen([sys.executable, "-c", _SUBMIT.format(project=str(host.project), count=_MANY)])
        ended: list[float] = []

        def goes_on(presses: int) -> bool:
            if child.poll() is not None and not ended:
                ended.append(time.monotonic())
            return not ended or time.monotonic() < ended[0] + 5

        taken = press_for(terminal, goes_on)
        terminal.end()
        if child.wait():
            raise AssertionError("the jobs could not be submitted")
        return figures("while 10,000 jobs are submitted", taken, floor)


_SUBMIT = """
from pathlib import Path
from foundations_tui.session import Session
from foundations_tui.snapshot import freeze
from foundations_tui.submit.pipeline import submit_all
from foundations_tui.submit.request import JobRequest
project = Path({project!r})
requests = [JobRequest(("/bin/sleep", "600"), project, host="local")] * {count}
submit_all(Session(), requests, frozen=freeze.take(project))
"""
