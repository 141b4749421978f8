"""Faults: what is killed, cut, wiped or full, and that no job, line or number is lost or doubled."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from foundations_tui.session import Session
from foundations_tui.store import queries
from foundations_tui.store.db import Store
from foundations_tui.sync import pull
from remote_agent.storage import files
from remote_agent.system import processes
from tests.support import agents
from tests.support.client import Client, use_slots, wait_until
from tests.support.sshd import Sshd

CHATTY = """\
import foundations, sys, time
for n in range(400):
    print("line", n, "x" * 200, flush=True)
    foundations.log_metric("n", n)
    time.sleep(0.005)
"""


def kill(pid: int) -> None:
    processes.send_signal(pid, signal.SIGKILL, processes.start_time(pid))


def test_the_daemon_is_killed_while_20_jobs_run(client: Client) -> None:
    use_slots(client, 20)
    root = client.home / "agent"
    ids = [client.submit("--", "sh", "-c", f"sleep 3; exit {n}") for n in range(20)]
    wait_until(lambda: len(agents.supervisors(root)) == 20)
    agents.kill_daemon(root)
    # They end while nobody listens.
    wait_until(lambda: len(list(root.glob("jobs/*/attempts/1/exit.json"))) == 20)
    for n, job in enumerate(ids):
        client.run("wait", job, code=n)
    client.run("sync")
    assert [client.job(job, sync=False)["exit_code"] for job in ids] == list(range(20))


def test_the_queue_goes_on_without_daemon_and_client(client: Client) -> None:
    use_slots(client, 1)
    root = client.home / "agent"
    first = client.submit("--", "sleep", "4")
    second = client.submit("--", "sh", "-c", "echo ran > done")
    client.wait_until(first, "running")
    agents.kill_daemon(root)
    wait_until(lambda: (root / "jobs" / second / "attempts/1/exit.json").exists())


def test_a_killed_daemon_loses_no_submit(client: Client) -> None:
    """Kill the daemon again and again while jobs are submitted: what was acknowledged runs once."""
    use_slots(client, 4)
    root = client.home / "agent"
    client.submit("--", "true")
    acknowledged = []
    for n in range(6):
        process = client.start("submit", "--json", "--", "sh", "-c", f"echo {n} >> {client.home}/ran")
        time.sleep(random.Random(n).uniform(0.3, 0.9))
        try:
            agents.kill_daemon(root)
        except AssertionError:
            pass  # it was just being started again
        stdout, stderr = process.communicate(timeout=90)
        assert process.returncode == 0, stderr
        acknowledged.append(n)
    client.run("sync")
    wait_until(lambda: all(job["state"] == "completed" for job in client.json("jobs", "--sync")))
    assert sorted((client.home / "ran").read_text().split()) == [str(n) for n in acknowledged]


def test_a_killed_supervisor_is_lost_and_its_tree_is_ended(client: Client) -> None:
    job = client.submit("--", "sh", "-c", "setsid sleep 500 & sleep 500")
    client.wait_until(job, "running")
    record = agents.supervisors(client.home / "agent")[0]
    wait_until(lambda: len(processes.members_of_attempt(record.token, None)) >= 3)
    kill(agents.supervisor_pids(client.home / "agent")[0])
    client.run("wait", job, code=125)
    found = client.job(job)
    assert found["state"] == "lost" and found["reason_code"] == "supervisor_died" and "supervisor" in found["reason"]
    assert processes.members_of_attempt(record.token, None) == []


def test_supervisor_and_daemon_are_killed(client: Client) -> None:
    job = client.submit("--", "sleep", "500")
    client.wait_until(job, "running")
    root = client.home / "agent"
    (supervisor,) = agents.supervisor_pids(root)
    agents.kill_daemon(root)
    kill(supervisor)
    assert client.wait_until(job, "lost")["reason_code"] == "supervisor_died"


def test_a_job_that_submits_jobs_is_stopped_and_they_run_on(client: Client) -> None:
    use_slots(client, 4)
    inner = f"{sys.executable} -c 'from foundations_tui.cli.main import main; main()' submit -- sleep 4"
    job = client.submit("--", "sh", "-c", f"PYTHONPATH={Path.cwd()} {inner}; echo submitted; sleep 500")
    wait_until(lambda: "submitted" in client.run("logs", job).stdout)
    client.run("stop", "--grace", "0", job)
    client.run("wait", job, code=None)
    others = [found for found in client.json("jobs", "--sync") if found["job"] != job]
    assert [found["state"] for found in others] == ["running"]
    client.run("wait", others[0]["job"], code=0)


def test_sshd_is_cut_while_a_log_streams(client: Client, own_sshd: Sshd) -> None:
    client.add_host("box", own_sshd)
    (client.project / "chatty.py").write_text(CHATTY)
    process = client.start("submit", "--host", "box", "--follow", "--", "python", "chatty.py")
    assert process.stdout is not None and process.stderr is not None
    came = []
    for line in process.stdout:
        came.append(line.split()[1])
        if came[-1] in ("20", "200"):
            own_sshd.cut()
            time.sleep(0.3)
            own_sshd.start()
    assert process.wait(90) == 0, process.stderr.read()
    process.stdout.close()
    process.stderr.close()
    assert came == [str(n) for n in range(400)]
    client.run("sync")
    jobs = client.json("jobs")
    assert len(jobs) == 1 and jobs[0]["state"] == "completed"
    assert [v["value"] for v in client.json("metrics", jobs[0]["job"])] == list(range(400))


def test_sshd_is_cut_while_a_snapshot_travels(client: Client, own_sshd: Sshd) -> None:
    root = client.add_host("box", own_sshd)
    for n in range(20):
        (client.project / f"data-{n}.bin").write_bytes(os.urandom(4_000_000))
    process = client.start("submit", "--debug", "--host", "box", "--json", "--", "sh", "-c", "cat data-*.bin | wc -c")
    wait_until(lambda: bool(list(root.glob("objects/incoming-*"))), 30)
    own_sshd.cut()
    time.sleep(0.5)
    own_sshd.start()
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    job = client.json("jobs")[0]["job"]
    client.run("wait", job)
    assert client.run("logs", job).stdout.strip() == "80000000"
    assert len(client.json("jobs")) == 1


def test_a_wiped_root_means_lost_not_running_for_ever(client: Client, own_sshd: Sshd) -> None:
    root = client.add_host("box", own_sshd)
    running = client.submit("--host", "box", "--", "sleep", "500")
    done = client.submit("--host", "box", "--", "echo", "kept")
    client.run("wait", done)
    client.run("sync")
    own_sshd.cut()
    agents.end(root)
    subprocess.run(["rm", "-rf", root], check=True)
    assert client.run("sync", "box", code=4).stderr
    assert client.job(running, sync=False)["state"] == "running", "out of reach is not lost"
    assert client.job(running, sync=False)["host_state"] == "unreachable"
    own_sshd.start()
    client.run("sync", "box")
    lost = client.job(running, sync=False)
    assert (lost["state"], lost["reason_code"], lost["reason"]) == ("lost", "host_reinstalled", "host was reinstalled")
    assert client.job(done, sync=False)["state"] == "completed"
    assert client.run("logs", done).stdout == "kept\n"
    client.run("wait", running, code=125)
    client.run("delete", "--yes", running)


def test_a_full_disk_is_refused_before_anything_is_shipped(client: Client, sshd: Sshd, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", small], capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here (needs root)")
    try:
        client.add_host("box", sshd, root=small / "root")
        (client.project / "big.bin").write_bytes(os.urandom(30_000_000))
        done = client.run("submit", "--host", "box", "--", "true", code=4)
        assert "not enough disk" in done.stderr and "MB are free" in done.stderr
        assert client.json("jobs") == [] and not list((small / "root/objects").glob("??"))
        (client.project / "big.bin").unlink()
        client.run("submit", "--host", "box", "--wait", "--", "true")
    finally:
        agents.end(small / "root")
        time.sleep(0.3)
        subprocess.run(["umount", "-l", small], check=True)


def test_the_reason_of_a_waiting_job(client: Client) -> None:
    use_slots(client, 1)
    client.submit("--cpus", "1", "--", "sleep", "600")
    job = client.submit("--", "true")
    wait_until(lambda: "waits for" in (client.job(job)["reason"] or ""))
    client.run("stop", job)
    assert client.job(job)["state"] == "stopped"


@pytest.mark.parametrize("what", ["before", "after"])
def test_a_client_killed_at_every_transaction_boundary_of_a_sync(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    (client.project / "job.py").write_text(
        "import foundations\nfor n in range(3000):\n    print('line', n)\n    foundations.log_metric('m', n)\n"
    )
    ids = [client.submit("--", "python", "job.py") for _ in range(2)]
    client.run("wait", *ids)
    log = (client.home / "agent/jobs" / ids[0] / "attempts/1/output.log").read_bytes()
    boundaries = 0
    for n in range(1, 200):
        home = tmp_path / f"{what}-{n}"
        home.mkdir()
        (home / "hosts.toml").write_text(f'[hosts.local]\nroot = "{client.home}/agent"\n')
        monkeypatch.setenv("FOUNDATIONS_HOME", str(home))
        was_killed = _sync_killed_at(n, what)
        _sync_killed_at(0, what)
        conn = Store().conn
        for job in ids:
            values = [row.value for row in queries.metrics(conn, job, 1)]
            assert values == list(range(3000)), f"killed {what} transaction {n}"
            row = queries.job(conn, job)
            assert row.complete and row.state == "completed"
            assert row.metrics["m"].count == 3000 and row.metrics["m"].min == 0 and row.metrics["m"].max == 2999
        assert (home / "logs" / ids[0] / "1.log").read_bytes() == log
        if not was_killed:
            break
        boundaries += 1
    assert boundaries >= 6, boundaries


def _sync_killed_at(n: int, what: str) -> bool:
    """Sync in a child process that kills itself at its n-th transaction; say whether it did."""
    pid = os.fork()
    if pid == 0:
        _die_at_transaction(n, what)
        session = Session()
        pull.catch_up(session, "local")
        session.close()
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def _die_at_transaction(n: int, what: str) -> None:
    """Kill this process before or after the n-th commit; 0 for never."""
    whole: Callable[..., Any] = Store.transaction
    count = iter(range(1, 1 << 30))

    import contextlib

    @contextlib.contextmanager
    def counted(store: Store):  # type: ignore[no-untyped-def]
        dying = next(count) == n
        with whole(store) as conn:
            yield conn
            if dying and what == "before":
                os.kill(os.getpid(), signal.SIGKILL)
        if dying:
            os.kill(os.getpid(), signal.SIGKILL)

    Store.transaction = counted  # type: ignore[method-assign, assignment]


def test_an_interrupted_submit_is_settled_by_the_next_sync(client: Client) -> None:
    """Kill the client at each step of a submit: the job runs once or not at all, and the store says which."""
    client.submit("--", "true")
    for delay in (0.1, 0.25, 0.35, 0.45, 0.55, 0.7):
        process = client.start(
            "submit", "--name", f"at-{delay}", "--", "sh", "-c", f"echo x >> {client.home}/ran-{delay}"
        )
        time.sleep(delay)
        process.kill()
        process.communicate()
    client.run("sync")
    wait_until(lambda: all(job["state"] in ("completed", "failed") for job in client.json("jobs", "--sync")))
    for job in client.json("jobs"):
        ran = client.home / f"ran-{(job['name'] or 'x').removeprefix('at-')}"
        if job["state"] == "completed" and job["name"]:
            assert ran.read_text() == "x\n"
        elif job["name"]:
            assert job["reason_code"] == "submit_interrupted" and not ran.exists()


def test_a_torn_journal_is_cut_and_said(client: Client) -> None:
    client.run("wait", client.submit("--", "true"))
    root = client.home / "agent"
    agents.kill_daemon(root)
    with (root / "journal").open("ab") as file:
        file.write(b"\0" * 500)
    done = client.run("hosts", "test", "local")
    assert "damaged" in done.stdout
    assert client.json("jobs", "--sync")[0]["state"] == "completed"


def test_two_clients_on_one_host(client: Client, sshd: Sshd, tmp_path: Path) -> None:
    root = client.add_host("box", sshd)
    other = Client(tmp_path / "other-home", client.project)
    other.add_host("box", sshd, root=root)
    job = client.submit("--host", "box", "--", "sh", "-c", "echo one; sleep 1; echo two")
    other.run("sync")
    assert [found["job"] for found in other.json("jobs")] == [job]
    other.run("wait", job)
    client.run("wait", job)
    assert client.run("logs", job).stdout == other.run("logs", job).stdout == "one\ntwo\n"
    client.run("delete", job)
    assert other.json("jobs", "--sync") == []


def test_the_agent_runs_on_python_3_8(client: Client, tmp_path: Path) -> None:
    old = os.environ.get("PYTHON38") or _python_3_8()
    if not old:
        pytest.skip("there is no Python 3.8 here (PYTHON38 may name one)")
    (client.home / "hosts.toml").write_text(f'[hosts.local]\npython = "{old}"\n')
    (client.project / "job.py").write_text(
        "import sys, foundations\nprint(sys.version)\nfoundations.log_metric('a', 1)\n"
    )
    done = client.run("submit", "--follow", "--", "python", "job.py")
    assert done.stdout.startswith("3.8.")
    assert client.json("jobs", "--sync")[0]["metrics"]["a"]["last"] == 1


def _python_3_8() -> str:
    import shutil

    for name in ("python3.8", *map(str, Path.home().glob(".pyenv/versions/3.8.*/bin/python3.8"))):
        found = shutil.which(name)
        if found and subprocess.run([found, "-c", "pass"], capture_output=True).returncode == 0:
            return found
    return ""


def test_gpus_are_leased_by_uuid(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that prints what a real nvidia-smi printed stands in for the driver."""
    smi = tmp_path / "bin/nvidia-smi"
    smi.parent.mkdir()
    rows = "".join(
        f"{n}, GPU-5d1c3a9e-000{n}, NVIDIA A100-SXM4-80GB, 81920, {m}, 0, 31\\n"
        for n, m in ((0, 4), (1, 61203), (2, 4))
    )
    smi.write_text(f"#!/bin/sh\nprintf '{rows}'\n")
    smi.chmod(0o755)
    client.env["PATH"] = f"{smi.parent}:{client.env['PATH']}"
    use_slots(client, 8)
    show = 'echo "$CUDA_VISIBLE_DEVICES|$CUDA_DEVICE_ORDER|$FOUNDATIONS_GPU_INDICES"'
    show += f"; until [ -e {tmp_path}/go ]; do sleep 0.1; done"
    first, second = (client.submit("--gpus", "1", "--", "sh", "-c", show) for _ in range(2))
    third = client.submit("--gpus", "1", "--", "sh", "-c", show)
    words = "waits for 1 GPU: 0 free, 2 leased to jobs, 1 held by a process that cannot be seen (60 GB)"
    assert client.wait_until(third, "queued")["reason"] == words
    (tmp_path / "go").touch()
    client.run("wait", first, second, third)
    logs = [client.run("logs", job).stdout.strip() for job in (first, second, third)]
    assert logs[0] == "GPU-5d1c3a9e-0000|PCI_BUS_ID|0" and logs[1] == "GPU-5d1c3a9e-0002|PCI_BUS_ID|2"
    assert logs[2] in logs[:2]
    assert client.job(first)["gpus"] == ["GPU-5d1c3a9e-0000"]
    none = client.run("submit", "--follow", "--", "sh", "-c", 'echo "[$CUDA_VISIBLE_DEVICES]"')
    assert "asked for no GPU" in none.stdout and "[]" in none.stdout
    assert "this host has 3" in client.run("submit", "--gpus", "4", "--", "true", code=4).stderr
    assert len(client.json("hosts")[0]["gpus"]) == 3
    assert files.read_json(str(client.home / "agent/owner.json"))


def test_many_processes_sync_at_once_and_nothing_is_doubled(client: Client) -> None:
    (client.project / "train.py").write_text(
        "import foundations, time\n"
        "for n in range(3000):\n"
        "    print('line', n, flush=True); foundations.log_metric('n', n)\n"
        "    if n % 300 == 0: time.sleep(0.2)\n"
    )
    log = "".join(f"line {n}\n" for n in range(3000))
    jobs = [client.submit("--", "python", "train.py") for _ in range(3)]
    running = [client.start("wait", *jobs), client.start("logs", "-f", jobs[0]), client.start("logs", "-f", jobs[1])]
    while running[0].poll() is None:
        for process in [client.start("sync") for _ in range(4)]:
            _, stderr = process.communicate(timeout=60)
            assert process.returncode == 0, stderr
    for process in running:
        stdout, stderr = process.communicate(timeout=60)
        assert process.returncode == 0, stderr
        assert process is running[0] or stdout == log
    client.run("sync")
    for job in jobs:
        found = client.job(job, sync=False)["metrics"]["n"]
        assert found == {"first": 0, "last": 2999, "min": 0, "max": 2999, "count": 3000, "step": 2999}
        assert [value["value"] for value in client.json("metrics", job)] == list(range(3000))
        assert client.run("logs", job).stdout == log
