"""Which replica gets the next request: the one with the fewest in flight, of those that answer."""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Sequence, Tuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Stream(Protocol):
        """A connection to a replica."""

        def fileno(self) -> int:
            """Return a descriptor that is readable when something has arrived, or the connection has ended."""

        def recv(self, size: int) -> bytes:
            """Return what has arrived, at most ``size`` bytes; empty at the end."""

        def sendall(self, data: bytes) -> None:
            """Send all of the data."""

        def settimeout(self, seconds: Optional[float]) -> None:
            """Bound the next calls; None for no bound."""

        def end_input(self) -> None:
            """Say that nothing more is sent."""

        def close(self) -> None:
            """End the connection."""


Key = Tuple[str, int]
"""Job and attempt of a replica."""
PATIENCE = 10.0
"""Seconds that a request waits for a replica that answers: one may just be beginning again."""
_LOOK_SECONDS = 1.0
_HASTE_SECONDS = 0.2
"""Seconds between two looks at the replicas, and while a request waits for one."""
_IDLE_SECONDS = 2.0
"""How long a connection to a replica is kept for the next request: servers close theirs after some seconds."""
_MOST_IDLE = 64


class NoReplica(Exception):
    """No replica answers; the words say why."""


class NoConnection(OSError):
    """There is no connection to a replica; the words say why."""


@dataclass
class Upstream:
    """A replica that answers."""

    key: Key
    target: Any
    """Where it listens, as ``Pool.connect`` takes it."""
    in_flight: int = 0
    idle: "List[Tuple[float, Stream]]" = field(default_factory=list)
    """Connections that are open and unused, and since when."""


class Pool:
    """The replicas of one service, kept up to date by a thread; subclasses know where they are."""

    def __init__(self, name: str) -> None:
        """Begin; ``close`` ends it.

        Args:
            name: the service's.
        """
        self._lock = threading.Condition()
        self._upstreams: Dict[Key, Upstream] = {}
        self._turn = itertools.count()
        self._words = ""
        self._is_wanted = True
        """Whether the service is to have any replica."""
        self._closed = False
        self._wanted = threading.Event()
        self.patience = PATIENCE
        """Seconds that a request waits for a replica that answers."""
        self.token = ""
        """What the replicas ask for; another one once the service was forgotten and begun again."""
        self.look()
        self._thread = threading.Thread(target=self._follow, name=f"replicas of {name}", daemon=True)
        self._thread.start()

    def look(self) -> None:
        """See which replicas answer now, and tell ``take_note``.

        Raises:
            Exception: that is not known now; ``words_for`` says it.
        """
        raise NotImplementedError

    def connect(self, target: Any) -> "Stream":
        """Return a connection to a replica.

        Raises:
            OSError: nothing takes it there.
        """
        raise NotImplementedError

    def words_for(self, error: Exception) -> str:
        """Return what to say of a look that failed."""
        return str(error)

    @property
    def words(self) -> str:
        """Return how the service is, in words."""
        return self._words

    def take(self, patience: float, but: Sequence[Key] = ()) -> Upstream:
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

    def connection(self, upstream: Upstream) -> "Tuple[Stream, bool]":
        """Return a connection to a replica, and whether it has been used before.

        Raises:
            OSError: nothing takes it there.
        """
        with self._lock:
            kept = upstream.idle.pop()[1] if upstream.idle else None
        if kept is not None:
            return kept, True
        return self.connect(upstream.target), False

    def keep(self, upstream: Upstream, stream: "Stream") -> None:
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

    def take_note(self, there: Dict[Key, Any], is_wanted: bool, words: str) -> None:
        """Take note of the replicas that answer now.

        Args:
            there: where each listens.
            is_wanted: whether the service is to have any.
            words: how it is.
        """
        gone: "List[Stream]" = []
        with self._lock:
            self._words = words
            self._is_wanted = is_wanted
            for key in [key for key in self._upstreams if key not in there]:
                gone += [stream for _, stream in self._upstreams.pop(key).idle]
            for key, target in there.items():
                if key not in self._upstreams:
                    self._upstreams[key] = Upstream(key, target)
            self._lock.notify_all()
        for stream in gone:
            stream.close()

    @property
    def known(self) -> "frozenset[Key]":
        """Return the replicas that answered at the last look."""
        return frozenset(self._upstreams)

    def _follow(self) -> None:
        while not self._closed:
            self._wanted.wait(_LOOK_SECONDS)
            if self._wanted.is_set():
                time.sleep(_HASTE_SECONDS / 2)
            self._wanted.clear()
            if self._closed:
                return
            try:
                self.look()
            except Exception as error:  # tried again at the next look
                self._words = self.words_for(error)
            self._drop_idle()

    def _drop_idle(self) -> None:
        """Close connections that no request has used for a while."""
        old = time.monotonic() - _IDLE_SECONDS
        stale: "List[Stream]" = []
        with self._lock:
            for upstream in self._upstreams.values():
                stale += [stream for since, stream in upstream.idle if since <= old]
                upstream.idle = [(since, stream) for since, stream in upstream.idle if since > old]
        for stream in stale:
            stream.close()
