"""``python -m foundations_serve.front SERVICE``: the front of a service, as a service of its own on the same host.

Its agent writes down which replicas answer, in a file that it reads; so it needs nobody's laptop, and asks nobody.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import os
import signal
import socket
import sys
import threading
import time
from typing import Any, Dict, List, Optional, Tuple

import h11

from foundations_serve.front.listener import Listener
from foundations_serve.front.pool import PATIENCE, NoConnection, Pool
from foundations_serve.front.proxy import Proxy, by_name
from foundations_serve.front.tls import TlsContext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from foundations_serve.front.pool import Stream

SERVICES = "FOUNDATIONS_SERVICES"
"""The variable with the folder in which the agent keeps what belongs to services."""
_CONNECT_SECONDS = 5.0
_WAKING_SECONDS = 60.0
"""How long a request waits for a service that is asleep, or just beginning."""
_ASKED_SECONDS = 1.0
"""The agent is told of requests so often at most."""
_EXIT_CONFIG = 78


class Files:
    """What the agent has written down of a service."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def read(self, name: str) -> Any:
        """Return what a JSON file says; None where there is none."""
        try:
            with open(os.path.join(self._folder, name), encoding="utf-8") as file:
                return json.load(file)
        except (OSError, ValueError):
            return None

    def touch(self, name: str) -> None:
        """Have a file be changed now: it tells the agent that somebody asks."""
        try:
            with open(os.path.join(self._folder, name), "a", encoding="ascii") as file:
                os.utime(file.fileno())
        except OSError:
            pass  # the service was forgotten, or the disk is full

    def changed(self, *names: str) -> Tuple[int, ...]:
        """Return what tells whether files have changed: when, in nanoseconds, and which file it is."""
        told: List[int] = []
        for name in names:
            try:
                stats = os.stat(os.path.join(self._folder, name))
                told += [stats.st_mtime_ns, stats.st_ino]
            except OSError:
                told.append(0)
        return tuple(told)

    def token(self) -> str:
        """Return what the replicas ask for; "" where that is not known."""
        try:
            with open(os.path.join(self._folder, "token"), encoding="ascii") as file:
                return file.read(1000).strip()
        except (OSError, ValueError):
            return ""


class HostPool(Pool):
    """The replicas of a service of this host."""

    def __init__(self, files: Files, name: str) -> None:
        self._files = files
        super().__init__(name)

    def look(self) -> None:
        """Read which replicas answer now."""
        told = self._files.read("ready.json")
        told = told if isinstance(told, dict) else {}
        there: Dict[Tuple[str, int], Any] = {}
        for one in told.get("replicas", ()):
            there[str(one["job"]), int(one["attempt"])] = (
                one.get("socket", ""),
                one.get("address", ""),
                one.get("port"),
            )
        self.token = self._files.token()
        self.patience = _WAKING_SECONDS if told.get("asleep") or not there else PATIENCE
        self.take_note(there, bool(told.get("wanted")), str(told.get("words") or "the service is not known here"))

    def connect(self, target: Any) -> "Stream":
        """Return a connection to a replica.

        Raises:
            OSError: nothing takes it there.
        """
        path, address, port = target
        if path:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(_CONNECT_SECONDS)
            try:
                connection.connect(path)
            except OSError as error:
                connection.close()
                raise NoConnection(str(error)) from None
        else:
            connection = socket.create_connection((address, port), _CONNECT_SECONDS)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _Upstream(connection)


class _Upstream:
    """A socket as a stream."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self.fileno, self.recv, self.sendall = connection.fileno, connection.recv, connection.sendall
        self.settimeout, self.close = connection.settimeout, connection.close

    def end_input(self) -> None:
        """Say that nothing more is sent."""
        self._socket.shutdown(socket.SHUT_WR)


class TokenGate:
    """Lets pass who has a token: the one of a person, or the service's own."""

    is_token_replaced = True

    def __init__(self, files: Files) -> None:
        self._files = files
        self._told_at = float("-inf")
        self._hashes: List[str] = []
        self._seen: Tuple[int, ...] = ()
        """When the files were changed that the hashes are of."""

    def why_not(self, request: h11.Request) -> Tuple[int, str]:
        """Return the status and the words with which a request is refused; 0 where it passes."""
        if request.method == b"CONNECT":
            return 403, "this is no proxy to other places"
        kind, _, token = by_name(request.headers).get(b"authorization", b"").partition(b" ")
        if kind.lower() != b"bearer" or not self._is_known(token.strip()):
            return 401, "a token is needed: Authorization: Bearer TOKEN (foundations service token)"
        now = time.monotonic()
        if now - self._told_at >= _ASKED_SECONDS:
            self._told_at = now
            self._files.touch("asked")
        return 0, ""

    def _is_known(self, token: bytes) -> bool:
        """Return whether a token counts; all are compared, each in constant time."""
        changed = self._files.changed("people.json", "token")
        if changed != self._seen:
            people = self._files.read("people.json")
            hashes = [str(one) for one in people.values()] if isinstance(people, dict) else []
            own = self._files.token()
            self._hashes = [*hashes, *([hashlib.sha256(own.encode()).hexdigest()] if own else [])]
            self._seen = changed
        given, hashes = hashlib.sha256(token).hexdigest(), self._hashes
        return sum(hmac.compare_digest(given, one) for one in hashes) > 0


def main(arguments: Optional[List[str]] = None) -> int:
    """Serve until a signal comes; return the exit code."""
    parser = argparse.ArgumentParser(prog="foundations_serve.front", description="Pass requests on to a service.")
    parser.add_argument("service")
    parser.add_argument("--listen", required=True, metavar="ADDRESS:PORT")
    parser.add_argument("--cert", default="", help="a certificate, PEM")
    parser.add_argument("--key", default="", help="its key, PEM")
    parser.add_argument("--plain-http", action="store_true", help="without a certificate: tokens pass as they are")
    options = parser.parse_args(arguments)
    if bool(options.cert) == options.plain_http or bool(options.cert) != bool(options.key):
        parser.error("either --cert and --key, or --plain-http")
    address, _, port = options.listen.rpartition(":")
    files = Files(os.path.join(os.environ.get(SERVICES, ""), options.service))
    try:
        tls = TlsContext(options.cert, options.key) if options.cert else None

        def listen(serve: Any, refuse: Any) -> Listener:
            return Listener(address.strip("[]") or "127.0.0.1", int(port), serve, refuse, tls=tls)

        pool = HostPool(files, options.service)
        proxy = Proxy(pool, listen, lambda _: TokenGate(files))
    except (OSError, ValueError) as error:
        print(f"error: {options.listen}: {error}", file=sys.stderr)
        return _EXIT_CONFIG
    print(f"{options.service} is reached at {options.listen}", flush=True)
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    over.wait()
    proxy.close()
    pool.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
