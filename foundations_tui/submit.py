"""The sentence: snapshot, place, ship, submit, remember."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foundations_tui import config, placement, shipping, snapshot
from foundations_tui.config import ProjectConfig
from foundations_tui.errors import FoundationsError, HostRefused, HostUnreachable, NotFoundError, UsageError
from foundations_tui.hosts.agent import Agent
from foundations_tui.session import Session, own_identity
from foundations_tui.snapshot import Snapshot
from foundations_tui.store import writes
from remote_agent import protocol
from remote_agent.errors import BadRequest
from remote_agent.jobs import JobSpec, JobView

_SECRET = re.compile(r"(TOKEN|KEY|PASSWORD|PASSWD|SECRET|CREDENTIAL)S?(?![A-Z])", re.IGNORECASE)
"""Names of secrets; TOKENIZERS_PARALLELISM is none."""
_MOST = 100_000
_OF_THIS_SHELL = ("PATH", "VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "LD_LIBRARY_PATH", "FOUNDATIONS_HOME")
"""What a job on this machine takes over from the shell that submits it."""


@dataclass(frozen=True)
class Request:
    """What a user asks for, by command line, form or SDK."""

    command: tuple[str, ...]
    """The argument vector; with ``shell`` one string."""
    folder: Path
    """The folder that the user stands in."""
    shell: bool = False
    host: str = ""
    """Empty for the project's, the default, or any."""
    project: str = ""
    name: str = ""
    cpus: int = 1
    gpus: int = 0
    params: dict[str, Any] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    tags: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Submitted:
    """A job that its host has acknowledged."""

    view: JobView
    host: str
    snapshot: Snapshot
    shipped: shipping.Shipment


def submit(
    session: Session,
    request: Request,
    progress: shipping.Progress = lambda done, total, sent: None,
    frozen: Snapshot | None = None,
) -> Submitted:
    """Run a command somewhere, on the working tree as it is now.

    Args:
        session: the client's.
        request: what to run.
        progress: called while the snapshot travels.
        frozen: the snapshot, when it has been taken already: the jobs of a sweep share it.
    Raises:
        FoundationsError: why not; then nothing runs and nothing is left to be sent.
    """
    project = config.load_project(request.folder)
    check(request)
    _refuse_secrets(project.env, f"[env] of {project.path}:")
    wish = host_wish(session, request, project)
    early = _connect_early(session, wish)
    frozen = frozen or snapshot.take(request.folder, project.max_file)
    early.join()
    host = placement.choose(session, wish, request.cpus, request.gpus)
    agent = session.agent(host)
    _refuse_if_newer(agent)
    spec = make_spec(session, request, project, frozen, host)
    try:
        spec.check()
    except BadRequest as error:
        raise UsageError(str(error)) from None
    writes.add_intent(session.store, spec, host, own_identity())
    return _send(session, spec, host, frozen, progress)


def check(request: Request) -> None:
    """Raise UsageError when a request makes no sense."""
    if not request.command or not request.command[0]:
        raise UsageError("there is no command", "foundations submit -- python train.py")
    if request.cpus < 1:
        raise UsageError("--cpus is at least 1")
    if request.gpus < 0:
        raise UsageError("--gpus is 0 or more")
    if max(request.cpus, request.gpus) > _MOST:
        raise UsageError(f"no host has more than {_MOST:,} CPUs or GPUs")
    _refuse_secrets(request.env, "--env")


def _refuse_secrets(names: Iterable[str], where: str) -> None:
    for name in names:
        if _SECRET.search(name):
            raise UsageError(
                f"{where} {name} looks like a secret: it would be written into the job's specification, readable later",
                "put it into a file on the host (chmod 600) and have the job read that",
            )


def host_wish(session: Session, request: Request, project: ProjectConfig) -> str:
    """Return which host is meant: the request's, the project's, the default, or any."""
    return request.host or project.host or session.hosts.default_host or placement.ANY


def make_spec(session: Session, request: Request, project: ProjectConfig, frozen: Snapshot, host: str) -> JobSpec:
    """Return the specification of a job; it never changes again."""
    settings = session.hosts.host(host)
    _refuse_secrets(settings.env, f"hosts.toml: env of {host}:")
    own = {key: os.environ[key] for key in _OF_THIS_SHELL if key in os.environ} if settings.is_local else {}
    return JobSpec(
        job=os.urandom(6).hex(),
        command=request.command,
        snapshot=frozen.tree,
        project=request.project or project.project or _named_by(frozen.root) or "default",
        name=request.name,
        owner=config.owner_name(session.hosts),
        client=session.client_id(),
        shell=request.shell,
        subdir=frozen.subdir,
        python=settings.python,
        setup=settings.setup,
        cpus=request.cpus,
        gpus=request.gpus,
        params=request.params,
        env={**own, **settings.env, **project.env, **request.env},
        tags=request.tags,
        git=frozen.git,
        created_at=time.time(),
    )


def _named_by(folder: Path) -> str:
    """Return a folder's name, as far as it is text."""
    return os.fsencode(folder.name).decode("utf-8", "replace")


def _connect_early(session: Session, wish: str) -> threading.Thread:
    """Connect while the snapshot is being taken; what goes wrong is met again, and said, later."""

    def connect() -> None:
        try:
            names = placement.candidates(session.hosts, wish)
            if len(names) == 1:
                session.agent(names[0])
        except FoundationsError:
            pass

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    return thread


def _refuse_if_newer(agent: Agent) -> None:
    if agent.is_newer:
        raise HostRefused(
            f"{agent.host.name}: the agent there is newer ({agent.hello['version']}) than this client",
            "update foundations-tui; until then this client may look and stop, not submit",
        )


def _send(session: Session, spec: JobSpec, host: str, frozen: Snapshot, progress: shipping.Progress) -> Submitted:
    """Ship and submit, over dropped connections; the id makes sending twice harmless."""
    sent, answered = threading.Event(), threading.Event()
    wish = {"spec": spec.to_wire(), "protocol": protocol.VERSION}

    def attempt(agent: Agent) -> Submitted:
        if sent.is_set() and _has_job(agent, spec.job):
            shipped = shipping.Shipment(0, 0)
        else:
            shipped = shipping.ship(agent, session.store, frozen, progress)
        sent.set()
        try:
            answer, _ = agent.call("submit", wish)
        except HostUnreachable:
            raise
        except FoundationsError:
            answered.set()  # it is no
            raise
        view = JobView.from_wire(answer["job"])
        writes.put_acknowledged(session.store, host, agent.hello["journal"], view)
        return Submitted(view, host, frozen, shipped)

    try:
        return session.retrying(host, attempt)
    except BaseException as error:
        if answered.is_set() or not sent.is_set():
            writes.drop_intent(session.store, spec.job)
        elif isinstance(error, FoundationsError):
            raise type(error)(
                f"{error}. Whether job {spec.job} has arrived is not known",
                "foundations sync settles it when the host is back",
            ) from None
        raise


def _has_job(agent: Agent, job: str) -> bool:
    """Say whether an earlier try has arrived after all."""
    try:
        agent.call("list", {"job": job})
    except NotFoundError:
        return False
    return True
