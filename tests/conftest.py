"""Fixtures: a client with a home of its own, sshd servers, and the end of all that they started.

A test's folder is its marker, and says when it runs: ``unit`` first, then the rest, the longest of them at once, so
that none is left alone at the end.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support import agents, leftovers
from tests.support.client import Client
from tests.support.hook import Hook
from tests.support.paths import TESTS
from tests.support.sshd import Sshd

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")  # a machine that is busy is no defect
_FOLDERS = ("unit", "integration", "app", "faults", "browser", "foreign")


def pytest_configure() -> None:
    """Let Ctrl-C reach what tests start, and have them start Python itself instead of a version manager's script.

    A shell that runs the tests in the background has Ctrl-C ignored. The script starts a dozen shells each time.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    python = shutil.which("python3")
    if python and Path(python).read_bytes().startswith(b"#!"):
        os.environ["PATH"] = f"{Path(sys.base_prefix) / 'bin'}:{os.environ['PATH']}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their folder; put the unit tests first, then the long ones."""
    for item in items:
        item.add_marker(item.path.relative_to(TESTS).parts[0])
    long = ("slow", "rest")
    items.sort(key=lambda item: (item.get_closest_marker("unit") is None, not any(map(item.get_closest_marker, long))))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests had to tell, with ``record_property("told", text)``: what they print themselves is captured."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    for report in reports:
        if isinstance(report, pytest.TestReport) and report.when == "call":
            for text in (text for name, text in report.user_properties if name == "told"):
                terminalreporter.write_line(f"\n{text}")


@pytest.fixture(autouse=True)
def _no_home_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every test out of the user's own files, and from what the processes of tests inherit."""
    monkeypatch.setenv("FOUNDATIONS_HOME", str(tmp_path / "home"))
    for name in ("COLUMNS", "LINES"):  # readline sets them, and they would stand before a terminal's own size
        monkeypatch.delenv(name, raising=False)
    for name in list(os.environ):
        if name.startswith(("GIT_", "FOUNDATIONS_")) and name != "FOUNDATIONS_HOME":
            monkeypatch.delenv(name)


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """End what late processes of tests started again; fail when anything of ours still runs at the end.

    What a late thread of a test starts when that test is over finds a home here, too, and not the user's own.
    """
    late = tmp_path_factory.mktemp("late")
    os.environ["FOUNDATIONS_HOME"] = str(late)
    yield
    top = tmp_path_factory.getbasetemp()
    if leftovers.below(top):  # one look at all processes instead of one for each client and home
        for client in Client.made:
            client.end_agents()
        for root in (late / "agent", *top.glob("*/home/agent")):
            agents.end(root)
    left = leftovers.still_below(top)
    assert not left, f"processes of tests are left: {left}"


@pytest.fixture(autouse=True)
def _agents_end(tmp_path: Path) -> Iterator[None]:
    """End the agents of every client that the test made, and one that a late thread of an earlier test started."""
    before = len(Client.made)
    yield
    for client in Client.made[before:]:
        client.end_agents()
    agents.end(tmp_path / "home" / "agent")


@pytest.fixture
def client(tmp_path: Path) -> Client:
    """A client with an empty project."""
    return Client(tmp_path / "home", tmp_path / "project")


@pytest.fixture
def new_sshd(tmp_path: Path) -> Iterator[Callable[[], Sshd]]:
    """Makes servers that run until the test ends."""
    servers: list[Sshd] = []

    def make() -> Sshd:
        server = Sshd(tmp_path / f"sshd-{len(servers)}")
        servers.append(server)
        server.start()
        return server

    yield make
    for server in servers:
        server.cut()


@pytest.fixture
def own_sshd(new_sshd: Callable[[], Sshd]) -> Sshd:
    """A server of this test: it may be cut, configured, and given other keys."""
    return new_sshd()


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """The server that tests share which only connect to it."""
    server = Sshd(tmp_path_factory.mktemp("shared") / "sshd")
    server.start()
    yield server
    server.cut()


@pytest.fixture
def hook() -> Iterator[Hook]:
    """A web server that takes notices."""
    hook = Hook()
    yield hook
    hook.close()
