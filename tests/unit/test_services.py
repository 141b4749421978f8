"""What is decided about services without any: replicas, pauses, names, states in words, frames of a relay."""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from foundations_tui.services import state as states
from foundations_tui.services.logs import Joined
from foundations_tui.services.request import name_of
from foundations_tui.store import host_samples
from foundations_tui.store.db import Store
from remote_agent.core import events, replicas
from remote_agent.core.events import JournalEntry
from remote_agent.core.replicas import Begin
from remote_agent.core.state import HostState, apply, snapshot_events
from remote_agent.protocol import relaying, services
from remote_agent.protocol.ends import AttemptEnd
from remote_agent.protocol.errors import BadRequest, ProtocolError
from remote_agent.protocol.jobs import JobSpec, JobView
from remote_agent.protocol.lease import Lease
from remote_agent.protocol.services import Probes, Readiness, Replica, Revision, ServiceView
from remote_agent.protocol.states import JobState
from remote_agent.system import sockets
from remote_agent.system.multiplexer import Multiplexer

TREE = "a" * 40


class Host:
    """A state and the events that made it."""

    def __init__(self) -> None:
        self.state = HostState()
        self.entries: list[JournalEntry] = []
        self.now = 1000.0

    def record(self, change: events.Change) -> None:
        entry = JournalEntry(self.state.seq + 1, self.now, change)
        self.entries.append(entry)
        apply(self.state, entry)

    def want(self, count: int, number: int = 1, in_place: bool = False) -> None:
        if number not in (self.state.services["api"].revisions if "api" in self.state.services else ()):
            spec = {
                "command": ["true"],
                "snapshot": TREE,
                "kind": "service",
                "service": {"name": "api", "revision": number},
            }
            self.record(events.ServiceRevised("api", Revision(number, spec, in_place)))
        self.record(events.ServiceWanted("api", number, count, Probes(), "ada", self.now))

    def carry_out(self, ready: set[str]) -> list[str]:
        """Do what is due, and return it in words."""
        done = []
        for action in replicas.due(self.state, ready):
            if isinstance(action, Begin):
                revision = self.state.services[action.service].revision
                job = f"r{revision.number}-{action.place}-{self.state.seq}"
                name = replicas.name_of(action.service, action.place)
                self.record(events.Submitted(job, JobSpec.from_wire({**revision.spec, "job": job, "name": name})))
                self.record(events.Leased(job, 1, Lease(1)))
                self.record(events.Started(job, self.now))
                done.append(f"begin {action.place} of {revision.number}")
            else:
                self.record(events.StopRequested(action.job, action.why, 30.0))
                done.append(f"end {action.job[:4]}")
        return done

    def end(self, job: str, reason: str = "stopped_by_user") -> None:
        self.record(events.Ended(job, AttemptEnd(reason, None, self.now)))

    @property
    def running(self) -> set[str]:
        return set(self.state.replicas.get("api", ()))


def test_replicas_follow_what_is_wanted() -> None:
    host = Host()
    host.want(2)
    assert host.carry_out(set()) == ["begin 1 of 1", "begin 2 of 1"]
    assert host.carry_out(set()) == [], "one that is not ready yet is waited for"
    host.want(1)
    (kept,) = (job for job in host.running if job.startswith("r1-2"))
    assert host.carry_out({kept}) == ["end r1-1"], "the one that answers is kept"
    host.want(0)
    assert host.carry_out({kept}) == ["end r1-2"]


def test_a_new_revision_takes_over_one_by_one() -> None:
    host = Host()
    host.want(2)
    host.carry_out(set())
    old = set(host.running)
    host.want(2, number=2)
    assert host.carry_out(old) == ["begin 3 of 2"]
    assert host.carry_out(old) == [], "nothing ends before it is ready"
    new = host.running - old
    assert len(host.carry_out(old | new)) == 1
    ending = next(job for job in old if host.state.jobs[job].stop_requested_by)
    assert host.carry_out(host.running)[0].startswith("begin"), "while the old one ends, the next begins"
    host.end(ending)
    assert [words[:3] for words in host.carry_out(host.running)] == ["end"]
    host.end(next(job for job in old if job != ending))
    assert host.carry_out(host.running) == []
    assert all(host.state.jobs[job].spec.serving.revision == 2 for job in host.running) and len(host.running) == 2


def test_a_revision_in_place_begins_when_the_old_one_has_ended() -> None:
    host = Host()
    host.want(1)
    host.carry_out(set())
    (old,) = host.running
    host.want(1, number=2, in_place=True)
    assert host.carry_out({old}) == ["end r1-1"]
    assert host.carry_out({old}) == []
    host.end(old)
    assert host.carry_out(set()) == ["begin 1 of 2"]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 3), st.integers(0, 7)), max_size=12))
def test_whatever_is_wanted_comes_to_rest(wishes: list[tuple[int, int, int]]) -> None:
    """In whatever order people change their minds, the end is what was wanted last, and never none on the way."""
    host = Host()
    for count, number, turns in wishes:
        host.want(count, number)
        for _ in range(turns):
            host.carry_out(host.running)
    for _ in range(60):
        for job in [job for job in host.running if host.state.jobs[job].stop_requested_by]:
            host.end(job)
        if not host.carry_out(host.running):
            break
    service = host.state.services.get("api")
    live = [job for job in host.running if not host.state.jobs[job].stop_requested_by]
    assert len(live) == (service.replicas if service else 0)
    assert all(host.state.jobs[job].spec.serving.revision == service.number for job in live if service)


def test_a_compacted_journal_has_the_services_and_old_attempts_go() -> None:
    host = Host()
    host.want(1)
    host.carry_out(set())
    (job,) = host.running
    for attempt in range(1, 41):
        host.now += 1
        host.record(events.AttemptEnded(job, AttemptEnd("exit_code", "exit code 3", host.now), host.now + 4))
        assert host.state.pausing == {job: host.now + 4}
        host.record(events.Leased(job, attempt + 1, Lease(1)))
    view = host.state.jobs[job]
    assert (view.attempt, len(view.attempts), view.attempts[0].attempt) == (41, services.MOST_ATTEMPTS, 21)
    for number in range(2, 30):
        host.want(1, number)
    again = HostState()
    for entry in snapshot_events(host.state, host.now):
        apply(again, JournalEntry.from_wire(json.loads(json.dumps(entry.to_wire()))))
    assert again.services == host.state.services and again.replicas == host.state.replicas
    assert sorted(again.services["api"].revisions) == list(range(10, 30))


def test_a_journal_that_was_cut_leaves_a_service_that_can_be_looked_at() -> None:
    host = Host()
    spec = {"command": ["true"], "snapshot": TREE, "kind": "service", "service": {"name": "api", "revision": 1}}
    host.record(events.ServiceRevised("api", Revision(1, spec)))
    assert host.state.services["api"].revision.spec == spec and host.carry_out(set()) == []


def test_pauses_grow_and_begin_anew_after_a_good_time() -> None:
    spec = JobSpec("a", ("true",), TREE, kind="service", service={"name": "api", "revision": 1})
    view = JobView(spec, JobState.RUNNING, 1, attempt=1, started_at=0.0)
    pauses = []
    for _ in range(12):
        end = AttemptEnd("exit_code", None, 5.0, started_at=0.0)
        pauses.append(replicas.pause(view, end))
        past = replace(view, reason_code="exit_code", ended_at=5.0).past()
        view = replace(view, attempts=(*view.attempts, past))
    assert pauses[:9] == [1, 2, 4, 8, 16, 32, 64, 128, 256] and set(pauses[9:]) == {300}
    assert replicas.pause(view, AttemptEnd("exit_code", None, 700.0, started_at=0.0)) == 1
    assert replicas.pause(view, AttemptEnd("stopped_by_user", None, 5.0)) == 0
    host = HostState()
    host.pausing = {"a": 100.0, "b": 101.0, "c": 100_000.0}
    assert replicas.rested(host, 100.0) == ["a", "c"], "a clock that was set back makes no pause longer"


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("python -m http.server {port} --bind 127.0.0.1", "http-server"),
        ("vllm serve meta/llama --port {port}", "vllm"),
        ("uv run python app/Serve_Model.py", "serve-model"),
        ("./start.sh", "start"),
        ("CUDA=1 /usr/bin/ÅÄÖ", "service"),
    ],
)
def test_a_service_is_called_by_its_command(command: str, name: str) -> None:
    assert name_of(command.split()) == name and services.NAME.match(name)


@given(st.lists(st.text(max_size=80), max_size=4))
def test_any_command_gives_a_name(words: list[str]) -> None:
    assert services.NAME.match(name_of(words))


def test_how_a_service_is_in_words() -> None:
    view = ServiceView("api", 2, 2)

    def words(*running: Replica) -> tuple[str, str]:
        now = replace(view, running=list(running))
        return states.code(now), states.words(now, 1000.0)

    good = Replica("a", 2, "running", 1, readiness=Readiness(True))
    warm = Replica("b", 2, "running", 1, readiness=Readiness(warming=True, why="it listens nowhere yet", since=960.0))
    assert words(good, good) == ("ready", "2/2 ready")
    assert words(good, warm) == ("partly ready", "1/2 ready: warming, 40 s: it listens nowhere yet")
    old = replace(good, revision=1)
    assert words(old, warm)[1] == "rolling to revision 2, 0/2: warming, 40 s: it listens nowhere yet"
    bad = Replica("c", 2, "queued", 4, "exit code 3", 1016.0, 4)
    assert (
        words(old, bad)[1]
        == "revision 2 fails, revision 1 goes on: begins again in 16 s (failed 4 times in a row): exit code 3"
    )
    assert states.words(replace(view, replicas=0), 0.0) == "stopped"


@pytest.mark.parametrize(
    "wrong", [{"ready": "health"}, {"ready": "/a b"}, {"ready": "/a\r\nX: y"}, {"period": 0}, {"startup": -1}]
)
def test_probes_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(BadRequest):
        Probes.from_wire({**Probes().to_wire(), **wrong})


def test_lines_of_replicas_do_not_mix() -> None:
    joined = Joined()
    assert joined.feed("api-1", b"one\ntw") == b"one\ntw", "of one, all passes as it is"
    assert joined.feed("api-2", b"x\ny") == b"api-2 | x\n"
    assert joined.feed("api-1", b"o\r50 %\r") == b"api-1 | o\rapi-1 | 50 %\r"
    assert joined.feed("api-2", b"z" * (1 << 17)) == b"api-2 | y" + b"z" * (1 << 17)


def test_who_listens_is_known_by_its_descriptor() -> None:
    import os

    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("::1", 0), family=socket.AF_INET6) as six:
        ports = {one.getsockname()[1], six.getsockname()[1]}
        mine = [found for found in sockets.listening([os.getpid()]) if found.port in ports]
        assert sorted(found.address for found in mine) == ["127.0.0.1", "::1"] and all(one.is_loopback for one in mine)
        assert not [found for found in sockets.listening([1, 2**22 + 1]) if found.port in ports and os.getpid() != 1]
        with socket.create_connection(one.getsockname()):
            assert sockets.connections(os.getpid(), one.getsockname()[1]) >= 1
    assert sockets.Listener("0.0.0.0", 1).reachable_at == "127.0.0.1" and not sockets.Listener("0.0.0.0", 1).is_loopback
    assert sockets.Listener("::ffff:127.0.0.1", 1).is_loopback


# --- the relay --------------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 6), st.binary(max_size=99)), max_size=20), st.integers(1, 40)
)
def test_frames_come_out_as_they_went_in(frames: list[tuple[int, int, bytes]], step: int) -> None:
    data = b"".join(relaying.encode(*frame) for frame in frames)
    decoder = relaying.Decoder()
    out = [frame for at in range(0, len(data), step) for frame in decoder.feed(data[at : at + step])]
    assert [tuple(frame) for frame in out] == frames


@given(st.binary(max_size=200))
def test_noise_is_no_frame(noise: bytes) -> None:
    with contextlib.suppress(ProtocolError, BadRequest):
        for frame in relaying.Decoder().feed(noise):
            _ = frame.granted if frame.kind == relaying.CREDIT else frame.target


class Wire:
    """Two multiplexers, and what carries their frames: a stream that nobody reads holds up none of the others."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.sides = [Multiplexer(self.selector, lambda number, words: None) for _ in range(2)]
        self.decoders = [relaying.Decoder(), relaying.Decoder()]

    def stream(self, number: int) -> tuple[socket.socket, socket.socket]:
        ends = []
        for side in self.sides:
            ours, carried = socket.socketpair()
            side.add(number, carried)
            ours.settimeout(5)
            ends.append(ours)
        return ends[0], ends[1]

    def turn(self) -> None:
        for key, mask in self.selector.select(0):
            key.data(mask)
        for number, side in enumerate(self.sides):
            data = bytes(side.output[:10_000])
            side.sent(len(data))
            for frame in self.decoders[number].feed(data):
                self.sides[1 - number].take(frame)

    def turns(self) -> Iterator[None]:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            self.turn()
            yield


def test_a_stream_that_nobody_reads_holds_up_no_other() -> None:
    wire = Wire()
    stuck, unread = wire.stream(1)
    stuck.setblocking(False)
    busy, reader = wire.stream(2)
    reader.setblocking(False)
    sent = got = 0
    data = bytes(range(256)) * 400
    for _ in wire.turns():
        with contextlib.suppress(BlockingIOError):
            stuck.send(data)
        if sent < 20 * len(data):
            busy.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                sent += busy.send(data)
        with contextlib.suppress(BlockingIOError):
            got += len(reader.recv(1 << 20))
        if sent >= 20 * len(data) and got == sent:
            break
    assert unread.fileno() > 0 and got == sent and sum(len(side.output) for side in wire.sides) < 2 << 20
    busy.shutdown(socket.SHUT_WR)
    for _ in wire.turns():
        with contextlib.suppress(BlockingIOError):
            if reader.recv(1) == b"":
                break
    reader.sendall(b"after the other side has ended")
    reader.close()
    busy.setblocking(False)
    last = b""
    for _ in wire.turns():
        with contextlib.suppress(BlockingIOError):
            piece = busy.recv(100)
            last += piece
            if not piece:
                break
    assert last == b"after the other side has ended"
    for _ in range(5):
        wire.turn()
    assert [2 in side for side in wire.sides] == [False, False]


# --- samples ----------------------------------------------------------------------------------------------------


def test_hostile_samples_cost_only_themselves() -> None:
    store = Store()
    store.conn.execute("INSERT INTO hosts (name, samples_offset) VALUES ('gpu1', 0)")
    now = 40 * 86400.0
    lines = [
        b"[1e400, 1, 2, 3, []]",
        b"[" + b"9" * 400 + b", 1, 2, 3, []]",
        b'[%d, [1], {"a": 1}, "\\ud800", []]' % now,
        b"[%d, 1, %d, -%d, []]" % (now - 1, 2**70, 2**90),
        b'[%d, 1, 2, 3, [["u", 1, 2, 3, 4, 5]]]' % (now - 2 * 86400),
        b'[%d, 1, 2, 3, [["u", %s, 2, 3, 4, ["\\ud800"]], ["v"], 7, {}]]' % (now - 2 * 86400, b"9" * 400),
        b'[%d, 1, 2, 3, {"a": 1}]' % now,
        b"\xff\xfe",
        b"[%d, 0.5, 2, 3, []]" % (now - 5),
    ]
    page = b"\n".join(lines) + b"\n"
    assert host_samples.put_page(store, "gpu1", 0, 0, page, now) == len(page)
    assert [(one.load, one.ram) for one in host_samples.since(store.conn, "gpu1", 0.0)] == [
        (0.5, 2),
        (1, None),
        (None, None),
    ]
    (minute,) = host_samples.minutes(store.conn, "gpu1", 0.0, now)
    assert minute.count == 1 and minute.gpus["u"][0][0] == (1, 1, 1)
    store.close()


def test_samples_become_minutes_after_a_day_and_go_after_a_month() -> None:
    store = Store()
    store.conn.execute("INSERT INTO hosts (name, samples_offset) VALUES ('gpu1', 0)")
    now = 40 * 86400.0
    moments = [now - 31 * 86400, *(now - 2 * 86400 + 10 * n for n in range(12)), now - 60]
    pages = []
    for number, moment in enumerate(moments):
        gpu = ["GPU-1", number, 1000 + number, 40, None, ["job1"] if number < 6 else [[1001, 4242]]]
        pages.append(json.dumps([moment, number / 2, 1 << 30, 5, [gpu]]).encode() + b"\n")
    offset = 0
    for page in (b"".join(pages[:5]), b"".join(pages[5:]) + b"[torn"):
        offset = host_samples.put_page(store, "gpu1", offset, offset, page, now)
    assert [sample.time for sample in host_samples.since(store.conn, "gpu1", 0.0)] == [now - 60]
    minutes = host_samples.minutes(store.conn, "gpu1", 0.0, now)
    assert [(one.time, one.count) for one in minutes] == [(now - 2 * 86400, 6), (now - 2 * 86400 + 60, 6)]
    assert minutes[0].load == (0.5, 1.75, 3.0) and minutes[0].ram == (1 << 30,) * 3
    values, holders = minutes[0].gpus["GPU-1"]
    assert values == [(1, 3.5, 6), (1001, 1003.5, 1006), (40, 40, 40), None] and holders == ["job1", [1001, 4242]]
    store.close()
