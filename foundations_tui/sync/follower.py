"""Following one host: its news are stored as they come, until it is stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from typing import Any

from foundations_tui.errors import (
    HostError,
    HostUnreachable,
    StoreError,
)
from foundations_tui.hosts.agent import Promise
from foundations_tui.ingest import stories
from foundations_tui.session import Session
from foundations_tui.store import writes
from foundations_tui.sync.pull import HostSync, read_event_files, settle

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0


class Follower:
    """Keeps the store up to date with one host until it is stopped; a host out of reach is tried again and again."""

    def __init__(
        self,
        session: Session,
        host: str,
        changed: Callable[[], None],
        jobs: Collection[str] | None = None,
        streams: bool = True,
        patient: bool = False,
        apart: float = 0.0,
    ) -> None:
        """Make one; ``run`` it in a thread of its own.

        Args:
            session: the client's.
            host: which.
            changed: called after each round that brought news, or lost or found the host.
            jobs: follow only the streams of these; None for all.
            streams: with logs and records, or only the states.
            patient: try again, too, when the store cannot be written (a full disk).
            apart: least seconds from one round to the next once all is here: what many jobs write meanwhile is brought
                together.
        """
        self._session, self._host = session, host
        self._patient, self._apart = patient, apart
        self._changed = changed
        self._jobs, self._streams = jobs, streams
        self._stopped = threading.Event()
        self._asked: Promise[Any] | None = None

    def run(self) -> None:
        """Follow the host until ``stop``.

        Raises:
            FoundationsError: it cannot be followed, and trying again would not help.
        """
        pause = _FIRST_PAUSE
        while not self._stopped.is_set():
            try:
                host_sync = HostSync(self._session.store, self._session.agent(self._host))
                host_sync.push_annotations()
                host_sync.pull_changes()
                if self._streams:
                    host_sync.pull_sizes()
                pause = _FIRST_PAUSE
                self._follow(host_sync)
            except HostError as error:
                if self._stopped.is_set():
                    return
                writes.put_unreachable(self._session.store, self._host, str(error))
                self._changed()
                self._stopped.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            except StoreError:
                if not self._patient:
                    raise
                self._stopped.wait(_LONGEST_PAUSE)

    def stop(self) -> None:
        """End it at once; the connection stays."""
        self._stopped.set()
        if self._asked is not None:
            self._asked.fail(HostUnreachable(f"{self._host} is no longer followed"))

    def _follow(self, host_sync: HostSync) -> None:
        while not self._stopped.is_set():
            began = time.monotonic()
            whole = host_sync.pull_streams(self._jobs) if self._streams else True
            if not whole:
                host_sync.pull_sizes()
            stories.refresh(self._session.store)
            self._changed()
            if whole and self._streams:
                read_event_files(self._session, self._host, host_sync.left)
                host_sync.pull_samples()
                if self._jobs is None:
                    settle(self._session, self._host, host_sync)
            if whole:
                self._asked = host_sync.ask_for_news()
                if self._stopped.is_set():
                    return
                host_sync.take_news(self._asked)
                if self._stopped.wait(max(0.0, began + self._apart - time.monotonic())):
                    return
            host_sync.push_annotations()
            host_sync.pull_changes()
