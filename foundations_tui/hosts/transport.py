"""The port to a host: channels to ``/bin/sh`` there. This machine and SSH are its two kinds."""

from __future__ import annotations

from typing import Protocol


class Channel(Protocol):
    """A shell on a host: bytes to its standard input, bytes from its standard output."""

    def send(self, data: bytes) -> None:
        """Send all of the data."""

    def recv(self, size: int) -> bytes:
        """Return what has arrived, at most ``size`` bytes; empty at the end."""

    def set_timeout(self, seconds: float | None) -> None:
        """Bound the next calls; None for no bound."""

    def fileno(self) -> int:
        """Return a descriptor that is readable when something has arrived."""

    def end_input(self) -> None:
        """Close the other side's standard input."""

    def errors(self) -> str:
        """Return what came on standard error; of a channel that ends, also what is still on its way."""

    def exit_code(self) -> int | None:
        """Return with what the shell ended; None where that is not known."""

    def close(self) -> None:
        """End the channel and what runs behind it."""


class Stream(Protocol):
    """A connection to a port or a Unix socket of a host."""

    def fileno(self) -> int:
        """Return a descriptor that is readable when something has arrived, or the connection has ended."""

    def recv(self, size: int) -> bytes:
        """Return what has arrived, at most ``size`` bytes; empty at the end."""

    def sendall(self, data: bytes) -> None:
        """Send all of the data."""

    def settimeout(self, seconds: float | None) -> None:
        """Bound the next calls; None for no bound."""

    def end_input(self) -> None:
        """Say that nothing more is sent."""

    def close(self) -> None:
        """End the connection."""


class Transport(Protocol):
    """A way to a host, opened once and used for many channels."""

    @property
    def sent(self) -> int:
        """Bytes that went out so far, as near to the socket as can be counted."""

    def open(self) -> Channel:
        """Return a channel to ``/bin/sh``.

        Raises:
            HostError: the host does not answer or does not let us in.
        """

    def connect(self, address: str, port: int) -> Stream:
        """Return a connection to a port of the host itself.

        Raises:
            ForwardingRefused: only the agent there can connect. OSError: nothing takes it there.
            HostError: the connection to the host is gone.
        """

    def console(self, line: str, nonce: str, tty: bool) -> int:
        """Run a shell line on this process's own input and output, and return its exit code.

        Args:
            line: what to run: words that every shell takes alike.
            nonce: what its first line begins with; what comes before is not the command's.
            tty: whether it gets a terminal.
        Raises:
            HostError: the connection is gone.
        """

    def close(self) -> None:
        """End all channels."""
