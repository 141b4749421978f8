"""Who owns a root: the daemon's line in ``owner.json``. One root has one writer, across reboots and containers.

Within one network namespace the bound socket excludes a second daemon; this line decides where sockets cannot see
each other: another container on the same root, another machine on the same NFS folder.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any, Dict

from remote_agent.protocol.errors import AlreadyRunning
from remote_agent.storage import files
from remote_agent.storage.paths import Paths
from remote_agent.system import processes

HEARTBEAT = 20.0
"""Seconds between two touches of the line."""
_STALE = 3 * HEARTBEAT
_HANDOVER = 5.0


def claim(paths: Paths) -> None:
    """Write our line, unless another owner is alive.

    Raises:
        AlreadyRunning: one is.
    """
    deadline = time.monotonic() + _HANDOVER
    held = _line(paths)
    while held and _is_alive(paths, held) and time.monotonic() < deadline:
        time.sleep(0.02)  # the one that we replace is about to end
        held = _line(paths)
    if held and _is_alive(paths, held):
        raise AlreadyRunning(
            f"the root {paths.root} belongs to an agent on {held.get('host')} (pid {held['who']['pid']})"
        )
    try:
        files.write_json(paths.owner, _own_line())
    except OSError as error:
        if error.errno not in files.FULL or files.drop_ballast(paths.ballast):
            raise  # there is room now, for another try
        files.overwrite(paths.owner, json.dumps(_own_line()).encode())


def beat(paths: Paths) -> bool:
    """Show that we live; say whether the root is still ours."""
    held = _line(paths)
    if held and held["who"] != processes.identity(os.getpid()):
        return False
    try:
        os.utime(paths.owner)
    except OSError:
        pass
    return True


def _line(paths: Paths) -> Dict[str, Any]:
    """Return the owner's line; empty when there is none, or it makes no sense."""
    held = files.read_json(paths.owner)
    if not isinstance(held, dict) or not isinstance(held.get("who"), dict):
        return {}
    return held if isinstance(held["who"].get("pid"), int) else {}


def _own_line() -> Dict[str, Any]:
    return {"host": os.uname().nodename, "namespace": processes.pid_namespace(), "who": processes.identity(os.getpid())}


def _is_alive(paths: Paths, held: Dict[str, Any]) -> bool:
    mine = _own_line()
    who = held.get("who") or {}
    if who.get("boot") == mine["who"]["boot"] and held.get("namespace") == mine["namespace"]:
        return processes.is_alive(who) and who["pid"] != os.getpid()
    if held.get("host") == mine["host"] and held.get("namespace") == mine["namespace"]:
        return False  # this machine, before a reboot
    return time.time() - os.stat(paths.owner).st_mtime < _STALE
