"""Kill -9 at every named point of a job's way, in a random order: nothing is lost, nothing runs twice."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from foundations_tui.hosts.agent import Agent
from foundations_tui.session import Session
from foundations_tui.store import queries
from foundations_tui.submit.pipeline import submit
from foundations_tui.submit.request import JobRequest
from foundations_tui.sync import pull
from remote_agent.protocol.messages import Request as Message
from remote_agent.system import failpoints, processes
from tests.support import agents
from tests.support.client import Client
from tests.support.sshd import Sshd

HITS = 10
"""How often each point is hit."""
CODE = 5
SEED = int(os.environ.get("FOUNDATIONS_SEED") or random.SystemRandom().randrange(1 << 32))


class Tally:
    """What was done and found, as a table."""

    def __init__(self) -> None:
        self.hits: Counter[str] = Counter()
        self.attempts: Counter[str] = Counter()
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.lost: Counter[str] = Counter()
        self.doubled: Counter[str] = Counter()
        self.found: list[str] = []

    def note(self, point: str, row: Any, mark: Path, began: float = 0.0) -> None:
        """Take in how a round ended."""
        attempts = ran(mark)
        if len(attempts) != len(set(attempts)):
            self.doubled[point] += 1
            self.found.append(f"{point}: an attempt ran twice: {attempts}")
        if (row.state, row.exit_code) != ("failed", CODE) or attempts[-1:] != [str(row.attempt)]:
            self.lost[point] += 1
            self.found.append(f"{point}: {row.state}, exit code {row.exit_code}, attempt {row.attempt} of {attempts}")
        self.attempts[point] += row.attempt
        self.seconds[point] += time.monotonic() - began if began else 0.0

    def tell(self, title: str, record_property: Callable[[str, object], None]) -> None:
        """Have the table printed at the end, and fail where anything was found."""
        head = f"{title}, seed {SEED}\n{'':34}{'kills':>7}{'attempts':>10}{'s a round':>11}{'lost':>6}{'doubled':>9}"
        record_property("told", "\n".join([head, *map(self._line, sorted(self.hits))]))
        assert self.found == []

    def _line(self, name: str) -> str:
        count = self.hits[name]
        mean = self.seconds[name] / count
        return f"{name:34}{count:>7}{self.attempts[name]:>10}{mean:>11.2f}{self.lost[name]:>6}{self.doubled[name]:>9}"


@pytest.fixture
def root(client: Client) -> Path:
    """The root of an agent that heeds the tests' wishes."""
    root = client.home / "agent"
    (root / "crash").mkdir(parents=True)
    (root / "crash").chmod(0o700)
    root.chmod(0o700)
    (client.home / "hosts.toml").write_text("[hosts.local]\nmax_jobs = 2\n")
    return root


def request(client: Client, mark: Path, host: str = "local", retries: int = 3) -> JobRequest:
    """A job that says which of its attempts ran."""
    script = f'echo "$FOUNDATIONS_ATTEMPT" >> {mark}; sleep 0.02; exit {CODE}'
    return JobRequest(("sh", "-c", script), client.project, host=host, retries=retries)


def settle(session: Session, host: str, job: str) -> Any:
    """Return a job once it has ended, over whatever dies meanwhile."""
    deadline = time.monotonic() + 60
    while True:
        try:
            pull.catch_up(session, host, streams=False)
        except Exception:
            assert time.monotonic() < deadline
        row = queries.job(session.store.conn, job)
        if row.is_final:
            return row
        assert time.monotonic() < deadline, row
        time.sleep(0.02)


def ran(mark: Path) -> list[str]:
    return mark.read_text().split() if mark.exists() else []


def was_used(root: Path, point: str) -> bool:
    """Return whether a process came to a point: a supervisor tells of the end a moment before it comes to its last."""
    deadline = time.monotonic() + 10
    while (root / "crash" / point).exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    return not (root / "crash" / point).exists()


def test_kill_9_at_every_point(client: Client, root: Path, record_property: Callable[[str, object], None]) -> None:
    rng = random.Random(SEED)
    points = [point for point in failpoints.POINTS for _ in range(HITS)]
    rng.shuffle(points)
    tally, session = Tally(), Session()
    session.agent("local")
    for number, point in enumerate(points):
        began = time.monotonic()
        mark = client.home / f"ran-{number}"
        (root / "crash" / point).touch()
        if point == "proxy.connected":
            session.close()  # the next proxy dies
        job = submit(session, request(client, mark)).view.spec.job
        tally.note(point, settle(session, "local", job), mark, began)
        assert was_used(root, point), f"nobody came to {point}"
        tally.hits[point] += 1
    session.close()
    known = queries.jobs(Session().store.conn)
    assert len(known) == len(points) and min(tally.hits.values()) >= HITS
    tally.tell("kill -9 of daemon, zygote, supervisor and proxy", record_property)


def test_kill_9_of_sshd_at_every_point(
    client: Client, root: Path, own_sshd: Sshd, record_property: Callable[[str, object], None]
) -> None:
    """The connection's server dies while the agent is just there; the agent goes on, the client comes again."""
    rng = random.Random(SEED + 1)
    client.add_host("box", own_sshd, root=root)
    wanted = [point for point in failpoints.POINTS if point.startswith(("daemon.", "supervisor."))]
    points = [point for point in wanted for _ in range(HITS)]
    rng.shuffle(points)
    tally, session = Tally(), Session()
    for number, point in enumerate(points):
        began = time.monotonic()
        mark = client.home / f"ran-{number}"
        session.agent("box")
        part = root / "crash" / "part"
        part.write_text(str(_server(own_sshd)))
        part.rename(root / "crash" / point)
        job = submit(session, request(client, mark, "box")).view.spec.job
        row = settle(session, "box", job)
        tally.note(point, row, mark, began)
        assert was_used(root, point) and row.attempt == 1, f"{point}: {row}"
        tally.hits[point] += 1
    session.close()
    tally.tell("kill -9 of the connection's sshd", record_property)


def _server(sshd: Sshd) -> int:
    """Return the pid of the sshd process that serves the open connection: the last one below the listener."""
    assert sshd._process is not None
    below = processes.descendants(sshd._process.pid)
    servers = [pid for pid in below if Path(f"/proc/{pid}/comm").read_text().startswith("sshd")]
    return max(servers)


@pytest.mark.parametrize("when", ["before", "after"])
def test_kill_9_of_the_client_at_every_request(
    client: Client, root: Path, when: str, record_property: Callable[[str, object], None]
) -> None:
    rng = random.Random(SEED + 2)
    tally, session = Tally(), Session()
    submit(session, request(client, client.home / "first"))
    steps = _count_requests(client)
    assert steps == 4, "hello, missing, put, submit_many"
    rounds = [step for step in range(1, steps + 1) for _ in range(HITS)]
    rng.shuffle(rounds)
    for number, step in enumerate(rounds):
        began = time.monotonic()
        mark = client.home / f"ran-{when}-{number}"
        (client.project / "changed.txt").write_text(str(number))
        pid = os.fork()
        if pid == 0:
            _submit_and_die(client, mark, step, when)
        assert os.WIFSIGNALED(os.waitpid(pid, 0)[1])
        pull.catch_up(session, "local", streams=False)
        row = queries.jobs(session.store.conn, limit=1, sort="created")[0]
        name = f"{when} request {step}"
        if str(mark) not in row.command[-1]:
            assert ran(mark) == [], "a job ran of which nothing was written down"
        elif row.state == "failed" and row.reason_code == "submit_interrupted":
            assert ran(mark) == []
        else:
            tally.note(name, settle(session, "local", row.job), mark, began)
        tally.hits[name] += 1
    session.close()
    assert tally.attempts[f"{when} request {steps}"] == (HITS if when == "after" else 0)
    tally.tell("kill -9 of the client", record_property)


def _count_requests(client: Client) -> int:
    (client.project / "changed.txt").write_text("counting")
    calls: list[str] = []
    ask = Agent.ask

    def counted(self: Agent, asked: Message[Any], *words: Any, **options: Any) -> Any:
        calls.append(asked.METHOD)
        return ask(self, asked, *words, **options)

    Agent.ask = counted  # type: ignore[method-assign, assignment]
    session = Session()
    try:
        submit(session, request(client, client.home / "counting"))
    finally:
        Agent.ask = ask  # type: ignore[method-assign]
        session.close()
    return len(calls)


def _submit_and_die(client: Client, mark: Path, step: int, when: str) -> None:
    """In a child: kill this process before the step-th request is sent, or after its answer has come."""
    ask: Callable[..., Any] = Agent.ask
    sent: list[int] = []

    def counted(self: Agent, asked: Message[Any], *words: Any, **options: Any) -> Any:
        sent.append(1)
        if len(sent) == step and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = ask(self, asked, *words, **options)
        if len(sent) == step:
            answer._arrived.wait(10)
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    Agent.ask = counted  # type: ignore[method-assign, assignment]
    try:
        submit(Session(), request(client, mark))
    finally:
        os._exit(1)


def test_a_storm(client: Client, root: Path, record_property: Callable[[str, object], None]) -> None:
    """Many jobs at once, and something of the agent dies every few moments."""
    rng = random.Random(SEED + 3)
    session, tally = Session(), Tally()
    marks = {}
    for number in range(60):
        mark = client.home / f"ran-storm-{number}"
        marks[submit(session, request(client, mark, retries=20)).view.spec.job] = mark
        if rng.random() < 0.4:
            victim = rng.choice(["daemon", "supervisor", "both"])
            _kill_some(root, victim)
            tally.hits[f"storm: {victim}"] += 1
    for job, mark in marks.items():
        tally.note("storm", settle(session, "local", job), mark)
    session.close()
    left = [who for who in agents.supervisors(root) if processes.members_of_attempt(who.token, None)]
    assert left == []
    tally.tell("a storm over 60 jobs", record_property)


def _kill_some(root: Path, victim: str) -> None:
    whom = [agents.daemon(root)] if victim != "supervisor" else []
    if victim != "daemon":
        whom += [record.supervisor for record in agents.supervisors(root)]
    for who in whom:
        if who is not None and processes.is_alive(who):
            processes.send_signal(who.pid, signal.SIGKILL, who.start)
