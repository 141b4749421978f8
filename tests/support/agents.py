"""Ending what a test's agent left running: by pid, start time and token, never by name."""

from __future__ import annotations

import functools
import os
import signal
import time
from pathlib import Path
from typing import Any

from remote_agent.protocol.process_identity import ProcessIdentity
from remote_agent.protocol.supervision import SupervisorRecord, record_of
from remote_agent.storage import files
from remote_agent.system import processes
from tests.support import leftovers


def daemon_pid(root: Path) -> int:
    """Return the pid of the daemon that owns a root."""
    owner = daemon(root)
    assert owner is not None and processes.is_alive(owner), f"no daemon runs in {root}"
    return owner.pid


def is_owned(root: Path) -> bool:
    """Return whether a daemon runs for a root."""
    return processes.is_alive(daemon(root))


def daemon(root: Path) -> ProcessIdentity | None:
    """Return the daemon that has written that it owns a root."""
    owner: Any = files.read_json(str(root / "owner.json"))
    return ProcessIdentity.from_wire(owner["who"]) if owner else None


def kill_daemon(root: Path) -> None:
    """Kill a daemon, as a crash would."""
    pid = daemon_pid(root)
    processes.send_signal(pid, signal.SIGKILL, processes.start_time(pid))


def reboot(root: Path) -> None:
    """Kill all that runs for an agent, and let what it has written be of another boot."""
    (root / "stopped").touch()
    kill_daemon(root)
    for record in supervisors(root, with_end=False):
        assert record.supervisor is not None
        os.kill(record.supervisor.pid, signal.SIGKILL)
        processes.kill_all(functools.partial(processes.members_of_attempt, record.token, record.session))
    for path in [root / "owner.json", *root.glob("jobs/*/attempts/*/supervisor.json")]:
        path.write_text(path.read_text().replace(processes.boot_id(), "another-boot"))
    (root / "stopped").unlink()


def supervisors(root: Path, with_end: bool = True) -> list[SupervisorRecord]:
    """Return what the supervisors of a root wrote about themselves.

    Args:
        root: of an agent.
        with_end: also those that have written how their attempt ended, and before that ended its processes.
    """
    paths = root.glob("jobs/*/attempts/*/supervisor.json")
    found = (
        record_of(files.read_json(str(path))) for path in paths if with_end or not (path.parent / "exit.json").exists()
    )
    return [record for record in found if record.supervisor]


def supervisor_pids(root: Path) -> list[int]:
    """Return the pids of the supervisors of a root."""
    return [record.supervisor.pid for record in supervisors(root) if record.supervisor]


def end(root: Path) -> None:
    """End everything that runs for a root."""
    if not root.exists():
        return
    (root / "stopped").write_bytes(b"")  # no supervisor starts a new daemon
    while alive := _alive(root):  # again: a daemon that was just being started has its record later
        for who in alive:
            processes.send_signal(who.pid, signal.SIGKILL, who.start)
        time.sleep(0.01)
    for record in supervisors(root, with_end=False):  # looking for an attempt's processes is a look at all there are
        processes.kill_all(functools.partial(processes.members_of_attempt, record.token, record.session))
    for pid, command in leftovers.below(root).items():
        if "agent.pyz" in command:  # a notice that is still being delivered
            processes.send_signal(pid, signal.SIGKILL, processes.start_time(pid))


def _alive(root: Path) -> list[ProcessIdentity]:
    """Return the supervisors and the daemon of a root that run."""
    known = [*(record.supervisor for record in supervisors(root)), daemon(root)]
    return [who for who in known if who is not None and processes.is_alive(who)]
