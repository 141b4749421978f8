"""Trying the setup lines of a host, as a job would run them: ``hosts test`` does, before the first job finds out."""

from __future__ import annotations

import subprocess

from remote_agent.protocol.checks import writable
from remote_agent.protocol.roles import SetupTrial
from remote_agent.roles.nonce import say
from remote_agent.storage.paths import Paths
from remote_agent.supervisor import environment
from remote_agent.system import login

_SECONDS = 60
_MOST_SAID = 2000


def main(root: str, nonce: str, setup: str) -> int:
    """Run the lines and print, behind the nonce, how they ended: a ``SetupTrial``.

    Args:
        root: the agent's folder.
        nonce: what the line begins with.
        setup: the lines.
    """
    env = {**login.identity(), "PATH": login.path(Paths(root).login_path)}
    try:
        done = subprocess.run(
            environment.with_setup(setup, "exit 0"),
            env=env,
            cwd=login.home(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_SECONDS,
        )
        code, output = done.returncode, done.stdout
    except subprocess.TimeoutExpired:
        code, output = 124, f"it did not end within {_SECONDS} s".encode()
    except OSError as error:
        code, output = 126, str(error).encode()
    trial = SetupTrial(code, writable(output[-_MOST_SAID:].decode("utf-8", "replace")))
    say(nonce, **trial.to_wire())
    return 0
