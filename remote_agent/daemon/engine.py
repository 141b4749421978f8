"""The jobs of one host: what clients ask for, what becomes of each job, and the ledger that holds what was decided."""

from __future__ import annotations

from dataclasses import replace
from typing import Callable, List, Mapping, Optional

from remote_agent.backends import Backend
from remote_agent.core.scheduler import Capacity
from remote_agent.core.state import HostState
from remote_agent.core.waits import WaitReasons
from remote_agent.daemon import recovery
from remote_agent.daemon.builds import Builds
from remote_agent.daemon.chains import Chains
from remote_agent.daemon.effects import Performer
from remote_agent.daemon.ledger import Ledger
from remote_agent.daemon.lifecycle import Lifecycle
from remote_agent.daemon.models import Models
from remote_agent.daemon.notifications import Notices
from remote_agent.daemon.requests import Requests
from remote_agent.daemon.schedules import Schedules
from remote_agent.daemon.services import Services
from remote_agent.protocol.messages import HostSettings
from remote_agent.storage.journal import Journal
from remote_agent.storage.objects import ObjectStore
from remote_agent.storage.paths import Paths

_MOST_GIVEN_UP = 4
"""Attempts at once that only say why their environment could not be built."""


class Engine:
    """One turn after the other: news, requests, a plan, a commit."""

    def __init__(
        self,
        paths: Paths,
        journal: Journal,
        backend: Backend,
        clock: Callable[[], float],
        settings: Optional[HostSettings] = None,
        agent: str = "",
    ) -> None:
        """Replay the journal, recover what it lost, and take up the attempts that it knows.

        Args:
            paths: the agent's files.
            journal: opened, its history not yet taken.
            backend: where attempts run.
            clock: gives seconds since the epoch.
            settings: what hosts.toml says of the host, as last heard.
            agent: content hash of this agent.
        """
        self.settings = settings or HostSettings()
        self.paths = paths
        self.journal = journal
        self.backend = backend
        self.objects = ObjectStore(paths.objects)
        self.notices = Notices(paths)
        self.waits = WaitReasons()
        self.builds = Builds(paths, agent)
        self.is_ready: Callable[[], bool] = lambda: True
        """Says whether jobs may be started: at the very beginning it is not known yet in what environment."""
        self._clock = clock
        self._replan = True
        self._performer = performer = Performer(paths, backend, self.notices)
        self.ledger = Ledger(journal, backend, performer, clock)
        self.ledger.changed = self.replan
        performer.has_service = lambda name: name in self.state.services
        self.lifecycle = Lifecycle(self.ledger, backend, paths, self.notices, self.capacity)
        self.requests = Requests(self.ledger, self.lifecycle, paths, self.objects, self.capacity)
        self.services = Services(
            self.ledger, self.lifecycle, self.requests, paths, self.objects, self.notices, self.waits, self.capacity
        )
        self.models = Models(self.ledger)
        self.schedules = Schedules(self.ledger, self.requests, paths, self.objects, self.capacity)
        self.chains = Chains(self.ledger, self.requests, self.models, self.services, paths)
        performer.kept_of_schedule = self.schedules.kept
        self.chains.told = self.schedules.tell
        self.lifecycle.ending = self.chains.end
        recovery.recover(self.ledger, paths)
        self.lifecycle.resume()
        self.services.resume()
        self.schedules.resume()
        performer.take_up_trash()

    @property
    def state(self) -> HostState:
        """All that is known about the jobs."""
        return self.ledger.state

    def advance(self) -> None:
        """Take in the backend's news and start what can start."""
        self.lifecycle.advance()
        self.lifecycle.end_pauses()
        self.schedules.advance()
        idle_look_at = self.services.idle_look_at
        if idle_look_at is not None and self._clock() >= idle_look_at:
            self.services.look_at_idle()
        is_due = self.services.retry_at is not None and self._clock() >= self.services.retry_at
        if self.services.notice() or is_due:
            self.replan()
        if self.builds.due == 0.0 and self.builds.look(self.state):
            self.replan()
        if self._replan and self.is_ready():
            self.services.advance()
            self._look_at_environments()
            self.lifecycle.plan()
            self._replan = False

    def _look_at_environments(self) -> None:
        """See which environments are there that waiting jobs need; what could not be built ends its jobs."""
        self.builds.look(self.state)
        self.remove_folders(self.builds.take_trash())
        room = _MOST_GIVEN_UP - sum(1 for lease in self.state.leases.values() if lease.is_empty)
        for job in sorted(self.builds.failed)[: max(0, room)]:
            self.builds.failed.discard(job)
            self.lifecycle.give_up(job)

    def remove_folders(self, folders: List[str]) -> None:
        """Have folders removed that were moved away."""
        self._performer.remove(folders)

    def replan(self) -> None:
        """Look at the queue again: the capacity may have changed."""
        self._replan = True
        self.waits.expire()

    def refresh_waits(self, at_once: bool = False) -> None:
        """Find out again why jobs wait, unless that was just done."""
        self.waits.refresh(self.state, self.capacity(), self._clock(), at_once)

    def take_time_left(self, time_left: Mapping[str, float]) -> None:
        """Take in how long running jobs still take, as their logs tell: seconds, by job."""
        self.waits.take_time_left(time_left, self.state, self._clock())

    def capacity(self) -> Capacity:
        """Return what the host has, and what of it may not be leased now."""
        capacity = self.backend.capacity(self.state.leases, self.settings)
        return replace(capacity, environments=self.builds.words) if self.builds.words else capacity

    @property
    def is_unsettled(self) -> bool:
        """Whether a turn of the loop has something to decide or to write at once."""
        return (self._replan and self.is_ready()) or self.ledger.is_urgent

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits, runs or is to stay up."""
        nothing_runs = not self.state.active and not self.state.queue
        is_needed = self.notices.is_busy or self.services.are_wanted or self.schedules.are_any
        return nothing_runs and not is_needed

    @property
    def due(self) -> Optional[float]:
        """Seconds until something is due by the clock alone; None when nothing is."""
        moments = [*self.state.pausing.values()]
        moments += filter(None, [self.services.retry_at, self.services.idle_look_at, self.schedules.due])
        waits = [max(0.0, min(moments) - self._clock())] if moments else []
        return min([*waits, *([self.builds.due] if self.builds.due is not None else [])], default=None)
