"""Bridges one channel's standard input and output to the daemon, which it starts when it is not there."""

from __future__ import annotations

import os
import select
import socket
import sys
import time

from remote_agent import launch, peers
from remote_agent.paths import Paths

_START_SECONDS = 30.0
_CHUNK = 1 << 16


def main(root: str, agent: str) -> int:
    """Bridge until either side ends.

    Args:
        root: the agent's folder.
        agent: content hash of the agent that this proxy belongs to.
    Returns:
        The exit code: 1 when no daemon could be started.
    """
    paths = Paths(root)
    daemon = _connect(paths, paths.agent(agent))
    if daemon is None:
        return 1
    _bridge(daemon)
    return 0


def _connect(paths: Paths, agent: str) -> "socket.socket | None":
    daemon = peers.connect(paths.socket_names(), socket.SOCK_STREAM)
    if daemon is not None:
        return daemon
    launch.start_daemon(paths, agent)
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        daemon = peers.connect(paths.socket_names(), socket.SOCK_STREAM)
        if daemon is not None:
            return daemon
        time.sleep(0.005)
    sys.stderr.write(f"the agent did not start; see {paths.daemon_log}\n")
    return None


def _bridge(daemon: socket.socket) -> None:
    while True:
        ready, _, _ = select.select([0, daemon], [], [])
        if 0 in ready:
            data = os.read(0, _CHUNK)
            if not data:
                return
            daemon.sendall(data)
        if daemon in ready:
            data = daemon.recv(_CHUNK)
            if not data:
                return
            while data:
                data = data[os.write(1, data) :]
