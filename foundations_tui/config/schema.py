"""The files that people write, as structs: the class is the documentation, the check, and the published JSON schema."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import msgspec

from foundations_tui.config.toml import setting

_MOST_JOBS = 100_000
_MOST_MEGABYTES = 1 << 40
End = Literal["completed", "failed", "stopped", "lost", "unready", "crash_loop"]
ENDS = ("completed", "failed", "stopped", "lost", "unready", "crash_loop")
Event = Literal["completed", "failed", "stopped", "lost", "stalled"]
EVENTS = ("completed", "failed", "stopped", "lost", "stalled")
TERMINALS = ("auto", "osc9", "osc777", "off")
"""How the terminal is asked to notify: as it is known to take it, by one of two sequences, not at all."""
_TEXT = "a string"
_TABLE = "a table"
_SWITCH = "true or false"
_STRINGS = "a list of strings"

Url = Annotated[str, setting("Gets a POST of JSON.", "a string that begins with http:// or https://")]
Command = Annotated[
    str | list[str], setting("Runs with the JSON on standard input.", "a command: a string, or a list of strings")
]
Variables = Annotated[dict[str, Any], setting("Environment variables of jobs; no secrets.", _TABLE)]
DataPlaces = Annotated[
    dict[str, Any], setting("What lies on hosts, by name: a path, or {path, at: its place in a job's folder}.", _TABLE)
]


class NotifyTable(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whom a host tells, by itself, that a job has ended."""

    url: Url = ""
    command: Command = ""
    on: Annotated[
        list[End] | None, setting("Which ends of jobs, and what of services.", f"a list of {', '.join(ENDS)}")
    ] = None


class HostTable(msgspec.Struct, frozen=True, kw_only=True):
    """One host of hosts.toml, or what holds for all of them."""

    address: Annotated[str, setting('"user@host:port", or an alias of ~/.ssh/config.', _TEXT)] = ""
    identity: Annotated[str, setting("Private key file; else what your ssh would use.", _TEXT)] = ""
    root: Annotated[str, setting("Folder of the agent and the jobs; else ~/.foundations.", _TEXT)] = ""
    python: Annotated[str, setting("What jobs mean by `python`; it also runs the agent.", _TEXT)] = ""
    max_jobs: Annotated[
        int,
        setting(
            "Most jobs at once; 0 for as many as there are CPUs.",
            f"a whole number from 0 to {_MOST_JOBS:,}",
            ge=0,
            le=_MOST_JOBS,
        ),
    ] = 0
    gpus: Annotated[
        Literal["auto"]
        | Annotated[int, msgspec.Meta(ge=0, le=_MOST_JOBS)]
        | list[Annotated[int, msgspec.Meta(ge=0, le=_MOST_JOBS)]],
        setting("Which GPUs may be used.", '"auto", a count or a list of indices'),
    ] = "auto"
    backend: Annotated[str, setting('"process"; "slurm" is to come.', _TEXT)] = "process"
    transport: Annotated[str, setting('"paramiko" is the only one so far.', _TEXT)] = "paramiko"
    setup: Annotated[str, setting("Shell lines before each job (modules, conda).", _TEXT)] = ""
    env: Variables = msgspec.field(default_factory=dict)
    data: DataPlaces = msgspec.field(default_factory=dict)
    tags: Annotated[list[str], setting("submit --host tag:a100 means hosts with this tag.", _STRINGS)] = msgspec.field(
        default_factory=list
    )
    slurm: Annotated[dict[str, Any], setting("Kept for the slurm backend.", _TABLE)] = msgspec.field(
        default_factory=dict
    )


class HostsFile(msgspec.Struct, frozen=True, kw_only=True):
    """hosts.toml: the hosts that jobs run on."""

    hosts: Annotated[dict[str, HostTable], setting("The hosts, by name.", _TABLE)] = msgspec.field(default_factory=dict)
    defaults: Annotated[HostTable, setting("What holds for all hosts that do not say otherwise.", _TABLE)] = (
        msgspec.field(default_factory=HostTable)
    )
    default_host: Annotated[str, setting("Where jobs go when neither --host nor the project says.", _TEXT)] = ""
    owner: Annotated[str, setting("Whose jobs these are; else git's user.name, else your login.", _TEXT)] = ""
    notify: NotifyTable = msgspec.field(default_factory=NotifyTable)


Patterns = Annotated[list[Annotated[str, msgspec.Meta(min_length=1)]], setting("Patterns.", "a list of patterns")]


class SnapshotTable(msgspec.Struct, frozen=True, kw_only=True):
    """What is shipped."""

    max_file_mb: Annotated[
        float,
        setting("Larger untracked files stop a submit.", "a number of megabytes", ge=0, lt=_MOST_MEGABYTES),
    ] = 100
    include: Annotated[Patterns, setting("Files that git ignores and that are shipped.", "a list of patterns")] = (
        msgspec.field(default_factory=list)
    )


class OutputsTable(msgspec.Struct, frozen=True, kw_only=True):
    """What comes back by itself when a job has ended."""

    collect: Annotated[Patterns, setting("Files below the job's folder.", "a list of patterns")] = msgspec.field(
        default_factory=list
    )
    limit_mb: Annotated[
        float, setting("Most of them that come back.", "a number of megabytes", ge=0, lt=_MOST_MEGABYTES)
    ] = 1024


class MetricsTable(msgspec.Struct, frozen=True, kw_only=True):
    """What metrics mean, and where else they come from."""

    direction: Annotated[
        dict[str, Annotated[Literal["min", "max"], setting("Which value is best.", '"min" or "max"')]],
        setting("Whether the smallest or the largest value is best, by key.", _TABLE),
    ] = msgspec.field(default_factory=dict)
    patterns: Annotated[
        Patterns, setting("Regular expressions whose named groups are metrics of log lines.", "a list of patterns")
    ] = msgspec.field(default_factory=list)
    tensorboard: Annotated[bool, setting("Whether TensorBoard's event files are read.", _SWITCH)] = False


class RuntimeTable(msgspec.Struct, frozen=True, kw_only=True):
    """What jobs run in: their Python and packages."""

    use: Annotated[
        str, setting('"none", "auto", or a file: uv.lock, requirements.txt, environment.yml, a script.', _TEXT)
    ] = ""
    python: Annotated[str, setting('Which Python: "3.12", or ">=3.10,<3.13".', _TEXT)] = ""
    python_archive: Annotated[
        str, setting("A python-build-standalone archive that is sent where no Python of a host fits.", _TEXT)
    ] = ""
    image: Annotated[str, setting("A container image, run by the host's apptainer or podman.", _TEXT)] = ""
    extras: Annotated[list[str], setting("Extras of the project.", _STRINGS)] = msgspec.field(default_factory=list)
    groups: Annotated[list[str], setting("Dependency groups of the project.", _STRINGS)] = msgspec.field(
        default_factory=list
    )
    setup: Annotated[
        list[str],
        setting("Shell lines (module load), run when the environment is built, else before each job.", _STRINGS),
    ] = msgspec.field(default_factory=list)
    setup_each_job: Annotated[bool, setting("Whether those lines are run before each job anyway.", _SWITCH)] = False
    ship: Annotated[bool, setting("Whether wheels are fetched here and sent to the host.", _SWITCH)] = False


_AMOUNT = "a number, or a text like 20G"
_TIME = "a number of seconds, or a text like 10m"
_WHOLE = "a whole number"


class ServiceTable(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A service of the project: what ``foundations serve NAME`` runs, with the options of that verb."""

    command: Annotated[
        list[str],
        setting("Its words; {port} or {socket} is filled in.", 'a list of words: ["vllm", "serve"]'),
    ] = msgspec.field(default_factory=list)
    model: Annotated[str, setting('The model that it serves, instead of a command: "churn@champion".', _TEXT)] = ""
    shell: Annotated[bool, setting("Whether it is run by /bin/sh.", _SWITCH)] = False
    host: Annotated[str, setting("Where it runs.", _TEXT)] = ""
    hosts: Annotated[list[str], setting("Or the hosts on each of which it runs.", _STRINGS)] = msgspec.field(
        default_factory=list
    )
    replicas: Annotated[int | None, setting("How many of it.", "a whole number from 1")] = None
    gpus: Annotated[int | None, setting("Whole GPUs of each replica.", _WHOLE)] = None
    gpu_memory: Annotated[str | int | None, setting("A share of each GPU's memory.", _AMOUNT)] = None
    cpus: Annotated[int | None, setting("CPU slots of each replica.", "a whole number from 1")] = None
    ram: Annotated[str | int | None, setting("Memory that each replica reserves.", _AMOUNT)] = None
    priority: Annotated[int | None, setting("Higher goes first.", _WHOLE)] = None
    env: Variables = msgspec.field(default_factory=dict)
    params: Annotated[dict[str, Any], setting("Parameters.", _TABLE)] = msgspec.field(default_factory=dict)
    secrets: Annotated[list[str], setting("Variables of your shell, recorded nowhere.", _STRINGS)] = msgspec.field(
        default_factory=list
    )
    grace: Annotated[str | float | None, setting("Time between its stop signal and KILL.", _TIME)] = None
    log_limit: Annotated[str | int | None, setting("Most that its log takes on the host.", _AMOUNT)] = None
    port: Annotated[int | None, setting("The port on its host; else any free one.", _WHOLE)] = None
    ready: Annotated[str, setting("HTTP path that answers below 400 when it is ready.", _TEXT)] = ""
    live: Annotated[str, setting("HTTP path: three misses restart it.", _TEXT)] = ""
    startup: Annotated[str | float | None, setting("Time until it has to be ready.", _TIME)] = None
    probe_every: Annotated[str | float | None, setting("Time between two probes.", _TIME)] = None
    probe_timeout: Annotated[str | float | None, setting("Time that an answer may take.", _TIME)] = None
    idle_stop: Annotated[str | float | None, setting("Time without a request after which it stops.", _TIME)] = None
    token_env: Annotated[str, setting("Variable in which its command looks for the token.", _TEXT)] = ""
    open_on_host: Annotated[bool, setting("Whether all users of the host may reach it.", _SWITCH)] = False
    open_to_network: Annotated[bool, setting("Whether it may listen beyond its host.", _SWITCH)] = False
    in_place: Annotated[bool, setting("Whether what runs ends before a new revision begins.", _SWITCH)] = False
    front: Annotated[str, setting("The service of its host to whose replicas it passes requests on.", _TEXT)] = ""
    listen: Annotated[str, setting('Where a front listens: "0.0.0.0:8443".', _TEXT)] = ""
    cert: Annotated[str, setting("Certificate of a front, a file of its host.", _TEXT)] = ""
    key: Annotated[str, setting("Its key, a file of that host.", _TEXT)] = ""
    plain_http: Annotated[bool, setting("Whether a front has no certificate.", _SWITCH)] = False


class BatchTable(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which requests of a model are computed together."""

    max_size: Annotated[int, setting("Requests at most.", "a whole number from 0", ge=0)] = 0
    max_wait_ms: Annotated[float, setting("How long the first waits for others, milliseconds.", "a number", ge=0)] = 5.0


class RequestLogTable(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a model's server writes down of requests."""

    sample: Annotated[float, setting("The share of them (0: none).", "a number from 0 to 1", ge=0, le=1)] = 0.0
    limit: Annotated[int | str, setting("Bytes on the host, of each attempt of a replica (16M).", _AMOUNT)] = 16 << 20
    redact: Annotated[list[str], setting("Names of inputs, outputs and fields that are left out.", _STRINGS)] = (
        msgspec.field(default_factory=list)
    )
    text: Annotated[bool, setting("Whether texts are kept, not only their lengths.", _SWITCH)] = False


class ModelTable(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The model that the project's jobs make: where its files are, and what answers."""

    name: Annotated[str, setting("What it is called; else the project's name.", _TEXT)] = ""
    path: Annotated[str, setting('Its files in the job: "artifacts/model", or a path below its folder.', _TEXT)] = ""
    flavour: Annotated[str, setting("function, joblib, pickle, torch, onnx or command.", _TEXT)] = ""
    load: Annotated[str, setting('"module:function" that makes the model from its path.', _TEXT)] = ""
    predict: Annotated[str, setting('"module:function" that answers.', _TEXT)] = ""
    evaluate: Annotated[str, setting('"module:function" behind /evaluate.', _TEXT)] = ""
    recalibrate: Annotated[str, setting('"module:function" behind /recalibrate.', _TEXT)] = ""
    command: Annotated[
        list[str], setting("What answers by itself; {path}, {port} or {socket} is filled in.", _STRINGS)
    ] = msgspec.field(default_factory=list)
    ready: Annotated[str, setting("HTTP path of a command that answers below 400 when it is ready.", _TEXT)] = ""
    example: Annotated[
        str | dict[str, Any], setting("Inputs by name: a JSON file of the project, or a table.", _TEXT)
    ] = ""
    batch: BatchTable = msgspec.field(default_factory=BatchTable)
    deadline: Annotated[float | str, setting("Time that an answer may take (60).", _TIME)] = 60.0
    queue: Annotated[int, setting("Requests that may wait.", "a whole number from 1", ge=1)] = 64
    max_body: Annotated[int | str, setting("Bytes of a request at most (64M).", _AMOUNT)] = 64 << 20
    log: RequestLogTable = msgspec.field(default_factory=RequestLogTable)


class ProjectFile(msgspec.Struct, frozen=True, kw_only=True):
    """foundations.toml, or [tool.foundations] in pyproject.toml: what holds for a project's jobs."""

    project: Annotated[str, setting("Its name; else the folder's.", _TEXT)] = ""
    host: Annotated[str, setting("Where its jobs go without --host.", _TEXT)] = ""
    env: Variables = msgspec.field(default_factory=dict)
    snapshot: SnapshotTable = msgspec.field(default_factory=SnapshotTable)
    data: DataPlaces = msgspec.field(default_factory=dict)
    outputs: OutputsTable = msgspec.field(default_factory=OutputsTable)
    notify: NotifyTable = msgspec.field(default_factory=NotifyTable)
    metrics: MetricsTable = msgspec.field(default_factory=MetricsTable)
    runtime: RuntimeTable = msgspec.field(default_factory=RuntimeTable)
    model: ModelTable = msgspec.field(default_factory=ModelTable)
    services: Annotated[dict[str, ServiceTable], setting("Its services, by name.", _TABLE)] = msgspec.field(
        default_factory=dict
    )


class AppNotifyTable(msgspec.Struct, frozen=True, kw_only=True):
    """Whom the app tells of what happened to jobs."""

    url: Url = ""
    command: Command = ""
    on: Annotated[list[Event] | None, setting("Which events.", f"a list of {', '.join(EVENTS)}")] = None
    bell: Annotated[bool, setting("Whether the terminal rings.", _SWITCH)] = True
    terminal: Annotated[
        Literal["auto", "osc9", "osc777", "off"],
        setting("How the terminal is asked to notify.", f"one of {', '.join(TERMINALS)}"),
    ] = "auto"


class CommandTable(msgspec.Struct, frozen=True, kw_only=True):
    """[commands.NAME]: a program that a key of the app starts."""

    run: Annotated[
        list[str], setting("The program and its arguments; {job} and other fields are filled in.", _STRINGS)
    ] = msgspec.field(default_factory=list)
    key: Annotated[str, setting("Starts it, on the main screen.", 'a key, like "f6" or "ctrl+l"')] = ""
    on: Annotated[Literal["job", "host", "gpu"], setting("What it is about.", "one of job, host, gpu")] = "job"
    confirm: Annotated[bool, setting("Whether the app asks first.", _SWITCH)] = False
    background: Annotated[bool, setting("Whether it leaves the terminal to the app.", _SWITCH)] = False


class AppFile(msgspec.Struct, frozen=True, kw_only=True):
    """app.toml: how the terminal app looks, which keys it takes, and whom it tells."""

    theme: Annotated[str, setting("A theme's name; else the app's own.", _TEXT)] = ""
    ascii: Annotated[bool, setting("No glyph beyond ASCII.", _SWITCH)] = False
    mouse: Annotated[bool, setting("Whether the app takes the mouse.", _SWITCH)] = True
    slow_link: Annotated[bool, setting("Draw what changes every few seconds only.", _SWITCH)] = False
    keys: Annotated[
        dict[str, Annotated[str, setting("Keys with commas between them.", 'a string, like "m" or "m,ctrl+space"')]],
        setting("Keys by the id of what they do; foundations ui --keys lists those.", _TABLE),
    ] = msgspec.field(default_factory=dict)
    notify: AppNotifyTable = msgspec.field(default_factory=AppNotifyTable)
    commands: Annotated[dict[str, CommandTable], setting("Programs of yours, by name.", _TABLE)] = msgspec.field(
        default_factory=dict
    )


class SweepTable(msgspec.Struct, frozen=True, kw_only=True):
    """[sweep]: a job for each set of parameters."""

    parameters: Annotated[dict[str, Any], setting("What each parameter ranges over.", _TABLE)] = msgspec.field(
        default_factory=dict
    )
    mode: Annotated[Literal["grid", "zip", "random"], setting("How they are combined.", "one of grid, zip, random")] = (
        "grid"
    )
    count: Annotated[int, setting("How many jobs, of a random sweep.", "a whole number", ge=0)] = 0
    seed: Annotated[int | None, setting("The same one draws the same jobs.", "a whole number")] = None


class SweepFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file for submit --sweep-file."""

    sweep: SweepTable = msgspec.field(default_factory=SweepTable)


class SearchTable(msgspec.Struct, frozen=True, kw_only=True):
    """[search]: Optuna proposes parameters, jobs try them."""

    metric: Annotated[str, setting("Metric whose last value counts.", "the key of a metric", min_length=1)]
    command: Annotated[
        list[str],
        setting(
            "The argument vector, with {name} for parameters.", 'a list of words: ["python", "train.py"]', min_length=1
        ),
    ]
    parameters: Annotated[
        dict[str, Any], setting("What each parameter ranges over.", "a table that is not empty", min_length=1)
    ]
    direction: Annotated[Literal["min", "max"], setting("Which value is best.", '"min" or "max"')] = "min"
    trials: Annotated[int, setting("How many jobs in all.", "a whole number from 1 to 20,000", ge=1, le=20_000)] = 20
    at_once: Annotated[int, setting("How many at once.", "a whole number from 1 to 20,000", ge=1, le=20_000)] = 2
    seed: Annotated[int | None, setting("The same one proposes the same.", "a whole number")] = None


class SearchFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file for sweep run."""

    search: SearchTable


FILES: dict[str, type[msgspec.Struct]] = {
    "hosts": HostsFile,
    "project": ProjectFile,
    "app": AppFile,
    "sweep": SweepFile,
    "search": SearchFile,
}
"""The files, by the names under which their schemas are published."""
_SHARED = ("SweepFile", "SearchFile")
"""Files that may have other tables, for other programs."""


def json_schema(name: str) -> str:
    """Return the JSON schema of a file, for editors; see https://json-schema.org/draft/2020-12."""
    schema = msgspec.json.schema(FILES[name])
    for title, definition in schema.get("$defs", {}).items():
        if "properties" in definition and title not in _SHARED:
            definition["additionalProperties"] = False
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}, indent=2) + "\n"
