"""What the documents tell people to type, typed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from foundations_tui.cli.main import cli
from foundations_tui.config import app
from foundations_tui.session import Session
from foundations_tui.sweeps import study
from foundations_tui.ui.app import FoundationsApp
from foundations_tui.ui.input import keymap
from tests.support import agents
from tests.support.client import Client
from tests.support.paths import ROOT
from tests.support.sshd import Sshd

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def blocks(name: str) -> list[str]:
    """Return the commands of a document, a block each."""
    text = (ROOT / name).read_text()
    found = re.findall(r"^( *)```sh\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    return ["\n".join(line.removeprefix(indent) for line in block.splitlines()) for indent, block in found]


def type_into_shell(commands: str, cwd: Path, env: dict[str, str]) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands], cwd=cwd, env=env, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture
def typed(client: Client, tmp_path: Path) -> dict[str, str]:
    """An environment where ``foundations`` is on the PATH."""
    programs = tmp_path / "bin"
    programs.mkdir()
    script = programs / "foundations"
    script.write_text(f"#!{sys.executable}\nfrom foundations_tui.cli.main import main\nmain()\n")
    script.chmod(0o755)
    return {**client.env, "PATH": f"{programs}:{os.environ['PATH']}"}


@pytest.mark.rest
def test_the_readmes_first_command_in_a_fresh_clone(client: Client, tmp_path: Path) -> None:
    command = blocks("README.md")[0]
    assert command.endswith("foundations demo")
    clone = tmp_path / "clone"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).exists():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, clone / name)
    env = {key: value for key, value in client.env.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    env["PATH"] = ":".join([str(Path(sys.base_prefix) / "bin"), *os.environ["PATH"].split(":")])
    shown = type_into_shell(command, clone, env)
    assert "best: lr" in shown


def test_the_first_remote_host(client: Client, sshd: Sshd, typed: dict[str, str], tmp_path: Path) -> None:
    (client.home / "known_hosts").write_text(sshd.known_hosts_line)
    root = tmp_path / "root"
    steps = [block for block in blocks("README.md") if "foundations " in block and ".venv" not in block]
    assert len(steps) == 3
    real = f"{sshd.address} --identity {sshd.identity} --root {root}"
    commands = "\n".join(steps).replace("user@gpu1.example.org", real)
    assert real in commands
    try:
        shown = type_into_shell(commands, client.project, typed)
    finally:
        agents.end(root)
    assert "gpu1 works" in shown and "epoch 6/6" in shown and "completed" in shown
    assert list((client.project.parent / "digits").glob("*/model*")), "the model has come back"


def test_usage(client: Client, typed: dict[str, str]) -> None:
    (client.project / "train.py").write_text("print(1)\n")
    for block in blocks("docs/usage.md"):
        assert "would ship 1 file" in type_into_shell(block, client.project, typed)


def test_the_sdk_example_runs_in_a_job(client: Client) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (client.project / "example.py").write_text(example)
    job = client.submit("--", "python", "example.py")
    client.run("wait", job)
    found = client.job(job)
    assert found["metrics"]["loss"]["last"] == 0.25 and found["params"] == {"optimizer": "adam"}
    assert found["tags"] == {"dataset": "v2"}


def test_the_page_about_tracking(client: Client, typed: dict[str, str]) -> None:
    text = (ROOT / "docs/tracking.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (client.project / "train.py").write_text(example)
    client.run("submit", "--wait", "--", "python", "train.py")
    client.run("sync")
    (job,) = client.json("jobs")
    assert job["params"] == {"optimizer": "adam", "net_layers_0": 64, "net_layers_1": 32}
    assert job["metrics"]["acc"]["count"] == 3 and set(job["artifacts"]) == {"model.pt"}
    for block in blocks("docs/tracking.md"):
        assert "6 jobs: lr (2) x bs (3)" in type_into_shell(block, client.project, typed)
    for number, table in enumerate(re.findall(r"```toml\n(.*?)```", text, re.DOTALL)):
        if "[search]" in table:
            (client.project / "search.toml").write_text(table)
            assert study.read(client.project / "search.toml").trials == 40
            continue
        file = client.project / ("sweep.toml" if "[sweep]" in table else "foundations.toml")
        file.write_text(table)
        words = ["--sweep-file", "sweep.toml"] if "[sweep]" in table else []
        client.run("submit", "--dry-run", *words, "--", "true", str(number))


def test_the_page_about_environments(client: Client, typed: dict[str, str]) -> None:
    (client.project / "train.py").write_text("print(1)\n")
    for commands in blocks("docs/environments.md"):
        type_into_shell(commands, client.project, typed)


def test_the_page_about_services(client: Client, typed: dict[str, str]) -> None:
    (client.project / "index.html").write_text("hello")
    for block in blocks("docs/serving.md"):
        assert "http-server  local" in type_into_shell(block, client.project, typed)
    (table,) = re.findall(r"```toml\n(.*?)```", (ROOT / "docs/serving.md").read_text(), re.DOTALL)
    (client.project / "foundations.toml").write_text(table)
    shown = client.run("serve", "api", "--dry-run", "--gpus", "0").stdout
    assert "would serve api (2): python serve.py --port '{port}'" in shown


def test_the_page_about_queries(client: Client, typed: dict[str, str]) -> None:
    client.run("submit", "--wait", "--tag", "cnn", "--", "true")
    for block in blocks("docs/queries.md"):
        type_into_shell(block, client.project, typed)


def test_every_failure_mode_names_a_test_that_exists() -> None:
    """The only rows without one are a real loss of power, D state, and the known gap."""
    text = (ROOT / "docs/reliability.md").read_text()
    known = set(
        re.findall(r"^(?:async )?def (test_\w+)", "".join(p.read_text() for p in ROOT.glob("tests/*/*.py")), re.M)
    )
    named = set(re.findall(r"`(test_[a-z0-9_]+)`", text))
    assert named <= known, named - known
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| what happens")]
    assert len(rows) > 35
    bare = [row for row in rows if "`test_" not in row]
    assert len(bare) == 2 and any("D state" in row for row in bare) and any("env -i" in row for row in bare)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_what_documents_name_exists(path: Path) -> None:
    text = path.read_text()
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (path.parent / target).exists(), target
    verbs = set(re.findall(r"`foundations ([a-z]+)", text))
    assert verbs <= set(cli.list_commands(None)), verbs  # type: ignore[arg-type]
    for target in re.findall(r"^make (\w+)|`make (\w+)", text, re.MULTILINE):
        name = target[0] or target[1]
        assert re.search(rf"^{name}:", (ROOT / "Makefile").read_text(), re.MULTILINE), name
    for module in re.findall(r"`((?:remote_agent|foundations_tui|foundations|tests)/\w[\w/]*\.\w+)`", text):
        assert (ROOT / module).exists(), module


def test_what_troubleshooting_explains_is_said() -> None:
    """Each message of the page stands in the code, but for those of others."""
    page = (ROOT / "docs/troubleshooting.md").read_text()
    messages = re.findall(r"^\*\*`([^`]+)`\*\*", page, re.MULTILINE)
    assert len(messages) > 15
    code = "\n".join(
        path.read_text() for package in ("foundations_tui", "remote_agent") for path in (ROOT / package).rglob("*.py")
    )
    of_others = {"ModuleNotFoundError", "No such file or directory"}
    assert [message for message in messages if message not in of_others and message not in code] == []


def test_commands_and_keys_of_the_guide_are_there(client: Client) -> None:
    text = (ROOT / "docs/app.md").read_text()
    (table,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    (client.home / "app.toml").write_text(table)
    settings = app.load()
    FoundationsApp(Session(), settings=settings)
    assert {command.name for command in settings.commands} == {"tail", "top"}
    keys = {key for binding in keymap.catalog().values() for key in binding.key.split(",")}
    for picture in re.findall(r"\]\((pictures/[^)]+)\)", text):
        assert (ROOT / "docs" / picture).exists(), picture
    assert {"f6", "ctrl+n", "comma"} <= keys


@pytest.mark.rest
def test_the_site_is_whole_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    """Every link between its pages leads somewhere, or it is not built."""
    done = subprocess.run(["make", "site", f"SITE={tmp_path}"], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = list(tmp_path.glob("*.html"))
    assert {"index.html", "app.html", "cli.html", "keys.html", "troubleshooting.html"} <= {page.name for page in pages}
    for page in pages:
        loaded = re.findall(r'<(?:script|img|link rel="stylesheet")[^>]+(?:src|href)="([^"]+)"', page.read_text())
        assert [address for address in loaded if "//" in address] == [], page.name
    assert not (ROOT / "docs" / "start.md").exists()
