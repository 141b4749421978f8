"""Which process: told from a later one with the same pid, and from one before a reboot. Pure."""

from __future__ import annotations

from typing import Optional

from remote_agent.protocol.checks import optional, text, whole
from remote_agent.protocol.wire import Message, field, message


@message
class ProcessIdentity(Message):
    """One process of one boot of a host."""

    pid: int = field(whole(1, 2**31 - 1))
    start: Optional[int] = field(optional(whole()), None)
    """When it started, in clock ticks since boot."""
    boot: str = field(text(100), "")
    """The kernel's id of the boot."""
