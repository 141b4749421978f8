"""The few ways in which the agent writes files. Everything durable goes through the one ``disk``, a port: the tests
put a disk in its place that loses what was not synced.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import stat
from typing import Any, BinaryIO, Callable, Iterator, List, Optional, Tuple

from remote_agent.protocol.errors import BadRequest

_COUNTER = iter(range(1 << 62))
RESERVE_BYTES = 1 << 20
"""What is kept in reserve for the records of ends, on a disk that is full."""
_ENOUGH_BYTES = 64 << 20
"""With so much free the reserve is made again."""
KEEP_SIZE, PUNCH_HOLE = 0x1, 0x2
"""FALLOC_FL_KEEP_SIZE and FALLOC_FL_PUNCH_HOLE of fallocate(2)."""
_FICLONE = 0x40049409
"""Of ioctl_ficlone(2)."""
FULL = (errno.ENOSPC, errno.EDQUOT)


class Disk:
    """What durability is made of: each step is one call of the system."""

    def create(self, path: str) -> int:
        """Make a new file and return its descriptor."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def open_log(self, path: str) -> int:
        """Open a file to append to, made when it is not there."""
        return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def write(self, fd: int, data: bytes) -> None:
        """Write every byte; a short write goes on where it stopped."""
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]

    def sync(self, fd: int) -> None:
        """Make a file's bytes durable."""
        os.fdatasync(fd)

    def truncate(self, fd: int, size: int) -> None:
        """Cut a file."""
        os.ftruncate(fd, size)

    def replace(self, source: str, target: str) -> None:
        """Rename a file over another."""
        os.replace(source, target)

    def sync_all(self, path: str) -> bool:
        """Make everything on the file system of a path durable; False where syncfs(2) cannot be called.

        Raises:
            OSError: the disk does not take it.
        """
        try:
            import ctypes  # absent in some minimal Pythons

            syncfs = ctypes.CDLL(None, use_errno=True).syncfs
        except (ImportError, OSError, AttributeError):
            return False
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if syncfs(fd) != 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
        finally:
            os.close(fd)
        return True

    def reserve(self, fd: int, offset: int, length: int) -> bool:
        """Keep space behind the end of a file, whose size stays (fallocate(2)); say whether that is possible."""
        return fallocate(fd, KEEP_SIZE, offset, length)

    def sync_folder(self, path: str) -> None:
        """Make the names in a folder durable."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


disk = Disk()


def write_json(path: str, value: Any) -> None:
    """Put a JSON file in place at once, durable when this returns."""
    write_bytes(path, json.dumps(value).encode())


def write_bytes(path: str, data: bytes, durable: bool = True) -> None:
    """Put a file in place at once: temporary name, rename; synced before and after, unless it need not be durable."""
    temporary = f"{path}.{os.getpid()}-{next(_COUNTER)}.tmp"
    fd = disk.create(temporary)
    try:
        disk.write(fd, data)
        if durable:
            disk.sync(fd)
    except OSError:
        os.close(fd)
        os.unlink(temporary)
        raise
    os.close(fd)
    disk.replace(temporary, path)
    if durable:
        disk.sync_folder(os.path.dirname(path))


def fallocate(fd: int, mode: int, offset: int, length: int) -> bool:
    """Call fallocate(2); say whether that is possible here, and was done."""
    try:
        import ctypes  # absent in some minimal Pythons

        call = ctypes.CDLL(None, use_errno=True).fallocate
    except (ImportError, OSError, AttributeError):
        return False
    return bool(call(fd, mode, ctypes.c_longlong(offset), ctypes.c_longlong(length)) == 0)


def clone(source: BinaryIO, target: BinaryIO) -> None:
    """Have a file share the blocks of another one (reflink), where the file system can.

    Raises:
        OSError: it cannot.
    """
    fcntl.ioctl(target.fileno(), _FICLONE, source.fileno())


def overwrite(path: str, data: bytes) -> None:
    """Write over a file that is there, where the disk has no space for a new one; what it was longer is blank."""
    with open(path, "r+b", buffering=0) as file:
        file.write(data.ljust(os.fstat(file.fileno()).st_size))


def sync_path(folder: str, top: str) -> None:
    """Make a folder's own name durable, and those of the folders above it, up to a folder that is durable."""
    while len(folder) > len(top):
        folder = os.path.dirname(folder)
        disk.sync_folder(folder)


def keep_reserve(path: str) -> None:
    """Keep a reserve of disk space, as long as there is enough of it."""
    if not os.path.exists(path) and free_bytes(os.path.dirname(path)) > _ENOUGH_BYTES:
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.posix_fallocate(fd, 0, RESERVE_BYTES)
            os.close(fd)
        except OSError:
            pass  # the disk fills up just now, or its file system cannot


def drop_reserve(path: str) -> bool:
    """Give up the reserve; say whether there was one."""
    try:
        os.unlink(path)
    except OSError:
        return False
    return True


_LONGEST_JSON = 64 << 20
"""Most bytes of a JSON file: a longer one is not the agent's."""


def open_regular(path: str) -> BinaryIO:
    """Open a file to be read, at once: many lie where jobs can put what they want in their place.

    Raises:
        OSError: it is not there, or no regular file: a FIFO would hold up whoever opens it for ever.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "no regular file", path)
        return os.fdopen(fd, "rb")
    except BaseException:
        os.close(fd)
        raise


def sha256_of(file: BinaryIO) -> str:
    """Return the SHA-256 of what is left to read of a file."""
    digest = hashlib.sha256()
    for chunk in iter(lambda: file.read(1 << 20), b""):
        digest.update(chunk)
    return digest.hexdigest()


def read_json(path: str) -> Optional[Any]:
    """Return a JSON file's value, or None when it is not there, not whole, or nothing that we have written."""
    try:
        with open_regular(path) as file:
            data = file.read(_LONGEST_JSON + 1)
        return json.loads(data.decode("utf-8")) if len(data) <= _LONGEST_JSON else None
    except (OSError, ValueError, RecursionError):
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


def total_bytes(path: str) -> int:
    """Return the size of the file system of a path, bytes."""
    stats = os.statvfs(path)
    return stats.f_blocks * stats.f_frsize


def forbids_programs(path: str) -> bool:
    """Return whether no program can be run from the file system of a path (noexec)."""
    return bool(os.statvfs(path).f_flag & os.ST_NOEXEC)


def is_read_only(path: str) -> bool:
    """Return whether the file system of a path cannot be written."""
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def walk(top: str, failed: Callable[[str, OSError], None]) -> Iterator[Tuple[str, List[str], List[str]]]:
    """Yield (folder, names of folders, names of the rest) from the top down, however deep, through no link.

    Args:
        top: where to begin; whoever takes names out of a list of folders keeps the walk out of those.
        failed: called with each folder that cannot be listed.
    """
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        folders: List[str] = []
        names: List[str] = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    (folders if entry.is_dir(follow_symlinks=False) else names).append(entry.name)
        except OSError as error:
            failed(folder, error)
            continue
        yield folder, folders, names
        waiting += [os.path.join(folder, name) for name in sorted(folders, reverse=True)]


def remove_tree(folder: str) -> None:
    """Remove a folder whose parts may be read-only; what cannot be removed stays."""
    for top, _, _ in walk(folder, lambda *_: None):
        try:
            os.chmod(top, 0o700)
        except OSError:
            pass
    shutil.rmtree(folder, ignore_errors=True)


def inside(folder: str, path: str) -> str:
    """Return a path below a folder, its links followed.

    Raises:
        BadRequest: it would lead out of it.
    """
    if not is_inside(folder, os.path.join(folder, path)):
        raise BadRequest(f"{path!r} leads out of the job's folder")
    return os.path.realpath(os.path.join(folder, path))


def is_inside(folder: str, path: str) -> bool:
    """Return whether a path, its links followed, is a folder or below it."""
    top, real = os.path.realpath(folder), os.path.realpath(path)
    return real == top or real.startswith(top + os.sep)
