"""Command lines that start at once: each is a fork of a process that has imported the whole client.

A fork is a process of its own, with its own signals, exit code and file descriptors; only the imports are shared.
What is about the start itself (import cost, the installed program) runs ``FOUNDATIONS`` as a process instead.
"""

from __future__ import annotations

import array
import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import selectors
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

_LENGTH = struct.Struct("!I")


class ForkServer:
    """Starts forks of one process of imports."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="forkserver-")
        self._path = os.path.join(self._folder.name, "socket")
        self._lifeline, theirs = os.pipe()
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as listener:
            listener.bind(self._path)
            listener.listen(64)
            keeps = (listener.fileno(), self._lifeline)
            words = [sys.executable, "-m", "tests.support.forkserver", *map(str, keeps)]
            env = {name: value for name, value in os.environ.items() if not name.startswith("FOUNDATIONS_")}
            self._process = subprocess.Popen(words, pass_fds=keeps, env=env)
        os.close(self._lifeline)
        self._lifeline = theirs

    def start(self, call: str, words: list[str], env: dict[str, str], cwd: Path, fds: list[int]) -> Fork:
        """Start a fork.

        Args:
            call: "module:function" of what it runs; the function takes no arguments and may exit.
            words: its ``sys.argv``, without the program.
            env: its whole environment.
            cwd: its working directory.
            fds: its standard input, output and error.
        """
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self._path)
        request = json.dumps({"call": call, "words": words, "env": env, "cwd": str(cwd)}).encode()
        connection.sendmsg(
            [_LENGTH.pack(len(request))], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        )
        connection.sendall(request)
        return Fork(connection)

    def close(self) -> None:
        """End the server; forks that still run go on."""
        os.close(self._lifeline)
        self._process.wait()
        self._folder.cleanup()


class Fork:
    """A process that was forked."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.pid = _LENGTH.unpack(_exactly(connection, _LENGTH.size))[0]

    def wait(self, timeout: float) -> int:
        """Return its exit code, or the negative number of the signal that ended it.

        Raises:
            TimeoutError: it still runs.
        """
        self._connection.settimeout(timeout)
        status = _LENGTH.unpack(_exactly(self._connection, _LENGTH.size))[0]
        self._connection.close()
        return os.waitstatus_to_exitcode(status)

    def kill(self) -> None:
        """Kill it: it is not collected before its exit code is sent, so the pid is its own."""
        os.kill(self.pid, signal.SIGKILL)


def _exactly(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        part = connection.recv(size - len(found))
        assert part, "the fork server has ended"
        found += part
    return found


# --- the server ---------------------------------------------------------------------------------------------------


_LEFT_OUT = ("foundations_tui.template", "foundations_tui.mcp")


def _import_all() -> None:
    """Import what the command line may need; what an extra brings is imported by who uses it."""
    import foundations_tui

    for module in pkgutil.walk_packages(foundations_tui.__path__, "foundations_tui."):
        if not module.name.endswith("__main__") and not module.name.startswith(_LEFT_OUT):
            with contextlib.suppress(ImportError):  # of an extra
                importlib.import_module(module.name)
    for name in ("fabric", "git", "sqlite_utils", "difflib", "click.shell_completion"):
        importlib.import_module(name)


def _serve(listener: socket.socket, lifeline: int) -> dict[str, Any] | None:
    """Fork for each request; return the request in the fork, None when the other side has gone."""
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(lifeline, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fd == lifeline:
                return None
            if key.fileobj is not listener:
                _report(selector, key)
                continue
            connection, _ = listener.accept()
            request = _received(connection)
            if request is None:
                connection.close()
                continue
            pid = os.fork()
            if not pid:
                selector.close()
                connection.close()
                listener.close()
                os.close(lifeline)
                return request
            for fd in request["fds"]:
                os.close(fd)
            with contextlib.suppress(ConnectionError):
                connection.sendall(_LENGTH.pack(pid))
            selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, connection))


def _received(connection: socket.socket) -> dict[str, Any] | None:
    """Return the request of whoever has connected; None when they have gone, which must not end the server."""
    with contextlib.suppress(ConnectionError, AssertionError):
        head, ancillary, _, _ = connection.recvmsg(_LENGTH.size, socket.CMSG_SPACE(3 * 4))
        if ancillary:
            fds = array.array("i", ancillary[0][2]).tolist()
            return {**json.loads(_exactly(connection, _LENGTH.unpack(head)[0])), "fds": fds}
    return None


def _report(selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
    """Say with what a fork ended."""
    pid, connection = key.data
    selector.unregister(key.fileobj)
    os.close(key.fd)
    status = os.waitpid(pid, 0)[1]
    with contextlib.suppress(ConnectionError), connection:
        connection.sendall(_LENGTH.pack(status))


def _become(request: dict[str, Any]) -> None:
    """Make this fork what a new process would be, and run what was asked for."""
    for number, fd in enumerate(request["fds"]):
        os.dup2(fd, number)
    for fd in request["fds"]:
        if fd > 2:
            os.close(fd)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.argv = ["foundations", *request["words"]]
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - they live as long as the process
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    module, function = request["call"].split(":")
    code = _run(getattr(importlib.import_module(module), function))
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)  # taking a thousand modules apart takes 200 ms


def _run(function: Callable[[], None]) -> int:
    """Run what a program would, with what happens at its end; return the exit code."""
    try:
        function()
        code: object = 0
    except SystemExit as end:
        code = end.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads that are no daemons, as an interpreter does
    atexit._run_exitfuncs()
    return code if isinstance(code, int) else int(code is not None)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _import_all()
    atexit._clear()
    gc.collect()
    gc.freeze()  # a collection in a fork would copy every page
    asked = _serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]))
    if asked is not None:
        _become(asked)
