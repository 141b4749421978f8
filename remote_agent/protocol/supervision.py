"""What a daemon and its supervisors say to each other, and what a supervisor writes down of itself. Pure."""

from __future__ import annotations

import json
from typing import Any, List, Optional, Union

from remote_agent.protocol.checks import any_table, flag, listing, moment, number, one_of, optional, text, whole
from remote_agent.protocol.ends import AttemptEnd
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.facts import GpuFacts
from remote_agent.protocol.jobs import JOB_ID, LONGEST_GRACE
from remote_agent.protocol.lease import Lease
from remote_agent.protocol.process_identity import ProcessIdentity
from remote_agent.protocol.services import Readiness
from remote_agent.protocol.wire import JsonTable, Message, SparseMessage, TolerantMessage, field, message, nested

PREPARING, RUNNING, ENDED = "preparing", "running", "ended"

# --- from the daemon ----------------------------------------------------------------------------------------------


@message
class StartOrder(Message):
    """Own this attempt, from its folder to its exit record."""

    job: str = field(text(64, JOB_ID))
    attempt: int = field(whole(1))
    lease: Lease = field(nested(Lease))
    agent: str = field(text(100), "")
    """Content hash of the daemon's code."""
    host_has_gpus: bool = field(flag, False)
    is_brief: bool = field(flag, False)
    """Like jobs take only moments."""
    gpus: List[GpuFacts] = field(listing(nested(GpuFacts), 1000), [])
    """Those of the lease."""
    driver: str = field(text(100), "")
    cuda: str = field(text(100), "")
    """The newest that the driver can run."""


@message
class StopOrder(Message):
    """End the attempt."""

    by: str = field(text(1000))
    """Who asks."""
    grace: float = field(number(0, LONGEST_GRACE))
    """Seconds between its stop signal and KILL."""


@message
class Dismissal(Message):
    """There is no further attempt to be owned."""

    dismissed: bool = field(flag, True)


Order = Union[StartOrder, StopOrder, Dismissal]


def encode(order: Order) -> bytes:
    """Return an order as it is sent."""
    return json.dumps(order.to_wire()).encode()


def decode(data: bytes) -> Order:
    """Return the order that was sent: its fields tell which it is.

    Raises:
        BadRequest: it makes no sense.
        ValueError: it is no JSON.
    """
    wire = json.loads(data)
    any_table(wire, "an order")
    if "job" in wire:
        return StartOrder.from_wire(wire, "an order")
    if "dismissed" in wire:
        return Dismissal.from_wire(wire, "an order")
    return StopOrder.from_wire(wire, "an order")


# --- from a supervisor --------------------------------------------------------------------------------------------


@message
class Report(SparseMessage):
    """Where an attempt is, as its supervisor says."""

    type: str = field(one_of(PREPARING, RUNNING, ENDED), "")
    pid: int = field(whole(0, 2**31), 0)
    """Of the job's process."""
    supervisor: int = field(whole(0, 2**31), 0)
    """The pid of who says it."""
    started_at: Optional[float] = field(optional(moment), None)
    readiness: Optional[Readiness] = field(optional(nested(Readiness)), None)
    """Of a replica that runs."""
    end: Optional[AttemptEnd] = field(AttemptEnd.received, None)
    """On the wire its fields stand beside the others."""

    @classmethod
    def from_wire(cls, value: Any, where: str = "") -> "Report":
        any_table(value, where)
        return super().from_wire({**value, "end": value} if value.get("type") == ENDED else value, where)

    def to_wire(self) -> JsonTable:
        wire = super().to_wire()
        end = wire.pop("end", None)
        return {**wire, **end.to_wire()} if end else wire


def report_of(message: bytes) -> Optional[Report]:
    """Return what a supervisor said; None when it makes no sense: an end needs its reason."""
    try:
        report = Report.from_wire(json.loads(message), "a supervisor's report")
    except (BadRequest, ValueError, RecursionError):
        return None
    return None if not report.type or (report.type == ENDED and report.end is None) else report


@message
class SupervisorRecord(TolerantMessage):
    """What a supervisor writes down of itself, for a daemon that finds it dead."""

    supervisor: Optional[ProcessIdentity] = field(nested(ProcessIdentity), None)
    token: str = field(text(100), "")
    """Stands in the environment of each process of the attempt."""
    session: Optional[int] = field(optional(whole(1)), None)
    """Of the job's processes: the pid of its main one."""
    session_start: Optional[int] = field(optional(whole()), None)
    lease: Optional[Lease] = field(nested(Lease), None)


def record_of(value: Any) -> SupervisorRecord:
    """Return what the file of a supervisor says, as far as it makes sense: the job can write there, too."""
    try:
        return SupervisorRecord.from_wire(value, "a supervisor's record")
    except (BadRequest, RecursionError):
        return SupervisorRecord()
