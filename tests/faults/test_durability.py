"""What is acknowledged survives a loss of power at every step; and with any one sync left out, this suite would say so.

The real daemon, engine, journal, object store and supervisor's record, over a disk that loses what was not synced.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import shutil
import socket
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from remote_agent.backends import Status
from remote_agent.core.state import HostState
from remote_agent.daemon.effects import Performer
from remote_agent.daemon.engine import Engine
from remote_agent.daemon.ledger import Ledger
from remote_agent.daemon.loop import Daemon
from remote_agent.daemon.recovery import with_copies
from remote_agent.protocol import framing
from remote_agent.protocol.ends import AttemptEnd
from remote_agent.protocol.errors import AgentError, StorageBroken
from remote_agent.protocol.framing import PACK_BLOB, PACK_ENTRY, PACK_TRAILER, PACK_TREE
from remote_agent.protocol.jobs import JobSpec
from remote_agent.protocol.states import JobState
from remote_agent.storage import files
from remote_agent.storage.files import Disk
from remote_agent.storage.journal import Journal, encode_line, salvage
from remote_agent.storage.objects import ObjectStore
from remote_agent.storage.paths import Paths
from remote_agent.supervisor import exit_record
from tests.support.backend import FakeBackend
from tests.support.lossy import LossyDisk, PowerLoss


class World:
    """What happened outside of the disk, and so is not undone: answers that were sent, processes that were started."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.started: list[tuple[str, int]] = []
        self.news: dict[tuple[str, int], Status] = {}
        self.written_exits: dict[str, dict[str, Any]] = {}
        self.received: list[str] = []
        self.agents: list[Agent] = []


class _Silent:
    """Something to select on that never has anything to say."""

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair()

    def fileno(self) -> int:
        return self._ours.fileno()


class _Backend(FakeBackend):
    """A port whose processes are the world's."""

    def __init__(self, world: World) -> None:
        super().__init__(slots=2)
        self.world = world
        self.started = world.started

    def news(self, attempts: Any) -> Iterator[tuple[tuple[str, int], Status]]:
        return ((attempt, self.world.news[attempt]) for attempt in attempts if attempt in self.world.news)

    def stop(self, attempt: tuple[str, int], by: str, grace: float) -> None:
        self.world.news[attempt] = ended(143, "stopped_by_user")


def ended(code: int, reason: str = "exit_code") -> Status:
    return Status("ended", end=AttemptEnd(reason, f"exit code {code}", 0.0, code))


class _Syncer(_Silent):
    """Syncs at once."""

    is_busy = False

    def start(self, action: Callable[[], None]) -> bool:
        action()
        return True

    def take_result(self) -> None:
        return None


class _Probe:
    """No GPUs."""

    gpus: list[Any] = []

    def due(self, interval: float | None) -> None:
        return None

    def tick(self, interval: float | None) -> bool:
        return False


class Agent:
    """The real daemon over a folder, without its sockets."""

    def __init__(self, root: Path, world: World, acknowledges_first: bool = False) -> None:
        paths = Paths(str(root))
        for folder in (paths.jobs, paths.objects, paths.trash):
            os.makedirs(folder, 0o700, exist_ok=True)
        files.disk.sync_folder(paths.root)  # what an older agent has left is durable
        self.world = world
        self.engine = Engine(paths, Journal(paths.journal, 0.0), _Backend(world), lambda: 1000.0)
        self.daemon = Daemon(paths, "0" * 32, self.engine, _Probe(), socket.socket(socket.AF_UNIX))  # type: ignore[arg-type]
        self.daemon.syncer = _Syncer()  # type: ignore[assignment]
        self.daemon.connections.send = self._sent  # type: ignore[assignment, method-assign]
        self._asked: dict[int, str] = {}
        self._first = acknowledges_first
        world.agents.append(self)

    def ask(self, name: str, method: str, **params: Any) -> None:
        """Send a request and let the daemon take its turn."""
        number = len(self._asked) + 1
        self._asked[number] = name
        frame = framing.Frame(framing.request(number, method, params), b"")
        self.daemon._handle(None, frame)  # type: ignore[arg-type]
        self.turn()

    def turn(self) -> None:
        if self._first:
            self.daemon._send_answers()
        self.daemon._decide()

    def close(self) -> None:
        self.daemon.connections.listener.close()
        self.daemon._selector.close()
        if self.daemon.watchers.growth.fd is not None:
            os.close(self.daemon.watchers.growth.fd)
        with contextlib.suppress(OSError):  # the power may have gone between closing and opening it
            self.engine.journal.close()

    def _sent(self, connection: Any, number: int, answer: Any) -> None:
        if not isinstance(answer, AgentError):
            self.world.answers[self._asked[number]] = answer.to_wire()


# --- the story --------------------------------------------------------------------------------------------------

FEW, MANY = 2, 17


def pack(count: int) -> tuple[bytes, str]:
    """Return (a pack of so many blobs and their tree, the tree's id)."""
    entries, data = [], b""
    for n in range(count):
        content = f"{count} {n}\n".encode() * 50
        oid = hashlib.sha1(b"blob %d\0" % len(content) + content).digest()
        data += PACK_ENTRY.pack(PACK_BLOB, oid, len(content)) + content
        entries.append(b"100644 f%03d\0" % n + oid)
    tree = b"".join(entries)
    oid = hashlib.sha1(b"tree %d\0" % len(tree) + tree).digest()
    data += PACK_ENTRY.pack(PACK_TREE, oid, len(tree)) + tree + PACK_TRAILER
    return zlib.compress(data), oid.hex()


def spec(job: str, **more: Any) -> dict[str, Any]:
    return JobSpec(job, ("true",), pack(FEW)[1], private=True, **more).to_wire()


PRIVATE = {"secrets": {"TOKEN": "x"}}
SWEEP = [f"s{n}" for n in range(17)]


def story(root: Path, world: World, acknowledges_first: bool = False) -> None:
    """A snapshot arrives, jobs come, run, end, are stopped and deleted; the agent is started again, and compacts."""
    for count in (FEW, MANY):
        data, tree = pack(count)
        os.makedirs(root / "objects", exist_ok=True)
        files.disk.sync_folder(str(root))
        ObjectStore(str(root / "objects")).receive(io.BytesIO(data))
        world.received.append(tree)
    agent = Agent(root, world, acknowledges_first)
    agent.ask("a", "submit", spec=spec("a"), private=PRIVATE)
    agent.ask("sweep", "submit_many", base=spec("x"), specs=[{"job": job} for job in SWEEP], private=PRIVATE)
    world.news[("a", 1)] = ended(7)
    agent.turn()
    agent.turn()
    agent.ask("stop s9", "stop", job="s9", by="me", grace=0)
    write_exit(root, world, "s0", 5)
    world.news[("s0", 1)] = ended(5)
    agent.turn()
    agent.ask("delete a", "delete", job="a", client="", force=True)
    agent.engine.journal.compact(_events(agent), 1000.0)
    agent.ask("late", "submit", spec=spec("late"), private=PRIVATE)
    again = Agent(root, world, acknowledges_first)
    again.ask("last", "submit", spec=spec("last"), private=PRIVATE)


def _events(agent: Agent) -> list[dict[str, Any]]:
    from remote_agent.core.state import snapshot_events

    return [entry.to_wire() for entry in snapshot_events(agent.engine.state, 1000.0)]


def write_exit(root: Path, world: World, job: str, code: int) -> None:
    """What a supervisor does at the end when no daemon is there to hear it."""
    paths = Paths(str(root))
    attempt = paths.job(job).attempt(1)
    os.makedirs(attempt.folder, exist_ok=True)
    exit_record.write(AttemptEnd("exit_code", "", 0.0, code, started_at=1.0), paths, attempt, is_heard=False)
    world.written_exits[job] = {"exit_code": code}


# --- what has to hold -------------------------------------------------------------------------------------------


def violations(root: Path, world: World) -> list[str]:
    """Return what was promised and is not so, after the power has come back."""
    found = []
    store = ObjectStore(str(root / "objects"))
    found += [f"object {path} is damaged" for path in (root / "objects").glob("??/*") if not _is_whole(path)]
    found += [f"snapshot {tree} is gone" for tree in world.received if not store.has(tree)]
    for job, facts in world.written_exits.items():
        record = files.read_json(str(root / "jobs" / job / "attempts/1/exit.json"))
        if not record or record["exit_code"] != facts["exit_code"]:
            found.append(f"the exit record of {job} is gone")
    before = list(world.started)
    copies = root / "journal.copies"
    copied = {event["job"] for event in salvage(copies.read_bytes())} if copies.exists() else set()
    promised = {**world.answers}
    agent = Agent(root, world)
    jobs = agent.engine.state.jobs
    for name in ("a", "late", "last"):
        if name in promised and name not in jobs and not ("delete a" in promised and name == "a"):
            found.append(f"{name} was acknowledged and is gone")
    if "sweep" in promised and not all(job in jobs for job in SWEEP):
        found.append("jobs of the sweep are gone")
    for name in [*(n for n in ("a", "late", "last") if n in promised), *(SWEEP if "sweep" in promised else ())]:
        private = files.read_json(str(root / "jobs" / name / "private.json"))
        if name in jobs and not jobs[name].state.is_final and private != PRIVATE:
            found.append(f"the secrets of {name} are gone")
    for name in (*(name for name in ("late", "last") if name in promised), *(SWEEP if "sweep" in promised else ())):
        if name not in copied:
            found.append(f"{name} was acknowledged and lies in one place only")
    if "delete a" in promised and "a" in jobs:
        found.append("a was deleted and is back")
    if "stop s9" in promised and jobs["s9"].state is not JobState.STOPPED:
        found.append("s9 was stopped and is not")
    for job, number in before:
        view = jobs.get(job)
        if view is None and job not in agent.engine.state.deleted:
            found.append(f"{job} was started and is unknown")
        elif view is not None and view.attempt < number:
            found.append(f"attempt {number} of {job} was started and is not known")
    for _ in range(4):
        agent.turn()
    twice = [attempt for attempt in set(world.started) if world.started.count(attempt) > 1]
    return found + [f"{attempt} was started twice" for attempt in twice]


def _is_whole(path: Path) -> bool:
    content, oid = path.read_bytes(), path.parent.name + path.name
    return any(
        hashlib.sha1(b"%s %d\0" % (kind, len(content)) + content).hexdigest() == oid for kind in (b"blob", b"tree")
    )


def play(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    dies_at: int,
    forgets: str = "",
    swapped: bool = False,
    keeps_names: bool = False,
) -> Any:
    """Play the story until the power goes; return (what is wrong then, the disk, whether the story came to its end)."""
    for entry in root.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    world, disk = World(), LossyDisk(root, dies_at, forgets)
    monkeypatch.setattr(files, "disk", disk)
    whole = True
    try:
        story(root, world, swapped)
    except PowerLoss:
        whole = False
    disk.crash(keeps_names)
    monkeypatch.setattr(files, "disk", files.Disk())
    found = violations(root, world)
    for agent in world.agents:
        agent.close()
    return found, disk, whole


def _empty_trash_at_once(performer: Performer) -> None:
    """Remove what is in the trash in this process."""
    while performer._trash:
        shutil.rmtree(performer._trash.pop())


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in memory, where there is one: thousands of small files are written and lost."""
    monkeypatch.setattr(Performer, "empty_trash", _empty_trash_at_once)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else tmp_path
    with tempfile.TemporaryDirectory(dir=memory) as name:
        yield Path(name)


def test_nothing_acknowledged_is_lost_whenever_the_power_goes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = 0
    whole = False
    while not whole:
        step += 1
        for keeps_names in (False, True):
            found, _, whole = play(root, monkeypatch, step, keeps_names=keeps_names)
            assert found == [], f"the power went before call {step}"
    assert step > 150, "the story is not worth its name"


def sites(root: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[set[str], int]:
    _, disk, _ = play(root, monkeypatch, -1)
    return disk.sites, disk.calls


@pytest.mark.slow
def test_with_any_one_sync_left_out_it_would_be_noticed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known, calls = sites(root, monkeypatch)
    own = {site for site in known if not site.startswith("test_")}
    expected = {"files.py", "journal.py", "objects.py", "admission.py"}
    assert {site.split(":")[0] for site in own} == expected and len(own) >= 9, own
    unnoticed = [site for site in sorted(own) if not _is_noticed(root, monkeypatch, calls, site)]
    assert unnoticed == [], "these syncs could go and no test would fail"


def _is_noticed(root: Path, monkeypatch: pytest.MonkeyPatch, calls: int, site: str) -> bool:
    # from the end: what is left out is missed the longer, the later the power goes
    steps = [-1, *range(calls, 0, -1)]
    return any(play(root, monkeypatch, n, site, keeps_names=keeps)[0] for n in steps for keeps in (False, True))


def test_acknowledging_before_writing_would_be_noticed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, calls = sites(root, monkeypatch)
    assert any(play(root, monkeypatch, step, swapped=True)[0] for step in range(1, calls))


def test_starting_before_writing_would_be_noticed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, calls = sites(root, monkeypatch)
    begin = Ledger.begin_commit

    def eager(self: Ledger) -> bool:
        self._carry_out()
        return begin(self)

    monkeypatch.setattr(Ledger, "begin_commit", eager)
    assert any(play(root, monkeypatch, step)[0] for step in range(1, calls))


def test_a_journal_without_its_beginning_is_damaged_and_its_jobs_are_found(root: Path) -> None:
    path = str(root / "journal")
    spec = JobSpec("a" * 12, ("true",), "0" * 40).to_wire()
    lines = [{"seq": 2, "time": 1.0, "type": "submitted", "job": "a" * 12, "spec": spec}, {"seq": 3, "type": "paused"}]
    Path(path).write_bytes(b"".join(map(encode_line, lines)))
    journal = Journal(path, 0.0)
    assert journal.problems and journal.salvaged == lines


@pytest.mark.parametrize(
    "line", [[1, 2], 5, {"a": 1}, {"seq": "2", "type": "paused"}, {"seq": 1, "type": "created", "version": "1"}]
)
def test_a_whole_line_that_is_no_event_is_damage(root: Path, line: Any) -> None:
    Path(root / "journal").write_bytes(encode_line(line))
    assert Journal(str(root / "journal"), 0.0).problems


def test_a_far_number_behind_damage_costs_nothing() -> None:
    salvaged = [{"seq": 10**15, "type": "stop", "job": "x"}]
    assert with_copies(HostState(), 1, salvaged, []) == (salvaged, True)


def test_the_story_as_it_ends(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, _, whole = play(root, monkeypatch, -1)
    assert whole and found == []
    journal = Journal(str(root / "journal"), 0.0)
    kinds = [event["type"] for event in journal.take_history()]
    assert "view" in kinds and json.dumps(kinds).count("submitted") >= 2


class FullDisk(Disk):
    """A disk on which the writes of some numbers find no space."""

    def __init__(self, *full: int) -> None:
        self._full, self._writes = full, 0

    def write(self, fd: int, data: bytes) -> None:
        self._writes += 1
        if self._writes in self._full:
            os.write(fd, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write(fd, data)


@pytest.mark.parametrize("full", [1, 2])
def test_a_submit_for_which_room_was_made_lies_in_two_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: int
) -> None:
    journal = Journal(str(tmp_path / "journal"), 0.0, make_room=lambda: True)
    monkeypatch.setattr(files, "disk", FullDisk(full))
    journal.append({"seq": 2, "time": 0.0, "type": "submitted", "job": "one"})
    assert journal.commit()
    journal.close()
    for name in ("journal", "journal.copies"):
        assert [event["job"] for event in salvage((tmp_path / name).read_bytes()) if "job" in event] == ["one"], name
        assert (tmp_path / name).read_bytes().count(b"one") == 1


def test_a_submit_that_no_room_was_made_for_lies_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(str(tmp_path / "journal"), 0.0)
    monkeypatch.setattr(files, "disk", FullDisk(2))
    journal.append({"seq": 2, "time": 0.0, "type": "submitted", "job": "one"})
    with pytest.raises(StorageBroken):
        journal.commit()
    journal.append({"seq": 2, "time": 0.0, "type": "submitted", "job": "two"})
    assert journal.commit()
    journal.close()
    for name in ("journal", "journal.copies"):
        assert [event["job"] for event in salvage((tmp_path / name).read_bytes()) if "job" in event] == ["two"], name


def test_copies_that_end_within_a_line_are_read_and_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(str(tmp_path / "journal"), 0.0)
    journal.append({"seq": 2, "time": 0.0, "type": "submitted", "job": "one"})
    journal.commit()
    journal.close()
    copies = tmp_path / "journal.copies"
    copies.write_bytes(copies.read_bytes() + b"00000040 12345678 {half")
    monkeypatch.setattr(files, "disk", FullDisk(1))  # to look is possible on a full disk
    journal = Journal(str(tmp_path / "journal"), 0.0, make_room=lambda: True)
    journal.append({"seq": 3, "time": 0.0, "type": "submitted", "job": "two"})
    journal.commit()
    journal.append({"seq": 4, "time": 0.0, "type": "submitted", "job": "three"})
    journal.commit()
    journal.close()
    assert [event["job"] for event in salvage(copies.read_bytes())] == ["one", "two", "three"]
    assert b"}\n\n" not in copies.read_bytes()
