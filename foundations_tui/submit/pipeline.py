"""The sentence: snapshot, place, ship, submit, remember."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from foundations_tui import __version__
from foundations_tui.config import toml
from foundations_tui.config.hosts import owner_name
from foundations_tui.config.project import ProjectConfig, data_of, load_project
from foundations_tui.environments.preparation import Prepared
from foundations_tui.errors import (
    FoundationsError,
    HostRefused,
    HostUnreachable,
    NotFoundError,
    SnapshotError,
    UsageError,
)
from foundations_tui.hosts.agent import Agent
from foundations_tui.session import Session
from foundations_tui.snapshot import freeze, shadows
from foundations_tui.snapshot.freeze import LeftBehind, Snapshot
from foundations_tui.store import queries, writes
from foundations_tui.store.process_identity import own_identity
from foundations_tui.store.rows import JobRow
from foundations_tui.submit import data_sets, earlier_job, environment, placement, shipping
from foundations_tui.submit.environment import EnvironmentPreview
from foundations_tui.submit.progress import SILENT, Progress
from foundations_tui.submit.request import SPEC_OPTIONS, JobRequest, SubmittedJob, check, refuse_secrets
from foundations_tui.text import humanize
from remote_agent.protocol import checks, messages
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.jobs import ENV_NAME, JobSpec, JobView
from remote_agent.protocol.notices import NotifyTarget
from remote_agent.protocol.recipes import in_specification
from remote_agent.protocol.states import JobState
from remote_agent.protocol.wire import JsonTable

_log = logging.getLogger(__name__)
_MOST_LOGGED = 10
"""Jobs of one submit that the log names."""
_MOST_SENT_BYTES = 4 << 20
"""Most bytes of specifications in one message."""


def submit(
    session: Session,
    request: JobRequest,
    progress: Progress = SILENT,
    frozen: Snapshot | None = None,
) -> SubmittedJob:
    """Run a command somewhere, on the working tree as it is now; see ``submit_all``."""
    return submit_all(session, [request], progress, frozen)[0]


def submit_all(
    session: Session,
    requests: list[JobRequest],
    progress: Progress = SILENT,
    frozen: Snapshot | None = None,
) -> list[SubmittedJob]:
    """Run commands of one folder somewhere, on the working tree as it is now; all are submitted, or none.

    Args:
        session: the client's.
        requests: what to run, at least one; they share folder and choice of host.
        progress: gets the progress.
        frozen: the snapshot, when it has been taken already.
    Raises:
        FoundationsError: why not; then nothing runs and nothing is left to be sent. When several hosts are involved,
            what the ones before have accepted is stopped.
    """
    plan = _plan(session, requests, progress, frozen)
    submitted: dict[int, SubmittedJob] = {}
    try:
        for host in dict.fromkeys(plan.hosts):
            mine = [number for number, name in enumerate(plan.hosts) if name == host]
            parcel = _parcel(session, [requests[n] for n in mine], plan, host, progress)
            submitted.update(zip(mine, _submit_to(session, parcel, progress), strict=True))
    except FoundationsError:
        _call_back(session, submitted.values())
        raise
    return [submitted[number] for number in range(len(requests))]


def frozen(session: Session, request: JobRequest, progress: Progress = SILENT) -> Snapshot:
    """Return the snapshot that a job would have now.

    Raises:
        FoundationsError: it cannot be taken.
    """
    return _frozen(session, request, _checked_project(session, [request]), progress)


def parcel_of(
    session: Session, requests: list[JobRequest], progress: Progress = SILENT, frozen: Snapshot | None = None
) -> Parcel:
    """Return what would go to the host of some jobs of one folder, that of the first; nothing has been sent yet.

    Args:
        session: the client's.
        requests: the jobs.
        progress: gets the progress.
        frozen: their code, when it has been taken already.
    Raises:
        FoundationsError: why they cannot run.
    """
    plan = _plan(session, requests[:1], progress, frozen)
    parcel = _parcel(session, requests, plan, plan.hosts[0], progress)
    _check(session, parcel)
    return parcel


def ship(session: Session, agent: Agent, parcel: Parcel, progress: Progress = SILENT) -> shipping.Shipment:
    """Send a host what it lacks of a parcel; return how much that was.

    Raises:
        HostError: the connection was lost.
    """
    progress.stage(f"asking {parcel.host} what it lacks")
    shipped = shipping.ship(agent, session.store, parcel.frozen, progress)
    if parcel.files:
        shipping.ship_files(agent, parcel.files, progress)
    return shipped


@dataclass(frozen=True)
class Parcel:
    """What goes to one host: what is to run, its code, and what its environment is built of."""

    host: str
    specs: list[JobSpec]
    private: JsonTable
    """What is kept on the host only, and not in the specifications."""
    frozen: Snapshot
    files: Mapping[str, bytes | Path]


@dataclass(frozen=True)
class _Plan:
    """Where some jobs of one project go."""

    project: ProjectConfig
    private: JsonTable
    frozen: Snapshot
    hosts: list[str]
    """One a job."""


def _plan(session: Session, requests: list[JobRequest], progress: Progress, frozen: Snapshot | None) -> _Plan:
    first = requests[0]
    project = _checked_project(session, requests)
    if not first.code_of:
        refuse_secrets(project.env, f"[env] of {project.path}:")
    private = _private(session, first, project)
    host_choice = chosen_host(session, first, project)
    early = _connect_early(session, host_choice)
    frozen = frozen or _frozen(session, first, project, progress)
    progress.stage("connecting" if host_choice == "any" else f"connecting to {host_choice}")
    early.join()
    hosts = placement.choose(session, host_choice, [_need(request) for request in requests], frozen)
    return _Plan(project, private, frozen, hosts)


def _parcel(session: Session, requests: list[JobRequest], plan: _Plan, host: str, progress: Progress) -> Parcel:
    prepared = environment.for_jobs(session, requests, plan.project, plan.frozen, host, progress)
    private = {**plan.private, **prepared.private}
    specs = [
        make_spec(session, request, plan.project, plan.frozen, host, bool(private), of_job)
        for request, of_job in zip(requests, prepared.jobs, strict=True)
    ]
    return Parcel(host, specs, private, plan.frozen, prepared.files)


@dataclass(frozen=True)
class Preview:
    """What would be shipped."""

    host: str
    """Which host is meant, as it was asked for."""
    folder: Path
    """The root of what is shipped."""
    snapshot: str
    files: int
    bytes: int
    largest: list[tuple[str, int]]
    """(name, bytes) of the largest files."""
    left_behind: LeftBehind
    """What git ignores and the project may need."""
    empty_folders: tuple[str, ...]
    environment: EnvironmentPreview

    @property
    def lines(self) -> list[str]:
        """Return what is shipped, in words."""
        lines = [
            f"would ship {humanize.plural(self.files, 'file')}, {humanize.size(self.bytes)}, of {self.folder}"
            f" to {self.host}",
            "(a host that has some of it already gets only the rest)",
        ]
        if self.empty_folders:
            count = humanize.plural(len(self.empty_folders), "empty folder")
            lines.append(f"and {count}: {', '.join(self.empty_folders[:5])}")
        return [*lines, f"environment: {self.environment.words}"]


def preview(session: Session, requests: list[JobRequest], progress: Progress = SILENT) -> Preview:
    """Return what would be shipped for jobs of one folder; a host is asked only for what builds an environment.

    Args:
        session: the client's.
        requests: as for ``submit_all``.
        progress: gets the progress.
    Raises:
        FoundationsError: why they could not be submitted as they are.
    """
    first = requests[0]
    project = _checked_project(session, requests)
    frozen = _frozen(session, first, project, progress)
    host = chosen_host(session, first, project)
    return Preview(
        host=host,
        folder=frozen.root,
        snapshot=frozen.tree,
        files=frozen.files,
        bytes=frozen.size,
        largest=[(path.decode("utf-8", "replace"), size) for size, path in freeze.largest(frozen)],
        left_behind=LeftBehind([], 0) if first.code_of else freeze.left_behind(frozen, project.include),
        empty_folders=tuple(frozen.empty),
        environment=environment.preview(
            session, first, project, frozen, placement.candidates(session.hosts, host), progress
        ),
    )


def _checked_project(session: Session, requests: list[JobRequest]) -> ProjectConfig:
    """Return the project of requests that make sense.

    Raises:
        UsageError: one makes none. ConfigError: a file has something wrong, an unknown key, too.
    """
    first = requests[0]
    project = earlier_job.project(session, first.code_of) if first.code_of else load_project(first.folder)
    if first.is_bare:
        project = replace(project, data={}, outputs=(), directions={}, patterns=(), tensorboard=False)
    for request in requests:
        check(request)
    toml.refuse([*session.hosts.unknown, *project.unknown])
    return project


def _frozen(session: Session, request: JobRequest, project: ProjectConfig, progress: Progress) -> Snapshot:
    """Return what is shipped: the working tree as it is now, or the code of an earlier job."""
    if request.code_of:
        progress.stage(f"reading the code of {request.code_of[:6]}")
        return earlier_job.code_of(session, request.code_of)
    progress.stage("taking the snapshot")
    frozen = freeze.take(request.folder, project.max_file, project.include)
    pointers = freeze.lfs_pointers(frozen)
    if pointers:
        some = ", ".join(pointers[:3]) + (f" and {len(pointers) - 3} more" if len(pointers) > 3 else "")
        session.say(f"warning: {some}: pointers of Git LFS without their content (git lfs pull)")
    return frozen


def _call_back(session: Session, accepted: Iterable[SubmittedJob]) -> None:
    """Stop what some hosts have accepted of jobs that another host refused: all of them are submitted, or none."""
    left = []
    for job in accepted:
        request = messages.Stop(job.view.spec.job, owner_name(session.hosts), 0)
        try:
            session.ask(job.host, request)
        except FoundationsError:
            left.append(job.view.spec.job)
    if left:
        session.say(f"warning: {len(left)} jobs were accepted elsewhere and could not be stopped: {' '.join(left[:5])}")


def submit_again(session: Session, host: str, rows: list[JobRow]) -> list[JobSpec]:
    """Submit jobs of one host again as they were specified, with the same code: this client's, else the host's.

    Raises:
        UsageError: one had secrets. NotFoundError: neither has the code. HostError: the host is out of reach.
    """
    old = [JobSpec.from_wire(queries.spec(session.store.conn, row.job)) for row in rows]
    if any(spec.private for spec in old):
        raise UsageError("jobs with secrets or notices are submitted again by hand: those are kept nowhere")
    own: JsonTable = {"client": session.client_id, "client_version": __version__}
    specs = [replace(spec, job=os.urandom(6).hex(), created_at=time.time(), **own) for spec in old]
    snapshots = {row.snapshot for row in rows if queries.was_frozen_here(session.store.conn, row.job)}
    for frozen in filter(None, map(freeze.kept, snapshots)):
        with contextlib.suppress(SnapshotError):  # it is damaged here; the host may have it
            session.retrying(host, functools.partial(_ship_again, session, frozen))
    writes.add_intents(session.store, specs, host, own_identity())
    try:
        _send(session, specs, host, {}, None, SILENT)
    except NotFoundError as error:
        raise NotFoundError(f"{host}: {error}", "submit it from the working tree") from None
    return specs


def _ship_again(session: Session, frozen: Snapshot, agent: Agent) -> None:
    shipping.ship(agent, session.store, frozen, SILENT)


def _submit_to(session: Session, parcel: Parcel, progress: Progress) -> list[SubmittedJob]:
    _check(session, parcel)
    writes.add_intents(session.store, parcel.specs, parcel.host, own_identity())
    return _send(session, parcel.specs, parcel.host, parcel.private, parcel, progress)


def _check(session: Session, parcel: Parcel) -> None:
    """Refuse what its host would refuse, and keep the code here.

    Raises:
        UsageError: it makes no sense. HostRefused: the agent there is newer.
    """
    _refuse_if_newer(session.agent(parcel.host))
    for spec in parcel.specs:
        _refuse_after_elsewhere(session, spec, parcel.host)
        try:
            spec.check()
        except BadRequest as error:
            raise UsageError(str(error)) from None
    shadows.hold(parcel.frozen.shadow, {spec.snapshot for spec in parcel.specs})


def _need(request: JobRequest) -> placement.Need:
    return placement.Need(request.cpus, request.gpus, request.gpu_memory, request.ram)


def _private(session: Session, request: JobRequest, project: ProjectConfig) -> JsonTable:
    """Return what goes to the host beside the specification, and is kept only until the job has ended."""
    private: JsonTable = {}
    if request.secrets:
        for name in request.secrets:
            if not ENV_NAME.match(name):
                raise UsageError(f"--secret takes the name of a variable; got {name!r}")
        missing = [name for name in request.secrets if name not in os.environ]
        if missing:
            raise UsageError(
                f"--secret {missing[0]}: there is no such variable here", f"export {missing[0]}=... and submit again"
            )
        private["secrets"] = {name: os.environ[name] for name in request.secrets}
    notify = _notify(project.notify, session.hosts.notify)
    if notify is not None:
        private["notify"] = notify.to_wire()
    return private


def _notify(of_project: NotifyTarget | None, of_hosts: NotifyTarget | None) -> NotifyTarget | None:
    """Return whom a job's host tells of its end; a project that names only ends chooses those for the usual target."""
    target = next((target for target in (of_project, of_hosts) if target and (target.url or target.command)), None)
    return replace(target, on=of_project.on) if target and of_project and of_project.on is not None else target


def _refuse_after_elsewhere(session: Session, spec: JobSpec, host: str) -> None:
    """Refuse to wait for a job of another host: hosts cannot see each other."""
    for other in (*spec.after, *spec.after_any):
        try:
            there = queries.job(session.store.conn, other).host
        except NotFoundError:
            continue  # one of the same submit, or one that only the host knows
        if there != host:
            raise UsageError(
                f"--after {other[:6]}: that job is on {there}, this one would go to {host};"
                " hosts cannot see each other's jobs, so a job waits only for jobs of its own host",
                f"submit it with --host {there}",
            )


def chosen_host(session: Session, request: JobRequest, project: ProjectConfig) -> str:
    """Return which host is meant: the request's, the project's, the default, or any."""
    return request.host or project.host or session.hosts.default_host or placement.ANY


def _metrics(project: ProjectConfig) -> JsonTable:
    settings: JsonTable = {"direction": project.directions, "patterns": list(project.patterns)}
    settings["tensorboard"] = project.tensorboard
    return {key: value for key, value in settings.items() if value}


def make_spec(
    session: Session,
    request: JobRequest,
    project: ProjectConfig,
    frozen: Snapshot,
    host: str,
    private: bool,
    prepared: Prepared,
) -> JobSpec:
    """Return the specification of a job; it never changes again."""
    settings = session.hosts.host(host)
    refuse_secrets(settings.env, f"hosts.toml: env of {host}:")
    own = _of_this_shell(request.inherit_env, settings.is_local, prepared.recipe is not None)
    return JobSpec(
        job=os.urandom(6).hex(),
        command=request.command,
        snapshot=frozen.tree,
        owner=owner_name(session.hosts),
        client=session.client_id,
        subdir=frozen.subdir,
        folders=frozen.empty,
        python=settings.python,
        setup="\n".join(filter(None, [settings.setup, *project.runtime.setup])),
        data={**_placed(data_sets.resolved(session, host, data_of(project, settings)), frozen.subdir), **request.data},
        output_limit=project.output_limit,
        private=private,
        metrics=_metrics(project),
        git=frozen.git,
        created_at=time.time(),
        client_version=__version__,
        own_setup=project.runtime.setup,
        environment=in_specification(prepared.recipe) if prepared.recipe is not None else {},
        import_path=prepared.import_path,
        distributions=prepared.distributions,
        template=request.template,
        from_shell=tuple(sorted(set(own).difference(settings.env, project.env, request.env, request.inherit_env))),
        **{
            **{name: getattr(request, name) for name in SPEC_OPTIONS},
            "project": request.project or project.project or _named_by(frozen.root) or "default",
            "outputs": request.outputs or project.outputs,
            "kind": request.kind,
            "code_of": "" if request.is_bare else request.code_of,
            "env": {**own, **_public(settings.env, prepared.private), **project.env, **request.env},
        },
    )


def _public(env: Mapping[str, str], private: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a host without those that only its builds get: credentials of indexes."""
    return {name: value for name, value in env.items() if name not in private}


def _placed(data: dict[str, dict[str, str]], subdir: str) -> dict[str, dict[str, str]]:
    """Return data with its places below the snapshot's root: the project names them relative to its folder."""
    return {
        name: {**entry, "at": os.path.normpath(os.path.join(subdir, entry["at"])) if entry["at"] else ""}
        for name, entry in data.items()
    }


def _of_this_shell(names: tuple[str, ...], is_local: bool, has_environment: bool) -> dict[str, str]:
    """Return the variables that a job takes over from this process: those that were named, and on this machine a few.

    Args:
        names: those that were named.
        is_local: whether it runs on this machine.
        has_environment: whether it has an environment of its own: the one that is active here is another.
    Raises:
        UsageError: there is no such variable.
    """
    missing = [name for name in names if name not in os.environ]
    if missing:
        raise UsageError(f"--inherit-env {missing[0]}: there is no such variable here")
    usual = filter(earlier_job.is_of_a_shell, os.environ) if is_local else ()
    kept = [name for name in usual if not (has_environment and name in earlier_job.OF_AN_ENVIRONMENT)]
    return {name: os.environ[name] for name in (*kept, *names)}


def _named_by(folder: Path) -> str:
    """Return a folder's name, as far as it is text."""
    return os.fsencode(folder.name).decode("utf-8", "replace")


def _connect_early(session: Session, host: str) -> threading.Thread:
    """Connect while the snapshot is being taken; what goes wrong is met again, and said, later."""

    def connect() -> None:
        try:
            names = placement.candidates(session.hosts, host)
            if len(names) == 1:
                session.agent(names[0], asks=False)  # a question is asked in the main thread, which may be interrupted
        except FoundationsError:
            pass

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    return thread


def _refuse_if_newer(agent: Agent) -> None:
    if agent.is_newer:
        raise HostRefused(
            f"{agent.host.name}: the agent there is newer ({agent.hello.version}) than this client",
            "update foundations-tui; until then this client may look and stop, not submit",
        )


def _send(
    session: Session,
    specs: list[JobSpec],
    host: str,
    private: JsonTable,
    parcel: Parcel | None,
    progress: Progress,
) -> list[SubmittedJob]:
    """Ship (unless it is there) and submit, over dropped connections; the ids make sending twice harmless."""
    sent, answered = threading.Event(), threading.Event()
    requests = _requests(specs, private)
    """Each fits into one message; what comes in several is called back when one is refused."""

    def attempt(agent: Agent) -> list[SubmittedJob]:
        if parcel is None or (sent.is_set() and _has_job(agent, specs[0].job)):
            shipped = shipping.Shipment(0, 0)
        else:
            shipped = ship(session, agent, parcel, progress)
        progress.stage(f"submitting to {host}")
        sent.set()
        accepted: list[tuple[str, int, float, float]] = []
        try:
            for request in requests:
                accepted += agent.call(request, timeout=120).jobs
        except HostUnreachable:
            raise
        except FoundationsError:
            _stop_all(session, agent, [entry[0] for entry in accepted])
            answered.set()  # it is no
            raise
        views = [
            JobView(spec, JobState.QUEUED, seq, queued_at=queued_at, priority=spec.priority, rank=rank)
            for spec, (_, seq, queued_at, rank) in zip(specs, accepted, strict=True)
        ]
        writes.put_accepted(session.store, host, agent.hello.journal, views)
        for view in views[:_MOST_LOGGED]:
            _log.info("submitted", extra={"action": "submit", "host": host, "job": view.spec.job})
        if len(views) > _MOST_LOGGED:
            count = len(views) - _MOST_LOGGED
            _log.info("%d more submitted with them", count, extra={"action": "submit", "host": host})
        frozen = parcel.frozen if parcel is not None else None
        return [SubmittedJob(view, host, frozen, shipped) for view in views]

    try:
        return session.retrying(host, attempt)
    except BaseException as error:
        if answered.is_set() or not sent.is_set():
            writes.drop_intents(session.store, [spec.job for spec in specs])
        elif isinstance(error, FoundationsError):
            raise type(error)(
                f"{error}. Whether job {specs[0].job} has arrived is not known",
                "foundations sync settles it when the host is back",
            ) from None
        raise


def _stop_all(session: Session, agent: Agent, jobs: list[str]) -> None:
    """Stop what the host has taken of jobs of which it then refused others."""
    for job in jobs:
        agent.call(messages.Stop(job, owner_name(session.hosts), 0))


def _requests(specs: list[JobSpec], private: JsonTable) -> list[messages.SubmitMany]:
    """Return the requests that submit jobs: each names what its jobs share once."""
    wires = [spec.to_wire() for spec in specs]
    base = {key: value for key, value in wires[0].items() if all(wire[key] == value for wire in wires)}
    slices: list[list[JsonTable]] = []
    room = 0
    for wire in wires:
        own = {key: value for key, value in wire.items() if key not in base or key == "job"}
        room -= checks.json_size(own)
        if room < 0:
            slices.append([])
            room = _MOST_SENT_BYTES - checks.json_size(own)
        slices[-1].append(own)
    return [messages.SubmitMany(base, some, private or None, version=__version__) for some in slices]


def _has_job(agent: Agent, job: str) -> bool:
    """Return whether an earlier try has arrived after all."""
    try:
        agent.call(messages.ListFolder(job))
    except NotFoundError:
        return False
    return True
