"""The daemons that a supervisor talks to: each learns where the attempt is, and may ask for its end."""

from __future__ import annotations

import json
import selectors
import socket
from typing import Callable, List, Optional

from remote_agent.protocol import supervision
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.supervision import Report, StopOrder
from remote_agent.system import unix_sockets

ORDER_BYTES = 65536


class DaemonLink:
    """Listens on the attempt's socket; there is one daemon, or, while it is replaced, two."""

    def __init__(
        self,
        listener: socket.socket,
        selector: selectors.BaseSelector,
        stop: Callable[[StopOrder], None],
        daemon: Optional[socket.socket] = None,
    ) -> None:
        """Begin to listen.

        Args:
            listener: the attempt's own socket, bound and listening.
            selector: calls the data of what is ready.
            stop: is called with an order to end the attempt.
            daemon: one that is connected already: it has handed this attempt over.
        """
        self._listener = listener
        self._selector = selector
        self._stop = stop
        self._daemons: List[socket.socket] = []
        self.report = Report(supervision.PREPARING)
        """Where the attempt is: a daemon gets it when it connects."""
        listener.setblocking(False)
        selector.register(listener, selectors.EVENT_READ, self._accept)
        if daemon is not None:
            self._add(daemon)

    @property
    def is_heard(self) -> bool:
        """Whether any daemon is connected."""
        return bool(self._daemons)

    def tell(self, report: Report) -> None:
        """Tell every daemon where the attempt is now."""
        self.report = report
        for daemon in list(self._daemons):
            self._tell(daemon)

    def close(self, may_go_on: bool) -> Optional[socket.socket]:
        """Stop listening.

        Args:
            may_go_on: whether this process can take a further attempt.
        Returns:
            The daemon's connection, on which it may send the next order; None when there is none.
        """
        daemon = self._daemons.pop() if len(self._daemons) == 1 and may_go_on else None
        for other in self._daemons:
            other.close()
        self._daemons = []
        self._listener.close()
        return daemon

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:
            return
        if unix_sockets.is_own(connection):
            self._add(connection)
        else:
            connection.close()

    def _add(self, daemon: socket.socket) -> None:
        daemon.setblocking(False)
        self._daemons.append(daemon)
        self._selector.register(daemon, selectors.EVENT_READ, lambda: self._hear(daemon))
        self._tell(daemon)

    def _tell(self, daemon: socket.socket) -> None:
        try:
            daemon.send(json.dumps(self.report.to_wire()).encode())
        except OSError:
            pass  # it has gone: the end of its connection says so

    def _hear(self, daemon: socket.socket) -> None:
        try:
            message = daemon.recv(ORDER_BYTES)
        except OSError:
            message = b""
        if not message:
            self._selector.unregister(daemon)
            self._daemons.remove(daemon)
            daemon.close()
            return
        order = understood(message)
        if isinstance(order, StopOrder):
            self._stop(order)


def understood(message: bytes) -> Optional[supervision.Order]:
    """Return an order; None for one that only a newer supervisor knows: it must not end what runs."""
    try:
        return supervision.decode(message)
    except (BadRequest, ValueError, RecursionError):
        return None
