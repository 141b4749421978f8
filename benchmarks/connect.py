"""A service through ``foundations connect``, beside OpenSSH's ``ssh -L`` to the same one: requests and bulk bytes."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.paired import Pair, time_pair
from foundations_tui.services.connections import Connections
from foundations_tui.services.operations import serve
from foundations_tui.services.request import read
from foundations_tui.session import Session
from foundations_tui.store import services
from tests.support import agents, service_app
from tests.support.sshd import Sshd

_REQUESTS, _CLIENTS = 400, 8
_BULK = 32 << 20


def run() -> list[Pair]:
    """Return requests one after the other, from several clients at once, and an upload."""
    with tempfile.TemporaryDirectory(prefix="foundations-bench-") as folder, _served(Path(folder)) as (ours, floor):
        body = os.urandom(_BULK)
        return [
            time_pair(
                "400 requests, one client", 3.0, lambda: _get(floor, _REQUESTS), lambda: _get(ours, _REQUESTS), 5
            ),
            time_pair("400 requests, 8 clients", 3.0, lambda: _at_once(floor), lambda: _at_once(ours), 5),
            time_pair("32 MB sent", 3.0, lambda: _post(floor, body), lambda: _post(ours, body), 3),
        ]


@contextlib.contextmanager
def _served(folder: Path) -> Iterator[tuple[int, int]]:
    """Give (our local port, that of ssh) for one service behind a real sshd."""
    sshd = Sshd(folder / "sshd")
    sshd.start()
    home, project, root = Path(os.environ["FOUNDATIONS_HOME"]), folder / "project", folder / "root"
    project.mkdir()
    shutil.copy(service_app.__file__, project / "service_app.py")
    lines = {"address": sshd.address, "identity": str(sshd.identity), "root": str(root)}
    table = "".join(f'{key} = "{value}"\n' for key, value in lines.items())
    (home / "hosts.toml").write_text(f"[hosts.gpu1]\n{table}")
    (home / "known_hosts").write_text(sshd.known_hosts_line)
    session = Session()
    connections = Connections(session)
    try:
        words = ("python", "service_app.py", "{port}")
        values = {"host": "gpu1", "open_on_host": True, "folder": str(project), "runtime": "none"}
        serve(session, read(session.store.conn, "api", words, values, project))
        url = connections.open(_ready(session))
        with _ssh(sshd, services.service(session.store.conn, "api").view.running[0].readiness.port) as port:
            yield int(url.rpartition(":")[2]), port
    finally:
        connections.close_all()
        session.close()
        agents.end(root)
        sshd.cut()


def _ready(session: Session) -> services.ServiceRow:
    from foundations_tui.services.operations import wait_until_ready

    wait_until_ready(session, "gpu1", "api", lambda words: None, 60)
    return services.service(session.store.conn, "api")


@contextlib.contextmanager
def _ssh(sshd: Sshd, far: int) -> Iterator[int]:
    """Forward a local port with OpenSSH."""
    port = 18_733
    words = ["ssh", "-N", "-F", "/dev/null", "-i", str(sshd.identity), "-p", str(sshd.port)]
    words += ["-o", f"UserKnownHostsFile={sshd.folder}/known", "-o", "StrictHostKeyChecking=accept-new"]
    process = subprocess.Popen([*words, "-L", f"127.0.0.1:{port}:127.0.0.1:{far}", f"{sshd.user}@127.0.0.1"])
    try:
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError):
                _get(port, 1)
                break
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def _get(port: int, count: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for _ in range(count):
        connection.request("GET", "/")
        assert connection.getresponse().read()
    connection.close()


def _at_once(port: int) -> None:
    callers = [threading.Thread(target=_get, args=(port, _REQUESTS // _CLIENTS)) for _ in range(_CLIENTS)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()


def _post(port: int, body: bytes) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/", body)
    assert connection.getresponse().status == 200
    connection.close()
