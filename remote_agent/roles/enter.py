"""Becoming a command in a job's folder, with its environment and its GPUs: what ``shell`` and ``exec`` run.

It is not part of the job: it has no token of it, and outlives it.
"""

from __future__ import annotations

import base64
import json
import os
import pwd
import sys
from typing import Dict, List, Tuple

from remote_agent.protocol.errors import AgentError, NotFound
from remote_agent.protocol.jobs import JobSpec
from remote_agent.protocol.lease import Lease
from remote_agent.protocol.roles import EnterWanted
from remote_agent.protocol.supervision import record_of
from remote_agent.protocol.wire import JsonTable
from remote_agent.roles.nonce import say
from remote_agent.storage import files
from remote_agent.storage.paths import Paths
from remote_agent.supervisor import environment, used_environment


def main(root: str, agent: str, nonce: str, encoded: str) -> int:
    """Say that all is well, behind a nonce, and become the command; 125 and a message when it cannot be.

    Args:
        root: the agent's folder.
        agent: content hash of this agent.
        nonce: what the line begins with; "-" says nothing, and complains on standard error.
        encoded: ``EnterWanted`` as JSON in URL-safe base64.
    """
    try:
        request = EnterWanted.from_wire(json.loads(base64.urlsafe_b64decode(encoded)), "the request")
        home = (os.path.expanduser("~"), dict(os.environ))
        folder, env = _inside(Paths(root), agent, request) if request.job else home
        words = request.command or _login_shell()
        os.chdir(folder)
    except (AgentError, OSError, ValueError) as error:
        _say(nonce, {"error": str(error)})
        return 125
    _say(nonce, {"folder": folder})
    try:
        os.execvpe(words[0], words, env)
    except OSError as error:
        sys.stderr.write(f"foundations: cannot run {words[0]}: {error.strerror}\n")
        return 127 if isinstance(error, FileNotFoundError) else 126


def _inside(paths: Paths, agent: str, request: EnterWanted) -> Tuple[str, Dict[str, str]]:
    job = paths.job(request.job)
    attempt = job.attempt(request.attempt)
    if not os.path.isdir(attempt.work):
        raise NotFound("the job has no folder on this host: it has not started, or was pruned")
    spec = JobSpec.from_wire(files.read_json(job.spec) or {})
    lease = record_of(files.read_json(attempt.supervisor)).lease or Lease(spec.cpus)
    prefix = used_environment.prefix_of(paths, spec)
    env = environment.variables(spec, request.attempt, lease, paths, paths.sdk(agent), prefix)
    try:
        env.update(environment.secrets(spec, job))
    except AgentError:
        pass  # the job has ended, and its secrets went with it
    return os.path.join(attempt.work, spec.subdir), env


def _login_shell() -> List[str]:
    shell = os.environ.get("SHELL") or pwd.getpwuid(os.getuid()).pw_shell or "/bin/sh"
    return [shell, "-i"]


def _say(nonce: str, words: JsonTable) -> None:
    if nonce == "-":
        if "error" in words:
            sys.stderr.write(f"error: {words['error']}\n")
        return
    say(nonce, **words)
