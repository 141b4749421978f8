"""The clients' channels, each through its proxy: frames in, answers out."""

from __future__ import annotations

import errno
import logging
import selectors
import socket
import time
from typing import Callable, Dict, List, Optional, Tuple, Union

from remote_agent.daemon.handlers import PendingWatch
from remote_agent.protocol import checks, framing, messages
from remote_agent.protocol.errors import AgentError, ProtocolError
from remote_agent.system import unix_sockets

_LONGEST_WORDS = 4000
"""Characters of a refusal."""
_READ_BYTES = 1 << 18

log = logging.getLogger(__name__)
Sendable = Union[messages.Answer, Tuple[messages.Answer, bytes], AgentError]
"""An answer, with the bytes that come with it; or why there is none."""


class Connection:
    """One client's channel."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.reader = framing.FrameReader()
        self.outbox = bytearray()
        self.watch: Optional[PendingWatch] = None
        self.told: Dict[Tuple[str, int, str], int] = {}
        """Sizes of streams that were sent to this client."""


class Connections:
    """All of them, in the daemon's selector."""

    def __init__(
        self,
        listener: socket.socket,
        selector: selectors.BaseSelector,
        handle: Callable[[Connection, framing.Frame], None],
    ) -> None:
        """Begin to listen.

        Args:
            listener: where clients connect.
            selector: calls the data of what is ready, with the events.
            handle: takes each frame; raises ProtocolError for what no client of ours sends.
        """
        self.all: List[Connection] = []
        self.listener = listener
        self._selector = selector
        self._handle = handle
        listener.setblocking(False)
        selector.register(listener, selectors.EVENT_READ, self._accept)

    def watching(self) -> List[Connection]:
        """Return those whose clients wait for news."""
        return [connection for connection in self.all if connection.watch is not None]

    def send(self, connection: Connection, request_id: int, answer: Sendable) -> None:
        """Send an answer, its blob behind it, or a refusal."""
        try:
            if isinstance(answer, AgentError):
                raise answer
            message, blob = answer if isinstance(answer, tuple) else (answer, b"")
            frame = framing.encode(framing.result(request_id, message.to_wire()), blob)
        except AgentError as error:
            frame = framing.encode(framing.refusal(request_id, error.code, _shown(error)))
        connection.outbox += frame
        self._flush(connection)

    def flush(self) -> None:
        """Send what can be sent now of all that is still to be sent."""
        for connection in list(self.all):
            self._flush(connection)

    def _accept(self, mask: int) -> None:
        try:
            sock, _ = self.listener.accept()
        except OSError as error:  # a client that has gone again, or no descriptor left for one
            if error.errno in (errno.EMFILE, errno.ENFILE):
                time.sleep(0.05)
            return
        if not unix_sockets.is_own(sock):
            sock.close()
            return
        sock.setblocking(False)
        connection = Connection(sock)
        self.all.append(connection)
        self._selector.register(sock, selectors.EVENT_READ, lambda mask: self._ready(connection, mask))

    def _ready(self, connection: Connection, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            self._flush(connection)
        if mask & selectors.EVENT_READ:
            self._read(connection)

    def _read(self, connection: Connection) -> None:
        try:
            data = connection.sock.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            return self._drop(connection)
        try:
            for frame in connection.reader.feed(data):
                self._handle(connection, frame)
        except ProtocolError as error:
            log.warning("a client was dropped: %s", error)
            self._drop(connection)

    def _flush(self, connection: Connection) -> None:
        if connection.sock.fileno() < 0:
            return
        try:
            while connection.outbox:
                del connection.outbox[: connection.sock.send(connection.outbox)]
        except BlockingIOError:
            pass
        except OSError:
            return self._drop(connection)
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.outbox else 0)
        self._selector.modify(connection.sock, events, lambda mask: self._ready(connection, mask))

    def _drop(self, connection: Connection) -> None:
        if connection in self.all:
            self.all.remove(connection)
            self._selector.unregister(connection.sock)
            connection.sock.close()


def _shown(error: AgentError) -> str:
    """Return the words of a refusal, of a length and form that any client takes."""
    words = checks.writable(str(error))
    return words if len(words) <= _LONGEST_WORDS else words[:_LONGEST_WORDS] + "..."
