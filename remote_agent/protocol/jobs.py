"""The nouns: a job's specification and what a host says about it. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, fields
from typing import Any, Dict, List, Mapping, Optional, Tuple

from remote_agent.protocol import chains, checks, recipes, services
from remote_agent.protocol.ends import OF_AN_ATTEMPT, STATE_NAME, Cause, PastAttempt, Usage, known_cause, known_usage
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.names import ENV_NAME as ENV_NAME, JOB_ID as JOB_ID
from remote_agent.protocol.states import RETRY_CLASSES, JobState
from remote_agent.protocol.wire import JsonTable, nested

LONGEST_GRACE = 86400
"""Seconds that a stop may leave a job at most."""
LONGEST_LIMIT = 3650 * 86400
"""Seconds of the longest time limit."""
STOP_SIGNALS = ("TERM", "INT", "HUP", "QUIT", "USR1", "USR2")
"""Signals that a job may ask to be stopped with."""
MOST_RETRIES = 1000
MOST_SEED = 2**32 - 1
"""The largest PYTHONHASHSEED; NumPy's is the same."""
LEAST_PRIORITY = 19
"""Niceness of what yields to everything else, nice(2)."""
MOST_SPEC_BYTES = 1 << 20
"""A specification, as JSON, is at most so large."""
LONGEST_NOTE = 1 << 16
"""Characters of an annotation's value, as JSON."""


@dataclass(frozen=True)
class JobSpec:
    """What a job is. It never changes after submit; what happens to a job later is an event."""

    job: str
    """The id, made by the client: 12 random hex digits unless given."""
    command: Tuple[str, ...]
    """The argument vector; with ``shell`` one string for ``/bin/sh -c``."""
    snapshot: str
    """Git tree id of the frozen working tree."""
    project: str = "default"
    name: str = ""
    owner: str = ""
    """A person's name: several people may share one account."""
    client: str = ""
    """Id of the client installation that submitted it."""
    kind: str = "batch"
    shell: bool = False
    subdir: str = ""
    """Folder below the snapshot's root where the command starts."""
    folders: Tuple[str, ...] = ()
    """Folders below the snapshot's root that hold nothing: a snapshot has only files."""
    python: str = ""
    """Interpreter that ``python`` means in the job; empty for the one the agent runs with."""
    setup: str = ""
    """Shell lines sourced before the command (modules, conda)."""
    cpus: int = 1
    gpus: int = 0
    """GPUs: whole ones, or with ``gpu_memory`` a share of each."""
    gpu_memory: int = 0
    """MiB of each GPU's memory; other jobs may share the rest. Planned with, not enforced. 0: whole GPUs."""
    ram: int = 0
    """Bytes of the host's memory, planned with, not enforced; 0: as it comes."""
    after: Tuple[str, ...] = ()
    """Jobs of this host that have to complete first."""
    after_any: Tuple[str, ...] = ()
    """Jobs of this host that have to end first, however they end."""
    group: str = ""
    """Jobs of one group are paused and resumed together; a sweep is one."""
    time_limit: float = 0.0
    """Seconds that an attempt may run; 0 for no limit."""
    retries: int = 0
    """How many attempts may follow the first."""
    retry_on: Tuple[str, ...] = ("lost",)
    """Which ends are tried again, of RETRY_CLASSES."""
    stop_signal: str = "TERM"
    """What its processes get first when it is stopped."""
    grace: float = 30.0
    """Seconds between that and KILL."""
    data: JsonTable = field(default_factory=dict)
    """What lies on the host already, by name: {"path": where, "at": the link in the job's folder, "" for none,
    "hash": of a data set, or "listing" when what lies there is to be listed}."""
    outputs: Tuple[str, ...] = ()
    """Patterns of the files that come back by themselves when it has ended."""
    output_limit: int = 1 << 30
    """Bytes of them that come back at most."""
    log_limit: int = 0
    """Bytes that its log may take on the host's disk; beyond, its middle is dropped. 0 for no limit."""
    secrets: Tuple[str, ...] = ()
    """Names of variables whose values travel apart and are kept nowhere but in the job's private file."""
    private: bool = False
    """Whether such a file came with it: secrets, or whom to notify."""
    params: JsonTable = field(default_factory=dict)
    env: Dict[str, str] = field(default_factory=dict)
    tags: JsonTable = field(default_factory=dict)
    metrics: JsonTable = field(default_factory=dict)
    """What its project says of metrics: "direction" ("min" or "max" by key), "patterns" (of lines of the log)."""
    priority: int = 0
    nice: int = 0
    """Niceness of its processes above the agent's: 0 to LEAST_PRIORITY, setpriority(2)."""
    git: JsonTable = field(default_factory=dict)
    """Where the tree came from: commit, branch, dirty."""
    created_at: float = 0.0
    """When the client made it, seconds since the epoch."""
    job_seed: Optional[int] = None
    """What its random numbers begin with, as far as it asks: FOUNDATIONS_SEED, PYTHONHASHSEED."""
    deterministic: bool = False
    """Whether libraries are told to compute the same each time, where that has to be said before CUDA starts."""
    client_version: str = ""
    template: Tuple[str, ...] = ()
    """The command with the placeholders that its parameters filled; empty where there were none."""
    from_shell: Tuple[str, ...] = ()
    """Names of variables in ``env`` that are those of the shell that submitted it."""
    code_of: str = ""
    """Id of the job that it is a rerun of: it has the code and the project's settings of that one."""
    environment: JsonTable = field(default_factory=dict)
    """The recipe of its environment (``recipes.Recipe``) with its "hash"; empty where the host's Python has to do."""
    own_setup: Tuple[str, ...] = ()
    """Those lines of ``setup`` that are the project's, not the host's."""
    import_path: Tuple[str, ...] = ()
    """Folders below the snapshot's root from which its own code is imported, too."""
    distributions: JsonTable = field(default_factory=dict)
    """The project's own distributions in that code, by name: {"version", "entry_points": references by group and name}.
    """
    service: JsonTable = field(default_factory=dict)
    """Of which service it is a replica (``services.Serving``); empty for a job that ends."""
    schedule: str = ""
    """Name of the schedule of its host that has submitted it; "" for none."""
    chain: JsonTable = field(default_factory=dict)
    """What its host does with what the job that it waits for has made (``chains.Chain``); empty for nothing."""

    def to_wire(self) -> JsonTable:
        """Return the specification as JSON can carry it."""
        wire = {name: getattr(self, name) for name in _SPEC_FIELDS}
        for name in _SPEC_TUPLES:
            wire[name] = list(wire[name])
        return wire

    @classmethod
    def from_wire(cls, wire: JsonTable) -> "JobSpec":
        """Return the specification in a message or a journal, unchecked; unknown fields are ignored.

        Raises:
            BadRequest: a field is missing or unknown as a whole.
        """
        try:
            values = _known(cls, wire)
            for name in _SPEC_TUPLES:
                if name in values:
                    values[name] = tuple([str(word) for word in values[name]])
            spec = cls(**values)
        except (TypeError, KeyError) as error:
            raise BadRequest(f"not a job specification: {error}") from None
        spec.check_id()  # it becomes a path on either side
        return spec

    def check(self, like: Optional["JobSpec"] = None) -> None:
        """Raise BadRequest when the job could not be run as it is specified.

        Args:
            like: one that was checked: what this one shares with it is right.
        """
        self.check_id()
        wire = self.to_wire()
        for name, check in SPEC_CHECKS.items():
            if getattr(self, name) is not getattr(like, name, self) and not _is_usual(name, wire[name]):
                check(wire[name], name)
                if name == "metrics":
                    _ANYTHING(wire[name], name)
        _check_size(wire)
        if not re.match(r"[0-9a-f]{40}\Z", self.snapshot):
            raise BadRequest(f"not a snapshot id: {self.snapshot!r}")
        if not self.command or not self.command[0]:
            raise BadRequest("the command is empty")
        if self.gpu_memory and not self.gpus:
            raise BadRequest("a share of a GPU's memory needs a GPU")
        if self.group == "*":
            raise BadRequest("a group cannot be called *")
        for pattern in self.outputs:
            if not pattern.strip("/") or pattern.startswith("/") or ".." in pattern.split("/"):
                raise BadRequest(f"outputs are files below the job's folder; {pattern!r} matches none")
        if self.job in (*self.after, *self.after_any):
            raise BadRequest("a job cannot wait for itself")
        if bool(self.service) != self.is_replica:
            raise BadRequest(f"a job of kind {services.KIND} needs to say of which service, and no other does")
        if self.is_replica and (self.after or self.after_any):
            raise BadRequest("a service does not wait for jobs")
        if self.is_replica:
            services.check_command(self.command, self.serving)
        if self.chain and (len(self.after) != 1 or self.after_any or self.is_replica):
            raise BadRequest("a chain goes on from one job, which has to complete")
        self._check_data()
        for folder in (self.subdir, *self.folders, *self.import_path):
            if folder.startswith("/") or ".." in folder.split("/"):
                raise BadRequest(f"not a folder of the snapshot: {folder!r}")

    def _check_data(self) -> None:
        places: Dict[str, str] = {}
        for name, entry in self.data.items():
            path, at = str(entry.get("path", "")), str(entry.get("at", ""))
            if not ENV_NAME.match(name) or not path.startswith(("/", "~/")) or "\0" in path + at:
                raise BadRequest(f"data {name!r}: a name like a variable's, and a path from the root or ~/ is needed")
            if at.startswith("/") or ".." in at.split("/"):
                raise BadRequest(f"data {name!r}: {at!r} leads out of the job's folder")
            place = "/".join(part for part in at.split("/") if part not in ("", "."))
            if place and place in places:
                raise BadRequest(f"data {name!r}: {places[place]!r} is at {at!r} already")
            if ".git" in place.split("/"):
                raise BadRequest(f"data {name!r}: {at!r} is no place for data")
            places[place] = name

    @property
    def environment_hash(self) -> str:
        """Return the name of its environment; "" for none."""
        return str(self.environment.get("hash", ""))

    @property
    def is_replica(self) -> bool:
        """Whether it stays up: an attempt that ends is followed by another one."""
        return self.kind == services.KIND

    @property
    def serving(self) -> services.Serving:
        """Return what it says of its service."""
        return services.Serving.from_wire(self.service, "service")

    def check_id(self) -> None:
        """Raise BadRequest when the id is none."""
        if not isinstance(self.job, str) or not JOB_ID.match(self.job):
            raise BadRequest(f"not a job id: {self.job!r}")


_SPEC_FIELDS = tuple(f.name for f in fields(JobSpec))
_SPEC_TUPLES = (
    *("command", "template", "from_shell", "folders", "after", "after_any", "retry_on", "outputs", "secrets"),
    *("import_path", "own_setup"),
)
_NAME = checks.text(1000)
_PATH = checks.text(4096, as_bytes=True)
_ARGUMENT = checks.text(131_071, as_bytes=True)
"""Linux takes no longer argument or variable: MAX_ARG_STRLEN, execve(2)."""
_ID = checks.text(64, JOB_ID, "a job's id")
_ID_OR_NONE = re.compile(r"(" + JOB_ID.pattern[:-2] + r")?\Z")
_ANYTHING = checks.json_value(checks.LARGEST)
"""Also of what is unknown in a table."""
_VARIABLE = checks.text(1000, ENV_NAME, "the name of a variable: letters, digits and _")
_DATA_HASH = checks.text(64, re.compile(r"([0-9a-f]{64}|listing)?\Z"), "a SHA-256 digest, or listing")
_METRICS = checks.record(
    {
        "direction": checks.table(checks.one_of("min", "max"), 1000, _NAME),
        "patterns": checks.listing(checks.text(10_000), 100),
        "tensorboard": checks.flag,
    }
)
_DISTRIBUTION_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?\Z")
_ENTRY_NAME = checks.text(200, re.compile(r"[\w][\w.-]*\Z"), "an entry point's name")
_DOTTED = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_REFERENCE = checks.text(
    1000,
    re.compile(rf"{_DOTTED}( *: *{_DOTTED})?( *\[[\w ,.-]*\])?\Z"),
    "module:object",
)
_DISTRIBUTION = checks.record(
    {
        "version": checks.text(200, re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]*\Z"), "a version"),
        "entry_points": checks.table(checks.table(_REFERENCE, 1000, _ENTRY_NAME), 100, _ENTRY_NAME),
    },
    needs=("version",),
)
SPEC_CHECKS: Dict[str, checks.Check] = {
    "command": checks.listing(_ARGUMENT, 100_000),
    "snapshot": checks.text(40),
    "project": _NAME,
    "name": _NAME,
    "owner": _NAME,
    "client": checks.text(64),
    "kind": checks.text(32),
    "shell": checks.flag,
    "subdir": _PATH,
    "folders": checks.listing(_PATH, 1000),
    "python": _PATH,
    "setup": checks.text(131_071, as_bytes=True),
    "cpus": checks.whole(1, 1_000_000),
    "gpus": checks.whole(0, 1_000_000),
    "gpu_memory": checks.whole(0, 1 << 40),
    "ram": checks.whole(),
    "after": checks.listing(_ID, 10_000),
    "after_any": checks.listing(_ID, 10_000),
    "group": _NAME,
    "time_limit": checks.number(0, LONGEST_LIMIT, f"0 (none), or at most {LONGEST_LIMIT // 86400} days, in seconds"),
    "retries": checks.whole(0, MOST_RETRIES),
    "retry_on": checks.listing(checks.one_of(*RETRY_CLASSES), len(RETRY_CLASSES)),
    "stop_signal": checks.one_of(*STOP_SIGNALS),
    "grace": checks.number(0, LONGEST_GRACE),
    "data": checks.table(checks.record({"path": _PATH, "at": _PATH, "hash": _DATA_HASH}), 1000, _VARIABLE),
    "outputs": checks.listing(_PATH, 1000),
    "output_limit": checks.whole(),
    "log_limit": checks.whole(),
    "secrets": checks.listing(_VARIABLE, 1000),
    "private": checks.flag,
    "params": checks.json_table(MOST_SPEC_BYTES),
    "env": checks.table(_ARGUMENT, 10_000, _VARIABLE),
    "tags": checks.table(checks.json_value(LONGEST_NOTE), 10_000, _NAME),
    "metrics": _METRICS,
    "priority": checks.whole(-(2**31), 2**31 - 1),
    "nice": checks.whole(0, LEAST_PRIORITY),
    "git": checks.json_table(1 << 16),
    "created_at": checks.moment,
    "job_seed": checks.optional(checks.whole(0, MOST_SEED)),
    "deterministic": checks.flag,
    "client_version": checks.text(100),
    "template": checks.listing(_ARGUMENT, 100_000),
    "from_shell": checks.listing(_VARIABLE, 10_000),
    "code_of": checks.text(64, _ID_OR_NONE, "a job's id"),
    "environment": recipes.check,
    "import_path": checks.listing(_PATH, 1000),
    "distributions": checks.table(_DISTRIBUTION, 100, checks.text(200, _DISTRIBUTION_NAME, "a distribution's name")),
    "own_setup": checks.listing(checks.text(131_071, as_bytes=True), 1000),
    "service": services.check_serving,
    "schedule": _NAME,
    "chain": chains.check_chain,
}
"""What each field of a specification has to be, whoever it comes from."""


def chance_variables(seed: Optional[int], deterministic: bool, env: Mapping[str, str]) -> Dict[str, str]:
    """Return the variables that a seed sets, and by which libraries compute the same each time.

    Args:
        seed: what random numbers begin with; None for nothing.
        deterministic: whether libraries are to compute the same.
        env: the other variables: flags that XLA has already are kept.
    """
    variables: Dict[str, str] = {}
    if seed is not None:
        variables.update(FOUNDATIONS_SEED=str(seed), PYTHONHASHSEED=str(seed))
    if deterministic:
        # https://docs.nvidia.com/cuda/cublas/#results-reproducibility, and TensorFlow's and JAX's own switches.
        variables.update(FOUNDATIONS_DETERMINISTIC="1", CUBLAS_WORKSPACE_CONFIG=":4096:8", TF_DETERMINISTIC_OPS="1")
        variables["XLA_FLAGS"] = f"{env.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true".strip()
    return variables


def param_variables(params: Mapping[str, Any]) -> Dict[str, str]:
    """Return the variables that parameters are passed on in: FOUNDATIONS_PARAM_NAME."""
    return {f"FOUNDATIONS_PARAM_{_variable(key)}": _text(value) for key, value in params.items()}


def data_variable(name: str) -> str:
    """Return the variable that says where data of a name lies."""
    return f"FOUNDATIONS_DATA_{name.upper()}"


def _variable(key: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in key).upper()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


_USUAL = {
    name: value
    for name, value in JobSpec(job="-", command=(), snapshot="").to_wire().items()
    if name not in ("job", "command", "snapshot")
}


def _is_usual(name: str, value: Any) -> bool:
    """Return whether a field has its default: there is nothing to check."""
    return name in _USUAL and type(value) is type(_USUAL[name]) and bool(value == _USUAL[name])


def _check_size(wire: JsonTable) -> None:
    """Refuse a specification that is too large, and name its largest part."""
    if checks.json_size(wire) > MOST_SPEC_BYTES:
        sizes = {name: checks.json_size(value) for name, value in wire.items()}
        largest = max(sizes, key=lambda name: sizes[name])
        raise BadRequest(
            f"{largest} is too large: it has {sizes[largest]:,} bytes, and all of a job's specification has at most"
            f" {MOST_SPEC_BYTES:,}; put what is large into a file"
        )


@dataclass(frozen=True)
class JobView:
    """What a host says about one job: its specification and where it is now."""

    spec: JobSpec
    state: JobState
    seq: int
    """Sequence number of the last journal event that changed it."""
    attempt: int = 0
    """Number of the current or last attempt, from 1; 0 before the first."""
    reason_code: Optional[str] = None
    reason: Optional[str] = None
    exit_code: Optional[int] = None
    """128 + n when signal n ended the process; None when there was no process or its end was not seen."""
    gpus: Tuple[str, ...] = ()
    """UUIDs of the leased GPUs."""
    queued_at: Optional[float] = None
    started_at: Optional[float] = None
    ended_at: Optional[float] = None
    stop_requested_by: Optional[str] = None
    stop_deadline: Optional[float] = None
    """Deadline of a graceful stop, seconds since the epoch."""
    streams: Dict[str, int] = field(default_factory=dict)
    """Final sizes of the attempt's streams in bytes ("log", "records/<writer>"); empty until it ended."""
    usage: Usage = Usage()
    """What the ended attempt used."""
    signal: Optional[str] = None
    """Name of the signal that ended the process."""
    cause: Optional[Cause] = None
    """The post-mortem of a failure."""
    priority: int = 0
    """Higher goes first; begins as the specification's and may be changed."""
    rank: float = 0.0
    """Place among the jobs of one priority; begins as the sequence number of the submit."""
    attempts: Tuple[PastAttempt, ...] = ()
    """The attempts before the current one."""
    pruned: bool = False
    """Whether its folder on the host was removed to free the disk."""
    held: bool = False
    """Whether it starts only when somebody says so: a stop or delete of it may have been lost."""
    not_before: Optional[float] = None
    """When its next attempt may begin, seconds since the epoch: a replica that failed waits a while."""
    annotations: JsonTable = field(default_factory=dict)
    """What people said of it: [value, when] of "note", "starred", "archived", "trashed", "project" and "tag:KEY"."""

    def to_wire(self) -> JsonTable:
        """Return the view as JSON can carry it."""
        wire = {f.name: getattr(self, f.name) for f in fields(self)}
        wire.update(
            spec=self.spec.to_wire(),
            state=self.state.value,
            gpus=list(self.gpus),
            usage=self.usage.to_wire(),
            cause=self.cause.to_wire() if self.cause else {},
            attempts=[past.to_wire() for past in self.attempts],
        )
        return wire

    @classmethod
    def from_wire(cls, wire: JsonTable) -> "JobView":
        """Return the view in a journal, which was checked before; unknown fields are ignored."""
        values = _known(cls, wire)
        values.update(
            spec=JobSpec.from_wire(wire["spec"]),
            state=JobState(wire["state"]),
            attempt=int(wire.get("attempt", 0)),
            gpus=tuple(wire.get("gpus", ())),
            usage=known_usage(wire.get("usage")),
            cause=known_cause(wire.get("cause")),
            attempts=tuple(map(PastAttempt.known, wire.get("attempts", ()))),
        )
        return cls(**values)

    @classmethod
    def received(cls, wire: Any, problems: List[str]) -> "JobView":
        """Return the view that a host sent: what makes no sense in it is left out, and named.

        Args:
            wire: from a message.
            problems: takes a line of words for each part that was left out.
        Raises:
            BadRequest: not even its id and state make sense.
        """
        _IDENTITY(wire, "a job")
        wrong: List[str] = []
        told = {name: value for name, value in wire["spec"].items() if not _is_usual(name, value)}
        spec = checks.mended(SPEC_CHECKS, told, wrong)
        job = _ID(wire["spec"].get("job"), "a job's id")
        try:
            _check_size({**spec, "job": job})
        except BadRequest as error:
            wrong.append(str(error))
            spec = {name: value for name, value in spec.items() if checks.json_size(value) < MOST_SPEC_BYTES // 8}
        spec.update(job=job, command=spec.get("command") or ["?"], snapshot=spec.get("snapshot", "0" * 40))
        view = checks.mended(VIEW_CHECKS, wire, wrong)
        problems += [f"job {job}: {words}" for words in wrong]
        return cls(JobSpec.from_wire(spec), JobState.reported(wire["state"]), wire["seq"], **view)

    def past(self) -> PastAttempt:
        """Return the ended attempt as an entry of ``attempts``."""
        same = {name: getattr(self, name) for name in OF_AN_ATTEMPT if name != "gpus"}
        return PastAttempt(state=self.state.value, gpus=list(self.gpus), **same)


_MOMENT = checks.optional(checks.moment)


def _annotations(value: Any, where: str) -> Any:
    """Keep the annotations that are some."""
    good = {}
    for key, entry in checks.any_table(value, where).items():
        try:
            check_annotations({key: entry})
            good[key] = [entry[0], checks.moment(entry[1], where)]
        except BadRequest:
            continue
    return good


_IDENTITY = checks.record(
    {"spec": checks.any_table, "state": STATE_NAME, "seq": checks.whole()}, ("spec", "state", "seq")
)
VIEW_CHECKS: Dict[str, checks.Check] = {
    **OF_AN_ATTEMPT,
    "gpus": checks.as_tuple(OF_AN_ATTEMPT["gpus"]),
    "queued_at": _MOMENT,
    "stop_requested_by": checks.optional(checks.text(1000)),
    "stop_deadline": _MOMENT,
    "priority": checks.whole(-(2**31), 2**31 - 1),
    "rank": checks.number(-checks.LARGEST, checks.LARGEST),
    "attempts": checks.as_tuple(checks.listing(nested(PastAttempt), MOST_RETRIES + 1)),
    "pruned": checks.flag,
    "held": checks.flag,
    "not_before": _MOMENT,
    "annotations": _annotations,
}
"""What each field of a view has to be, but its specification, state and sequence number."""


_KIND_OF_ANNOTATION: Dict[str, Tuple[type, ...]] = {
    "note": (str,),
    "project": (str,),
    "starred": (bool,),
    "archived": (bool,),
    "trashed": (bool,),
}


def check_annotations(changes: JsonTable) -> None:
    """Raise BadRequest when something is no annotation: key -> [value, seconds since the epoch]."""
    for key, entry in changes.items():
        if key not in _KIND_OF_ANNOTATION and not key.startswith("tag:"):
            raise BadRequest(f"not an annotation: {key!r}")
        if not isinstance(entry, (list, tuple)) or len(entry) != 2 or not isinstance(entry[1], (int, float)):
            raise BadRequest(f"annotation {key!r}: a value and a time are needed")
        checks.moment(entry[1], f"annotation {key[:40]!r}: its time")
        value = entry[0]
        if not isinstance(value, _KIND_OF_ANNOTATION.get(key, (str, int, float, type(None)))):
            raise BadRequest(f"annotation {key!r}: {type(value).__name__} is not taken")
        if len(key) > 1000 or len(str(value)) > LONGEST_NOTE:
            raise BadRequest(f"annotation {key[:40]!r}: longer than {LONGEST_NOTE:,} characters")
        checks.json_value(2 * LONGEST_NOTE * 6)([key, value], f"annotation {key[:40]!r}")
        if key == "project" and not value:
            raise BadRequest("a project's name is not empty")


def _known(cls: Any, wire: JsonTable) -> JsonTable:
    return {name: wire[name] for name in cls.__dataclass_fields__ if name in wire}
