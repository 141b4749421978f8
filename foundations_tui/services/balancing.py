"""The replicas of a service as its host tells of them, reached over the connection to that host."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from foundations_serve.front.pool import Key, NoConnection, Pool
from foundations_tui.errors import FoundationsError, HostUnreachable, NotFoundError, as_ours
from foundations_tui.hosts.transport import Stream
from foundations_tui.services import state
from foundations_tui.services.asking import current
from foundations_tui.session import Session
from remote_agent.protocol import messages
from remote_agent.protocol.relaying import Target
from remote_agent.protocol.services import Readiness, ServiceView

_AWAY_SECONDS = 10.0
"""How long a host that is out of reach is not asked, while another one answers."""


class Balancer(Pool):
    """The replicas of one service, on one host or several."""

    def __init__(self, session: Session, hosts: Sequence[str], name: str) -> None:
        """Begin; ``close`` ends it.

        Args:
            session: the client's.
            hosts: where the service is.
            name: the service's.
        Raises:
            NotFoundError: there is none. HostError: its hosts are out of reach.
        """
        self._session, self._hosts, self._name = session, list(hosts), name
        self._away_until: dict[str, float] = {}
        """When a host that was out of reach is asked again, on the monotonic clock."""
        super().__init__(name)

    def look(self) -> None:
        """Ask the hosts which replicas answer now; one that is out of reach has none for a while.

        Raises:
            NotFoundError: there is no such service. HostError: no host is within reach.
        """
        there: dict[Key, tuple[str, Target]] = {}
        words: list[str] = []
        problems: list[FoundationsError] = []
        is_wanted = False
        for host in self._hosts:
            try:
                view = self._view(host)
            except (HostUnreachable, NotFoundError) as error:
                problems.append(error)
                words.append(f"on {host}: {error}")
                continue
            is_wanted |= view.replicas > 0
            words.append(f"on {host}: {state.words(view, time.time())}")
            there.update(
                {(one.job, one.attempt): (host, _target(one.readiness)) for one in view.running if one.readiness.ready}
            )
        if len(problems) == len(self._hosts):
            raise problems[0]
        fresh = {host for key, (host, _) in there.items() if key not in self.known}
        if fresh or (there and not self.token):
            self.token = self._session.ask(min(fresh or {self._hosts[0]}), messages.ServiceToken(self._name)).token
        self.take_note(there, is_wanted, f"service {self._name} " + "; ".join(words))

    def _view(self, host: str) -> ServiceView:
        """Return how the service is on a host.

        Raises:
            NotFoundError: it is not there. HostUnreachable: the host is out of reach, or was a moment ago.
        """
        if time.monotonic() < self._away_until.get(host, 0.0):
            raise HostUnreachable(f"{host} is out of reach")
        try:
            return current(self._session, host, self._name)
        except HostUnreachable:
            if len(self._hosts) > 1:
                self._away_until[host] = time.monotonic() + _AWAY_SECONDS
            raise

    def connect(self, target: Any) -> Stream:
        """Return a connection to a replica, by the one to its host.

        Raises:
            OSError: nothing takes it there, or the host is out of reach.
        """
        host, place = target
        try:
            return self._session.agent(host).connect(place)
        except FoundationsError as error:
            raise NoConnection(str(error)) from None

    def words_for(self, error: Exception) -> str:
        """Return what to say of a look that failed; a service that is gone has no replicas."""
        if isinstance(error, NotFoundError):
            self.take_note({}, False, str(error))
        return str(as_ours(error))


def _target(readiness: Readiness) -> Target:
    return Target(readiness.socket, readiness.address, readiness.port)
