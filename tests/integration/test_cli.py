"""The command line on this machine: what a user types, what comes back, what bad input says."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from foundations_tui.cli.registry import VERBS_BY_HEADING
from foundations_tui.store import queries
from foundations_tui.store.db import Store
from remote_agent.protocol.jobs import JobSpec
from tests.support.client import FOUNDATIONS, Client, wait_until
from tests.support.sshd import Sshd

JOB_FIELDS = set(
    "job name project owner host host_state state reason_code reason exit_code attempt command params metrics tags"
    " gpus_requested gpus snapshot created_at queued_at started_at ended_at duration data_as_of"
    " signal cause usage priority group after after_any time_limit retries attempts estimated_start outputs pruned"
    " cpus_requested gpu_memory_requested kind note starred archived trashed_at stalled_since story"
    " args artifacts uses".split()
)


def script(client: Client, text: str, name: str = "job.py") -> None:
    (client.project / name).write_text(text)


def test_one_job_in_full(client: Client) -> None:
    script(
        client,
        "import os, sys, foundations\n"
        "print(os.getcwd()); print(sys.argv[1:])\n"
        "names = ('FOUNDATIONS_PROJECT_NAME', 'FOUNDATIONS_ATTEMPT', 'PYTHONUNBUFFERED', 'MINE')\n"
        "print(*(os.environ[k] for k in names))\n"
        "print(os.environ['FOUNDATIONS_JOB_ID'])\n"
        "foundations.log_param('seed', 3); foundations.set_tag('kind', 'cnn')\n"
        "for v in (1.0, float('nan'), 0.5): foundations.log_metric('loss', v)\n"
        "foundations.log_metric('note', 'text')\n",
    )
    words = ["--project", "p", "--name", "n", "--env", "MINE=a b", "--param", "lr=0.1", "--param", "s=plain"]
    words += ["--tag", "t", "--tag", "u=v", "--", "python", "job.py", "a b", "$HOME", ""]
    first = client.json("submit", *words)
    assert set(first[0]) == {"job", "project", "host", "snapshot", "state"} and first[0]["state"] == "queued"
    assert client.run("wait", "n").stdout == ""
    job = client.json("show", "n", "--sync")
    assert set(job) == JOB_FIELDS | {"spec", "facts", "packages", "rerun_of", "reruns", "models"}
    assert (job["state"], job["exit_code"], job["project"], job["name"]) == ("completed", 0, "p", "n")
    assert job["params"] == {"lr": 0.1, "s": "plain", "seed": 3}
    assert job["tags"] == {"t": "", "u": "v", "kind": "cnn"}
    assert job["metrics"]["loss"] == {"first": 1.0, "last": 0.5, "min": 0.5, "max": 1.0, "count": 3, "step": 2}
    assert job["metrics"]["note"]["last"] == "text"
    lines = client.run("logs", "n").stdout.splitlines()
    assert lines[0].endswith("/work") and lines[1] == "['a b', '$HOME', '']"
    assert lines[2] == "p 1 1 a b" and lines[3] == job["job"]
    values = client.json("metrics", "n", "--key", "loss")
    assert [v["value"] for v in values] == [1.0, "NaN", 0.5] and set(values[0]) == {"key", "step", "value", "time"}
    assert client.json("jobs", "--state", "failed") == []
    assert [p["project"] for p in client.json("projects")] == ["p"]


def test_metrics_are_seen_while_the_job_runs(client: Client) -> None:
    script(client, "import foundations, time\nfoundations.log_metric('x', 1)\nprint('up')\ntime.sleep(60)\n")
    job = client.submit("--", "python", "job.py")
    wait_until(lambda: client.job(job)["metrics"].get("x", {}).get("last") == 1)
    assert client.job(job)["state"] == "running"
    client.run("stop", "--grace", "0", job)


def test_a_subfolder_ships_the_repository(client: Client) -> None:
    import subprocess

    subprocess.run(["git", "init", "-q"], cwd=client.project, check=True)
    (client.project / "sub").mkdir()
    (client.project / "lib.txt").write_text("from above")
    (client.project / "sub/job.py").write_text("print(open('../lib.txt').read())")
    done = client.run("submit", "--dir", "sub", "--follow", "--", "python", "job.py")
    assert "from above" in done.stdout


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["sh", "-c", "exit 7"], 7),
        (["sh", "-c", "kill -9 $$"], 137),
        (["sh", "-c", "kill -TERM $$"], 143),
        (["no-such-command"], 127),
        (["./job.py"], 126),
        (["true"], 0),
    ],
)
def test_the_exit_code_is_the_jobs_own(client: Client, command: list[str], code: int) -> None:
    script(client, "print(1)")
    done = client.run("submit", "--wait", "--", *command, code=code)
    found = client.json("jobs", "--sync")[0]
    assert found["exit_code"] == code and found["state"] == ("failed" if code else "completed")
    if code == 127:
        assert "command not found on the host" in done.stderr and found["reason_code"] == "command_not_found"


def test_wait_gives_the_first_that_is_not_0(client: Client) -> None:
    ids = [client.submit("--", "sh", "-c", f"exit {n}") for n in (0, 5, 3)]
    client.run("wait", *ids, code=5)


def test_shell_only_where_it_is_asked_for(client: Client) -> None:
    assert client.run("submit", "--follow", "--", "echo", "$HOME;ls").stdout == "$HOME;ls\n"
    assert client.run("submit", "--shell", "--follow", "--", "echo $((1+1))").stdout == "2\n"


def test_the_log_is_byte_for_byte(client: Client) -> None:
    script(client, "import sys; sys.stdout.buffer.write(bytes(range(256)) * 400)")
    job = client.submit("--", "python", "job.py")
    client.run("wait", job)
    process: Any = client.start("logs", job, text=False)
    assert process.communicate()[0] == bytes(range(256)) * 400


def test_files_that_a_job_wrote(client: Client, tmp_path: Path) -> None:
    script(
        client,
        "import os\nos.makedirs('runs/x')\nopen('runs/x/model.pt','wb').write(b'w'*100000)\n"
        "open('job.py','a').write('# changed')\nos.symlink('/etc/passwd','leak')\nos.chmod('runs/x/model.pt', 0o755)\n",
    )
    job = client.submit("--", "python", "job.py")
    client.run("wait", job)
    out = tmp_path / "out"
    got = client.json("get", job, "--dest", str(out))
    assert sorted(Path(entry["path"]).name for entry in got) == ["job.py", "model.pt"]
    assert (out / "runs/x/model.pt").stat().st_mode & 0o111
    client.run("get", job, "runs", "--dest", str(tmp_path / "two"))
    assert (tmp_path / "two/runs/x/model.pt").exists()
    client.run("get", job, "--code", "--log", "--dest", str(tmp_path / "three"))
    assert not (tmp_path / "three/code/job.py").read_text().endswith("# changed")
    assert (tmp_path / "three/output.log").exists()
    for path in ("../../../spec.json", "/etc/passwd", "leak"):
        assert "leads out" in client.run("get", job, path, code=2).stderr
        assert "leads out" in client.run("ls", job, path, code=2).stderr
    assert "nowhere" in client.run("get", job, "nowhere", code=3).stderr


def test_what_was_fetched_is_not_shipped_with_the_next_job(client: Client) -> None:
    script(client, "open('big.bin', 'wb').write(b'x' * 1000)\n")
    job = client.submit("--", "python", "job.py")
    client.run("wait", job)
    client.run("get", job)
    assert (client.project / job[:6] / "big.bin").exists()
    assert client.json("submit", "--dry-run", "--", "true")["files"] == 1


def test_a_sweep_can_be_told_apart(client: Client) -> None:
    script(client, "import foundations\nfoundations.log_metric('loss', 0.5)\n")
    for lr in ("0.1", "0.2"):
        client.run("submit", "--wait", "--param", f"lr={lr}", "--", "python", "job.py")
    lines = client.run("jobs", "--sync").stdout.splitlines()
    assert "loss 0.5  lr=0.2" in lines[1] and "loss 0.5  lr=0.1" in lines[2]


def test_init_inside_a_repository_says_what_will_be_shipped(client: Client) -> None:
    assert "inside the repository" not in client.run("init", "one").stderr
    (client.project / ".git").mkdir()
    assert "inside the repository" in client.run("init", "two").stderr


def test_delete_removes_here_and_there(client: Client) -> None:
    job = client.submit("--", "sh", "-c", "echo hi > file")
    client.run("wait", job)
    assert "say --yes" in client.run("delete", "--now", job, code=2).stderr
    client.run("delete", "--now", "--yes", job)
    assert client.json("jobs", "--sync") == []
    wait_until(lambda: not (client.home / "agent/jobs" / job).exists())
    assert not (client.home / "logs" / job).exists()


def test_names_prefixes_and_last(client: Client) -> None:
    ids = [client.submit("--name", "same", "--", "true") for _ in range(2)]
    client.run("wait", *ids)
    failed = client.submit("--", "false")
    client.run("wait", failed, code=1)
    client.run("sync")
    assert client.json("show", ids[0][:6])["job"] == ids[0]
    assert client.json("show", "@last")["job"] == failed == client.json("show", "@last-failed")["job"]
    several = client.run("show", "same", code=2)
    assert all(job in several.stderr for job in ids)
    assert "at least 6" in client.run("show", ids[0][:3], code=3).stderr
    assert client.run("wait", "nothing", code=125).stderr


def test_status_since_the_last_look(client: Client) -> None:
    client.run("wait", client.submit("--", "true"))
    assert "1 job ended" in client.run("status", "--sync").stdout
    assert "0 jobs ended" in client.run("status").stdout
    client.run("wait", client.submit("--", "false"), code=1)
    found = client.json("status", "--sync")
    assert [job["state"] for job in found["ended"]] == ["failed"]


def test_dry_run_asks_no_host(client: Client) -> None:
    script(client, "x" * 5000, "big.py")
    (client.home / "hosts.toml").write_text('[hosts.far]\naddress = "nowhere.invalid"\n')
    found = client.json("submit", "--dry-run", "--host", "far", "--", "true")
    assert found["files"] == 1 and found["bytes"] == 5000 and found["largest"][0]["path"] == "big.py"
    assert "would ship 1 file" in client.run("submit", "--dry-run", "--", "true").stdout


def test_init_makes_a_project_that_runs(client: Client) -> None:
    client.run("init", "digits")
    done = client.run(
        "submit", "--follow", "--param", "epochs=1", "--", "python", "train.py", cwd=client.project / "digits"
    )
    assert "epoch 1/1" in done.stdout
    client.run("sync")
    job = client.json("jobs")[0]
    assert job["project"] == "digits" and 0.5 < job["metrics"]["accuracy"]["last"] <= 1
    assert job["outputs"]["files"] == 1 and job["story"]["text"].startswith("accuracy 0.")
    listed = subprocess.run(["git", "ls-files"], cwd=client.project / "digits", capture_output=True, text=True).stdout
    assert "train.py" in listed and "model.json" not in listed
    assert "not empty" in client.run("init", "digits", code=2).stderr
    client.run("init")
    assert 'project = "project"' in (client.project / "foundations.toml").read_text()
    assert "already" in client.run("init", code=2).stderr


def test_ctrl_c_detaches_and_the_job_runs_on(client: Client) -> None:
    job = client.submit("--", "sh", "-c", "echo one; sleep 3; echo two")
    process = client.start("wait", job)
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130 and "runs on" in stderr and "Traceback" not in stderr
    client.run("wait", job)
    assert client.run("logs", job).stdout == "one\ntwo\n"


def test_a_reader_that_leaves(client: Client) -> None:
    import subprocess
    import sys

    job = client.submit("--", "sh", "-c", "seq 200000")
    client.run("wait", job)
    code = f"{sys.executable} -c 'from foundations_tui.cli.main import main; main()' logs {job} | head -1"
    done = subprocess.run(["sh", "-c", code], env=client.env, capture_output=True, text=True)
    assert done.stdout == "1\n" and done.stderr == ""


def test_a_reader_that_leaves_ends_no_work(client: Client) -> None:
    """Who does not listen any more misses what is said; the verb goes on, and its exit code stays the job's."""
    command = f"{sys.executable} -m foundations_tui submit"
    job = "sh -c 'sleep 0.5; echo a; sleep 0.5; echo b; touch done; exit 5'"
    for line in (f"{command} --follow -- {job} 2>&1 | head -c 1", f"{command} --wait -- {job} 2>&1 | true"):
        shell = ["bash", "-c", f"{line}; exit ${{PIPESTATUS[0]}}"]
        done = subprocess.run(shell, env=client.env, cwd=client.project, capture_output=True, text=True)
        assert done.returncode == 5, done.stderr
        assert client.job("@last")["state"] == "failed"


def seen(client: Client, *words: str) -> str:
    """Return what a verb prints on a terminal."""
    line = shlex.join([*FOUNDATIONS, *words])
    command = ["script", "--quiet", "--return", "--command", f"stty cols 100; {line}", "/dev/null"]
    done = subprocess.run(command, env=client.env, cwd=client.project, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stdout
    return done.stdout.decode()


def test_a_listing_on_a_terminal_looks_at_the_hosts_by_itself(client: Client) -> None:
    job = client.submit("--", "sh", "-c", "sleep 0.1")
    client.run("wait", job)
    with Store().transaction() as conn:  # as it was a minute ago
        conn.execute("UPDATE jobs SET state = 'running'")
        conn.execute("UPDATE hosts SET last_contact = last_contact - 60, seq = 0")
    assert client.json("jobs")[0]["state"] == "running", "a program decides itself"
    assert "running" in client.run("jobs").stdout
    assert "running" in seen(client, "jobs", "--no-sync")
    shown = seen(client, "jobs")
    assert "✓ completed" in shown and "\x1b[1mSTATE" in shown
    assert "completed" in seen(client, "show", job)


@pytest.mark.rest
def test_a_host_that_is_away_is_left_alone_for_a_while(client: Client, own_sshd: Sshd) -> None:
    client.add_host("gpu1", own_sshd)
    job = client.submit("--host", "gpu1", "--", "sleep", "60")
    client.wait_until(job, "running")
    own_sshd.cut()
    client.run("sync", "gpu1", code=4)
    tried = queries.meta(Store().conn, queries.TRIED + "gpu1")
    with Store().transaction() as conn:
        conn.execute("UPDATE hosts SET last_contact = last_contact - 60")
    shown = seen(client, "jobs")
    assert "running ?" in shown and "gpu1 is out of reach since" in shown
    assert queries.meta(Store().conn, queries.TRIED + "gpu1") == tried
    with Store().transaction() as conn:
        conn.execute("UPDATE meta SET value = value - 9999 WHERE key LIKE 'tried:%'")
        conn.execute("UPDATE hosts SET last_contact = last_contact - 60")
    seen(client, "jobs")
    wait_until(lambda: float(queries.meta(Store().conn, queries.TRIED + "gpu1") or 0) > float(tried or 0))


def test_what_a_command_names_and_does_not_travel_is_said(client: Client) -> None:
    (client.project / "train.py").write_text("")
    (client.project / "data.csv").write_text("1")
    assert "warning" not in client.run("submit", "--dry-run", "--", "python", "train.py", "data.csv").stderr
    told = client.run("submit", "--dry-run", "--", "python", "trian.py", "--out", "new.csv").stderr
    assert f"warning: trian.py is not in {client.project}" in told and "new.csv" not in told
    subprocess.run(["git", "init", "-q"], cwd=client.project, check=True)
    (client.project / ".gitignore").write_text("*.csv\n")
    told = client.run("submit", "--dry-run", "--", "python", "train.py", "--data=data.csv").stderr
    assert 'git ignores data.csv, so it is not shipped: [snapshot] include = ["data.csv"]' in told
    (client.project / "foundations.toml").write_text('[snapshot]\ninclude = ["data.csv"]\n')
    assert "git ignores" not in client.run("submit", "--dry-run", "--", "python", "train.py", "data.csv").stderr
    (client.project / "sub" / "deep").mkdir(parents=True)
    (client.project / "sub" / "deep" / "more.csv").write_text("1")
    words = ("submit", "--dry-run", "--", "python", "train.py", "sub/deep/more.csv")
    assert "git ignores sub/deep/more.csv" in client.run(*words).stderr
    (client.project / "foundations.toml").write_text('[snapshot]\ninclude = ["sub/"]\n')
    assert "git ignores" not in client.run(*words).stderr


def test_help_has_all_verbs_below_headings_and_one_kind_of_error(client: Client) -> None:
    told = client.run("--help").stdout
    assert [line for line in told.splitlines() if line.endswith(":") and not line.startswith((" ", "Options"))] == [
        f"{heading}:" for heading in VERBS_BY_HEADING
    ]
    for words in (["jobs", "--bogus"], ["bogus"], ["show"], ["jobs", "--limit", "x"]):
        said = client.run(*words, code=2).stderr
        assert said.startswith("error: ") and "\nhint: foundations" in said, said


def test_python_in_the_job_is_the_configured_one(client: Client, tmp_path: Path) -> None:
    import subprocess
    import sys

    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    (client.home / "hosts.toml").write_text(f'[hosts.local]\npython = "{tmp_path}/venv/bin/python"\n')
    for command in (["python"], ["python3"], ["sh", "-c", 'exec python "$@"', "sh"]):
        done = client.run("submit", "--follow", "--", *command, "-c", "import sys; print(sys.prefix)")
        assert done.stdout.strip() == str(tmp_path / "venv"), command


BAD = [
    (["submit", "--host", "nope", "--", "true"], 3, "unknown host 'nope'"),
    (["submit", "--host", "loca", "--", "true"], 3, "did you mean 'local'"),
    (["submit", "--dir", "nowhere", "--", "true"], 2, "no folder 'nowhere'"),
    (["submit"], 2, "COMMAND"),
    (["submit", "--param", "x", "--", "true"], 2, "KEY=VALUE"),
    (["submit", "--params-file", "none.json", "--", "true"], 2, "none.json"),
    (["submit", "--env", "API_TOKEN=x", "--", "true"], 2, "secret"),
    (["submit", "--env", "1X=x", "--", "true"], 2, "must be the name of a variable"),
    (["submit", "--gpus", "1000", "--", "true"], 4, "GPUs; this host has"),
    (["submit", "--cpus", "1000", "--", "true"], 4, "CPUs; this host has"),
    (["submit", "--cpus", "0", "--", "true"], 2, "--cpus takes 1 to 100,000; got 0"),
    (["submit", "--ram", "9000T", "--", "true"], 4, "of memory; this host has"),
    (["submit", "--ram", "much", "--", "true"], 2, "not a size: 'much' (20G, 512M)"),
    (["submit", "--time-limit", "99999999999d", "--", "true"], 2, "at most 3650 days"),
    (["submit", "--secret", "A=B", "--", "true"], 2, "takes the name of a variable"),
    (["submit", "--time-limit", "soon", "--", "true"], 2, "not a duration: 'soon' (90, 45m, 2h30m, 1d)"),
    (["submit", "--priority", "high", "--", "true"], 2, "--priority takes a whole number; got 'high'"),
    (["submit", "--retries", "-1", "--", "true"], 2, "--retries takes 0 to 1,000; got -1"),
    (["submit", "--retry-on", "rain", "--", "true"], 2, "lost, oom, signal, failed"),
    (["submit", "--gpu-memory", "20G", "--gpus", "0", "--", "true"], 2, "--gpus is 0"),
    (["submit", "--log-limit", "1k", "--", "true"], 2, "at least 64 kB"),
    (["submit", "--secret", "NOT_SET", "--", "true"], 2, "no such variable here"),
    (["submit", "--after", "nothing-like-it", "--", "true"], 3, "there is no job"),
    (["submit", "--after", "abcdef", "--", "true"], 3, "there is no job"),
    (["show", "abcdef012345"], 3, "no job"),
    (["logs", "abcdef012345"], 3, "no job"),
    (["stop", "abcdef012345"], 3, "no job"),
    (["hosts", "test", "nope"], 3, "unknown host"),
    (["hosts", "remove", "nope"], 3, "unknown host"),
    (["hosts", "add", "local", "x"], 2, "is taken"),
    (["hosts", "add", "a", "me@"], 2, "not an address"),
    (["ui"], 2, "needs a terminal"),
    ([], 2, "needs a terminal"),
    (["jbos"], 2, "did you mean 'jobs'"),
    (["cancel", "x"], 2, "did you mean 'stop'"),
    (["hosts", "add", "a", "b", "--identity", "none"], 2, "no key file"),
    (["hosts", "add", "a", "b", "--gpus", "-1"], 2, "a count"),
    (["hosts", "add", "a", "b", "--max-jobs", "200000"], 2, "max_jobs of a must be"),
    (["jobs", "--sort", "x"], 2, "no job has"),
    (["jobs", "--limit", "9" * 20], 2, "invalid value"),
    (["submit", "--cpus", "9" * 25, "--", "true"], 2, "--cpus takes 1 to 100,000; got 999"),
    (["submit", "--gpus", "-1", "--", "true"], 2, "--gpus takes 0 to 100,000; got -1"),
    (["submit", "--nice", "20", "--", "true"], 2, "--nice takes 0 to 19; got 20"),
    (["submit", "--param", "x=" + "[" * 100_000, "--", "true"], 2, "nested too deep"),
    (["submit", "--param", 'x="a\\u0000b"', "--", "true"], 2, "NUL"),
    (["submit", "--name", "a\udcff", "--", "true"], 2, "valid UTF-8"),
    (["show", "\udcff"], 2, "valid UTF-8"),
    (["logs", "a" * 100_000], 3, "no job"),
    (["stop", "--grace", "nan", "abcdef"], 2, "not a duration"),
    (["stop", "--grace", "inf", "abcdef"], 2, "not a duration"),
    (["hosts", "add", "a", "b c"], 2, "not an address"),
    (["hosts", "add", "a", "b:99999"], 2, "not an address"),
    (["get", "abcdef012345", "--dest", "a" * 5000], 3, "no job"),
]


@pytest.mark.parametrize(
    ("argv", "code", "part"), BAD, ids=[ascii(" ".join(words))[:50] or "bare" for words, _, _ in BAD]
)
def test_bad_input_gets_one_clear_message(client: Client, argv: list[str], code: int, part: str) -> None:
    done = client.run(*argv, code=code)
    assert part in done.stderr and done.stdout == ""
    assert client.json("jobs") == [], "nothing half-done"


def test_bad_toml_says_file_line_and_nearest_key(client: Client) -> None:
    (client.home / "hosts.toml").write_text('[hosts.a]\naddress = "x"\npyton = "y"\n')
    done = client.run("submit", "--host", "local", "--", "true", code=2)
    assert "hosts.toml:3: unknown key 'pyton'" in done.stderr and "'python'" in done.stderr
    assert "warning" not in done.stderr and client.json("jobs") == []
    done = client.run("queue", code=None)  # reading goes on without it
    assert "warning: " in done.stderr and "hosts.toml:3: unknown key 'pyton' (did you mean 'python'?)" in done.stderr
    (client.home / "hosts.toml").write_text('[hosts.a]\naddress = "x"\nmax_jobs = "y"\n')
    assert "hosts.toml:3: max_jobs of a must be a whole number" in client.run("queue", code=2).stderr
    client.run("jobs")  # what needs no host still works


def test_the_schema_of_a_configuration_file_is_printed(client: Client) -> None:
    schema = json.loads(client.run("config", "schema", "hosts").stdout)
    assert schema["$defs"]["HostTable"]["properties"]["max_jobs"]["minimum"] == 0
    assert "one of" in client.run("config", "schema", "nope", code=2).stderr


def test_a_broken_store_is_said(client: Client) -> None:
    (client.home / "store.db").write_bytes(b"not a database" * 100)
    done = client.run("jobs", code=1)
    assert "cannot be used" in done.stderr and "move the file away" in done.stderr


def test_debug_without_a_place_for_its_log_says_so(client: Client) -> None:
    process = client.run("--debug", "jobs", code=2, env={"FOUNDATIONS_HOME": "/proc/nope"})
    assert process.stderr.startswith("error: ") and "Traceback" not in process.stderr


def test_debug_shows_the_traceback(client: Client) -> None:
    process = client.start("show", "abcdef012345", "--debug")
    assert "Traceback" in process.communicate()[1]


def test_private_files(client: Client) -> None:
    job = client.submit("--", "true")
    client.run("wait", job)
    client.run("sync")
    agent = client.home / "agent"
    for path in (agent, agent / "jobs", client.home / "snapshots"):
        assert path.stat().st_mode & 0o077 == 0, path
    for path in (agent / "journal", agent / "owner.json", client.home / "store.db"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_jobs_text_has_no_escape_sequences(client: Client) -> None:
    client.run("wait", client.submit("--name", "\x1b[31mx\x07\u202e", "--", "true"))
    done = client.run("jobs", "--sync")
    assert "\x1b" not in done.stdout and "\x07" not in done.stdout and "\u202e" not in done.stdout
    assert json.loads(client.run("jobs", "--json").stdout)[0]["name"] == "\x1b[31mx\x07\u202e"


def test_jobs_of_other_people_are_left_alone(client: Client) -> None:
    job = client.submit("--", "sleep", "60")
    (client.home / "hosts.toml").write_text('owner = "Somebody Else"\n')
    assert "belongs to" in client.run("stop", job, code=2).stderr
    client.run("stop", "--others", "--grace", "0", job)


def test_a_nice_job_yields_to_other_processes(client: Client) -> None:
    """Its own niceness and that of what it starts; ``show`` has every field of the specification."""
    code = "import os, subprocess; print(os.nice(0)); subprocess.run(['nice'])"
    command = ("--wait", "--", sys.executable, "-c", code)
    plain, nice = client.submit(*command), client.submit("--nice", "7", *command)
    levels = [client.run("logs", job).stdout.split() for job in (plain, nice)]
    assert [int(level) for level in levels[1]] == [int(level) + 7 for level in levels[0]]
    spec = client.json("show", nice)["spec"]
    assert spec["nice"] == 7 and spec["grace"] == 30 and set(spec) == {field.name for field in fields(JobSpec)}
    assert "options    --nice 7" in client.run("show", nice).stdout


def test_the_client_keeps_a_log_of_what_it_did(client: Client) -> None:
    """With hosts and jobs, without commands and variables, and readable by its owner alone."""
    job = client.submit("--env", "WORD=hush", "--", "sh", "-c", "echo hush; sleep 600")
    client.wait_until(job, "running")
    client.run("stop", "--grace", "0", job)
    client.run("stop", job, code=None)
    (client.home / "hosts.toml").write_text('[hosts.dead]\naddress = "127.0.0.1:1"\n')
    client.run("hosts", "test", "dead", code=4)
    path = client.home / "client.log"
    lines = path.read_text().splitlines()
    assert any(line.endswith(f"INFO submit local {job}: submitted") for line in lines)
    assert any(f"INFO stop local {job}: is being stopped" in line for line in lines)
    assert any("WARNING connect dead: " in line for line in lines) and "hush" not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    told = client.run("--debug", "hosts", "test", "local").stderr
    assert "INFO connect local: agent" in told
