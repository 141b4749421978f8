"""A version as a service: the model server, or the version's own command, with its code, environment and files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from foundations_tui.config.hosts import owner_name
from foundations_tui.errors import FoundationsError, UsageError
from foundations_tui.services import request as services
from foundations_tui.services.models import files, operations, registering
from foundations_tui.services.models.operations import Promoted
from foundations_tui.services.operations import Served, serve
from foundations_tui.services.request import ServiceRequest
from foundations_tui.session import Session
from foundations_tui.store import queries
from foundations_tui.store.models import Meant
from foundations_tui.store.rows import JobRow
from foundations_tui.store.services import ServiceRow
from foundations_tui.submit import earlier_job, placement
from foundations_tui.submit.progress import SILENT, Progress
from foundations_tui.submit.request import words_of
from foundations_tui.text.options import Kind
from remote_agent.protocol import models
from remote_agent.protocol.chains import VARIABLE
from remote_agent.protocol.jobs import JobSpec

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
    follow: bool = False,
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
        follow: whether it goes on to what the alias comes to mean, when somebody promotes another version.
        progress: gets the progress.
    Raises:
        NotFoundError: there is no such version. UsageError: it makes no sense. HostError: a host is out of reach.
    """
    meant = operations.meant(session, reference)
    version = meant.version.version
    refuse_strangers(session, meant, trust)
    if follow and not meant.alias:
        raise UsageError(f"{reference} is one version and no alias: there is nothing to follow")
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
        serving=replace(
            service.serving, model=meant.row.name, version=meant.version.number, alias=meant.alias, follow=follow
        ),
    )


def values_of(session: Session, service: ServiceRow | None) -> dict[str, Any]:
    """Return the options by which a service goes on as it is, on its host; none for one that is to begin.

    What its replicas were given (GPUs, memory, variables) is known of their jobs.
    """
    if service is None:
        return {}
    probes = service.view.probes
    values = {"startup": probes.startup, "probe_every": probes.period, "probe_timeout": probes.timeout}
    values["idle_stop"] = probes.idle_stop
    jobs = [replica.job for replica in service.view.running if replica.revision == service.view.revision]
    rows = queries.jobs_by_id(session.store.conn, jobs, details=False)
    return {**(_options_of(session, rows[0]) if rows else {}), **values, "host": service.host}


def _options_of(session: Session, row: JobRow) -> dict[str, Any]:
    """Return the options that a replica was given, as ``services.request.read`` takes them."""
    wire = queries.spec(session.store.conn, row.job)
    values: dict[str, Any] = {}
    for name, words in words_of(wire).items():
        option = services.ALL_OPTIONS.get(name)
        if option is None or not words or name in _OF_THE_MODEL:
            continue
        texts = [option.read(text) for text in words[1::2]]
        values[name] = True if option.kind is Kind.FLAG else tuple(texts) if option.repeats else texts[0]
    spec = JobSpec.from_wire(wire)
    own = earlier_job.own_variables(spec, session.hosts.host(row.host))
    kept = {key: value for key, value in own.items() if key != VARIABLE}
    return {**values, "secrets": spec.secrets, "env": tuple(f"{key}={value}" for key, value in kept.items())}


_OF_THE_MODEL = ("host", "name", "project", "folder", "code_of")
"""Options of a job that follow from what is served, and where."""


def follow(session: Session, promoted: Promoted, progress: Progress = SILENT) -> list[Served]:
    """Have services that follow an alias go on to what it means now; what cannot be done is said.

    Args:
        session: the client's.
        promoted: what the alias means.
        progress: gets the progress.
    """
    served = []
    for service in promoted.left_behind:
        if not (service.view.follow and service.view.replicas):
            continue
        reference = f"{promoted.row.name}@{promoted.alias}"
        try:
            values = values_of(session, service)
            request = read(session, reference, service.name, values, Path(), follow=True, progress=progress)
            served.append(serve(session, request, progress))
        except FoundationsError as error:
            session.say(f"warning: service {service.name} does not follow: {error}")
    return served


def refuse_strangers(session: Session, meant: Meant, trust: bool) -> None:
    """Refuse to run a program that somebody else has written as a model, unless that was asked for.

    Raises:
        UsageError: it is one.
    """
    version = meant.version.version
    owners = {version.owner, queries.job(session.store.conn, version.job).owner}
    others = owners - {owner_name(session.hosts)}
    if version.flavour in models.PROGRAMS and others and not trust:
        who = ", ".join(sorted(filter(None, others))) or "somebody else"
        raise UsageError(f"{meant.words} is a {version.flavour} file of {who}: reading it runs it", "--trust does")


def _host(session: Session, service: ServiceRequest, job: str) -> str:
    """Return where it goes: to the host that is named, else to that of the version's job."""
    wanted = service.job.host or queries.job(session.store.conn, job).host
    if wanted in session.hosts.hosts:
        return wanted
    need = placement.Need(service.job.cpus, service.job.gpus, service.job.gpu_memory, service.job.ram)
    return placement.choose(session, wanted, [need], earlier_job.code_of(session, job))[0]
