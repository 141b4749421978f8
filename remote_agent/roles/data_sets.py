"""Data sets, on channels of their own: ``take-data`` takes one in, ``check-data`` hashes one."""

from __future__ import annotations

import sys
import time
import zlib
from typing import BinaryIO

from remote_agent.protocol.data_sets import MOST_MANIFEST_BYTES, manifest_of
from remote_agent.protocol.errors import AgentError, BadRequest, NotFound
from remote_agent.protocol.jobs import ENV_NAME
from remote_agent.roles.nonce import say
from remote_agent.storage import data_sets
from remote_agent.storage.data_sets import Receiver
from remote_agent.storage.paths import Paths

_HEAD = 20
"""Digits before a manifest: its bytes."""


def take(root: str, nonce: str, name: str) -> int:
    """Take a data set in from standard input: the compressed manifest, then the missing files, one behind the other.

    Says, behind the nonce, first that it is ready, then what is missing: bytes that are here by SHA-256 of each, then
    how it ended.
    """
    paths = Paths(root)
    say(nonce, ready=True)
    try:
        if not ENV_NAME.match(name):
            raise BadRequest(f"{name!r} is no name of a data set: letters, digits and _")
        source = sys.stdin.buffer
        receiver = Receiver(paths, manifest_of(_manifest(source)))
        say(nonce, hash=receiver.set.hash, missing={f.sha256: receiver.done.get(f.sha256, 0) for f in receiver.missing})
        for file in receiver.missing:
            receiver.take(file, source)
        receiver.finish()
        data_sets.put_name(paths, name, receiver.set.hash, time.time())
        say(nonce, hash=receiver.set.hash)
    except (AgentError, EOFError, OSError, zlib.error) as error:
        code = error.code if isinstance(error, AgentError) else "failed"
        say(nonce, error={"code": code, "message": _words(error)})
        return 1
    return 0


def _manifest(source: BinaryIO) -> bytes:
    head = source.read(_HEAD)
    if not head.isdigit() or int(head) > MOST_MANIFEST_BYTES:
        raise BadRequest("a manifest was expected")
    inflate = zlib.decompressobj()
    data = inflate.decompress(source.read(int(head)), MOST_MANIFEST_BYTES)
    if not inflate.eof:
        raise BadRequest("the manifest is cut, or too large")
    return data


def check(root: str, nonce: str, name: str) -> int:
    """Hash a data set, and say behind the nonce what is wrong with it."""
    paths = Paths(root)
    try:
        known = {one.name: one.hash for one in data_sets.names(paths)}
        if name not in known:
            raise NotFound(f"there is no data set {name!r} on this host")
        wrong = data_sets.check(paths, known[name])
        say(nonce, hash=known[name], wrong=wrong[:1000], wrong_count=len(wrong))
    except (AgentError, OSError) as error:
        code = error.code if isinstance(error, AgentError) else "failed"
        say(nonce, error={"code": code, "message": _words(error)})
        return 1
    return 0


def _words(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error)
