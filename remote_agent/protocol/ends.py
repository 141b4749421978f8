"""How an attempt ended, what it used and why it failed: as exit records, journals and jobs carry it. Pure."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional

from remote_agent.protocol import checks
from remote_agent.protocol.checks import Check, moment, number, one_of, optional, text, whole
from remote_agent.protocol.states import EndReason
from remote_agent.protocol.wire import JsonTable, Message, SparseMessage, field, message, nested

MOST_STREAMS = 1000
"""Records files of an attempt that are taken note of."""
_WORDS = text(10_000)
_AMOUNT = optional(number())
_CODE = re.compile(r"[a-z][a-z0-9_]*\Z")


@message
class Usage(SparseMessage):
    """What an attempt used, as far as it was measured."""

    wall_seconds: Optional[float] = field(_AMOUNT, None)
    cpu_seconds: Optional[float] = field(_AMOUNT, None)
    peak_memory: Optional[int] = field(_AMOUNT, None)
    """Bytes, as the following."""
    peak_gpu_memory: Optional[int] = field(_AMOUNT, None)
    disk: Optional[int] = field(_AMOUNT, None)
    """Of its folder when it ended."""


@message
class Evidence(SparseMessage):
    """What is known of an end besides the log."""

    exit_code: Optional[int] = field(optional(whole(-(2**31), 2**31)), None)
    signal: str = field(text(100), "")
    """Name of the signal that ended the process: "SIGKILL"."""
    oom_kills: int = field(whole(), 0)
    """Processes that the kernel killed for memory in the job's control group while it ran."""
    peak_memory: int = field(number(), 0)
    """Bytes."""
    memory_total: int = field(number(), 0)
    """Bytes of the host."""
    disk_free: Optional[int] = field(_AMOUNT, None)
    """Bytes, when it ended."""


@message
class Cause(SparseMessage):
    """The post-mortem of a failure."""

    code: str = field(text(100), "")
    """Stable, for programs: "cuda_oom"."""
    words: str = field(_WORDS, "")
    line: str = field(_WORDS, "")
    """The line of the log that says so."""
    evidence: Evidence = field(nested(Evidence), Evidence())

    def to_wire(self) -> JsonTable:
        """Return it as it is sent; "evidence" is always there."""
        return {"evidence": {}, **super().to_wire()}


def some_cause(value: Any, where: str) -> Optional[Cause]:
    """Check a cause; one without a code is none, as an empty table says."""
    cause = Cause.from_wire(value, where)
    return cause if cause.code else None


def known_cause(wire: Any) -> Optional[Cause]:
    """Return the cause that a journal or a store has; None when there is none, or what earlier versions let in."""
    return some_cause(wire, "a cause") if isinstance(wire, dict) else None


def known_usage(wire: Any) -> Usage:
    """Return the usage that a journal or a store has."""
    return Usage.known(wire) if isinstance(wire, dict) else Usage()


@dataclass(frozen=True)
class AttemptEnd:
    """How an attempt ended: what its exit record tells, and the journal after it."""

    reason_code: str
    """One of ``EndReason``."""
    reason: Optional[str]
    """The same in words."""
    ended_at: float
    """Seconds since the epoch, as ``started_at``; 0 when it was not seen."""
    exit_code: Optional[int] = None
    signal: Optional[str] = None
    cause: Optional[Cause] = None
    started_at: Optional[float] = None
    """None for what is known already."""
    streams: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Final sizes in bytes, by name."""
    usage: Usage = Usage()

    def to_wire(self) -> JsonTable:
        """Return it as an exit record has it, and an event among its own fields."""
        wire = {name: getattr(self, name) for name in _OF_AN_END}
        wire.update(cause=self.cause.to_wire() if self.cause else None, usage=self.usage.to_wire())
        if self.started_at is None:
            del wire["started_at"]
        return wire

    @classmethod
    def from_wire(cls, wire: JsonTable) -> "AttemptEnd":
        """Return the end that an event of the journal tells.

        Raises:
            KeyError: it has no reason. ValueError: no agent of this version ends a job for that.
        """
        EndReason(wire["reason_code"])
        end = object.__new__(cls)
        values = end.__dict__
        values.update(reason=None, ended_at=0.0, streams={})
        values.update({name: wire[name] for name in _OF_AN_END if name in wire})
        values["usage"] = known_usage(wire.get("usage"))
        values["cause"] = known_cause(wire.get("cause"))
        return end

    @classmethod
    def received(cls, value: Any, where: str) -> "AttemptEnd":
        """Return the end that a supervisor tells; the file lies in a folder that the job can write to.

        What is wrong about the end costs only itself: without its reason code there is no end.

        Raises:
            BadRequest: that is missing or not known.
        """
        return cls(**{**_REASON(value, where), "reason": "", "ended_at": 0.0, **_FACTS(value, where)})


_OF_AN_END = tuple(AttemptEnd.__dataclass_fields__)
_REASON = checks.record({"reason_code": one_of(*(reason.value for reason in EndReason))}, ["reason_code"])
_FACTS = checks.sift(
    {
        "reason": _WORDS,
        "exit_code": optional(whole(-(2**31), 2**31)),
        "signal": optional(text(100)),
        "cause": optional(some_cause),
        "usage": nested(Usage),
        "started_at": optional(moment),
        "ended_at": moment,
    }
)

STATE_NAME = text(64, _CODE)
"""A state as a host reports it; a newer agent may have others than ours."""
OF_AN_ATTEMPT: Dict[str, Check] = {
    "attempt": whole(0, 1_000_000),
    "reason_code": optional(text(64, _CODE)),  # a newer agent may have others
    "reason": optional(_WORDS),
    "exit_code": optional(whole(-(2**31), 2**31)),
    "gpus": checks.listing(text(200), 1024),
    "started_at": optional(moment),
    "ended_at": optional(moment),
    "streams": checks.table(whole(), 2 * MOST_STREAMS, text(300)),
    "usage": nested(Usage),
    "signal": optional(text(100)),
    "cause": optional(some_cause),
}
"""What each field has to be that a job has of its last attempt, and of those before it."""


@message
class PastAttempt(Message):
    """An attempt before the current one of its job."""

    attempt: int = field(OF_AN_ATTEMPT["attempt"])
    state: str = field(STATE_NAME)
    streams: Mapping[str, int] = field(OF_AN_ATTEMPT["streams"])
    usage: Usage = field(OF_AN_ATTEMPT["usage"])
    reason_code: Optional[str] = field(OF_AN_ATTEMPT["reason_code"], None)
    reason: Optional[str] = field(OF_AN_ATTEMPT["reason"], None)
    exit_code: Optional[int] = field(OF_AN_ATTEMPT["exit_code"], None)
    signal: Optional[str] = field(OF_AN_ATTEMPT["signal"], None)
    cause: Optional[Cause] = field(OF_AN_ATTEMPT["cause"], None)
    gpus: List[str] = field(OF_AN_ATTEMPT["gpus"], [])
    started_at: Optional[float] = field(OF_AN_ATTEMPT["started_at"], None)
    ended_at: Optional[float] = field(OF_AN_ATTEMPT["ended_at"], None)

    def to_wire(self) -> JsonTable:
        """Return it as it is sent; without a cause, as an empty table."""
        wire = super().to_wire()
        wire["cause"] = wire["cause"] or {}
        return wire

    @classmethod
    def known(cls, wire: JsonTable) -> "PastAttempt":
        past = super().known(wire)
        past.__dict__["usage"] = known_usage(wire.get("usage"))
        past.__dict__["cause"] = known_cause(wire.get("cause"))
        return past
