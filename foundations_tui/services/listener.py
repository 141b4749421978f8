"""A port of this machine, for its own user alone: a thread for each connection."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable

from foundations_tui.services.peers import is_of_another_user

_MOST_CONNECTIONS = 512
_PAUSE = 0.05
"""Seconds until the next try, where no connection can be taken: there are too many open files, say."""


class LocalListener:
    """Listens on 127.0.0.1 until it is closed."""

    def __init__(
        self, port: int, serve: Callable[[socket.socket], None], refuse: Callable[[socket.socket, str], None]
    ) -> None:
        """Listen.

        Args:
            port: of 127.0.0.1; 0 for any.
            serve: called in a thread of its own with each connection, which is closed when it returns.
            refuse: called with one that is not served, and why.
        Raises:
            OSError: the port is taken.
        """
        self._serve, self._refuse = serve, refuse
        self._socket = socket.create_server(("127.0.0.1", port), backlog=128)
        self.port = int(self._socket.getsockname()[1])
        self._connections: set[socket.socket] = set()
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
            if is_of_another_user(connection):
                self._refuse(connection, "this port serves another user of this machine")
            elif len(self._connections) > _MOST_CONNECTIONS:
                self._refuse(connection, f"there are {_MOST_CONNECTIONS} connections already")
            else:
                self._serve(connection)
        except OSError:
            pass  # the client has gone
        finally:
            self._leave(connection)

    def _leave(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.discard(connection)
        connection.close()
