"""Whom to tell that something happened to a job, and what. Pure."""

from __future__ import annotations

from typing import Any, List, Optional, Union

from remote_agent.protocol.checks import any_table, listing, text
from remote_agent.protocol.wire import JsonTable, Message, SparseMessage, field, message, nested

_WORD = text(100_000)
_WORDS = listing(_WORD, 10_000)


def _command(value: Any, where: str) -> Any:
    return _WORD(value, where) if isinstance(value, str) else _WORDS(value, where)


@message
class NotifyTarget(SparseMessage):
    """Who is notified: a web hook, a command, or both."""

    url: str = field(_WORD, "")
    """Gets a POST of JSON."""
    command: Union[str, List[str]] = field(_command, "")
    """Gets the JSON on standard input; a string is split as a shell would."""
    on: Optional[List[str]] = field(listing(text(100), 100), None)
    """Of which ends, by state; None for the usual ones."""


@message
class Delivery(Message):
    """What the process that delivers notices gets on its standard input."""

    target: NotifyTarget = field(nested(NotifyTarget), name="wish")
    messages: List[JsonTable] = field(listing(any_table, 1000))
    """Delivered as they are: a command may have bytes that are no UTF-8."""
