"""Frames of many streams on one channel: what the role ``relay`` and its client say to each other. Pure.

A frame is the number of a stream, a kind, the length of its payload, and that. The client opens streams. A side sends
no more than the other has given it credit for, so that a slow stream holds up none of the others.
"""

from __future__ import annotations

import json
import struct
from typing import Iterator, List, NamedTuple, Tuple

from remote_agent.protocol.checks import text, whole
from remote_agent.protocol.errors import BadRequest, ProtocolError
from remote_agent.protocol.wire import Message, field, message

OPEN, OPENED, REFUSED, DATA, END, CLOSE, CREDIT = range(7)
"""Kinds: begin a stream (a ``Target``), it has begun, it could not (words), bytes, no further bytes, over, so many
bytes more may be sent."""
WINDOW = 256 << 10
"""Bytes of a stream that a side may send before it gets credit."""
MOST_DATA = 32 << 10
"""Bytes in one frame."""
MOST_STREAMS = 1000
_HEADER = struct.Struct(">IBI")
_COUNT = struct.Struct(">I")


@message
class Target(Message):
    """Where a stream leads: a Unix socket, or an address and a port of the host."""

    socket: str = field(text(4096), "")
    address: str = field(text(100), "")
    port: int = field(whole(0, 65535), 0)


class Frame(NamedTuple):
    """One frame."""

    stream: int
    kind: int
    payload: bytes = b""

    @property
    def granted(self) -> int:
        """Return the bytes of credit.

        Raises:
            ProtocolError: it gives none.
        """
        if len(self.payload) != _COUNT.size:
            raise ProtocolError("a credit of no number")
        return int(_COUNT.unpack(self.payload)[0])

    @property
    def target(self) -> Target:
        """Return where a stream is to lead.

        Raises:
            BadRequest: it makes no sense.
        """
        try:
            return Target.from_wire(json.loads(self.payload), "a target")
        except (ValueError, RecursionError):
            raise BadRequest("a target that is no JSON") from None


def encode(stream: int, kind: int, payload: bytes = b"") -> bytes:
    """Return a frame as it is sent."""
    return _HEADER.pack(stream, kind, len(payload)) + payload


def credit(stream: int, count: int) -> bytes:
    """Return the frame that lets the other side send so many bytes more."""
    return encode(stream, CREDIT, _COUNT.pack(count))


def opening(stream: int, target: Target) -> bytes:
    """Return the frame that begins a stream."""
    return encode(stream, OPEN, json.dumps(target.to_wire()).encode())


class Decoder:
    """Takes bytes as they come, and gives the frames that are whole."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that bytes complete.

        Raises:
            ProtocolError: they make no sense.
        """
        self._data += data
        frames: List[Frame] = []
        at = 0
        while len(self._data) - at >= _HEADER.size:
            frame, following = self._frame(at)
            if following > len(self._data):
                break
            frames.append(frame)
            at = following
        del self._data[:at]
        return iter(frames)

    def _frame(self, at: int) -> Tuple[Frame, int]:
        stream, kind, length = _HEADER.unpack_from(self._data, at)
        if kind > CREDIT or length > MOST_DATA:
            raise ProtocolError("what came is no frame of a relay")
        begin = at + _HEADER.size
        return Frame(stream, kind, bytes(self._data[begin : begin + length])), begin + length
