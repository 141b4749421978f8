"""A model server as a process of its own, on a port of loopback, for tests and benchmarks."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.paths import ROOT


class Server(NamedTuple):
    """A server that runs."""

    port: int
    pid: int


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving(folder: Path, *words: str, records: str = "", **manifest: Any) -> Iterator[Server]:
    """Run a server in a folder for as long as the block lasts; give where it is.

    Args:
        folder: where it starts: the model's code is there.
        words: further arguments of ``foundations_serve run``.
        records: where its records go; "" for nowhere.
        manifest: the model's.
    """
    port = free_port()
    env = {**os.environ, "FOUNDATIONS_MODEL": json.dumps(manifest), "PYTHONPATH": str(ROOT)}
    env["FOUNDATIONS_RECORDS_DIR"] = records
    command = [sys.executable, "-m", "foundations_serve", "run", "--port", str(port), *words]
    with open(folder / "server.log", "ab") as log:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log)
    try:
        _wait(process, port, folder / "server.log")
        yield Server(port, process.pid)
    finally:
        process.terminate()
        process.wait(20)


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    for _ in range(600):
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError(log.read_text())
