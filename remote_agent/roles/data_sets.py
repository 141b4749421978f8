"""Data sets, on channels of their own: ``take-data`` takes one in, ``keep-data`` makes one of a job's files,
``check-data`` hashes one.
"""

from __future__ import annotations

import json
import sys
import time
import zlib
from typing import BinaryIO

from remote_agent.protocol.data_sets import (
    MOST_MANIFEST_BYTES,
    is_name,
    manifest_hash,
    manifest_of,
    manifest_text,
    marks,
)
from remote_agent.protocol.errors import AgentError, BadRequest, NotFound
from remote_agent.protocol.models import FilesToKeep
from remote_agent.roles.nonce import say
from remote_agent.storage import data_sets
from remote_agent.storage.data_sets import Receiver
from remote_agent.storage.paths import Paths
from remote_agent.system import kept_files

_MOST_WRONG, _LONGEST_WORDS = 200, 1000
_HEAD = 20
"""Digits before a manifest: its bytes."""


def take(root: str, nonce: str, name: str) -> int:
    """Take a data set in from standard input: the compressed manifest, then the missing files, one behind the other.

    Says, behind the nonce, first that it is ready, then which contents are missing, and how many bytes are here of
    those that were cut, then how it ended.
    """
    paths = Paths(root)
    say(nonce, ready=True)
    try:
        if not is_name(name):
            raise BadRequest(f"{name[:50]!r} is no name of a data set: letters, digits and _")
        manifest = manifest_of(_manifest(sys.stdin.buffer))
        with kept_files.lock(paths, manifest_hash(manifest_text(manifest))):
            _take(paths, nonce, name, Receiver(paths, manifest))
    except (AgentError, EOFError, OSError, zlib.error) as error:
        code = error.code if isinstance(error, AgentError) else "failed"
        say(nonce, error={"code": code, "message": _words(error)})
        return 1
    return 0


def _take(paths: Paths, nonce: str, name: str, receiver: Receiver) -> None:
    say(nonce, hash=receiver.set.hash, missing=marks(receiver.is_missing), begun=receiver.done)
    for file in receiver.missing:
        receiver.take(file, sys.stdin.buffer)
    receiver.finish()
    data_sets.put_name(paths, name, receiver.set.hash, time.time())
    if not receiver.set.is_whole:
        raise AgentError("the data set was removed while it was sent; send it again")
    say(nonce, hash=receiver.set.hash)


def _manifest(source: BinaryIO) -> bytes:
    head = source.read(_HEAD)
    if not head.isdigit() or int(head) > MOST_MANIFEST_BYTES:
        raise BadRequest("a manifest was expected")
    inflate = zlib.decompressobj()
    data = inflate.decompress(source.read(int(head)), MOST_MANIFEST_BYTES)
    if not inflate.eof:
        raise BadRequest("the manifest is cut, or too large")
    return data


def keep(root: str, nonce: str, order: str) -> int:
    """Make a data set of files that a job has written, and say behind the nonce which one it is.

    Args:
        root: the agent's folder.
        nonce: what stands before the answer.
        order: a ``models.FilesToKeep``, as JSON.
    """
    paths = Paths(root)
    try:
        wanted = FilesToKeep.from_wire(json.loads(order), "an order")
        say(nonce, **kept_files.keep(paths, wanted).to_wire())
    except (AgentError, OSError, ValueError) as error:
        code = error.code if isinstance(error, AgentError) else "failed"
        say(nonce, error={"code": code, "message": _words(error)})
        return 1
    return 0


def check(root: str, nonce: str, name: str) -> int:
    """Hash a data set, and say behind the nonce what is wrong with it."""
    paths = Paths(root)
    try:
        known = {one.name: one.hash for one in data_sets.names(paths)}
        if name not in known:
            raise NotFound(f"there is no data set {name!r} on this host")
        wrong = data_sets.check(paths, known[name])
        say(nonce, hash=known[name], wrong=[words[:_LONGEST_WORDS] for words in wrong[:_MOST_WRONG]], count=len(wrong))
    except (AgentError, OSError) as error:
        code = error.code if isinstance(error, AgentError) else "failed"
        say(nonce, error={"code": code, "message": _words(error)})
        return 1
    return 0


def _words(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error)
