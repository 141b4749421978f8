"""What a connection may have to ask somebody: whether a host's key is the right one, for a passphrase, a password, a
one-time code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class UnknownKey:
    """A host key that no known_hosts file has."""

    host: str
    """The host's name as known_hosts would have it."""
    kind: str
    fingerprint: str


@dataclass(frozen=True)
class LockedKey:
    """A private key of the user's that has a passphrase."""

    path: str
    attempt: int = 1
    """How often its passphrase has been asked for, this time included; above 1, the last answer was wrong."""


@dataclass(frozen=True)
class ServerPrompt:
    """Something that a server asks at login: a password, a one-time code. What is typed is never shown."""

    host: str
    """Its name in hosts.toml."""
    user: str
    address: str
    text: str
    """What it asks, in its own words."""
    about: str = ""
    """What it says besides."""
    attempt: int = 1
    """How often it has asked, this time included; above 1, the last answer was wrong."""


def _trusts_none(key: UnknownKey) -> bool:
    return False


def _knows_none(key: LockedKey) -> str | None:
    return None


def _answers_none(prompt: ServerPrompt) -> str | None:
    return None


@dataclass(frozen=True)
class Asker:
    """Who answers. Answers may take their time: they are waited for in the thread that connects."""

    trusts: Callable[[UnknownKey], bool] = _trusts_none
    """Whether a host key is to be trusted, and remembered."""
    passphrase: Callable[[LockedKey], str | None] = _knows_none
    """The passphrase of a private key; None from who does not want to say it. It is kept nowhere."""
    answer: Callable[[ServerPrompt], str | None] = _answers_none
    """What to tell a server; None from who does not want to say it. It is kept nowhere."""


NOBODY = Asker()
"""Trusts no key, knows no passphrase and answers nothing."""
