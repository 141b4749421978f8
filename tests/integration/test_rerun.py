"""Running a job again: its own code wherever one stands, its options and environment, and what is changed of it."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from pathlib import Path

from foundations_tui.store import queries
from foundations_tui.ui.input import job_form
from tests.support import agents
from tests.support.client import FOUNDATIONS, Client
from tests.support.screen import Tmux
from tests.support.sshd import Sshd

TRAIN = """import json, os, sys
print(sys.argv[1:], os.environ.get("LEVEL"), json.load(open("foundations_job_parameters.json")))
"""


def project(client: Client) -> None:
    (client.project / "train.py").write_text(TRAIN)


def rerun(client: Client, *words: str, code: int = 0) -> str:
    return str(client.run("rerun", *words, code=code).stdout.split()[0])


def log(client: Client, job: str) -> str:
    client.run("wait", job, code=None)
    return str(client.run("logs", job).stdout)


def test_a_rerun_has_the_code_of_its_job_wherever_one_stands(client: Client, tmp_path: Path) -> None:
    (client.project / "foundations.toml").write_text(
        'project = "p"\n[env]\nLEVEL = "3"\n[outputs]\ncollect = ["*.pt"]\n[metrics.direction]\nloss = "min"\n'
    )
    (client.project / "sub").mkdir()
    (client.project / "sub" / "train.py").write_text(TRAIN)
    options = ("--dir", "sub", "--name", "first", "--tag", "a=1", "--param", "lr=0.1", "--env", "OWN=x", "--nice", "3")
    first = client.submit(*options, "--", "python", "train.py", "x")
    (client.project / "sub" / "train.py").write_text("print('changed')\n")
    (client.project / "foundations.toml").unlink()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    again = str(client.run("rerun", first, "--tag", "b=2", cwd=elsewhere).stdout.split()[0])
    assert log(client, again) == log(client, first) == "['x'] 3 {'lr': 0.1}\n"
    one, other = client.json("show", first), client.json("show", again)
    same = set(one["spec"]) - {"job", "created_at", "tags", "code_of"}
    assert {name: other["spec"][name] for name in same} == {name: one["spec"][name] for name in same}
    assert other["tags"] == {"a": "1", "b": "2"} or other["tags"] == {"a": 1, "b": 2}
    assert (other["rerun_of"], one["reruns"], one["rerun_of"]) == (first, [again], None)
    assert f"rerun of   {first}" in client.run("show", again).stdout
    assert again in client.run("show", first).stdout
    third = rerun(client, again)
    assert client.json("show", third)["rerun_of"] == again and log(client, third) == log(client, first)


def test_parameters_fill_the_placeholders_of_a_sweep_again(client: Client) -> None:
    project(client)
    command = ("--", "python", "train.py", "--lr", "{lr}", "--bs", "{bs}")
    jobs = client.json("submit", "--param", "bs=4", "--sweep", "lr=0.5,0.25", *command)
    first = jobs[0]["job"]
    again = rerun(client, first, "--param", "lr=1e-3")
    assert log(client, again) == "['--lr', '1e-3', '--bs', '4'] None {'bs': 4, 'lr': 0.001}\n"
    assert log(client, rerun(client, again, "--param", "bs=8")).startswith("['--lr', '1e-3', '--bs', '8']")
    swept = client.json("rerun", first, "--sweep", "bs=1,2")
    assert sorted(log(client, job["job"])[:32] for job in swept) == [
        "['--lr', '0.5', '--bs', '1'] Non",
        "['--lr', '0.5', '--bs', '2'] Non",
    ]


def test_an_unchanged_rerun_has_the_very_words_of_its_command(client: Client) -> None:
    project(client)
    command = ("--", "python", "train.py", "--lr={lr}", "{none}", "{a}-{b}", "{{x}}", "{}")
    axes = ("--sweep", "lr=1e-4,1_0", "--sweep", "none=A,", "--param", "a=1.50", "--param", "b=0x1")
    for job in client.json("submit", *axes, *command):
        client.run("wait", job["job"])
        again = rerun(client, job["job"])
        assert client.json("show", again)["command"] == client.json("show", job["job"])["command"]


def test_a_parameter_that_reaches_nothing_is_refused(client: Client) -> None:
    project(client)
    first = client.submit("--param", "seen=1", "--param", "lr=2", "--", "python", "train.py", "--lr", "2")
    refused = client.run("rerun", first, "--param", "other=1", code=2)
    assert "reaches nothing" in refused.stderr and "it had: seen, lr" in refused.stderr
    refused = client.run("rerun", first, "--param", "lr=3", code=2)
    assert "the command itself says lr = 2" in refused.stderr
    assert "{'seen': 5, 'lr': 2}" in log(client, rerun(client, first, "--param", "seen=5"))
    assert "'other': 1" in log(client, rerun(client, first, "--param", "other=1", "--param-only"))
    other = rerun(client, first, "--param", "lr=7", "--", "python", "train.py", "--lr", "{lr}")
    assert log(client, other).startswith("['--lr', '7']")
    assert len(client.json("jobs")) == 4, "what was refused left nothing behind"


def test_the_command_and_parameters_are_changed_in_an_editor(client: Client, tmp_path: Path) -> None:
    project(client)
    first = client.submit("--param", "lr=1", "--", "python", "train.py")
    assert "--edit opens an editor" in client.run("rerun", first, "--edit", code=2).stderr
    assert "either --edit or" in client.run("rerun", first, "--edit", "--", "true", code=2).stderr
    for change, end in (('s/: 1/: 5/; s/train.py/&", "more/', '"state"'), ("s/:/;/", "is no JSON")):
        folder = tmp_path / str(len(end))
        folder.mkdir()
        window = Tmux(folder, 90, 24)
        try:
            env = {**client.env, "EDITOR": f"sed -i '{change}'", "TERM": "xterm-256color"}
            window.start([*FOUNDATIONS, "rerun", first, "--edit", "--json", "--wait"], env, client.project)
            window.until(lambda shown: end in shown)  # noqa: B023 - it is over before the next
        finally:
            window.close()
    again = client.json("jobs")[0]["job"]
    assert len(client.json("jobs")) == 2 and log(client, again) == "['more'] None {'lr': 5}\n"


def test_a_rerun_after_its_host_and_the_work_tree_are_gone(client: Client, sshd: Sshd) -> None:
    project(client)
    client.add_host("box", sshd)
    first = client.submit("--host", "box", "--param", "n=1", "--", "python", "train.py")
    expected = log(client, first)
    shutil.rmtree(client.project)
    client.project.mkdir()
    agents.end(client.home / "agent")
    moved = rerun(client, first, "--host", "local")
    assert log(client, moved) == expected
    found = client.json("show", moved)
    assert found["host"] == "local" and found["snapshot"] == client.json("show", first)["snapshot"]
    client.run("hosts", "remove", "box", "--yes", code=None)
    assert log(client, rerun(client, first, "--host", "local")) == expected


def test_secrets_are_read_anew_or_missed(client: Client) -> None:
    client.env["HF_TOKEN"] = "one"
    first = client.submit("--secret", "HF_TOKEN", "--", "sh", "-c", 'test "$HF_TOKEN" = two')
    assert client.run("wait", first, code=None).code == 1
    client.env["HF_TOKEN"] = "two"
    assert client.run("wait", rerun(client, first), code=None).code == 0
    del client.env["HF_TOKEN"]
    assert "there is no such variable here" in client.run("rerun", first, code=2).stderr


def test_dry_run_json_and_shell_commands(client: Client) -> None:
    project(client)
    first = client.submit("--shell", "--", "echo one | tr o 0")
    shown = json.loads(client.run("rerun", first, "--dry-run", "--json").stdout)
    assert shown["snapshot"] == client.json("show", first)["snapshot"] and shown["files"] == 1
    done = client.run("rerun", first, "--wait", "--json")
    assert log(client, json.loads(done.stdout)[0]["job"]) == "0ne\n"
    assert "no job" in client.run("rerun", "nonexistent", code=3).stderr
    client.run("submit", "--code-of", first, "--dir", "/tmp", "--", "true", code=2)


def test_options_that_are_given_win_also_where_they_are_the_default(client: Client) -> None:
    given = ("--retries", "3", "--time-limit", "60", "--cpus", "2", "--priority", "4")
    first = client.submit(*given, "--", "true")
    spec = client.json("show", rerun(client, first, "--retries", "0", "--time-limit", "0", "--cpus", "1"))["spec"]
    assert (spec["retries"], spec["time_limit"], spec["cpus"], spec["priority"]) == (0, 0, 1, 4)


def test_braces_that_nothing_filled_stay(client: Client) -> None:
    first = client.submit("--param", "lr=0.1", "--", "echo", "{lr}", "{{lr}}", "{}")
    assert log(client, rerun(client, first)) == log(client, first) == "{lr} {{lr}} {}\n"
    assert log(client, rerun(client, first, "--param", "lr=5")) == "{lr} {{lr}} {}\n"


def test_variables_of_a_shell_are_todays_and_those_that_were_given_stay(client: Client) -> None:
    client.env.update(LC_TIME="C", TZ="UTC")
    first = client.submit("--env", "LC_NUMERIC=C", "--", "sh", "-c", "echo $LC_TIME $LC_NUMERIC $TZ")
    assert log(client, first) == "C C UTC\n"
    client.env.update(LC_TIME="POSIX", TZ="Asia/Tokyo", LC_NUMERIC="POSIX")
    assert log(client, rerun(client, first)) == "POSIX C Asia/Tokyo\n"


def test_the_form_of_a_job_ships_its_own_code_and_shows_its_placeholders(client: Client) -> None:
    project(client)
    swept = client.json("submit", "--sweep", "lr=0.5,", "--", "python", "train.py", "{lr}")
    job = swept[0]["job"]
    with contextlib.closing(sqlite3.connect(client.home / "store.db")) as conn:
        conn.row_factory = sqlite3.Row
        form = job_form.of_job(queries.job(conn, job), queries.spec(conn, job))
    assert form["command"].replace("'", "") == "python train.py {lr}" and form["params"] == "lr=0.5"
    assert form["options"] == f"--code-of {job}"
    assert job_form.doubts(form, ()) == [f"ships the code of {job[:6]}, not that of a folder"]
    assert job_form.doubts({"options": "--code-of"}, ()) == job_form.doubts({"options": "'"}, ()) == []
    again = client.submit(*job_form.submit_words({**form, "params": "lr=0.25"}))
    assert log(client, again).startswith("['0.25']") and client.json("show", again)["rerun_of"] == job
