"""The clients that wait for news: told of jobs that changed and streams that grew."""

from __future__ import annotations

import itertools
import selectors
import time
from typing import Dict, List, Set, Tuple

from remote_agent.daemon.connections import Connection, Connections
from remote_agent.daemon.engine import Engine
from remote_agent.daemon.handlers import PendingWatch
from remote_agent.protocol import messages
from remote_agent.protocol.states import JobState
from remote_agent.storage import event_files, streams
from remote_agent.storage.paths import Paths

_GROWTH_PAUSE = 0.05
"""Least seconds between two notices of grown streams."""
_MOST_GROWN = 500
"""Grown streams in one notice; the others are in the next."""

Sizes = Dict[Tuple[str, int, str], int]
"""Bytes of streams, by job, attempt and name."""


class Watchers:
    """Follows what grows while anybody watches, and answers who waits."""

    def __init__(
        self, paths: Paths, engine: Engine, connections: Connections, selector: selectors.BaseSelector
    ) -> None:
        """Make it.

        Args:
            paths: the agent's files.
            engine: whose jobs are followed.
            connections: of the clients.
            selector: is woken by streams that grow.
        """
        self.growth = streams.GrowthWatch()
        self._paths = paths
        self._engine = engine
        self._connections = connections
        self._selector = selector
        self._hears_growth = False
        self._grown: Set[str] = set()
        """Jobs with streams that have grown and were not told of."""
        self._last_notice = 0.0

    def add(self, connection: Connection, watch: PendingWatch) -> None:
        """Let a client wait for news."""
        connection.watch = watch
        self._grown |= self.growth.jobs  # a client that begins to watch knows no sizes

    def follow(self) -> None:
        """Keep the set of watched folders equal to the set of running attempts, while anybody watches."""
        jobs = self._engine.state.jobs
        running: Set[str] = set()
        if self._connections.watching():
            running = {job for job in self._engine.state.active if jobs[job].state is JobState.RUNNING}
        for job in self.growth.jobs - running:
            self.growth.remove(job)
        for job in running - self.growth.jobs:
            self.growth.add(job, self._paths.job(job).attempt(jobs[job].attempt))
            self._grown.add(job)
        if self.growth.fd is not None and bool(running) != self._hears_growth:
            self._hears_growth = bool(running)
            if running:
                self._selector.register(self.growth.fd, selectors.EVENT_READ, lambda mask: None)
            else:
                self._selector.unregister(self.growth.fd)
        self._grown = (self._grown | self.growth.heard()) & running

    def answer(self) -> None:
        """Answer the clients that wait, where there is news."""
        watching = self._connections.watching()
        if watching:
            self._engine.refresh_waits()
        now = time.monotonic()
        sizes: Sizes = {}
        if self._grown and now - self._last_notice >= _GROWTH_PAUSE:
            sizes = self._sizes()
            self._grown = set()
        for connection in watching:
            self._answer(connection, sizes, now)

    def _answer(self, connection: Connection, sizes: Sizes, now: float) -> None:
        watch = connection.watch
        assert watch is not None
        changed = {key: size for key, size in sizes.items() if connection.told.get(key, 0) != size}
        grown = dict(itertools.islice(changed.items(), _MOST_GROWN))
        self._grown.update(job for job, _, _ in itertools.islice(changed, _MOST_GROWN, None))
        if grown:
            self._last_notice = now
        if grown or watch.is_over(self._engine, now):
            connection.told.update(grown)
            connection.watch = None
            news = messages.WatchAnswer([(*key, size) for key, size in grown.items()], self._engine.state.seq)
            self._connections.send(connection, watch.request_id, news)

    def _sizes(self) -> Sizes:
        sizes = {}
        for job in self._grown:
            number = self._engine.state.jobs[job].attempt
            attempt = self._paths.job(job).attempt(number)
            if event_files.has(attempt):
                self.growth.by_clock.add(job)
            for name, size in streams.sizes(attempt).items():
                sizes[(job, number, name)] = size
        return sizes

    def due(self) -> List[float]:
        """Return in how many seconds something is to be done here."""
        now = time.monotonic()
        due = [connection.watch.deadline - now for connection in self._connections.all if connection.watch is not None]
        if self._grown:
            due.append(self._last_notice + _GROWTH_PAUSE - now)
        if self.growth.by_clock:
            due.append(streams.LOOK_PAUSE)
        return [max(0.0, seconds) for seconds in due]
