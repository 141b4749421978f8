"""The one process that owns one attempt: folder, environment, process, exit record.

It outlives the daemon. It listens on a socket of its own; a daemon that connects learns where the attempt is, may
ask it to stop, and learns of the supervisor's death by the end of the connection. The exit record on disk is the
truth: a temporary name, fsync, rename. A daemon that is connected when its attempt has ended may hand it the next
one: that saves a process, and nothing else differs.
"""

from __future__ import annotations

import json
import os
import selectors
import shlex
import signal
import socket
import subprocess
import sys
import time
import traceback
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Optional, Set, Union

from remote_agent.protocol import supervision
from remote_agent.protocol.ends import AttemptEnd, Cause, Usage
from remote_agent.protocol.errors import AgentError
from remote_agent.protocol.jobs import JobSpec
from remote_agent.protocol.services import Readiness
from remote_agent.protocol.states import EndReason
from remote_agent.protocol.supervision import Dismissal, Report, StartOrder, StopOrder, SupervisorRecord
from remote_agent.storage import event_files, files, log_cap, workspace
from remote_agent.storage.objects import ObjectStore
from remote_agent.storage.paths import Paths
from remote_agent.supervisor import chained, distributions, environment, exit_record, record_facts, used_environment
from remote_agent.supervisor.daemon_link import ORDER_BYTES, DaemonLink, understood
from remote_agent.supervisor.replica import Replica
from remote_agent.system import failpoints, processes, spawn_daemon, unix_sockets

if TYPE_CHECKING:
    import resource

_FOLDER_LOOK_SECONDS = 5.0
"""Seconds between two looks whether the attempt's folder is still there."""
_NEXT_SECONDS = 1.0
"""How long to wait for the next order."""
_LOG_LOOK_SECONDS = 5.0
_AFTER_DRAIN = 10.0
"""Seconds between the stop signal and KILL of a replica that nobody is connected to."""
_TELL_AFTER_SECONDS = 0.05
"""Delay before a job that is expected to be brief is reported as running."""


class _Stopped(Exception):
    """Somebody asked for the attempt's end while it was being prepared."""


def run(paths: Paths, order: StartOrder, listener: socket.socket) -> None:
    """Own the attempt that an order of the daemon names, from its folder to its exit record; then, perhaps, the next.

    Args:
        paths: the agent's files.
        order: which attempt, and what it holds.
        listener: the attempt's own socket, bound and listening.
    """
    os.setsid()
    processes.become_subreaper()
    daemon: Optional[socket.socket] = None
    while True:
        failpoints.point("supervisor.begun")
        try:
            os.makedirs(paths.job(order.job).attempt(order.attempt).folder, 0o700)
        except FileExistsError:
            return  # another supervisor has, or had, this attempt
        supervisor = _Supervisor(paths, order, listener, daemon)
        try:
            end = supervisor.attempt()
        except Exception:  # a fault of ours must not leave the job without an end
            end = supervisor.failed(traceback.format_exc())
        end = replace(end, started_at=supervisor.started_at)
        exit_record.write(end, paths, supervisor.files, supervisor.daemons.is_heard)
        daemon = supervisor.hand_back(end)
        following = _next_order(daemon)
        if following is None:
            supervisor.wake_daemon()
        if not isinstance(following, StartOrder):
            return
        try:
            names = paths.supervisor_sockets(following.job, following.attempt)
            taken = unix_sockets.listen(names, socket.SOCK_SEQPACKET)
        except unix_sockets.AddressesTaken:
            return  # the daemon has it started again
        if taken is None:
            return
        order, listener = following, taken


def _next_order(daemon: Optional[socket.socket]) -> Union[StartOrder, Dismissal, None]:
    """Return what the daemon says once it has written down the end.

    None when there is no daemon, or it dies before it says anything.
    """
    deadline = time.monotonic() + _NEXT_SECONDS
    while daemon is not None and time.monotonic() < deadline:
        daemon.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            message = daemon.recv(ORDER_BYTES)
        except OSError:
            break
        if not message:
            break
        order = understood(message)
        if isinstance(order, (StartOrder, Dismissal)):  # a stop may have crossed the end
            return order
    return None


class _Supervisor:
    def __init__(
        self,
        paths: Paths,
        order: StartOrder,
        listener: socket.socket,
        daemon: Optional[socket.socket] = None,
    ) -> None:
        self.paths = paths
        self.order = order
        self.job = paths.job(order.job)
        self.files = self.job.attempt(order.attempt)
        self.spec = JobSpec.from_wire(files.read_json(self.job.spec) or {})
        self.lease = order.lease
        self.token = os.urandom(16).hex()
        self.log = os.open(self.files.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.ended_by: Optional[EndReason] = None
        """Why we end the attempt, once we do."""
        self.end_words = ""
        self.kill_at: Optional[float] = None
        self.limit_at: Optional[float] = None
        self.log_look_at: Optional[float] = None
        self.tell_at: Optional[float] = None
        self.folder_look_at: Optional[float] = None
        self.pid = 0
        self.process: Optional[subprocess.Popen[bytes]] = None  # kept: one that is dropped collects its own child
        self.started_at: Optional[float] = None
        self._began = 0.0
        self._oom_kills = processes.oom_kills()
        self.selector = selectors.DefaultSelector()
        self.daemons = DaemonLink(listener, self.selector, self._stop, daemon)
        self.replica: Optional[Replica] = None
        self.draining: Optional[StopOrder] = None
        """How a replica is to be stopped once nobody is connected to it any more."""
        self._wake_on_signals()

    def _wake_on_signals(self) -> None:
        self._woken, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.selector.register(self._woken, selectors.EVENT_READ, lambda: os.read(self._woken, 4096))
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            # Only the daemon stops an attempt. A handler, not SIG_IGN: the job's process would inherit that.
            signal.signal(number, lambda *_: None)

    # --- the attempt, in order --------------------------------------------------------------------------------

    def attempt(self) -> AttemptEnd:
        """Run the attempt and return how it ended."""
        try:
            self._write_own_record()
            if self.lease.is_empty:
                return self._without_environment()
            argv, env, cwd = self._prepare()
        except _Stopped:
            return exit_record.record(EndReason.STOPPED_BY_USER, self.end_words)
        except used_environment.NoEnvironment as error:
            self._say(str(error))
            return exit_record.record(EndReason.ENVIRONMENT_FAILED, str(error))
        except (OSError, ValueError, AgentError) as error:
            self._say(f"the job's folder could not be made: {error}")
            return exit_record.record(EndReason.WORKSPACE_FAILED, f"the job's folder could not be made: {error}")
        failpoints.point("supervisor.prepared")
        try:
            self._start(argv, env, cwd)
        except FileNotFoundError:
            words = _missing_interpreter(argv[0], cwd) or f"command not found on the host: {argv[0]}{_advice(argv[0])}"
            self._say(words)
            return exit_record.record(EndReason.COMMAND_NOT_FOUND, words, 127)
        except (OSError, ValueError) as error:
            words = f"cannot run {argv[0]}: {getattr(error, 'strerror', None) or error}"
            self._say(words)
            return exit_record.record(EndReason.COMMAND_NOT_EXECUTABLE, words, 126)
        self._tell_of_start()
        failpoints.point("supervisor.running")
        status, usage = self._wait()
        failpoints.point("supervisor.ended")
        if self.replica is not None:
            self.replica.close()
        self._end_leftovers()
        return self._end_of(status, usage)

    def failed(self, trace: str) -> AttemptEnd:
        """End what runs and return the end for a fault of the agent's own."""
        processes.kill_all(self._tree, reap=True)
        self._say(f"the agent failed, which is a bug; the job was ended\n{trace}")
        return exit_record.record(EndReason.AGENT_FAILED, f"the agent failed: {trace.strip().splitlines()[-1]}")

    def _without_environment(self) -> AttemptEnd:
        """Return the end of an attempt whose environment could not be built; the log is the builder's."""
        words, log = used_environment.failure(self.paths, self.spec)
        self._append(log)
        end = exit_record.record(EndReason.ENVIRONMENT_FAILED, "its environment could not be built")
        return replace(end, cause=Cause("environment_failed", words) if words else None)

    def _prepare(self) -> Any:
        for folder in (self.files.records, self.job.artifacts, self.job.checkpoints):
            os.makedirs(folder, 0o700, exist_ok=True)
        workspace.make(ObjectStore(self.paths.objects), self.spec.snapshot, self.files.work, self._check_for_stop)
        cwd = workspace.start_folder(self.files.work, self.spec.subdir)
        if self.spec.chain:
            self.spec = chained.filled(self.paths, self.spec, self.files)
        workspace.link_data(self.files.work, self.spec.data)
        workspace.add_folders(self.files.work, self.spec.folders)
        event_files.prepare(self.files, cwd, bool(self.spec.metrics.get("tensorboard")))
        workspace.write_parameters(cwd, self.spec.params)
        used = used_environment.use(self.paths, self.spec)
        self._append(used.log)
        sdk = self.paths.sdk(self.order.agent)
        env = environment.variables(self.spec, self.order.attempt, self.lease, self.paths, sdk, used.prefix)
        env.update(environment.secrets(self.spec, self.job))
        env[processes.TOKEN_VARIABLE] = self.token
        if self.spec.is_replica:
            self.replica = Replica(self.paths, self.spec, self.order.attempt, self.selector)
            self.spec = self.replica.filled(self.spec)
            env.update(self.replica.variables())
        set_up = environment.with_variables_of_setup(env, used.setup, self.spec, used.prefix)
        if set_up is not None:
            env, self.spec = set_up, replace(self.spec, setup="")  # the lines ran when the environment was built
        if self.order.host_has_gpus and not self.lease.gpus:
            self._say("this job asked for no GPU (--gpus), so CUDA_VISIBLE_DEVICES is empty")
        self._check_for_stop()
        # What python means in an image is the image's own business.
        python = "python" if used.image else environment.interpreter(self.spec, env["PATH"], used.prefix)
        if self.spec.distributions:
            distributions.write(self.spec.distributions, python, self.files.site, self.files.bin)
        argv = environment.command(self.spec, python, self._look_behind_setup(), used.prefix)
        self._record_facts(env, cwd, python, argv, used)
        self._check_for_stop()
        if used.image:
            argv = used_environment.in_image(used, self.paths, self.spec, self.lease, argv, env, cwd, sdk)
        return argv, env, cwd

    def _record_facts(
        self, env: Dict[str, str], cwd: str, python: str, argv: List[str], used: used_environment.Used
    ) -> None:
        """Write the facts down; whatever is odd about an interpreter must not cost the job."""
        try:
            record_facts.write(self.paths, self.order, self.spec, env, cwd, python, argv, used, self._check_for_stop)
        except _Stopped:
            raise
        except Exception as error:
            self._say(f"not all facts of this attempt could be recorded: {error}")

    def _look_behind_setup(self) -> str:
        """Return a line of shell that looks again at what setup lines may have changed: the agent's role ``facts``.

        Where the agent cannot run behind them, what was known before them has to do.
        """
        agent = self.paths.agent(self.order.agent)
        look = [sys.executable, "-I", agent, "facts", self.paths.root, self.order.job, str(self.order.attempt)]
        keep = ["mv", "-f", self.files.early_facts, self.files.facts]
        return " || ".join(map(shlex.join, (look, keep)))

    def _start(self, argv: List[str], env: Dict[str, str], cwd: str) -> None:
        with open(os.devnull, "rb") as nothing:
            self.process = subprocess.Popen(
                argv,
                env=env,
                cwd=cwd,
                stdin=nothing,
                stdout=self.log,
                stderr=self.log,
                start_new_session=True,
                # The parent-death signal costs a whole fork instead of a vfork: more than a brief job itself.
                preexec_fn=processes.child_setup(not self.order.is_brief, self.spec.nice),
            )

    def _tell_of_start(self) -> None:
        assert self.process is not None
        self.pid = self.process.pid
        self.started_at, self._began = time.time(), time.monotonic()
        if self.spec.time_limit:
            self.limit_at = self._began + self.spec.time_limit
        if self.spec.log_limit:
            self.log_look_at = self._began + _LOG_LOOK_SECONDS
        self.folder_look_at = self._began + _FOLDER_LOOK_SECONDS
        self.daemons.report = Report(supervision.RUNNING, self.pid, os.getpid(), self.started_at)
        if self.replica is not None:
            self._look_at_replica(self.replica)
        if self.order.is_brief:
            self.tell_at = self._began + _TELL_AFTER_SECONDS
        else:
            self._tell_all()

    def _look_at_replica(self, replica: Replica) -> None:
        """Have a replica of a service looked at, and tell the daemon how it is."""

        def tell(readiness: Readiness) -> None:
            self.daemons.tell(replace(self.daemons.report, readiness=readiness))

        replica.tell = tell
        replica.give_up = self._end_it
        replica.begin(self.pid, lambda: processes.members_of_attempt(self.token, self.pid))

    def _tell_all(self) -> None:
        """Write down what runs, and tell the daemon."""
        self.tell_at = None
        try:
            self._write_own_record()
        except OSError:
            pass  # the disk is full; the first record has the token, which is enough to find the job's processes
        self.daemons.tell(self.daemons.report)

    def _wait(self) -> Any:
        """Serve the daemon and collect children until the main process has ended."""
        while True:
            ended = self._reap()
            if ended:
                return ended
            self._serve(timeout=self._until_due())

    def _reap(self) -> Any:
        """Collect dead children; return (wait status, resource usage) when the main process is among them."""
        ended = None
        try:
            while True:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
                if pid == 0:
                    return ended
                if pid == self.pid:
                    ended = (status, usage)
        except ChildProcessError:
            return ended

    def _end_leftovers(self) -> None:
        if processes.has_prctl() and not processes.has_children():
            return  # what the job left running would be a child of ours by now
        killed = processes.kill_all(self._tree, reap=True)
        if killed and self.ended_by is None:
            self._say(f"the job's command has ended; {killed} of its processes were still running and were ended")

    def _tree(self, among: Optional[Iterable[int]]) -> Set[int]:
        members = processes.members_of_attempt(self.token, self.pid or None, among)
        return {*members, *processes.descendants(os.getpid(), among)}

    def _end_of(self, status: int, usage: "resource.struct_rusage") -> AttemptEnd:
        used = Usage(
            wall_seconds=round(time.monotonic() - self._began, 3),
            cpu_seconds=round(usage.ru_utime + usage.ru_stime, 3),
            peak_memory=usage.ru_maxrss * 1024,
            disk=exit_record.disk_used(self.files.folder),
        )
        end = replace(exit_record.of_process(status, self.ended_by, self.end_words), usage=used)
        if self.spec.log_limit:
            log_cap.bound(self.files.log, self.spec.log_limit)
        killed = processes.oom_kills() - self._oom_kills if end.signal == "SIGKILL" else 0
        return exit_record.with_cause(end, self.files, killed)

    # --- what is due, and what the daemon wants ---------------------------------------------------------------

    def _serve(self, timeout: Optional[float]) -> None:
        for key, _ in self.selector.select(timeout):
            key.data()
        now = time.monotonic()
        if self.limit_at is not None and now >= self.limit_at:
            self.limit_at = None
            self._end_it(EndReason.TIME_LIMIT, f"its time limit of {self.spec.time_limit:g} s was reached")
        if self.kill_at is not None and now >= self.kill_at:
            processes.kill_all(self._tree)
            self.kill_at = time.monotonic() + 1.0
        if self.tell_at is not None and now >= self.tell_at:
            self._tell_all()
        if self.folder_look_at is not None and now >= self.folder_look_at:
            self._look_at_folder(now)
        if self.log_look_at is not None and now >= self.log_look_at:
            log_cap.bound(self.files.log, self.spec.log_limit)
            self.log_look_at = now + _LOG_LOOK_SECONDS
        if self.replica is not None and self.ended_by is None:
            self._look_at(self.replica, now)

    def _look_at(self, replica: Replica, now: float) -> None:
        if self.draining is None:
            replica.look(now)
        elif replica.has_drained(now):
            order, self.draining = self.draining, None
            self._end_it(EndReason.STOPPED_BY_USER, f"stopped by {order.by or 'its owner'}", order.grace)

    def _look_at_folder(self, now: float) -> None:
        """End an attempt whose folder is gone, whoever removed it: nothing that it writes is kept any more."""
        self.folder_look_at = now + _FOLDER_LOOK_SECONDS
        try:
            is_there = os.fstat(self.log).st_nlink > 0 and os.path.isdir(self.files.folder)
        except OSError:
            is_there = False
        if not is_there and self.ended_by is None:
            self.folder_look_at = None
            self._end_it(EndReason.WORKSPACE_FAILED, "the job's folder on the host was removed while it ran")

    def _until_due(self) -> Optional[float]:
        moments = (self.tell_at, self.limit_at, self.kill_at, self.log_look_at, self.folder_look_at)
        due = [moment for moment in moments if moment is not None]
        if self.replica is not None and self.ended_by is None:
            due += [self.replica.drain_due()] if self.draining is not None else self.replica.due()
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _check_for_stop(self) -> None:
        self._serve(timeout=0)
        if self.ended_by is not None:
            raise _Stopped

    def _stop(self, order: StopOrder) -> None:
        """End the attempt; a replica that answers gets no further requests first, and finishes those that it has."""
        if self.draining is not None and order.grace > 0:
            return  # it is ending already
        may_drain = self.ended_by is None and self.draining is None and order.grace > 0
        if self.replica is not None and may_drain and self.replica.begin_to_drain(time.monotonic(), order.grace):
            self.draining = replace(order, grace=_AFTER_DRAIN)
            return
        self._end_it(EndReason.STOPPED_BY_USER, f"stopped by {order.by or 'its owner'}", order.grace)

    def _end_it(self, why: EndReason, words: str, grace: Optional[float] = None) -> None:
        """Begin to end the attempt: its signal to the group now, KILL to everything after the grace time."""
        grace = self.spec.grace if grace is None else grace
        first = self.ended_by is None
        if first or why is EndReason.STOPPED_BY_USER:
            self.ended_by, self.end_words = why, words
        if self.pid and (first or grace == 0):
            self._signal_group(getattr(signal, f"SIG{self.spec.stop_signal}"))
        deadline = time.monotonic() + grace
        self.kill_at = deadline if self.kill_at is None else min(self.kill_at, deadline)

    def _signal_group(self, number: int) -> None:
        try:
            os.killpg(self.pid, number)  # the main process is our unreaped child: its pid cannot be another's
        except (ProcessLookupError, PermissionError):
            pass

    # --- records ----------------------------------------------------------------------------------------------

    def _write_own_record(self) -> None:
        """Write who supervises and what runs, for a daemon that finds us dead."""
        mine = SupervisorRecord(
            processes.identity(os.getpid()),
            self.token,
            self.pid or None,
            processes.start_time(self.pid) if self.pid else None,
            self.lease,
        )
        files.write_bytes(self.files.supervisor, json.dumps(mine.to_wire()).encode(), durable=False)

    def hand_back(self, end: AttemptEnd) -> Optional[socket.socket]:
        """Tell the daemon of the end and leave the attempt.

        Returns:
            The daemon's connection, on which it may send the next order; None when there is none, or when something
            of this attempt may still be there.
        """
        self.daemons.tell(Report(supervision.ENDED, end=end))
        failpoints.point("supervisor.told")
        daemon = self.daemons.close(may_go_on=not processes.has_children())
        signal.set_wakeup_fd(-1)
        self.selector.close()
        for descriptor in (self.log, self._woken, self._wake):
            os.close(descriptor)
        return daemon

    def wake_daemon(self) -> None:
        """Start the current daemon, so that the queue goes on; where one is, this one ends at once."""
        if not os.path.exists(self.paths.stopped):
            spawn_daemon.start_current_daemon(self.paths)

    def _say(self, words: str) -> None:
        """Write a line of the agent's into the job's log."""
        self._append(f"foundations: {words}\n".encode("utf-8", "replace"))

    def _append(self, data: bytes) -> None:
        try:
            os.write(self.log, data)
        except OSError:
            pass


def _missing_interpreter(command: str, folder: str) -> str:
    """Return that a script is there and what its first line names is not, in words; empty when that is not it."""
    path = os.path.join(folder, command)
    try:
        with open(path, "rb") as file:
            first = file.readline(300)
    except OSError:
        return ""
    if os.sep not in command or not first.startswith(b"#!"):
        return ""
    interpreter = first[2:].rstrip(b"\n").decode("utf-8", "backslashreplace")
    advice = ": it has Windows line endings (dos2unix takes them away)" if interpreter.endswith("\r") else ""
    return f"{command} is there, but not the interpreter that its first line names, {interpreter!r}{advice}"


def _advice(command: str) -> str:
    """Return what the user may have meant, in words."""
    if " " in command:
        return " (a whole line is run with --shell)"
    return f" (did you mean: python {command}?)" if command.endswith(".py") else ""
