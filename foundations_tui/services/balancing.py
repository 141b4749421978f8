"""Which replica gets the next request: the one with the fewest in flight, of those that answer."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from foundations_tui.errors import NotFoundError, as_ours
from foundations_tui.hosts.transport import Stream
from foundations_tui.services import state
from foundations_tui.services.asking import current
from foundations_tui.session import Session
from remote_agent.protocol import messages
from remote_agent.protocol.relaying import Target

_LOOK_SECONDS = 1.0
_HASTE_SECONDS = 0.2
"""Seconds between two looks at the replicas, and while a request waits for one."""
_IDLE_SECONDS = 2.0
"""How long a connection to a replica is kept for the next request: servers close theirs after some seconds."""
_MOST_IDLE = 64


class NoReplica(Exception):
    """No replica answers; the words say why."""


@dataclass
class Upstream:
    """A replica that answers."""

    key: tuple[str, int]
    """Its job and attempt."""
    target: Target
    in_flight: int = 0
    idle: list[tuple[float, Stream]] = field(default_factory=list)
    """Connections that are open and unused, and since when."""


class Balancer:
    """The replicas of one service, kept up to date by a thread."""

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
        self._lock = threading.Condition()
        self._upstreams: dict[tuple[str, int], Upstream] = {}
        self._turn = itertools.count()
        self._words = ""
        self._is_wanted = True
        """Whether the service is to have any replica."""
        self._closed = False
        self._wanted = threading.Event()
        self.token = ""
        """What the replicas ask for; another one once the service was forgotten and begun again."""
        self._look()
        self._thread = threading.Thread(target=self._follow, name=f"replicas of {name}", daemon=True)
        self._thread.start()

    @property
    def words(self) -> str:
        """Return how the service is, in words."""
        return self._words

    def take(self, patience: float, but: Sequence[tuple[str, int]] = ()) -> Upstream:
        """Return the replica that gets the next request, which is counted until ``give_back``.

        Args:
            patience: seconds to wait for one that answers.
            but: those that have just taken no connection.
        Raises:
            NoReplica: none answers.
        """
        deadline = time.monotonic() + patience
        with self._lock:
            if not self._is_wanted:  # as last seen: it may have been begun again
                deadline = min(deadline, time.monotonic() + _LOOK_SECONDS)
            while True:
                usable = [one for one in self._upstreams.values() if one.key not in but]
                if usable:
                    turn = next(self._turn)
                    ordered = usable[turn % len(usable) :] + usable[: turn % len(usable)]
                    chosen = min(ordered, key=lambda one: one.in_flight)
                    chosen.in_flight += 1
                    return chosen
                if time.monotonic() >= deadline or self._closed:
                    raise NoReplica(self._words or "no replica answers")
                self._wanted.set()
                self._lock.wait(_HASTE_SECONDS)

    def give_back(self, upstream: Upstream) -> None:
        """Take note that a request is over."""
        with self._lock:
            upstream.in_flight -= 1

    def look_again(self) -> None:
        """Have the replicas looked at now: one has taken no connection."""
        self._wanted.set()

    def connection(self, upstream: Upstream) -> tuple[Stream, bool]:
        """Return a connection to a replica, and whether it has been used before.

        Raises:
            OSError: nothing takes it there. HostError: the host is out of reach.
        """
        self._drop_idle()
        with self._lock:
            kept = upstream.idle.pop()[1] if upstream.idle else None
        if kept is not None:
            return kept, True
        return self._session.agent(self._host).connect(upstream.target), False

    def keep(self, upstream: Upstream, stream: Stream) -> None:
        """Keep a connection for the next request."""
        with self._lock:
            is_current = self._upstreams.get(upstream.key) is upstream
            if is_current and len(upstream.idle) < _MOST_IDLE and not self._closed:
                upstream.idle.append((time.monotonic(), stream))
                return
        stream.close()

    def close(self) -> None:
        """Let go of everything."""
        with self._lock:
            self._closed = True
            idle = [stream for one in self._upstreams.values() for _, stream in one.idle]
            self._upstreams = {}
            self._lock.notify_all()
        self._wanted.set()
        for stream in idle:
            stream.close()
        self._thread.join(5)

    def _follow(self) -> None:
        while not self._closed:
            self._wanted.wait(_LOOK_SECONDS)
            if self._wanted.is_set():
                time.sleep(_HASTE_SECONDS / 2)
            self._wanted.clear()
            if self._closed:
                return
            try:
                self._look()
            except NotFoundError as error:
                self._words = str(error)
                self._take({}, is_wanted=False)
            except Exception as error:  # tried again at the next look
                self._words = str(as_ours(error))
            self._drop_idle()

    def _drop_idle(self) -> None:
        """Close connections that no request has used for a while."""
        old = time.monotonic() - _IDLE_SECONDS
        stale: list[Stream] = []
        with self._lock:
            for upstream in self._upstreams.values():
                stale += [stream for since, stream in upstream.idle if since <= old]
                upstream.idle = [(since, stream) for since, stream in upstream.idle if since > old]
        for stream in stale:
            stream.close()

    def _look(self) -> None:
        view = current(self._session, self._host, self._name)
        self._words = f"service {self._name} on {self._host}: {state.words(view, time.time())}"
        there = {
            (one.job, one.attempt): Target(one.readiness.socket, one.readiness.address, one.readiness.port)
            for one in view.running
            if one.readiness.ready
        }
        if not self.token or there.keys() - self._upstreams.keys():
            self.token = self._session.ask(self._host, messages.ServiceToken(self._name)).token
        self._take(there, is_wanted=view.replicas > 0)

    def _take(self, there: dict[tuple[str, int], Target], is_wanted: bool) -> None:
        """Take note of the replicas that answer now."""
        gone: list[Stream] = []
        with self._lock:
            self._is_wanted = is_wanted
            for key in [key for key in self._upstreams if key not in there]:
                gone += [stream for _, stream in self._upstreams.pop(key).idle]
            for key, target in there.items():
                if key not in self._upstreams:
                    self._upstreams[key] = Upstream(key, target)
            self._lock.notify_all()
        for stream in gone:
            stream.close()
