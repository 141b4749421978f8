"""Many streams on one channel: each is a socket here, and frames on the channel; both ends do the same.

It runs in the loop of a selector. Sockets and channel are never waited for: what a side cannot take stays with the
other one, for lack of credit.
"""

from __future__ import annotations

import selectors
import socket
from typing import Callable, Dict, Optional

from remote_agent.protocol import relaying
from remote_agent.protocol.relaying import MOST_DATA, WINDOW, Frame

_SEND_AT_ONCE = 1 << 20
"""Bytes that may wait for the channel before sockets are read again."""


class Multiplexer:
    """The streams of one channel."""

    def __init__(self, selector: selectors.BaseSelector, refused: Callable[[int, bytes], None]) -> None:
        """Begin with none.

        Args:
            selector: calls the data of what is ready, with the mask.
            refused: called for a stream that the other side could not begin, with its words.
        """
        self.output = bytearray()
        """What is to be sent on the channel."""
        self.opened: Callable[[int], None] = lambda number: None
        """Called when the other side has begun a stream."""
        self._selector = selector
        self._refused = refused
        self._streams: Dict[int, _Stream] = {}

    def __len__(self) -> int:
        return len(self._streams)

    def __contains__(self, number: int) -> bool:
        return number in self._streams

    def add(self, number: int, connection: socket.socket) -> None:
        """Carry a socket as a stream."""
        connection.setblocking(False)
        stream = _Stream(number, connection)
        self._streams[number] = stream
        self._watch(stream)

    def sent(self, count: int) -> None:
        """Take note that the channel has taken bytes."""
        was_full = len(self.output) >= _SEND_AT_ONCE
        del self.output[:count]
        if was_full and len(self.output) < _SEND_AT_ONCE:
            for stream in list(self._streams.values()):
                self._watch(stream)

    def take(self, frame: Frame) -> None:
        """Take a frame that came on the channel; one of a stream that is over is passed over."""
        stream = self._streams.get(frame.stream)
        if frame.kind == relaying.REFUSED:
            self._close(stream)
            self._refused(frame.stream, frame.payload)
        elif stream is None:
            return
        elif frame.kind == relaying.OPENED:
            self.opened(frame.stream)
        elif frame.kind == relaying.DATA:
            stream.incoming += frame.payload
            if len(stream.incoming) > WINDOW:  # it sends more than it may
                self._end(stream)
            else:
                self._write(stream)
        elif frame.kind == relaying.END:
            stream.ends = True
            self._write(stream)
        elif frame.kind == relaying.CREDIT:
            stream.credit += frame.granted
            self._watch(stream)
        else:
            self._close(stream)

    def close(self) -> None:
        """End all streams: the channel has ended."""
        for stream in list(self._streams.values()):
            self._close(stream)

    def _ready(self, stream: "_Stream", mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            self._write(stream)
        if mask & selectors.EVENT_READ and stream.number in self._streams:
            self._read(stream)

    def _read(self, stream: "_Stream") -> None:
        try:
            data = stream.socket.recv(min(MOST_DATA, stream.credit) or 1)
        except BlockingIOError:
            return
        except OSError:
            return self._end(stream)
        if not data:
            stream.has_ended = True
            self.output += relaying.encode(stream.number, relaying.END)
            if stream.is_shut:
                return self._close(stream)
        else:
            stream.credit -= len(data)
            self.output += relaying.encode(stream.number, relaying.DATA, data)
        self._watch(stream)

    def _write(self, stream: "_Stream") -> None:
        """Pass on what has come, and give credit for it."""
        taken = 0
        try:
            if stream.incoming:
                taken = stream.socket.send(stream.incoming)
        except BlockingIOError:
            pass
        except OSError:
            return self._end(stream)
        if taken:
            del stream.incoming[:taken]
            self.output += relaying.credit(stream.number, taken)
        if stream.ends and not stream.incoming and not stream.is_shut:
            stream.is_shut = True
            try:
                stream.socket.shutdown(socket.SHUT_WR)
            except OSError:
                return self._end(stream)
            if stream.has_ended:
                return self._close(stream)
        self._watch(stream)

    def _watch(self, stream: "_Stream") -> None:
        """Have the selector look for what can be done."""
        may_read = stream.credit > 0 and not stream.has_ended and len(self.output) < _SEND_AT_ONCE
        events = (selectors.EVENT_READ if may_read else 0) | (selectors.EVENT_WRITE if stream.incoming else 0)
        if events == stream.events or stream.number not in self._streams:
            return
        if not events:
            self._selector.unregister(stream.socket)
        elif not stream.events:
            self._selector.register(stream.socket, events, lambda mask: self._ready(stream, mask))
        else:
            self._selector.modify(stream.socket, events, lambda mask: self._ready(stream, mask))
        stream.events = events

    def _end(self, stream: "_Stream") -> None:
        """End a stream of ours, and say so."""
        self.output += relaying.encode(stream.number, relaying.CLOSE)
        self._close(stream)

    def _close(self, stream: "Optional[_Stream]") -> None:
        if stream is None or self._streams.pop(stream.number, None) is None:
            return
        if stream.events:
            self._selector.unregister(stream.socket)
        stream.socket.close()


class _Stream:
    def __init__(self, number: int, connection: socket.socket) -> None:
        self.number = number
        self.socket = connection
        self.credit = WINDOW
        """Bytes that may still be sent."""
        self.incoming = bytearray()
        """What has come and the socket has not taken."""
        self.ends = False
        """Whether nothing more comes."""
        self.is_shut = False
        """Whether the socket was told so."""
        self.has_ended = False
        """Whether the socket has said that nothing more goes."""
        self.events = 0
        """What the selector looks for."""
