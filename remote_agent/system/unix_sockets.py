"""Abstract Unix sockets between processes of one user: found by name, checked on both sides by SO_PEERCRED."""

from __future__ import annotations

import os
import socket
import struct
from typing import List, Optional

_CREDENTIALS = struct.Struct("3i")


def is_own(connection: socket.socket) -> bool:
    """Return whether the other side runs as the same user."""
    packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return bool(_CREDENTIALS.unpack(packed)[1] == os.getuid())


def connect(names: List[bytes], kind: int) -> Optional[socket.socket]:
    """Connect to the first of these names that a process of ours has; None when none has.

    A name that nobody listens to, or another user has, is passed over, and so is one whose owner lets us wait: our
    process has another one then.
    """
    for name in names:
        connection = socket.socket(socket.AF_UNIX, kind)
        try:
            # unix(7): with a full backlog, connect waits as long as a send may wait.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _PATIENCE)
            connection.connect(name)
            if is_own(connection):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _NO_LIMIT)
                return connection
        except OSError:
            pass
        connection.close()
    return None


def listen(names: List[bytes], kind: int) -> Optional[socket.socket]:
    """Bind the first of these names that no other user has; None when a process of ours has one of them.

    Raises:
        AddressesTaken: others have all of them.
    """
    holder = connect(names, kind)
    if holder is not None:
        holder.close()
        return None
    for name in names:
        listener = socket.socket(socket.AF_UNIX, kind)
        try:
            listener.bind(name)
            listener.listen(128)
            return listener
        except OSError:
            listener.close()
        holder = connect([name], kind)
        if holder is not None:  # another process of ours was faster
            holder.close()
            return None
    raise AddressesTaken("other users of this machine hold all socket names of the agent")


class AddressesTaken(OSError):
    """Every name is somebody else's."""


_PATIENCE = struct.pack("ll", 1, 0)
"""Seconds and microseconds that another process may let us wait for a connection."""
_NO_LIMIT = struct.pack("ll", 0, 0)
