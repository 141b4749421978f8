"""Messages between client and agent: every version that was ever spoken is still read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from remote_agent.core import events
from remote_agent.protocol import framing, messages, notices, roles, supervision
from remote_agent.protocol.checks import whole
from remote_agent.protocol.ends import AttemptEnd, Cause, PastAttempt, Usage
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.jobs import JobView
from remote_agent.protocol.lease import Lease
from remote_agent.protocol.resources import Resources
from remote_agent.protocol.wire import Message, TolerantMessage, field
from tests.support.paths import DATA

SAMPLES = sorted((DATA / "messages").glob("protocol-*.json"))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_a_sample_of_every_version_is_read_whole(path: Path) -> None:
    sample: dict[str, dict[str, Any]] = json.loads(path.read_text())
    assert set(sample["requests"]) <= set(messages.REQUESTS), "a request that older clients send is no longer known"
    for method, wire in sample["requests"].items():
        assert as_sent(messages.request_from_wire(method, wire)).items() >= wire.items(), method
    for method, wire in sample["answers"].items():
        assert as_sent(messages.answer_from_wire(messages.REQUESTS[method].ANSWER, wire)).items() >= wire.items(), (
            method
        )


def test_every_message_has_a_sample_of_the_version_that_is_spoken() -> None:
    sample = json.loads((DATA / "messages" / f"protocol-{framing.VERSION}.json").read_text())
    assert set(sample["requests"]) == set(sample["answers"]) == set(messages.REQUESTS)
    for method, kind in messages.REQUESTS.items():
        assert set(sample["requests"][method]) == set(kind.from_wire(sample["requests"][method]).to_wire()), method


def as_sent(message: Message) -> dict[str, Any]:
    """Return a message as its receiver decodes it."""
    return dict(json.loads(json.dumps(message.to_wire())))


def test_what_a_newer_side_adds_is_left_out_and_what_is_missing_has_its_default() -> None:
    assert messages.Stop.from_wire({"job": "a", "by": "me", "how": "gently"}) == messages.Stop("a", "me")
    with pytest.raises(BadRequest, match="the message lacks by"):
        messages.Stop.from_wire({"job": "a"})
    with pytest.raises(BadRequest, match="grace must be"):
        messages.Stop.from_wire({"job": "a", "by": "me", "grace": -1})


def test_a_wrong_field_of_what_a_host_has_costs_only_itself() -> None:
    gpu = {"index": 0, "uuid": "GPU-1", "name": "A", "processes": [{"pid": "x", "user": "ada"}, 5]}
    resources = Resources.from_wire({"cpus": "many", "memory": 5, "gpus": [gpu, {"index": 1}]})
    assert (resources.cpus, resources.memory) == (0, 5)
    assert [(gpu.uuid, [process.user for process in gpu.processes]) for gpu in resources.gpus] == [("GPU-1", ["ada"])]


def test_an_order_is_known_by_its_fields() -> None:
    start = supervision.StartOrder("a", 1, Lease(2, ("GPU-1",), (0,)), "f" * 32, True, False)
    for order in (start, supervision.StopOrder("me", 2.5), supervision.Dismissal()):
        assert supervision.decode(supervision.encode(order)) == order
    earlier = b'{"job": "a", "attempt": 1, "lease": {"cpus": 1, "gpus": [], "gpu_indices": []}, "agent": "x", "new": 1}'
    assert supervision.decode(earlier) == supervision.StartOrder("a", 1, Lease(1), "x")
    for wrong in (b"[]", b'{"by": 5, "grace": 1}', b'{"job": "../x", "attempt": 1, "lease": {}}', b"{}"):
        with pytest.raises(BadRequest):
            supervision.decode(wrong)


@pytest.mark.parametrize("path", sorted((DATA / "supervision").glob("*.json")), ids=lambda path: path.stem)
def test_what_supervisors_of_every_version_say_and_write_is_read_whole(path: Path) -> None:
    sample: dict[str, Any] = json.loads(path.read_text())
    ended = {"type": "ended", **sample["exit_record"]}
    for wire in [*sample["reports"], ended]:
        report = supervision.report_of(json.dumps(wire).encode())
        assert report is not None and as_sent(report).items() >= wire.items()
    end = AttemptEnd.received(sample["exit_record"], "")
    assert json.loads(json.dumps(end.to_wire())).items() >= sample["exit_record"].items()
    assert as_sent(supervision.record_of(sample["supervisor_record"])) == sample["supervisor_record"]
    for wire in sample["orders"]:
        assert as_sent(supervision.decode(json.dumps(wire).encode())).items() >= wire.items()


@pytest.mark.parametrize("path", sorted((DATA / "roles").glob("*.json")), ids=lambda path: path.stem)
def test_what_roles_of_every_version_are_asked_and_answer_is_read_whole(path: Path) -> None:
    sample: dict[str, list[dict[str, Any]]] = json.loads(path.read_text())
    for name, wires in sample.items():
        kind = getattr(notices if name in ("NotifyTarget", "Delivery") else roles, name)
        for wire in wires:
            assert as_sent(kind.from_wire(wire)).items() >= wire.items(), name


def test_a_notice_of_a_command_that_is_no_utf8_is_delivered() -> None:
    wire = json.loads(json.dumps({"wish": {"url": "http://127.0.0.1:9/"}, "messages": [{"command": ["caf\udce9"]}]}))
    assert notices.Delivery.from_wire(wire).messages[0]["command"] == ["caf\udce9"]


@pytest.mark.parametrize(
    "cause", [5, "x", [], {"code": 5}, {"code": "x", "evidence": 5}, {"code": "x", "evidence": "a"}]
)
@pytest.mark.parametrize("usage", [{}, 5, "disk", ["disk"]])
def test_what_earlier_versions_let_in_stops_neither_journal_nor_store(cause: object, usage: object) -> None:
    end = {"reason_code": "exit_code", "ended_at": 1.0, "cause": cause, "usage": usage}
    change = events.change_of({"type": "ended", "job": "a", **end})
    assert isinstance(change, events.Ended) and change.end.usage == Usage()
    assert change.end.cause in (None, Cause("x"))
    past = PastAttempt.known({"attempt": 1, "state": "failed", "streams": {}, "usage": usage, "cause": cause})
    assert past.usage == Usage() and past.cause == change.end.cause


def test_a_reason_that_only_a_newer_agent_knows_stays_text() -> None:
    view = {"spec": {"job": "a", "command": ["true"], "snapshot": "0" * 40}, "state": "failed", "seq": 1}
    problems: list[str] = []
    assert JobView.received({**view, "reason_code": "evicted"}, problems).reason_code == "evicted"
    assert not problems


@pytest.mark.parametrize("words", [b"", b"[]", b"{}", b'{"type": "sleeping"}', b'{"type": "ended"}', b"[" * 90_000])
def test_a_report_that_makes_no_sense_is_none(words: bytes) -> None:
    assert supervision.report_of(words) is None


def test_defaults_are_of_each_message_and_names_may_differ_on_the_wire() -> None:
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class Sample(TolerantMessage):
        count: int = field(whole(), 0, name="n")
        parts: list[int] = field(lambda value, where: value, [])

    assert Sample().parts is not Sample().parts
    assert Sample(3).to_wire() == {"n": 3, "parts": []} and Sample.from_wire({"n": 3}) == Sample(3)
    assert Sample.from_wire({"n": "x"}) == Sample()
