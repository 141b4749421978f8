"""How a daemon comes up, in the order that matters: zygote, socket, owner's line, journal, engine."""

from __future__ import annotations

import glob
import os
import shutil
import socket
import time
from typing import Callable, List, Optional, Tuple

from remote_agent import CODE_FOLDER
from remote_agent.backends.local import LocalBackend
from remote_agent.core import events
from remote_agent.daemon import owner
from remote_agent.daemon.engine import Engine
from remote_agent.daemon.zygote import Zygote
from remote_agent.gpu.claims import GpuClaims
from remote_agent.gpu.probe import GpuProbe
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.messages import HostSettings
from remote_agent.storage import files
from remote_agent.storage.journal import Journal
from remote_agent.storage.paths import Paths
from remote_agent.system import failpoints, login, processes, unix_sockets

Started = Tuple[Engine, GpuProbe, socket.socket, login.LoginQuestion]


def start(paths: Paths, agent: str, report: Optional[int] = None) -> Optional[Started]:
    """Bring the agent up, or return None when this root is being served already.

    Args:
        paths: the agent's files.
        agent: content hash of this agent.
        report: a descriptor that the zygote must not keep open.

    Raises:
        AlreadyRunning: a daemon that our socket cannot see owns the root. StorageBroken: the journal cannot be used.
    """
    _with_room(paths, lambda: _make_folders(paths))
    failpoints.arm(paths.crash)
    zygote = Zygote(paths, report)
    listener = _listen(paths)
    if listener is None:
        return None
    _with_room(paths, lambda: owner.claim(paths))
    question = login.LoginQuestion(paths.login_path)
    _remove_code_of_earlier_boots(paths)
    _remove_unused_interpreters(paths)
    _with_room(paths, lambda: unpack_sdk(paths, agent))
    _with_room(paths, lambda: files.write_bytes(paths.current_agent, agent.encode()))
    if os.path.exists(paths.stopped):
        os.unlink(paths.stopped)
    files.keep_reserve(paths.reserve)
    probe = GpuProbe(GpuClaims(paths.root))
    probe.ignored = set(_ignored(paths))
    backend = LocalBackend(paths, agent, zygote.start, probe)
    journal = Journal(paths.journal, time.time(), lambda: files.drop_reserve(paths.reserve), events.KINDS)
    engine = Engine(paths, journal, backend, time.time, _settings(paths), agent)
    engine.ledger.compact_if_due()
    return engine, probe, listener, question


def _remove_code_of_earlier_boots(paths: Paths) -> None:
    """Remove what was unpacked before the host was rebooted: nothing runs from it any more."""
    own = CODE_FOLDER + processes.boot_id()
    for folder in glob.glob(os.path.join(glob.escape(paths.agents), "*", CODE_FOLDER + "*")):
        if not os.path.basename(folder).startswith(own):
            shutil.rmtree(folder, ignore_errors=True)


def _remove_unused_interpreters(paths: Paths) -> None:
    """Remove what interpreters said long ago: it is asked for again where it is needed."""
    for path in glob.glob(os.path.join(glob.escape(paths.interpreters), "*")):
        try:
            if time.time() - os.lstat(path).st_mtime > _INTERPRETERS_KEPT:
                os.unlink(path)
        except OSError:
            continue


_INTERPRETERS_KEPT = 30 * 86400.0
"""Seconds."""


def _make_folders(paths: Paths) -> None:
    for folder in (paths.jobs, paths.objects, paths.trash):
        os.makedirs(folder, 0o700, exist_ok=True)


def _with_room(paths: Paths, write: Callable[[], None]) -> None:
    """Write something; on a full disk give up the reserve for it, and go on without when even that is not enough.

    A full disk must keep nobody from looking, stopping and pruning: what is not written is made up for at the next
    start, and jobs that need it fail with words.
    """
    for may_try_again in (True, False):
        try:
            return write()
        except OSError as error:
            if error.errno not in files.FULL:
                raise
            if not may_try_again or not files.drop_reserve(paths.reserve):
                return


def _listen(paths: Paths) -> Optional[socket.socket]:
    """Take one of our socket names; where others hold all of them, one that nobody else can know."""
    try:
        return unix_sockets.listen(paths.socket_names(), socket.SOCK_STREAM)
    except unix_sockets.AddressesTaken:
        files.write_bytes(paths.secret_name, os.urandom(16).hex().encode())
        return unix_sockets.listen(paths.socket_names(), socket.SOCK_STREAM)


def _ignored(paths: Paths) -> List[str]:
    uuids = files.read_json(paths.ignored_claims)
    return [uuid for uuid in uuids if isinstance(uuid, str)] if isinstance(uuids, list) else []


def _settings(paths: Paths) -> HostSettings:
    """Return what hosts.toml said of this host; what makes no sense is not kept: each client says it again."""
    try:
        return HostSettings.from_wire(files.read_json(paths.settings) or {}, "settings")
    except BadRequest:
        return HostSettings()


UNPACKED = ("foundations/", "foundations_serve/")
"""What jobs import."""


def unpack_sdk(paths: Paths, agent: str) -> None:
    """Lay the SDK and the model server beside the zipapp: a folder imports twice as fast as a zip."""
    target = paths.sdk(agent)
    if os.path.isdir(target):
        return
    import zipfile  # 2 MB that most daemons never need

    temporary = f"{target}.{os.getpid()}.tmp"
    with zipfile.ZipFile(paths.agent(agent)) as bundle:
        bundle.extractall(temporary, [name for name in bundle.namelist() if name.startswith(UNPACKED)])
    try:
        os.rename(temporary, target)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)  # another process was faster
