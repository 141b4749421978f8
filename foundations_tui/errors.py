"""What can go wrong for a user, as one tree; each class has its exit code, each error may have a hint.

FoundationsError               1  the operation failed
|-- UsageError                 2  the request makes no sense as it stands
|   `-- ConfigError            2  a configuration file is wrong
|-- NotFoundError              3  no such job, host, project or file
|-- HostError                  4  a host is unreachable or refuses
|   |-- HostUnreachable
|   |-- HostRefused            it is there, and does not let us in or do it
|   |   `-- NoMoreChannels     the server gives no further session on a connection
|   |-- HostKeyUnknown
|   `-- HostKeyChanged
|-- SnapshotError              1
`-- StoreError                 1
"""

from __future__ import annotations

import os
import sys


class FoundationsError(Exception):
    """The operation failed."""

    exit_code = 1

    def __init__(self, message: str = "", hint: str = "") -> None:
        super().__init__(message or self.__doc__ or "")
        self.hint = hint
        """What the user can do about it, in words; may be empty."""


class UsageError(FoundationsError):
    """The request makes no sense as it stands."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration file is wrong."""


class NotFoundError(FoundationsError):
    """There is no such thing."""

    exit_code = 3


class HostError(FoundationsError):
    """The host is unreachable or refuses."""

    exit_code = 4


class HostUnreachable(HostError):
    """The host cannot be reached."""


class HostRefused(HostError):
    """The host does not do it."""


class ForwardingRefused(HostRefused):
    """A host's SSH server makes no connections for its clients."""


class NoMoreChannels(HostRefused):
    """The server gives no further session on this connection."""


class HostKeyUnknown(HostError):
    """The host's key is not known."""


class HostKeyChanged(HostError):
    """The host's key is not the one that is known."""


class SnapshotError(FoundationsError):
    """The working tree cannot be frozen."""


class StoreError(FoundationsError):
    """The local store cannot be used."""


def store_hint(words: str) -> str:
    """Return what to do about what SQLite says."""
    if "malformed" in words or "not a database" in words:
        return "move the file away (foundations store check names it); the next sync fills a new one from the hosts"
    return "is the disk full, or another program holding the file?"


def as_ours(error: Exception) -> FoundationsError:
    """Return any exception as a FoundationsError: an OSError in the system's words, all else as a bug."""
    if isinstance(error, FoundationsError):
        return error
    sqlite3 = sys.modules.get("sqlite3")  # who has not loaded it has no such error
    if sqlite3 is not None and isinstance(error, sqlite3.DatabaseError):
        return StoreError(f"the local store cannot be used: {error}", store_hint(str(error)))
    if isinstance(error, OSError):
        where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        return FoundationsError(f"{where}{error.strerror or error}")
    return FoundationsError(
        f"this is a bug: {type(error).__name__}: {error}", "run it again with --debug and report what it shows"
    )
