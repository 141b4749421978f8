"""A version as a service: the model server, or the version's own command, with its code, environment and files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from foundations_tui.config.hosts import owner_name
from foundations_tui.errors import UsageError
from foundations_tui.services import request as services
from foundations_tui.services.models import files, operations, registering
from foundations_tui.services.request import ServiceRequest
from foundations_tui.session import Session
from foundations_tui.store import queries
from foundations_tui.store.models import Meant
from foundations_tui.store.services import ServiceRow
from foundations_tui.submit import earlier_job, placement
from foundations_tui.submit.progress import SILENT, Progress
from remote_agent.protocol import models

SERVER = ("python", "-m", "foundations_serve", "run", "--socket", "{socket}")
_PROBES = {"ready": "/v2/health/ready", "live": "/v2/health/live"}


def read(
    session: Session,
    reference: str,
    name: str,
    values: Mapping[str, Any],
    folder: Path,
    trust: bool = False,
    sends: bool = True,
    progress: Progress = SILENT,
) -> ServiceRequest:
    """Return the request that serves a version.

    Args:
        session: the client's.
        reference: NAME@ALIAS or NAME@7.
        name: of the service; "" for the model's.
        values: those options that were given, by the names of ``ALL_OPTIONS``.
        folder: where the user stands.
        trust: whether a program of somebody else may be run.
        sends: whether files that the host lacks are sent there; else it is not asked what it has.
        progress: gets the progress.
    Raises:
        NotFoundError: there is no such version. UsageError: it makes no sense. HostError: a host is out of reach.
    """
    meant = operations.meant(session, reference)
    version = meant.version.version
    refuse_strangers(session, meant, trust)
    is_command = version.flavour == models.COMMAND
    command = tuple(version.command) if is_command else SERVER
    own = {"ready": version.ready} if is_command else _PROBES
    spec = queries.spec(session.store.conn, version.job)
    usual = {"gpus": min(1, int(spec.get("gpus") or 0)), **{key: value for key, value in own.items() if value}}
    service = services.read(session.store.conn, name or meant.row.name, command, {**usual, **values}, folder)
    host = _host(session, service, version.job)
    told = registering.manifest(meant.row.name, meant.version.number, version)
    data = files.on_host(session, version, host, progress) if sends else {}
    job = registering.job_request(version, command, told, host, data)
    own_env = {**job.env, **service.job.env}
    kept = {name: getattr(job, name) for name in ("code_of", "data", "packages", "is_bare", "host")}
    return replace(
        service,
        job=replace(service.job, **kept, env=own_env, project=service.job.project or version.project),
        serving=replace(service.serving, model=meant.row.name, version=meant.version.number, alias=meant.alias),
    )


def values_of(service: ServiceRow | None) -> dict[str, Any]:
    """Return the options by which a service goes on as it is, on its host; none for one that is to begin."""
    if service is None:
        return {}
    probes = service.view.probes
    return {
        "host": service.host,
        "startup": probes.startup,
        "probe_every": probes.period,
        "probe_timeout": probes.timeout,
    }


def refuse_strangers(session: Session, meant: Meant, trust: bool) -> None:
    """Refuse to run a program that somebody else has written as a model, unless that was asked for.

    Raises:
        UsageError: it is one.
    """
    version = meant.version.version
    if version.flavour in models.PROGRAMS and version.owner != owner_name(session.hosts) and not trust:
        raise UsageError(
            f"{meant.words} is a {version.flavour} file of {version.owner or 'somebody else'}: reading it runs it",
            "--trust does",
        )


def _host(session: Session, service: ServiceRequest, job: str) -> str:
    """Return where it goes: to the host that is named, else to that of the version's job."""
    wanted = service.job.host or queries.job(session.store.conn, job).host
    if wanted in session.hosts.hosts:
        return wanted
    need = placement.Need(service.job.cpus, service.job.gpus, service.job.gpu_memory, service.job.ram)
    return placement.choose(session, wanted, [need], earlier_job.code_of(session, job))[0]
