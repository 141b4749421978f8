"""Where attempts run: a port of few verbs. ``local`` runs processes of this host; Slurm has its place here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Mapping, Optional, Tuple

from remote_agent.core.scheduler import Capacity
from remote_agent.protocol.ends import AttemptEnd
from remote_agent.protocol.lease import Lease
from remote_agent.protocol.messages import HostSettings
from remote_agent.protocol.services import Readiness

Attempt = Tuple[str, int]
"""A job's id and the number of the attempt."""


@dataclass(frozen=True)
class Status:
    """Where an attempt is, as its backend knows."""

    phase: str
    """"preparing", "running" or "ended"."""
    started_at: Optional[float] = None
    """Of one that runs, seconds since the epoch."""
    end: Optional[AttemptEnd] = None
    """Of one that has ended."""
    pid: int = 0
    """On this host, at the top of the processes of one that runs; 0 where there is none."""
    readiness: Optional[Readiness] = None
    """Of a replica of a service that runs."""


class Backend:
    """The port. Every verb is used for every backend, and the engine uses nothing beside it."""

    def fileno(self) -> int:
        """Return a descriptor that is readable when ``poll`` has something new."""
        raise NotImplementedError

    def capacity(self, leases: Mapping[str, Lease], settings: HostSettings) -> Capacity:
        """Return what the host has, and what of it may not be leased now.

        Args:
            leases: what is held, by job: what is no longer leased has to be looked at before it is again.
            settings: what hosts.toml says of the host.
        """
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
        """Return where these attempts are; one that is missing in the answer has not changed.

        What was given is given again until it is acknowledged: nothing is lost when it could not be kept.
        """
        raise NotImplementedError

    def acknowledge(self) -> None:
        """Forget what ``poll`` has given: it is kept now, and what follows from it has been started."""
        raise NotImplementedError

    def adopt(self, attempt: Attempt) -> bool:
        """Take over an attempt that an earlier daemon leased; return whether it was ever begun."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of everything; attempts run on."""

    def stop(self, attempt: Attempt, by: str, grace: float) -> None:
        """Ask for the end of an attempt: TERM to its group, and KILL to all of it after ``grace`` seconds."""
        raise NotImplementedError
