"""Jobs that a job of this host submits and looks at: what the SDK asks for where there is no client.

A nested job begins from the snapshot, the environment and the owner of the job that submits it.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from typing import Tuple, Type, cast

from remote_agent.protocol import checks, framing, messages
from remote_agent.protocol.errors import AgentError, BadRequest, Conflict, NotFound
from remote_agent.protocol.jobs import JOB_ID, JobSpec
from remote_agent.protocol.messages import A
from remote_agent.protocol.wire import JsonTable
from remote_agent.roles.nonce import say
from remote_agent.storage import files
from remote_agent.storage.objects import ObjectStore
from remote_agent.storage.paths import Paths
from remote_agent.system import unix_sockets

_PATIENCE = 60.0
"""Seconds that the agent may take to answer."""
_RESTART = 10.0
"""Seconds that an agent may take to be there again."""
_OWN = ("job", "created_at", "command", "params", "name", "tags", "project", "group", "gpus", "ram", "subdir")
"""What a nested job has of its own."""


def main(root: str, nonce: str) -> int:
    """Do what standard input asks for, JSON, and say the answer behind a nonce.

    Args:
        root: the agent's folder.
        nonce: what the line begins with.
    """
    try:
        request = _WISH(json.loads(sys.stdin.buffer.read()), "")
        answer = _METHODS[request["method"]](Paths(root), request)
    except (AgentError, OSError, ValueError, RecursionError) as error:
        say(nonce, error={"code": getattr(error, "code", BadRequest.code), "message": str(error)})
        return 1
    say(nonce, **answer)
    return 0


def _submit(paths: Paths, request: JsonTable) -> JsonTable:
    """Submit a job like the one that asks: "parent", "spec" (what it has of its own)."""
    if "parent" not in request or "spec" not in request or "job" not in request["spec"]:
        raise BadRequest("a submit has a parent, and a spec with a job's id")
    parent = files.read_json(paths.job(request["parent"]).spec)
    if not isinstance(parent, dict):
        raise NotFound(f"job {request['parent']} is not known here")
    own = {name: request["spec"][name] for name in _OWN if name in request["spec"]}
    if parent.get("secrets"):
        raise Conflict("a job with secrets submits no others: they stay its own")
    like = {name: parent[name] for name in _SHARED if name in parent}
    spec = JobSpec.from_wire({**like, **own})
    spec.check()
    begins = os.fsencode(spec.subdir) + b"/"
    if spec.subdir and not any(
        name.startswith(begins) for _, name, _ in ObjectStore(paths.objects).walk(spec.snapshot)
    ):
        raise BadRequest(f"the folder {spec.subdir!r} is not part of what this job began with")
    answer, _ = _call(paths, messages.Submit(spec.to_wire()))
    return {"job": answer.job["spec"]["job"]}


_SHARED = (
    *(
        "snapshot",
        "owner",
        "client",
        "project",
        "subdir",
        "folders",
        "python",
        "setup",
        "env",
        "data",
        "metrics",
        "git",
    ),
    *("priority", "outputs", "output_limit", "log_limit"),
)
"""What a nested job has of the one that submits it."""


def _view(paths: Paths, request: JsonTable) -> JsonTable:
    """Return a job as it is now: "job"."""
    if "job" not in request:
        raise BadRequest("a view is of a job")
    data, size = b"", 1
    while len(data) < size:
        answer, page = _call(paths, messages.Entry(request["job"], len(data)))
        data, size = data + page, answer.size
        if not page:
            raise Conflict("it changes faster than it can be read")
    return {"view": json.loads(data)}


_METHODS = {"submit": _submit, "view": _view}
_JOB = checks.text(64, JOB_ID, "a job's id")
_WISH = checks.record(
    {"method": checks.one_of(*_METHODS), "job": _JOB, "parent": _JOB, "spec": checks.any_table}, ["method"]
)


def _daemon(paths: Paths) -> socket.socket:
    """Return a connection to the daemon; one that is being started again is waited for."""
    deadline = time.monotonic() + _RESTART
    while True:
        daemon = unix_sockets.connect(paths.socket_names(), socket.SOCK_STREAM)
        if daemon is not None:
            return daemon
        if time.monotonic() > deadline:
            raise Away("the agent of this host does not run just now")
        time.sleep(0.5)


class Away(AgentError):
    """The agent did not answer; asked again, it may."""

    code = "away"


def _call(paths: Paths, request: messages.Request[A]) -> Tuple[A, bytes]:
    """Ask the daemon of this host.

    Raises:
        AgentError: it refuses, or does not run.
    """
    try:
        return _answered(paths, request)
    except (ConnectionError, TimeoutError, socket.timeout) as error:  # it was killed while it was asked
        raise Away(f"the agent of this host went away while it was asked: {error}") from None


def _answered(paths: Paths, request: messages.Request[A]) -> Tuple[A, bytes]:
    with _daemon(paths) as daemon:
        daemon.settimeout(_PATIENCE)
        daemon.sendall(framing.encode(framing.request(1, request.METHOD, request.to_wire())))
        reader = framing.FrameReader()
        while True:
            data = daemon.recv(1 << 16)
            if not data:
                raise Away("the agent of this host ended while it was asked")
            for frame in reader.feed(data):
                if "error" in frame.message:
                    raise BadRequest(frame.message["error"]["message"])
                kind = cast("Type[A]", request.ANSWER)
                return messages.answer_from_wire(kind, frame.message["result"], frame.blob), frame.blob
