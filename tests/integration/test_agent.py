"""What the agent does for jobs, through the command line: resources, order, retries, data, outputs, secrets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from foundations_tui.session import Session
from foundations_tui.store import host_samples, queries
from foundations_tui.store.db import Store
from foundations_tui.submit.pipeline import submit_all
from foundations_tui.submit.request import JobRequest
from foundations_tui.text import story
from foundations_tui.text.story import Story
from remote_agent.storage import files
from tests.support import agents
from tests.support.client import FOUNDATIONS, Client, use_slots, wait_until
from tests.support.hook import Hook
from tests.support.screen import Tmux
from tests.support.sshd import Sshd

SMI = """\
#!/bin/sh
case "$*" in
*query-compute-apps*) cat "{folder}/apps" ;;
*-L*) cat "{folder}/mig" ;;
*"-i GPU-hung"*) exec sleep 600 ;;
*) [ -e "{folder}/hang" ] && [ "$3" != -i ] && exec sleep 600
   case "$*" in *-i*) eval last=\\${{$#}}; grep "$last" "{folder}/gpus" ;; *) cat "{folder}/gpus" ;; esac ;;
esac
"""


class Gpus:
    """An nvidia-smi on the PATH that prints what a test wants it to have printed."""

    def __init__(self, folder: Path, client: Client) -> None:
        folder.mkdir()
        self.folder = folder
        smi = folder / "nvidia-smi"
        smi.write_text(SMI.format(folder=folder))
        smi.chmod(0o755)
        client.env["PATH"] = f"{folder}:{client.env['PATH']}"
        (folder / "mig").write_text("")
        self.show([4, 4])

    def show(self, used: list[int], apps: str = "", uuids: list[str] | None = None) -> None:
        """Print GPUs that hold so many MiB, and processes."""
        names = uuids or [f"GPU-{os.getpid()}-{n}" for n in range(len(used))]
        rows = [
            f"{n}, {name}, NVIDIA A100, 81920, {mib}, 0, 31, 60.5\n"
            for n, (name, mib) in enumerate(zip(names, used, strict=True))
        ]
        for name, text in (("apps", apps), ("gpus", "".join(rows))):
            part = self.folder / f"{name}.part"
            part.write_text(text)
            part.replace(self.folder / name)

    @property
    def uuids(self) -> list[str]:
        return [line.split(", ")[1] for line in (self.folder / "gpus").read_text().splitlines()]


@pytest.fixture
def gpus(client: Client, tmp_path: Path) -> Gpus:
    return Gpus(tmp_path / "smi", client)


def log(client: Client, job: str) -> str:
    return str(client.run("logs", job).stdout)


# --- order and resources ----------------------------------------------------------------------------------------


def test_priority_dependencies_and_places(client: Client) -> None:
    use_slots(client, 1)
    go = client.home / "go"
    first = client.submit("--name", "first", "--", "sh", "-c", f"while [ ! -e {go} ]; do sleep 0.05; done")
    names = {}
    for name, more in {"b": [], "c": [], "d": ["--priority", "3"], "e": ["--after", "first"]}.items():
        names[name] = client.submit("--name", name, *more, "--", "sh", "-c", f"echo {name} >> {client.home}/order")
    client.run("move", "c", "--first")
    client.run("move", "b", "--priority", "9")
    waiting = client.json("queue")
    assert [row["name"] for row in waiting] == ["b", "c", "d", "e"]
    assert [row["place"] for row in waiting] == [1, 2, 3, 4] and waiting[3]["reason"] == f"waits for job {first[:6]}…"
    assert "at most 1 at once" in waiting[0]["reason"]
    assert "say one of" in client.run("move", "b", code=2).stderr
    for nothing in ("--before", "--behind"):
        client.run("move", "b", nothing, "", code=3)
    go.touch()
    client.run("wait", *names.values())
    assert (client.home / "order").read_text().split()[:3] == ["b", "c", "d"]
    assert "does not wait any more" in client.run("move", "b", "--first", code=1).stderr


def test_what_waited_for_a_failure_is_stopped_with_its_reason(client: Client, tmp_path: Path) -> None:
    use_slots(client, 4)
    mark = tmp_path / "fail-now"
    bad = client.submit("--name", "bad", "--", "sh", "-c", f"until [ -e {mark} ]; do sleep 0.05; done; exit 3")
    chain = [client.submit("--after", "bad", "--name", "one", "--", "true")]
    chain.append(client.submit("--after", "one", "--name", "two", "--", "true"))
    anyhow = client.submit("--after-any", "bad", "--", "true")
    mark.write_text("")
    client.run("wait", anyhow)
    for job, why in zip(chain, (f"dependency {bad} failed", f"dependency {chain[0]} stopped"), strict=True):
        found = client.job(job)
        assert (found["state"], found["reason_code"], found["reason"]) == ("stopped", "dependency_failed", why)
    refused = client.run("submit", "--after", "bad", "--", "true", code=1)
    assert "has ended already: failed" in refused.stderr
    client.run("submit", "--after", "nobody", "--", "true", code=3)


def test_after_a_job_of_another_host_is_refused_with_the_reason(client: Client, sshd: Sshd) -> None:
    client.add_host("box", sshd)
    client.submit("--host", "local", "--name", "here", "--", "sleep", "20")
    done = client.run("submit", "--host", "box", "--after", "here", "--", "true", code=2)
    assert "hosts cannot see each other's jobs" in done.stderr and "--host local" in done.stderr
    job = client.submit("--after", "here", "--", "true")
    assert client.job(job)["host"] == "local", "without --host it goes where the other one is"


def test_a_group_is_paused_and_resumed_and_the_queue_cleared(client: Client) -> None:
    use_slots(client, 2)
    client.submit("--name", "running", "--", "sleep", "600")
    client.run("pause", "--host", "local")
    ids = [client.submit("--group", "sweep", "--", "true") for _ in range(2)]
    assert {row["reason"] for row in client.json("queue")} == {"paused: this host starts no jobs"}
    client.run("pause", "sweep")
    client.run("resume", "--host", "local")
    assert {row["reason"] for row in client.json("queue")} == {"paused"}
    client.run("stop", ids.pop())
    client.run("resume", "sweep")
    client.run("wait", *ids)
    client.run("pause", "--host", "local")
    client.run("resume", "--host", "local")
    client.run("pause", "sweep", "--host", "local")
    client.run("sync")
    client.run("resume", "sweep")  # none of its jobs is left, but it is paused there
    client.run("pause", "*", code=2)
    client.run("submit", "--group", "*", "--", "true", code=2)
    client.run("pause", "--host", "local")
    waiting = client.submit("--", "true")
    assert "asks before it stops" in client.run("clear-queue", code=2).stderr
    assert client.run("clear-queue", "--yes").stdout.split() == [waiting]
    assert client.job(waiting)["state"] == "stopped" and client.job("running")["state"] == "running"
    assert "none of your jobs waits" in client.run("clear-queue").stderr
    assert "no unfinished job is in a group" in client.run("pause", "nothing", code=3).stderr


def test_other_peoples_jobs_are_left_alone(client: Client) -> None:
    use_slots(client, 1, 'owner = "Ada"')
    client.submit("--", "sleep", "600")
    hers = client.submit("--", "true")
    use_slots(client, 1, 'owner = "Grace"')
    assert "none of your jobs waits" in client.run("clear-queue").stderr
    assert "--others allows it" in client.run("move", hers, "--first", code=2).stderr
    client.run("move", hers, "--first", "--others")
    assert client.run("clear-queue", "--yes", "--others").stdout.split() == [hers]


def test_requests_that_no_host_could_ever_run(client: Client, gpus: Gpus) -> None:
    for words, why in {
        ("--gpus", "9"): "asks for 9 GPUs; this host has 2 (NVIDIA A100)",
        ("--cpus", "999"): "asks for 999 CPUs",
        ("--ram", "900T"): "of memory; this host has",
        ("--gpu-memory", "200G"): "asks for 200 GB on 1 GPU; this host has 0 GPUs of that size",
    }.items():
        assert why in client.run("submit", *words, "--", "true", code=4).stderr
    assert client.json("jobs") == []
    for words in (("--time-limit", "soon"), ("--ram", "much"), ("--retry-on", "monday"), ("--stop-signal", "KILL")):
        client.run("submit", *words, "--", "true", code=2)


# --- attempts ---------------------------------------------------------------------------------------------------


def test_a_time_limit_ends_it_with_its_own_code(client: Client) -> None:
    script = "trap 'echo ending' USR1; while :; do sleep 0.1; done"
    words = ["--time-limit", "1", "--stop-signal", "USR1", "--grace", "1", "--follow", "--", "sh", "-c", script]
    done = client.run("submit", *words, code=124)
    assert "ending" in done.stdout, "its stop signal came first, KILL after the grace time"
    found = client.json("jobs", "--sync")[0]
    assert (found["state"], found["reason_code"], found["signal"]) == ("failed", "time_limit", "SIGKILL")
    assert 1.0 <= found["usage"]["wall_seconds"] < 10


def test_retries_keep_old_attempts_and_go_on_from_checkpoints(client: Client) -> None:
    (client.project / "job.py").write_text(
        "import os, sys, foundations\n"
        "attempt = int(os.environ['FOUNDATIONS_ATTEMPT'])\n"
        "path = os.path.join(os.environ['FOUNDATIONS_CHECKPOINT_DIR'], 'n')\n"
        "n = int(open(path).read()) if os.path.exists(path) else 0\n"
        "open(path, 'w').write(str(n + 1))\n"
        "print('attempt', attempt, 'from', n); foundations.log_metric('n', n)\n"
        "sys.exit(3 if attempt < 3 else 0)\n"
    )
    words = ["--retries", "4", "--retry-on", "failed,signal", "--", "python", "job.py"]
    job = client.submit(*words)
    client.run("wait", job)
    found = client.job(job)
    assert (found["state"], found["attempt"]) == ("completed", 3)
    assert [(past["attempt"], past["state"], past["exit_code"]) for past in found["attempts"]] == [
        (1, "failed", 3),
        (2, "failed", 3),
    ]
    assert log(client, job) == "attempt 1 from 0\nattempt 2 from 1\nattempt 3 from 2\n"
    conn = Store().conn
    assert [[row.value for row in queries.metrics(conn, job, n)] for n in (1, 2, 3)] == [[0], [1], [2]]
    assert "earlier attempts" in client.run("show", job).stdout
    once = client.submit("--retries", "4", "--", "sh", "-c", "exit 3")
    client.run("wait", once, code=3)
    assert client.job(once)["attempt"] == 1, "a typo is not run five times: only what was lost is"


def test_a_lost_attempt_is_retried(client: Client) -> None:
    job = client.submit("--retries", "1", "--", "sh", "-c", "echo $FOUNDATIONS_ATTEMPT; sleep 2")
    client.wait_until(job, "running")
    os.kill(agents.supervisor_pids(client.home / "agent")[0], 9)
    client.run("wait", job)
    found = client.job(job)
    assert (found["state"], found["attempt"], found["attempts"][0]["reason_code"]) == (
        "completed",
        2,
        "supervisor_died",
    )
    assert log(client, job) == "1\n2\n"


def test_a_stopped_job_is_not_retried(client: Client) -> None:
    words = ["--retries", "3", "--retry-on", "signal,failed,lost"]
    job = client.submit(*words, "--stop-signal", "INT", "--", "sleep", "500")
    client.wait_until(job, "running")
    assert "INT now, KILL in 30 s" in client.run("stop", job).stderr
    client.run("wait", job, code=130)
    found = client.job(job)
    assert (found["state"], found["attempt"], found["signal"]) == ("stopped", 1, "SIGINT")


def test_why_a_job_failed_is_said(client: Client) -> None:
    (client.project / "job.py").write_text("import a_module_that_is_not_there\n")
    job = client.submit("--", "python", "job.py")
    client.run("wait", job, code=1)
    found = client.job(job)
    assert found["cause"]["code"] == "module_missing" and "a_module_that_is_not_there" in found["cause"]["line"]
    assert "a Python package is missing" in client.run("jobs").stdout
    unknown = client.submit("--", "sh", "-c", "echo fine; exit 9")
    client.run("wait", unknown, code=9)
    assert client.job(unknown)["cause"] is None, "what is not known is not guessed"
    assert "cause      unknown" in client.run("show", unknown).stdout


def test_an_estimate_after_five_like_jobs(client: Client) -> None:
    use_slots(client, 1)
    ids = [client.submit("--", "sh", "-c", f"sleep 0.5; echo {n}") for n in range(5)]
    client.run("wait", *ids)
    runs = client.submit("--", "sh", "-c", "sleep 300; echo 50")  # like those, but for its numbers
    last = [client.submit("--", "sh", "-c", f"sleep 300; echo {n}") for n in (51, 52)]
    waiting = {row["job"]: row for row in client.json("queue")}
    assert all(row["estimated_start"] for row in waiting.values()) and set(waiting) == set(last)
    assert 0 <= waiting[last[0]]["starts_in"] <= waiting[last[1]]["starts_in"] < 30
    _tell_time_left(runs, 1200.0)
    waiting = {row["job"]: row for row in client.json("queue")}
    starts = [waiting[job]["starts_in"] for job in last]
    assert 1100 < starts[0] < 1210 and 2200 < starts[1] < 2420, "the next one, like that, takes as long"
    shown = client.job(last[0])
    assert shown["estimated_start"] == waiting[last[0]]["estimated_start"]
    assert shown["story"]["text"].startswith("starts in 20 min · ")


def _tell_time_left(job: str, seconds: float) -> None:
    """Put into the store what a job would tell once its log has said for a while how far it is."""
    progress = {"done": 60, "total": 300, "unit": "step", "share": 0.2, "ran": 60.0, "ends_at": time.time() + seconds}
    with Store().transaction() as conn:
        told = Story(story.PROGRESS, progress).stored()
        conn.execute("INSERT OR REPLACE INTO stories VALUES (?, 1, 'running', ?)", [job, told])


# --- GPUs -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.rest
def test_a_foreign_process_is_named_and_its_gpu_left_alone(client: Client, gpus: Gpus) -> None:
    use_slots(client, 8)
    foreign = subprocess.Popen(["sleep", "300"])
    try:
        gpus.show([4, 61_203], f"{gpus.uuids[1]}, {foreign.pid}, 61190\n")
        first = client.submit("--gpus", "1", "--", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES; sleep 60")
        second = client.submit("--gpus", "1", "--", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES")
        client.wait_until(first, "running")
        words = client.json("queue")[0]["reason"]
        assert words.startswith("waits for 1 GPU: 0 free, 1 leased to jobs, 1 held by ")
        assert f"uid {os.getuid()}, pid {foreign.pid}, 60 GB, since " in words
        shown = client.json("gpus")
        assert [gpu["job"] for gpu in shown] == [first, None]
        assert (
            shown[1]["busy"] and str(foreign.pid) in shown[1]["held"] and shown[1]["processes"][0]["pid"] == foreign.pid
        )
        assert f"pid {foreign.pid}" in client.run("gpus").stdout
        holders: list[Any] = []

        def are_sampled() -> bool:
            client.run("sync")
            samples = host_samples.since(Store().conn, "local", 0.0)
            holders[:] = [gpu[5] for gpu in samples[-1].gpus] if samples else []
            return holders == [[first], [[os.getuid(), foreign.pid]]]

        wait_until(are_sampled, words=lambda: str(holders))
        gpus.show([4, 4])
        client.run("wait", second, timeout=90)
        assert log(client, second).strip() == gpus.uuids[1]
    finally:
        foreign.kill()
        foreign.wait()


def test_memory_that_stays_quarantines_the_gpu_until_the_user_says_so(
    client: Client, gpus: Gpus, tmp_path: Path
) -> None:
    use_slots(client, 8)
    gpus.show([4])
    first = client.submit("--gpus", "1", "--", "sh", "-c", f"while [ ! -e {tmp_path}/go ]; do sleep 0.1; done")
    client.wait_until(first, "running")
    gpus.show([30_000])
    job = client.submit("--gpus", "1", "--", "true")
    (tmp_path / "go").touch()

    def reason() -> str:
        waiting = client.json("queue")
        return str(waiting[0]["reason"]) if waiting else ""

    wait_until(lambda: "29 GB" in reason(), 30, reason)
    gpus.show([4])
    client.run("wait", job, timeout=60)
    assert "is not in quarantine" in client.run("gpus", "--release", "local:0").stderr
    client.run("gpus", "--release", "local:7", code=3)
    client.run("gpus", "--release", "nonsense", code=2)


def test_a_hanging_driver_makes_only_its_gpu_sick(client: Client, gpus: Gpus, monkeypatch: pytest.MonkeyPatch) -> None:
    from remote_agent.gpu import probe
    from remote_agent.gpu.claims import GpuClaims

    monkeypatch.setattr(probe, "DEADLINE", 1.0)
    monkeypatch.setenv("PATH", client.env["PATH"])
    gpus.show([4, 4], uuids=["GPU-hung", "GPU-well"])
    gpu_source = probe.GpuProbe(GpuClaims(str(client.home)))
    assert gpu_source.held() == {}
    (gpus.folder / "hang").touch()
    gpu_source._began = -1e9
    deadline = time.monotonic() + 20
    while "do not answer" not in gpu_source.problem:
        assert time.monotonic() < deadline, (gpu_source.problem, gpu_source.held())
        began = time.monotonic()
        gpu_source.tick(5.0)
        assert time.monotonic() - began < 0.5, "the loop is never held up"
        time.sleep(0.02)
    assert list(gpu_source.held()) == ["GPU-hung"] and "does not answer, since" in gpu_source.held()["GPU-hung"]
    assert "1 of 2 GPUs do not answer" in gpu_source.problem


def test_two_agents_of_one_machine_do_not_take_the_same_gpu(client: Client, gpus: Gpus, tmp_path: Path) -> None:
    """The first one's job is still warming up: nothing but its claim says that the GPU is taken."""
    other = Client(tmp_path / "other", client.project)
    other.env["PATH"] = client.env["PATH"]
    gpus.show([4])
    try:
        first = client.submit("--gpus", "1", "--", "sleep", "300")
        client.wait_until(first, "running")
        second = other.submit("--gpus", "1", "--", "true")
        wait_until(lambda: "claimed by another agent of yours" in other.json("queue")[0]["reason"])
        client.run("stop", "--grace", "0", first)
        other.run("wait", second, timeout=60)
        wait_until(lambda: not list(Path("/var/tmp/foundations-claims").glob(f"GPU-{os.getpid()}-*")))
    finally:
        agents.end(other.roots[0])


def test_a_claim_of_a_dead_agent_counts_no_more(tmp_path: Path) -> None:
    from remote_agent.gpu.claims import GpuClaims

    folder = str(tmp_path / "claims")
    mine, theirs = GpuClaims("/root/a", folder), GpuClaims("/root/b", folder)
    theirs.hold({"GPU-1": "job"})
    assert "another agent of yours" in mine.others()["GPU-1"] and theirs.others() == {}
    path = next(Path(folder).glob("GPU-1.*"))
    claim = json.loads(path.read_text())
    for change in ({"pid": 2**22 + 5}, {"start": 1}, {"boot": "another"}):
        path.write_text(json.dumps({**claim, "who": {**claim["who"], **change}}))
        assert mine.others() == {}, change
    path.write_text("{")
    os.symlink("/etc/passwd", f"{folder}/GPU-2.0-{'a' * 8}.json")
    (Path(folder) / f"GPU-3.12345-{'a' * 8}.json").write_text(json.dumps(claim))
    assert mine.others() == {}, "torn, a link, in another's name"
    times: list[Any] = ["x", None, 1e300, [], float("nan")]
    whos: list[Any] = [{}, [], {"pid": "../x", "start": 1, "boot": "b"}, {"boot": "b"}, 3]
    hostile: list[Any] = [{**claim, "since": value} for value in times]
    hostile += [{**claim, "who": who} for who in whos]
    for value in [*hostile, 7, [], "x", None]:
        path.write_text(json.dumps(value))
        assert mine.others() == {}, value
    path.write_text("[" * 4000)
    assert mine.others() == {}
    theirs.hold({})
    assert not list(Path(folder).glob("GPU-1.*"))


def test_shares_of_one_gpu_run_side_by_side(client: Client, gpus: Gpus, tmp_path: Path) -> None:
    use_slots(client, 8)
    gpus.show([4])
    mark = tmp_path / "go-on"
    show = f"echo $CUDA_VISIBLE_DEVICES; until [ -e {mark} ]; do sleep 0.05; done"
    ids = [client.submit("--gpu-memory", "30G", "--", "sh", "-c", show) for _ in range(3)]
    client.wait_until(ids[1], "running")
    assert "30 GB on 1 GPU" in client.json("queue")[0]["reason"]
    assert len(client.json("gpus")[0]["jobs"]) == 2
    mark.write_text("")
    client.run("wait", *ids, timeout=60)
    assert {log(client, job).strip() for job in ids} == {gpus.uuids[0]}


@pytest.mark.slow
@pytest.mark.rest
def test_an_idle_host_looks_when_it_is_asked(client: Client, gpus: Gpus) -> None:
    client.run("submit", "--gpus", "1", "--wait", "--", "true")
    time.sleep(9)
    gpus.show([4, 70_000])
    shown = client.json("gpus")
    assert [gpu["memory_used"] for gpu in shown] == [4, 70_000] and shown[0]["held"] is None
    assert "68.4 of 80 GB" in client.run("gpus").stdout


# --- data, outputs, secrets -------------------------------------------------------------------------------------


def test_data_of_the_host_is_linked_into_the_folder(client: Client, tmp_path: Path) -> None:
    store = tmp_path / "imagenet"
    store.mkdir()
    (store / "x").write_text("pixels")
    (client.project / "foundations.toml").write_text(
        '[data]\nimagenet = { path = "/elsewhere", at = "data/imagenet" }\n'
    )
    done = client.run("submit", "--wait", "--", "true", code=125)
    assert "/elsewhere is not on this host" in client.json("jobs", "--sync")[0]["reason"], done.stderr
    (client.home / "hosts.toml").write_text(f'[hosts.local.data]\nimagenet = "{store}"\n')
    (client.project / "data" / "imagenet" / "val").mkdir(parents=True)  # where it would be mounted
    show = "cat data/imagenet/x $FOUNDATIONS_DATA_IMAGENET/x"
    assert client.run("submit", "--follow", "--", "sh", "-c", show).stdout == "pixelspixels"
    (client.project / "below").mkdir()
    (client.project / "below" / "x.txt").write_text("")
    subprocess.run(["git", "init", "-q"], cwd=client.project, check=True)
    (client.project / "foundations.toml").write_text(
        '[data]\nimagenet = { path = "/elsewhere", at = "data/imagenet" }\n[outputs]\ncollect = ["out/*"]\n'
    )
    show = "cat data/imagenet/x; mkdir -p out; echo 1 > out/made"
    done = client.run("submit", "--follow", "--", "sh", "-c", show, cwd=client.project / "below")
    assert done.stdout == "pixels", "both are from where the job starts"
    assert client.json("jobs", "--sync")[0]["outputs"]["files"] == 1
    (client.project / "foundations.toml").write_text(f'[data]\nx = {{ path = "{store}", at = "../x" }}\n')
    assert "leads out of the job's folder" in client.run("submit", "--", "true", code=2).stderr
    (client.project / "foundations.toml").write_text(
        f'[data]\nx = {{ path = "{store}", at = "in" }}\ny = {{ path = "/b", at = "./in/" }}\n'
    )
    assert "'x' is at" in client.run("submit", "--", "true", code=2).stderr
    (client.project / "foundations.toml").write_text(f'[data]\nx = {{ path = "{store}", at = ".git/hooks" }}\n')
    assert "no place for data" in client.run("submit", "--", "true", code=2).stderr
    (client.project / "foundations.toml").write_text('[data]\nx = { pat = "/a" }\n')
    assert "did you mean 'path'?" in client.run("submit", "--", "true", code=2).stderr


def test_files_that_git_ignores_are_shipped_when_the_project_says_so(client: Client) -> None:
    subprocess.run(["git", "init", "-q"], cwd=client.project, check=True)
    (client.project / ".gitignore").write_text("*.bin\nmodels/\n")
    (client.project / "a.bin").write_text("a")
    (client.project / "b.bin").write_text("b")
    (client.project / "models/deep").mkdir(parents=True)
    (client.project / "models/deep/m").write_text("m")
    (client.project / "foundations.toml").write_text('[snapshot]\ninclude = ["a.bin", "models"]\n')
    script = "find . -type f ! -name .gitignore ! -name foundations.toml | sort"
    assert client.run("submit", "--follow", "--", "sh", "-c", script).stdout.split() == ["./a.bin", "./models/deep/m"]
    (client.project / "a.bin").write_text("changed")
    assert client.run("submit", "--follow", "--", "cat", "a.bin").stdout == "changed"


def test_outputs_come_back_by_themselves_even_when_it_failed(client: Client) -> None:
    (client.project / "foundations.toml").write_text('[outputs]\ncollect = ["runs/**/*.txt"]\nlimit_mb = 0.001\n')
    script = "mkdir -p runs/a/b; echo one > runs/a/b/x.txt; echo no > runs/a/y.log; head -c 5000 /dev/zero > runs/z.txt"
    script += "; exit 3"
    job = client.submit("--", "sh", "-c", script)
    done = client.run("wait", job, code=3)
    assert "1 file, 5.0 kB, stayed on local: they are over the limit" in done.stderr
    found = client.job(job)["outputs"]
    assert (found["files"], found["bytes"], found["left_bytes"], found["left"]) == (1, 4, 5000, [["runs/z.txt", 5000]])
    assert (Path(found["folder"]) / "runs/a/b/x.txt").read_text() == "one\n"
    words = ["--output", "*.out", "--", "sh", "-c", "echo 1 > a.out; echo 2 > b.txt"]
    other = json.loads(client.run("submit", "--json", "--wait", *words).stdout)[0]["job"]
    assert (client.home / "outputs" / other / "a.out").read_text() == "1\n", "they are here when submit returns"
    assert client.job(other)["outputs"]["files"] == 1
    for pattern in ("/etc/passwd", "../**", ""):
        assert "matches none" in client.run("submit", "--output", pattern, "--", "true", code=2).stderr
    assert "in " + client.job(other)["outputs"]["folder"] in client.run("show", other).stdout


def test_a_secret_is_nowhere_but_in_the_job(client: Client) -> None:
    secret = f"s3cret-{os.urandom(8).hex()}"
    env = {"MY_TOKEN": secret}
    words = ["--secret", "MY_TOKEN", "--", "sh", "-c"]
    job = client.submit(*words, 'test "$MY_TOKEN" = "$(cat expected)" && sleep 3', env=env)
    client.wait_until(job, "failed")  # the folder has no such file
    (client.project / "expected").write_text(secret)
    job = client.submit(*words, 'test "$MY_TOKEN" = "$(cat expected)" && sleep 3', env=env)
    client.wait_until(job, "running")
    private = client.home / "agent/jobs" / job / "private.json"
    assert private.stat().st_mode & 0o777 == 0o600 and secret in private.read_text()
    assert secret not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    client.run("wait", job)
    wait_until(lambda: not private.exists())
    client.run("sync")
    (client.project / "expected").unlink()
    held = [path for path in client.home.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    assert [path for path in held if path.name != "expected" and "objects" not in path.parts] == [], held
    assert (
        "there is no such variable here" in client.run("submit", "--secret", "NOT_THERE", "--", "true", code=2).stderr
    )


def test_the_host_tells_of_ends_with_the_laptop_closed(client: Client, hook: Hook) -> None:
    url = f"http://127.0.0.1:{hook.port}/hook?key=s3cret-key"
    use_slots(client, 4, f'[notify]\nurl = "{url}"\non = ["failed", "completed"]\n')
    hook.refusals = 1
    ok = client.submit("--name", "good", "--", "true")
    bad = client.submit("--name", "bad", "--", "sh", "-c", "echo MemoryError; exit 3")
    wait_until(lambda: len(hook.bodies) == 2, 30)  # no client looks
    told = {body["job"]: body for body in hook.bodies}
    assert told[ok]["state"] == "completed" and told[bad]["exit_code"] == 3
    assert told[bad]["text"].startswith("bad (project) failed on ") and "memory" in told[bad]["cause"]
    root = client.home / "agent"
    wait_until(lambda: not list(root.glob("jobs/*/private.json")))
    assert (
        b"s3cret-key" not in (root / "journal").read_bytes() and b"s3cret-key" not in (root / "daemon.log").read_bytes()
    )
    stopped = client.submit("--", "sleep", "100")
    client.run("stop", "--grace", "0", stopped)
    client.run("wait", stopped, code=None)
    (client.project / "foundations.toml").write_text('[notify]\non = ["stopped"]\n')  # of the same target
    told_of = client.submit("--", "sleep", "100")
    client.run("stop", "--grace", "0", told_of)
    wait_until(lambda: len(hook.bodies) > 2)
    assert [body["job"] for body in hook.bodies[2:]] == [told_of], "stopped was not among the ends of the other one"


def test_an_end_is_told_even_when_the_daemon_dies_first(client: Client, hook: Hook) -> None:
    use_slots(client, 4, f'[notify]\nurl = "http://127.0.0.1:{hook.port}/"\n')
    hook.refusals = 3
    client.submit("--", "true")
    wait_until(lambda: hook.refusals < 3)
    agents.kill_daemon(client.home / "agent")
    client.run("sync")
    wait_until(lambda: len(hook.bodies) >= 1, 40)


def test_a_command_is_told(client: Client, tmp_path: Path) -> None:
    script = tmp_path / "tell.py"
    script.write_text(f"import sys; open({str(tmp_path / 'told')!r}, 'a').write(sys.stdin.read() + '\\n')\n")
    command = json.dumps([sys.executable, str(script)])
    (client.project / "foundations.toml").write_text(f"[notify]\ncommand = {command}\n")
    job = client.submit("--", "sh", "-c", "exit 2")
    wait_until(lambda: (tmp_path / "told").exists())
    assert json.loads((tmp_path / "told").read_text())["job"] == job
    (client.project / "foundations.toml").write_text('[notify]\nurl = "ftp://x"\n')
    assert "must begin with http" in client.run("submit", "--", "true", code=2).stderr
    (client.project / "foundations.toml").write_text('[notify]\non = ["sometimes"]\n')
    client.run("submit", "--", "true", code=2)


def test_a_notice_that_cannot_be_delivered_is_said(client: Client) -> None:
    (client.project / "foundations.toml").write_text('[notify]\ncommand = ["/not/there"]\n')
    from remote_agent.roles import deliver_notice

    assert deliver_notice._run(["/not/there"], b"") == "FileNotFoundError" and deliver_notice._post(
        "http://127.0.0.1:1/a b", b""
    )
    for text in ('on = [["x"]]', 'url = "http://[bad"', "command = 'sh -c \"open'", 'command = [""]', "url = 3"):
        (client.project / "foundations.toml").write_text(f"[notify]\n{text}\n")
        assert "[notify]" in client.run("submit", "--", "true", code=2).stderr, text


# --- shell and exec ---------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("where", ["local", "box"])
def test_exec_runs_in_the_jobs_folder(client: Client, sshd: Sshd, gpus: Gpus, where: str) -> None:
    if where == "box":
        client.add_host("box", sshd)
    subprocess.run(["git", "init", "-q"], cwd=client.project, check=True)
    (client.project / "sub").mkdir()
    (client.project / "sub/x").write_text("")
    words = ["submit", "--json", "--host", where, "--param", "lr=1", "--gpus", "0", "--", "sleep", "300"]
    job = json.loads(client.run(*words, cwd=client.project / "sub").stdout)[0]["job"]
    client.wait_until(job, "running")
    show = (
        'pwd; ls; echo "$FOUNDATIONS_JOB_ID $FOUNDATIONS_PARAM_LR [$CUDA_VISIBLE_DEVICES]"; cat; echo err >&2; exit 7'
    )
    process = client.start("exec", job, "--", "sh", "-c", show, stdin=subprocess.PIPE)
    stdout, stderr = process.communicate("typed\n", timeout=60)
    assert process.returncode == 7, stderr
    folder, params, name, facts, typed = stdout.splitlines()
    assert folder.endswith("/work/sub") and (params, name) == ("foundations_job_parameters.json", "x")
    assert facts == f"{job} 1 []" and typed == "typed"
    assert stderr.splitlines()[-1] == "err"
    assert client.run("exec", job, "--", "not-a-command", code=127).stderr
    client.run("exec", job, "--", "", code=2)
    big = client.run("exec", job, "--", "head", "-c", "3000000", "/dev/zero", text=False).stdout
    assert len(big) == 3_000_000
    client.run("stop", "--grace", "0", job)
    client.run("wait", job, code=None)
    assert client.run("exec", job, "--", "pwd").stdout.strip() == folder, "it is still there when the job has ended"
    assert "needs a terminal" in client.run("shell", job, code=2).stderr


def test_exec_finds_the_attempt_that_runs_now(client: Client) -> None:
    script = "echo $FOUNDATIONS_ATTEMPT > at; [ $FOUNDATIONS_ATTEMPT = 2 ] || exit 1; sleep 60"
    job = client.submit("--retries", "1", "--retry-on", "failed", "--", "sh", "-c", script)
    attempts = client.home / "agent/jobs" / job / "attempts"
    wait_until(lambda: (attempts / "2/work/at").exists())
    assert client.run("exec", job, "--", "cat", "at").stdout == "2\n", "though nothing was synced since the submit"


@pytest.mark.slow
@pytest.mark.parametrize("where", ["local", "box"])
def test_a_shell_in_a_jobs_folder_is_a_terminal(client: Client, sshd: Sshd, tmp_path: Path, where: str) -> None:
    if where == "box":
        client.add_host("box", sshd)
    job = client.submit("--host", where, "--", "sleep", "300")
    client.wait_until(job, "running")
    window = Tmux(tmp_path, 90, 24)
    try:
        window.start([*FOUNDATIONS, "shell", job], {**client.env, "SHELL": "/bin/sh"}, client.project)
        window.until(lambda shown: "$" in shown or "#" in shown)
        window.type('echo "[$FOUNDATIONS_JOB_ID] $(stty size)"; pwd | tail -c 6')
        window.send("Enter")
        window.until(lambda shown: f"[{job}] 24 90" in shown and "/work" in shown)
        window.resize(100, 30)
        window.type("stty size")
        window.send("Enter")
        window.until(lambda shown: "30 100" in shown)
        window.type("echo sleeping $((1 + 1)); sleep 200")
        window.send("Enter")
        window.until(lambda shown: "sleeping 2" in shown)
        window.send("C-c")  # for what runs there, not for us
        window.type("exit 3")
        window.send("Enter")
        assert window.exit_code() == 3
    finally:
        window.close()


# --- the host's disk --------------------------------------------------------------------------------------------


def test_prune_frees_what_is_fetched_and_keeps_what_is_not(client: Client, tmp_path: Path) -> None:
    root = client.home / "agent"
    old = client.submit("--", "sh", "-c", "head -c 3000000 /dev/urandom > big; echo done")
    client.run("wait", old)
    found = client.job(old)
    assert found["usage"]["disk"] >= 3_000_000
    other = Client(tmp_path / "other", client.project)
    (other.home / "hosts.toml").write_text(f'[hosts.local]\nroot = "{root}"\n')
    theirs = other.submit("--", "true")
    wait_until(lambda: client.job(theirs)["state"] == "completed")
    assert "say what may go" in client.run("prune", code=2).stderr
    kept = client.json("prune", old, "--dry-run")[0]
    assert not kept["would_remove"] and kept["unfetched"]["largest"] == ["attempts/1/work/big", 3_000_000]
    assert "1 file that it wrote (3.0 MB)" in client.run("prune", old, "--yes").stderr
    assert (root / "jobs" / old).exists(), "nobody has fetched what it wrote"
    client.run("get", old, "--dest", str(tmp_path / "got"))
    preview = client.json("prune", "--older-than", "0", "--dry-run")
    assert {row["job"]: (row["would_remove"], row["removed"]) for row in preview} == {
        old: (True, False),
        theirs: (False, False),
    }
    kept = next(row for row in preview if row["job"] == theirs)
    assert "that submitted job" in kept["kept_because"] and "has not fetched everything" in kept["kept_because"]
    assert "--yes" in client.run("prune", "--older-than", "0", code=2).stderr
    assert client.json("prune", "--larger-than", "1M", "--yes")[0]["removed"]
    wait_until(lambda: not (root / "jobs" / old).exists() and not list((root / "trash").iterdir()))
    assert (root / "jobs" / theirs).exists()
    found = client.job(old)
    assert found["pruned"] and found["state"] == "completed" and log(client, old) == "done\n"
    assert "pruned" in client.run("ls", old, code=3).stderr
    assert "pruned" in client.run("get", old, code=3).stderr
    assert "was removed already" in client.run("prune", old, "--yes").stderr
    refused = client.run("delete", "--now", "--yes", theirs, code=1)
    assert "has not fetched everything" in refused.stderr
    other.run("sync")
    unfetched = client.json("prune", theirs, "--dry-run")[0]
    assert unfetched["would_remove"] and unfetched["not_fetched_by"] == []
    client.run("delete", "--now", "--yes", theirs)
    client.run("prune", "--older-than", "0", "--force", "--yes")


def test_what_other_clients_have_not_fetched_is_said(client: Client, tmp_path: Path) -> None:
    other = Client(tmp_path / "other", client.project)
    (other.home / "hosts.toml").write_text(f'[hosts.local]\nroot = "{client.home}/agent"\n')
    client.run("submit", "--wait", "--", "true")
    other.run("sync")
    job = client.submit("--", "true")
    client.run("wait", job)
    client.run("sync")
    assert "1 other client of this host never fetched it" in client.run("prune", job, "--dry-run").stdout


# --- the agent itself -------------------------------------------------------------------------------------------


@pytest.mark.rest
def test_the_agent_is_looked_at_ended_and_removed(client: Client, sshd: Sshd) -> None:
    root = client.add_host("box", sshd)
    job = client.submit("--host", "box", "--", "sleep", "300")
    client.wait_until(job, "running")
    facts = json.loads(client.run("hosts", "agent", "status", "box", "--json").stdout)
    assert facts["running"] == 1 and facts["root"] == str(root) and facts["autostart"] is None
    for verb in ("stop", "uninstall"):
        words = ["hosts", "agent", verb, "box", *(["--yes"] if verb == "uninstall" else [])]
        assert "jobs run or wait" in client.run(*words, code=1).stderr
    client.run("stop", "--grace", "0", job)
    client.run("wait", job, code=None)
    client.run("hosts", "agent", "stop", "box")
    wait_until(lambda: not files.read_json(str(root / "owner.json")) or not _serves(root))
    assert "running" in client.run("hosts", "agent", "status", "box").stdout
    assert "asks before" in client.run("hosts", "agent", "uninstall", "box", code=2).stderr
    client.run("hosts", "agent", "uninstall", "box", "--yes")
    assert not root.exists()
    assert client.job(job, sync=False)["state"] == "stopped"


def _serves(root: Path) -> bool:
    try:
        agents.daemon_pid(root)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("by", ["systemd --user", "cron"])
def test_autostart(client: Client, sshd: Sshd, tmp_path: Path, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in {
        "systemctl": f'#!/bin/sh\necho "$*" >> {tmp_path}/calls\n' + ("" if by != "cron" else "exit 1\n"),
        "loginctl": "#!/bin/sh\necho Linger=no\n",
        "crontab": f'#!/bin/sh\nif [ "$1" = -l ]; then cat {tmp_path}/tab 2>/dev/null; else cat > {tmp_path}/tab; fi\n',
    }.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (tmp_path / "tab").write_text("0 5 * * * backup\n")
    client.env.update(PATH=f"{programs}:{client.env['PATH']}", XDG_CONFIG_HOME=str(tmp_path / "config"))
    client.run("submit", "--wait", "--", "true")
    done = client.run("hosts", "autostart", "local")
    assert f"started at boot by {by}" in done.stderr
    assert json.loads(client.run("hosts", "agent", "status", "local", "--json").stdout)["autostart"] == by
    root = client.home / "agent"
    if by == "cron":
        line = (tmp_path / "tab").read_text().splitlines()[1]
        command = line.removeprefix("@reboot ").partition("#")[0]
    else:
        assert "loginctl enable-linger" in done.stderr
        unit = next((tmp_path / "config/systemd/user").iterdir()).read_text()
        command = next(line for line in unit.splitlines() if line.startswith("ExecStart=")).removeprefix("ExecStart=")
        assert "KillMode=process" in unit
    client.run("hosts", "agent", "stop", "local")
    wait_until(lambda: not _serves(root))
    booted = subprocess.Popen(["sh", "-c", f"exec {command}"], env=client.env)
    try:
        wait_until(lambda: _serves(root))
    finally:
        booted.terminate()
        booted.wait()
    client.run("hosts", "autostart", "local", "--off")
    assert (tmp_path / "tab").read_text() == "0 5 * * * backup\n"
    assert not list((tmp_path / "config").rglob("*.service"))


# --- many -------------------------------------------------------------------------------------------------------


def test_many_jobs_in_one_call_are_all_or_none(client: Client) -> None:
    use_slots(client, 4)
    session = Session()
    wanted = [
        JobRequest(("sh", "-c", f"exit {n % 3}"), client.project, host="local", params={"n": n}) for n in range(60)
    ]
    ids = [one.view.spec.job for one in submit_all(session, wanted)]
    session.close()
    client.run("wait", *ids, code=1)
    client.run("sync")
    found = {job["job"]: job for job in client.json("jobs")}
    assert [found[job]["exit_code"] for job in ids] == [n % 3 for n in range(60)]
    assert [found[job]["params"] for job in ids] == [{"n": n} for n in range(60)]
    session = Session()
    with pytest.raises(Exception, match="asks for 99 CPUs"):
        submit_all(session, [*wanted[:5], JobRequest(("true",), client.project, host="local", cpus=99)])
    session.close()
    assert len(client.json("jobs", "--sync")) == 60


def test_a_sweep_spreads_over_hosts(client: Client, new_sshd: Any) -> None:
    for name in ("one", "two"):
        client.add_host(name, new_sshd(), max_jobs=2)
    session = Session()
    wanted = [JobRequest(("sleep", "0.1"), client.project, host="any") for _ in range(8)]
    submitted = submit_all(session, wanted)
    hosts = [one.host for one in submitted]
    assert sorted(hosts.count(name) for name in ("one", "two")) == [4, 4]
    session.close()
    client.run("wait", *(one.view.spec.job for one in submitted))


@pytest.mark.rest
def test_samples_of_host_and_job_come_back(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    work = "import time\nt=time.time()\nwhile time.time()-t<26: sum(range(10000))\nprint(time.process_time() / 26)"
    job = client.submit("--", "python", "-c", work)
    client.run("wait", job, timeout=90)
    client.run("sync")
    conn = Store().conn
    samples = queries.job_samples(conn, job, 1)
    got = float(client.run("logs", job).stdout)  # of a CPU, on whatever else the machine does
    used = max(sample.cpus or 0 for sample in samples)
    assert got / 2 < used < 1.2 and all(sample.ram for sample in samples)
    host = host_samples.since(conn, "local", 0.0)
    assert len(host) >= 2 and all(sample.ram and sample.disk_free for sample in host)


def test_the_verbs_are_listed(client: Client) -> None:
    shown = subprocess.run([*FOUNDATIONS, "--help"], capture_output=True, text=True, check=True).stdout
    for verb in ("queue", "gpus", "shell", "exec", "prune", "clear-queue", "pause", "resume", "move"):
        assert f"  {verb} " in shown
