"""From submit to the first line of the log, on a warm connection, against ssh over a ControlMaster."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.paired import Pair, time_pair
from foundations_tui.jobs import watch
from foundations_tui.session import Session
from foundations_tui.submit.pipeline import submit
from foundations_tui.submit.request import JobRequest
from tests.support import agents
from tests.support.client import Client
from tests.support.sshd import Sshd

_SCRIPT = "print('first line', flush=True)\n"


def run() -> Pair:
    """Return the pair; both run the same script, ours on a snapshot taken and shipped each time."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        client = Client(Path(os.environ["FOUNDATIONS_HOME"]), folder / "project")
        (client.project / "hello.py").write_text(_SCRIPT)
        server = Sshd(folder / "sshd")
        with (server.folder / "config").open("a") as config:
            config.write("SetEnv SHLVL=2\n")  # bash then passes over the user's rc file, which only the floor would pay
        server.start()
        root = client.add_host("box", server)
        session = Session()
        try:
            return _time(session, client, server, folder)
        finally:
            session.close()
            agents.end(root)
            server.cut()


def _time(session: Session, client: Client, server: Sshd, folder: Path) -> Pair:
    control = ["-F", "none", "-S", str(folder / "control"), "-p", str(server.port)]
    options = ["-i", str(server.identity), "-o", f"UserKnownHostsFile={client.home / 'known_hosts'}"]
    target = f"{server.user}@127.0.0.1"
    master = subprocess.Popen(["ssh", *control, *options, "-M", "-N", target])
    while subprocess.run(["ssh", *control, "-O", "check", target], capture_output=True).returncode:
        assert master.poll() is None, "the control master did not start"
    command = f"cd {client.project} && {sys.executable} hello.py"

    def over_ssh() -> None:
        with subprocess.Popen(["ssh", *control, target, command], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"first line\n"

    number = 0

    def ours() -> None:
        nonlocal number
        number += 1
        (client.project / "changed.txt").write_text(str(number))
        request = JobRequest((sys.executable, "hello.py"), client.project, host="box")
        job = submit(session, request).view.spec.job
        assert next(iter(watch.follow_log(session, job))).startswith(b"first line")

    try:
        return time_pair("submit to first log line / ssh over a ControlMaster", 2.0, over_ssh, ours, 25)
    finally:
        subprocess.run(["ssh", *control, "-O", "exit", target], capture_output=True)
        master.wait()
