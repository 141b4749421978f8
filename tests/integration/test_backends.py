"""The port to where attempts run: every backend does the same; and what the engine has done by it, as data."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from remote_agent.backends import Backend, Status
from remote_agent.backends.local import LocalBackend
from remote_agent.daemon.effects import (
    Effect,
    Performer,
    RemoveFolder,
    RemovePrivate,
    SendNotice,
    StartAttempt,
    StopAttempt,
)
from remote_agent.daemon.engine import Engine
from remote_agent.daemon.notifications import Notices
from remote_agent.daemon.zygote import Zygote
from remote_agent.gpu.source import GpuSource
from remote_agent.protocol.ends import AttemptEnd
from remote_agent.protocol.errors import StorageBroken
from remote_agent.protocol.framing import PACK_ENTRY, PACK_TRAILER, PACK_TREE
from remote_agent.protocol.jobs import JobSpec
from remote_agent.protocol.lease import Lease
from remote_agent.protocol.messages import HostSettings
from remote_agent.protocol.states import JobState
from remote_agent.storage.journal import Journal
from remote_agent.storage.objects import ObjectStore
from remote_agent.storage.paths import Paths
from tests.support import agents
from tests.support.backend import FakeBackend
from tests.support.client import wait_until

EMPTY = hashlib.sha1(b"tree 0\0").hexdigest()
ATTEMPT = ("a", 1)
LEASE = Lease(1, (), ())


class Stage:
    """A backend, and a job on it that runs until it is told to end."""

    def __init__(self, root: Path, backend: Backend) -> None:
        self.paths, self.backend = Paths(str(root)), backend
        self._go = root / "go"
        command = f"until [ -e {self._go} ]; do sleep 0.02; done; exit 3"
        self.spec = JobSpec("a", ("sh", "-c", command), EMPTY, grace=5.0)
        self._performer = Performer(self.paths, backend, Notices(self.paths))

    def begin(self) -> None:
        assert self._performer.carry_out(StartAttempt(ATTEMPT, self.spec, LEASE, False)) == ""
        if isinstance(self.backend, FakeBackend):
            self.backend.says_running(ATTEMPT)

    def let_end(self) -> None:
        self._go.touch()
        if isinstance(self.backend, FakeBackend):
            self.backend.says_ended(ATTEMPT, "exit_code", 3)

    def stop(self) -> None:
        self.backend.stop(ATTEMPT, "me", 5.0)
        if isinstance(self.backend, FakeBackend):
            self.backend.says_ended(ATTEMPT, "stopped_by_user", 143)

    def until_end(self) -> AttemptEnd:
        """Return how the attempt ended, once it has."""
        end = self.until("ended").end
        assert end is not None
        return end

    def until(self, phase: str) -> Status:
        """Return what the backend says of the attempt once it is in a phase."""
        found: list[Status] = []

        def is_there() -> bool:
            status = self.backend.poll([ATTEMPT]).get(ATTEMPT)
            found.append(status or Status(""))
            return found[-1].phase == phase

        wait_until(is_there)
        return found[-1]


@pytest.fixture(params=["local", "fake"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    paths = Paths(str(tmp_path / "root"))
    for folder in (paths.jobs, paths.objects, paths.trash):
        os.makedirs(folder)
    pack = PACK_ENTRY.pack(PACK_TREE, bytes.fromhex(EMPTY), 0) + PACK_TRAILER
    ObjectStore(paths.objects).receive(io.BytesIO(zlib.compress(pack)))
    backend: Backend = FakeBackend()
    if request.param == "local":
        backend = LocalBackend(paths, "0" * 32, Zygote(paths, None).start, GpuSource())
    yield Stage(tmp_path / "root", backend)
    backend.close()
    agents.end(tmp_path / "root")


def test_an_attempt_runs_and_its_end_is_given_until_it_is_acknowledged(stage: Stage) -> None:
    stage.begin()
    assert (stage.until("running").started_at or 0) > 0
    stage.backend.acknowledge()
    stage.let_end()
    end = stage.until_end()
    assert (end.reason_code, end.exit_code) == ("exit_code", 3)
    assert stage.backend.poll([ATTEMPT])[ATTEMPT].end == end, "it could not be kept yet"
    stage.backend.acknowledge()
    assert stage.backend.poll([]) == {}


def test_an_attempt_is_stopped(stage: Stage) -> None:
    stage.begin()
    stage.until("running")
    stage.stop()
    assert stage.until_end().reason_code == "stopped_by_user"


@pytest.mark.parametrize("stage", ["local"], indirect=True)
def test_a_supervisor_that_dies_is_seen_although_its_last_news_were_not_acknowledged(stage: Stage) -> None:
    stage.begin()
    stage.until("running")
    (supervisor,) = agents.supervisor_pids(Path(stage.paths.root))
    os.kill(supervisor, signal.SIGKILL)
    assert stage.until_end().reason_code == "supervisor_died"


def test_what_was_never_begun_is_not_adopted(stage: Stage) -> None:
    assert not stage.backend.adopt(ATTEMPT)
    stage.begin()
    stage.until("running")
    assert stage.backend.adopt(ATTEMPT)


def test_a_host_tells_what_it_has_whatever_is_held(stage: Stage) -> None:
    cpus = stage.backend.capacity({}, HostSettings()).cpus
    assert cpus == stage.backend.capacity({"a": LEASE}, HostSettings(max_jobs=1)).cpus >= 1
    assert os.fstat(stage.backend.fileno())


# --- what the engine has done, as data ----------------------------------------------------------------------------


class Recorder(Performer):
    """Keeps effects instead of carrying them out; one that nobody has asserted fails the test."""

    def __init__(self) -> None:
        self.effects: list[Effect] = []

    def carry_out(self, effect: Effect) -> str:
        self.effects.append(effect)
        return ""

    def empty_trash(self) -> None:
        pass

    def take(self) -> list[Effect]:
        effects, self.effects = self.effects, []
        return effects


class Desk:
    """An engine without a host."""

    def __init__(self, root: Path) -> None:
        self.paths = Paths(str(root))
        for folder in (self.paths.jobs, self.paths.objects, self.paths.trash):
            os.makedirs(folder)
        self.backend = FakeBackend(slots=1)
        self.engine = Engine(self.paths, Journal(self.paths.journal, 0.0), self.backend, time.time)
        self.engine.objects.has = lambda oid: True  # type: ignore[method-assign]
        self.recorder = Recorder()
        self.engine.ledger._performer = self.recorder

    def submit(self, job: str, **facts: object) -> JobSpec:
        spec = JobSpec(job, ("true",), EMPTY, **facts)  # type: ignore[arg-type]
        self.engine.requests.submit(spec, {"secrets": {"A": "b"}} if spec.private else None)
        return spec

    def turn(self) -> list[Effect]:
        self.engine.advance()
        self.engine.ledger.commit()
        return self.recorder.take()

    def end(self, job: str, code: int = 0) -> list[Effect]:
        reason = "exit_code" if code else "finished"
        self.backend.says_ended((job, self.engine.state.jobs[job].attempt), reason, code)
        return self.turn()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path / "root")
    yield desk
    assert not desk.recorder.effects, "an effect that nobody expected"
    desk.engine.journal.close()


def test_what_a_decision_leads_to(desk: Desk) -> None:
    first = desk.submit("a")
    desk.submit("b")
    assert desk.turn() == [StartAttempt(("a", 1), first, LEASE, False)]
    assert desk.backend.leases == {"a": LEASE}, "what is leased is told at once"
    desk.engine.requests.stop("a", "me", 2.0)
    assert desk.turn() == [StopAttempt(("a", 1), "me", 2.0)]
    (started,) = desk.end("a")
    assert isinstance(started, StartAttempt) and started.attempt == ("b", 1)
    desk.engine.requests.delete("a", "", force=True)
    desk.engine.requests.stop("b", "me")
    assert desk.turn() == [RemoveFolder("a"), StopAttempt(("b", 1), "me", 30.0)]
    assert desk.end("b") == []
    desk.engine.requests.prune("b", force=True)
    desk.engine.requests.prune("b", force=True)
    assert desk.turn() == [RemoveFolder("b")], "once"


def test_a_retry_starts_the_next_attempt(desk: Desk) -> None:
    spec = desk.submit("a", retries=1, retry_on=("failed",))
    assert desk.turn() == [StartAttempt(("a", 1), spec, LEASE, False)]
    assert desk.end("a", 1) == [StartAttempt(("a", 2), spec, LEASE, False)]
    assert desk.end("a", 1) == [] and desk.engine.state.jobs["a"].state is JobState.FAILED


def test_secrets_go_with_the_job_and_with_a_submit_that_was_not_kept(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.submit("a", secrets=("A",), private=True)
    (start,) = desk.turn()
    assert isinstance(start, StartAttempt)
    assert desk.end("a") == [RemovePrivate("a")]

    def full() -> bool:
        raise StorageBroken("full")

    write = desk.engine.journal.write
    monkeypatch.setattr(desk.engine.journal, "write", full)
    desk.submit("b", secrets=("A",), private=True)
    with pytest.raises(StorageBroken):
        desk.engine.ledger.commit()
    assert desk.recorder.take() == [RemovePrivate("b")] and "b" not in desk.engine.state.jobs
    monkeypatch.setattr(desk.engine.journal, "write", write)


def test_somebody_is_told_of_an_end(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk.engine.notices, "is_wanted", lambda job, state: True)
    desk.submit("a", private=True)
    desk.turn()
    (notice,) = desk.end("a")
    assert isinstance(notice, SendNotice) and notice.view.spec.job == "a" and notice.view.state is JobState.COMPLETED


def test_an_end_that_could_not_be_written_is_taken_in_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.submit("a")
    desk.turn()
    write = desk.engine.journal.write

    def full() -> bool:
        raise StorageBroken("full")

    monkeypatch.setattr(desk.engine.journal, "write", full)
    with pytest.raises(StorageBroken):
        desk.end("a", 7)
    assert desk.engine.state.jobs["a"].state is JobState.PREPARING
    monkeypatch.setattr(desk.engine.journal, "write", write)
    assert desk.turn() == [] and desk.engine.state.jobs["a"].exit_code == 7
