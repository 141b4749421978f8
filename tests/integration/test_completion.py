"""Completion of verbs, jobs, hosts and projects, typed in the real shells."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.client import Client
from tests.support.screen import Tmux

_SOURCE = {
    "bash": 'eval "$(foundations completion bash)"\n',
    "zsh": 'autoload -Uz compinit && compinit -u\neval "$(foundations completion zsh)"\n',
    "fish": "foundations completion fish | source\n",
}
_START = {
    "bash": ["bash", "--noprofile", "--rcfile", "{rc}", "-i"],
    "zsh": ["zsh", "-i"],
    "fish": ["fish", "-i", "--init-command", "source {rc}"],
}
_PROMPT = {
    "bash": "PS1='ready> '\n",
    "zsh": "PS1='ready> '\n",
    "fish": "function fish_prompt; echo 'ready> '; end\nset -g fish_autosuggestion_enabled 0\n",
}


@pytest.fixture(params=["bash", "zsh", "fish"])
def shell(request: pytest.FixtureRequest, client: Client, tmp_path: Path) -> Iterator[Tmux]:
    """A shell that has sourced the completion, in a home of its own."""
    name = request.param
    home = tmp_path / "shell-home"
    home.mkdir()
    rc = home / ".zshrc"
    rc.write_text(_SOURCE[name] + _PROMPT[name])
    env = {
        **client.env,
        "HOME": str(home),
        "ZDOTDIR": str(home),
        "TERM": "xterm-256color",
        "XDG_CONFIG_HOME": str(home),
    }
    env["PATH"] = f"{_program(tmp_path)}:{os.environ['PATH']}"
    terminal = Tmux(tmp_path, 120, 30)
    terminal.start([word.format(rc=rc) for word in _START[name]], env, client.project)
    terminal.until(lambda shown: "ready>" in shown)
    yield terminal
    terminal.close()


def _program(folder: Path) -> Path:
    """Put the command on a PATH, as an installation does."""
    programs = folder / "bin"
    programs.mkdir()
    script = programs / "foundations"
    script.write_text(f"#!{sys.executable}\nfrom foundations_tui.cli.main import main\nmain()\n")
    script.chmod(0o755)
    return programs


def test_tab_completes(shell: Tmux, client: Client) -> None:
    job = client.submit("--project", "vision", "--name", "tries", "--", "true")
    client.run("wait", job)
    (client.project / "training.py").write_text("")
    client.run("hosts", "add", "gpubox", "user@gpubox.example.org")
    for typed, completed in [
        ("foundations unarch", "foundations unarchive"),
        (f"foundations logs {job[:4]}", f"foundations logs {job}"),
        ("foundations submit --host gp", "foundations submit --host gpubox"),
        ("foundations jobs --project vi", "foundations jobs --project vision"),
        ("foundations submit --dry", "foundations submit --dry-run"),
        ("foundations hosts remove gp", "foundations hosts remove gpubox"),
        ("foundations show tri", "foundations show tries"),
        ("foundations submit -- python tra", "foundations submit -- python training.py"),
    ]:
        shell.type(typed)
        shell.send("Tab")
        shell.until(lambda shown, completed=completed: completed in shown)  # type: ignore[misc]
        shell.send("C-u")
        shell.send("C-l")
        shell.until(lambda shown: shown.strip() == "ready>", pressing=["C-u", "C-l"])
