"""Connections on a host that the agent there makes: all of them on one channel, where SSH itself forwards none."""

from __future__ import annotations

import contextlib
import itertools
import selectors
import socket
import threading

from foundations_tui.errors import FoundationsError, HostUnreachable
from foundations_tui.hosts.local import SocketStream
from foundations_tui.hosts.transport import Channel
from remote_agent.protocol import relaying
from remote_agent.protocol.errors import AgentError
from remote_agent.protocol.relaying import Target
from remote_agent.system.multiplexer import Multiplexer

_PATIENCE = 20.0
"""Seconds that a connection may take."""
_RECEIVED = 256 << 10
_AGAIN = 0.005
"""Seconds until the channel is tried again that could take nothing."""


class Relay:
    """The role ``relay`` of a host's agent, and the thread that carries bytes to and from it."""

    def __init__(self, channel: Channel, host: str) -> None:
        """Begin.

        Args:
            channel: behind which the role has said that it is ready.
            host: for messages.
        """
        self._channel, self._host = channel, host
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._new: list[tuple[int, socket.socket, Target]] = []
        self._asked: dict[int, _Asked] = {}
        self._woken, self._wake = socket.socketpair()
        self._woken.setblocking(False)
        self._closing = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"relay {host}", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether it can still make connections."""
        return not self._ended.is_set()

    def connect(self, target: Target) -> SocketStream:
        """Return a connection to something that listens on the host.

        Raises:
            OSError: nothing takes it there. HostUnreachable: the connection to the host is gone.
        """
        ours, carried = socket.socketpair()
        number, asked = next(self._numbers), _Asked()
        with self._lock:
            if not self.is_alive:
                ours.close()
                carried.close()
                raise HostUnreachable(f"{self._host}: the connection was lost")
            self._asked[number] = asked
            self._new.append((number, carried, target))
            self._wake.send(b"x")
        if not asked.answered.wait(_PATIENCE) or self._ended.is_set() or asked.refusal is not None:
            self._asked.pop(number, None)
            ours.close()
            if asked.refusal is not None and not self._ended.is_set():
                raise ConnectionRefusedError(f"{self._host}: {asked.refusal}")
            raise HostUnreachable(f"{self._host}: the connection was lost")
        return SocketStream(ours)

    def close(self) -> None:
        """End all connections."""
        with self._lock, contextlib.suppress(OSError):
            self._closing = True
            self._wake.send(b"x")
        self._thread.join(5)

    def _run(self) -> None:
        try:
            with selectors.DefaultSelector() as selector:
                self._carry(selector)
        except (OSError, EOFError, FoundationsError, AgentError):
            pass  # the end of each connection says so
        finally:
            with self._lock:
                self._ended.set()
                for asked in self._asked.values():
                    asked.answered.set()
                for _, carried, _ in self._new:
                    carried.close()
                self._woken.close()
                self._wake.close()
            self._channel.close()

    def _carry(self, selector: selectors.BaseSelector) -> None:
        streams = Multiplexer(selector, self._refused)
        streams.opened = self._opened
        decoder = relaying.Decoder()
        selector.register(self._channel, selectors.EVENT_READ, None)
        selector.register(self._woken, selectors.EVENT_READ, None)
        try:
            while not self._closing:
                ready = selector.select(_AGAIN if streams.output else None)
                for key, mask in ready:
                    if key.fileobj is self._channel:
                        self._channel.set_timeout(0)
                        if not self._receive(streams, decoder):
                            return
                    elif key.fileobj is self._woken:
                        self._begin(streams)
                    else:
                        key.data(mask)
                self._send(streams)
        finally:
            streams.close()

    def _receive(self, streams: Multiplexer, decoder: relaying.Decoder) -> bool:
        """Take what has come; return whether more can come."""
        try:
            data = self._channel.recv(_RECEIVED)
        except (TimeoutError, BlockingIOError):
            self._channel.errors()  # it was that which could be read
            return True
        for frame in decoder.feed(data):
            streams.take(frame)
        return bool(data)

    def _send(self, streams: Multiplexer) -> None:
        """Send what the channel takes: it has no way to send a part but to be asked for all, within some time."""
        if streams.output:
            data = bytes(streams.output)
            self._channel.set_timeout(None)
            self._channel.send(data)
            streams.sent(len(data))

    def _begin(self, streams: Multiplexer) -> None:
        self._woken.recv(4096)
        with self._lock:
            new, self._new = self._new, []
        for number, carried, target in new:
            streams.output += relaying.opening(number, target)
            streams.add(number, carried)

    def _opened(self, number: int) -> None:
        asked = self._asked.pop(number, None)
        if asked is not None:
            asked.answered.set()

    def _refused(self, number: int, words: bytes) -> None:
        asked = self._asked.pop(number, None)
        if asked is not None:
            asked.refusal = words.decode("utf-8", "replace")
            asked.answered.set()


class _Asked:
    """A connection that was asked for."""

    def __init__(self) -> None:
        self.answered = threading.Event()
        self.refusal: str | None = None
