"""What is recorded of an attempt before its command runs: interpreter, packages, machine, variables, seed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest

from remote_agent.gpu import inventory
from remote_agent.protocol import facts
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.urls import without_credentials
from tests.support.client import Client
from tests.support.paths import ROOT
from tests.support.sshd import Sshd

DATA = ROOT / "tests" / "data" / "gpus"


def add_package(folder: Path, name: str, version: str, **more: Any) -> None:
    """Install a package, as far as pip leaves traces of one."""
    place = folder / f"{name}-{version}.dist-info"
    place.mkdir(parents=True)
    (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    if more:
        (place / "direct_url.json").write_text(json.dumps(more))


def recorded(client: Client, job: str) -> Any:
    client.run("wait", job, code=None)
    return client.json("show", job, "--sync")


def versions(shown: Any) -> dict[str, str]:
    return {package["name"]: package["version"] for package in shown["packages"]}


def test_facts_are_written_before_the_command_and_come_to_the_client(client: Client) -> None:
    (client.project / "t.py").write_text(
        "import json, os, sys\n"
        "folder = os.path.dirname(os.environ['FOUNDATIONS_RECORDS_DIR'])\n"
        "told = json.load(open(os.path.join(folder, 'facts.json')))\n"
        "told = told['interpreter']\n"
        "print(told['path'] == sys.executable, told['version'] == sys.version.split()[0])\n"
    )
    command = (sys.executable, "t.py")
    job = client.submit("--job-seed", "7", "--env", "OMP_NUM_THREADS=2", "--", *command)
    shown = recorded(client, job)
    assert client.run("logs", job).stdout.strip() == "True True"
    told = shown["facts"]
    assert told["interpreter"]["path"] == sys.executable and told["interpreter"]["implementation"] == "cpython"
    assert versions(shown)["pytest"] == pytest.__version__
    assert told["variables"]["OMP_NUM_THREADS"] == "2" and told["seed"] == 7
    assert "agents" not in told["variables"]["PATH"] and "PYTHONPATH" not in told["variables"]
    assert told["kernel"].startswith("Linux ") and told["cpus"] > 0 and told["ram"] > 0
    assert told["agent"] and told["client"] and told["agent_hash"]
    assert {told[name] for name in ("lock", "image", "environment", "cuda")} == {None}, "what is not known is null"
    assert f"python     {told['interpreter']['version']} at {sys.executable}" in client.run("show", job).stdout


def test_a_list_of_packages_is_kept_once_and_read_anew_when_it_changes(client: Client, tmp_path: Path) -> None:
    site = tmp_path / "site"
    add_package(site, "Some.Thing", "1.0")
    add_package(site, "mine", "2", url="https://me:secret@example.org/x.git", vcs_info={"commit_id": "abc"})
    given = ("--env", f"PYTHONPATH={site}", "--", sys.executable, "-c", "1")
    first, same = recorded(client, client.submit(*given)), recorded(client, client.submit(*given))
    add_package(site, "other", "3")
    changed = recorded(client, client.submit(*given))
    assert first["facts"]["packages"] == same["facts"]["packages"] != changed["facts"]["packages"]
    assert versions(first)["some-thing"] == "1.0" and "other" not in versions(first)
    assert versions(changed)["other"] == "3"
    origin = next(package["origin"] for package in first["packages"] if package["name"] == "mine")
    assert origin == "https://example.org/x.git@abc"
    lists = list((client.home / "agent" / "packages").iterdir())
    assert sorted(path.stem for path in lists) == sorted({first["facts"]["packages"], changed["facts"]["packages"]})
    lines = client.json("compare", first["job"], changed["job"])["lines"]
    assert {"kind": "package", "name": "other", "values": [None, "3"], "best": None} in lines
    assert not [line for line in lines if line["kind"] in ("package", "python") and line["name"] != "other"]


def test_setup_lines_choose_the_python_that_is_recorded(client: Client, sshd: Sshd, tmp_path: Path) -> None:
    venv.create(tmp_path / "own", symlinks=True, with_pip=False)
    add_package(next((tmp_path / "own").glob("lib/*/site-packages")), "inside", "4")
    client.add_host("box", sshd, setup=f"export PATH={tmp_path}/own/bin:$PATH\nexport OMP_NUM_THREADS=3")
    shown = recorded(client, client.submit("--host", "box", "--", "python", "-c", "import sys; print(sys.prefix)"))
    assert client.run("logs", shown["job"]).stdout.strip() == str(tmp_path / "own")
    assert shown["facts"]["interpreter"]["prefix"] == str(tmp_path / "own")
    assert versions(shown)["inside"] == "4" and shown["facts"]["variables"]["OMP_NUM_THREADS"] == "3"
    broken = "export LD_PRELOAD=/nowhere.so PYTHONHOME=/nowhere; unset PATH"
    client.add_host("broken", sshd, setup=broken)
    shown = recorded(client, client.submit("--host", "broken", "--", "/bin/echo", "ran"))
    assert shown["state"] == "completed" and shown["facts"]["kernel"]


@pytest.mark.parametrize(
    "program",
    [
        "#!/bin/sh\nexit 1\n",
        "#!/bin/sh\necho no json\n",
        "#!/bin/sh\necho '[1]'\n",
        "#!/bin/sh\necho '{\"path\": 5}'\n",
    ],
)
def test_a_python_that_makes_no_sense_costs_only_its_own_facts(client: Client, tmp_path: Path, program: str) -> None:
    fake = tmp_path / "python"
    fake.write_text(program)
    fake.chmod(0o755)
    shown = recorded(client, client.submit("--env", f"PATH={tmp_path}:/usr/bin:/bin", "--", "sh", "-c", "echo ran"))
    assert shown["state"] == "completed"
    assert shown["facts"]["interpreter"] is None and shown["facts"]["packages"] is None and shown["packages"] is None
    assert shown["facts"]["kernel"]


def test_the_python_of_a_script_is_that_of_its_first_line(client: Client, tmp_path: Path) -> None:
    venv.create(tmp_path / "own", symlinks=True, with_pip=False)
    program = client.project / "run"
    for first in (f"{tmp_path}/own/bin/python", f"/usr/bin/env {tmp_path}/own/bin/python"):
        program.write_text(f"#!{first}\nprint(1)\n")
        program.chmod(0o755)
        shown = recorded(client, client.submit("--", "./run"))
        assert shown["facts"]["interpreter"]["prefix"] == str(tmp_path / "own"), first


def test_no_secret_is_recorded(client: Client) -> None:
    subprocess.run(["git", "init", "-q"], cwd=client.project, check=True)
    url = "https://me:hunter2@example.org/team/code.git?private_token=hunter2"
    subprocess.run(["git", "remote", "add", "origin", url], cwd=client.project, check=True)
    client.env["TORCH_LICENSE"] = "hunter2"
    job = client.submit("--secret", "TORCH_LICENSE", "--", "sh", "-c", 'test -n "$TORCH_LICENSE"')
    shown = recorded(client, job)
    assert shown["state"] == "completed"
    assert shown["facts"]["remote"] == "https://example.org/team/code.git"
    assert "hunter2" not in json.dumps(shown)
    for path in (client.home / "agent").rglob("*.json"):
        assert "hunter2" not in path.read_text(errors="replace"), path


def test_seed_and_determinism_reach_the_job(client: Client) -> None:
    show = 'echo "$FOUNDATIONS_SEED $PYTHONHASHSEED $CUBLAS_WORKSPACE_CONFIG $FOUNDATIONS_DETERMINISTIC"'
    job = client.submit("--job-seed", "4294967295", "--deterministic", "--", "sh", "-c", show)
    shown = recorded(client, job)
    assert client.run("logs", job).stdout.strip() == "4294967295 4294967295 :4096:8 1"
    assert shown["facts"]["deterministic"] is True
    job = client.submit("--", "sh", "-c", show)
    recorded(client, job)
    assert client.run("logs", job).stdout.strip() == ""
    assert "takes" in client.run("submit", "--job-seed", "4294967296", "--", "true", code=2).stderr


def test_each_attempt_has_its_facts(client: Client) -> None:
    job = client.submit("--retries", "1", "--retry-on", "failed", "--", "false")
    shown = recorded(client, job)
    assert shown["facts"]["kernel"] == shown["attempts"][0]["facts"]["kernel"]
    assert shown["attempts"][0]["facts"]["recorded_at"] < shown["facts"]["recorded_at"]


def test_a_job_without_facts_is_no_difference(client: Client) -> None:
    one, other = (client.submit("--job-seed", str(n), "--", "true") for n in (1, 2))
    recorded(client, one), recorded(client, other)
    with contextlib.closing(sqlite3.connect(client.home / "store.db")) as conn, conn:
        conn.execute("DELETE FROM attempt_facts WHERE job = ?", [one])
    lines = client.json("compare", one, other)["lines"]
    facts_lines = [line for line in lines if line["kind"] in ("machine", "package", "python", "variable")]
    assert [(line["name"], line["values"]) for line in facts_lines] == [("facts", ["not recorded", "recorded"])]
    assert client.json("show", one)["facts"] is None


def test_the_driver_and_cuda_come_from_nvidias_own_table() -> None:
    assert inventory.parse_versions((DATA / "nvidia-versions.txt").read_text()) == ("550.127.05", "12.4")
    assert inventory.parse_versions("| NVIDIA-SMI 390.157  Driver Version: 390.157 |") == ("390.157", "")
    assert inventory.parse_versions((DATA / "garbage.bin").read_text(errors="replace")) == ("", "")


@pytest.mark.parametrize(
    "line", [b"", b"[]", b"null", b"{", b'{"version": 0}', b'{"packages": "../../x", "cpus": -1, "gpus": [1]}']
)
def test_facts_that_make_no_sense_are_unknown(line: bytes) -> None:
    found = facts.facts_of(line)
    assert found is None or (found.packages is None and found.cpus is None and found.gpus is None)


def test_packages_are_taken_only_as_their_hash_says() -> None:
    data = facts.packages_text([("python", "b", "1", ""), ("python", "a", "2", "")])
    digest = facts.packages_hash(data)
    assert facts.packages_of(data, digest) == [("python", "a", "2", ""), ("python", "b", "1", "")]
    for wrong in (data + b" ", b"", b"[" * 100_000):
        with pytest.raises(BadRequest):
            facts.packages_of(wrong, digest)
    injected = [
        ["python", "x", "1\n--index-url http://evil", ""],
        ["conda\n", "x", "1", ""],
        ["python", "x\ny", "1", ""],
    ]
    injected += [["python", "x", "1", "\udc80"], ["python", "x", "1", "a\nb"]]
    nonsense = json.dumps(
        [["python", "a"], 5, ["python", "x\0", "1", ""], *injected, ["python", "c", "1", ""]]
    ).encode()
    assert facts.packages_of(nonsense, facts.packages_hash(nonsense)) == [("python", "c", "1", "")]


def test_setup_lines_give_no_secret_away(client: Client, sshd: Sshd) -> None:
    client.add_host("box", sshd, setup="export OMP_COPY=x$TORCH_HOME")
    client.env["TORCH_HOME"] = "hunter2"
    job = client.submit("--host", "box", "--secret", "TORCH_HOME", "--", "sh", "-c", 'test -n "$OMP_COPY"')
    shown = recorded(client, job)
    assert shown["state"] == "completed" and shown["facts"]["variables"] and "hunter2" not in json.dumps(shown)


def test_what_a_job_puts_into_the_cache_of_interpreters_costs_no_later_job(client: Client) -> None:
    command = ("--", sys.executable, "-c", "1")
    first = recorded(client, client.submit(*command))
    folder = client.home / "agent" / "interpreters"
    for path in folder.iterdir():
        path.unlink()
        if path.suffix == ".packages":
            os.mkfifo(path)
        else:
            path.write_text(
                '{"told": {"path": "\\u0000"}, "folders": ["\\ud800"], "decide": ["\\u0000"], "states": [""]}'
            )
    again = recorded(client, client.submit(*command))
    assert again["state"] == "completed" and again["facts"]["kernel"]
    assert first["facts"]["packages"]


def test_a_first_package_of_the_user_and_a_path_file_are_seen(client: Client, tmp_path: Path) -> None:
    home = tmp_path / "of-user"
    home.mkdir()
    given = ("--env", f"HOME={home}", "--env", "PYTHONNOUSERSITE=", "--")
    venv.create(tmp_path / "own", symlinks=True, with_pip=False, system_site_packages=True)
    python = str(tmp_path / "own" / "bin" / "python")
    assert "latecomer" not in versions(recorded(client, client.submit(*given, python, "-c", "1")))
    ask = [python, "-c", "import site; print(site.getusersitepackages())"]
    env = {**os.environ, "HOME": str(home)}
    user = Path(subprocess.run(ask, env=env, capture_output=True, text=True, check=True).stdout.strip())
    add_package(user, "latecomer", "1.0")
    assert versions(recorded(client, client.submit(*given, python, "-c", "1")))["latecomer"] == "1.0"
    add_package(tmp_path / "far", "by_path", "2")
    site = next((tmp_path / "own").glob("lib/*/site-packages"))
    (site / "far.pth").write_text(f"{tmp_path}/far\n")
    assert versions(recorded(client, client.submit(*given, python, "-c", "1")))["by-path"] == "2"


def test_packages_below_a_relative_path_are_those_of_the_job_itself(client: Client) -> None:
    found = []
    for version in ("1.0", "2.0"):
        shutil.rmtree(client.project / "src", ignore_errors=True)
        add_package(client.project / "src", "mine", version)
        job = client.submit("--env", "PYTHONPATH=src", "--", sys.executable, "-c", "1")
        found.append(versions(recorded(client, job))["mine"])
    assert found == ["1.0", "2.0"]


@pytest.mark.rest
def test_an_interpreter_that_never_answers_or_never_stops_is_waited_for_once(client: Client, tmp_path: Path) -> None:
    for number, line in enumerate(("sleep 600 & sleep 600", "yes")):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "python").write_text(f"#!/bin/sh\n{line}\n")
        (folder / "python").chmod(0o755)
        env = ("--env", f"PATH={folder}:/usr/bin:/bin")
        before: list[dict[Path, int]] = []
        for _ in range(2):
            shown = recorded(client, client.submit(*env, "--", "sh", "-c", "echo ran"))
            assert shown["facts"]["interpreter"] is None and shown["state"] == "completed"
            assert client.run("logs", shown["job"]).stdout == "ran\n", "nothing of the interpreter is left to be ended"
            asked = {path: path.stat().st_mtime_ns for path in (client.home / "agent" / "interpreters").iterdir()}
            before.append(asked)
        assert before[-1] == before[-2], "it was not asked again"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://u:p@ss@host/x.whl", "https://host/x.whl"),
        ("https://h:8080/x.whl?X-Amz-Signature=abc#egg=1", "https://h:8080/x.whl"),
        ("https://u:p/w@h/x", "https://h/x"),
        ("ssh://git@h/x@main", "ssh://h/x@main"),
        ("https://[::1]:8080/x@v1", "https://[::1]:8080/x@v1"),
        ("git@h:x", "git@h:x"),
        ("file:///a/b", "file:///a/b"),
    ],
)
def test_urls_are_shown_without_credentials(url: str, shown: str) -> None:
    assert without_credentials(url) == shown
