"""The environments of jobs that are submitted together: what they run in on their host."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from foundations_tui.config.hosts import HostConfig
from foundations_tui.config.project import ProjectConfig
from foundations_tui.environments import preparation, sources
from foundations_tui.environments.locking import Lock
from foundations_tui.environments.preparation import Prepared, Wish
from foundations_tui.environments.sources import Source
from foundations_tui.errors import HostRefused, HostUnreachable, NotFoundError, UsageError
from foundations_tui.session import Session
from foundations_tui.snapshot.freeze import Snapshot
from foundations_tui.store import queries, write_facts
from foundations_tui.submit.progress import Progress
from foundations_tui.submit.request import JobRequest
from remote_agent.protocol.jobs import JobSpec
from remote_agent.protocol.recipes import EXPLICIT, REQUIREMENTS, Recipe, in_specification, recipe_of
from remote_agent.protocol.roles import HostTools
from remote_agent.protocol.wire import JsonTable

_KNOWN_SECONDS = 600.0
"""How long what a host has is remembered."""


@dataclass
class ForJobs:
    """The environments of some jobs of one host."""

    jobs: list[Prepared] = field(default_factory=list)
    """In the order of the jobs."""

    @property
    def files(self) -> Mapping[str, bytes | Path]:
        """Return what has to be there before the jobs are."""
        return {oid: content for prepared in self.jobs for oid, content in prepared.files.items()}

    @property
    def private(self) -> JsonTable:
        """Return what goes along and is written down nowhere."""
        merged = {name: value for prepared in self.jobs for name, value in prepared.private.items()}
        return {"build": merged} if merged else {}


def for_jobs(
    session: Session,
    requests: Sequence[JobRequest],
    project: ProjectConfig,
    frozen: Snapshot,
    host: str,
    progress: Progress,
) -> ForJobs:
    """Return the environments of jobs, locked; each kind is prepared once.

    Args:
        session: the client's.
        requests: the jobs.
        project: theirs.
        frozen: their code.
        host: where they go.
        progress: gets the progress.
    Raises:
        FoundationsError: why one of them cannot be had there.
    """
    made: dict[tuple[object, ...], Prepared] = {}
    chosen = ForJobs()
    for request in requests:
        key = (sources.script_of(request.command), bool(request.gpus), request.packages)
        if key not in made:
            made[key] = _prepared(session, request, project, frozen, session.hosts.host(host), progress)
            if made[key].lock and made[key].recipe is not None:
                write_facts.put_lock(session.store, made[key].lock)
            for note in made[key].notes:
                session.say(f"warning: {note}")
        chosen.jobs.append(made[key])
    return chosen


@dataclass(frozen=True)
class EnvironmentPreview:
    """What jobs would run in."""

    words: str
    recipe: Recipe | None = None
    """None where the host's own Python has to do, or where the host is still to be chosen."""
    built: bool | None = None
    """Whether it is there already; None when that is not known."""

    def to_json(self) -> JsonTable | None:
        """Return it as ``--json`` prints it."""
        told = {"words": self.words, "built": self.built}
        if self.recipe is not None:
            names = ("kind", "source", "python", "platform", "lock", "extras", "groups")
            wire = self.recipe.to_wire()
            told.update({name: wire[name] for name in names}, hash=self.recipe.hash)
        return told


def preview(
    session: Session,
    request: JobRequest,
    project: ProjectConfig,
    frozen: Snapshot,
    hosts: Sequence[str],
    progress: Progress,
) -> EnvironmentPreview:
    """Return what a job would run in; the one host that is meant is asked what it has.

    Args:
        session: the client's.
        request: the job.
        project: its.
        frozen: its code.
        hosts: where it may go.
        progress: gets the progress.
    Raises:
        UsageError: it cannot be had anywhere.
    """
    host = session.hosts.host(hosts[0])
    wanted = wish(request, project)
    source = None if request.code_of else preparation.source_of(frozen, request.command, wanted, host)
    if not request.code_of and (source is None or source.how == sources.NONE):
        warnings = "; ".join(source.warnings) if source is not None else ""
        return EnvironmentPreview("the host's own Python" + (f" ({warnings})" if warnings else ""))
    if len(hosts) > 1:
        what = source.words if source is not None else f"that of job {request.code_of[:6]}"
        return EnvironmentPreview(f"{what}; locked when the host is chosen")
    try:
        prepared = _prepared(session, request, project, frozen, host, progress)
        if prepared.recipe is None:
            return EnvironmentPreview(prepared.words)
        told = json.dumps([in_specification(prepared.recipe)])
        answer = session.retrying(host.name, lambda agent: HostTools.from_wire(agent.run_role("tools", told), "tools"))
        built = prepared.recipe.hash in answer.built
        words = f"built already on {host.name}" if built else f"to be built on {host.name}"
        return EnvironmentPreview(f"{words}: {prepared.words}", prepared.recipe, built)
    except HostUnreachable as error:
        what = source.words if source is not None else f"that of job {request.code_of[:6]}"
        return EnvironmentPreview(f"{what}; {error}")


def wish(request: JobRequest, project: ProjectConfig) -> Wish:
    """Return what was asked for of an environment."""
    given = Wish(
        request.runtime,
        request.python_version,
        request.extras,
        request.dependency_groups,
        request.ship_wheels,
        request.relock,
        packages=request.packages,
    )
    return preparation.wish_of(project.runtime, given)


def _prepared(
    session: Session,
    request: JobRequest,
    project: ProjectConfig,
    frozen: Snapshot,
    host: HostConfig,
    progress: Progress,
) -> Prepared:
    wanted = wish(request, project)
    if request.code_of and not wanted.is_made:
        return _of_earlier_job(session, request, frozen, host, progress)
    if request.exact:
        raise UsageError("--exact means the environment of the job that is run again: no other may be asked for")
    source = preparation.source_of(frozen, request.command, wanted, host)
    if source is None and wanted.packages and wanted.runtime != sources.NONE and not host.python:
        source = sources.nothing()
    if source is None or source.how == sources.NONE:
        if wanted.runtime == sources.NONE or not (wanted.python or wanted.extras or wanted.groups or wanted.ship):
            return Prepared(notes=source.warnings if source is not None else ())
        if wanted.extras or wanted.groups or wanted.ship:
            raise UsageError(
                "--extra, --with-group and --ship-wheels mean packages, and the project names none",
                "a header of the script, uv.lock, requirements.txt, [project] dependencies: docs/environments.md",
            )
        source = sources.nothing()
    tools = host_tools(session, host.name, progress)
    progress.stage(f"locking {source.words}")
    return preparation.prepared(source, frozen.tree, host, tools, wanted, bool(request.gpus))


def _of_earlier_job(
    session: Session, request: JobRequest, frozen: Snapshot, host: HostConfig, progress: Progress
) -> Prepared:
    """Return the environment of a job that is run again: built from the same lock, wherever it goes."""
    spec = JobSpec.from_wire(queries.spec(session.store.conn, request.code_of))
    recipe = recipe_of(spec.environment)
    if recipe is None:
        if request.exact:
            raise UsageError(
                f"--exact: job {request.code_of[:6]} ran with a host's own Python, which is recorded and not locked",
                "rerun without --exact",
            )
        return Prepared()
    tools = host_tools(session, host.name, progress)
    kept = _kept_lock(session, spec, recipe)
    if recipe.image:
        return preparation.prepared(Source("image", recipe.image), frozen.tree, host, tools, Wish(), bool(request.gpus))
    asked = Wish(extras=tuple(recipe.extras), groups=tuple(recipe.groups), ship=recipe.offline, setup=recipe.setup)
    asked = replace(asked, packages=request.packages)
    minor = ".".join(recipe.python.split(".")[:2])
    how = "conda" if recipe.kind == "conda" else "kept"
    source = Source(
        how,
        recipe.source,
        python=f"=={minor}.*" if minor else "",
        preferred=recipe.python,
        import_path=spec.import_path,
        distributions=spec.distributions,
        builds=tuple(recipe.builds),
        asked=tuple(recipe.direct),
    )
    if request.exact:
        _check_machine(session, request, host, tools)
    try:
        if recipe.platform.partition("-")[0] != tools.machine:
            raise HostRefused(f"{host.name}: it is {tools.machine}, and the lock is for {recipe.platform}")
        return preparation.prepared(source, frozen.tree, host, tools, asked, bool(request.gpus), kept)
    except HostRefused as error:
        if request.exact:
            raise
        session.say(f"warning: {error}; the environment is locked anew")
    found = preparation.source_of(frozen, request.command, Wish(sources.AUTO), host)
    if found is None or found.how == sources.NONE:
        raise NotFoundError(
            f"the code of job {request.code_of[:6]} says nothing of its packages", "--runtime names a file"
        )
    return preparation.prepared(found, frozen.tree, host, tools, asked, bool(request.gpus))


def _check_machine(session: Session, request: JobRequest, host: HostConfig, tools: HostTools) -> None:
    """Refuse a host whose GPUs are other ones than those of the job that is run again; say what else differs.

    Raises:
        HostRefused: it has too few of the same model. UsageError: nothing was recorded of the job.
    """
    recorded = queries.recorded(session.store.conn, queries.job(session.store.conn, request.code_of)).facts
    if recorded is None:
        raise UsageError(f"--exact: of job {request.code_of[:6]} nothing was recorded", "rerun without --exact")
    models = sorted({gpu.name for gpu in recorded.gpus or () if gpu.name})
    there = [gpu.name for gpu in session.agent(host.name).hello.resources.gpus]
    if models and sum(1 for name in there if name in models) < request.gpus:
        raise HostRefused(
            f"{host.name}: job {request.code_of[:6]} ran on {', '.join(models)}; this host has"
            f" {', '.join(sorted(set(there))) or 'no GPU'}",
            "take another host, or rerun without --exact",
        )
    for what, then, now in (("driver", recorded.driver, tools.driver), ("kernel", recorded.kernel, tools.kernel)):
        if then and now and then != now:
            session.say(f"note: the {what} is another one: {then} then, {now} now")


def _kept_lock(session: Session, spec: JobSpec, recipe: Recipe) -> Lock | None:
    """Return the lock of an earlier job: the one that was made here, or the one that its host has made.

    Raises:
        NotFoundError: it is not here.
    """
    if recipe.image:
        return None
    text = queries.lock_text(session.store.conn, queries.lock_of(session.store.conn, spec.job))
    if text is None:
        raise NotFoundError(
            f"the lock of job {spec.job[:6]} is not here", "foundations sync brings it; --runtime auto locks anew"
        )
    usual = EXPLICIT if recipe.kind == "conda" else REQUIREMENTS
    return Lock(text, recipe.format or usual, tuple(recipe.indexes))


def host_tools(session: Session, host: str, progress: Progress) -> HostTools:
    """Return what a host has to build environments with.

    Raises:
        HostError: it is out of reach, or refuses.
    """
    seen_at, tools = session.tools.get(host, (0.0, None))
    if tools is None or time.monotonic() - seen_at > _KNOWN_SECONDS:
        progress.stage(f"looking for Pythons on {host}")
        tools = session.retrying(host, lambda agent: HostTools.from_wire(agent.run_role("tools"), "tools"))
        session.tools[host] = (time.monotonic(), tools)
    return tools
