"""The content-addressed store of snapshots: git's object ids, contents as they are, one file an object.

Contents are not compressed, so that a folder is made by reflinks or plain copies. Several processes may write at
once: an object is put in place by rename, and an object that is there is whole. A tree is taken only when all that
it names is there, so a tree that a host has is a snapshot that it has whole.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import zlib
from typing import BinaryIO, Dict, Iterable, Iterator, List, Tuple

from remote_agent.protocol.errors import BadRequest, NotFound
from remote_agent.protocol.framing import PACK_BLOB, PACK_END, PACK_ENTRY, PACK_TREE, SMALL_PACK_OBJECTS, tree_entries
from remote_agent.storage import files

_CHUNK = 1 << 20
_BATCH_OBJECTS, _BATCH_BYTES = 2000, 256 << 20
_LARGEST_TREE = 32 << 20
"""Bytes of one tree, which is kept whole in memory: half a million names."""
GITLINK = "160000"


class ObjectStore:
    """The objects below one folder."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def path(self, oid: str) -> str:
        """Return where an object lies or would lie."""
        return os.path.join(self._folder, oid[:2], oid[2:])

    def has(self, oid: str) -> bool:
        """Return whether an object is here."""
        return os.path.exists(self.path(oid))

    def missing(self, oids: Iterable[str]) -> List[str]:
        """Return those that are not here."""
        return [oid for oid in oids if not self.has(oid)]

    def tree(self, oid: str) -> List[Tuple[str, bytes, str]]:
        """Return (mode, name, object id) of each entry of a tree.

        Raises:
            NotFound: it is not here.
        """
        try:
            with open(self.path(oid), "rb") as file:
                return list(tree_entries(file.read()))
        except FileNotFoundError:
            raise NotFound(f"snapshot object {oid} is not on this host") from None

    def walk(self, oid: str, prefix: bytes = b"") -> Iterator[Tuple[str, bytes, str]]:
        """Yield (mode, path, object id) of every file and symbolic link below a tree, folders in order."""
        for mode, name, entry in self.tree(oid):
            if mode in ("40000", "040000"):
                yield from self.walk(entry, prefix + name + b"/")
            elif mode != GITLINK:
                yield mode, prefix + name, entry

    def receive(self, stream: BinaryIO) -> int:
        """Take in a pack (see ``protocol.PACK_ENTRY``), verifying each object by its hash.

        Args:
            stream: the pack, compressed by zlib.
        Returns:
            How many objects were new.
        Raises:
            BadRequest: the pack is damaged or ends early; what came before stays.
        """
        batch = _Batch(self)
        try:
            source = _Inflated(stream)
            while True:
                kind, raw_oid, size = PACK_ENTRY.unpack(source.read(PACK_ENTRY.size))
                if kind == PACK_END:
                    break
                batch.take(kind, raw_oid.hex(), size, source)
        except (EOFError, zlib.error) as error:
            batch.publish()
            raise BadRequest(f"the upload was cut or damaged: {error}") from None
        finally:
            batch.close()
        return batch.count


class _Batch:
    """Objects that were written but not yet put in place: they are synced together, then renamed."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._folder = os.path.join(store._folder, f"incoming-{os.getpid()}-{os.urandom(4).hex()}")
        os.makedirs(self._folder, 0o700)
        self._ready: Dict[str, str] = {}
        self._bytes = 0
        self.count = 0

    def take(self, kind: bytes, oid: str, size: int, source: "_Inflated") -> None:
        temporary = os.path.join(self._folder, oid)
        content = self._write(temporary, kind, oid, size, source)
        if kind == PACK_TREE:
            self._check_children(oid, content)
        if self._store.has(oid):
            os.unlink(temporary)
            return
        self._ready[oid] = temporary
        self._bytes += size
        if len(self._ready) >= _BATCH_OBJECTS or self._bytes >= _BATCH_BYTES:
            self.publish()

    def _write(self, path: str, kind: bytes, oid: str, size: int, source: "_Inflated") -> bytes:
        """Write one object and return its content when it is a tree."""
        if kind not in (PACK_BLOB, PACK_TREE):
            raise BadRequest(f"an object of unknown kind {kind!r}")
        if kind == PACK_TREE and size > _LARGEST_TREE:
            raise BadRequest(f"a folder of {size:,} bytes of names; at most {_LARGEST_TREE:,} are taken")
        name = b"tree" if kind == PACK_TREE else b"blob"
        digest = hashlib.sha1(b"%s %d\0" % (name, size))
        kept = []
        with open(path, "wb") as file:
            for chunk in source.chunks(size):
                digest.update(chunk)
                file.write(chunk)
                if kind == PACK_TREE:
                    kept.append(chunk)
        if digest.hexdigest() != oid:
            raise BadRequest(f"object {oid} arrived damaged")
        return b"".join(kept)

    def _check_children(self, oid: str, content: bytes) -> None:
        for mode, _, entry in tree_entries(content):
            if mode != GITLINK and entry not in self._ready and not self._store.has(entry):
                raise BadRequest(f"tree {oid} names {entry}, which was not sent")

    def publish(self) -> None:
        """Make the written objects durable and put them in place."""
        if not self._ready:
            return
        _sync(list(self._ready.values()), self._folder)
        folders = set()
        for oid, temporary in self._ready.items():
            target = self._store.path(oid)
            folder = os.path.dirname(target)
            if folder not in folders:
                os.makedirs(folder, 0o700, exist_ok=True)
                folders.add(folder)
            files.disk.replace(temporary, target)
        _sync_folders(folders, self._store._folder)
        self.count += len(self._ready)
        self._ready, self._bytes = {}, 0

    def close(self) -> None:
        if self._ready:
            self.publish()
        shutil.rmtree(self._folder, ignore_errors=True)


class _Inflated:
    """Reads exact sizes out of zlib streams, one behind the other."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._inflate = zlib.decompressobj()
        self._buffer = b""

    def read(self, size: int) -> bytes:
        return b"".join(self.chunks(size))

    def chunks(self, size: int) -> Iterator[bytes]:
        while size:
            if not self._buffer:
                self._fill()
            part, self._buffer = self._buffer[:size], self._buffer[size:]
            size -= len(part)
            yield part

    def _fill(self) -> None:
        pending = self._inflate.unconsumed_tail
        if self._inflate.eof:
            pending, self._inflate = self._inflate.unused_data, zlib.decompressobj()
        data = pending or self._stream.read(_CHUNK)
        if not data:
            raise EOFError("the stream ended early")
        self._buffer = self._inflate.decompress(data, _CHUNK)


def _sync(paths: List[str], folder: str) -> None:
    """Make files durable: a few one by one, more by one sync of the file system."""
    if len(paths) <= SMALL_PACK_OBJECTS or not files.disk.sync_all(folder):
        for path in paths:
            _sync_one(path)


def _sync_folders(folders: Iterable[str], top: str) -> None:
    folders = list(folders)
    if len(folders) <= SMALL_PACK_OBJECTS or not files.disk.sync_all(top):
        for folder in folders:
            files.disk.sync_folder(folder)
        files.disk.sync_folder(top)


def _sync_one(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        files.disk.sync(fd)
    finally:
        os.close(fd)
