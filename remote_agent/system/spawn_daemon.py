"""Starting a daemon that belongs to nobody: not to the connection, not to the job that asked for it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Optional

from remote_agent.storage.paths import Paths
from remote_agent.system.clean_environment import scrubbed


def start_daemon(paths: Paths, agent: str, report: Optional[int] = None) -> None:
    """Start the daemon of a root from a zipapp, in a session of its own; it refuses when there is one already.

    Args:
        paths: the agent's files.
        agent: the zipapp.
        report: descriptor on which the daemon writes one line when it serves, or why it does not.
    """
    log = os.open(paths.daemon_log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    words = [] if report is None else [str(report)]
    intermediate = os.fork()
    if intermediate == 0:
        try:
            subprocess.Popen(
                [sys.executable, "-I", "-S", "-E", agent, "daemon", paths.root, *words],
                env=scrubbed(dict(os.environ)),
                cwd=paths.root,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=[] if report is None else [report],
            )
        finally:
            os._exit(0)
    os.waitpid(intermediate, 0)
    os.close(log)


def start_current_daemon(paths: Paths) -> None:
    """Start the daemon of the version that ``agents/current`` names, when there is one."""
    try:
        with open(paths.current_agent, encoding="ascii") as file:
            agent = paths.agent(file.read().strip())
    except OSError:
        return
    if os.path.exists(agent):
        start_daemon(paths, agent)
