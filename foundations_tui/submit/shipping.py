"""Bringing a snapshot to a host: ask what is missing there, send only that."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from foundations_tui.errors import HostRefused, HostUnreachable, SnapshotError
from foundations_tui.hosts.agent import Agent, refusal
from foundations_tui.snapshot import objects, shadows
from foundations_tui.snapshot.freeze import Snapshot
from foundations_tui.snapshot.objects import Content
from foundations_tui.store import writes
from foundations_tui.store.db import Store
from foundations_tui.submit.progress import Progress
from remote_agent.protocol.framing import (
    MOST_OIDS,
    PACK_BLOB,
    PACK_ENTRY,
    PACK_TRAILER,
    PACK_TREE,
    SMALL_PACK_BYTES,
    SMALL_PACK_OBJECTS,
)
from remote_agent.protocol.messages import Missing, MissingAnswer, Put
from remote_agent.protocol.wire import JsonTable

_NOTHING = "0" * 40
"""No object: what is asked about belongs to no snapshot."""
_MARGIN = 16 << 20
"""Bytes that are to stay free on the host's disk."""


@dataclass(frozen=True)
class Shipment:
    """What travelled."""

    objects: int
    bytes: int
    """Compressed."""


def ship(agent: Agent, store: Store, snapshot: Snapshot, progress: Progress) -> Shipment:
    """Send the objects of a snapshot that a host lacks.

    Args:
        agent: the host's.
        store: remembers what the host has.
        snapshot: what to send.
        progress: gets the progress.
    Raises:
        HostRefused: not enough disk there, nothing was sent. HostUnreachable: the connection was lost.
    """
    base = writes.shipped_tree(store, agent.hello.journal, str(snapshot.shadow))
    missing = _missing(agent, snapshot, base)
    shipment = Shipment(0, 0)
    if missing:
        shipment = _send(agent, snapshot, missing, progress)
    if base != snapshot.tree:
        writes.put_shipped(store, agent.hello.journal, str(snapshot.shadow), snapshot.tree)
    return shipment


def ship_files(agent: Agent, files: Mapping[str, bytes | Path], progress: Progress) -> None:
    """Send files that a host lacks, by git's object ids.

    Args:
        agent: the host's.
        files: contents, or where they lie, by object id.
        progress: gets the progress.
    Raises:
        HostRefused: not enough disk there, nothing was sent. HostUnreachable: the connection was lost.
    """
    oids = list(files)
    for first in range(0, len(oids), MOST_OIDS):
        answer = agent.call(Missing(_NOTHING, oids[first : first + MOST_OIDS]), timeout=300)
        if answer.missing:
            sizes = [_size(files[oid]) for oid in answer.missing]
            if answer.disk_free is not None and answer.disk_free < 2 * sum(sizes) + _MARGIN:
                raise HostRefused(
                    f"{agent.host.name}: not enough disk: the environment needs {2 * sum(sizes) / 1e6:,.0f} MB"
                    f" to begin with, {answer.disk_free / 1e6:,.0f} MB are free",
                    "foundations prune frees what ended jobs hold there",
                )
            contents = (_content(oid, files[oid]) for oid in answer.missing)
            _send_pack(agent, len(answer.missing), _pack(contents, sum(sizes), progress))


def _size(content: bytes | Path) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _content(oid: str, content: bytes | Path) -> Content:
    chunks = iter([content]) if isinstance(content, bytes) else objects.file_chunks(content)
    return Content(oid, "blob", _size(content), chunks)


def _missing(agent: Agent, snapshot: Snapshot, base: str | None) -> dict[str, int]:
    """Return the ids of the objects to send and their bytes, what a tree names before the tree."""
    oids = _oids(snapshot, base)
    answers = _ask(agent, snapshot, list(oids), base)
    if not all(answer.base_known for answer in answers):
        oids = _oids(snapshot, None)
        answers = _ask(agent, snapshot, list(oids), None)
    missing = {oid for answer in answers for oid in answer.missing}
    free = answers[-1].disk_free
    if free is not None:
        _check_disk(agent, snapshot, free, bool(missing))
    return {oid: size for oid, size in oids.items() if oid in missing}


def _ask(agent: Agent, snapshot: Snapshot, oids: list[str], base: str | None) -> list[MissingAnswer]:
    """Ask which of the objects the host lacks, in slices: each takes the agent's loop only a moment."""
    slices = [oids[first : first + MOST_OIDS] for first in range(0, len(oids), MOST_OIDS)]
    asked = [agent.ask(Missing(snapshot.tree, some, base)) for some in slices]
    return [promise.get(300)[0] for promise in asked]


def _oids(snapshot: Snapshot, base: str | None) -> dict[str, int]:
    """Return the distinct objects of a snapshot beyond a base and their bytes (0 for a tree), the root tree last."""
    if base == snapshot.tree:
        return {base: 0}
    listed = objects.entries(snapshot.shadow, snapshot.tree, base)
    entries = [entry for entry in listed if entry.kind in ("blob", "tree")]
    ordered = {entry.oid: entry.size for entry in entries if entry.kind == "blob"}
    trees = sorted((entry for entry in entries if entry.kind == "tree"), key=lambda e: -e.path.count(b"/"))
    ordered.update(dict.fromkeys((entry.oid for entry in trees), 0))
    ordered.pop(snapshot.tree, None)
    return {**ordered, snapshot.tree: 0}


def _check_disk(agent: Agent, snapshot: Snapshot, free: int, must_send: bool) -> None:
    """Refuse before anything is sent: the job's own copy needs room, and so do the objects."""
    needed = snapshot.size * (2 if must_send else 1) + _MARGIN
    if free < needed:
        raise HostRefused(
            f"{agent.host.name}: not enough disk: the job needs about {needed / 1e6:,.0f} MB,"
            f" {free / 1e6:,.0f} MB are free",
            f"free space on the host, delete old jobs, or set root for {agent.host.name} to a larger disk",
        )


def _send(agent: Agent, snapshot: Snapshot, missing: dict[str, int], progress: Progress) -> Shipment:
    contents = _whole_objects(snapshot, list(missing))
    return _send_pack(agent, len(missing), _pack(contents, sum(missing.values()), progress))


def _send_pack(agent: Agent, count: int, pack: Iterator[bytes]) -> Shipment:
    """Send a pack: a small one on the open channel, a larger one on a channel of its own."""
    first = b""
    for chunk in pack:
        first += chunk
        if len(first) > SMALL_PACK_BYTES or count > SMALL_PACK_OBJECTS:
            return _send_bulk(agent, count, first, pack)
    agent.call(Put(), first, timeout=120)
    return Shipment(count, len(first))


def _send_bulk(agent: Agent, count: int, first: bytes, rest: Iterator[bytes]) -> Shipment:
    channel, lines, first_answer = agent.open_bulk("receive")
    try:
        _raise_error(agent, first_answer)
        channel.set_timeout(60)
        sent = len(first)
        try:
            channel.send(first)
            for chunk in rest:
                channel.send(chunk)
                sent += len(chunk)
            channel.end_input()
        except OSError as error:
            _raise_error(agent, lines.read(5))  # the other side may have said why it stopped
            raise HostUnreachable(f"{agent.host.name}: the connection was lost while sending ({error})") from None
        _raise_error(agent, lines.read(600))
        return Shipment(count, sent)
    finally:
        channel.close()


def _raise_error(agent: Agent, answer: JsonTable) -> None:
    if "error" in answer:
        raise refusal(agent.host.name, answer["error"])


def _pack(contents: Iterable[Content], size: int, progress: Progress) -> Iterator[bytes]:
    """Yield a pack in compressed chunks; the format is ``protocol.PACK_ENTRY``'s.

    Args:
        contents: the objects.
        size: bytes of those that are no trees.
        progress: gets the progress.
    """
    for done, chunk in _compressed(contents):
        progress.sent(min(done, size), size)
        yield chunk
    progress.sent(size, size)


def _compressed(contents: Iterable[Content]) -> Iterator[tuple[int, bytes]]:
    """Yield (bytes of files so far, a piece of the stream)."""
    level = _FAST
    stream = zlib.compressobj(level)
    done = 0
    for content in contents:
        first = next(content.chunks, b"")
        wanted = _level_for(content.size, first)
        if wanted != level:
            yield done, stream.flush()
            level, stream = wanted, zlib.compressobj(wanted)
        mark = PACK_TREE if content.kind == "tree" else PACK_BLOB
        head = PACK_ENTRY.pack(mark, bytes.fromhex(content.oid), content.size)
        for part in itertools.chain([head, first], content.chunks):
            done += len(part) if part is not head and content.kind != "tree" else 0
            if chunk := stream.compress(part):
                yield done, chunk
    yield done, stream.compress(PACK_TRAILER) + stream.flush()


_FAST, _STORED = 1, 0
"""Levels of zlib's."""
_LARGE = 1 << 20
_SAMPLE = 64 << 10


def _level_for(size: int, first: bytes) -> int:
    """Return the level to compress a content with: large ones that hardly get smaller are sent as they are.

    Args:
        size: bytes of all of it.
        first: how it begins.
    """
    sample = first[:_SAMPLE]
    is_dense = size >= _LARGE and len(zlib.compress(sample, _FAST)) > 0.95 * len(sample)
    return _STORED if is_dense else _FAST


def _whole_objects(snapshot: Snapshot, oids: list[str]) -> Iterator[Content]:
    """Yield objects as ``objects.read`` does; damaged ones are set aside, and made anew by the next submit."""
    try:
        yield from objects.read(snapshot.shadow, oids)
    except objects.Damaged as error:
        shadows.set_aside(snapshot.shadow)
        raise SnapshotError(f"{error}; the snapshots of this folder were set aside", "submit again") from None
