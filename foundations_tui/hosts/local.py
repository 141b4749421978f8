"""This machine as a host: a shell behind a pair of sockets, the same bootstrap as everywhere."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile

from foundations_tui.errors import HostRefused, HostUnreachable


class LocalTransport:
    """Shells of this machine."""

    def __init__(self) -> None:
        if not sys.platform.startswith("linux"):
            raise HostRefused(
                f"the host 'local' needs Linux; this is {sys.platform}",
                "add a Linux machine that you reach over SSH: foundations hosts add NAME user@host",
            )
        self._sent = 0

    @property
    def sent(self) -> int:
        """Bytes that went out so far."""
        return self._sent

    def count(self, size: int) -> None:
        """Count bytes that went out."""
        self._sent += size

    def open(self) -> LocalChannel:
        """Start a shell."""
        return LocalChannel(self)

    def connect(self, address: str, port: int) -> SocketStream:
        """Return a connection to a port of this machine.

        Raises:
            OSError: nothing takes it.
        """
        return SocketStream(socket.create_connection((address, port), 20))

    def console(self, line: str, nonce: str, tty: bool) -> int:
        """Run a shell line on this process's own input and output, and return its exit code."""
        quiet = line.replace(nonce, "-", 1)  # nothing comes between us and a shell of our own
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for what runs there
        try:
            child = subprocess.Popen(["/bin/sh", "-c", f"exec {quiet}"], preexec_fn=_default_interrupt)
            code = child.wait()
        finally:
            signal.signal(signal.SIGINT, before)
        return 128 - code if code < 0 else code

    def close(self) -> None:
        """There is nothing that would outlive its channels."""


def _default_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class SocketStream:
    """A connection that is a socket of ours."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(None)
        self._socket = sock

    def fileno(self) -> int:
        """Return a descriptor that is readable when something has arrived, or the connection has ended."""
        return self._socket.fileno()

    def recv(self, size: int) -> bytes:
        """Return what has arrived; empty at the end."""
        return self._socket.recv(size)

    def sendall(self, data: bytes) -> None:
        """Send all of the data."""
        self._socket.sendall(data)

    def settimeout(self, seconds: float | None) -> None:
        """Bound the next calls."""
        self._socket.settimeout(seconds)

    def end_input(self) -> None:
        """Say that nothing more is sent."""
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """End the connection."""
        self._socket.close()


class LocalChannel:
    """One shell."""

    def __init__(self, transport: LocalTransport) -> None:
        self._transport = transport
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the channel
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._shell = subprocess.Popen(
                ["/bin/sh"],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=self._errors,
                cwd="/",
                start_new_session=True,  # Ctrl-C is for us, not for what runs there
            )

    def send(self, data: bytes) -> None:
        """Send all of the data.

        Raises:
            HostUnreachable: the shell has ended.
        """
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise HostUnreachable(f"local: the connection was lost ({error.strerror})") from None
        self._transport.count(len(data))

    def recv(self, size: int) -> bytes:
        """Return what has arrived; empty at the end."""
        try:
            return self._socket.recv(size)
        except ConnectionResetError:
            return b""

    def fileno(self) -> int:
        """Return a descriptor that is readable when something has arrived."""
        return self._socket.fileno()

    def set_timeout(self, seconds: float | None) -> None:
        """Bound the next calls."""
        self._socket.settimeout(seconds)

    def end_input(self) -> None:
        """Close the shell's standard input."""
        self._socket.shutdown(socket.SHUT_WR)

    def errors(self) -> str:
        """Return what came on standard error so far."""
        return os.pread(self._errors.fileno(), 4096, 0).decode("utf-8", "replace")

    def exit_code(self) -> int | None:
        """Return with what the shell ended; None while it runs."""
        return self._shell.poll()

    def close(self) -> None:
        """End the shell, or what it became: it ends by itself when its input is closed."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._socket.close()
        self._errors.close()
        try:
            self._shell.wait(2)
        except subprocess.TimeoutExpired:
            self._shell.kill()
            self._shell.wait()
