"""A replica of a service, looked at by its supervisor: where it listens, whether it answers, whether it is alive.

All of it happens in the supervisor's own loop, so that a laptop or a daemon that is gone changes nothing.
"""

from __future__ import annotations

import json
import os
import selectors
import shutil
import stat
import tempfile
import time
from dataclasses import replace
from typing import Callable, Dict, List, Optional, Tuple

from remote_agent.protocol import models, services
from remote_agent.protocol.errors import AgentError, BadRequest
from remote_agent.protocol.jobs import JobSpec
from remote_agent.protocol.services import Probes, Readiness, Traffic
from remote_agent.protocol.states import EndReason
from remote_agent.storage import files
from remote_agent.storage.paths import AttemptPaths, Paths, ServicePaths
from remote_agent.supervisor import traffic
from remote_agent.supervisor.probe import Outcome, Place, Probe
from remote_agent.supervisor.serving_series import Series
from remote_agent.supervisor.traffic import Counts
from remote_agent.system import processes, sockets
from remote_agent.system.sockets import Listener

_STARTUP_PERIOD = 0.5
"""Seconds between two looks until it is ready for the first time, at least."""
_STARTUP_SHARE = 0.05
"""And at least this share of the time for which it has been waited."""
_READY_MISSES, _LIVE_MISSES = 2, 3
"""Probes in a row that fail before it counts as not ready, and as dead: both within three periods."""
_FOLDER_PREFIX = "foundations-service-"
_LONGEST_SOCKET_PATH = 100
"""A Unix socket's address has 108 bytes, unix(7)."""
_LEAST_DRAIN, _DRAIN_LOOK = 2.5, 0.2
"""Seconds until all who send requests know that it is ending, and between two looks whether any are left."""
_GRACE = 5.0
"""Seconds that one gets which answers nobody any more, or must not be there."""
_OF_THE_CLIENT = (401, 403)
"""It answers; whether we may see more is not the question."""


class Replica:
    """What one attempt of a replica needs to be reached, and how it is."""

    def __init__(self, paths: Paths, spec: JobSpec, attempt: int, selector: selectors.BaseSelector) -> None:
        """Choose where it is to listen.

        Args:
            paths: the agent's files.
            spec: its job.
            attempt: which of its attempts.
            selector: of the supervisor; calls the data of what is ready.
        Raises:
            AgentError: its token is gone.
        """
        self._serving = spec.serving
        self._files: ServicePaths = paths.service(self._serving.name)
        self._selector = selector
        self._token = _token(self._files, self._serving.name)
        self._socket, self._socket_folder = "", ""
        self._port = 0
        if services.takes_socket(spec.command):
            self._socket, self._socket_folder = _socket_path(self._files, spec.job)
        else:
            self._port = self._serving.port or sockets.free_port()
        self.readiness = Readiness()
        self._counts = Counts() if self._serving.model and spec.command[-2:] == ("--socket", services.SOCKET) else None
        """Of the model server, as last read; None for what has no counters that are known here."""
        self._traffic = Traffic()
        self._series = Series(paths.job(spec.job).attempt(attempt).serving)
        if self._counts is not None:
            _show_requests(self._files, paths.job(spec.job).attempt(attempt), f"{spec.job}-{attempt}")
        self._probes, self._probes_changed = Probes(), 0.0
        self._probe: Optional[Probe] = None
        self._members: Callable[[], List[int]] = list
        self._pid = 0
        self._began = self._due_at = 0.0
        self._drained_by = self._drain_look_at = 0.0
        self._was_ready = self._speaks_http = False
        self._ready_misses = self._live_misses = self._stopped_looks = 0
        self.tell: Callable[[Readiness], None] = lambda readiness: None
        """Called when what is known of it has changed."""
        self.give_up: Callable[[EndReason, str, float], None] = lambda reason, words, grace: None
        """Called when it is to be ended: why, and the seconds that it gets for it."""

    def variables(self) -> Dict[str, str]:
        """Return the variables that it finds."""
        return self._serving.environment(self._port, self._socket, self._token)

    def filled(self, spec: JobSpec) -> JobSpec:
        """Return the specification with the placeholders of its command filled."""
        path = os.path.expanduser(str(spec.data.get(models.DATA, {}).get("path", "")))
        return replace(spec, command=services.fill(spec.command, self._port, self._socket, path))

    def begin(self, pid: int, members: Callable[[], List[int]]) -> None:
        """Begin to look: its process runs.

        Args:
            pid: of its main process.
            members: returns the pids of all its processes.
        """
        self._pid, self._members = pid, members
        self._began = self._due_at = time.monotonic()
        self._say(Readiness(warming=True))

    def due(self) -> List[float]:
        """Return when it has to be looked at, on the monotonic clock; nothing before it runs."""
        if not self._pid:
            return []
        return [self._due_at, self._probe.deadline] if self._probe is not None else [self._due_at]

    def look(self, now: float) -> None:
        """Look at it, if that is due."""
        if self._probe is not None:
            self._probe.check(now)
        if not self._pid or now < self._due_at:
            return
        self._read_probes()
        self._due_at = now + self._pause(now)
        listeners = sockets.listening(self._members())
        why_not = self._why_it_ends(now, listeners)
        if why_not is not None:
            return self._end(*why_not)
        if self._probe is None:
            place = self._place(listeners)
            if place:
                self._ask(place)
            else:
                why = self._why_nowhere(listeners)
                self._missed(why, at_once=True)
                self._count_life(why if self._probes.live else "")

    def _pause(self, now: float) -> float:
        """Return the seconds until the next look: short ones until it is ready for the first time."""
        if self._was_ready:
            return self._probes.period
        return min(self._probes.period, max(_STARTUP_PERIOD, _STARTUP_SHARE * (now - self._began)))

    def begin_to_drain(self, now: float, grace: float) -> bool:
        """Say that no further request is to come, and return whether there may be some on their way.

        Args:
            now: on the monotonic clock.
            grace: seconds that those have at most.
        """
        self._drained_by = now + grace
        self._drain_look_at = min(now + _LEAST_DRAIN, self._drained_by)
        was_ready = self.readiness.ready and self._pid != 0
        if self._probe is not None:
            self._probe.cancel()  # its answer would say that it is ready
            self._probe = None
        self._say(Readiness(why="it is ending"))
        return was_ready

    def has_drained(self, now: float) -> bool:
        """Return whether nobody is connected any more, or the time for that is over."""
        if now < self._drain_look_at:
            return False
        if self._socket:
            left = sockets.unix_connections(self._pid, self._socket)
        else:
            left = sockets.connections(self._pid, self._port)
        self._drain_look_at = now + _DRAIN_LOOK
        return not left or now >= self._drained_by

    def drain_due(self) -> float:
        """Return when ``has_drained`` is to be asked again, on the monotonic clock."""
        return min(self._drain_look_at, self._drained_by)

    def close(self) -> None:
        """Stop looking; its socket goes."""
        self._pid = 0
        if self._probe is not None:
            self._probe.cancel()
            self._probe = None
        if self._socket_folder:
            shutil.rmtree(self._socket_folder, ignore_errors=True)
        elif self._socket:
            try:
                os.unlink(self._socket)
            except OSError:
                pass  # it has removed it itself

    # --- what it must not do --------------------------------------------------------------------------------------

    def _why_it_ends(self, now: float, listeners: List[Listener]) -> Optional[Tuple[EndReason, str]]:
        """Return why it cannot stay; None where it can."""
        exposed = [one for one in listeners if not one.is_loopback]
        if exposed and not self._serving.open_to_network:
            where = ", ".join(f"{one.address}:{one.port}" for one in exposed[:3])
            words = f"it listens on {where}, beyond this host: bind it to 127.0.0.1, or serve it with --open-to-network"
            return EndReason.EXPOSED, words
        if not self._was_ready and now - self._began > self._probes.startup:
            why = f": {self.readiness.why}" if self.readiness.why else ""
            return EndReason.UNHEALTHY, f"it was not ready within {self._probes.startup:g} s{why}"
        self._stopped_looks = self._stopped_looks + 1 if processes.is_stopped(self._pid) else 0
        if self._stopped_looks >= _LIVE_MISSES:
            return EndReason.UNHEALTHY, "it was stopped (SIGSTOP) and did not go on"
        if self._stopped_looks:
            self._say(Readiness(why="it is stopped (SIGSTOP)"))
        return None

    def _end(self, reason: EndReason, words: str) -> None:
        is_stopped = processes.is_stopped(self._pid)  # it would not even see its stop signal
        self._pid = 0
        self._say(Readiness(why=words))
        self.give_up(reason, words, 0.0 if is_stopped else _GRACE)

    # --- whether it answers ---------------------------------------------------------------------------------------

    def _why_nowhere(self, listeners: List[Listener]) -> str:
        """Return that it does not listen where it should, in words."""
        if not listeners:
            return "it listens nowhere" + ("" if self._was_ready else " yet")
        where = ", ".join(sorted({str(one.port) for one in listeners}))
        return f"it listens on port {where}, not on {self._socket or f'{self._port} (the one of {{port}} and $PORT)'}"

    def _place(self, listeners: List[Listener]) -> Place:
        """Return where it listens; "" for nowhere. A port that another process has taken is nowhere."""
        if self._socket:
            return self._socket if _is_socket(self._socket) else ""
        return next(((one.reachable_at, one.port) for one in listeners if one.port == self._port), "")

    def _ask(self, place: Place) -> None:
        """Probe it: for readiness, and where its liveness has a path of its own, for that after it."""

        def answered(outcome: Outcome) -> None:
            self._probe = None
            self._speaks_http = self._speaks_http or outcome.status > 0
            why_not = self._why_not_ready(outcome)
            if why_not:
                self._missed(why_not, at_once=outcome.status > 0)
            else:
                self._answered(place)
            if self._probes.live and self._pid:
                self._ask_for_life(place)
            elif self._counts is not None and self._pid:
                self._read_counts(place)

        self._begin_probe(place, self._probes.ready or "/", answered)

    def _why_not_ready(self, outcome: Outcome) -> str:
        """Return why a probe says that it is not ready; "" where it is.

        Where no path was named, any answer will do, and of a server that has never spoken HTTP, a connection.
        """
        if not self._probes.ready:
            is_enough = outcome.status or (outcome.connected and not self._speaks_http)
            return "" if is_enough else outcome.why
        if outcome.status >= 400 and outcome.status not in _OF_THE_CLIENT:
            return f"{self._probes.ready} answered {outcome.status}"
        return outcome.why

    def _ask_for_life(self, place: Place) -> None:
        def answered(outcome: Outcome) -> None:
            self._probe = None
            self._count_life(outcome.why)
            if self._counts is not None and self._pid:
                self._read_counts(place)

        self._begin_probe(place, self._probes.live, answered)

    def _read_counts(self, place: Place) -> None:
        """Read what the model server has counted, and tell what came of that since the last time."""

        def answered(outcome: Outcome) -> None:
            self._probe = None
            counts = traffic.counts_of(outcome.text, time.monotonic())
            if counts is None or self._counts is None:
                return
            self._traffic, self._counts = traffic.between(self._counts, counts), counts
            self._series.take(counts, time.time())
            self._say(self.readiness)

        self._begin_probe(place, "/metrics", answered, reads_all=True)

    def _count_life(self, why: str) -> None:
        """Take note of whether its liveness was answered, and end it when it was not for a while.

        Args:
            why: why there was no answer, in words; "" for one.
        """
        self._live_misses = self._live_misses + 1 if why else 0
        if self._live_misses >= _LIVE_MISSES and self._was_ready:
            words = f"{self._probes.live} was not answered {_LIVE_MISSES} times: {why}"
            self._end(EndReason.UNHEALTHY, words)

    def _begin_probe(
        self, place: Place, path: str, answered: Callable[[Outcome], None], reads_all: bool = False
    ) -> None:
        outcomes: List[Outcome] = []

        def done(outcome: Outcome) -> None:
            outcomes.append(outcome)
            answered(outcome)

        try:
            probe = Probe(self._selector, place, path, self._token, self._probes.timeout, done, reads_all)
        except OSError as error:  # this host has no socket for it now
            return answered(Outcome(False, why=f"it cannot be probed ({error.strerror})"))
        if not outcomes:  # there may be one at once
            self._probe = probe

    def _answered(self, place: Place) -> None:
        self._was_ready = True
        self._ready_misses = 0
        if self._stopped_looks:
            return  # the kernel takes connections for it
        if isinstance(place, str):
            self._say(Readiness(ready=True, socket=place))
        else:
            self._say(Readiness(ready=True, address=place[0], port=place[1]))

    def _missed(self, why: str, at_once: bool = False) -> None:
        """Take note that it is not ready.

        Args:
            why: in words.
            at_once: it says so itself; a probe that only failed changes nothing alone.
        """
        self._ready_misses += 1
        if not self._was_ready:
            self._say(Readiness(warming=True, why=why))
        elif at_once or self._ready_misses >= _READY_MISSES:
            self._say(Readiness(why=why))

    def _say(self, now: Readiness) -> None:
        """Say how it is; since when, and where it was last, are kept."""
        last = self.readiness
        is_new = (last.ready, last.warming) != (now.ready, now.warming) or not last.since
        since = time.time() if is_new else last.since
        places = (now.address or last.address, now.port or last.port, now.socket or last.socket)
        said = Readiness(now.ready, now.warming, now.why, since, *places, self._traffic)
        if said != last:
            self.readiness = said
            self.tell(said)

    def _read_probes(self) -> None:
        """Read how it is probed, if that has changed; what makes no sense is left as it was."""
        try:
            changed = os.stat(self._files.probes).st_mtime
        except OSError:
            return
        if changed != self._probes_changed:
            self._probes_changed = changed
            try:
                self._probes = Probes.from_wire(files.read_json(self._files.probes), "probes")
            except BadRequest:
                return


def _show_requests(service: ServicePaths, attempt: AttemptPaths, name: str) -> None:
    """Link the records of an attempt below its service, where jobs of this host look for its request log."""
    try:
        os.makedirs(service.requests, 0o700, exist_ok=True)
        for old in os.listdir(service.requests):
            if not os.path.exists(os.path.join(service.requests, old)):
                os.unlink(os.path.join(service.requests, old))  # of an attempt that was removed
        os.symlink(attempt.records, os.path.join(service.requests, name))
    except OSError:
        pass  # a full disk, or a supervisor of before has made it


def _token(paths: ServicePaths, name: str) -> str:
    try:
        with open(paths.token, encoding="ascii") as file:
            return file.read(1000).strip()
    except (OSError, ValueError):
        raise AgentError(f"the token of service {name} is not on this host any more; serve it again") from None


def _socket_path(service: ServicePaths, job: str) -> Tuple[str, str]:
    """Return where a Unix socket is to be, and the folder that was made for it; "" where that is the service's own.

    A folder of a supervisor that was killed is removed by the next one.
    """
    path = os.path.join(service.folder, f"{job}.sock")
    if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH:
        try:
            os.unlink(path)  # of an attempt that was killed
        except OSError:
            pass
        return path, ""
    noted = os.path.join(service.folder, f"{job}.folder")
    earlier = files.read_json(noted)
    if isinstance(earlier, str) and os.path.basename(earlier).startswith(_FOLDER_PREFIX):
        shutil.rmtree(earlier, ignore_errors=True)
    made = tempfile.mkdtemp(prefix=_FOLDER_PREFIX)  # 0700
    files.write_bytes(noted, json.dumps(made).encode(), durable=False)
    return os.path.join(made, "service.sock"), made


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False
