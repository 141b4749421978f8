"""Ending what a test's agent left running: by pid, start time and token, never by name."""

from __future__ import annotations

import functools
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from remote_agent.storage import files
from remote_agent.system import processes
from tests.support import leftovers


def daemon_pid(root: Path) -> int:
    """Return the pid of the daemon that owns a root."""
    owner: Any = files.read_json(str(root / "owner.json"))
    assert owner and processes.is_alive(owner["who"]), f"no daemon runs in {root}"
    return int(owner["who"]["pid"])


def is_owned(root: Path) -> bool:
    """Return whether a daemon runs for a root."""
    owner: Any = files.read_json(str(root / "owner.json"))
    return bool(owner) and processes.is_alive(owner["who"])


def kill_daemon(root: Path) -> None:
    """Kill a daemon, as a crash would."""
    pid = daemon_pid(root)
    processes.send_signal(pid, signal.SIGKILL, processes.start_time(pid))


def supervisors(root: Path) -> list[dict[str, Any]]:
    """Return what the supervisors of a root wrote about themselves."""
    found: Iterator[Any] = (files.read_json(str(path)) for path in root.glob("jobs/*/attempts/*/supervisor.json"))
    return [record for record in found if record]


def end(root: Path) -> None:
    """End everything that runs for a root."""
    if not root.exists():
        return
    (root / "stopped").write_bytes(b"")  # no supervisor starts a new daemon
    while alive := _alive(root):  # again: a daemon that was just being started has its record later
        for who in alive:
            processes.send_signal(who["pid"], signal.SIGKILL, who["start"])
        time.sleep(0.01)
    for record in supervisors(root):
        processes.kill_all(functools.partial(processes.members_of_attempt, record["token"], record["session"]))
    for pid, command in leftovers.below(root).items():
        if "agent.pyz" in command:  # a notice that is still being delivered
            processes.send_signal(pid, signal.SIGKILL, processes.start_time(pid))


def _alive(root: Path) -> list[dict[str, Any]]:
    """Return the supervisors and the daemon of a root that run."""
    owner: Any = files.read_json(str(root / "owner.json"))
    known = [record["supervisor"] for record in supervisors(root)] + ([owner["who"]] if owner else [])
    return [who for who in known if processes.is_alive(who)]
