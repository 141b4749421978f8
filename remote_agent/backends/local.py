"""Attempts as processes of this host, each owned by a supervisor that outlives the daemon."""

from __future__ import annotations

import functools
import os
import selectors
import signal
import socket
import time
from dataclasses import replace
from typing import Any, Callable, Dict, List, Mapping, Optional, Set

from remote_agent.backends import Attempt, Backend, Status
from remote_agent.core.scheduler import Capacity
from remote_agent.gpu.inventory import allowed
from remote_agent.gpu.source import GpuSource
from remote_agent.protocol import supervision
from remote_agent.protocol.ends import AttemptEnd
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.facts import GpuFacts
from remote_agent.protocol.lease import Lease
from remote_agent.protocol.messages import HostSettings
from remote_agent.protocol.states import EndReason
from remote_agent.protocol.supervision import (
    ENDED,
    RUNNING,
    Dismissal,
    StartOrder,
    StopOrder,
    SupervisorRecord,
    encode,
)
from remote_agent.storage import files
from remote_agent.storage.paths import AttemptPaths, Paths
from remote_agent.system import processes, unix_sockets

_LOOK_SECONDS = 3.0
"""Seconds between two looks at the supervisors themselves."""
_MOST_STOPPED = 3
"""Looks in a row that may find a supervisor stopped, though it is woken each time."""
_OVERDUE_SECONDS = 20.0
"""How long after the grace time a supervisor may take to end its attempt."""


class LocalBackend(Backend):
    """Starts supervisors through the zygote, adopts those that run, and ends what a dead one left."""

    def __init__(self, paths: Paths, agent: str, start: Callable[[StartOrder], None], gpu_source: GpuSource) -> None:
        """Make the backend.

        Args:
            paths: the agent's files.
            agent: content hash of this agent.
            start: has a supervisor forked for an order (the zygote's).
            gpu_source: sees the GPUs.
        """
        self._paths = paths
        self._agent = agent
        self._start = start
        self._gpu_source = gpu_source
        self._cpus = len(os.sched_getaffinity(0))
        self._ram = processes.memory_total()
        self._sockets: Dict[Attempt, socket.socket] = {}
        self._selector = selectors.EpollSelector()
        self._stops: Dict[Attempt, StopOrder] = {}
        self._orders: Dict[Attempt, StartOrder] = {}
        """Orders of this daemon whose attempts have not been heard of."""
        self._done: List[socket.socket] = []
        """Supervisors of this daemon whose attempts have ended: each may take another one, before it goes."""
        self.supervisors: Dict[Attempt, int] = {}
        """Pid of the supervisor of each running attempt, as it said itself."""
        self._overdue: Dict[Attempt, float] = {}
        """When an attempt that is to stop has to be over, on the monotonic clock."""
        self._stopped: Dict[Attempt, int] = {}
        """How many looks in a row have found an attempt's supervisor stopped."""
        self._looked_at = time.monotonic()
        self._unkept: Dict[Attempt, Status] = {}
        """What ``poll`` has given and nobody has acknowledged."""
        self._own: Set[Attempt] = set()
        """Attempts that this daemon started: supervisors of an earlier version take none of them."""

    def fileno(self) -> int:
        """Return a descriptor that is readable when ``poll`` has something new."""
        return self._selector.fileno()

    def capacity(self, leases: Mapping[str, Lease], settings: HostSettings) -> Capacity:
        """Return the CPU slots and the GPUs that hosts.toml allows, and which of those are held.

        There is a slot for each CPU this process may use; a larger ``max_jobs`` is taken as it is. The GPUs of
        ended leases are checked, and our claims are published to other agents.
        """
        self._gpu_source.lease({uuid: job for job, lease in leases.items() for uuid in lease.gpus})
        gpus = tuple(allowed(self._gpu_source.gpus, settings.gpus))
        max_jobs = settings.max_jobs or 0
        return Capacity(
            max(self._cpus, max_jobs), gpus, max_jobs, self._ram, self._gpu_source.held(), self._gpu_source.problem
        )

    def start(self, attempt: Attempt, lease: Lease, is_brief: bool) -> None:
        """Hand the attempt to a supervisor that has just become free, or have one forked and connect to it."""
        job, number = attempt
        order = StartOrder(
            job, number, lease, self._agent, bool(self._gpu_source.gpus), is_brief, **self._of_gpus(lease)
        )
        self._orders[attempt] = order
        self._own.add(attempt)
        while self._done:
            connection = self._done.pop()
            try:
                connection.send(encode(order))
            except OSError:
                connection.close()
                continue
            return self._keep(attempt, connection)
        self._start(order)
        self._connect(attempt)

    def _of_gpus(self, lease: Lease) -> Dict[str, Any]:
        """Return what facts tell of the GPUs of a lease."""
        source = self._gpu_source
        known = {gpu.uuid: GpuFacts(gpu.uuid, gpu.name, gpu.memory_total) for gpu in source.gpus if lease.gpus}
        gpus = [known.get(uuid, GpuFacts(uuid)) for uuid in lease.gpus]
        return {"gpus": gpus, "driver": source.driver, "cuda": source.cuda}

    def poll(self, attempts: List[Attempt]) -> Dict[Attempt, Status]:
        """Return the attempts that have news: what their supervisors said, and those whose supervisor is gone."""
        news = self._unkept
        heard: Set[Attempt] = set()
        if time.monotonic() - self._looked_at > _LOOK_SECONDS:
            self._looked_at = time.monotonic()
            news.update(self.look_at_supervisors())
        for key, _ in self._selector.select(0):
            if key.data not in self._sockets:
                continue
            heard.add(key.data)
            status = self._hear(key.data)
            if status is not None:
                news[key.data] = status
        for attempt in attempts:
            has_ended = attempt in news and news[attempt].phase == ENDED
            if attempt not in self._sockets and attempt not in heard and not has_ended:
                status = self._look(attempt)
                if status is not None:
                    news[attempt] = status
        return dict(news)

    def acknowledge(self) -> None:
        """Forget what ``poll`` has given, and let the supervisors go that have got no further attempt."""
        self._unkept.clear()
        while self._done:
            with self._done.pop() as connection:
                try:
                    connection.send(encode(Dismissal()))
                except OSError:
                    pass  # it has gone already

    def close(self) -> None:
        """Leave the supervisors: each says where it is to whoever connects again."""
        for connection in [*self._sockets.values(), *self._done]:
            connection.close()
        self._sockets.clear()
        self._selector.close()

    def adopt(self, attempt: Attempt) -> bool:
        """Return whether a supervisor has ever taken this attempt; ``poll`` connects to it."""
        return os.path.exists(self._paths.job(attempt[0]).attempt(attempt[1]).folder)

    def stop(self, attempt: Attempt, by: str, grace: float) -> None:
        """Pass the request on to the supervisor; one that does not end the attempt in time is ended with it."""
        self._stops[attempt] = StopOrder(by, grace)
        self._overdue[attempt] = time.monotonic() + grace + _OVERDUE_SECONDS
        self._send_stop(attempt)

    def _send_stop(self, attempt: Attempt) -> None:
        connection, order = self._sockets.get(attempt), self._stops.get(attempt)
        if connection is not None and order is not None:
            try:
                connection.send(encode(order))
            except OSError:
                pass  # it is ending: the end of its socket says so

    def _connect(self, attempt: Attempt) -> bool:
        connection = unix_sockets.connect(self._paths.supervisor_sockets(*attempt), socket.SOCK_SEQPACKET)
        if connection is None:
            return False
        connection.setblocking(False)
        self._keep(attempt, connection)
        return True

    def _keep(self, attempt: Attempt, connection: socket.socket) -> None:
        self._sockets[attempt] = connection
        self._selector.register(connection, selectors.EVENT_READ, attempt)
        self._send_stop(attempt)

    def _hear(self, attempt: Attempt) -> Optional[Status]:
        connection = self._sockets[attempt]
        try:
            message = connection.recv(65536)
        except BlockingIOError:
            return None
        except OSError:
            message = b""
        if not message:
            self._leave(attempt)
            connection.close()
            return self._look(attempt)
        report = supervision.report_of(message)
        if report is None:
            return None
        self._orders.pop(attempt, None)
        if report.type == RUNNING and report.supervisor:
            self.supervisors[attempt] = report.supervisor
        if report.type == ENDED:
            self._leave(attempt)
            self._stops.pop(attempt, None)
            if attempt in self._own:
                self._own.discard(attempt)
                self._done.append(connection)
            else:
                connection.close()
        return Status(report.type, report.started_at, report.end, report.supervisor, report.readiness)

    def _leave(self, attempt: Attempt) -> None:
        self._selector.unregister(self._sockets.pop(attempt))
        self.supervisors.pop(attempt, None)
        self._overdue.pop(attempt, None)

    def _look(self, attempt: Attempt) -> Optional[Status]:
        """Find out, from its files and processes, about an attempt whose supervisor is not connected."""
        attempt_files = self._paths.job(attempt[0]).attempt(attempt[1])
        if self._connect(attempt):
            return None  # it speaks for itself, whatever lies in the folder that its job can write to
        end = _written_end(attempt_files)
        if end is not None:
            self._stops.pop(attempt, None)
            return Status(ENDED, end=end)
        order = self._orders.pop(attempt, None)
        if order is not None and not self.adopt(attempt):
            self._start_again(attempt, order)
            return None
        record = supervision.record_of(files.read_json(attempt_files.supervisor))
        if processes.is_alive(record.supervisor):
            return None  # alive, out of reach of our sockets: looked at again by the clock
        # It may have ended since the first look.
        return Status(ENDED, end=_written_end(attempt_files) or self._end_orphans(record))

    def _start_again(self, attempt: Attempt, order: StartOrder) -> None:
        """Start an attempt whose supervisor went before it had begun; without a process for it, at the next look."""
        self._orders[attempt] = order
        try:
            self._start(order)
        except ConnectionError:
            raise
        except OSError:
            return
        self._connect(attempt)

    def _end_orphans(self, record: SupervisorRecord) -> AttemptEnd:
        """End what a dead supervisor left and return the end of a lost attempt."""
        if record.supervisor is not None and record.supervisor.boot != processes.boot_id():
            return _lost(EndReason.HOST_REBOOTED, "the host was rebooted while the job ran")
        killed = 0
        if record.token:
            session = record.session
            if session and processes.start_time(session) not in (None, record.session_start):
                session = None  # the number is somebody else's by now
            killed = processes.kill_all(functools.partial(processes.members_of_attempt, record.token, session))
        words = "its supervisor was killed, so its end was not seen"
        return _lost(EndReason.SUPERVISOR_DIED, words + (f"; {killed} processes of it were ended" if killed else ""))

    def look_at_supervisors(self) -> Dict[Attempt, Status]:
        """Wake supervisors that were stopped (SIGSTOP), and end the attempts of those that cannot do their work.

        Returns:
            The attempts that were ended: one whose supervisor stays stopped, and one that was to stop and does not.
        """
        ended: Dict[Attempt, Status] = {}
        now = time.monotonic()
        for attempt, pid in list(self.supervisors.items()):
            overdue = now > self._overdue.get(attempt, now)
            if not processes.is_stopped(pid):
                self._stopped.pop(attempt, None)
            else:
                self._stopped[attempt] = self._stopped.get(attempt, 0) + 1
                processes.send_signal(pid, signal.SIGCONT, processes.start_time(pid))
            if overdue or self._stopped.get(attempt, 0) > _MOST_STOPPED:
                ended[attempt] = self._end_by_force(attempt, pid)
        return ended

    def _end_by_force(self, attempt: Attempt, pid: int) -> Status:
        """End an attempt, and the supervisor that does not."""
        stop = self._stops.pop(attempt, None)
        words = "its supervisor was stopped again and again (SIGSTOP), so it was ended from outside"
        processes.kill_all(lambda among: [*processes.descendants(pid, among), pid])
        attempt_files = self._paths.job(attempt[0]).attempt(attempt[1])
        record = supervision.record_of(files.read_json(attempt_files.supervisor))
        end = self._end_orphans(replace(record, supervisor=None))
        written = None if attempt in self._stopped else _written_end(attempt_files)
        if written is not None:
            end = written  # it was only slow to say so
        elif stop is not None:
            by = stop.by or "its owner"
            end = replace(end, reason_code=EndReason.STOPPED_BY_USER.value, reason=f"stopped by {by}, by force")
        else:
            end = replace(end, reason=words)
        if attempt in self._sockets:
            connection = self._sockets[attempt]
            self._leave(attempt)
            connection.close()
        self._own.discard(attempt)
        self._overdue.pop(attempt, None)
        self._stopped.pop(attempt, None)
        return Status(ENDED, end=end)


def _written_end(attempt: AttemptPaths) -> Optional[AttemptEnd]:
    """Return the end that an exit record tells; None when there is none that makes sense."""
    try:
        return AttemptEnd.received(files.read_json(attempt.exit), "an exit record")
    except (BadRequest, RecursionError):
        return None


def _lost(reason: EndReason, words: str) -> AttemptEnd:
    return AttemptEnd(reason.value, words, ended_at=0.0)
