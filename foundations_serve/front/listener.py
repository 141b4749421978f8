"""A port: a thread for each connection, TLS where there is a certificate."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Callable, Optional, Set, Union

from foundations_serve.front.tls import TlsConnection, TlsContext

Connection = Union[socket.socket, TlsConnection]

_MOST_CONNECTIONS = 512
_PAUSE = 0.05
"""Seconds until the next try, where no connection can be taken: there are too many open files, say."""


class Listener:
    """Listens until it is closed."""

    def __init__(
        self,
        address: str,
        port: int,
        serve: Callable[[Connection], None],
        refuse: Callable[[Connection, str], None],
        why_not: Callable[[socket.socket], str] = lambda connection: "",
        tls: Optional[TlsContext] = None,
    ) -> None:
        """Listen.

        Args:
            address: of this machine.
            port: there; 0 for any.
            serve: called in a thread of its own with each connection, which is closed when it returns.
            refuse: called with one that is not served, and why.
            why_not: returns why a connection is not served; "" where it is.
            tls: how connections are encrypted; None where they are not.
        Raises:
            OSError: the port is taken.
        """
        self._serve, self._refuse, self._why_not, self._tls = serve, refuse, why_not, tls
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket = socket.create_server((address, port), family=family, backlog=128)
        self.port = int(self._socket.getsockname()[1])
        self._connections: Set[socket.socket] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._accept, name=f"port {self.port}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take no further connection, and end those that there are."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)

    def _accept(self) -> None:
        while not self._closed:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                time.sleep(_PAUSE)
                continue
            with self._lock:
                self._connections.add(connection)
            try:
                threading.Thread(target=self._run, args=(connection,), daemon=True).start()
            except RuntimeError:  # there can be no further thread
                self._leave(connection)

    def _run(self, connection: socket.socket) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            why_not = self._why_not(connection)
            is_full = len(self._connections) > _MOST_CONNECTIONS
            served: Connection = connection if self._tls is None else self._tls.accept(connection)
            if why_not or is_full:
                self._refuse(served, why_not or f"there are {_MOST_CONNECTIONS} connections already")
            else:
                self._serve(served)
        except OSError:
            pass  # the client has gone
        finally:
            self._leave(connection)

    def _leave(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.discard(connection)
        connection.close()
