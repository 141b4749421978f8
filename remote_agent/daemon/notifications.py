"""Notifications that a job has ended, sent by the host itself, so that they work with every laptop closed.

Each is delivered by a child process of its own (``notify``), so that a web server that hangs holds up nothing. Text and
address reach it through standard input, since an address may be a secret. An end is reported at least once.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from typing import Dict, List, Optional

from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.jobs import JobView
from remote_agent.protocol.notices import Delivery, NotifyTarget
from remote_agent.protocol.states import JobState
from remote_agent.protocol.wire import JsonTable
from remote_agent.storage import files
from remote_agent.storage.paths import Paths
from remote_agent.system.clean_environment import scrubbed

_AT_ONCE = 4
ALWAYS = ("completed", "failed", "lost")
"""The ends that are reported when ``on`` does not name any."""


class Notices:
    """The notifications that are being delivered."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._waiting: List[JobView] = []
        self._running: Dict[str, "subprocess.Popen[bytes]"] = {}
        self.problem = ""
        """The last end that could not be delivered, in words."""

    @property
    def is_busy(self) -> bool:
        """Whether some are not delivered yet."""
        return bool(self._waiting or self._running)

    def is_wanted(self, job: str, state: JobState) -> bool:
        """Return whether a job asked for a notification of such an end."""
        target = self._target(job)
        return target is not None and state.value in (ALWAYS if target.on is None else target.on)

    def send(self, view: JobView) -> None:
        """Report a job's end, soon."""
        self._waiting.append(view)
        self._go_on()

    def delivered(self) -> List[str]:
        """Return the jobs whose notice has been delivered, or given up after all its tries."""
        ended = [job for job, child in self._running.items() if child.poll() is not None]
        for job in ended:
            if self._running.pop(job).returncode:
                self.problem = f"[notify] does not work: the end of job {job[:6]} could not be reported; see daemon.log"
        self._go_on()
        return ended

    def _go_on(self) -> None:
        while self._waiting and len(self._running) < _AT_ONCE:
            try:
                child = self._start(self._waiting[0])
            except OSError:
                return  # the host has no process for it now
            self._running[self._waiting.pop(0).spec.job] = child

    def _start(self, view: JobView) -> "subprocess.Popen[bytes]":
        """Start the process; what it is to tell waits for it in a file without a name."""
        with open(self._paths.current_agent, encoding="ascii") as file:
            agent = self._paths.agent(file.read().strip())
        delivery = Delivery(self._target(view.spec.job) or NotifyTarget(), [message(view)])
        with tempfile.TemporaryFile() as order:
            order.write(json.dumps(delivery.to_wire()).encode())
            order.seek(0)
            return subprocess.Popen(
                [sys.executable, "-I", "-S", "-E", agent, "notify", self._paths.root],
                stdin=order,
                stdout=subprocess.DEVNULL,
                env=scrubbed(dict(os.environ)),
            )

    def _target(self, job: str) -> Optional[NotifyTarget]:
        """Return whom a job asked to tell; None for nobody."""
        private = files.read_json(self._paths.job(job).private)
        try:
            return NotifyTarget.from_wire(private["notify"]) if isinstance(private, dict) else None
        except (KeyError, BadRequest):
            return None


def message(view: JobView) -> JsonTable:
    """Return the notification of a job's end; ``text`` is one line, as chat webhooks want it."""
    spec = view.spec
    name = spec.name or spec.job[:6]
    host = os.uname().nodename
    why = f": {view.reason}" if view.reason and view.state is not JobState.COMPLETED else ""
    duration = round(view.ended_at - view.started_at, 3) if view.ended_at and view.started_at else None
    return {
        "event": "job_ended",
        "text": f"{name} ({spec.project}) {view.state.value} on {host}{why}",
        "job": spec.job,
        "name": spec.name or None,
        "project": spec.project,
        "owner": spec.owner or None,
        "host": host,
        "state": view.state.value,
        "reason": view.reason,
        "cause": view.cause.words if view.cause else None,
        "exit_code": view.exit_code,
        "attempt": view.attempt,
        "command": list(spec.command),
        "started_at": view.started_at,
        "ended_at": view.ended_at,
        "duration": duration,
    }
