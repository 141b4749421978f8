"""Removing all that the agent has on a host: its root, and what starts it at boot. Nothing may run."""

from __future__ import annotations

import os
import shutil
import socket
from typing import Iterator, Optional

from remote_agent.environments import places
from remote_agent.gpu import claims
from remote_agent.protocol.process_identity import ProcessIdentity
from remote_agent.protocol.supervision import record_of
from remote_agent.protocol.wire import JsonTable
from remote_agent.roles import autostart
from remote_agent.roles.nonce import say
from remote_agent.storage import files
from remote_agent.storage.paths import Paths
from remote_agent.system import processes, unix_sockets


def main(root: str, nonce: str) -> int:
    """Remove it, and say so behind the nonce; refuse while an agent or a job of it lives."""
    answer = remove(root)
    say(nonce, **answer)
    return 1 if "error" in answer else 0


def remove(root: str) -> JsonTable:
    """Remove a root; return what was removed, or why not."""
    paths = Paths(root)
    serving = unix_sockets.connect(paths.socket_names(), socket.SOCK_STREAM)
    if serving is not None:
        serving.close()
        return _no("the agent is still running")
    if any(map(processes.is_alive, _supervisors(paths))):
        return _no("jobs are still running")
    if any(attempt.is_alive() for attempt in places.all_tries(paths)):
        return _no("an environment is still being built; try again in a moment")
    autostart.turn_off(root)
    try:
        for folder in {os.path.dirname(places.folder(paths)), root}:
            files.remove_tree(folder)
            if os.path.isdir(folder):
                shutil.rmtree(folder)  # says what stops it
        _remove_if_empty(os.path.dirname(root))
        _remove_if_empty(claims.FOLDER)
    except OSError as error:
        return _no(f"{error.strerror}: {error.filename}")
    return {"removed": root}


def _supervisors(paths: Paths) -> Iterator[Optional[ProcessIdentity]]:
    for job in os.listdir(paths.jobs) if os.path.isdir(paths.jobs) else ():
        attempts = os.path.join(paths.job(job).folder, "attempts")
        for number in os.listdir(attempts) if os.path.isdir(attempts) else ():
            yield record_of(files.read_json(os.path.join(attempts, number, "supervisor.json"))).supervisor


def _remove_if_empty(folder: str) -> None:
    if os.path.basename(folder) in (".foundations", f"foundations-{os.getuid()}", os.path.basename(claims.FOLDER)):
        try:
            os.rmdir(folder)
        except OSError:
            pass  # another machine's root, or another agent's claim, lies in it


def _no(words: str) -> JsonTable:
    return {"error": {"code": "conflict", "message": words}}
