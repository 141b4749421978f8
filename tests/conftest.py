"""Fixtures: a client with a home of its own, sshd servers, and the end of all that they started."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import agents
from tests.support.client import Client
from tests.support.hook import Hook
from tests.support.sshd import Sshd

_LAST = (
    *("test_agent", "test_reliability", "test_faults", "test_ui", "test_demo", "test_completion", "test_web"),
    "test_crashes",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the fast tests first."""
    items.sort(key=lambda item: any(part in item.nodeid for part in _LAST))


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


@pytest.fixture(scope="session")
def used_roots() -> Iterator[list[Path]]:
    """Takes the roots of all agents: one that a supervisor or a late client started anew is ended in the end."""
    roots: list[Path] = []
    yield roots
    for root in roots:
        if agents.is_owned(root):
            agents.end(root)


@pytest.fixture
def client(tmp_path: Path, used_roots: list[Path]) -> Iterator[Client]:
    """A client with an empty project; its agents are ended afterwards."""
    client = Client(tmp_path / "home", tmp_path / "project")
    yield client
    used_roots += client.roots
    for root in client.roots:
        agents.end(root)


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
def sshd(new_sshd: Callable[[], Sshd]) -> Sshd:
    """One server."""
    return new_sshd()


@pytest.fixture
def hook() -> Iterator[Hook]:
    """A web server that takes notices."""
    hook = Hook()
    yield hook
    hook.close()
