"""Where processes listen: proc(5) on /proc/net/tcp, whose inodes are matched with the descriptors of processes.

A port alone is nobody: another user's process may have taken it. What listens there is known by the descriptor.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Iterable, List, NamedTuple, Set, Tuple

from remote_agent.system.processes import read_text

_LISTEN, _ESTABLISHED = "0A", "01"
"""TCP_LISTEN and TCP_ESTABLISHED in the kernel's include/net/tcp_states.h."""
_UNIX_CONNECTED = "03"
"""SS_CONNECTED in the kernel's include/uapi/linux/net.h."""


class Listener(NamedTuple):
    """A TCP socket that takes connections."""

    address: str
    """"127.0.0.1", "::1", "0.0.0.0"."""
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only processes of the host reach it."""
        return self.address.startswith(("127.", "::ffff:127.")) or self.address == "::1"

    @property
    def reachable_at(self) -> str:
        """Return an address of the host itself at which it takes connections."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.address, self.address)


def listening(pids: Iterable[int]) -> List[Listener]:
    """Return where some processes listen, each place once, in order."""
    found: Set[Listener] = set()
    tables = {}
    for pid in pids:
        inodes = _inodes(pid)
        if inodes:
            namespace = _namespace(pid)
            if namespace not in tables:
                tables[namespace] = _listeners(pid)
            found.update(listener for inode, listener in tables[namespace] if inode in inodes)
    return sorted(found)


def connections(pid: int, port: int) -> int:
    """Return how many connections a process's network namespace has to a port."""
    count = 0
    for name in ("tcp", "tcp6"):
        for line in read_text(f"/proc/{pid}/net/{name}").splitlines()[1:]:
            words = line.split()
            if len(words) > 3 and words[3] == _ESTABLISHED and int(words[1].rpartition(":")[2], 16) == port:
                count += 1
    return count


def unix_connections(pid: int, path: str) -> int:
    """Return how many connections a Unix socket of that path has."""
    lines = read_text(f"/proc/{pid}/net/unix").splitlines()[1:]
    fields = (line.split(None, 7) for line in lines)
    return sum(1 for words in fields if len(words) == 8 and words[5] == _UNIX_CONNECTED and words[7] == path)


def free_port() -> int:
    """Return a port of 127.0.0.1 that is free now; another process may take it before it is used."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _inodes(pid: int) -> Set[str]:
    """Return the inodes of a process's sockets."""
    folder = f"/proc/{pid}/fd"
    inodes: Set[str] = set()
    try:
        names = os.listdir(folder)
    except OSError:
        return inodes
    for name in names:
        try:
            target = os.readlink(f"{folder}/{name}")
        except OSError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    return inodes


def _namespace(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError:
        return ""


def _listeners(pid: int) -> List[Tuple[str, Listener]]:
    """Return (inode, where it listens) of the listening sockets in a process's network namespace."""
    found = []
    for name in ("tcp", "tcp6"):
        for line in read_text(f"/proc/{pid}/net/{name}").splitlines()[1:]:
            words = line.split()
            if len(words) > 9 and words[3] == _LISTEN:
                address, _, port = words[1].rpartition(":")
                found.append((words[9], Listener(_address(address), int(port, 16))))
    return found


def _address(text: str) -> str:
    """Return an address of /proc/net/tcp: words of 32 bits in the machine's order."""
    words = [int(text[start : start + 8], 16) for start in range(0, len(text), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    return socket.inet_ntop(socket.AF_INET if len(words) == 1 else socket.AF_INET6, packed)
