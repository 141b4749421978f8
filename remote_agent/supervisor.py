"""The one process that owns one attempt: folder, environment, process, exit record.

It outlives the daemon. It listens on a socket of its own; a daemon that connects is told where the attempt is, may
ask it to stop, and learns of the supervisor's death by the end of the connection. The exit record on disk is the
truth: a temporary name, fsync, rename.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import time
import traceback
from typing import Any, Dict, List, Optional

from remote_agent import environment, files, launch, peers, procs, workspace
from remote_agent.errors import AgentError
from remote_agent.jobs import EndReason, JobSpec, Lease, exit_words
from remote_agent.objects import ObjectStore
from remote_agent.paths import Paths

_RECORD_TRIES = 600
"""How often, a second apart, the exit record is tried on a full disk."""


class _Stopped(Exception):
    """Somebody asked for the attempt's end while it was being prepared."""


def run(paths: Paths, order: Dict[str, Any], listener: socket.socket) -> None:
    """Own the attempt that an order of the daemon names, from its folder to its exit record.

    Args:
        paths: the agent's files.
        order: "job", "attempt", "lease", "agent" (its content hash), "host_has_gpus".
        listener: the attempt's own socket, bound and listening.
    """
    os.setsid()
    procs.become_subreaper()
    try:
        os.makedirs(paths.job(order["job"]).attempt(order["attempt"]).folder, 0o700)
    except FileExistsError:
        return  # another supervisor has, or had, this attempt
    supervisor = _Supervisor(paths, order, listener)
    try:
        record = supervisor.attempt()
    except Exception:  # a fault of ours must not leave the job without an end
        record = supervisor.failed(traceback.format_exc())
    supervisor.write_exit(record)
    supervisor.wake_daemon()


class _Supervisor:
    def __init__(self, paths: Paths, order: Dict[str, Any], listener: socket.socket) -> None:
        self.paths = paths
        self.order = order
        self.job = paths.job(order["job"])
        self.files = self.job.attempt(order["attempt"])
        self.spec = JobSpec.from_wire(files.read_json(self.job.spec) or {})
        self.lease = Lease(order["lease"]["cpus"], tuple(order["lease"]["gpus"]), tuple(order["lease"]["gpu_indices"]))
        self.token = os.urandom(16).hex()
        self.log = os.open(self.files.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.daemons: List[socket.socket] = []
        self.status: Dict[str, Any] = {"type": "preparing"}
        self.stop: Optional[Dict[str, Any]] = None
        self.kill_at: Optional[float] = None
        self.pid = 0
        self.process: Optional[subprocess.Popen[bytes]] = None  # kept: one that is dropped collects its own child
        self.started_at: Optional[float] = None
        self._listen(listener)

    def _listen(self, listener: socket.socket) -> None:
        self.selector = selectors.DefaultSelector()
        self.listener = listener
        self.listener.setblocking(False)
        self.selector.register(self.listener, selectors.EVENT_READ, self._accept)
        woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.selector.register(woken, selectors.EVENT_READ, lambda: os.read(woken, 4096))
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            # Only the daemon stops an attempt. A handler, not SIG_IGN: the job's process would inherit that.
            signal.signal(number, lambda *_: None)

    # --- the attempt, in order --------------------------------------------------------------------------------

    def attempt(self) -> Dict[str, Any]:
        """Run the attempt and return its exit record."""
        try:
            self._write_own_record()
            argv, env, cwd = self._prepare()
        except _Stopped:
            return self._record(EndReason.STOPPED_BY_USER, self._stop_words())
        except (OSError, ValueError, AgentError) as error:
            self._say(f"the job's folder could not be made: {error}")
            return self._record(EndReason.WORKSPACE_FAILED, f"the job's folder could not be made: {error}")
        try:
            self._start(argv, env, cwd)
        except FileNotFoundError:
            words = f"command not found on the host: {argv[0]}{_advice(argv[0])}"
            self._say(words)
            return self._record(EndReason.COMMAND_NOT_FOUND, words, 127)
        except (OSError, ValueError) as error:
            words = f"cannot run {argv[0]}: {getattr(error, 'strerror', None) or error}"
            self._say(words)
            return self._record(EndReason.COMMAND_NOT_EXECUTABLE, words, 126)
        self._tell_of_start()
        status, usage = self._wait()
        self._end_leftovers()
        return self._exit_record(status, usage)

    def failed(self, trace: str) -> Dict[str, Any]:
        """End what runs and return the exit record for a fault of the agent's own."""
        procs.kill_all(self._tree, reap=True)
        self._say(f"the agent failed, which is a bug; the job was ended\n{trace}")
        return self._record(EndReason.AGENT_FAILED, f"the agent failed: {trace.strip().splitlines()[-1]}")

    def _prepare(self) -> Any:
        for folder in (self.files.records, self.job.artifacts, self.job.checkpoints):
            os.makedirs(folder, 0o700, exist_ok=True)
        workspace.make(ObjectStore(self.paths.objects), self.spec.snapshot, self.files.work, self._check_for_stop)
        cwd = workspace.start_folder(self.files.work, self.spec.subdir)
        workspace.write_parameters(cwd, self.spec.params)
        python = environment.interpreter(self.spec)
        environment.write_python_commands(self.files.bin, python)
        env = environment.variables(
            self.spec,
            self.order["attempt"],
            self.lease,
            self.token,
            self.job,
            self.files,
            self.paths.sdk(self.order["agent"]),
        )
        if self.order["host_has_gpus"] and not self.lease.gpus:
            self._say("this job asked for no GPU (--gpus), so CUDA_VISIBLE_DEVICES is empty")
        self._check_for_stop()
        return environment.command(self.spec, python), env, cwd

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
                preexec_fn=procs.die_with_parent,
            )

    def _tell_of_start(self) -> None:
        assert self.process is not None
        self.pid = self.process.pid
        self.started_at = time.time()
        self.status = {"type": "running", "pid": self.pid, "started_at": self.started_at}
        try:
            self._write_own_record()
        except OSError:
            pass  # the disk is full; the first record has the token, which is enough to find the job's processes
        for daemon in list(self.daemons):
            self._tell(daemon)

    def _wait(self) -> Any:
        """Serve the daemon and collect children until the main process has ended."""
        while True:
            ended = self._reap()
            if ended:
                return ended
            self._serve(timeout=self._until_kill())

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
        killed = procs.kill_all(self._tree, reap=True)
        if killed and not self.stop:
            self._say(f"the job's command has ended; {killed} of its processes were still running and were ended")

    def _tree(self) -> List[int]:
        mine = set(procs.members_of_attempt(self.token, self.pid or None)) | set(procs.descendants(os.getpid()))
        return sorted(mine - {os.getpid()})

    def _exit_record(self, status: int, usage: Any) -> Dict[str, Any]:
        used = {
            "wall_seconds": round(time.time() - (self.started_at or 0), 3),
            "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 3),
            "peak_memory": usage.ru_maxrss * 1024,
        }
        name = _signal_name(os.WTERMSIG(status)) if os.WIFSIGNALED(status) else None
        code = 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        if self.stop:
            return self._record(EndReason.STOPPED_BY_USER, self._stop_words(), code, used)
        if code == 0:
            return self._record(EndReason.FINISHED, "finished", code, used)
        reason = EndReason.SIGNAL if name else EndReason.EXIT_CODE
        return self._record(reason, exit_words(code, name), code, used)

    # --- what the daemon wants --------------------------------------------------------------------------------

    def _serve(self, timeout: Optional[float]) -> None:
        for key, _ in self.selector.select(timeout):
            key.data()
        if self.kill_at is not None and time.monotonic() >= self.kill_at:
            procs.kill_all(self._tree)
            self.kill_at = time.monotonic() + 1.0

    def _until_kill(self) -> Optional[float]:
        return None if self.kill_at is None else max(0.0, self.kill_at - time.monotonic())

    def _check_for_stop(self) -> None:
        self._serve(timeout=0)
        if self.stop:
            raise _Stopped

    def _accept(self) -> None:
        try:
            connection, _ = self.listener.accept()
        except BlockingIOError:
            return
        if not peers.is_own(connection):
            connection.close()
            return
        connection.setblocking(False)
        self.daemons.append(connection)
        self.selector.register(connection, selectors.EVENT_READ, lambda: self._hear(connection))
        self._tell(connection)

    def _tell(self, daemon: socket.socket) -> None:
        try:
            daemon.send(json.dumps(self.status).encode())
        except OSError:
            pass

    def _hear(self, daemon: socket.socket) -> None:
        try:
            message = daemon.recv(65536)
        except OSError:
            message = b""
        if not message:
            self.selector.unregister(daemon)
            self.daemons.remove(daemon)
            daemon.close()
            return
        self._request_stop(json.loads(message))

    def _request_stop(self, wish: Dict[str, Any]) -> None:
        first = self.stop is None
        self.stop = wish
        if self.pid and (first or wish["grace"] == 0):
            self._signal_group(signal.SIGTERM)
        deadline = time.monotonic() + wish["grace"]
        self.kill_at = deadline if self.kill_at is None else min(self.kill_at, deadline)

    def _signal_group(self, number: int) -> None:
        try:
            os.killpg(self.pid, number)  # the main process is our unreaped child: its pid cannot be another's
        except (ProcessLookupError, PermissionError):
            pass

    # --- records ----------------------------------------------------------------------------------------------

    def _write_own_record(self) -> None:
        """Write who supervises and what runs, for a daemon that finds us dead."""
        mine = {
            "supervisor": procs.identity(os.getpid()),
            "token": self.token,
            "session": self.pid or None,
            "session_start": procs.start_time(self.pid) if self.pid else None,
        }
        temporary = self.files.supervisor + ".tmp"
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(mine, file)
        os.replace(temporary, self.files.supervisor)

    def _record(self, reason: EndReason, words: str, code: Optional[int] = None, usage: Any = None) -> Dict[str, Any]:
        return {
            "reason_code": reason.value,
            "reason": words,
            "exit_code": code,
            "started_at": self.started_at,
            "ended_at": time.time(),
            "usage": usage or {},
        }

    def write_exit(self, record: Dict[str, Any]) -> None:
        """Put the exit record in place; on a full disk, try for a while."""
        for _ in range(_RECORD_TRIES):
            try:
                return files.write_json(self.files.exit, record)
            except OSError:
                time.sleep(1)

    def wake_daemon(self) -> None:
        """Start the current daemon when none is listening to us, so that the queue goes on."""
        if not self.daemons and not os.path.exists(self.paths.stopped):
            launch.start_current_daemon(self.paths)

    def _stop_words(self) -> str:
        return f"stopped by {(self.stop or {}).get('by') or 'its owner'}"

    def _say(self, words: str) -> None:
        """Write a line of the agent's into the job's log."""
        try:
            os.write(self.log, f"foundations: {words}\n".encode("utf-8", "replace"))
        except OSError:
            pass


def _advice(command: str) -> str:
    """Return what the user may have meant, in words."""
    if " " in command:
        return " (a whole line is run with --shell)"
    return f" (did you mean: python {command}?)" if command.endswith(".py") else ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"  # one of the real-time signals
