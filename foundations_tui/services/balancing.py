"""The replicas of a service as its host tells of them, reached over the connection to that host."""

from __future__ import annotations

import time
from typing import Any

from foundations_serve.front.pool import NoConnection, Pool
from foundations_tui.errors import FoundationsError, NotFoundError, as_ours
from foundations_tui.hosts.transport import Stream
from foundations_tui.services import state
from foundations_tui.services.asking import current
from foundations_tui.session import Session
from remote_agent.protocol import messages
from remote_agent.protocol.relaying import Target


class Balancer(Pool):
    """The replicas of one service."""

    def __init__(self, session: Session, host: str, name: str) -> None:
        """Begin; ``close`` ends it.

        Args:
            session: the client's.
            host: where the service is.
            name: the service's.
        Raises:
            NotFoundError: there is none. HostError: its host is out of reach.
        """
        self._session, self._host, self._name = session, host, name
        super().__init__(name)

    def look(self) -> None:
        """Ask the host which replicas answer now.

        Raises:
            NotFoundError: there is no such service. HostError: the host is out of reach.
        """
        view = current(self._session, self._host, self._name)
        there = {
            (one.job, one.attempt): Target(one.readiness.socket, one.readiness.address, one.readiness.port)
            for one in view.running
            if one.readiness.ready
        }
        if not self.token or there.keys() - self.known:
            self.token = self._session.ask(self._host, messages.ServiceToken(self._name)).token
        words = f"service {self._name} on {self._host}: {state.words(view, time.time())}"
        self.take_note(there, view.replicas > 0, words)

    def connect(self, target: Any) -> Stream:
        """Return a connection to a replica, by the one to its host.

        Raises:
            OSError: nothing takes it there, or the host is out of reach.
        """
        try:
            return self._session.agent(self._host).connect(target)
        except FoundationsError as error:
            raise NoConnection(str(error)) from None

    def words_for(self, error: Exception) -> str:
        """Return what to say of a look that failed; a service that is gone has no replicas."""
        if isinstance(error, NotFoundError):
            self.take_note({}, False, str(error))
        return str(as_ours(error))
