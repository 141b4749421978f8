"""A job restored to a folder: every byte, mode and link of its code, and a script that runs it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from foundations_tui.jobs import checkout
from foundations_tui.sync.unpacking import Unpacked
from remote_agent.protocol.jobs import JobSpec
from tests.support import agents
from tests.support.client import Client


def tree(folder: Path) -> dict[str, object]:
    """Return what is below a folder: content, permission to execute, targets of links, empty folders."""
    found: dict[str, object] = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_dir():
            found[name] = "folder" if not any(path.iterdir()) else "..."
        else:
            found[name] = (path.read_bytes(), os.access(path, os.X_OK))
    return found


def test_a_job_comes_back_to_the_byte_after_host_and_work_tree_are_gone(client: Client, tmp_path: Path) -> None:
    (client.project / "sub").mkdir()
    script = "import os, sys; print(sys.argv[1:], os.environ['LEVEL'], os.environ['FOUNDATIONS_SEED'], "
    script += "os.environ['FOUNDATIONS_PARAM_LR'], open('foundations_job_parameters.json').read().split())\r\n"
    (client.project / "sub" / "train.py").write_bytes(script.encode())
    (client.project / "data.bin").write_bytes(bytes(range(256)))
    (client.project / "run.sh").write_text("#!/bin/sh\n")
    (client.project / "run.sh").chmod(0o755)
    (client.project / "n\u00e4me with\nline").write_text("x")
    (client.project / "inside").symlink_to("sub")
    (client.project / "outside").symlink_to("/usr/share")
    (client.project / "empty" / "deep").mkdir(parents=True)
    before = tree(client.project)
    subprocess.run(["git", "init", "-q"], cwd=client.project, check=True)
    given = ("--dir", "sub", "--param", "lr=0.5", "--env", "LEVEL=a 'b'", "--job-seed", "4")
    job = client.submit(*given, "--", "python3", "train.py", "it's", "$HOME")
    client.run("wait", job)
    expected = client.run("logs", job).stdout
    agents.end(client.home / "agent")
    shutil.rmtree(client.home / "agent")
    shutil.rmtree(client.project)
    client.project.mkdir()
    target = tmp_path / "a b" / "old run"
    assert "there is no folder" in client.run("checkout", job, str(target), code=2).stderr
    target.parent.mkdir()
    done = client.run("checkout", job, str(target))
    assert "run.sh runs it" in done.stdout and tree(target / "code") == before
    assert json.loads((target / "parameters.json").read_text()) == {"lr": 0.5}
    assert json.loads((target / "facts.json").read_text())["seed"] == 4
    assert json.loads((target / "job.json").read_text())["job"] == job
    assert (target / "packages.txt").read_text() or client.json("show", job)["packages"] == []
    ran = subprocess.run([target / "run.sh"], capture_output=True, text=True, check=True)
    assert ran.stdout == expected
    assert "exists already" in client.run("checkout", job, str(target), code=2).stderr
    assert [path.name for path in (tmp_path / "a b").iterdir()] == ["old run"]


def test_secrets_are_asked_for_and_not_written(client: Client, tmp_path: Path) -> None:
    (client.project / "t.py").write_text("import os; print(len(os.environ['HF_TOKEN']))\n")
    client.env["HF_TOKEN"] = "hunter2"
    job = client.submit("--secret", "HF_TOKEN", "--", "python3", "t.py")
    client.run("wait", job)
    found = client.json("checkout", job, str(tmp_path / "out"))
    assert found["files"] == 1 and found["job"] == job
    assert all("hunter2" not in path.read_text() for path in (tmp_path / "out").rglob("*") if path.is_file())
    env = {"PATH": os.environ["PATH"]}
    refused = subprocess.run([tmp_path / "out" / "run.sh"], env=env, capture_output=True, text=True)
    assert refused.returncode != 0 and "HF_TOKEN: is a secret of this job" in refused.stderr
    env["HF_TOKEN"] = "four"
    assert subprocess.run([tmp_path / "out" / "run.sh"], env=env, capture_output=True, text=True).stdout == "4\n"


@pytest.mark.parametrize("name", ["../out", "/out", "link/out", ".git/hooks", "a/../../out"])
def test_empty_folders_of_a_hostile_host_stay_inside(tmp_path: Path, name: str) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "code" / "link").symlink_to(tmp_path / "elsewhere")
    unpacked = Unpacked()
    checkout._make_empty_folders(tmp_path / "code", [name, "fine"], unpacked)
    assert [refused for refused, _ in unpacked.refused] == [name]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["code", "elsewhere", "fine", "link"]


def test_no_word_of_a_specification_becomes_shell(tmp_path: Path) -> None:
    trap = f"'; touch {tmp_path}/trap; $(touch {tmp_path}/trap) `touch {tmp_path}/trap`\ntouch {tmp_path}/trap\n"
    words = {"command": ["true", trap], "subdir": trap, "env": {"A": trap}, "params": {trap: trap}, "setup": trap}
    words["data"] = {"D": {"path": trap, "at": trap}}
    spec = {**JobSpec("a", ("true",), "0" * 40).to_wire(), **words}
    script = tmp_path / "run.sh"
    script.write_text(checkout.script_of(spec, {"A": trap}))
    subprocess.run(["sh", script], capture_output=True)
    assert not (tmp_path / "trap").exists()
