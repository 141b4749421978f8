"""A job becomes a version: its files are kept, its example is run where it would be served, it is registered."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from foundations_tui.config.hosts import owner_name
from foundations_tui.config.schema import ModelTable
from foundations_tui.errors import ConfigError, FoundationsError, HostUnreachable, NotFoundError, UsageError
from foundations_tui.ingest import local_runs
from foundations_tui.jobs import watch
from foundations_tui.services.models import files, settings
from foundations_tui.session import Session
from foundations_tui.store import models as rows, queries
from foundations_tui.store.models import Meant
from foundations_tui.store.rows import JobRow, json_number
from foundations_tui.submit import earlier_job, pipeline
from foundations_tui.submit.progress import SILENT, Progress
from foundations_tui.submit.request import JobRequest
from foundations_tui.sync import outputs, pull
from foundations_tui.sync.outputs import FetchRequest
from foundations_tui.text.options import Kind, Option
from foundations_tui.text.sanitize import one_line
from remote_agent.protocol import messages, models
from remote_agent.protocol.chains import RESULT, VARIABLE
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.jobs import JobSpec
from remote_agent.protocol.models import Batching, RequestLogging, Version
from remote_agent.protocol.services import NAME, NAME_RULE
from remote_agent.protocol.wire import JsonTable

SERVER_PACKAGES = ("starlette>=0.27", "uvicorn>=0.22")
"""What the model server needs beside what a job had."""
_MOST_METRICS_BYTES = 12_000
_MOST_PARAMETER_BYTES = 8_000


@dataclass(frozen=True)
class Candidate:
    """A version that a job would become."""

    version: Version
    name: str
    """What its model is called if nobody says: as [model] says, or as the project."""


@dataclass(frozen=True)
class Checked:
    """What came of running a version's example."""

    version: Version
    """With its signature."""
    job: str
    """Id of the job that ran it; "" where none did."""
    result: str
    """What the model answered, the beginning of it, as JSON."""
    notes: tuple[str, ...]


@dataclass(frozen=True)
class NewVersion:
    """A version that was registered."""

    meant: Meant
    changed: bool
    """Whether it was not registered before."""
    checked: Checked


def candidate(
    session: Session, row: JobRow, given: Mapping[str, Any], trust: bool, progress: Progress = SILENT
) -> Candidate:
    """Return the version that a job would become; its host keeps the files.

    Args:
        session: the client's.
        row: the job.
        given: what is said of the model on the command line, by the keys of [model].
        trust: whether a program of somebody else may be run.
        progress: gets the progress.
    Raises:
        UsageError: it has not ended, or what is said of the model makes no sense. NotFoundError: it has no such files.
    """
    if row.kind == local_runs.KIND:
        raise UsageError(f"job {row.job} was started by hand: submit it, so that it can be run again as it was")
    if not row.is_final:
        raise UsageError(f"job {row.job[:6]} has not ended ({row.state})", f"foundations wait {row.job[:6]}")
    frozen = earlier_job.code_of(session, row.job)
    table = _table(settings.of_code(frozen), given)
    flavour = settings.flavour_of(table)
    _check(row, table, flavour)
    if flavour in models.PROGRAMS and row.owner != owner_name(session.hosts) and not trust:
        raise UsageError(
            f"a {flavour} file is a program, and job {row.job[:6]} is {row.owner or 'somebody else'}'s",
            "--trust runs it",
        )
    example, example_file = settings.example_of(table, frozen)
    refuse_no_numbers(example)
    if row.state != "completed":
        session.say(f"note: job {row.job[:6]} has not completed ({row.state})")
    kept = files.keep(session, row, table.path, progress) if table.path else None
    spec = JobSpec.from_wire(queries.spec(session.store.conn, row.job))
    wire: JsonTable = {
        **of_table(table, flavour),
        "job": row.job,
        "attempt": row.attempt,
        "project": row.project,
        "owner": row.owner,
        "snapshot": row.snapshot,
        "subdir": spec.subdir,
        "environment": spec.environment_hash,
        "lock": queries.lock_of(session.store.conn, row.job) or "",
        "example": example,
        "example_file": example_file,
        "params": fitting_params({**row.args, **row.params}),
        "metrics": _fitting(_metrics(row), _MOST_METRICS_BYTES),
        "data_sets": {name: str(entry.get("hash", "")) for name, entry in spec.data.items()},
        "git": {key: spec.git[key] for key in ("commit", "branch", "dirty") if key in spec.git},
    }
    if kept is not None:
        wire.update(data=kept.hash, files=kept.files, bytes=kept.bytes)
    try:
        return Candidate(Version.from_wire(wire, "the model"), table.name or _as_a_name(row.project))
    except BadRequest as error:
        raise UsageError(str(error)) from None


def of_table(table: ModelTable, flavour: str) -> JsonTable:
    """Return what [model] says, as a version has it.

    Raises:
        ConfigError: a time or a size in it is none.
    """
    names = ("path", "load", "predict", "evaluate", "recalibrate", "ready", "queue")
    return {
        **{name: getattr(table, name) for name in names},
        "flavour": flavour,
        "command": list(table.command),
        "batch": Batching(table.batch.max_size, table.batch.max_wait_ms).to_wire(),
        "deadline": _read("deadline", Kind.DURATION, table.deadline),
        "max_body": _read("max_body", Kind.SIZE, table.max_body),
        "log": RequestLogging(
            table.log.sample, _read("log.limit", Kind.SIZE, table.log.limit), table.log.redact, table.log.text
        ).to_wire(),
    }


def fitting_params(params: JsonTable) -> JsonTable:
    """Return as many parameters as a version keeps."""
    return _fitting(params, _MOST_PARAMETER_BYTES)


def refuse_no_numbers(example: JsonTable | None) -> None:
    """Refuse what JSON has not: an example is sent to servers as it is.

    Raises:
        ConfigError: NaN or infinity is in it.
    """
    try:
        json.dumps(example, allow_nan=False)
    except ValueError:
        raise ConfigError("an example holds NaN or infinity, which JSON has not") from None


def _table(table: ModelTable, given: Mapping[str, Any]) -> ModelTable:
    known = {field.name for field in msgspec.structs.fields(ModelTable)}
    return msgspec.structs.replace(
        table, **{key: given[key] for key in known.intersection(given) if given[key] not in ("", None)}
    )


def _check(row: JobRow, table: ModelTable, flavour: str) -> None:
    """Refuse what cannot be served."""
    if flavour not in models.FLAVOURS:
        raise ConfigError(f"flavour of [model]: there is no {flavour!r}", f"there are {', '.join(models.FLAVOURS)}")
    if flavour == models.FUNCTION and not table.predict:
        keys = ", ".join(sorted(row.artifacts)) or "none"
        raise UsageError(
            f"the code of job {row.job[:6]} does not say what predicts: [model] of its foundations.toml is empty",
            f"--predict module:function, or --path artifacts/KEY of a .joblib, .pkl or .onnx file (artifacts: {keys})",
        )
    if flavour == models.COMMAND and not table.command:
        raise UsageError("flavour command needs a command: [model] command = [...]")
    if flavour not in (models.FUNCTION, models.COMMAND) and not table.path:
        keys = ", ".join(sorted(row.artifacts)) or "none"
        raise UsageError(f"flavour {flavour} needs a file: --path artifacts/KEY", f"artifacts of the job: {keys}")


def _read(key: str, kind: Kind, value: Any) -> Any:
    """Return a duration in seconds, or a size in bytes, however it is written."""
    if isinstance(value, int | float):
        return value
    try:
        return Option(f"--{key}", kind, "").read(value)
    except UsageError as error:
        raise ConfigError(f"[model] {str(error).removeprefix('--')}") from None


def _metrics(row: JobRow) -> JsonTable:
    return {
        key: {"last": json_number(one.last), "min": json_number(one.min), "max": json_number(one.max)}
        for key, one in row.metrics.items()
    }


def _fitting(table: JsonTable, most: int) -> JsonTable:
    """Return as many entries of a table as fit: the job has the rest."""
    kept: JsonTable = {}
    for key in sorted(table):
        size = len(json.dumps([key, table[key]]))
        if size <= most:
            kept[key] = table[key]
            most -= size
    return kept


def manifest(name: str, number: int, version: Version) -> str:
    """Return what the model server is told of a version, as JSON.

    Args:
        name: of the model.
        number: of the version; 0 while it is not registered.
        version: which.
    """
    keys = ("flavour", "load", "predict", "evaluate", "recalibrate", "example", "example_file", "signature")
    told: JsonTable = {key: getattr(version, key) for key in keys if getattr(version, key)}
    told.update({key: getattr(version, key) for key in ("deadline", "queue", "max_body")})
    batch, log = version.batch.to_wire(), version.log.to_wire()
    return json.dumps(
        {
            "name": name,
            "version": number,
            **told,
            **({"batch": batch} if batch else {}),
            **({"log": log} if log else {}),
            **({"hash": version.data} if version.data else {}),
        }
    )


def job_request(
    version: Version, command: tuple[str, ...], told: str, host: str, data: dict[str, dict[str, str]], **more: Any
) -> JobRequest:
    """Return the request for a job with the code, environment and files of a version.

    Args:
        version: which.
        command: what is run.
        told: the manifest.
        host: where.
        data: its files there, as ``files.on_host`` returns them.
        more: further fields of the request.
    """
    return JobRequest(
        command,
        code_of=version.job,
        host=host,
        project=version.project,
        env={VARIABLE: told},
        data=data,
        packages=SERVER_PACKAGES if version.flavour != models.COMMAND else (),
        is_bare=True,
        **more,
    )


def check(session: Session, row: JobRow, version: Version, gpus: int, progress: Progress = SILENT) -> Checked:
    """Run a version's example where it would be served: in the job's environment with the model server's packages.

    Args:
        session: the client's.
        row: the job.
        version: what it would become.
        gpus: how many it gets.
        progress: gets the progress.
    Raises:
        FoundationsError: why it could not be served.
    """
    if version.flavour == models.COMMAND:
        return Checked(version, "", "", ("a command is checked when it is served",))
    command = ("python", "-m", "foundations_serve", "check", "--out", RESULT)
    told = manifest("model", 0, version)
    data = files.on_host(session, version, row.host, progress)
    own = {"kind": models.CHECK, "name": f"check-{row.job[:6]}", "gpus": gpus, "priority": 1}
    request = job_request(version, command, told, row.host, data, **own)
    submitted = pipeline.submit(session, request, progress)
    job = submitted.view.spec.job
    progress.stage(f"running the example on {row.host} (job {job[:6]})")
    watch.wait_for(session, [job], lambda _: None)
    ended = watch.fresh(session, queries.job(session.store.conn, job))
    result = _result(session, ended)
    error = str(result["error"]) if result.get("error") else "" if result else _why_it_failed(ended)
    if error:
        words = one_line(error)
        raise FoundationsError(f"the model cannot be served: {words}", f"foundations logs {job[:6]} shows more")
    signature = result.get("signature")
    notes = tuple(str(line) for line in result.get("notes") or ())
    try:
        wire = {**version.to_wire(), "signature": signature if isinstance(signature, dict) else {}}
        with_signature = Version.from_wire(wire, "the model")
    except BadRequest as problem:
        raise FoundationsError(f"the signature makes no sense: {problem}") from None
    return Checked(with_signature, job, str(result.get("result", "")), notes)


def _why_it_failed(row: JobRow) -> str:
    """Return why a check did not get so far as to say it itself, in words."""
    if row.state == "completed":
        return "the check has ended without a result"
    words = row.reason or row.state
    return f"{words}: {row.cause.words}" if row.cause is not None and row.cause.words else words


def _result(session: Session, row: JobRow) -> JsonTable:
    """Return what a check has written down; nothing where it did not get so far."""
    with tempfile.TemporaryDirectory() as name:
        try:
            path = str(Path(str(queries.spec(session.store.conn, row.job).get("subdir", ""))) / RESULT)
            outputs.fetch(session, row, FetchRequest("paths", (path,)), Path(name))
            told = json.loads((Path(name) / path).read_text(encoding="utf-8"))
        except HostUnreachable:
            raise
        except (FoundationsError, OSError, ValueError):
            return {}
    return told if isinstance(told, dict) else {}


def register(
    session: Session,
    row: JobRow,
    checked: Checked,
    name: str,
    home: str = "",
    note: str = "",
    progress: Progress = SILENT,
) -> NewVersion:
    """Register a version that was checked; the same one again is the one that it was.

    Args:
        session: the client's.
        row: its job.
        checked: the version.
        name: of the model.
        home: the host that is the model's home if it has none yet; "" for the job's.
        note: what is to be known of it.
        progress: gets the progress.
    Raises:
        HostError: its home, or the host of the job, is out of reach.
    """
    version = _noted(checked.version, note)
    by, at = owner_name(session.hosts), _home(session, name, home or row.host)
    progress.stage(f"registering {name} on {at}")
    pinned = messages.Pin(row.job, models.pin_key(name, version), name, version.data)
    session.ask(row.host, pinned)  # first, so that it is never unprotected
    try:
        answer = session.ask(at, messages.RegisterVersion(name, version, by))
    except HostUnreachable:
        raise  # it may have arrived
    except FoundationsError:
        session.ask(row.host, replace(pinned, words=""))
        raise
    session.ask(row.host, replace(pinned, words=models.words_of(name, answer.event.number)))
    pull.catch_up(session, at, streams=False)
    found = rows.model(session.store.conn, name)
    return NewVersion(Meant(found, found.version(str(answer.event.number)), ""), answer.changed, checked)


def _noted(version: Version, note: str) -> Version:
    try:
        return Version.from_wire({**version.to_wire(), "note": note}, "the version")
    except BadRequest as error:
        raise UsageError(str(error)) from None


def checked_name(name: str) -> str:
    """Return the name of a model.

    Raises:
        UsageError: it cannot be called so.
    """
    if not NAME.match(name):
        raise UsageError(f"a model is called by {NAME_RULE}; got {name!r}", "--name gives it one")
    return name


def _as_a_name(project: str) -> str:
    """Return a project's name, as far as that can be the name of a model."""
    return re.sub(r"[^a-z0-9]+", "-", project.lower()).strip("-")[:63].strip("-") or "model"


def _home(session: Session, name: str, otherwise: str) -> str:
    """Return the host that is a model's home; another one where it has none yet."""
    try:
        return rows.model(session.store.conn, name).host
    except NotFoundError:
        return otherwise
