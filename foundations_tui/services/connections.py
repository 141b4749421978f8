"""Services that are reached from this process: each at a local port, until it is let go."""

from __future__ import annotations

import threading

from foundations_serve.front.proxy import Proxy
from foundations_tui.services.balancing import Balancer
from foundations_tui.services.local_port import listen
from foundations_tui.session import Session
from foundations_tui.store import services
from foundations_tui.store.services import ServiceRow

Key = tuple[str, str]
"""Name and host of a service."""


class Connections:
    """The local ends of services; threads share it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._held: dict[Key, tuple[Balancer, Proxy]] = {}

    def open(self, row: ServiceRow, port: int | None = None) -> str:
        """Reach a service, and return its URL here; one that is reached already stays as it is.

        Args:
            row: the service.
            port: the local port that it is to have from now on; None for the one that it has.
        Raises:
            UsageError: the port cannot be used. NotFoundError: there is no such service. HostError: its host is out of
                reach.
        """
        with self._lock:
            row = services.members(self._session.store.conn, row)[0]  # of several hosts, the same one each time
            key = (row.name, row.host)
            if key not in self._held:
                hosts = [one.host for one in services.members(self._session.store.conn, row)]
                balancer = Balancer(self._session, hosts, row.name)
                try:
                    self._held[key] = (balancer, listen(self._session, balancer, row, port))
                except BaseException:
                    balancer.close()
                    raise
            return _url(self._held[key][1])

    def words(self, row: ServiceRow) -> str:
        """Return how a service is that is reached, in words."""
        row = services.members(self._session.store.conn, row)[0]
        return self._held[(row.name, row.host)][0].words

    @property
    def urls(self) -> dict[Key, str]:
        """Return where services are reached here, by name and host."""
        return {key: _url(proxy) for key, (_, proxy) in list(self._held.items())}

    def close(self, key: Key) -> None:
        """Let one go; the service itself goes on."""
        with self._lock:
            held = self._held.pop(key, None)
        if held is not None:
            held[1].close()
            held[0].close()

    def close_all(self) -> None:
        """Let all go."""
        for key in list(self._held):
            self.close(key)


def _url(proxy: Proxy) -> str:
    return f"http://127.0.0.1:{proxy.port}"
