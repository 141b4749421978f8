"""Bridges one channel's standard input and output to the daemon, which it starts when it is not there.

Every connection starts one and waits for it: what only the first one needs is imported by that one.
"""

from __future__ import annotations

import os
import select
import socket

from remote_agent.storage.paths import Paths
from remote_agent.system import failpoints, unix_sockets

_START_SECONDS = 30.0
_CHUNK = 1 << 16
_MOST_WAITING = 1 << 20
"""Bytes of one direction that may wait; beyond that its source is left alone."""


def main(root: str, agent: str) -> int:
    """Bridge until either side ends.

    Args:
        root: the agent's folder.
        agent: content hash of the agent that this proxy belongs to.
    Returns:
        The exit code: 1 when no daemon could be started; the channel then carries one refusal that says why.
    """
    paths = Paths(root)
    daemon = unix_sockets.connect(paths.socket_names(), socket.SOCK_STREAM)
    problem = ""
    if daemon is None:
        problem = _start(paths, paths.agent(agent))
        # One that says why it cannot start still listens until it has ended: it would only cut us off.
        daemon = None if problem else unix_sockets.connect(paths.socket_names(), socket.SOCK_STREAM)
    if daemon is None:
        from remote_agent.protocol import framing

        words = problem or f"the agent did not start; see {paths.daemon_log} on the host"
        os.write(1, framing.encode(framing.refusal(0, "agent_failed", words)))
        return 1
    failpoints.arm(paths.crash)
    failpoints.point("proxy.connected")
    _bridge(daemon)
    return 0


def _start(paths: Paths, agent: str) -> str:
    """Start the daemon and wait until it serves, or for some time; return why it cannot start, when it says so."""
    from remote_agent.system import spawn_daemon

    ours, theirs = os.pipe()
    try:
        spawn_daemon.start_daemon(paths, agent, theirs)
    finally:
        os.close(theirs)
    ready, _, _ = select.select([ours], [], [], _START_SECONDS)
    return os.read(ours, 4096).decode("utf-8", "replace").strip() if ready else ""


def _bridge(daemon: socket.socket) -> None:
    """Carry bytes both ways; a side that does not read holds up the other direction never."""
    pipes = [_Pipe(0, daemon.fileno()), _Pipe(daemon.fileno(), 1)]
    while True:
        ready, writable, _ = select.select(
            [pipe.source for pipe in pipes if len(pipe.data) < _MOST_WAITING],
            [pipe.target for pipe in pipes if pipe.data],
            [],
        )
        for pipe in pipes:
            if pipe.source in ready and not pipe.fill():
                return pipe.finish()
            if pipe.target in writable:
                pipe.drain()


class _Pipe:
    """Bytes on their way from one descriptor to another."""

    def __init__(self, source: int, target: int) -> None:
        self.source, self.target = source, target
        self.data = bytearray()
        os.set_blocking(target, False)

    def fill(self) -> bool:
        """Read what has arrived; return whether the source is still open."""
        try:
            data = os.read(self.source, _CHUNK)
        except BlockingIOError:
            return True
        self.data += data
        return bool(data)

    def drain(self) -> None:
        """Write as much as the target takes."""
        try:
            del self.data[: os.write(self.target, self.data)]
        except BlockingIOError:
            pass

    def finish(self) -> None:
        """Write the rest: the source has ended."""
        os.set_blocking(self.target, True)
        while self.data:
            self.drain()
