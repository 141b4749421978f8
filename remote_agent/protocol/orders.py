"""What a daemon says to its supervisors. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Dict, Union

from remote_agent.protocol.checks import any_table, flag, number, text, whole
from remote_agent.protocol.jobs import JOB_ID, LONGEST_GRACE, Lease
from remote_agent.protocol.wire import Message, field


@dataclass(frozen=True)
class StartOrder(Message):
    """Own this attempt, from its folder to its exit record."""

    job: str = field(text(64, JOB_ID))
    attempt: int = field(whole(1))
    lease: Dict[str, Any] = field(any_table)
    agent: str = field(text(100), "")
    """Content hash of the daemon's code."""
    host_has_gpus: bool = field(flag, False)
    is_brief: bool = field(flag, False)
    """Like jobs take only moments."""

    @property
    def held(self) -> Lease:
        """What the attempt holds."""
        return Lease.from_wire(self.lease)


@dataclass(frozen=True)
class StopOrder(Message):
    """End the attempt."""

    by: str = field(text(1000))
    """Who asks."""
    grace: float = field(number(0, LONGEST_GRACE))
    """Seconds between its stop signal and KILL."""


@dataclass(frozen=True)
class Dismissal(Message):
    """There is no further attempt to be owned."""

    dismissed: bool = field(flag, True)


AnyOrder = Union[StartOrder, StopOrder, Dismissal]


def encode(order: AnyOrder) -> bytes:
    """Return an order as it is sent."""
    return json.dumps(order.to_wire()).encode()


def decode(data: bytes) -> AnyOrder:
    """Return the order that was sent: its fields tell which it is.

    Raises:
        BadRequest: it makes no sense. ValueError: it is no JSON.
    """
    said = json.loads(data)
    any_table(said, "an order")
    if "job" in said:
        return StartOrder.from_wire(said, "an order")
    if "dismissed" in said:
        return Dismissal.from_wire(said, "an order")
    return StopOrder.from_wire(said, "an order")
