"""How a daemon comes up, in the order that matters: zygote, socket, owner's line, journal, engine."""

from __future__ import annotations

import os
import shutil
import socket
import time
from typing import Any, Dict, Optional, Tuple

from remote_agent import crash, files, messages, owner, peers
from remote_agent.backends.local import LocalBackend
from remote_agent.claims import Claims
from remote_agent.engine import Engine
from remote_agent.errors import BadRequest
from remote_agent.journal import Journal
from remote_agent.paths import Paths
from remote_agent.probe import GpuProbe
from remote_agent.zygote import Zygote


def start(paths: Paths, agent: str, report: Optional[int] = None) -> Optional[Tuple[Engine, GpuProbe, socket.socket]]:
    """Bring the agent up, or return None when this root is being served already.

    Args:
        paths: the agent's files.
        agent: content hash of this agent.
        report: a descriptor that the zygote must not keep open.

    Raises:
        AlreadyRunning: a daemon that our socket cannot see owns the root. StorageBroken: the journal cannot be used.
    """
    for folder in (paths.jobs, paths.objects, paths.trash):
        os.makedirs(folder, 0o700, exist_ok=True)
    crash.arm(paths.crash)
    zygote = Zygote(paths, report)
    listener = peers.listen(paths.socket_names(), socket.SOCK_STREAM)
    if listener is None:
        return None
    owner.claim(paths)
    unpack_sdk(paths, agent)
    files.write_bytes(paths.current_agent, agent.encode())
    if os.path.exists(paths.stopped):
        os.unlink(paths.stopped)
    files.keep_ballast(paths.ballast)
    probe = GpuProbe(Claims(paths.root))
    backend = LocalBackend(paths, agent, zygote.start, probe)
    backend.settings = _settings(paths)
    engine = Engine(paths, Journal(paths.journal, time.time()), backend, time.time)
    engine.compact_if_due()
    return engine, probe, listener


def _settings(paths: Paths) -> Dict[str, Any]:
    """Return what hosts.toml said of this host; what makes no sense is not kept: each client says it again."""
    try:
        checked: Dict[str, Any] = messages.SETTINGS(files.read_json(paths.settings) or {}, "settings")
    except BadRequest:
        return {}
    return checked


def unpack_sdk(paths: Paths, agent: str) -> None:
    """Lay the SDK beside the zipapp: a folder imports twice as fast as a zip."""
    target = paths.sdk(agent)
    if os.path.isdir(target):
        return
    import zipfile  # 2 MB that most daemons never need

    temporary = f"{target}.{os.getpid()}.tmp"
    with zipfile.ZipFile(paths.agent(agent)) as bundle:
        bundle.extractall(temporary, [name for name in bundle.namelist() if name.startswith("foundations/")])
    try:
        os.rename(temporary, target)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)  # another process was faster
