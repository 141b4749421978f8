"""Files with holes: what a log lost to its limit, or never held, is passed over and takes no space."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

_CHUNK = 1 << 20


def copy(source: int, target: int, size: int) -> None:
    """Copy the bytes of a file by descriptors; its holes stay holes."""
    for begin, page in pages(source, 0, _CHUNK):
        os.pwrite(target, page, begin)
    os.ftruncate(target, size)


def segments(fd: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield (begin, end) of what a file really holds between two offsets: its holes are left out (lseek(2))."""
    while start < end:
        try:
            begin = os.lseek(fd, start, os.SEEK_DATA)
            stop = min(end, os.lseek(fd, begin, os.SEEK_HOLE))
        except OSError as error:
            if error.errno == errno.ENXIO:
                return  # nothing but a hole
            begin, stop = start, end  # a file system without holes
        if begin >= end:
            return
        yield begin, stop
        start = stop


def next_data(fd: int, offset: int, size: int) -> int:
    """Return where a file of a size holds bytes again, from an offset on; its size when nothing follows but a hole."""
    return next((begin for begin, _ in segments(fd, offset, size)), size)


def pages(fd: int, offset: int, size: int = 1 << 16) -> Iterator[tuple[int, bytes]]:
    """Yield (where it begins, its bytes) of each page that a file holds from an offset to its end, holes left out."""
    for begin, end in segments(fd, offset, os.fstat(fd).st_size):
        while begin < end:
            page = os.pread(fd, min(size, end - begin), begin)
            if not page:
                return
            yield begin, page
            begin += len(page)
