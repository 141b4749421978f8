"""Runs outside of jobs: real scripts, started by hand, killed, interrupted, as modules, in several ranks."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from foundations import inplace
from foundations_tui.config import locations
from tests.support.client import Client, wait_until
from tests.support.paths import ROOT


def start(
    client: Client, *words: str, env: dict[str, str] | None = None, program: str = sys.executable
) -> subprocess.Popen[str]:
    """Start a Python process in the project's folder as a user would."""
    own = {k: v for k, v in os.environ.items() if not k.startswith("FOUNDATIONS_") and k != "PYTEST_CURRENT_TEST"}
    own.update(client.env, PYTHONPATH=str(ROOT), **(env or {}))
    own.pop("FOUNDATIONS_TRACK", None) if not env or "FOUNDATIONS_TRACK" not in env else None
    return subprocess.Popen(
        [program, *words],
        cwd=client.project,
        env=own,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def script(client: Client, text: str) -> str:
    (client.project / "train.py").write_text("import foundations, os, sys\n" + text)
    return "train.py"


def the_run(client: Client) -> dict[str, Any]:
    (found,) = client.json("jobs")
    return dict(found)


ENDS = [
    ("pass", 0, "completed", "finished", None),
    ("raise ValueError('no such shape')", 1, "failed", "exit code 1", "ValueError: no such shape"),
    (r"raise ValueError('a\0b\udc80')", 1, "failed", "exit code 1", r"ValueError: a\0b\udc80"),
    ("sys.exit(3)", 3, "failed", "exit code 3", None),
    ("def main(): sys.exit('bad')\nmain()", 1, "failed", "exit code 1", None),
    ("sys.exit()", 0, "completed", "finished", None),
    ("try: sys.exit(3)\nexcept SystemExit: pass\nprint(1)", 0, "completed", "", None),
    ("try: sys.exit(5)\nfinally: print(1)", 5, "failed", "exit code 5", None),
    ("try: sys.exit(3)\nexcept SystemExit: print(1)\nsys.exit(6)", 6, "failed", "exit code 6", None),
    ("os._exit(0)", 0, "lost", "its process was killed", None),
]


@pytest.mark.parametrize(("text", "code", "state", "reason", "cause"), ENDS)
def test_how_a_run_ends(client: Client, text: str, code: int, state: str, reason: str, cause: str | None) -> None:
    process = start(client, script(client, "foundations.set_tag('x')\n" + text), "--lr", "0.1")
    _, errors = process.communicate(timeout=30)
    assert process.returncode == code, errors
    run = the_run(client)
    assert (run["state"], run["kind"], run["host"], run["project"]) == (state, "run", "local", client.project.name)
    assert run["reason"].startswith(reason) and (run["cause"] or {}).get("words") == cause
    assert run["args"] == {"lr": 0.1} and run["command"][1:] == ["train.py", "--lr", "0.1"]
    assert the_run(client) == {
        **run,
        "duration": the_run(client)["duration"],
        "data_as_of": the_run(client)["data_as_of"],
    }
    assert not os.listdir(locations.data_folder() / "runs" / "new")


def pythons() -> dict[int, str]:
    """Return the Pythons of this machine that the SDK promises to work with, by their minor version."""
    programs = [shutil.which(f"python3.{minor}") for minor in range(8, 15)]
    programs += map(str, Path.home().glob(".pyenv/versions/3.*/bin/python3"))
    found = {}
    for program in filter(None, programs):
        asked = subprocess.run(
            [program, "-c", "import sys; print(sys.version_info[1])"], capture_output=True, text=True
        )
        if asked.returncode == 0 and int(asked.stdout) >= 8:
            found[int(asked.stdout)] = program
    return found


@pytest.mark.slow
@pytest.mark.rest
def test_ends_are_seen_by_every_python(client: Client) -> None:
    for minor, program in pythons().items():
        for text, code, state, _, _ in [*ENDS, ("raise SystemExit(4)", 4, "failed", "", None)]:
            process = start(client, script(client, "foundations.set_tag('x')\n" + text), program=program)
            _, errors = process.communicate(timeout=30)
            assert process.returncode == code, errors
            run = client.json("jobs", "--limit", "1")[0]
            if "raise SystemExit" in text and minor < 12:
                assert run["exit_code"] is None and "not seen before Python 3.12" in run["reason"]
            else:
                known = code if state != "lost" else None
                assert (run["state"], run["exit_code"]) == (state, known), (program, text)


def test_records_of_a_run_are_seen_while_it_runs_and_after_a_kill(client: Client) -> None:
    code = "import time\nfor i in range(3): foundations.log_metric('loss', i)\nprint('up', flush=True)\ntime.sleep(60)"
    process = start(client, script(client, code))
    assert process.stdout is not None and process.stdout.readline() == "up\n"
    run = the_run(client)
    assert run["state"] == "running" and run["metrics"]["loss"]["count"] == 3
    process.kill()
    process.wait()
    run = the_run(client)
    assert run["state"] == "lost" and run["metrics"]["loss"]["last"] == 2
    assert "no captured log" in client.run("logs", run["job"], code=3).stderr


def test_ctrl_c_is_stopped_and_stop_ends_a_run(client: Client) -> None:
    code = "import time\nfoundations.set_tag('x')\nprint('up', flush=True)\ntime.sleep(60)"
    process = start(client, script(client, code))
    assert process.stdout is not None and process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    run = the_run(client)
    assert (run["state"], run["reason"]) == ("stopped", "stopped with Ctrl-C")
    process = start(client, script(client, code))
    assert process.stdout is not None and process.stdout.readline() == "up\n"
    running = client.json("jobs", "--state", "running")[0]["job"]
    client.run("stop", running)
    assert process.wait(30) == -signal.SIGTERM
    wait_until(lambda: client.json("show", running)["state"] == "lost")
    client.run("delete", running, "--now", "--yes")
    assert [one["job"] for one in client.json("jobs")] == [run["job"]]
    assert not (locations.data_folder() / "runs" / "jobs" / running).exists()


def test_a_module_a_given_id_and_a_second_attempt(client: Client) -> None:
    package = client.project / "pkg"
    package.mkdir()
    (package / "__main__.py").write_text(
        "import foundations, sys\nfoundations.log_param('n', sys.argv[1])\nprint(foundations.job_id())"
    )
    (client.project / "foundations.toml").write_text('# mine\nproject = "digits"\n')
    for n in ("1", "2"):
        process = start(client, "-m", "pkg", n, env={"FOUNDATIONS_JOB_ID": "my-run"})
        assert process.communicate(timeout=30)[0] == "my-run\n"
    run = the_run(client)
    assert (run["job"], run["project"], run["attempt"], run["params"]) == ("my-run", "digits", 2, {"n": "2"})
    assert [past["state"] for past in run["attempts"]] == ["completed"]
    assert run["command"][1:4] == ["-m", "pkg", "2"]


def test_ranks_of_one_launcher_are_one_run(client: Client) -> None:
    script(
        client, "import os\nfoundations.log_param('seed', 1)\nfoundations.log_metric('loss', int(os.environ['RANK']))"
    )
    launch = (
        "import os, subprocess, sys\n"
        "ranks = [subprocess.Popen([sys.executable, 'train.py'], env={**os.environ, 'RANK': str(n), 'WORLD_SIZE': '4'})"
        " for n in range(4)]\n"
        "sys.exit(max(rank.wait() for rank in ranks))"
    )
    process = start(client, "-c", launch)
    assert process.communicate(timeout=60)[1] == "" and process.returncode == 0
    run = the_run(client)
    assert run["state"] == "completed" and run["metrics"]["loss"]["count"] == 4 and run["params"] == {"seed": 1}


@pytest.mark.parametrize("env", [{"FOUNDATIONS_TRACK": "off"}, {"PRETEND": "pytest"}])
def test_nothing_is_tracked_when_that_is_wished(client: Client, env: dict[str, str]) -> None:
    text = "foundations.log_metric('x', 1); foundations.log_param('x', 1); foundations.set_tag('t')\n"
    text += "print(foundations.job_id())"
    if "PRETEND" in env:
        (client.project / "train.py").write_text("import pytest, foundations\n" + text)
    else:
        script(client, text)
    process = start(client, "train.py", env=env)
    out, errors = process.communicate(timeout=30)
    assert (out, errors, process.returncode) == ("None\n", "", 0)
    assert client.json("jobs") == [] and not (locations.data_folder() / "runs").exists()


def test_a_folder_that_cannot_be_made_gives_one_warning(client: Client) -> None:
    (locations.data_folder() / "runs").write_text("in the way")
    process = start(client, script(client, "for i in range(9): foundations.log_metric('x', i)\nprint('trained')"))
    out, errors = process.communicate(timeout=30)
    assert out == "trained\n" and errors.count("this run is not tracked") == 1 and process.returncode == 0
    (locations.data_folder() / "runs").unlink()


def test_a_wiped_store_takes_the_runs_in_again(client: Client) -> None:
    start(client, script(client, "foundations.log_metric('loss', 2)")).communicate(timeout=30)
    run = the_run(client)
    for path in locations.data_folder().glob("store.db*"):
        path.unlink()
    assert the_run(client)["metrics"] == run["metrics"]


def test_the_sdk_and_the_client_mean_the_same_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert inplace.data_folder() == str(locations.data_folder())
    monkeypatch.delenv("FOUNDATIONS_HOME")
    for name, value in (("XDG_DATA_HOME", str(tmp_path / "xdg")), ("HOME", str(tmp_path)), ("XDG_DATA_HOME", "")):
        monkeypatch.setenv(name, value)
        assert inplace.data_folder() == str(locations.data_folder())


def test_a_script_without_records_costs_nothing_to_list(client: Client) -> None:
    start(client, script(client, "print(1)")).communicate(timeout=30)
    assert client.json("jobs") == [] and not (locations.data_folder() / "runs").exists()
    shutil.rmtree(client.project / "__pycache__", ignore_errors=True)


def test_threads_that_log_first_at_the_same_time_are_one_run(client: Client) -> None:
    code = (
        "import threading\nbarrier = threading.Barrier(4)\n"
        "def work(n):\n    barrier.wait()\n    for i in range(3): foundations.log_metric(f't{n}', i)\n"
        "threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n"
    )
    start(client, script(client, code)).communicate(timeout=30)
    assert {key: metric["count"] for key, metric in the_run(client)["metrics"].items()} == {
        f"t{n}": 3 for n in range(4)
    }


def test_an_excepthook_of_somebody_else_hides_no_failure(client: Client) -> None:
    hook = "foundations.set_tag('x')\nsys.excepthook = lambda *_: print('shown')\n"
    start(client, script(client, hook + "raise ValueError('bad')")).communicate(timeout=30)
    assert (the_run(client)["state"], the_run(client)["cause"]["words"]) == ("failed", "ValueError: bad")
    handled = "foundations.set_tag('y')\ntry: 1 / 0\nexcept ZeroDivisionError: sys.excepthook(*sys.exc_info())\n"
    start(client, script(client, handled)).communicate(timeout=30)
    assert client.json("jobs", "--where", "tag:y")[0]["state"] == "completed"


def test_a_child_that_outlives_the_run_is_heard_to_its_end(client: Client) -> None:
    child = "import time, foundations\nfor i in range(4): foundations.log_metric('child', i); time.sleep(0.4)\n"
    (client.project / "child.py").write_text(child)
    code = "import subprocess\nfoundations.set_tag('x')\nsubprocess.Popen([sys.executable, 'child.py'])\n"
    start(client, script(client, code)).wait(timeout=30)
    assert the_run(client)["state"] == "completed"
    wait_until(lambda: the_run(client)["metrics"].get("child", {}).get("count") == 4)
    wait_until(lambda: bool(the_run(client)) and not os.listdir(locations.data_folder() / "runs" / "new"))


def test_a_process_that_becomes_another_program_is_the_same_run(client: Client) -> None:
    code = (
        "if len(sys.argv) == 1:\n    foundations.log_metric('a', 1)\n"
        "    os.execv(sys.executable, [sys.executable, __file__, '2'])\n"
        "foundations.log_metric('b', 2)\n"
    )
    start(client, script(client, code)).communicate(timeout=30)
    assert the_run(client)["state"] == "completed" and set(the_run(client)["metrics"]) == {"a", "b"}


def test_warnings_as_errors_end_no_training(client: Client) -> None:
    code = "foundations.log_metric('a', 'x' * 300_000)\nfoundations.log_metric('b', 1)\nprint('trained')"
    out, errors = start(client, "-W", "error", script(client, code)).communicate(timeout=30)
    assert out == "trained\n" and "is left out" in errors and set(the_run(client)["metrics"]) == {"b"}


CHILDREN = """
import multiprocessing, sys, time, foundations

def work(n):
    time.sleep(0.3 * (%(when)r == "first"))
    foundations.log_metric("child", n)
    foundations.set_tag(f"by {n}")

def deeper(n):
    child = multiprocessing.get_context(%(method)r).Process(target=work, args=(n,))
    child.start()
    child.join()

if __name__ == "__main__":
    context = multiprocessing.get_context(%(method)r)
    if %(when)r == "before":
        foundations.log_metric("own", 5)
    children = [context.Process(target=deeper if %(when)r == "deep" else work, args=(n,)) for n in range(3)]
    for child in children: child.start()
    if %(when)r == "first":
        foundations.log_metric("own", 5)
    for child in children: child.join()
    if %(when)r == "last":
        foundations.log_metric("own", 5)
    sys.exit(3)
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("when", ["never", "before", "first", "last"])
def test_children_of_multiprocessing_are_one_run_of_their_script(client: Client, method: str, when: str) -> None:
    (client.project / "train.py").write_text(CHILDREN % {"method": method, "when": when})
    process = start(client, "train.py")
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 3, said
    run = the_run(client)
    assert run["metrics"]["child"]["count"] == 3 and set(run["tags"]) == {"by 0", "by 1", "by 2"}
    assert run["command"][-1] == "train.py" and run["attempt"] == 1
    if when == "never":
        assert (run["state"], run["exit_code"]) == ("completed", None) and "only child processes" in run["reason"]
    else:
        assert (run["state"], run["exit_code"]) == ("failed", 3) and run["metrics"]["own"]["last"] == 5
    process = start(client, "train.py")
    process.communicate(timeout=60)
    assert len(client.json("jobs")) == 2


def test_children_of_children_are_part_of_the_run(client: Client) -> None:
    (client.project / "train.py").write_text(CHILDREN % {"method": "spawn", "when": "deep"})
    start(client, "train.py").communicate(timeout=60)
    assert the_run(client)["metrics"]["child"]["count"] == 3


@pytest.mark.parametrize(
    ("work", "state", "words"),
    [
        ("raise ValueError('no such shape')", "failed", "a child raised ValueError: no such shape"),
        ("sys.exit('bad')", "failed", "a child raised SystemExit: bad"),
        ("sys.exit()", "completed", "only child processes"),
        ("os.kill(os.getpid(), 9)", "completed", "only child processes"),
        ("os.kill(os.getppid(), 9)", "lost", "its end was not seen"),
    ],
)
def test_how_children_ended_is_how_their_run_did(client: Client, work: str, state: str, words: str) -> None:
    (client.project / "train.py").write_text(f"""
import foundations, multiprocessing, os, sys

def work():
    foundations.log_metric("loss", 1)
    {work}

if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=work)
    child.start()
    child.join()
""")
    start(client, "train.py").communicate(timeout=60)
    run = the_run(client)
    assert run["state"] == state and words in run["reason"]


@pytest.mark.parametrize(
    ("ends", "state", "words"),
    [
        ("", "completed", "only child processes"),
        ("raise ValueError('no such shape')", "failed", "exit code 1"),
    ],
)
def test_a_pool_of_processes_ends_as_its_script_does(client: Client, ends: str, state: str, words: str) -> None:
    """A pool ends its processes by a signal."""
    (client.project / "train.py").write_text(f"""
import multiprocessing, foundations

def work(n):
    foundations.log_metric("x", n)

if __name__ == "__main__":
    with multiprocessing.Pool(2) as pool:
        pool.map(work, range(4))
    {ends}
""")
    start(client, "train.py").communicate(timeout=60)
    run = the_run(client)
    assert run["state"] == state and words in run["reason"] and run["metrics"]["x"]["count"] == 4
