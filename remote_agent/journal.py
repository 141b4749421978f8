"""The agent's own append-only history: a line an event, durable before anything is acknowledged.

    LENGTH CRC {"seq": 1, "time": 1732380000.0, "type": "created", ...}\n

LENGTH is the number of bytes of the JSON in 8 hex digits, CRC its zlib.crc32 in 8 more. The first line's type is
"created": it bears the journal's id and the format's VERSION. Bump VERSION when an old agent would misread a line;
unknown event types need no bump. A tail that is torn or zeroed is cut, set aside and reported.
"""

from __future__ import annotations

import json
import os
import uuid
import zlib
from typing import Any, Dict, Iterator, List, Tuple

from remote_agent import files
from remote_agent.errors import StorageBroken

VERSION = 1
_HEAD = 18
"""Bytes before the JSON: two numbers of 8 digits, a space behind each."""


class Journal:
    """The open journal of a root. There is one writer: the daemon."""

    def __init__(self, path: str, now: float) -> None:
        """Open or create the journal; ``events`` holds its history until ``take_history`` is called.

        Args:
            path: its file.
            now: seconds since the epoch.
        Raises:
            StorageBroken: it cannot be read or written, or is of a newer version.
        """
        self._path = path
        self._pending: List[bytes] = []
        self.problems: List[str] = []
        """What was found damaged when it was opened, in words."""
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._events, self._size = self._load()
            if not self._events:
                self._create(now)
        except OSError as error:
            raise StorageBroken(f"the journal cannot be used: {error}") from None
        first = self._events[0]
        if first.get("version", 0) > VERSION:
            raise StorageBroken(
                f"the journal is of format {first['version']}; this agent reads up to {VERSION}: use a newer client"
            )
        self.id: str = first["journal"]

    def take_history(self) -> List[Dict[str, Any]]:
        """Return the events found at opening, once; the journal keeps no copy."""
        events, self._events = self._events, []
        return events

    @property
    def has_pending(self) -> bool:
        """Whether events wait for ``commit``."""
        return bool(self._pending)

    def append(self, event: Dict[str, Any]) -> None:
        """Take an event for the next commit."""
        self._pending.append(encode_line(event))

    def commit(self) -> bool:
        """Make all events taken since the last commit durable, with one write and one sync.

        Returns:
            Whether there was anything.
        Raises:
            StorageBroken: they could not be written; the file is cut back to what it was.
        """
        if not self._pending:
            return False
        data = b"".join(self._pending)
        self._pending = []
        try:
            files.write_all(self._fd, data)
            os.fdatasync(self._fd)
        except OSError as error:
            os.ftruncate(self._fd, self._size)
            raise StorageBroken(f"the journal cannot be written: {error.strerror}") from None
        self._size += len(data)
        return True

    def reload(self) -> List[Dict[str, Any]]:
        """Return the events that are durable, after a commit that failed."""
        return self._load()[0]

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _create(self, now: float) -> None:
        first = {"seq": 1, "time": now, "type": "created", "journal": uuid.uuid4().hex, "version": VERSION}
        self._events = [first]
        self.append(first)
        self.commit()
        files.sync_folder(os.path.dirname(self._path))

    def _load(self) -> Tuple[List[Dict[str, Any]], int]:
        with open(self._path, "rb") as file:
            data = file.read()
        events, good = [], 0
        for event, end in decode_lines(data):
            events.append(event)
            good = end
        if good < len(data):
            self._set_tail_aside(data[good:], good)
        return events, good

    def _set_tail_aside(self, tail: bytes, good: int) -> None:
        aside = f"{self._path}.torn-{good}"
        files.write_bytes(aside, tail)
        os.ftruncate(self._fd, good)
        os.fsync(self._fd)
        self.problems.append(f"the journal's last {len(tail)} bytes were damaged; they are kept in {aside}")


def encode_line(event: Dict[str, Any]) -> bytes:
    """Return the line of an event."""
    body = json.dumps(event, separators=(",", ":")).encode()
    return b"%08x %08x %s\n" % (len(body), zlib.crc32(body), body)


def decode_lines(data: bytes) -> Iterator[Tuple[Dict[str, Any], int]]:
    """Yield (event, where its line ends) up to the first line that is not whole."""
    start = 0
    while start + _HEAD < len(data):
        try:
            length, crc = int(data[start : start + 8], 16), int(data[start + 9 : start + 17], 16)
            end = start + _HEAD + length
            body = data[start + _HEAD : end]
            if len(body) != length or data[end : end + 1] != b"\n" or zlib.crc32(body) != crc:
                return
            event = json.loads(body)
        except ValueError:
            return
        yield event, end + 1
        start = end + 1
