"""Who owns a root: the daemon's line in ``owner.json``. One root has one writer, across reboots and containers.

Within one network namespace the bound socket excludes a second daemon; this line decides where sockets cannot see
each other: another container on the same root, another machine on the same NFS folder.
"""

from __future__ import annotations

import json
import os
import time
from typing import Optional

from remote_agent.protocol.checks import text
from remote_agent.protocol.errors import AlreadyRunning, BadRequest
from remote_agent.protocol.process_identity import ProcessIdentity
from remote_agent.protocol.wire import TolerantMessage, field, message, nested
from remote_agent.storage import files
from remote_agent.storage.paths import Paths
from remote_agent.system import processes

HEARTBEAT = 20.0
"""Seconds between two touches of the line."""
_STALE = 3 * HEARTBEAT
_HANDOVER = 5.0


@message
class _OwnerLine(TolerantMessage):
    """Which daemon has the root."""

    host: str = field(text(1000), "")
    namespace: str = field(text(1000), "")
    """Of its pids: another container has another one."""
    who: Optional[ProcessIdentity] = field(nested(ProcessIdentity), None)


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
    if held and held.who and _is_alive(paths, held):
        raise AlreadyRunning(f"the root {paths.root} belongs to an agent on {held.host} (pid {held.who.pid})")
    try:
        files.write_json(paths.owner, _own_line().to_wire())
    except OSError as error:
        if error.errno not in files.FULL or files.drop_reserve(paths.reserve):
            raise  # there is room now, for another try
        files.overwrite(paths.owner, json.dumps(_own_line().to_wire()).encode())


def beat(paths: Paths) -> bool:
    """Show that we live; say whether the root is still ours."""
    held = _line(paths)
    if held and held.who != processes.identity(os.getpid()):
        return False
    try:
        os.utime(paths.owner)
    except OSError:
        pass
    return True


def _line(paths: Paths) -> Optional[_OwnerLine]:
    """Return the owner's line; None when there is none, or it makes no sense."""
    try:
        line = _OwnerLine.from_wire(files.read_json(paths.owner))
    except BadRequest:
        return None
    return None if line.who is None else line


def _own_line() -> _OwnerLine:
    return _OwnerLine(os.uname().nodename, processes.pid_namespace(), processes.identity(os.getpid()))


def _is_alive(paths: Paths, line: _OwnerLine) -> bool:
    mine = _own_line()
    assert line.who is not None and mine.who is not None
    if line.who.boot == mine.who.boot and line.namespace == mine.namespace:
        return processes.is_alive(line.who) and line.who.pid != os.getpid()
    if line.host == mine.host and line.namespace == mine.namespace:
        return False  # this machine, before a reboot
    return time.time() - os.stat(paths.owner).st_mtime < _STALE
