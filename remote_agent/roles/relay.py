"""Connections to what listens on this host, for a client whose SSH server forwards none: many on one channel."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import sys
from typing import Dict

from remote_agent.protocol import relaying
from remote_agent.protocol.errors import BadRequest, ProtocolError
from remote_agent.protocol.relaying import MOST_STREAMS, Frame
from remote_agent.roles.nonce import say
from remote_agent.system.multiplexer import Multiplexer

_READ_BYTES = 256 << 10


def main(root: str, nonce: str) -> int:
    """Carry connections between standard input and output and what listens here, until the channel ends."""
    say(nonce, ready=True)
    sys.stdout.flush()
    try:
        _Relay(0, 1).run()
    except (BrokenPipeError, ConnectionError, ProtocolError):
        pass  # the other side has gone, or is none of ours
    return 0


class _Relay:
    def __init__(self, source: int, target: int) -> None:
        self._source, self._target = source, target
        self._selector = selectors.DefaultSelector()
        self._streams = Multiplexer(self._selector, lambda number, words: None)
        self._decoder = relaying.Decoder()
        self._connecting: Dict[int, socket.socket] = {}
        """Sockets on their way, by stream."""
        self._writes = False
        os.set_blocking(source, False)
        os.set_blocking(target, False)

    def run(self) -> None:
        self._selector.register(self._source, selectors.EVENT_READ, None)
        while True:
            for key, mask in self._selector.select():
                if key.fd == self._source and not self._read():
                    return
                if key.fd == self._target:
                    self._write()
                elif key.data is not None:
                    key.data(mask)
            self._write()

    def _read(self) -> bool:
        """Take what has come; return whether more can come."""
        try:
            data = os.read(self._source, _READ_BYTES)
        except BlockingIOError:
            return True
        for frame in self._decoder.feed(data):
            if frame.kind == relaying.OPEN:
                self._open(frame)
            elif frame.stream in self._connecting:
                self._give_up(frame.stream)  # it has not waited
            else:
                self._streams.take(frame)
        return bool(data)

    def _write(self) -> None:
        output = self._streams.output
        try:
            if output:
                self._streams.sent(os.write(self._target, output))
        except BlockingIOError:
            pass
        if bool(output) != self._writes:
            self._writes = bool(output)
            if self._writes:
                self._selector.register(self._target, selectors.EVENT_WRITE, None)
            else:
                self._selector.unregister(self._target)

    def _open(self, frame: Frame) -> None:
        """Begin a stream: connect, without waiting."""
        number = frame.stream
        try:
            connection = _connecting(frame.target)
        except (OSError, BadRequest) as error:
            return self._refuse(number, getattr(error, "strerror", None) or str(error))
        if len(self._streams) + len(self._connecting) >= MOST_STREAMS or number in self._streams:
            connection.close()
            return self._refuse(number, "too many connections")
        self._connecting[number] = connection
        self._selector.register(connection, selectors.EVENT_WRITE, lambda mask: self._connected(number, connection))

    def _give_up(self, number: int) -> None:
        connection = self._connecting.pop(number)
        self._selector.unregister(connection)
        connection.close()
        self._streams.output += relaying.encode(number, relaying.CLOSE)

    def _connected(self, number: int, connection: socket.socket) -> None:
        if self._connecting.pop(number, None) is None:
            return  # it was given up in this very turn of the loop
        self._selector.unregister(connection)
        error = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            connection.close()
            return self._refuse(number, os.strerror(error))
        self._streams.output += relaying.encode(number, relaying.OPENED)
        self._streams.add(number, connection)

    def _refuse(self, number: int, words: str) -> None:
        self._streams.output += relaying.encode(number, relaying.REFUSED, words.encode()[:1000])


def _connecting(target: relaying.Target) -> socket.socket:
    """Return a socket on its way to a target.

    Raises:
        OSError: it cannot be reached.
    """
    family = socket.AF_UNIX if target.socket else socket.AF_INET6 if ":" in target.address else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM)
    connection.setblocking(False)
    place = target.socket or (target.address, target.port)
    error = connection.connect_ex(place)
    if error not in (0, errno.EINPROGRESS):
        connection.close()
        raise OSError(error, os.strerror(error))
    return connection
