"""Whose a connection to a port of this machine is: proc(5) on /proc/net/tcp names the user of each end."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

_TABLE = Path("/proc/net/tcp")


def is_of_another_user(connection: socket.socket) -> bool:
    """Return whether another user of this machine has connected; False where that cannot be known.

    Args:
        connection: accepted on 127.0.0.1.
    """
    uid = _uid_of(connection.getpeername(), connection.getsockname())
    return uid is not None and uid not in (os.getuid(), 0)


def _uid_of(peer: tuple[str, int], ours: tuple[str, int]) -> int | None:
    """Return the user of the socket whose own end is the peer's."""
    wanted = _end(peer), _end(ours)
    try:
        with _TABLE.open() as table:
            for line in table:
                words = line.split()
                if (words[1], words[2]) == wanted:
                    return int(words[7])
    except (OSError, ValueError, IndexError):
        return None
    return None


def _end(place: tuple[str, int]) -> str:
    """Return an address as the table has it: its bytes as a number of the machine's own order."""
    address = int.from_bytes(socket.inet_aton(place[0]), sys.byteorder)
    return f"{address:08X}:{place[1]:04X}"
