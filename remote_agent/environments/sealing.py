"""The end of a build: everything durable and read-only, described in one file, put in place by one rename."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from typing import Iterable, List, Tuple

from remote_agent.environments.places import Environment
from remote_agent.protocol.wire import JsonTable
from remote_agent.storage import files

_FEW_FILES = 300
"""So many files are synced one by one; a sync of the whole file system waits for everybody's."""
_WRITES = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


def seal(folder: str, target: Environment, told: JsonTable) -> bool:
    """Make a built folder an environment.

    Args:
        folder: where it was built; its name is its own.
        target: what it becomes.
        told: what is written down of it.
    Returns:
        Whether it is the one that counts: another builder may have been first.
    Raises:
        OSError: the disk does not take it; nothing was put in place.
    """
    files.write_json(os.path.join(folder, os.path.basename(target.complete)), told)
    protect(folder)
    if told.get("files", 0) <= _FEW_FILES or not files.disk.sync_all(folder):
        _sync_each(folder)
    try:
        os.rename(folder, target.folder)
    except OSError:
        if os.path.exists(target.complete):
            return False
        raise
    files.disk.sync_folder(os.path.dirname(target.folder))
    return True


def records_of(prefix: str) -> List[str]:
    """Return the RECORD files of the packages below a prefix, without those that packages bring inside of them."""
    found: List[str] = []
    for top, folders, _ in files.walk(prefix, lambda *_: None):
        if os.path.basename(top) == "site-packages":
            records = (os.path.join(top, name, "RECORD") for name in folders if name.endswith(".dist-info"))
            found += [path for path in records if os.path.isfile(path)]
            folders.clear()
    return found


def records_digest(records: Iterable[str]) -> str:
    """Return a hash of what was installed: of the RECORD files of all packages."""
    digest = hashlib.sha256()
    for path in sorted(records):
        with files.open_regular(path) as file:
            content = file.read()
        digest.update(os.path.basename(os.path.dirname(path)).encode() + b"\0" + hashlib.sha256(content).digest())
    return digest.hexdigest()


def packages_of(records: Iterable[str]) -> List[str]:
    """Return the packages of RECORD files: NAME-VERSION, sorted."""
    names = [os.path.basename(os.path.dirname(path)) for path in records]
    return sorted(name[: -len(".dist-info")] for name in names)


def size_of(folder: str) -> Tuple[int, int]:
    """Return how many files there are below a folder, and their bytes."""
    count = total = 0
    for top, _, names in files.walk(folder, lambda *_: None):
        count += len(names)
        total += sum(os.lstat(os.path.join(top, name)).st_size for name in names)
    return count, total


def can_clone(source: str, target: str) -> bool:
    """Return whether files of one folder can share their blocks with those of another (reflinks), tried out."""
    paths = [os.path.join(folder, f".clone-{os.getpid()}") for folder in (source, target)]
    try:
        with open(paths[0], "wb") as reader, open(paths[1], "wb") as writer:
            reader.write(b"x" * 4096)
            reader.flush()
            files.clone(reader, writer)
        return True
    except OSError:
        return False
    finally:
        for path in paths:
            with contextlib.suppress(OSError):
                os.unlink(path)


def protect(folder: str) -> None:
    """Take the right to write from everything below a folder; links stay, they have no rights of their own."""
    for top, _, names in files.walk(folder, _fail):
        for name in names:
            path = os.path.join(top, name)
            told = os.lstat(path)
            if stat.S_ISREG(told.st_mode) and told.st_mode & _WRITES:
                os.chmod(path, stat.S_IMODE(told.st_mode) & ~_WRITES)
        os.chmod(top, 0o500)


def _fail(path: str, error: OSError) -> None:
    raise error


def _sync_each(folder: str) -> None:
    for top, _, names in files.walk(folder, _fail):
        for name in names:
            path = os.path.join(top, name)
            if not os.path.islink(path):
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(fd)
                finally:
                    os.close(fd)
        files.disk.sync_folder(top)
