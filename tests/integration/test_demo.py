"""The demo, as the first thing that a newcomer runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.client import FOUNDATIONS, Client, wait_until
from tests.support.screen import Tmux


@pytest.fixture
def temporary(client: Client, tmp_path: Path) -> Path:
    """The folder where the demo makes its own; FOUNDATIONS_HOME must not matter to it."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    client.env["TMPDIR"] = str(folder)
    return folder


def running_below(folder: Path) -> list[int]:
    """Return the processes that work in a folder or were started with it in their arguments."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes() + b" " + os.fsencode(os.readlink(entry / "cwd"))
            words += (entry / "environ").read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in words and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found


def nothing_is_left(temporary: Path) -> bool:
    return list(temporary.iterdir()) == [] and running_below(temporary / "foundations-demo-") == []


@pytest.mark.rest
def test_without_a_terminal_twice(client: Client, temporary: Path) -> None:
    for _ in range(2):
        done = client.run("demo")
        lines = done.stdout.splitlines()
        assert lines[0].split() == ["ID", "NAME", "STATE", "TOOK", "VAL/LOSS", "VAL/ACCURACY"]
        rows = [line.split() for line in lines[1:] if "completed" in line]
        assert len(rows) == 7 and len([line for line in lines if "failed" in line]) == 1
        assert 0.9 < float(rows[0][-1]) <= 1 and len([row for row in rows if "NaN" in row]) == 1
        assert lines[-1].startswith("best: lr ") and rows[0][0] in lines[-1]
        assert "running" in done.stderr
        assert nothing_is_left(temporary)
    assert not (client.home / "store.db").exists(), "the user's own files are not touched"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_it_leaves_nothing(client: Client, temporary: Path, number: signal.Signals) -> None:
    demo = client.start("demo", start_new_session=True)
    assert demo.stderr is not None
    for line in demo.stderr:
        if "running" in line:
            break
    os.killpg(demo.pid, number)
    _, stderr = demo.communicate(timeout=60)
    assert demo.returncode == 130 and "Traceback" not in stderr
    wait_until(lambda: nothing_is_left(temporary))


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Tmux]:
    terminal = Tmux(tmp_path, 80, 24)
    yield terminal
    terminal.close()


@pytest.mark.rest
def test_on_a_terminal_it_opens_the_app(client: Client, temporary: Path, tmux: Tmux) -> None:
    tmux.start([*FOUNDATIONS, "demo"], {**client.env, "TERM": "xterm-256color"}, client.project)
    tmux.until(lambda shown: "● running" in shown and "step 20/400" in shown and "press 7" in shown, seconds=60)
    tmux.send("7")
    tmux.until(lambda shown: "race  digits: 8 jobs" in shown and "press 4" in shown and "  1  ● lr" in shown)
    tmux.send("4")
    tmux.until(lambda shown: "GPU 7" in shown and "press 1, then enter" in shown and "reboot" not in shown)
    tmux.send("q")
    assert tmux.exit_code(seconds=60) == 0
    shown = tmux.shown("-S", "-100")
    assert "best: lr" in shown and "init digits && cd digits" in shown
    wait_until(lambda: nothing_is_left(temporary))


def test_on_another_system_it_says_what_to_do(client: Client, temporary: Path) -> None:
    code = (
        "import sys, types; from foundations_tui.hosts import local\n"
        "local.sys = types.SimpleNamespace(platform='darwin')\n"
        "from foundations_tui.cli.main import run; sys.exit(run(['demo']))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=client.env, capture_output=True, text=True)
    assert done.returncode == 4 and "needs Linux" in done.stderr and "foundations hosts add" in done.stderr
    assert nothing_is_left(temporary)
