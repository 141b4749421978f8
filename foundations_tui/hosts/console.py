"""A command on a host whose input and output are this process's own, with a terminal or without."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from typing import Any, Protocol

from foundations_tui.hosts.shell import AgentInstall
from remote_agent.protocol.roles import EnterWanted

_CHUNK = 1 << 16


class Console(Protocol):
    """What runs a shell line on this process's own input and output."""

    def console(self, line: str, nonce: str, tty: bool) -> int:
        """See ``Transport.console``."""


def run(transport: Console, place: AgentInstall, request: EnterWanted, tty: bool) -> int:
    """Run a command on a host and return its exit code.

    Args:
        transport: to the host, or its agent.
        place: where the agent is there.
        request: which, and where.
        tty: whether it gets a terminal.
    Raises:
        HostError: the connection was lost.
    """
    packed = base64.urlsafe_b64encode(json.dumps(request.to_wire()).encode()).decode()
    nonce = os.urandom(12).hex()
    line = shlex.join([place.python, "-I", "-S", "-E", place.zipapp, "enter", place.root, nonce, packed])
    return transport.console(line, nonce, tty)


class BannerFilter:
    """Holds back what a login shell prints before the line with the nonce; what is behind it is the command's own."""

    def __init__(self, nonce: str) -> None:
        self._nonce = nonce.encode()
        self._held = b""
        self.is_up = False
        self.problem = ""
        """Why the command cannot be run, in words."""

    def pass_on(self, data: bytes) -> bytes:
        """Return what may be shown of some output."""
        if self.is_up:
            return data
        self._held += data
        start = self._held.find(self._nonce)
        end = self._held.find(b"\n", start)
        if start < 0 or end < 0:
            return b""
        self.is_up = True
        first_line = json.loads(self._held[start + len(self._nonce) : end])
        self.problem = str(first_line.get("error", ""))
        return self._held[end + 1 :]


def bridge(channel: Any, nonce: str, tty: bool) -> int:
    """Carry a paramiko channel's input and output until its command has ended; return the exit code.

    Args:
        channel: on which the command has just been started.
        nonce: the one of its first line.
        tty: whether it has a terminal, as we have.
    """
    banner = BannerFilter(nonce)
    with _raw_terminal(channel) if tty else contextlib.nullcontext():
        _carry(channel, banner)
    if banner.problem:
        sys.stderr.write(f"error: {banner.problem}\n")
    code = int(channel.recv_exit_status())
    return code if code >= 0 else 255


def _carry(channel: Any, banner: BannerFilter) -> None:
    stdin: list[Any] = [0]
    while True:
        ready, _, _ = select.select([channel, *(stdin if banner.is_up else [])], [], [], 0.5)
        if channel in ready or channel.exit_status_ready():
            while channel.recv_stderr_ready():
                _write(2, channel.recv_stderr(_CHUNK))
            if channel.recv_ready():
                _write(1, banner.pass_on(channel.recv(_CHUNK)))
            elif channel.exit_status_ready() and not channel.recv_stderr_ready():
                rest = channel.recv(_CHUNK) if not channel.eof_received or channel.recv_ready() else b""
                if not rest:
                    return
                _write(1, banner.pass_on(rest))
        if 0 in ready:
            data = os.read(0, _CHUNK)
            if data:
                channel.sendall(data)
            else:
                stdin = []
                channel.shutdown_write()


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


@contextlib.contextmanager
def _raw_terminal(channel: Any) -> Iterator[None]:
    """Give every key to the other side, and every change of size."""
    import termios
    import tty

    def resized(*_: object) -> None:
        columns, lines = shutil.get_terminal_size()
        channel.resize_pty(columns, lines)

    before, handler = termios.tcgetattr(0), signal.signal(signal.SIGWINCH, resized)
    tty.setraw(0)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)
        signal.signal(signal.SIGWINCH, handler)
