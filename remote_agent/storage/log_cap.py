"""A log over its limit loses its middle: the blocks are given back to the disk, every offset stays.

fallocate(2) with FALLOC_FL_PUNCH_HOLE is reached through ctypes; without it, or on a file system that cannot, the log
is left as it is.
"""

from __future__ import annotations

import os

from remote_agent.storage import files

_BLOCK = 4096
HEAD_BYTES = 256 * 1024
"""So much of a log's beginning always stays."""


def bound(path: str, limit: int) -> int:
    """Bring a log's use of the disk back under a limit, when it is over it.

    Args:
        path: the log.
        limit: bytes.
    Returns:
        How many bytes were dropped; their place reads as zeros behind a line that says so.
    """
    try:
        stats = os.stat(path)
    except OSError:
        return 0
    if stats.st_blocks * 512 <= limit + _BLOCK:
        return 0
    head = min(HEAD_BYTES, limit // 4) // _BLOCK * _BLOCK
    tail = max(limit // 2, _BLOCK) // _BLOCK * _BLOCK
    start, end = head, (stats.st_size - tail) // _BLOCK * _BLOCK
    if end - start < _BLOCK or not _punch(path, start, end - start):
        return 0
    marker = f"\nfoundations: bytes {start} to {end} of this log were dropped, its limit is {limit} bytes\n".encode()
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.pwrite(fd, marker, start)
    finally:
        os.close(fd)
    return end - start


def _punch(path: str, offset: int, length: int) -> bool:
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        return files.fallocate(fd, files.PUNCH_HOLE | files.KEEP_SIZE, offset, length)
    finally:
        os.close(fd)
