"""The job behind each job of a schedule: it runs the example of the model that was made, and carries the chain."""

from __future__ import annotations

from dataclasses import replace

from foundations_tui.config.hosts import owner_name
from foundations_tui.config.schema import ModelTable
from foundations_tui.errors import ConfigError, NotFoundError, UsageError
from foundations_tui.services.models import registering, settings
from foundations_tui.services.schedules.request import ChainRequest
from foundations_tui.session import Session
from foundations_tui.store import models as rows
from foundations_tui.submit.pipeline import Parcel
from foundations_tui.submit.request import JobRequest
from remote_agent.protocol import chains, models
from remote_agent.protocol.chains import MAX, MIN, Chain
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.jobs import JobSpec
from remote_agent.protocol.models import Version


def second_request(job: JobRequest) -> JobRequest:
    """Return the request whose environment has the model server's packages beside those of a job."""
    return replace(job, packages=registering.SERVER_PACKAGES, secrets=())


def specification(session: Session, wanted: ChainRequest, parcel: Parcel) -> JobSpec:
    """Return the specification of the job that carries a chain.

    Args:
        session: the client's.
        wanted: the chain.
        parcel: the jobs that ``second_request`` and its like have become; the first one makes the model.
    Raises:
        UsageError: the model cannot be registered by a host alone. ConfigError: what the code says of it is wrong.
    """
    first, second = parcel.specs
    if not first.environment:
        second = replace(first, job=second.job)  # the host's own Python has to have the model server's packages, too
    table = settings.of_code(parcel.frozen)
    flavour = settings.flavour_of(table)
    _check(session, wanted, table, flavour, parcel.host)
    version = _version(first, second, table, flavour, parcel)
    command = ("python", "-m", "foundations_serve", "check", "--out", chains.RESULT)
    chain = Chain(
        wanted.model,
        {name: value for name, value in version.to_wire().items() if name != "job"},
        wanted.alias,
        wanted.metric,
        _goal(wanted, first),
        owner_name(session.hosts),
    )
    made = {
        "kind": models.CHECK,
        "name": f"{first.name}-check",
        "command": (*command, *(["--evaluate"] if wanted.evaluates else [])),
        "template": (),
        "shell": False,
        "gpus": min(1, first.gpus),
        "time_limit": 0.0,
        "outputs": (),
        "secrets": (),
        "private": bool(parcel.private.get("build")),
        "params": {},
        "metrics": {},
        "env": {**second.env, chains.VARIABLE: registering.manifest(wanted.model, 0, version)},
        "chain": chain.to_wire(),
        "after": (first.job,),
    }
    spec = replace(second, **made)  # type: ignore[arg-type]
    try:
        spec.check()
    except BadRequest as error:
        raise UsageError(str(error)) from None
    return spec


def _check(session: Session, wanted: ChainRequest, table: ModelTable, flavour: str, host: str) -> None:
    """Refuse what a host cannot register by itself."""
    if flavour == models.COMMAND:
        raise UsageError("--register: a model of flavour command has no example that could be run")
    if flavour == models.FUNCTION and not table.predict:
        raise UsageError(
            "--register: the project does not say what predicts",
            "[model] predict = 'module:function' in foundations.toml",
        )
    if flavour != models.FUNCTION and not table.path:
        raise ConfigError(f"--register: flavour {flavour} needs a file", "[model] path = 'artifacts/KEY'")
    if wanted.evaluates and not table.evaluate:
        raise UsageError("--evaluate: the project does not say how", "[model] evaluate = 'module:function'")
    try:
        home = rows.model(session.store.conn, wanted.model).host
    except NotFoundError:
        return
    if home != host:
        raise UsageError(
            f"--register: the list of {wanted.model} is on {home}, and the jobs would run on {host}",
            f"--host {home}, or foundations model home {wanted.model} {host}",
        )


def _goal(wanted: ChainRequest, job: JobSpec) -> str:
    """Return which way is better.

    Raises:
        UsageError: nobody says.
    """
    goal = wanted.goal or str(job.metrics.get("direction", {}).get(wanted.metric, ""))
    if wanted.metric and not goal:
        raise UsageError(
            f"nothing says whether a small or a large {wanted.metric} is better",
            f"--promote-if {wanted.metric}:{MIN}, or :{MAX}",
        )
    return goal or MAX


def _version(first: JobSpec, second: JobSpec, table: ModelTable, flavour: str, parcel: Parcel) -> Version:
    example, example_file = settings.example_of(table, parcel.frozen)
    registering.refuse_no_numbers(example)
    wire = {
        **registering.of_table(table, flavour),
        "job": first.job,
        "project": first.project,
        "owner": first.owner,
        "snapshot": first.snapshot,
        "subdir": first.subdir,
        "environment": first.environment_hash,
        "lock": first.environment.get("lock", ""),
        "example": example,
        "example_file": example_file,
        "params": registering.fitting_params(first.params),
        "data_sets": {name: str(entry.get("hash", "")) for name, entry in first.data.items()},
        "git": {key: first.git[key] for key in ("commit", "branch", "dirty") if key in first.git},
    }
    try:
        return Version.from_wire(wire, "the model")
    except BadRequest as error:
        raise UsageError(str(error)) from None
