"""Which process is meant: a pid comes again, a pid with its start time does not."""

from __future__ import annotations

import os
from pathlib import Path


def own_identity() -> str:
    """Return what tells this process from a later one with the same pid."""
    pid = os.getpid()
    return f"{pid}:{_start_time(pid)}"


def is_running(identity: str) -> bool:
    """Return whether the process of an identity still runs on this machine."""
    pid, _, started = identity.partition(":")
    return pid.isdigit() and _start_time(int(pid)) == started != ""


def _start_time(pid: int) -> str:
    """Return when a process started, as /proc has it; where there is no /proc, whether it is there."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] == "Z" else fields[19]
    except (OSError, IndexError):
        pass
    try:
        os.kill(pid, 0)
    except (OSError, OverflowError):
        return ""
    return "" if Path("/proc/self").exists() else "running"
