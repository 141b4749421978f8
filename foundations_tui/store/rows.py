"""What the queries return: rows as the CLI, the terminal app and the SDK see them."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field  # made in a tenth of the time that a dataclass takes, at each start and for each row

from foundations_tui.errors import StoreError, store_hint
from foundations_tui.text import humanize
from foundations_tui.text.story import Story, words
from remote_agent.protocol import states
from remote_agent.protocol.ends import Cause, PastAttempt, Usage
from remote_agent.protocol.wire import JsonTable

if TYPE_CHECKING:
    from remote_agent.protocol.resources import HostGpu, Resources


class MetricSummary(Struct, frozen=True):
    """One metric of a job in six numbers."""

    first: Any
    last: Any
    min: float | None
    max: float | None
    count: int
    step: int | None
    """Step of the last value."""

    def to_json(self) -> JsonTable:
        """Return it as ``--json`` prints it."""
        numbers = {"first": self.first, "last": self.last, "min": self.min, "max": self.max}
        return {**{k: json_number(v) for k, v in numbers.items()}, "count": self.count, "step": self.step}


FINAL_STATES = tuple(state.value for state in states.FINAL_STATES)
"""After which nothing more happens to a job."""
PATIENCE = 600.0
"""Seconds for which any job may be silent before it counts as stalled."""


class JobRow(Struct, frozen=True):
    """One job as the store knows it. Times are seconds since the epoch."""

    job: str
    host: str
    project: str
    name: str
    owner: str
    state: str
    reason_code: str | None
    reason: str | None
    exit_code: int | None
    attempt: int
    command: list[str]
    snapshot: str
    gpus_requested: int
    gpus: list[str]
    created_at: float
    queued_at: float | None
    started_at: float | None
    ended_at: float | None
    stop_requested_by: str | None
    cpus: int
    gpu_memory: int
    """MiB of each GPU that it asked for; 0 for whole ones."""
    signal: str | None
    cause: Cause | None
    """The post-mortem of a failure."""
    usage: Usage
    priority: int
    group: str
    after: list[str]
    after_any: list[str]
    time_limit: float
    retries: int
    attempts: list[PastAttempt]
    """The attempts before the current one."""
    starts_at: float | None
    """When it is expected to start."""
    outputs: JsonTable | None
    """What was brought back of its outputs; None when nothing was, yet."""
    pruned: bool
    """Whether its folder on the host was removed."""
    client: str
    complete: bool
    """Whether every byte of its streams is here."""
    data_as_of: float | None
    """When its host was last heard."""
    unreachable_since: float | None
    stalled_since: float | None = None
    """Since when it has written nothing, where that is longer than it ever is silent: a flag, no state."""
    story: Story | None = None
    """What it tells of itself, as it was when its data came last; None for nothing."""
    kind: str = "batch"
    """"batch", or "run" for one that was started by hand on this machine."""
    note: str = ""
    """Markdown."""
    starred: bool = False
    archived: bool = False
    trashed_at: float | None = None
    """When it was deleted."""
    params: JsonTable = field(default_factory=dict)
    args: JsonTable = field(default_factory=dict)
    """What its command line says."""
    metrics: dict[str, MetricSummary] = field(default_factory=dict)
    tags: JsonTable = field(default_factory=dict)
    artifacts: JsonTable = field(default_factory=dict)
    """By key: "path" below its folder of artifacts, and what else is known."""
    uses: JsonTable = field(default_factory=dict)
    """Artifacts of other jobs that it used."""

    @property
    def label(self) -> str:
        """Its name, or its command where it has none."""
        return self.name or humanize.command(self.command)

    @property
    def is_final(self) -> bool:
        """Whether nothing more happens to it."""
        return self.state in FINAL_STATES

    @property
    def has_completed(self) -> bool:
        """Whether it ended well."""
        return self.state == "completed"

    @property
    def is_running(self) -> bool:
        """Whether its command runs."""
        return self.state == "running"

    @property
    def is_waiting(self) -> bool:
        """Whether it waits on its host for its turn."""
        return self.state == "queued"

    @property
    def went_wrong(self) -> bool:
        """Whether it ended in a way that nobody asked for."""
        return self.state in ("failed", "lost")

    @property
    def lacks_cause(self) -> bool:
        """Whether it failed and nobody knows what of."""
        return self.state == "failed" and not self.cause

    @property
    def has_begun(self) -> bool:
        """Whether its host has given it a place to run."""
        return self.state not in ("submitting", "queued")

    @property
    def is_unsure(self) -> bool:
        """Whether it may have changed since: its host is out of reach."""
        return self.unreachable_since is not None and not self.is_final

    @property
    def is_gone(self) -> bool:
        """Whether no host knows it any more: its host was wiped, or it never arrived."""
        return self.reason_code in ("host_reinstalled", "submit_interrupted")

    @property
    def shown_state(self) -> str:
        """Its state, or "stalled" for one that runs and is silent."""
        return "stalled" if self.stalled_since is not None else self.state

    @property
    def host_state(self) -> str | None:
        """ "reachable", "unreachable", or None when its host was never asked."""
        if self.unreachable_since is not None:
            return "unreachable"
        return None if self.data_as_of is None else "reachable"

    def duration(self, now: float) -> float | None:
        """Return how long it ran, or has been running up to what is known, seconds."""
        if self.started_at is None:
            return None
        if self.ended_at is not None:
            end = self.ended_at
        elif self.is_final:
            return None
        else:
            end = min(now, self.data_as_of or now) if self.unreachable_since is not None else now
        return round(max(0.0, end - self.started_at), 3)

    def tell(self, now: float) -> str:
        """Return what it tells in one sentence: how far it is, why it waits, how it ended; empty for nothing.

        Args:
            now: seconds since the epoch.
        """
        if self.stop_requested_by and not self.is_final:
            return "stopping"
        if self.story is not None:
            return words(self.story, now)
        if self.stalled_since is not None:
            return f"stalled: no line for {humanize.about((self.data_as_of or 0) - self.stalled_since)}"
        if self.state in ("running", "completed"):
            return ""
        return self.why

    @property
    def why(self) -> str:
        """Return what its host says of its state: why it waits, or how it ended."""
        reason = self.reason or ""
        return f"{reason}: {self.cause.words}" if self.cause and self.cause.words else reason

    def about(self, now: float) -> str:
        """Return what it tells and what it was given; where it tells nothing, what it measured last.

        Args:
            now: seconds since the epoch.
        """
        sentence = self.tell(now)
        params = [f"{key}={_brief(value)}" for key, value in self.params.items()]
        metrics = [f"{key} {_brief(metric.last)}" for key, metric in self.metrics.items()]
        return "  ".join([sentence, *params] if sentence else params + metrics)

    def to_json(self, now: float) -> JsonTable:
        """Return it as ``--json`` prints it: every field is there, null where it is not known."""
        return {
            "job": self.job,
            "name": self.name or None,
            "project": self.project,
            "owner": self.owner or None,
            "host": self.host,
            "host_state": self.host_state,
            "state": self.state,
            "reason_code": self.reason_code,
            "reason": self.reason,
            "exit_code": self.exit_code,
            "attempt": self.attempt,
            "command": self.command,
            "params": {key: json_value(value) for key, value in self.params.items()},
            "metrics": {key: summary.to_json() for key, summary in self.metrics.items()},
            "tags": {key: json_value(value) for key, value in self.tags.items()},
            "args": {key: json_value(value) for key, value in self.args.items()},
            "artifacts": {key: json_value(value) for key, value in self.artifacts.items()},
            "uses": self.uses,
            "kind": self.kind,
            "note": self.note or None,
            "starred": self.starred,
            "archived": self.archived,
            "trashed_at": self.trashed_at,
            "signal": self.signal,
            "cause": self.cause.to_wire() if self.cause else None,
            "usage": self.usage.to_wire(),
            "priority": self.priority,
            "group": self.group or None,
            "after": self.after,
            "after_any": self.after_any,
            "time_limit": self.time_limit or None,
            "retries": self.retries,
            "attempts": [_past(past) for past in self.attempts],
            "estimated_start": iso(self.starts_at),
            "outputs": self.outputs,
            "pruned": self.pruned,
            "cpus_requested": self.cpus,
            "gpu_memory_requested": self.gpu_memory << 20 or None,
            "gpus_requested": self.gpus_requested,
            "gpus": self.gpus,
            "snapshot": self.snapshot,
            "created_at": iso(self.created_at),
            "queued_at": iso(self.queued_at),
            "started_at": iso(self.started_at),
            "ended_at": iso(self.ended_at),
            "duration": self.duration(now),
            "stalled_since": iso(self.stalled_since),
            "story": story_json(self.story, now),
            "data_as_of": iso(self.data_as_of),
        }


class HostRow(Struct, frozen=True):
    """One host as it was last heard."""

    name: str
    resources: Resources | None
    """None when it was never reached."""
    problems: list[str]
    last_contact: float | None
    error: str | None
    unreachable_since: float | None
    running: int = 0
    queued: int = 0
    python: str | None = None
    agent_version: str | None = None

    @property
    def state(self) -> str:
        """ "reachable", "unreachable" or "unknown"."""
        if self.unreachable_since is not None:
            return "unreachable"
        return "unknown" if self.last_contact is None else "reachable"

    def to_json(self) -> JsonTable:
        """Return it as ``--json`` prints it."""
        return {
            "host": self.name,
            "state": self.state,
            "error": self.error,
            "unreachable_since": iso(self.unreachable_since),
            "running": self.running,
            "queued": self.queued,
            **self._resources(),
            "problems": self.problems,
            "python": self.python,
            "agent_version": self.agent_version,
            "data_as_of": iso(self.last_contact),
        }

    def _resources(self) -> JsonTable:
        names = ("cpus", "cpus_free", "memory", "disk_free", "memory_free", "disk_total", "disk_jobs")
        if self.resources is None:
            return {**dict.fromkeys(names), "paused": [], "gpus": []}
        wire = self.resources.to_wire()
        return {name: wire[name] for name in (*names, "paused", "gpus")}

    @property
    def gpus(self) -> list[HostGpu]:
        """Its GPUs, as last heard."""
        return self.resources.gpus if self.resources else []

    @property
    def free_gpus(self) -> int:
        """How many of them nobody holds."""
        return self.resources.free_gpus if self.resources else 0


class ProjectRow(Struct, frozen=True):
    """One project and how its jobs stand."""

    project: str
    jobs: int
    running: int
    queued: int
    completed: int
    failed: int
    lost: int
    last_job_at: float

    def to_json(self) -> JsonTable:
        """Return it as ``--json`` prints it."""
        names = ("project", "jobs", "running", "queued", "completed", "failed", "lost")
        return {**{name: getattr(self, name) for name in names}, "last_job_at": iso(self.last_job_at)}


class SweepRow(Struct, frozen=True):
    """One sweep, or other group of jobs, and how its jobs stand."""

    group: str
    project: str
    jobs: int
    running: int
    waiting: int
    completed: int
    failed: int
    """Failed, stopped or lost."""
    created_at: float

    def to_json(self) -> JsonTable:
        """Return it as ``--json`` prints it."""
        names = ("project", "jobs", "running", "waiting", "completed", "failed")
        return {"sweep": self.group, **{n: getattr(self, n) for n in names}, "created_at": iso(self.created_at)}


class MetricRow(Struct, frozen=True):
    """One value of a metric."""

    key: str
    step: int | None
    value: Any
    time: float

    def to_json(self) -> JsonTable:
        """Return it as ``--json`` prints it."""
        return {"key": self.key, "step": self.step, "value": json_number(self.value), "time": iso(self.time)}


class CurvePoint(Struct, frozen=True):
    """One point of a chart, or many summed up."""

    count: int
    min: float | None
    max: float | None
    last: float | None
    step_min: int
    step_max: int
    time_min: float
    time_max: float
    non_finite: int
    """How many of them are no finite number."""


class StreamRow(Struct, frozen=True):
    """How far one stream of a job is replicated."""

    job: str
    attempt: int
    name: str
    offset: int
    """Bytes that are here."""
    size: int
    """Bytes that the host has, as last heard."""


class JobSample(Struct, frozen=True):
    """What an attempt used at one moment."""

    time: float
    cpus: float | None
    """CPUs."""
    ram: int | None
    """Bytes."""
    gpu: int | None
    """Percent, the mean of its GPUs."""
    gpu_memory: int | None
    """MiB of its GPUs together."""
    log: int | None = None
    """Bytes of its log by then; None from an agent that did not say."""


class TransitionRow(Struct, frozen=True):
    """A job came into another state."""

    time: float
    """Seconds since the epoch."""
    attempt: int
    state: str
    reason_code: str | None
    """Of an end."""
    place: int | None
    """In the queue, from 1."""


class HostSample(Struct, frozen=True):
    """What a host used at one moment."""

    time: float
    load: float | None
    ram: int | None
    """Bytes in use."""
    disk_free: int | None
    """Bytes."""
    gpus: list[list[Any]]
    """UUID, percent, MiB, degrees, watts of each GPU."""


def _past(past: PastAttempt) -> JsonTable:
    """Return an attempt as ``--json`` prints it."""
    wire = past.to_wire()
    del wire["streams"]
    return {**wire, "started_at": iso(past.started_at), "ended_at": iso(past.ended_at)}


def story_json(story: Story | None, now: float) -> JsonTable | None:
    """Return a story as ``--json`` prints it."""
    return None if story is None else {**json_value(story.to_json(now)), "at": iso(story.at)}


def iso(seconds: float | None) -> str | None:
    """Return a time as ISO 8601 in UTC, milliseconds."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def json_number(value: Any) -> Any:
    """Return a value that JSON can carry: NaN and infinities are strings."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def stored_json(text: str) -> Any:
    """Return what JSON in the store says.

    Raises:
        StoreError: it is none: the file is damaged where SQLite does not notice.
    """
    try:
        return json.loads(text)
    except ValueError:
        raise StoreError(
            "the local store is malformed: it holds text that is no JSON", store_hint("malformed")
        ) from None


def json_value(value: Any) -> Any:
    """Return a nested value that JSON can carry."""
    if isinstance(value, dict):
        return {key: json_value(item) for key, item in value.items()}
    if isinstance(value, list):
        return [json_value(item) for item in value]
    return json_number(value)


_BRIEF = 40
"""Characters of a value in a line of many."""


def _brief(value: Any) -> str:
    text = humanize.number(value)
    return text if len(text) <= _BRIEF else text[: _BRIEF - 1] + "…"
