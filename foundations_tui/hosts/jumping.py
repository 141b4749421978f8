"""A way through the user's jump host: their own ssh makes the hop; what it asks goes through ``Asker``.

ssh asks by a program of ours (SSH_ASKPASS of ssh(1)), which passes the question on over a socket in a private folder.
What ssh says when it fails is kept, to be quoted.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from foundations_tui.hosts import unlocking
from foundations_tui.hosts.addresses import split_address
from foundations_tui.hosts.asking import Asker, LockedKey, ServerPrompt, UnknownKey

PATIENCE = 120.0
"""Seconds that the hop may take: somebody may have to type something for it."""
_OPTIONS = [
    f"-o{option}"
    for option in ("ConnectTimeout=10", "ServerAliveInterval=15", "ServerAliveCountMax=2", "NumberOfPasswordPrompts=3")
]
_MOST_SAID = 64 << 10
_LAST_WORDS = 1.0
_PASSPHRASE = re.compile(r"Enter passphrase for key '(.+)': \Z")
_HOST_KEY = re.compile(
    r"The authenticity of host '(.+?)(?: \(.*\))?' can't be established.*?(\w+) key fingerprint is (\S+?)\.?\s",
    re.DOTALL,
)
_LONGEST_FOLDER = 60
"""Bytes: the path of a socket has room for 108 (unix(7))."""
_HELPER = """#!{python}
import socket, sys
link = socket.socket(socket.AF_UNIX)
link.connect({path!r})
link.sendall(sys.argv[1].encode("utf-8", "surrogateescape"))
link.shutdown(socket.SHUT_WR)
said = b"".join(iter(lambda: link.recv(4096), b""))
if not said:
    sys.exit(1)
sys.stdout.buffer.write(said[1:] + b"\\n")
"""


class Jump:
    """One hop: a socket that leads to the destination."""

    def __init__(self, host: str, target: str, port: int, jump: str, asker: Asker) -> None:
        """Start ssh.

        Args:
            host: name of the destination in hosts.toml.
            target: its address, as seen from the jump host.
            port: its port.
            jump: the jump host or hosts, as ssh's ProxyJump has them.
            asker: answers what ssh asks.
        """
        self._host, self._jump, self._asker = host, jump, asker
        self._asked: dict[str, int] = {}
        """How often the passphrase of each key was asked for."""
        with contextlib.ExitStack() as stack:
            self._folder = Path(_private_folder())
            stack.callback(shutil.rmtree, self._folder, ignore_errors=True)
            self._listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            self._listener.bind(str(self._folder / "ask"))
            self._listener.listen()
            helper = self._folder / "askpass"
            helper.write_text(_HELPER.format(python=sys.executable, path=str(self._folder / "ask")))
            helper.chmod(0o700)
            errors = stack.enter_context((self._folder / "errors").open("wb"))
            self.socket, theirs = socket.socketpair()
            stack.callback(self.socket.close)
            with theirs:
                self._process = subprocess.Popen(
                    ["ssh", "-W", f"[{target}]:{port}", *_OPTIONS, *_words(jump)],
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=errors,
                    start_new_session=True,
                    env={**os.environ, "SSH_ASKPASS": str(helper), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"},
                )
            stack.callback(self._end_ssh)
            self._server = threading.Thread(target=self._serve, daemon=True)
            self._server.start()
            self._held = stack.pop_all()

    def words(self) -> str:
        """Return what ssh said, when it has ended; empty while it runs."""
        deadline = time.monotonic() + _LAST_WORDS
        while self._process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        try:
            errors = (self._folder / "errors").read_bytes()[-_MOST_SAID:].decode("utf-8", "replace")
        except OSError:
            errors = ""
        lines = [line.strip() for line in errors.splitlines() if line.strip()]
        return f"at the jump host {self._jump}: {'; '.join(lines[-3:])[:500]}" if lines else ""

    def close(self) -> None:
        """End the hop."""
        self._held.close()

    def _end_ssh(self) -> None:
        self._process.terminate()
        self._process.wait()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # whoever accepts wakes up; a close alone wakes nobody

    def _serve(self) -> None:
        while True:
            try:
                link, _ = self._listener.accept()
            except OSError:
                return
            with link:
                question = b"".join(iter(lambda link=link: link.recv(4096), b""))[:_MOST_SAID]  # type: ignore[misc]
                reply = self._answer(question.decode("utf-8", "replace"))
                try:
                    link.sendall(b"" if reply is None else b"=" + reply.encode("utf-8", "surrogateescape"))
                except OSError:
                    continue

    def _answer(self, question: str) -> str | None:
        key = _HOST_KEY.match(question)
        if key is not None:
            return "yes" if self._asker.trusts(UnknownKey(key[1], key[2], key[3])) else "no"
        if "(yes/no" in question:
            return "no"
        passphrase = _PASSPHRASE.match(question)
        if passphrase is not None and unlocking.locked([passphrase[1]]):
            path = passphrase[1]
            self._asked[path] = self._asked.get(path, 0) + 1
            return self._asker.passphrase(LockedKey(path, self._asked[path]))
        user, name, _ = split_address(self._jump.split(",")[-1])
        return self._asker.answer(ServerPrompt(f"{self._host} (jump host {name})", user, name, question.strip()))


def _private_folder() -> str:
    usual = tempfile.gettempdir()
    return tempfile.mkdtemp(prefix="foundations-", dir=usual if len(usual) < _LONGEST_FOLDER else "/tmp")  # 0700


def _words(jump: str) -> list[str]:
    """Return ssh's words for a jump: the last hop is the destination, those before it go into -J."""
    *before, last = jump.split(",")
    user, name, port = split_address(last)
    words = ["-J", ",".join(before)] if before else []
    words += ["-p", str(port)] if port else []
    words += ["-l", user] if user else []
    return [*words, "--", name]
