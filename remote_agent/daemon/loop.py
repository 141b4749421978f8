"""The daemon: one process a user, host and root; a selectors loop over an abstract Unix socket.

Each turn: take what clients sent, let the engine advance, commit once, then answer. It can be killed at any
instant. With no client and no job it exits after IDLE_EXIT seconds.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import selectors
import signal
import socket
import sys
import time
from typing import Dict, List, Optional, Tuple, Union

from remote_agent.daemon import handlers, owner
from remote_agent.daemon.commit_thread import Syncer
from remote_agent.daemon.connections import Connection, Connections, Sendable
from remote_agent.daemon.engine import Engine
from remote_agent.daemon.parts import Parts
from remote_agent.daemon.sampler import Sampler
from remote_agent.daemon.watchers import Watchers
from remote_agent.gpu import probe
from remote_agent.protocol import framing
from remote_agent.protocol.errors import AgentError, BadRequest, ProtocolError, StorageBroken
from remote_agent.storage import files
from remote_agent.storage.paths import Paths
from remote_agent.system import failpoints, login, processes

IDLE_EXIT = 30 * 60.0
_ASKED_LATELY = 15.0
"""Seconds for which a client that asked what the host has counts as interested."""
_LOGIN_LOOK = 0.005
"""Seconds between two looks whether the login shell has answered."""
_WRITE_LATER = 0.02
"""Seconds that an event may stay unwritten which nobody waits for."""
_LOOK_AGAIN = 1.0
"""Seconds between two looks at attempts whose supervisor is not connected, while any is active."""

log = logging.getLogger(__name__)


class Daemon:
    """The loop and its connections."""

    def __init__(
        self,
        paths: Paths,
        agent: str,
        engine: Engine,
        gpu_source: probe.GpuProbe,
        listener: socket.socket,
        question: Optional[login.LoginQuestion] = None,
    ) -> None:
        self.paths = paths
        if question is not None:
            engine.is_ready = lambda: not question.is_open
        self.engine = engine
        self.probe = gpu_source
        self.sampler = Sampler(paths)
        self.syncer = Syncer()
        self.parts = Parts(paths, agent, engine, gpu_source, self.sampler, self.syncer, question)
        self._answers: List[Tuple[Connection, int, Sendable]] = []
        self._deferred: List[Tuple[Connection, framing.Frame]] = []
        """Requests that have to wait until a slow disk has answered."""
        self._unwritten_since = 0.0
        self._last_busy = time.monotonic()
        self._last_beat = time.monotonic()
        self._selector = selectors.DefaultSelector()
        self.connections = Connections(listener, self._selector, self._handle)
        self.watchers = Watchers(paths, engine, self.connections, self._selector)
        engine.lifecycle.peak_gpu_memory = self.sampler.peak_gpu_memory_of
        self._selector.register(engine.backend, selectors.EVENT_READ, lambda mask: None)
        self._selector.register(self.syncer, selectors.EVENT_READ, lambda mask: None)
        self._is_broken = False
        """Whether the last turn could not be written down."""

    def run(self) -> None:
        """Serve until asked to stop or idle for long."""
        while not self.parts.stopping and not self._idle_for_long():
            self.turn()
        self.connections.flush()

    def wake_on_signals(self) -> None:
        """Have a signal end the wait for sockets."""
        woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self._selector.register(woken, selectors.EVENT_READ, lambda mask: os.read(woken, 4096))

    def turn(self) -> None:
        """One turn of the loop: requests, engine, commit, answers, notices."""
        for key, mask in self._selector.select(self._timeout()):
            key.data(mask)
        self._look_around()
        if self.syncer.is_busy and self.syncer.is_over():
            self._finish_commit(self.syncer.take_result())
        if not self.syncer.is_busy:
            self._decide()
        self.watchers.follow()
        if not self.syncer.is_busy:
            self.watchers.answer()  # what is not durable is not told
        self._beat()

    def _decide(self) -> None:
        """Take in what waited and happened, decide, and begin to make it durable."""
        deferred, self._deferred = self._deferred, []
        for connection, frame in deferred:
            self._handle(connection, frame)
        self.engine.advance()
        self._is_broken = False
        if not self._has_to_write():
            return
        try:
            if not self.engine.ledger.begin_commit():
                self._send_answers()
            elif self.syncer.start(self.engine.journal.sync):
                self._finish_commit(self.syncer.take_result())
        except StorageBroken as error:
            self._break(error)

    def _has_to_write(self) -> bool:
        """Return whether something waits for being written down; what nobody waits for is written a little later."""
        now = time.monotonic()
        if not self.engine.journal.has_pending:
            self._unwritten_since = now
        elif now - self._unwritten_since > _WRITE_LATER:
            return True
        return self.engine.ledger.is_urgent or bool(self._answers)

    def _finish_commit(self, error: Optional[OSError]) -> None:
        try:
            self.engine.ledger.finish_commit(error)
            self._send_answers()
        except StorageBroken as broken:
            self._break(broken)

    def _break(self, error: StorageBroken) -> None:
        """Nothing that was decided counts: say so to whoever asked for it."""
        self._is_broken = True
        self._answers = [(c, i, error) for c, i, _ in self._answers]
        self._send_answers()

    def _look_around(self) -> None:
        """Look at the GPUs and take samples, while anybody is interested."""
        leases = self.engine.state.leases
        if self.probe.tick(self._look_interval):
            self.engine.replan()
        if (leases or self._is_watched) and self.sampler.due() == 0.0:
            held = {job: lease.gpus for job, lease in leases.items()}
            strangers: Dict[str, List[Tuple[int, int]]] = {}
            for process in self.probe.occupancy.look.processes:
                if not process.job and process.uid is not None:
                    strangers.setdefault(process.uuid, []).append((process.uid, process.pid))
            self.sampler.sample(self.engine.lifecycle.pids, held, self.probe.gpus, strangers)

    @property
    def _look_interval(self) -> Optional[float]:
        """Seconds between two looks at the GPUs; None for none."""
        was_asked = time.monotonic() - self.parts.asked_at < _ASKED_LATELY
        if self._is_watched or was_asked or self.engine.state.queue:
            return probe.CLOSE_INTERVAL
        return None if self.engine.is_idle else probe.INTERVAL

    @property
    def _is_watched(self) -> bool:
        return bool(self.connections.watching())

    # --- requests -------------------------------------------------------------------------------------------------

    def _handle(self, connection: Connection, frame: framing.Frame) -> None:
        request_id = frame.message.get("id", 0)
        if type(request_id) is not int or not 0 <= request_id < 1 << 53:
            raise ProtocolError("a request whose id is no number")
        if self.syncer.is_busy and frame.message.get("method") not in handlers.AT_ANY_TIME:
            self._deferred.append((connection, frame))
            return
        failpoints.point("daemon.request")
        answer: Union[handlers.Reply, AgentError]
        try:
            answer = handlers.handle(self.parts, frame)
        except AgentError as error:
            answer = error
        except (KeyError, TypeError, ValueError) as error:
            answer = BadRequest(f"bad parameters of {frame.message.get('method')}: {ascii(error)[:200]}")
        except OSError as error:
            answer = AgentError(f"{error.strerror}: {error.filename}" if error.filename else str(error))
        except Exception as error:  # a fault of ours ends neither the daemon nor anybody's job
            log.exception("a request failed")
            self.engine.ledger.rollback()
            self._break(StorageBroken("another request met a fault of the agent's; try again"))
            answer = AgentError(f"this is a bug of the agent: {type(error).__name__}: {error}")
        if isinstance(answer, handlers.PendingWatch):
            self.watchers.add(connection, dataclasses.replace(answer, request_id=request_id))
        elif self.syncer.is_busy:
            self.connections.send(connection, request_id, answer)
        else:
            self._answers.append((connection, request_id, answer))

    def _send_answers(self) -> None:
        answers, self._answers = self._answers, []
        for connection, request_id, answer in answers:
            self.connections.send(connection, request_id, answer)
        if answers:
            failpoints.point("daemon.answered")

    # --- time -------------------------------------------------------------------------------------------------

    def _timeout(self) -> float:
        now = time.monotonic()
        waits = [60.0 if self.engine.is_ready() else _LOGIN_LOOK]
        if self.engine.is_unsettled and not self.syncer.is_busy:
            waits.append(_LOOK_AGAIN if self._is_broken else 0.0)
        if self.engine.journal.has_pending:
            waits.append(_WRITE_LATER)
        if self.engine.state.active:
            waits.append(_LOOK_AGAIN)
        due = self.probe.due(self._look_interval)
        if due is not None:
            waits.append(due)
        if self.engine.state.leases or self._is_watched:
            waits.append(self.sampler.due())
        if self.engine.notices.is_busy:
            waits.append(0.2)
        due_by_clock = self.engine.due
        if due_by_clock is not None:
            waits.append(max(due_by_clock, _LOOK_AGAIN) if self._is_broken else due_by_clock)
        if self._is_watched and self.engine.state.queue:
            waits.append(1.0)
        waits += self.watchers.due()
        if self.syncer.is_busy:
            waits = [wait for wait in waits if wait] or [_LOOK_AGAIN]
        waits.append(max(0.0, self._last_beat + owner.HEARTBEAT - now))
        return min(waits)

    def _beat(self) -> None:
        now = time.monotonic()
        if self.connections.all or not self.engine.is_idle:
            self._last_busy = now
        if now - self._last_beat >= owner.HEARTBEAT:
            self._last_beat = now
            self.probe.claims.touch()
            files.keep_reserve(self.paths.reserve)
            if self.engine.is_idle and not self.syncer.is_busy and not self.engine.is_unsettled:
                self.engine.ledger.compact_if_due()
            if not owner.beat(self.paths):
                log.error("another agent has taken over this root")
                self.parts.stopping = True

    def _idle_for_long(self) -> bool:
        return time.monotonic() - self._last_busy > IDLE_EXIT


def main(root: str, agent: str, report: Optional[int] = None) -> int:
    """Run the daemon of a root.

    Args:
        root: the agent's folder.
        agent: content hash of this agent.
        report: descriptor for one line: empty when this root is being served, else why it is not.
    Returns:
        The exit code; 0 also when another daemon already serves this root.
    """
    from remote_agent.daemon import startup  # the order of start-up matters: see there

    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    paths = Paths(root)
    processes.forget_shell()
    try:
        started = startup.start(paths, agent, report)
    except (AgentError, OSError) as error:
        log.error("the agent cannot start: %s", error)
        _report(report, str(error))
        return 1
    _report(report, "")
    if started is None:
        return 0
    daemon = Daemon(paths, agent, *started)
    daemon.wake_on_signals()
    signal.signal(signal.SIGTERM, lambda *_: setattr(daemon.parts, "stopping", True))
    try:
        daemon.run()
    except ConnectionError:  # the zygote is gone: begin again; the journal knows all
        os.execv(sys.executable, [sys.executable, "-I", "-S", "-E", paths.agent(agent), "daemon", root])
    log.info("the agent has ended, free disk %d bytes", files.free_bytes(root))
    return 0


def _report(descriptor: Optional[int], words: str) -> None:
    if descriptor is not None:
        try:
            os.write(descriptor, words.replace("\n", " ").encode() + b"\n")
            os.close(descriptor)
        except OSError:
            pass  # nobody waits any more
