"""What hosts do to an agent: damaged journals, slow and full disks, reboots, clocks that jump, trees that hide."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from remote_agent import bootstrap
from remote_agent.backends import Status
from remote_agent.core import events
from remote_agent.core.events import JournalEntry
from remote_agent.core.state import HostState, apply, snapshot_events
from remote_agent.daemon import handlers, owner
from remote_agent.daemon.engine import Engine
from remote_agent.daemon.sampler import SEGMENT_BYTES, SEGMENTS, Ring
from remote_agent.protocol import messages
from remote_agent.protocol.ends import AttemptEnd, Usage
from remote_agent.protocol.errors import AlreadyRunning, Conflict, StorageBroken
from remote_agent.protocol.jobs import JobSpec
from remote_agent.protocol.states import EndReason
from remote_agent.storage import files, journal as journals, log_cap, unfetched
from remote_agent.storage.journal import Journal, encode_line
from remote_agent.storage.paths import Paths
from remote_agent.supervisor import exit_record
from remote_agent.system import processes, unix_sockets
from tests.support import agents
from tests.support.backend import FakeBackend
from tests.support.client import Client, wait_until
from tests.support.paths import DATA

TREE = "a" * 40


# --- the journal ------------------------------------------------------------------------------------------------


def replayed(path: Path) -> HostState:
    state = HostState()
    for event in Journal(str(path), 0.0).take_history():
        apply(state, JournalEntry.from_wire(event))
    return state


@pytest.mark.parametrize("path", sorted((DATA / "journals").iterdir()), ids=lambda path: path.name)
def test_a_journal_of_each_format_is_still_read(path: Path, tmp_path: Path) -> None:
    shutil.copy(path, tmp_path / "journal")
    state = replayed(tmp_path / "journal")
    assert {job: view.state.value for job, view in state.jobs.items()} == {
        "done": "completed",
        "failed": "failed",
        "stopped": "stopped",
        "lost": "lost",
        "waiting": "queued",
        "running": "running",
    }
    assert list(state.queue) == ["waiting"] and set(state.deleted) == {"gone"}
    assert state.jobs["failed"].exit_code == 3 and state.jobs["done"].usage == Usage(wall_seconds=3.0)
    assert state.leases["running"].gpus == ("GPU-0",) and state.jobs["done"].spec.params == {"lr": 0.1}


@pytest.mark.parametrize("damage", ["", "behind a damage"])
def test_a_journal_of_a_newer_agent_is_refused_and_left_as_it_is(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "journal"
    lines = (DATA / "journals" / "v1").read_bytes()
    newer = encode_line({"seq": 28, "time": 1764000027.0, "type": "of_a_later_version", "job": "done", "x": 1})
    whole = lines + (b"garbage\n" if damage else b"") + newer
    path.write_bytes(whole)
    with pytest.raises(StorageBroken, match="'of_a_later_version' that this agent does not know.*newer client"):
        Journal(str(path), 0.0, known=events.KINDS)
    assert path.read_bytes() == whole and os.listdir(tmp_path) == ["journal"]


def test_an_older_agent_says_that_a_newer_one_wrote_its_journal(client: Client) -> None:
    client.run("wait", client.submit("--", "true"))
    root = client.home / "agent"
    agents.kill_daemon(root)
    last = list(journals.decode_lines((root / "journal").read_bytes()))[-1][0]["seq"]
    with (root / "journal").open("ab") as file:
        file.write(encode_line({"seq": last + 1, "time": 0.0, "type": "service_declared", "name": "x"}))
    before = (root / "journal").read_bytes()
    done = client.run("submit", "--", "true", code=4)
    assert "'service_declared'" in done.stderr and "use a newer client" in done.stderr
    assert (root / "journal").read_bytes() == before


def test_every_format_version_has_a_journal_that_is_checked_in() -> None:
    assert {path.name for path in (DATA / "journals").iterdir()} == {f"v{n + 1}" for n in range(journals.VERSION)}


class _Host:
    """An engine over a root whose jobs run nowhere: their folders are written as supervisors would."""

    def __init__(self, root: Path) -> None:
        self.paths = Paths(str(root))
        for folder in (self.paths.jobs, self.paths.objects, self.paths.trash):
            os.makedirs(folder, exist_ok=True)

    def engine(self) -> Engine:
        backend = _Backend(self.paths)
        engine = Engine(self.paths, Journal(self.paths.journal, 1.0), backend, time.time)
        engine.objects.has = lambda oid: True  # type: ignore[method-assign]
        return engine


class _Backend(FakeBackend):
    def __init__(self, paths: Paths) -> None:
        super().__init__(slots=4)
        self._paths = paths

    def adopt(self, attempt: Any) -> bool:
        return os.path.exists(self._paths.job(attempt[0]).attempt(attempt[1]).folder)

    def start(self, attempt: Any, lease: Any, is_brief: bool) -> None:
        one = self._paths.job(attempt[0]).attempt(attempt[1])
        os.makedirs(one.folder)
        files.write_json(one.supervisor, {"lease": lease.to_wire()})

    def news(self, attempts: Any) -> Iterator[tuple[tuple[str, int], Status]]:
        for job, number in attempts:
            record = files.read_json(self._paths.job(job).attempt(number).exit)
            if record:
                yield (job, number), Status("ended", end=AttemptEnd.received(record, ""))


def finish(host: _Host, job: str, code: int) -> None:
    reason = EndReason.EXIT_CODE if code else EndReason.FINISHED
    files.write_json(host.paths.job(job).attempt(1).exit, exit_record.record(reason, "", code).to_wire())


def make_history(root: Path) -> _Host:
    """Twelve jobs: j0 to j5 ended with their number, j6 to j9 run, the others wait; one more is deleted."""
    host = _Host(root)
    engine = host.engine()
    for number in range(12):
        engine.requests.submit(JobSpec(f"j{number}", ("true",), TREE))
    engine.ledger.commit()
    for number in range(6):
        while f"j{number}" not in engine.state.active:
            engine.advance()
            engine.ledger.commit()
        finish(host, f"j{number}", number)
        engine.advance()
        engine.ledger.commit()
    engine.requests.submit(JobSpec("gone", ("true",), TREE))
    engine.requests.stop("gone", "me")
    engine.requests.delete("gone", "", force=True)
    engine.ledger.commit()
    engine.journal.close()
    return host


def damaged(data: bytes, rng: random.Random, how: str) -> bytes:
    at, length = rng.randrange(len(data)), rng.choice([1, 7, 100, 512, 4096])
    if how == "truncated":
        return data[:at]
    if how == "cut out":
        return data[:at] + data[at + length :]
    if how == "zeroed":
        hole = min(length, len(data) - at)
        return data[:at] + bytes(hole) + data[at + hole :]
    return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]


@pytest.mark.parametrize("how", ["truncated", "cut out", "zeroed", "flipped"])
def test_a_journal_damaged_anywhere(tmp_path: Path, how: str) -> None:
    """The agent starts, keeps what is good, finds the rest in the folders, runs nothing twice, and says so."""
    make_history(tmp_path / "whole")
    rng = random.Random(how)
    for turn in range(40):
        root = tmp_path / f"{turn}"
        shutil.copytree(tmp_path / "whole", root)
        path = root / "journal"
        whole = path.read_bytes()
        path.write_bytes(damaged(whole, rng, how))
        is_beginning = whole.startswith(path.read_bytes())
        before = {name: _attempts(root, name) for name in os.listdir(root / "jobs")}
        host = _Host(root)
        engine = host.engine()
        found = engine.journal.problems
        assert found or is_beginning, "only an end that is missing from between two lines on cannot be seen"
        for _ in range(3):
            engine.advance()
            engine.ledger.commit()
        jobs = engine.state.jobs
        for number in range(6):
            assert jobs[f"j{number}"].exit_code == number, (turn, found)
        assert all(job in jobs for job in before), "every job that began is known"
        assert all(_attempts(root, job) == began for job, began in before.items() if began), "none is begun again"
        seqs = [view.seq for view in jobs.values()]
        assert len(seqs) == len(set(seqs)) and engine.state.seq >= max(seqs)
        engine.journal.close()
        again = host.engine()
        assert {job: view.state for job, view in again.state.jobs.items()} == {job: v.state for job, v in jobs.items()}
        again.journal.close()


def test_the_whole_host_is_paused_however_many_groups_are(tmp_path: Path) -> None:
    engine = _Host(tmp_path).engine()
    for number in range(1000):
        engine.requests.pause(f"group {number}", True)
    with pytest.raises(Conflict):
        engine.requests.pause("one more", True)
    engine.requests.pause("group 5", True)
    engine.requests.pause("*", True)
    assert "*" in engine.state.paused
    engine.requests.pause("*", False)
    engine.journal.close()


@pytest.mark.parametrize(
    "found",
    ['{"files": 3}', '{"files": 3, "bytes": "x", "largest": ["a", 1]}', '{"files": 3, "bytes": 1, "largest": 5}', "[]"]
    + ['{"files": 1, "bytes": 1, "largest": ["\\ud800", 1]}', "[" * 100_000],
)
def test_a_survey_that_the_job_wrote_itself_is_none(tmp_path: Path, found: str) -> None:
    job = Paths(str(tmp_path)).job("job")
    os.makedirs(os.path.dirname(job.unfetched))
    Path(job.unfetched).write_text(found)
    assert "nobody has looked" in unfetched.words(job)


def test_files_that_may_go_take_nothing_else_with_them(tmp_path: Path) -> None:
    """That a person gives up a job's files says nothing about the logs that its submitter has not fetched."""
    host = _Host(tmp_path)
    engine = host.engine()
    engine.requests.submit(JobSpec("job", ("true",), TREE, client="submitter"))
    engine.ledger.commit()
    engine.advance()
    engine.ledger.commit()
    finish(host, "job", 0)
    engine.advance()
    engine.ledger.commit()
    with pytest.raises(Conflict, match="has not fetched everything"):
        engine.requests.delete("job", "another", files=True)
    with pytest.raises(Conflict, match="whether all that it wrote"):
        engine.requests.delete("job", "submitter")
    engine.requests.acknowledge("submitter", ["job"])
    engine.requests.delete("job", "another", files=True)
    engine.ledger.commit()
    assert "job" not in engine.state.jobs
    engine.journal.close()


@pytest.mark.parametrize("how", ["truncated", "cut out", "zeroed", "flipped", "between lines", "gone"])
def test_a_queued_job_is_lost_by_no_damage_and_a_stopped_one_never_runs(tmp_path: Path, how: str) -> None:
    engine = _Host(tmp_path / "whole").engine()
    for number in range(12):
        engine.requests.submit(JobSpec(f"j{number}", ("true",), TREE))
        engine.ledger.commit()
        if number in (4, 9):
            engine.requests.stop(f"j{number - 1}", "me")
            engine.ledger.commit()
    engine.requests.delete("j3", "", force=True)
    engine.ledger.commit()
    engine.journal.close()
    rng = random.Random(how)
    for turn in range(40):
        root = tmp_path / f"{turn}"
        shutil.copytree(tmp_path / "whole", root)
        path = root / "journal"
        lines = path.read_bytes().splitlines(keepends=True)
        cut = {"between lines": b"".join(lines[: rng.randrange(1, len(lines))]), "gone": b""}
        path.write_bytes(cut[how] if how in cut else damaged(path.read_bytes(), rng, how))
        host = _Host(root)
        again = host.engine()
        for _ in range(20):
            again.advance()
            again.ledger.commit()
        jobs = again.state.jobs
        assert {f"j{n}" for n in range(12)} - jobs.keys() - again.state.deleted.keys() == set(), (turn, how)
        begun = {name for name in os.listdir(root / "jobs") if _attempts(root, name)}
        assert not begun & {"j3", "j8"}, "what was stopped is held, if anything"
        held = [job for job in again.state.queue.everyone() if jobs[job].held]
        assert not held or any("foundations resume" in words for words in again.journal.problems)
        for job in held:
            assert again.requests.release(job).held is False
        again.ledger.commit()
        again.journal.close()
        once_more = host.engine()
        assert not any(view.held for view in once_more.state.jobs.values())
        once_more.journal.close()


def test_only_submits_are_missing_so_they_start(tmp_path: Path) -> None:
    """The numbers of the lines say that nothing else is gone: nobody has to be asked."""
    engine = _Host(tmp_path).engine()
    for number in range(4):
        engine.requests.submit(JobSpec(f"j{number}", ("true",), TREE))
    engine.ledger.commit()
    engine.journal.close()
    path = tmp_path / "journal"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b"\0" * 50 + b"\n", lines[4]]))
    again = _Host(tmp_path).engine()
    assert {job: view.held for job, view in again.state.jobs.items()} == {f"j{n}": False for n in range(4)}
    again.journal.close()


def _attempts(root: Path, job: str) -> list[str]:
    folder = root / "jobs" / job / "attempts"
    return sorted(os.listdir(folder)) if folder.exists() else []


@pytest.mark.parametrize("compacted", [False, True])
def test_a_line_that_is_missing_is_damage(tmp_path: Path, compacted: bool) -> None:
    """Cut out so that what is left reads well: only the numbers of the lines say it."""
    engine = make_history(tmp_path).engine()
    if compacted:
        engine.journal.compact((entry.to_wire() for entry in snapshot_events(engine.state, 1.0)), 1.0)
        engine.requests.submit(JobSpec("late", ("true",), TREE))
        engine.requests.submit(JobSpec("later", ("true",), TREE))
        engine.ledger.commit()
    engine.journal.close()
    path = tmp_path / "journal"
    lines = path.read_bytes().splitlines(keepends=True)
    del lines[-2]
    path.write_bytes(b"".join(lines))
    again = _Host(tmp_path).engine()
    assert "damaged" in again.journal.problems[0]
    assert all(again.state.jobs[f"j{number}"].exit_code == number for number in range(6))
    assert ("later" in again.state.jobs) == compacted
    again.journal.close()
    once_more = _Host(tmp_path).engine()
    assert not once_more.journal.problems
    once_more.journal.close()


def test_clients_take_the_whole_state_after_damage(client: Client) -> None:
    jobs = [client.submit("--", "sh", "-c", f"exit {n}") for n in range(4)]
    client.run("wait", *jobs, code=1)
    client.run("sync")
    root = client.home / "agent"
    agents.kill_daemon(root)
    data = (root / "journal").read_bytes()
    (root / "journal").write_bytes(data[:300] + b"\0" * 500 + data[800:])
    assert "damaged" in client.run("hosts", "test", "local").stdout
    assert [client.job(job)["exit_code"] for job in jobs] == [0, 1, 2, 3]
    client.run("submit", "--wait", "--", "true")


def test_compaction_keeps_ids_sequences_and_what_was_deleted(tmp_path: Path) -> None:
    host = make_history(tmp_path)
    engine = host.engine()
    before, seq, name = dict(engine.state.jobs), engine.state.seq, engine.journal.id
    engine.journal.compact((entry.to_wire() for entry in snapshot_events(engine.state, 1.0)), 1.0)
    engine.requests.submit(JobSpec("after", ("true",), TREE))
    engine.ledger.commit()
    again = host.engine()
    assert again.journal.id == name and again.state.seq > seq and not again.journal.problems
    assert {job: view for job, view in again.state.jobs.items() if job != "after"} == before
    with pytest.raises(Exception, match="has been deleted"):
        again.requests.submit(JobSpec("gone", ("true",), TREE))


# --- disks ------------------------------------------------------------------------------------------------------

SLOW_SYNC = """\
import os, sys, time
sys.path.insert(0, {here!r})
from remote_agent.daemon import commit_thread, loop
from remote_agent.storage import journal
commit_thread.SLOW = 0.3
sync = journal.Journal.sync
def slow(self):
    while os.path.exists({flag!r}):
        time.sleep(0.02)
    sync(self)
journal.Journal.sync = slow
sys.argv[0] = {agent!r}
sys.exit(loop.main({root!r}, {sha!r}))
"""


def test_a_disk_that_stalls_holds_up_nobody_who_only_looks(client: Client, tmp_path: Path) -> None:
    """A sync that hangs, as on NFS: logs are still read, the host says so, and what waited is done when it is over."""
    root = client.home / "agent"
    job = client.submit("--", "sh", "-c", "for n in $(seq 100); do echo line $n; sleep 0.1; done")
    client.wait_until(job, "running")
    sha = (root / "agents/current").read_text()
    agents.kill_daemon(root)
    flag = tmp_path / "stalled"
    agent = str(root / "agents" / sha / "agent.pyz")
    script = SLOW_SYNC.format(here=str(Path.cwd()), flag=str(flag), agent=agent, root=str(root), sha=sha)
    daemon = subprocess.Popen([sys.executable, "-c", script], env=client.env, cwd=root)
    try:
        wait_until(lambda: _is_owner(root, daemon.pid))
        client.run("sync")
        flag.touch()
        submitting = client.start("submit", "--", "true")
        from foundations_tui.session import Session

        session = Session()

        def problems() -> list[str]:
            return list(session.agent("local").call(messages.Hello(), timeout=30).problems)

        wait_until(lambda: any("disk slow" in problem for problem in problems()))
        _, page = session.agent("local").ask(messages.Read(job, 1, "log", 0)).get(30)
        assert page.startswith(b"line 1\n")
        assert submitting.poll() is None, "it is acknowledged only when it is durable"
        flag.unlink()
        stdout, stderr = submitting.communicate(timeout=30)
        assert submitting.returncode == 0, stderr
        client.run("wait", stdout.strip())
        session.close()
    finally:
        flag.unlink(missing_ok=True)
        daemon.terminate()
        daemon.wait(20)


def _is_owner(root: Path, pid: int) -> bool:
    owner: Any = files.read_json(str(root / "owner.json"))
    return bool(owner) and owner["who"]["pid"] == pid


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 40 MB; needs root."""
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", small], capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here (needs root)")
    yield small
    agents.end(small / "root")
    time.sleep(0.3)
    subprocess.run(["umount", "-l", small], check=True)


def test_a_disk_that_fills_up_loses_no_exit_code(client: Client, small_disk: Path) -> None:
    """The reserve is given up for the records of ends; new jobs are refused; with space, all goes on."""
    root = small_disk / "root"
    (client.home / "hosts.toml").write_text(f'[hosts.local]\nroot = "{root}"\nmax_jobs = 3\n')
    script = "while [ ! -e {go} ]; do sleep 0.1; done; echo last words; exit {code}"
    go = client.home / "go"
    ids = [client.submit("--", "sh", "-c", script.format(go=go, code=n)) for n in (3, 4)]
    for job in ids:
        client.wait_until(job, "running")
    (root / "ballast").write_bytes(b"x" * files.RESERVE_BYTES)  # such a small disk gets none by itself
    stop = client.submit("--", "sleep", "300")
    client.wait_until(stop, "running")
    subprocess.run(["dd", "if=/dev/zero", f"of={small_disk}/fill", "bs=64k"], capture_output=True)
    assert files.free_bytes(str(small_disk)) < 70_000
    refused = client.run("submit", "--", "true", code=4)
    assert "not enough disk" in refused.stderr or "is full" in refused.stderr
    go.touch()
    for job, code in zip(ids, (3, 4), strict=True):
        client.run("wait", job, code=code, timeout=60)
        assert client.job(job)["exit_code"] == code
    client.run("stop", "--grace", "0", stop)
    client.run("wait", stop, code=None)
    assert client.job(stop)["state"] == "stopped"
    (small_disk / "fill").unlink()
    client.run("submit", "--wait", "--", "true")


def test_a_disk_that_only_reads_is_refused_before_anything_is_accepted(client: Client, small_disk: Path) -> None:
    root = small_disk / "root"
    (client.home / "hosts.toml").write_text(f'[hosts.local]\nroot = "{root}"\n')
    client.run("submit", "--wait", "--", "true")
    client.run("hosts", "agent", "stop", "local")
    wait_until(lambda: subprocess.run(["mount", "-o", "remount,ro", small_disk], capture_output=True).returncode == 0)
    try:
        assert "Read-only" in client.run("submit", "--", "true", code=4).stderr
        assert len(client.json("jobs")) == 1
    finally:
        subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    client.run("submit", "--wait", "--", "true")


def test_a_disk_that_runs_no_programs(client: Client, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,noexec", small_disk], check=True)
    (client.home / "hosts.toml").write_text(f'[hosts.local]\nroot = "{small_disk}/root"\n')
    (client.project / "run.sh").write_text("#!/bin/sh\necho hi\n")
    (client.project / "run.sh").chmod(0o755)
    assert "noexec" in client.run("hosts", "test", "local").stdout
    assert "noexec" in client.run("submit", "--", "./run.sh", code=4).stderr
    assert client.run("submit", "--follow", "--", "sh", "run.sh").stdout == "hi\n"
    assert client.run("submit", "--follow", "--", "python", "-c", "print(1)").stdout == "1\n"


@pytest.mark.rest
def test_a_log_over_its_limit_loses_its_middle_and_no_offset(client: Client) -> None:
    limit = 4 << 20
    lines = "for n in range(400_000): print(f'line {n:06d}', 'x' * 40)\nimport time; time.sleep(7)\nprint('the end')"
    job = client.submit("--log-limit", "4M", "--", "python", "-c", lines)
    client.run("wait", job, timeout=120)
    log = client.home / "agent/jobs" / job / "attempts/1/output.log"
    stats = log.stat()
    assert stats.st_size == 400_000 * 53 + 8 and stats.st_blocks * 512 <= limit + 8192
    data = log.read_bytes()
    assert data.startswith(b"line 000000 ") and data.endswith(b"the end\n") and b"of this log were dropped" in data
    at = data.index(b"line 399000 ")
    assert at == 399_000 * 53, "every offset stays"
    assert client.job(job)["exit_code"] == 0
    client.run("sync")
    assert client.run("logs", job, text=False).stdout.endswith(b"the end\n")


def test_a_log_is_bounded_again_and_again(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for turn in range(5):
        with log.open("ab") as file:
            file.write(bytes([65 + turn]) * 1_000_000)
        log_cap.bound(str(log), 600_000)
        assert log.stat().st_blocks * 512 <= 610_000 and log.stat().st_size == (turn + 1) * 1_000_000
    data = log.read_bytes()
    assert data[:100_000] == b"A" * 100_000 and data[-200_000:] == b"E" * 200_000
    assert log_cap.bound(str(log), 600_000) == 0 and log_cap.bound(str(tmp_path / "none"), 1) == 0


def test_the_ring_of_samples_forgets_the_oldest(tmp_path: Path) -> None:
    ring = Ring(str(tmp_path))
    line = b"x" * 4095 + b"\n"
    total = SEGMENT_BYTES * (SEGMENTS + 3)
    for _ in range(total // len(line)):
        ring.append(line)
    assert ring.end == total and len(list(tmp_path.iterdir())) == SEGMENTS
    offset, page = ring.read(0, 8192)
    assert offset == total - len(list(tmp_path.iterdir())) * SEGMENT_BYTES and page == line * 2
    assert ring.read(total, 100) == (total, b"")
    assert Ring(str(tmp_path)).end == total


# --- reboots, clocks, processes ---------------------------------------------------------------------------------


def test_a_reboot_loses_what_ran_retries_it_and_goes_on_with_the_queue(client: Client) -> None:
    (client.home / "hosts.toml").write_text("[hosts.local]\nmax_jobs = 2\n")
    root = client.home / "agent"
    lost = client.submit("--", "sleep", "300")
    retried = client.submit("--retries", "1", "--", "sh", "-c", 'test "$FOUNDATIONS_ATTEMPT" = 2 || sleep 300')
    for job in (lost, retried):
        client.wait_until(job, "running")
    waiting = client.submit("--", "true")
    agents.reboot(root)
    client.run("wait", waiting, retried)
    found = client.job(lost)
    assert (found["state"], found["reason_code"]) == ("lost", "host_rebooted") and "rebooted" in found["reason"]
    again = client.job(retried)
    assert (again["attempt"], again["attempts"][0]["reason_code"]) == (2, "host_rebooted")


def test_clocks_that_jump(tmp_path: Path) -> None:
    """Order is by sequence, spans are monotonic; a wall clock may go anywhere."""
    host = _Host(tmp_path)
    clock = {"now": 1_000_000.0}
    engine = host.engine()
    engine.ledger.clock = lambda: clock["now"]
    engine.requests.submit(JobSpec("a", ("true",), TREE, grace=30))
    engine.advance()
    engine.ledger.commit()
    clock["now"] -= 500_000
    engine.requests.stop("a", "me")
    engine.ledger.commit()
    engine.requests.submit(JobSpec("b", ("true",), TREE))
    engine.ledger.commit()
    assert [wire["spec"]["job"] for wire in engine.state.changes(0, 1 << 20, 10).jobs] == ["a", "b"]
    engine.journal.close()
    stops: list[float] = []
    backend = _Backend(host.paths)
    backend.stop = lambda attempt, by, grace: stops.append(grace)  # type: ignore[method-assign]
    journal = Journal(host.paths.journal, 1.0)
    for moment in (9_000_000.0, 0.0):
        clock["now"] = moment
        again = Engine(host.paths, journal, backend, lambda: clock["now"])
        journal = Journal(host.paths.journal, 1.0)
        assert again.state.jobs["a"].stop_requested_by == "me"
    assert stops == [0.0, 30.0], "never longer than its grace time"


def test_the_time_it_took_does_not_depend_on_the_wall_clock() -> None:
    source = (Path(exit_record.__file__).parent / "supervisor.py").read_text()
    assert "wall_seconds=round(time.monotonic() - self._began" in source


def _storm(at_first: str, each_time: str) -> str:
    """Return a program of three processes that live for 2 ms, each followed by its child."""
    return (
        "import os, time\n"
        "for n in range(3):\n"
        "    if os.fork() == 0:\n"
        f"        {at_first}\n"
        "        end = time.time() + 60\n"
        "        while time.time() < end:\n"
        "            if os.fork(): os._exit(0)\n"
        f"            {each_time}\n"
        "            time.sleep(0.002); open(os.environ['SEEN'], 'w').close()\n"
        "print('ready', flush=True); time.sleep(300)\n"
    )


TREES = {
    "a loader's workers": "import multiprocessing as m, time\n"
    "if __name__ == '__main__':\n"
    "    w = [m.Process(target=time.sleep, args=(300,)) for _ in range(6)]\n"
    "    [x.start() for x in w]; print('ready', flush=True); time.sleep(300)\n",
    "a daemon of its own": "import os, time\n"
    "if os.fork() == 0:\n"
    "    os.setsid()\n"
    "    if os.fork() == 0:\n"
    "        time.sleep(300)\n"
    "    os._exit(0)\n"
    "print('ready', flush=True); time.sleep(300)\n",
    "deaf to signals": "import signal, subprocess, time\n"
    "for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(n, signal.SIG_IGN)\n"
    "subprocess.Popen(['setsid', 'sh', '-c', 'trap \"\" TERM; sleep 300; sleep 300'])\n"
    "print('ready', flush=True); time.sleep(300)\n",
    "forks all the time": _storm("os.setsid()", ""),
    "forks all the time, in a new session": _storm("", "os.setsid()"),
    "zombies": "import os, time\n"
    "for n in range(20):\n"
    "    if os.fork() == 0: os._exit(0)\n"
    "print('ready', flush=True); time.sleep(300)\n",
}


@pytest.mark.parametrize("name", TREES)
def test_after_a_stop_no_process_is_left(client: Client, tmp_path: Path, name: str) -> None:
    (client.project / "tree.py").write_text(TREES[name])
    seen = tmp_path / "seen"
    job = client.submit("--env", f"SEEN={seen}", "--", "python", "tree.py")
    wait_until(lambda: "ready" in client.run("logs", job).stdout)
    token = agents.supervisors(client.home / "agent")[-1].token
    assert processes.members_of_attempt(token, None)
    client.run("stop", "--grace", "1", job)
    client.run("wait", job, code=None)
    assert client.job(job)["state"] == "stopped"
    left = [pid for pid in processes.members_of_attempt(token, None) if processes.start_time(pid) is not None]
    assert left == [], name
    seen.unlink(missing_ok=True)
    time.sleep(0.1)
    assert not seen.exists(), "a process that no look at all processes shows goes on"


def cause_code(end: AttemptEnd) -> str:
    return end.cause.code if end.cause else ""


def test_a_killed_by_memory_is_told_from_a_kill(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(
        processes, "read_text", lambda path: "pgfault 12\noom_kill 3\n" if path == "/proc/vmstat" else ""
    )
    assert processes.oom_kills() == 3
    attempt = Paths(str(tmp_path)).job("a").attempt(1)
    os.makedirs(attempt.folder)
    killed = exit_record.of_process(signal.SIGKILL, None, "")
    assert (killed.exit_code, killed.signal) == (137, "SIGKILL")
    assert cause_code(exit_record.with_cause(killed, attempt, 1)) == "oom_killed"
    assert cause_code(exit_record.with_cause(killed, attempt, 0)) == "killed"


# --- versions ---------------------------------------------------------------------------------------------------


def test_a_newer_client_replaces_the_daemon_under_running_jobs(client: Client, tmp_path: Path) -> None:
    root = client.home / "agent"
    go = tmp_path / "go"
    job = client.submit("--", "sh", "-c", f"while ! [ -e {go} ]; do sleep 0.1; done; exit 6")
    waiting = client.submit("--after-any", job, "--", "true")
    client.wait_until(job, "running")
    old, pid = (root / "agents/current").read_text(), agents.daemon_pid(root)
    newer = _copy_of_the_tree(tmp_path / "newer", '__version__ = "99.0.0"')
    env = {"PYTHONPATH": str(newer)}
    client.spawn("sync", env=env)
    assert (root / "agents/current").read_text() != old and agents.daemon_pid(root) != pid
    facts = json.loads(client.spawn("hosts", "agent", "status", "local", "--json", env=env).stdout)
    assert facts["agent_version"] == "99.0.0" and facts["running"] == 1
    go.touch()
    client.spawn("wait", job, code=6, env=env)
    client.spawn("wait", waiting, env=env)


def test_an_older_client_may_read_and_stop_and_is_told_both_versions(client: Client, tmp_path: Path) -> None:
    newer = _copy_of_the_tree(tmp_path / "newer", '__version__ = "99.0.0"')
    protocol = newer / "remote_agent/protocol/framing.py"
    protocol.write_text(protocol.read_text().replace("VERSION = 1\n", "VERSION = 2\n"))
    words = ["submit", "--", "sh", "-c", "echo hello; sleep 300"]
    job = client.spawn(*words, env={"PYTHONPATH": str(newer)}).stdout.strip()
    client.wait_until(job, "running")
    wait_until(lambda: client.run("logs", job).stdout == "hello\n")
    done = client.run("submit", "--", "true", code=4)
    assert "99.0.0" in done.stderr and "than this client" in done.stderr
    client.run("stop", "--grace", "0", job)
    client.run("wait", job, code=None)


def _copy_of_the_tree(target: Path, version: str) -> Path:
    """Return a copy of the three packages that calls itself by another version."""
    for package in ("foundations", "foundations_tui", "remote_agent"):
        shutil.copytree(Path.cwd() / package, target / package, ignore=shutil.ignore_patterns("__pycache__"))
    init = target / "remote_agent" / "__init__.py"
    init.write_text(re.sub("__version__ = .*", version, init.read_text()))
    return target


def test_an_upgrade_leaves_an_old_agents_supervisors_their_attempts(client: Client, tmp_path: Path) -> None:
    """A supervisor of an earlier daemon gets no further order: it would run the old code."""
    (client.home / "hosts.toml").write_text("[hosts.local]\nmax_jobs = 1\n")
    root = client.home / "agent"
    first = client.submit("--", "sh", "-c", f"while [ ! -e {tmp_path}/go ]; do sleep 0.1; done")
    client.wait_until(first, "running")
    (supervisor,) = agents.supervisor_pids(root)
    agents.kill_daemon(root)
    second = client.submit("--", "sh", "-c", "sleep 0.1")
    (tmp_path / "go").touch()
    client.run("wait", first, second)
    record = json.loads((root / "jobs" / second / "attempts/1/supervisor.json").read_text())
    assert record["supervisor"]["pid"] != supervisor


@pytest.mark.slow
def test_a_supervisor_takes_the_next_attempt(client: Client) -> None:
    (client.home / "hosts.toml").write_text("[hosts.local]\nmax_jobs = 1\n")
    from foundations_tui.session import Session
    from foundations_tui.submit.pipeline import submit_all
    from foundations_tui.submit.request import JobRequest

    session = Session()
    wanted = [JobRequest(("sh", "-c", "echo $FOUNDATIONS_JOB_ID"), client.project, host="local") for _ in range(10)]
    ids = [one.view.spec.job for one in submit_all(session, wanted)]
    session.close()
    client.run("wait", *ids)
    records = [agents_record(client, job) for job in ids]
    assert len({record["supervisor"]["pid"] for record in records}) < 10, "they share supervisors"
    assert len({record["token"] for record in records}) == 10, "and nothing else"
    for job in ids:
        assert client.run("logs", job).stdout == f"{job}\n"


def agents_record(client: Client, job: str) -> dict[str, Any]:
    return dict(json.loads((client.home / "agent/jobs" / job / "attempts/1/supervisor.json").read_text()))


def test_threads_that_submit_at_once_make_each_job_once(client: Client) -> None:
    from foundations_tui.session import Session
    from foundations_tui.submit.pipeline import submit
    from foundations_tui.submit.request import JobRequest

    (client.home / "hosts.toml").write_text("[hosts.local]\nmax_jobs = 4\n")
    found: list[str] = []

    def one() -> None:
        session = Session()
        found.append(submit(session, JobRequest(("true",), client.project, host="local")).view.spec.job)
        session.close()

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    client.run("wait", *found)
    assert len(client.json("jobs", "--sync")) == 8


# --- whose root it is -------------------------------------------------------------------------------------------


def test_a_home_that_several_machines_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each machine has a root of its own in it, and a root that another agent lives in is not taken."""
    monkeypatch.setenv("HOME", str(tmp_path))
    roots = set()
    for name in ("one", "two"):
        monkeypatch.setattr(bootstrap, "machine_id", lambda name=name: name)
        roots.add(bootstrap.choose_root(""))
    assert roots == {f"{tmp_path}/.foundations/one", f"{tmp_path}/.foundations/two"}
    monkeypatch.setattr(owner, "_HANDOVER", 0.1)
    paths = Paths(f"{tmp_path}/.foundations/one")
    owner.claim(paths)
    line = json.loads(Path(paths.owner).read_text())
    for change in ({"who": processes.identity(os.getppid()).to_wire()}, {"host": "another", "namespace": "pid:[7]"}):
        files.write_json(paths.owner, {**line, **change})
        with pytest.raises(AlreadyRunning, match="belongs to an agent on"):
            owner.claim(paths)
    os.utime(paths.owner, (1, 1))
    owner.claim(paths)  # the other machine has not been heard of for long
    assert owner.beat(paths)
    files.write_json(paths.owner, {**line, "who": processes.identity(1).to_wire()})
    assert not owner.beat(paths), "who was taken over steps down"


def test_a_name_that_another_user_squats_on(tmp_path: Path) -> None:
    """The daemon takes the next name, and clients find it there: neither speaks to a process of somebody else."""
    if os.getuid() != 0:
        pytest.skip("needs root to be two users")
    names = Paths(str(tmp_path)).socket_names()
    script = f"import os, socket, time\nos.setuid(65534)\ns = socket.socket(socket.AF_UNIX)\ns.bind({names[0]!r})\n"
    script += "s.listen(5)\nprint('ready', flush=True)\ntime.sleep(60)\n"
    squatter = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    try:
        assert squatter.stdout is not None and squatter.stdout.readline() == b"ready\n"
        ours = unix_sockets.listen(names, socket.SOCK_STREAM)
        assert ours is not None and ours.getsockname() == names[1]
        found = unix_sockets.connect(names, socket.SOCK_STREAM)
        assert found is not None and found.getpeername() == names[1]
        assert unix_sockets.listen(names, socket.SOCK_STREAM) is None, "a second daemon is refused"
        found.close()
        ours.close()
    finally:
        squatter.kill()
        squatter.wait()


@pytest.mark.parametrize("number", files.FULL)
def test_a_full_disk_or_quota_takes_the_reserve_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    ballast = tmp_path / "ballast"
    ballast.write_bytes(b"x" * 1000)
    journal = Journal(str(tmp_path / "journal"), 0.0, lambda: files.drop_reserve(str(ballast)))

    class Full(files.Disk):
        def write(self, fd: int, data: bytes) -> None:
            if ballast.exists():
                raise OSError(number, os.strerror(number))
            super().write(fd, data)

    monkeypatch.setattr(files, "disk", Full())
    journal.append({"seq": 2, "time": 1.0, "type": "told", "job": "x"})
    assert journal.commit() and not ballast.exists()
    assert [event["seq"] for event in journal.reload()] == [1, 2] and not journal.problems


def test_pruning_is_suggested_before_a_disk_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    state = HostState()
    daemon: Any = SimpleNamespace(paths=Paths("/x"), engine=SimpleNamespace(state=state))
    monkeypatch.setattr(files, "free_bytes", lambda path: 50 << 30)
    monkeypatch.setattr(files, "total_bytes", lambda path: 1000 << 30)
    assert handlers._disk_problem(daemon) == "", "nothing of ours could go"
    state.disk = 400 << 30
    assert handlers._disk_problem(daemon).startswith("the disk is 95% full; folders of ended jobs hold 429.5 GB")
    monkeypatch.setattr(files, "free_bytes", lambda path: 500 << 30)
    assert handlers._disk_problem(daemon) == ""


def test_the_agent_imports_from_a_folder_of_this_boot_or_from_its_file(client: Client) -> None:
    """What the power may have damaged is never imported: the folder bears the boot, and nobody needs it."""
    client.run("submit", "--wait", "--", "true")
    root = client.home / "agent"
    (folder,) = root.glob("agents/*/code-*")
    assert folder.name == "code-" + Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    earlier = folder.with_name("code-of-an-earlier-boot")
    folder.rename(earlier)
    for path in earlier.rglob("*.py"):
        path.write_text("raise SystemExit('damaged')")
    stale = folder.with_name("code-of-an-earlier-boot")
    client.run("submit", "--wait", "--", "true")
    agents.kill_daemon(root)
    client.run("submit", "--wait", "--", "true")
    assert list((folder / "remote_agent").rglob("*.pyc")), "the next daemon makes it again"
    assert not stale.exists(), "nothing runs from it any more"
    (compiled,) = (folder / "remote_agent/daemon/__pycache__").glob("loop.*.pyc")
    compiled.write_bytes(compiled.read_bytes()[:100])
    client.run("submit", "--wait", "--", "true")
    agents.kill_daemon(root)
    client.run("submit", "--wait", "--", "true")
    assert compiled.stat().st_size > 100, "what is not whole is made again"
    agents.kill_daemon(root)
    shutil.rmtree(folder)
    folder.write_text("no folder")
    client.run("submit", "--wait", "--", "true")
