"""What requests are answered from: the parts of the daemon, without its loop and its connections."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Optional

from remote_agent.daemon.commit_thread import Syncer
from remote_agent.daemon.engine import Engine
from remote_agent.daemon.sampler import Sampler
from remote_agent.gpu.probe import GpuProbe
from remote_agent.protocol.jobs import JobView
from remote_agent.storage.paths import Paths
from remote_agent.system import login


class Entries:
    """The last large job that was asked for, as bytes: it is asked for page by page."""

    def __init__(self) -> None:
        self._key = ("", 0)
        self._data = b""

    def encoded(self, view: JobView) -> bytes:
        """Return a job as JSON."""
        if self._key != (view.spec.job, view.seq):
            self._key, self._data = (view.spec.job, view.seq), json.dumps(view.to_wire()).encode()
        return self._data


@dataclass
class Parts:
    """The parts that handlers see."""

    paths: Paths
    agent: str
    """Content hash of this agent."""
    engine: Engine
    probe: GpuProbe
    sampler: Sampler
    syncer: Syncer
    question: Optional[login.LoginQuestion] = None
    """What the user's login shell was asked."""
    entries: Entries = field(default_factory=Entries)
    asked_at: float = 0.0
    """When a client last asked what this host has, on the monotonic clock."""
    stopping: bool = False
    """Whether a client has asked for the end of the daemon."""
