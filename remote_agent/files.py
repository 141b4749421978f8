"""The few ways in which the agent writes files. Everything durable goes through here."""

from __future__ import annotations

import json
import os
from typing import Any, Optional

from remote_agent.errors import BadRequest

_COUNTER = iter(range(1 << 62))


def write_json(path: str, value: Any) -> None:
    """Put a JSON file in place at once, durable when this returns."""
    write_bytes(path, json.dumps(value).encode())


def write_bytes(path: str, data: bytes) -> None:
    """Put a file in place at once, durable when this returns: temporary name, fsync, rename, fsync of the folder."""
    temporary = f"{path}.{os.getpid()}-{next(_COUNTER)}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        write_all(fd, data)
        os.fsync(fd)
    except OSError:
        os.close(fd)
        os.unlink(temporary)
        raise
    os.close(fd)
    os.replace(temporary, path)
    sync_folder(os.path.dirname(path))


def write_all(fd: int, data: bytes) -> None:
    """Write every byte; a short write goes on where it stopped."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def sync_folder(path: str) -> None:
    """Make the names in a folder durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read_json(path: str) -> Optional[Any]:
    """Return a JSON file's value, or None when it is not there or not whole."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def size(path: str) -> int:
    """Return a file's size in bytes; 0 when it is not there."""
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def free_bytes(path: str) -> int:
    """Return what this user may still write to the file system of a path, bytes."""
    stats = os.statvfs(path)
    return stats.f_bavail * stats.f_frsize


def inside(folder: str, path: str) -> str:
    """Return a path below a folder, its links followed.

    Raises:
        BadRequest: it would lead out of it.
    """
    if not is_inside(folder, os.path.join(folder, path)):
        raise BadRequest(f"{path!r} leads out of the job's folder")
    return os.path.realpath(os.path.join(folder, path))


def is_inside(folder: str, path: str) -> bool:
    """Say whether a path, its links followed, is a folder or below it."""
    top, real = os.path.realpath(folder), os.path.realpath(path)
    return real == top or real.startswith(top + os.sep)
