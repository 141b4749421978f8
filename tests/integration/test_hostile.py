"""Jobs, hosts and surroundings that behave badly: nothing hangs, nothing is lost, nobody else is hurt."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from foundations_tui.errors import HostRefused, HostUnreachable
from foundations_tui.hosts.agent import Agent, _Rpc
from foundations_tui.session import Session
from foundations_tui.submit import pipeline as submission
from foundations_tui.submit.request import JobRequest
from remote_agent import bootstrap
from remote_agent.backends.local import LocalBackend
from remote_agent.daemon.admission import NewJob
from remote_agent.daemon.engine import Engine
from remote_agent.gpu.source import GpuSource
from remote_agent.protocol import framing, messages
from remote_agent.protocol.errors import BadRequest, NotFound, StorageBroken
from remote_agent.protocol.jobs import JobSpec
from remote_agent.protocol.process_identity import ProcessIdentity
from remote_agent.protocol.states import JobState
from remote_agent.protocol.supervision import SupervisorRecord
from remote_agent.storage import files, streams
from remote_agent.storage.journal import Journal
from remote_agent.storage.paths import Paths
from remote_agent.system import processes
from tests.support import agents
from tests.support.backend import FakeBackend
from tests.support.client import FOUNDATIONS, Client

# --- jobs -------------------------------------------------------------------------------------------------------

ODD_RECORDS = """\
import foundations, os
foundations.log_metric("good", 1)
try:
    foundations.log_metric("step", 1, step=2**70)
except ValueError:
    pass
foundations.log_metric("large", 10**400)
foundations.log_metric("nan", float("nan"))
foundations.log_metric("text", "\\ud800")
foundations.log_metric("good", 2)
folder = os.environ["FOUNDATIONS_RECORDS_DIR"]
with open(os.path.join(folder, "odd.jsonl"), "w") as file:
    file.write('["foundations-records",1]\\n["m",NaN,"k",0,1]\\n["m",1e300,"k",0,1]\\n')
    file.write('["m",1,"step",1180591620717411303424,1]\\n')
open(os.fsencode(folder) + b"/b\\xff.jsonl", "w").write("{")
os.mkdir(os.path.join(folder, "folder.jsonl"))
os.mkfifo(os.path.join(folder, "fifo.jsonl"))
os.symlink("/etc/passwd", os.path.join(folder, "link.jsonl"))
"""


def test_records_that_make_no_sense_stop_nothing(client: Client) -> None:
    (client.project / "odd.py").write_text(ODD_RECORDS)
    client.run("submit", "--name", "odd", "--follow", "--", "python", "odd.py", timeout=60)
    client.run("submit", "--wait", "--", "./\udcff", code=127, timeout=60)
    client.run("submit", "--wait", "--", "true", timeout=60)
    assert "up to date" in client.run("sync").stdout
    found = client.json("show", "odd")
    assert found["metrics"]["good"]["count"] == 2 and found["metrics"]["large"]["last"] == 10**400
    assert "step" not in found["metrics"] and "k" not in found["metrics"]
    client.run("metrics", "odd")


def test_what_a_job_left_running_is_ended_however_it_forked(client: Client) -> None:
    marks = [f"7{os.getpid()}{n}" for n in range(20)]
    for mark in marks:
        client.run("submit", "--", "setsid", "sh", "-c", f"sleep {mark} & echo forked")
    client.run("wait", *[row["job"] for row in client.json("jobs")])
    shown = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line for line in shown if line.startswith("sleep ") and line.split()[1] in marks] == []


def test_a_signal_without_a_name(client: Client) -> None:
    client.run("submit", "--wait", "--", "sh", "-c", "kill -40 $$", code=168)
    assert client.json("jobs")[0]["reason"] == "killed by signal 40"


def test_a_fault_in_the_supervisor_is_an_end_with_a_reason(client: Client) -> None:
    """A parameter too large for the environment is refused by the kernel, not taken for a killed supervisor."""
    (client.project / "params.json").write_text('{"a": "' + "x" * 200_000 + '"}')
    client.run("submit", "--wait", "--params-file", "params.json", "--", "true", code=126)
    assert "cannot run true" in client.json("jobs")[0]["reason"]


def test_pipes_and_sockets_are_not_fetched(client: Client) -> None:
    code = (
        "import os, socket; os.mkfifo('fifo'); socket.socket(socket.AF_UNIX).bind('sock'); open('file','w').write('x')"
    )
    client.run("submit", "--wait", "--", "python", "-c", code)
    for name in ("fifo", "sock"):
        assert "nothing to fetch" in client.run("get", "@last", name, code=3, timeout=20).stderr
    got = client.json("get", "@last", "--dest", "out")
    assert [Path(entry["path"]).name for entry in got] == ["file"]


# --- hosts ------------------------------------------------------------------------------------------------------


def test_an_accepted_submit_is_never_taken_for_a_refused_one(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection ends after the host has accepted, and the next one is refused: nobody may say no, send again."""
    session = Session()
    call, agent = Agent.call, Session.agent

    def cut(self: Agent, request: messages.Request[Any], *words: Any, **options: Any) -> Any:
        answer = call(self, request, *words, **options)
        if isinstance(request, messages.SubmitMany):
            monkeypatch.setattr(Session, "agent", refused)
            self._rpc.close()
            raise HostUnreachable("cut")
        return answer

    def refused(self: Session, host: str) -> Agent:
        raise HostRefused("the key is gone from the ssh agent")

    monkeypatch.setattr(Agent, "call", cut)
    with pytest.raises(HostRefused, match="Whether job .* has arrived is not known"):
        submission.submit(session, JobRequest(("true",), client.project, host="local"))
    monkeypatch.setattr(Agent, "call", call)
    monkeypatch.setattr(Session, "agent", agent)
    assert [row["state"] for row in client.json("jobs")] == ["submitting"]
    session.close()
    client.run("wait", "@last")


def test_answers_come_while_much_is_sent(client: Client) -> None:
    """Both directions are full at once: neither waits for the other."""
    client.run("submit", "--wait", "--", "sh", "-c", "head -c 20000000 /dev/zero")
    job = client.json("jobs")[0]["job"]
    session = Session()
    agent = session.agent("local")
    ended = threading.Event()

    def send() -> None:
        for _ in range(100):
            agent.call(messages.Missing("0" * 40, [f"{n:040x}" for n in range(4096)]))
        ended.set()

    threading.Thread(target=send, daemon=True).start()
    deadline = time.monotonic() + 60
    while not ended.is_set():
        assert time.monotonic() < deadline
        requests = [messages.Read(job, 1, "log", n << 16) for n in range(8)]
        for answer in [agent.ask(request) for request in requests]:
            answer.get(30)
    session.close()


def test_waiting_for_a_host_that_is_no_longer_configured_ends(client: Client) -> None:
    job = client.submit("--", "sleep", "60")
    with sqlite3.connect(client.home / "store.db") as store:
        store.execute("UPDATE jobs SET host = 'gone'")
    store.close()
    assert "unknown host 'gone'" in client.run("wait", job, code=125, timeout=30).stderr


def test_the_snapshot_cache_may_be_deleted(client: Client) -> None:
    (client.project / "a.py").write_text("print(1)")
    client.run("submit", "--wait", "--", "python", "a.py")
    subprocess.run(["rm", "-rf", str(client.home / "snapshots")], check=True)
    (client.project / "a.py").write_text("print(2)")
    assert client.run("submit", "--follow", "--", "python", "a.py").stdout == "2\n"


# --- the agent --------------------------------------------------------------------------------------------------


def test_without_inotify_growth_is_looked_for_by_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt = Paths(str(tmp_path)).job("a").attempt(1)
    os.makedirs(attempt.records)
    monkeypatch.setattr(streams, "_inotify_init1", lambda flags: -1, raising=False)
    watch = streams.GrowthWatch()
    watch.add("a", attempt)
    assert watch.fd is None and watch.by_clock == {"a"}
    assert watch.heard() == {"a"} and watch.heard() == set()
    watch.remove("a")
    assert watch.by_clock == set()


def test_a_session_number_that_is_somebody_elses_by_now(tmp_path: Path) -> None:
    innocent = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        backend = LocalBackend(Paths(str(tmp_path)), "", lambda order: None, GpuSource())
        dead = ProcessIdentity(2**22 + 1, 1, processes.boot_id())
        record = SupervisorRecord(dead, "t" * 32, innocent.pid, session_start=1)
        assert backend._end_orphans(record).reason_code == "supervisor_died"
        time.sleep(0.1)
        assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()


class _Backend(FakeBackend):
    """``fails`` makes its start fail."""

    fails = False

    def __init__(self) -> None:
        super().__init__(slots=1)

    def start(self, attempt: Any, lease: Any, is_brief: bool) -> None:
        if self.fails:
            raise OSError(28, "No space left on device")
        super().start(attempt, lease, is_brief)


def _engine(tmp_path: Path, backend: _Backend) -> Engine:
    paths = Paths(str(tmp_path))
    for folder in (paths.jobs, paths.objects, paths.trash):
        os.makedirs(folder, exist_ok=True)
    engine = Engine(paths, Journal(paths.journal, 0.0), backend, time.time)
    engine.objects.has = lambda oid: True  # type: ignore[method-assign]
    return engine


def test_a_disk_that_is_full_just_after_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process runs: it is waited for, whatever of the notes about it could be written."""
    order = {"job": "a", "attempt": 1, "lease": {"cpus": 1, "gpus": [], "gpu_indices": []}}
    paths = Paths(str(tmp_path))
    os.makedirs(paths.job("a").folder)
    os.makedirs(paths.job("a").attempt(1).folder)
    files.write_json(paths.job("a").spec, JobSpec("a", ("true",), "0" * 40).to_wire())
    script = tmp_path / "run.py"
    script.write_text(
        "import json, os, socket, sys\n"
        "from remote_agent.supervisor import supervisor\n"
        "from remote_agent.storage.paths import Paths\n"
        "listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
        "listener.bind(''); listener.listen()\n"
        f"order = supervisor.StartOrder.from_wire({order!r})\n"
        f"one = supervisor._Supervisor(Paths({str(tmp_path)!r}), order, listener)\n"
        "one._prepare = lambda: (['sh', '-c', 'sleep 0.3; exit 7'], dict(os.environ), '/')\n"
        "write, calls = one._write_own_record, []\n"
        "def full():\n"
        "    calls.append(1)\n"
        "    if len(calls) > 1: raise OSError(28, 'No space left on device')\n"
        "    write()\n"
        "one._write_own_record = full\n"
        "print(json.dumps(one.attempt().to_wire()))\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run([sys.executable, script], env=env, capture_output=True, text=True, timeout=30)
    assert '"exit_code": 7' in done.stdout, done.stderr


class _Channel:
    """Sends frames that it was given, once something has been asked, and stays open."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self._frames = [framing.encode(message) for message in messages]
        self._asked = threading.Event()

    def send(self, data: bytes) -> None:
        self._asked.set()

    def recv(self, size: int) -> bytes:
        self._asked.wait(10)
        if not self._frames:
            time.sleep(10)
            return b""
        return self._frames.pop(0)

    def errors(self) -> str:
        return ""

    def close(self) -> None:
        pass


@pytest.mark.parametrize("message", [{"id": 1}, {"id": 1, "error": {}}, {"id": 1, "error": 5}, {"id": 1, "result": []}])
def test_an_answer_that_makes_no_sense_costs_only_its_request(message: dict[str, Any]) -> None:
    rpc = _Rpc(_Channel(message), "box")  # type: ignore[arg-type]
    with pytest.raises(HostRefused, match="makes no sense"):
        rpc.ask(messages.Hello(), b"").get(5)
    assert rpc.problem is None


@pytest.mark.parametrize("message", [{"id": 0}, {"id": [1], "result": {}}, {"result": {}}, {"id": True, "error": {}}])
def test_an_answer_that_makes_no_sense_ends_the_connection(message: dict[str, Any]) -> None:
    rpc = _Rpc(_Channel(message), "box")  # type: ignore[arg-type]
    with pytest.raises(HostUnreachable, match="makes no sense"):
        rpc.ask(messages.Hello(), b"").get(5)
    assert rpc.problem is not None


def test_a_start_that_fails_ends_the_job_not_the_agent(tmp_path: Path) -> None:
    backend = _Backend()
    backend.fails = True
    engine = _engine(tmp_path, backend)
    engine.requests.submit(JobSpec("a", ("true",), "0" * 40))
    for _ in range(3):
        engine.advance()
        engine.ledger.commit()
    assert engine.state.jobs["a"].state is JobState.FAILED
    assert "No space left" in str(engine.state.jobs["a"].reason)


def test_a_lease_that_could_not_be_written_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = _Backend()
    engine = _engine(tmp_path, backend)
    engine.requests.submit(JobSpec("a", ("true",), "0" * 40))
    engine.ledger.commit()
    write = engine.journal.write

    def full() -> bool:
        raise StorageBroken("full")

    monkeypatch.setattr(engine.journal, "write", full)
    engine.advance()
    with pytest.raises(StorageBroken):
        engine.ledger.commit()
    monkeypatch.setattr(engine.journal, "write", write)
    assert engine.is_unsettled
    engine.advance()
    engine.ledger.commit()
    assert backend.started == [("a", 1)] and not engine.is_unsettled


@pytest.mark.parametrize(
    "change",
    [{"priority": "high"}, {"cpus": 1.5}, {"env": []}, {"time_limit": float("nan")}, {"retries": True}, {"name": 3}],
)
def test_a_specification_of_the_wrong_types_changes_nothing(tmp_path: Path, change: dict[str, Any]) -> None:
    wire = {**JobSpec("a", ("true",), "0" * 40).to_wire(), **change}
    with pytest.raises(BadRequest):
        JobSpec.from_wire(wire).check()


def test_a_fault_in_a_request_takes_back_what_it_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = _engine(tmp_path, _Backend())
    engine.requests.submit(JobSpec("a", ("true",), "0" * 40))
    engine.ledger.commit()
    engine.requests.submit(JobSpec("b", ("true",), "0" * 40))
    engine.ledger.rollback()
    assert set(engine.state.jobs) == {"a"} and not engine.journal.has_pending
    assert engine.requests.submit(JobSpec("b", ("true",), "0" * 40)).state is JobState.QUEUED


def test_jobs_wait_only_for_those_that_come_before_them(tmp_path: Path) -> None:
    engine = _engine(tmp_path, _Backend())
    first, second = JobSpec("a", ("true",), "0" * 40, after=("b",)), JobSpec("b", ("true",), "0" * 40)
    with pytest.raises(NotFound, match="job b, to be waited for"):
        engine.requests.submit_all([NewJob(first), NewJob(second)])
    assert engine.state.jobs == {}
    engine.requests.submit_all([NewJob(second), NewJob(first)])
    assert list(engine.state.queue.blocked) == ["a"]


def test_an_end_that_was_written_without_what_follows_from_it(tmp_path: Path) -> None:
    """Two lines of one commit, of which the power kept only the first: what waited must not start."""
    engine = _engine(tmp_path, _Backend())
    specs = [JobSpec("a", ("true",), "0" * 40), JobSpec("b", ("true",), "0" * 40, after=("a",))]
    engine.requests.submit_all([NewJob(spec) for spec in specs])
    engine.requests.stop("a", "me")
    engine.ledger.commit()
    path = Path(engine.paths.journal)
    lines = path.read_bytes().splitlines(keepends=True)
    assert b'"dependency_failed"' in lines[-1]
    path.write_bytes(b"".join(lines[:-1]))
    again = _engine(tmp_path, _Backend())
    assert again.state.jobs["b"].reason_code == "dependency_failed"


def test_secrets_of_a_job_that_was_not_accepted_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = _engine(tmp_path, _Backend())
    spec = JobSpec("a", ("true",), "0" * 40, private=True)
    private = Path(engine.paths.job("a").private)
    engine.requests.submit(spec, {"secrets": {"T": "x"}})
    assert private.exists()
    engine.ledger.rollback()
    assert not private.exists()
    engine.requests.submit(spec, {"secrets": {"T": "x"}})
    _engine(tmp_path, _Backend())  # killed before the commit
    assert not private.exists()


def test_a_specification_that_a_power_cut_has_emptied_is_written_anew(tmp_path: Path) -> None:
    backend = _Backend()
    engine = _engine(tmp_path, backend)
    engine.requests.submit(JobSpec("a", ("true",), "0" * 40))
    path = Path(engine.paths.job("a").spec)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    engine.ledger.commit()
    engine.advance()
    engine.ledger.commit()
    assert backend.started and dict(files.read_json(str(path)) or {})["command"] == ["true"]


def test_a_killed_zygote_is_replaced(client: Client) -> None:
    client.run("submit", "--wait", "--", "true")
    daemon = agents.daemon_pid(client.roots[0])
    children = Path(f"/proc/{daemon}/task/{daemon}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    client.run("submit", "--wait", "--", "true")
    client.run("submit", "--wait", "--", "true")


def test_a_full_disk_keeps_nobody_from_connecting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root"
    bootstrap.probe(str(root))
    files.write_json(str(root / "owner.json"), {})

    def full(*words: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "open", full)
    bootstrap.probe(str(root))
    with pytest.raises(OSError, match="No space"):
        bootstrap.probe(str(tmp_path / "other"))


# --- surroundings -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("home", ["~nobody-here/x", "/dev/null", "/proc/1/x", "/" + "a" * 300])
def test_a_home_that_cannot_be(client: Client, home: str) -> None:
    done = client.run("submit", "--", "true", code=2, env={"FOUNDATIONS_HOME": home})
    assert "bug" not in done.stderr and home in done.stderr


def test_a_folder_that_is_gone(client: Client, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    script = f'mkdir {gone}; cd {gone}; rmdir {gone}; exec "$@"'
    for words in (["submit", "--", "true"], ["init"]):
        command = ["sh", "-c", script, "sh", *FOUNDATIONS, *words]
        done = subprocess.run(command, env=client.env, capture_output=True, text=True)
        assert done.returncode == 2 and "not there any more" in done.stderr


def test_output_that_nobody_takes(client: Client) -> None:
    client.run("submit", "--wait", "--", "seq", "100000")
    for redirect, code in ((">&-", 0), (">/dev/full", 1), ("| head -c 5", 0)):
        for words in ("jobs", "logs @last"):
            line = f"set -o pipefail; {' '.join(map(repr, FOUNDATIONS))} {words} {redirect}"
            done = subprocess.run(
                ["bash", "-c", line], env=client.env, capture_output=True, text=True, cwd=client.project
            )
            assert done.returncode == code, (redirect, words, done.stderr)
            assert "bug" not in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("foundations.toml", "[snapshot]\nmax_file_mb = inf\n"),
        ("foundations.toml", "[snapshot]\nmax_file_mb = nan\n"),
        ("foundations.toml", '[env]\n"X=Y" = "1"\n'),
        ("foundations.toml", "a = " + "[" * 5000),
        ("pyproject.toml", "tool = 1\n"),
        ("pyproject.toml", "[tool]\nfoundations = 1\n"),
    ],
)
def test_a_project_file_that_is_wrong(client: Client, name: str, text: str) -> None:
    (client.project / name).write_text(text)
    done = client.run("submit", "--", "true", code=2)
    assert name in done.stderr and "bug" not in done.stderr


def test_secrets_in_files_are_refused_and_words_like_them_are_not(client: Client) -> None:
    client.run("submit", "--wait", "--env", "TOKENIZERS_PARALLELISM=false", "--", "true")
    (client.project / "foundations.toml").write_text('[env]\nHF_TOKEN = "x"\n')
    assert "looks like a secret" in client.run("submit", "--", "true", code=2).stderr
