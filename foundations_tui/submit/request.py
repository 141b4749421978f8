"""What is asked for: one job, with its options; and what has come of it."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundations_tui.errors import UsageError
from foundations_tui.store import queries
from foundations_tui.text.options import MANY, Kind, Option, as_given, field_value, parameters_of_file
from remote_agent.protocol.jobs import LEAST_PRIORITY, MOST_RETRIES, MOST_SEED, STOP_SIGNALS, JobSpec, JobView

if TYPE_CHECKING:
    from foundations_tui.snapshot.freeze import Snapshot
    from foundations_tui.submit import shipping

_SECRET = re.compile(r"(TOKEN|KEY|PASSWORD|PASSWD|SECRET|CREDENTIAL)S?(?![A-Z])", re.IGNORECASE)
"""Names of secrets; TOKENIZERS_PARALLELISM is none."""
_MOST = 100_000


_LEAST_LOG = 64 << 10


def _option(flag: str, kind: Kind, help: str, value: Any = "", **more: Any) -> Any:
    """Return a field of a request that is an option of ``foundations submit``; see ``Option`` for what there is more.

    Args:
        flag: how it is given on the command line.
        kind: what it takes.
        help: one sentence.
        value: what the field is where the option is not given.
        more: the rest of an ``Option``.
    """
    option = Option(flag, kind, help, **{"default": as_given(kind, value), **more})
    if isinstance(value, dict):
        return field(default_factory=dict, metadata={"option": option})
    return field(default=value, metadata={"option": option})


@dataclass(frozen=True)
class JobRequest:
    """What a user asks for, by command line, form or SDK. Each line is an option; a field that the specification has,
    too, goes there as it is."""

    command: tuple[str, ...]
    """The argument vector; with ``shell`` one string."""
    folder: Path = _option(
        "--dir",
        Kind.FOLDER,
        "The folder to ship and to start in (default: the current one).",
        Path(),
        metavar="DIR",
        hint="what is shipped; empty for this folder",
    )
    """The folder that the user stands in."""
    code_of: str = _option(
        "--code-of",
        Kind.TEXT,
        "Ship the code of this job, not the working tree, with its project's settings.",
        metavar="JOB",
        again=False,
    )
    """Whole id of the job whose code is run again; empty for the working tree."""
    template: tuple[str, ...] = ()
    """The command before its placeholders were filled; empty when it had none."""
    kind: str = "batch"
    data: dict[str, dict[str, str]] = field(default_factory=dict)
    """Further data of its host, as a specification has them."""
    packages: tuple[str, ...] = ()
    """What its environment has beside what the project asks for."""
    is_bare: bool = False
    """Whether it is no rerun of the job whose code it has: neither data nor outputs nor metrics are taken over."""
    host: str = _option(
        "--host",
        Kind.HOST,
        "Where to run: a host, 'a,b', 'tag:x' or 'any'.",
        hint="gpu1, or a,b, tag:x, any; empty for the default",
    )
    """Empty for the project's, the default, or any."""
    name: str = _option("--name", Kind.TEXT, "A name for the job.", hint="a name for the job")
    project: str = _option(
        "--project",
        Kind.PROJECT,
        "The job's project (default: foundations.toml's, else the folder's name).",
        hint="empty for the folder's own",
    )
    gpus: int = _option(
        "--gpus",
        Kind.NUMBER,
        "Whole GPUs (default 0).",
        0,
        default=None,
        most=_MOST,
        hint="how many; 0 for none",
    )
    gpu_memory: int = _option(
        "--gpu-memory", Kind.SIZE, "Share a GPU: take this much of its memory (20G).", 0, unit=1 << 20
    )
    """MiB of each GPU; other jobs may share the rest. 0 for whole GPUs."""
    cpus: int = _option("--cpus", Kind.NUMBER, "CPU slots (default 1).", 1, least=1, most=_MOST)
    ram: int = _option("--ram", Kind.SIZE, "Memory to reserve on the host (64G).", 0)
    """Bytes of the host's memory to plan with."""
    params: dict[str, Any] = _option(
        "--param",
        Kind.PARAMETER,
        "A parameter; V is JSON if writing it back gives what you typed, else a string.",
        {},
        metavar="K=V",
        hint="lr=0.1 bs=32",
    )
    env: dict[str, str] = _option(
        "--env",
        Kind.PAIR,
        "Set an environment variable (no secrets).",
        {},
        metavar="K=V",
        again=False,
    )
    inherit_env: tuple[str, ...] = _option(
        "--inherit-env", Kind.VARIABLE, "Pass on this variable of your shell (no secrets).", (), metavar="NAME"
    )
    """Variables of this process that the job gets, too."""
    tags: dict[str, Any] = _option("--tag", Kind.TAG, "A tag.", {}, metavar="K[=V]", hint="baseline dataset=v2")
    shell: bool = _option("--shell", Kind.FLAG, "Run COMMAND through /bin/sh.", False)
    priority: int = _option("--priority", Kind.NUMBER, "Higher goes first (default 0).", 0, least=-MANY)
    nice: int = _option(
        "--nice", Kind.NUMBER, "Yield CPU time to other processes, 1 to 19 (default 0).", 0, most=LEAST_PRIORITY
    )
    """Niceness of its processes, nice(2)."""
    after: tuple[str, ...] = _option(
        "--after", Kind.JOB, "Start when this job has completed (repeatable).", (), again=False
    )
    """Whole ids of jobs that have to complete first."""
    after_any: tuple[str, ...] = _option(
        "--after-any", Kind.JOB, "Start when this job has ended, whether it succeeded or not.", (), again=False
    )
    """Whole ids of jobs that have to end first, however."""
    group: str = _option("--group", Kind.TEXT, "A group of jobs, to be paused and resumed together.", again=False)
    time_limit: float = _option("--time-limit", Kind.DURATION, "End the job after this time (90, 45m, 2h30m).", 0.0)
    """Seconds; 0 for none."""
    retries: int = _option("--retries", Kind.NUMBER, "How many times to try again (default 0).", 0, most=MOST_RETRIES)
    retry_on: tuple[str, ...] = _option(
        "--retry-on",
        Kind.LIST,
        "When to try again: lost,oom,signal,failed (default lost).",
        ("lost",),
    )
    stop_signal: str = _option(
        "--stop-signal", Kind.CHOICE, "The signal that a stop sends first (default TERM).", "TERM", choices=STOP_SIGNALS
    )
    grace: float = _option("--grace", Kind.DURATION, "Seconds between that signal and KILL (default 30).", 30.0)
    """Seconds between that and KILL."""
    outputs: tuple[str, ...] = _option(
        "--output", Kind.PATTERN, "Files to fetch when the job has ended.", (), metavar="GLOB"
    )
    """Patterns of files that come back by themselves; empty for the project's."""
    log_limit: int = _option("--log-limit", Kind.SIZE, "Keep at most this much of the log on the host (such as 1G).", 0)
    """Bytes; 0 for none."""
    runtime: str = _option(
        "--runtime",
        Kind.TEXT,
        "What it runs in: none, auto, a file (uv.lock, requirements.txt) or image:NAME (default: what is found).",
        metavar="WHAT",
        again=False,
    )
    """Empty for what the project or its files say."""
    python_version: str = _option(
        "--python", Kind.TEXT, "Which Python its environment has (3.12, '>=3.10').", metavar="VERSION", again=False
    )
    extras: tuple[str, ...] = _option(
        "--extra", Kind.VARIABLE, "Install this extra of the project, too.", (), metavar="NAME", again=False
    )
    dependency_groups: tuple[str, ...] = _option(
        "--with-group", Kind.VARIABLE, "Install this dependency group, too.", (), metavar="NAME", again=False
    )
    ship_wheels: bool = _option(
        "--ship-wheels",
        Kind.FLAG,
        "Fetch the packages here and send them: the host needs no index.",
        False,
        again=False,
    )
    relock: bool = _option(
        "--relock", Kind.FLAG, "Resolve again what has no lock: newer releases may come.", False, again=False
    )
    exact: bool = _option(
        "--exact",
        Kind.FLAG,
        "With --code-of: refuse a host whose Python or GPUs differ from that job's.",
        False,
        again=False,
    )
    job_seed: int | None = _option(
        "--job-seed",
        Kind.NUMBER,
        "Begin random numbers with this: FOUNDATIONS_SEED, PYTHONHASHSEED.",
        None,
        most=MOST_SEED,
    )
    """What its random numbers begin with; None for nothing."""
    deterministic: bool = _option(
        "--deterministic", Kind.FLAG, "Have CUDA's libraries compute the same each time (slower).", False
    )
    secrets: tuple[str, ...] = _option(
        "--secret", Kind.VARIABLE, "Pass on this variable of your shell, recorded nowhere.", (), metavar="NAME"
    )
    """Variables of this process that the job gets, and that are written down nowhere."""


OPTIONS: dict[str, Option] = {f.name: f.metadata["option"] for f in fields(JobRequest) if f.metadata}
"""The options of a job, by the field that each gives its value."""
SPEC_OPTIONS = tuple(f.name for f in fields(JobSpec) if f.name in OPTIONS)
"""Those that a job's specification has, too."""
PARAMS_FILE = Option("--params-file", Kind.FILE, "Read parameters from a JSON file; --param overrides them.")


def request_of(conn: sqlite3.Connection, command: Sequence[str], values: Mapping[str, Any]) -> JobRequest:
    """Return the request that values of options make.

    Args:
        conn: a connection of the store, which knows the jobs that are named.
        command: the words of the command.
        values: by field, as ``Option.read`` returns them, and "params_file"; what is missing is as by default.
    Raises:
        UsageError: they make no sense. NotFoundError: there is no such job.
    """
    given: dict[str, Any] = {}
    for name, option in OPTIONS.items():
        value = values.get(name)
        if value is None or value == option.default:
            continue
        is_job = option.kind is Kind.JOB
        given[name] = tuple(queries.resolve(conn, word) for word in value) if is_job else field_value(option, value)
    if values.get("params_file"):
        given["params"] = {**parameters_of_file(values["params_file"]), **given.get("params", {})}
    if given.get("gpu_memory") and values.get("gpus") is None:
        given["gpus"] = 1
    first = [*given.get("after", ()), *given.get("after_any", ())][:1]
    if first and not given.get("host"):
        given["host"] = queries.job(conn, first[0]).host  # there it has to be
    if given.get("code_of"):
        if values.get("folder") not in (None, "", "."):
            raise UsageError("either --dir or --code-of")
        given["code_of"] = queries.resolve(conn, given["code_of"])
    given["folder"] = _folder(str(values.get("folder") or "."))
    words = tuple(command)
    return JobRequest((" ".join(words),) if given.get("shell") else words, **given)


def _folder(name: str) -> Path:
    try:
        os.getcwd()
    except FileNotFoundError:
        raise UsageError("the folder in which you are is not there any more", "cd to another one") from None
    if not Path(name).is_dir():
        raise UsageError(f"there is no folder {name!r}", "--dir names the folder to ship")
    return Path(name)


def words_of(spec: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the words that give a new job the options of one that was, by field; none for what is as by default.

    Args:
        spec: its specification, as the store has it.
    """
    usual = JobRequest(())
    return {
        name: option.words(spec[name])
        for name, option in OPTIONS.items()
        if option.again and spec.get(name) is not None and _plain(spec[name]) != _plain(getattr(usual, name))
    }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


@dataclass(frozen=True)
class SubmittedJob:
    """A job that its host has acknowledged."""

    view: JobView
    host: str
    snapshot: Snapshot | None
    """None when the host had the code of an earlier job."""
    shipped: shipping.Shipment


def check(request: JobRequest) -> None:
    """Raise UsageError when a request makes no sense."""
    if not request.command or not request.command[0]:
        raise UsageError("there is no command", "foundations submit -- python train.py")
    if request.cpus < 1:
        raise UsageError("--cpus is at least 1")
    if request.gpus < 0:
        raise UsageError("--gpus is 0 or more")
    if request.gpu_memory and not request.gpus:
        raise UsageError("--gpu-memory is a share of a GPU, and --gpus is 0")
    if request.log_limit and request.log_limit < _LEAST_LOG:
        raise UsageError(f"--log-limit is at least {_LEAST_LOG >> 10} kB")
    if max(request.cpus, request.gpus) > _MOST:
        raise UsageError(f"no host has more than {_MOST:,} CPUs or GPUs")
    refuse_secrets(request.env, "--env")
    refuse_secrets(request.inherit_env, "--inherit-env")


def refuse_secrets(names: Iterable[str], where: str) -> None:
    for name in names:
        if _SECRET.search(name):
            raise UsageError(
                f"{where} {name} looks like a secret: it would be written into the job's specification, readable later",
                "put it into a file on the host (chmod 600) and have the job read that",
            )
