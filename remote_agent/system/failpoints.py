"""Named points at which the tests kill: one hook, which costs nothing unless a test has armed it.

A root is armed by its folder ``crash``, when a process of the agent starts. A file in it that is called like a point
is used up by the first process that comes there: it kills itself, or the process whose pid stands in the file.
"""

from __future__ import annotations

import os
import signal

POINTS = (
    "proxy.connected",
    "daemon.request",
    "daemon.before_commit",
    "daemon.written",
    "daemon.committed",
    "daemon.before_start",
    "daemon.started",
    "daemon.answered",
    "daemon.ended",
    "zygote.order",
    "supervisor.begun",
    "supervisor.prepared",
    "supervisor.running",
    "supervisor.ended",
    "supervisor.recorded",
    "supervisor.told",
)
"""All of them, in the order of a job's way."""

_folder = ""


def arm(folder: str) -> None:
    """Watch for a test's orders in a folder, if it is there."""
    global _folder
    _folder = folder if os.path.isdir(folder) else ""


def point(name: str) -> None:
    """Die here, if a test wants it."""
    if not _folder:
        return
    taken = os.path.join(_folder, f"{name}.taken-{os.getpid()}")
    try:
        os.rename(os.path.join(_folder, name), taken)
    except OSError:
        return
    with open(taken, encoding="ascii") as file:
        victim = file.read().strip()
    try:
        os.kill(int(victim or os.getpid()), signal.SIGKILL)
    except ProcessLookupError:
        pass  # another process, which has ended by itself: that must not look like a fault of ours
