"""Bridges one channel's standard input and output to the daemon, which it starts when it is not there."""

from __future__ import annotations

import os
import select
import socket

from remote_agent import launch, peers, protocol
from remote_agent.paths import Paths

_START_SECONDS = 30.0
_CHUNK = 1 << 16


def main(root: str, agent: str) -> int:
    """Bridge until either side ends.

    Args:
        root: the agent's folder.
        agent: content hash of the agent that this proxy belongs to.
    Returns:
        The exit code: 1 when no daemon could be started; the channel then carries one refusal that says why.
    """
    paths = Paths(root)
    daemon = peers.connect(paths.socket_names(), socket.SOCK_STREAM)
    problem = ""
    if daemon is None:
        problem = _start(paths, paths.agent(agent))
        daemon = peers.connect(paths.socket_names(), socket.SOCK_STREAM)
    if daemon is None:
        words = problem or f"the agent did not start; see {paths.daemon_log} on the host"
        os.write(1, protocol.encode(protocol.refusal(0, "agent_failed", words)))
        return 1
    _bridge(daemon)
    return 0


def _start(paths: Paths, agent: str) -> str:
    """Start the daemon, wait until it serves, and return what went wrong in words."""
    ours, theirs = os.pipe()
    try:
        launch.start_daemon(paths, agent, theirs)
    finally:
        os.close(theirs)
    ready, _, _ = select.select([ours], [], [], _START_SECONDS)
    return os.read(ours, 4096).decode("utf-8", "replace").strip() if ready else "the agent does not come up"


def _bridge(daemon: socket.socket) -> None:
    while True:
        ready, _, _ = select.select([0, daemon.fileno()], [], [])
        if 0 in ready:
            data = os.read(0, _CHUNK)
            if not data:
                return
            daemon.sendall(data)
        if daemon.fileno() in ready:
            data = daemon.recv(_CHUNK)
            if not data:
                return
            while data:
                data = data[os.write(1, data) :]
