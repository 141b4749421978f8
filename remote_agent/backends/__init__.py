"""Where attempts run: a port of four verbs. ``local`` runs processes of this host; Slurm has its place here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Tuple

from remote_agent.core.scheduler import Capacity
from remote_agent.protocol.jobs import Lease

Attempt = Tuple[str, int]
"""A job's id and the number of the attempt."""


@dataclass(frozen=True)
class Status:
    """Where an attempt is, as its backend knows."""

    phase: str
    """"preparing", "running" or "ended"."""
    facts: Dict[str, Any] = field(default_factory=dict)
    """Running: "started_at". Ended: the exit record."""


class Backend:
    """The port. Every verb is used for every backend."""

    def capacity(self) -> Capacity:
        """Return what the host has, and what of it may not be leased now."""
        raise NotImplementedError

    def hold(self, leases: Mapping[str, Lease]) -> None:
        """Take in which leases there are now, by job: what is no longer leased has to be looked at."""
        raise NotImplementedError

    def start(self, attempt: Attempt, lease: Lease, is_brief: bool) -> None:
        """Start an attempt; how it goes is learnt by ``poll``.

        Args:
            attempt: which.
            lease: what it holds.
            is_brief: like jobs take only moments.
        """
        raise NotImplementedError

    def poll(self, attempts: List[Attempt]) -> Dict[Attempt, Status]:
        """Return where these attempts are; one that is missing in the answer has not changed."""
        raise NotImplementedError

    def dismiss(self) -> None:
        """Nothing more is to be started now: let go of what was kept for it."""

    def repeat_news(self) -> None:
        """Have ``poll`` give again what it gave: it could not be kept."""
        raise NotImplementedError

    def stop(self, attempt: Attempt, by: str, grace: float) -> None:
        """Ask for the end of an attempt: TERM to its group, and KILL to all of it after ``grace`` seconds."""
        raise NotImplementedError
