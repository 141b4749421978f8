"""From a bare shell to the agent: find a Python, hand over the agent when it is not there, become it.

Nothing is parsed off a login shell's output: every line that counts begins with a nonce made for this channel.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import time
from dataclasses import dataclass

from foundations_tui.errors import HostRefused, HostUnreachable
from foundations_tui.hosts import bundle
from foundations_tui.hosts.transport import Channel, Transport
from remote_agent.protocol.wire import JsonTable

_ANSWER_SECONDS = 30.0
_MOST_NOISE = 1 << 20
_MOST_QUOTED = 2000
_PYTHONS = " ".join(
    [
        "python3",
        *(f"python3.{minor}" for minor in range(14, 7, -1)),
        "python",
        "/usr/bin/python3",
        "/usr/local/bin/python3",
        "/usr/libexec/platform-python",
        '"$HOME"/miniconda3/bin/python',
        '"$HOME"/anaconda3/bin/python',
        '"$HOME"/miniforge3/bin/python',
        "/opt/conda/bin/python",
        '"$HOME"/.local/share/uv/python/*/bin/python3',
    ]
)
"""Where a Python may be when the PATH of a non-interactive shell has none."""
_OLD = "import sys; sys.exit(sys.version_info < (3, 8))"


@dataclass(frozen=True)
class AgentInstall:
    """Where the agent is on a host."""

    root: str
    python: str
    version: str
    """Version of that Python."""
    agent: str
    """Content hash of the agent."""

    @property
    def zipapp(self) -> str:
        """The agent's file there."""
        return f"{self.root}/agents/{self.agent}/agent.pyz"

    def command(self, role: str, *words: str) -> str:
        """Return the shell line that becomes the agent in a role."""
        argv = [self.python, "-I", "-S", "-E", self.zipapp, role, self.root, *words]
        return "exec " + shlex.join(argv) + "\n"


class NonceLines:
    """Reads the lines of a channel that begin with a nonce."""

    def __init__(self, channel: Channel, host: str) -> None:
        self._noise = b""
        """What came that was not ours: the last words of a shell that ends."""
        self.nonce = os.urandom(12).hex()
        self.rest = b""
        """What came behind the last line that was read."""
        self._channel = channel
        self._host = host

    def read(self, timeout: float = _ANSWER_SECONDS) -> JsonTable:
        """Return what the next such line says.

        Raises:
            HostUnreachable: none came.
        """
        deadline = time.monotonic() + timeout
        noise = 0
        while True:
            line, newline, rest = self.rest.partition(b"\n")
            if newline:
                self.rest = rest
                noise += len(line)
                self._noise = (self._noise + line + b"\n")[-_MOST_QUOTED:]
                if line.startswith(self.nonce.encode() + b" "):
                    return self._parsed(line[len(self.nonce) + 1 :])
                continue
            self._receive(deadline)
            if noise + len(self.rest) > _MOST_NOISE:
                raise HostUnreachable(f"{self._host}: the login shell prints without end")

    def drain(self) -> None:
        """Take in what had arrived before a channel ended."""
        try:
            while len(self.rest) < _MOST_NOISE and (data := self._channel.recv(1 << 16)):
                self.rest += data
        except (HostUnreachable, OSError, EOFError):
            pass

    def _parsed(self, text: bytes) -> JsonTable:
        try:
            table = json.loads(text)
        except (ValueError, RecursionError):
            table = None
        if not isinstance(table, dict):
            raise HostRefused(f"{self._host}: what the agent there says makes no sense: {ascii(text[:100])}")
        return table

    def _receive(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        try:
            if left <= 0:
                raise TimeoutError
            self._channel.set_timeout(left)
            data = self._channel.recv(1 << 16)
            self._channel.set_timeout(None)
        except TimeoutError:
            raise HostUnreachable(f"{self._host}: the shell on the host did not answer in time") from None
        if not data:
            raise self.ended()
        self.rest += data

    def ended(self) -> HostUnreachable:
        """Return the error of a shell that has ended before it answered, with its last words."""
        code = self._channel.exit_code()
        last_words = _quoted((self._noise + self.rest).decode("utf-8", "replace") + self._channel.errors())
        with_code = "" if code is None else f" (exit code {code})"
        return HostUnreachable(
            f"{self._host}: the login shell ended{with_code} before it ran our command" + last_words,
            f"does the account let you run commands? try: ssh {self._host} true" if not last_words else "",
        )


def become_agent(channel: Channel, host: str, root: str, python: str) -> AgentInstall:
    """Turn a shell into the agent's proxy, sending the agent when the host does not have it.

    Args:
        channel: a fresh shell; afterwards it speaks the protocol.
        host: its name, for messages.
        root: the agent's root; empty for its usual place.
        python: interpreter to use; empty to find one.
    Raises:
        HostUnreachable: the channel ended. HostRefused: no Python, no folder to write to, no Linux.
    """
    lines = NonceLines(channel, host)
    agent = bundle.content_hash()
    bootstrap_order = json.dumps({"nonce": lines.nonce, "root": root, "agent": agent})
    try:
        channel.send(_find_python(python, lines.nonce, bootstrap_order).encode())
    except HostUnreachable:
        lines.drain()
        raise lines.ended() from None
    answer = lines.read()
    _raise_error(answer, host, python)
    if answer["need"]:
        data = bundle.build()
        channel.send(f"{len(data):08d}{hashlib.sha256(data).hexdigest()}".encode() + data)
        _raise_error(lines.read(120), host, python)
    return AgentInstall(answer["root"], answer["python"], answer["version"], agent)


def open_bulk(
    transport: Transport, host: str, place: AgentInstall, role: str, *words: str
) -> tuple[Channel, NonceLines, JsonTable]:
    """Open a channel of its own for bulk bytes.

    Returns:
        (the channel, its lines, what the other side said first).
    Raises:
        HostUnreachable: the connection is gone.
    """
    channel = transport.open()
    try:
        lines = NonceLines(channel, host)
        channel.send(place.command(role, lines.nonce, *words).encode())
        return channel, lines, lines.read(120)
    except BaseException:
        channel.close()
        raise


def _find_python(python: str, nonce: str, order: str) -> str:
    """Return the shell text that execs the bootstrap with the first Python that is new enough."""
    if python.startswith("~/"):
        candidates = '"$HOME"/' + shlex.quote(python[2:])
    else:
        candidates = shlex.quote(python) if python else _PYTHONS
    run = f"-I -S -E -c {shlex.quote(bundle.bootstrap())} {shlex.quote(order)}"
    none = json.dumps({"error": "no_python"})
    return (
        f"for p in {candidates}; do\n"
        f'if "$p" -I -S -E -c {shlex.quote(_OLD)} >/dev/null 2>&1 </dev/null; then exec "$p" {run}; fi\n'
        f"done; printf '\\n%s %s\\n' {nonce} {shlex.quote(none)}; exit 1\n"
    )


def _raise_error(answer: JsonTable, host: str, python: str) -> None:
    error = answer.get("error")
    if error == "no_python":
        what = f"{python} is no Python 3.8 or newer that runs there" if python else "no Python 3.8 or newer was found"
        raise HostRefused(f"{host}: {what}", f'set python = "/path/to/python3" for {host} in hosts.toml')
    if error:
        raise HostRefused(
            f"{host}: {error}",
            f"free space there, or set root for {host} in hosts.toml to a folder that can be written",
        )


def _quoted(output: str) -> str:
    """Return the last lines that a server or shell said, quoted; empty for none."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return f"; it said: {' / '.join(lines[-3:])[:300]}" if lines else ""
