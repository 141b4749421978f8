"""Abstract Unix sockets between processes of one user: found by name, checked on both sides by SO_PEERCRED."""

from __future__ import annotations

import os
import socket
import struct
from typing import List, Optional

_CREDENTIALS = struct.Struct("3i")


def is_own(connection: socket.socket) -> bool:
    """Say whether the other side runs as the same user."""
    packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return bool(_CREDENTIALS.unpack(packed)[1] == os.getuid())


def connect(names: List[bytes], kind: int) -> Optional[socket.socket]:
    """Connect to the first of these names that a process of ours has; None when none has.

    A name that another user squats on is passed over: the owner of the role took the next one.
    """
    for name in names:
        connection = socket.socket(socket.AF_UNIX, kind)
        try:
            connection.connect(name)
        except OSError:
            connection.close()
            return None
        if is_own(connection):
            return connection
        connection.close()
    return None


def listen(names: List[bytes], kind: int) -> Optional[socket.socket]:
    """Bind the first of these names that no other user has; None when a process of ours has it."""
    for name in names:
        listener = socket.socket(socket.AF_UNIX, kind)
        try:
            listener.bind(name)
            listener.listen(128)
            return listener
        except OSError:
            listener.close()
        holder = connect([name], kind)
        if holder is not None:
            holder.close()
            return None
    return None
