"""A transport to a host: this machine or SSH."""

from __future__ import annotations

from foundations_tui.config.hosts import HostConfig
from foundations_tui.hosts.asking import Asker
from foundations_tui.hosts.transport import Transport


def connect(host: HostConfig, asker: Asker, timeout: float) -> Transport:
    """Return an open transport to a host.

    Args:
        host: where.
        asker: answers what the connection asks.
        timeout: seconds for the connection.
    Raises:
        HostError: it is out of reach, refuses us, or its key is not what it should be.
    """
    if host.is_local:
        from foundations_tui.hosts.local import LocalTransport

        return LocalTransport()
    from foundations_tui.hosts.ssh import SshTransport  # paramiko and Fabric: 250 ms

    return SshTransport(host, asker, timeout)
