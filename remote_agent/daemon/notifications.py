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
from typing import List, NamedTuple, Optional, Tuple

from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.jobs import JobView
from remote_agent.protocol.notices import Delivery, NotifyTarget
from remote_agent.protocol.states import JobState
from remote_agent.protocol.wire import JsonTable
from remote_agent.storage import files
from remote_agent.storage.paths import Paths
from remote_agent.system.clean_environment import scrubbed

_AT_ONCE = 4
ALWAYS = ("completed", "failed", "lost", "unready", "crash_loop")
"""What is reported when ``on`` does not name anything."""


class _Notice(NamedTuple):
    job: str
    is_of_end: bool
    message: JsonTable


class Notices:
    """The notifications that are being delivered."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._waiting: List[_Notice] = []
        self._running: List[Tuple[_Notice, "subprocess.Popen[bytes]"]] = []
        self.problem = ""
        """The last one that could not be delivered, in words."""

    @property
    def is_busy(self) -> bool:
        """Whether some are not delivered yet."""
        return bool(self._waiting or self._running)

    def is_wanted(self, job: str, event: str) -> bool:
        """Return whether a job asked for a notification of an event: an end, by its state, or one of a service."""
        target = self._target(job)
        return target is not None and event in (ALWAYS if target.on is None else target.on)

    def send(self, view: JobView) -> None:
        """Report a job's end, soon."""
        self._waiting.append(_Notice(view.spec.job, True, message(view)))
        self._go_on()

    def tell(self, view: JobView, event: str, words: str) -> None:
        """Report an event of a replica, soon, where that is wanted; one that a kill of the daemon cuts off is lost."""
        if self.is_wanted(view.spec.job, event):
            self._waiting.append(_Notice(view.spec.job, False, service_message(view, event, words)))
            self._go_on()

    def delivered(self) -> List[str]:
        """Return the jobs the notice of whose end has been delivered, or given up after all its tries."""
        over = [(notice, child) for notice, child in self._running if child.poll() is not None]
        self._running = [pair for pair in self._running if pair not in over]
        for notice, child in over:
            if child.returncode:
                what = "the end" if notice.is_of_end else "an event"
                self.problem = f"[notify] does not work: {what} of job {notice.job[:6]} could not be reported"
                self.problem += "; see daemon.log"
        self._go_on()
        return [notice.job for notice, _ in over if notice.is_of_end]

    def _go_on(self) -> None:
        while self._waiting and len(self._running) < _AT_ONCE:
            try:
                child = self._start(self._waiting[0])
            except OSError:
                return  # the host has no process for it now
            self._running.append((self._waiting.pop(0), child))

    def _start(self, notice: _Notice) -> "subprocess.Popen[bytes]":
        """Start the process; what it is to tell waits for it in a file without a name."""
        with open(self._paths.current_agent, encoding="ascii") as file:
            agent = self._paths.agent(file.read().strip())
        delivery = Delivery(self._target(notice.job) or NotifyTarget(), [notice.message])
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


def service_message(view: JobView, event: str, words: str) -> JsonTable:
    """Return the notification of an event of a replica: "unready" or "crash_loop"."""
    spec, host = view.spec, os.uname().nodename
    service = spec.service.get("name", "")
    what = "does not answer" if event == "unready" else "fails again and again"
    return {
        "event": event,
        "text": f"service {service} ({spec.project}) {what} on {host}: {words}",
        "service": service,
        "reason": words,
        **_whose(view, host),
    }


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
        **_whose(view, host),
        "reason": view.reason,
        "cause": view.cause.words if view.cause else None,
        "exit_code": view.exit_code,
        "started_at": view.started_at,
        "ended_at": view.ended_at,
        "duration": duration,
    }


def _whose(view: JobView, host: str) -> JsonTable:
    """Return what every notification says of its job."""
    spec = view.spec
    return {
        "job": spec.job,
        "name": spec.name or None,
        "project": spec.project,
        "owner": spec.owner or None,
        "host": host,
        "state": view.state.value,
        "attempt": view.attempt,
        "command": list(spec.command),
    }
