"""How client and agent talk: frames of JSON with bytes behind, requests with ids, answers in any order. Pure.

A frame is two unsigned 32-bit numbers, big-endian (length of the JSON, length of the blob), then the two parts.

    request   {"id": 7, "method": "read", "params": {...}}     blob: what the method takes (objects)
    answer    {"id": 7, "result": {...}}                       blob: what the method gives (a page of a stream)
    refusal   {"id": 7, "error": {"code": "not_found", "message": "..."}}

The first request on a channel is ``hello``. Bump VERSION when an old side would misread a message; new methods and
new fields need no bump: unknown fields are ignored. An older client may read and stop on a newer agent, not submit.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Iterator, List, NamedTuple, Tuple

from remote_agent.protocol.errors import ProtocolError

if TYPE_CHECKING:  # a client imports frames before messages, which take twice as long
    from remote_agent.protocol.wire import JsonTable

VERSION = 1

PAGE_BYTES = 64 * 1024
"""Most bytes of a stream in one answer on the control channel."""
SMALL_PACK_BYTES, SMALL_PACK_OBJECTS = 64 * 1024, 16
"""Most bytes, compressed, and most objects to send on the control channel: the agent writes and syncs those
in its loop. More go on a channel, and to a process, of their own."""
MOST_OIDS = 4096
"""Object ids in one question for what is missing."""
MAX_JSON_BYTES = 16 * 1024 * 1024
MAX_BLOB_BYTES = 4 * 1024 * 1024

_HEAD = struct.Struct(">II")


class Frame(NamedTuple):
    """One message and the bytes that came with it."""

    message: JsonTable
    blob: bytes


def encode(message: JsonTable, blob: bytes = b"") -> bytes:
    """Return the bytes of one frame.

    Raises:
        ProtocolError: it is larger than the other side takes.
    """
    body = json.dumps(message, separators=(",", ":")).encode()
    if len(body) > MAX_JSON_BYTES or len(blob) > MAX_BLOB_BYTES:
        raise ProtocolError(f"a message of {len(body) + len(blob):,} bytes is more than this protocol carries")
    return _HEAD.pack(len(body), len(blob)) + body + blob


def request(request_id: int, method: str, params: JsonTable) -> JsonTable:
    """Return the message of a request."""
    return {"id": request_id, "method": method, "params": params}


def result(request_id: int, value: JsonTable) -> JsonTable:
    """Return the message of an answer."""
    return {"id": request_id, "result": value}


def refusal(request_id: int, code: str, message: str) -> JsonTable:
    """Return the message of a refusal."""
    return {"id": request_id, "error": {"code": code, "message": message}}


class FrameReader:
    """Cuts frames out of bytes as they arrive."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> List[Frame]:
        """Take in bytes and return the frames that are now whole.

        Raises:
            ProtocolError: the bytes are no frame of ours.
        """
        self._buffer += data
        return list(self._frames())

    def _frames(self) -> Iterator[Frame]:
        while len(self._buffer) >= _HEAD.size:
            json_size, blob_size = _HEAD.unpack_from(self._buffer)
            if json_size > MAX_JSON_BYTES or blob_size > MAX_BLOB_BYTES:
                raise ProtocolError("not a frame of this protocol (its length is out of bounds)")
            end = _HEAD.size + json_size + blob_size
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_HEAD.size : _HEAD.size + json_size])
            blob = bytes(self._buffer[_HEAD.size + json_size : end])
            del self._buffer[:end]
            yield Frame(_parse(body), blob)


def _parse(body: bytes) -> JsonTable:
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"a frame holds no JSON: {error}") from None
    if not isinstance(message, dict):
        raise ProtocolError("a frame holds no JSON object")
    return message


# --- Objects: how a pack of snapshot objects looks on the wire, before compression (zlib) -------------------------

PACK_ENTRY = struct.Struct(">c20sQ")
"""Kind (b"b" blob, b"t" tree, b"." end of the pack), object id, size in bytes; the object's content follows.

Children come before the trees that name them, so that a tree which a host has is a tree it has whole. A new
zlib stream, at another level, may begin between two objects."""
PACK_BLOB, PACK_TREE, PACK_END = b"b", b"t", b"."
PACK_TRAILER = PACK_ENTRY.pack(PACK_END, bytes(20), 0)


def tree_entries(tree: bytes) -> Iterator[Tuple[str, bytes, str]]:
    """Yield (mode, name, object id) of a git tree object's content.

    Raises:
        ProtocolError: the content is no tree, or a name in it could leave its folder.
    """
    start = 0
    while start < len(tree):
        space, end = tree.find(b" ", start), tree.find(b"\0", start)
        if not start < space < end or end + 21 > len(tree):
            raise ProtocolError("not a tree object")
        name = tree[space + 1 : end]
        if name in (b"", b".", b"..") or b"/" in name:
            raise ProtocolError(f"a tree names {name!r}")
        yield tree[start:space].decode("ascii", "replace"), name, tree[end + 1 : end + 21].hex()
        start = end + 21
