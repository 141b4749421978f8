"""The agent's own append-only history: a line an event, durable before anything is acknowledged.

    LENGTH CRC {"seq": 1, "time": 1732380000.0, "type": "created", ...}\n

LENGTH is the number of bytes of the JSON in 8 hex digits, CRC its zlib.crc32 in 8 more. The first line's type is
"created": it bears the journal's id, the format's VERSION and "compacted", the sequence number up to which lines were
left out by a compaction; behind it each line's number is that of the line before plus one. Bump VERSION when an old
agent would misread a line. A type that an agent does not know is of a newer one: it refuses the journal and leaves the
file as it is.

What is damaged, lines that are missing included, is cut at the last good line, set aside and reported. Whole lines
behind the damage are kept as ``salvaged``: the engine takes up what still makes sense. The journal then bears a new id
(type "renewed"): events that a client has seen may be gone, so it takes the full state. An end that is missing from
between two lines on cannot be seen here; the engine sees it by the jobs' folders and by the copies.

A submit that is acknowledged lies in a second file, too (``copies``, of the same lines): it is written behind the
journal and synced with it, so that a journal cut anywhere loses no job.
"""

from __future__ import annotations

import json
import os
import re
import uuid
import zlib
from typing import Any, Callable, Collection, Iterable, Iterator, List, Optional, Tuple, TypeVar

from remote_agent.protocol.errors import StorageBroken
from remote_agent.protocol.wire import JsonTable
from remote_agent.storage import files

VERSION = 1
_HEAD = 18
"""Bytes before the JSON: two numbers of 8 digits, a space behind each."""
_LINE_START = re.compile(rb"[0-9a-f]{8} [0-9a-f]{8} \{")
_COMPACT_FROM = 4 << 20
"""Bytes from which a journal may be compacted."""
_RESERVE = 256 * 1024
"""Bytes that are kept free behind the end of the file."""
_COPIED = "submitted"
"""The type of the events of which there is a copy."""
_T = TypeVar("_T")
_MOST_EARLIER = 20
"""Earlier ids of a journal to remember."""


class Journal:
    """The open journal of a root. There is one writer: the daemon."""

    def __init__(
        self,
        path: str,
        now: float,
        make_room: Callable[[], bool] = lambda: False,
        known: Optional[Collection[str]] = None,
    ) -> None:
        """Open or create the journal; ``events`` holds its history until ``take_history`` is called.

        Args:
            path: its file; that of the copies lies beside it.
            now: seconds since the epoch.
            make_room: called on a full disk; says whether it is worth another try.
            known: the types of events that this agent understands; all are taken when they are not given.
        Raises:
            StorageBroken: it cannot be read or written, or a newer agent has written to it; then it stays as it is.
        """
        self._path = path
        self._known = known
        self._pending: List[bytes] = []
        self._unsynced = 0
        self._compacted = 0
        """Size of the file when it was last compacted."""
        self._owes_cut = False
        """Whether what is behind the durable part has still to be cut off."""
        self.good = 0
        """Number of the last line before the first damage."""
        self.problems: List[str] = []
        """What was found damaged when it was opened, in words."""
        self.salvaged: List[JsonTable] = []
        """Events behind a damage, in their order."""
        self._copies = _Copies(path + ".copies")
        self._make_room = make_room
        self._reserved = 0
        """Up to where the disk keeps space for it that nobody else can take."""
        self.id = ""
        try:
            self._fd = self._with_room(lambda: files.disk.open_log(path))
            self._events, self._size = self._load()
            self.copies = self._with_room(self._copies.read)
            """Copies of submits, in their order; those of ended jobs are left out now and then."""
            if not self._events:
                self._create(now)
            elif self.problems:
                self._renew(now)
            elif self._copies.is_new:
                files.disk.sync_folder(os.path.dirname(path))  # of an agent that kept no copies
        except OSError as error:
            raise StorageBroken(f"the journal cannot be used: {error}") from None
        first = self._events[0]
        if first.get("version", 0) > VERSION:
            raise StorageBroken(
                f"the journal is of format {first['version']}; this agent reads up to {VERSION}: use a newer client"
            )
        ids = [event["journal"] for event in self._events if event["type"] in ("created", "renewed")]
        self.id = ids[-1]
        self.earlier: List[str] = [*first.get("earlier", ()), *ids[:-1]][-_MOST_EARLIER:]
        """Ids that it had before it was damaged."""

    def take_history(self) -> List[JsonTable]:
        """Return the events found at opening, once; the journal keeps no copy."""
        events, self._events = self._events, []
        return events

    def renew(self) -> str:
        """Take a new id, for an event of type "renewed", and return it."""
        if self.id:
            self.earlier = [*self.earlier, self.id][-_MOST_EARLIER:]
        self.id = uuid.uuid4().hex
        return self.id

    @property
    def has_pending(self) -> bool:
        """Whether events wait to be written."""
        return bool(self._pending)

    @property
    def size(self) -> int:
        """Bytes of the file that are durable."""
        return self._size

    def append(self, event: JsonTable) -> None:
        """Take an event for the next commit."""
        line = encode_line(event)
        self._pending.append(line)
        if event["type"] == _COPIED:
            self._copies.pending.append(line)

    def commit(self) -> bool:
        """Make all events taken since the last commit durable, with one write and one sync.

        Returns:
            Whether there was anything.
        Raises:
            StorageBroken: they could not be written; the file is cut back to what it was.
        """
        if not self.write():
            return False
        try:
            self.sync()
        except OSError as error:
            self.truncate()
            raise StorageBroken(f"the journal cannot be written: {error.strerror}") from None
        self.mark_synced()
        return True

    def write(self) -> bool:
        """Write what was taken; ``sync`` and then ``mark_synced``, or ``truncate``, have to follow.

        Returns:
            Whether there was anything.
        Raises:
            StorageBroken: it could not be written; the file is cut back to what it was.
        """
        if not self._pending:
            return False
        data, copies = b"".join(self._pending), b"".join(self._copies.pending)
        self.forget_pending()
        try:
            self._with_room(lambda: self._write(data, copies))
        except OSError as error:
            raise StorageBroken(f"the journal cannot be written: {error.strerror}") from None
        return True

    def _write(self, data: bytes, copies: bytes) -> None:
        if self._owes_cut:
            self.truncate()
        if self._owes_cut:
            raise StorageBroken("the journal cannot be written: its last part cannot be cut off")
        try:
            files.disk.write(self._fd, data)
            self._unsynced = len(data)
            self._copies.write(copies)
            self._reserve()
        except OSError:
            self.truncate()
            raise

    def _with_room(self, action: Callable[[], _T]) -> _T:
        """Do something that needs space on the disk; if there is none, make some and try once more."""
        try:
            return action()
        except OSError as error:
            if error.errno not in files.FULL or not self._make_room():
                raise
            return action()

    def _reserve(self) -> None:
        """Keep some space behind the end: a stop or a prune has to be written even where a job has filled the disk."""
        end = self._size + self._unsynced
        if self._reserved - end < _RESERVE // 2:
            self._reserved = end + _RESERVE if files.disk.reserve(self._fd, end, _RESERVE) else end + (1 << 62)

    def forget_pending(self) -> None:
        """Drop what was taken and not written."""
        self._pending = []
        self._copies.pending = []

    def sync(self) -> None:
        """Make what was written durable. It may take long; any thread may call it."""
        files.disk.sync(self._fd)
        self._copies.sync()

    def mark_synced(self) -> None:
        """What was written is durable."""
        self._size += self._unsynced
        self._unsynced = 0
        self._copies.mark_synced()

    def truncate(self) -> None:
        """What was written could not be made durable: cut it off, now or before the next write."""
        self._unsynced = 0
        try:
            files.disk.truncate(self._fd, self._size)
            self._reserved = 0
            self._copies.truncate()
            self._owes_cut = False
        except OSError:
            self._owes_cut = True

    def reload(self) -> List[JsonTable]:
        """Return the events that are durable, after a commit that failed."""
        with open(self._path, "rb") as file:
            return [event for event, _ in decode_lines(file.read(self._size))]

    def close(self) -> None:
        """Close the files."""
        os.close(self._fd)
        self._copies.close()

    # --- compaction -------------------------------------------------------------------------------------------

    def wants_compaction(self, jobs: int) -> bool:
        """Return whether most of the file is history that the current state no longer needs."""
        return self._size > _COMPACT_FROM and self._size > 2 * max(1500 * jobs, self._compacted)

    @property
    def wants_shorter_copies(self) -> bool:
        """Whether the copies have grown much since they were last made short."""
        return self._copies.size > _COMPACT_FROM and self._copies.size > 2 * self._copies.shortest

    def shorten_copies(self, events: Iterable[JsonTable]) -> None:
        """Keep only the copies of these submits; nothing may be pending.

        Raises:
            StorageBroken: they could not be written; the old ones stand.
        """
        try:
            self._copies.replace(b"".join(map(encode_line, events)))
        except OSError as error:
            raise StorageBroken(f"the copies of submits cannot be written: {error.strerror}") from None

    def compact(self, events: Iterable[JsonTable], now: float) -> None:
        """Put a journal of these events in the place of this one: same id, sequence numbers that go on.

        Raises:
            StorageBroken: it could not be written; the old one stands.
        """
        kept = list(events)
        first = {**_first_event(self.id, now, kept[-1]["seq"] if kept else 1), "earlier": self.earlier}
        lines = [encode_line(event) for event in (first, *kept)]
        try:
            files.write_bytes(self._path, b"".join(lines))
            os.close(self._fd)
            self._fd = files.disk.open_log(self._path)
            self._reserved = 0
        except OSError as error:
            raise StorageBroken(f"the journal cannot be compacted: {error.strerror}") from None
        self._size = self._compacted = sum(map(len, lines))

    # --- opening ----------------------------------------------------------------------------------------------

    def _create(self, now: float) -> None:
        first = _first_event(uuid.uuid4().hex, now)
        self._events = [first]
        self.append(first)
        self.commit()
        files.disk.sync_folder(os.path.dirname(self._path))

    def _renew(self, now: float) -> None:
        seq = max(event["seq"] for event in [*self._events, *self.salvaged])
        renewed = {"seq": seq + 1, "time": now, "type": "renewed", "journal": self.renew()}
        self._events.append(renewed)
        self.append(renewed)
        self.commit()

    def _load(self) -> Tuple[List[JsonTable], int]:
        with open(self._path, "rb") as file:
            data = file.read()
        events: List[JsonTable] = []
        good = 0
        for event, end in decode_lines(data):
            if not (_follows(event, events[-1], events[0].get("compacted")) if events else event["type"] == "created"):
                break
            events.append(event)
            good = end
        self._refuse_newer(events)
        self.good = events[-1]["seq"] if events else 0
        if good < len(data):
            self.salvaged = salvage(data[good:])
            self._refuse_newer(self.salvaged)
            self._set_tail_aside(data[good:], good)
        return events, good

    def _refuse_newer(self, events: List[JsonTable]) -> None:
        """Refuse a journal that a newer agent has written to, before anything of it is changed."""
        if self._known is None:
            return
        for event in events:
            if event["type"] not in self._known:
                raise StorageBroken(
                    f"the journal has an event {ascii(event['type'][:40])} that this agent does not know: a newer one"
                    " wrote it; use a newer client. The journal was left as it is"
                )

    def _set_tail_aside(self, tail: bytes, good: int) -> None:
        aside = f"{self._path}.torn-{good}"
        files.write_bytes(aside, tail)
        files.disk.truncate(self._fd, good)
        salvaged = f"; {len(self.salvaged)} events behind the damage were read" if self.salvaged else ""
        self.problems.append(f"{len(tail)} bytes of the journal were damaged or cut off; they are in {aside}{salvaged}")


class _Copies:
    """The file of copies: lines as the journal has them, in any condition."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1
        self.is_new = False
        self.pending: List[bytes] = []
        self.size = 0
        """Bytes that are durable."""
        self.shortest = 0
        """Bytes when it was last made short."""
        self._unsynced = 0
        self._ends_open = False
        """Whether its last line lacks its end: what comes next begins a line of its own."""

    def read(self) -> List[JsonTable]:
        """Open it and return what it holds; what is damaged in it is passed over."""
        self.is_new = not os.path.exists(self._path)
        self._fd = files.disk.open_log(self._path)
        with open(self._path, "rb") as file:
            data = file.read()
        self.size = len(data)
        self._ends_open = not data.endswith(b"\n") and bool(data)
        return [event for event in salvage(data) if event["type"] == _COPIED]

    def write(self, data: bytes) -> None:
        if data:
            data = b"\n" + data if self._ends_open else data
            files.disk.write(self._fd, data)
            self._unsynced = len(data)

    def sync(self) -> None:
        if self._unsynced:
            files.disk.sync(self._fd)

    def mark_synced(self) -> None:
        self._ends_open = self._ends_open and not self._unsynced
        self.size += self._unsynced
        self._unsynced = 0

    def truncate(self) -> None:
        self._unsynced = 0
        if self._fd >= 0:
            files.disk.truncate(self._fd, self.size)

    def replace(self, data: bytes) -> None:
        files.write_bytes(self._path, data)
        os.close(self._fd)
        self._fd = files.disk.open_log(self._path)
        self.size = self.shortest = len(data)
        self._ends_open = False

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)


def _first_event(journal: str, now: float, compacted: int = 1) -> JsonTable:
    return {
        "seq": 1,
        "time": now,
        "type": "created",
        "journal": journal,
        "version": VERSION,
        "compacted": compacted,
    }


def _follows(event: JsonTable, last: JsonTable, compacted: Optional[int]) -> bool:
    """Return whether no line is missing between two. An older agent did not write what it had compacted."""
    if compacted is None or event["type"] == "renewed":
        return True
    return bool(event["seq"] == last["seq"] + 1 or last["seq"] <= event["seq"] <= compacted)


def encode_line(event: JsonTable) -> bytes:
    """Return the line of an event."""
    body = json.dumps(event, separators=(",", ":")).encode()
    return b"%s%s\n" % (_head(body), body)


def _head(body: bytes) -> bytes:
    return b"%08x %08x " % (len(body), zlib.crc32(body))


def decode_lines(data: bytes, start: int = 0) -> Iterator[Tuple[JsonTable, int]]:
    """Yield (event, where its line ends) up to the first line that is not whole."""
    while start + _HEAD < len(data):
        try:
            end = start + _HEAD + int(data[start : start + 8], 16)
            body = data[start + _HEAD : end]
            if data[start : start + _HEAD] != _head(body) or data[end : end + 1] != b"\n":
                return
            event = json.loads(body)
        except (ValueError, RecursionError):
            return
        if not _is_event(event):
            return
        yield event, end + 1
        start = end + 1


def _is_event(event: Any) -> bool:
    """Return whether a line has the parts that every event has: an agent wrote it."""
    if not isinstance(event, dict) or type(event.get("seq")) is not int or not isinstance(event.get("type"), str):
        return False
    if event["type"] not in ("created", "renewed"):
        return isinstance(event.get("job", ""), str)
    numbers = (event.get("version", 0), event.get("compacted") or 0)
    return isinstance(event.get("journal"), str) and all(type(number) is int for number in numbers)


def salvage(data: bytes) -> List[JsonTable]:
    """Return the events of all whole lines in damaged data."""
    events: List[JsonTable] = []
    at = 0
    while True:
        start = _LINE_START.search(data, at)
        if start is None:
            return events
        at = start.start() + 1
        for event, end in decode_lines(data, start.start()):
            events.append(event)
            at = end
