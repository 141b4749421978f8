"""The nouns: a job's specification, its states, why it ended, and what a host says about it. Pure."""

from __future__ import annotations

import enum
import re
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Dict, List, Optional, Tuple

from remote_agent.errors import BadRequest

JOB_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_NOT_WRITABLE = re.compile("[\\0\\ud800-\\udfff]")


class JobState(str, enum.Enum):
    """Where a job is. Unreachable, stalled, archived and paused are flags, not states."""

    SUBMITTING = "submitting"
    """The client has written down its intent; no host has acknowledged yet."""
    QUEUED = "queued"
    """Accepted by a host; waits for its turn, with a reason in words."""
    PREPARING = "preparing"
    """Holds its lease; its folder and environment are being made."""
    RUNNING = "running"
    """The user's process runs."""
    COMPLETED = "completed"
    """It ended with exit code 0."""
    FAILED = "failed"
    """It ended with another exit code, or could not be started."""
    STOPPED = "stopped"
    """Somebody stopped it, whatever the exit code then was."""
    LOST = "lost"
    """Its end was not seen: the host or its supervisor died."""

    @property
    def is_final(self) -> bool:
        """Whether nothing more happens to the job by itself."""
        return self in FINAL_STATES


LONGEST_GRACE = 86400
"""Seconds that a stop may leave a job at most."""
FINAL_STATES = (JobState.COMPLETED, JobState.FAILED, JobState.STOPPED, JobState.LOST)
ACTIVE_STATES = (JobState.PREPARING, JobState.RUNNING)


class EndReason(str, enum.Enum):
    """Why an attempt ended; ``STATE_OF_REASON`` maps each to the final state."""

    FINISHED = "finished"
    EXIT_CODE = "exit_code"
    SIGNAL = "signal"
    COMMAND_NOT_FOUND = "command_not_found"
    COMMAND_NOT_EXECUTABLE = "command_not_executable"
    WORKSPACE_FAILED = "workspace_failed"
    AGENT_FAILED = "agent_failed"
    STOPPED_BY_USER = "stopped_by_user"
    SUPERVISOR_DIED = "supervisor_died"
    HOST_REBOOTED = "host_rebooted"
    HOST_REINSTALLED = "host_reinstalled"
    SUBMIT_INTERRUPTED = "submit_interrupted"


STATE_OF_REASON: Dict[EndReason, JobState] = {
    EndReason.FINISHED: JobState.COMPLETED,
    EndReason.EXIT_CODE: JobState.FAILED,
    EndReason.SIGNAL: JobState.FAILED,
    EndReason.COMMAND_NOT_FOUND: JobState.FAILED,
    EndReason.COMMAND_NOT_EXECUTABLE: JobState.FAILED,
    EndReason.WORKSPACE_FAILED: JobState.FAILED,
    EndReason.AGENT_FAILED: JobState.FAILED,
    EndReason.STOPPED_BY_USER: JobState.STOPPED,
    EndReason.SUPERVISOR_DIED: JobState.LOST,
    EndReason.HOST_REBOOTED: JobState.LOST,
    EndReason.HOST_REINSTALLED: JobState.LOST,
    EndReason.SUBMIT_INTERRUPTED: JobState.FAILED,
}


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
    python: str = ""
    """Interpreter that ``python`` means in the job; empty for the one the agent runs with."""
    setup: str = ""
    """Shell lines sourced before the command (modules, conda)."""
    cpus: int = 1
    gpus: int = 0
    """Whole GPUs."""
    params: Dict[str, Any] = field(default_factory=dict)
    env: Dict[str, str] = field(default_factory=dict)
    tags: Dict[str, Any] = field(default_factory=dict)
    priority: int = 0
    git: Dict[str, Any] = field(default_factory=dict)
    """Where the tree came from: commit, branch, dirty."""
    created_at: float = 0.0
    """When the client made it, seconds since the epoch."""

    def to_wire(self) -> Dict[str, Any]:
        """Return the specification as JSON can carry it."""
        wire = asdict(self)
        wire["command"] = list(self.command)
        return wire

    @classmethod
    def from_wire(cls, wire: Dict[str, Any]) -> "JobSpec":
        """Return the specification in a message or a journal, unchecked; unknown fields are ignored.

        Raises:
            BadRequest: a field is missing or unknown as a whole.
        """
        try:
            known = _known(cls, wire)
            known["command"] = tuple(str(word) for word in known["command"])
            spec = cls(**known)
        except (TypeError, KeyError) as error:
            raise BadRequest(f"not a job specification: {error}") from None
        spec.check_id()  # it becomes a path on either side
        return spec

    def check(self) -> None:
        """Raise BadRequest when the job could not be run as it is specified."""
        self.check_id()
        if not re.match(r"[0-9a-f]{40}\Z", self.snapshot):
            raise BadRequest(f"not a snapshot id: {self.snapshot!r}")
        if not self.command or not self.command[0]:
            raise BadRequest("the command is empty")
        if any("\0" in word for word in self.command):
            raise BadRequest("a word of the command contains a NUL byte")
        if self.cpus < 1 or self.gpus < 0:
            raise BadRequest("a job needs at least 1 CPU and 0 or more GPUs")
        if self.subdir.startswith("/") or ".." in self.subdir.split("/"):
            raise BadRequest(f"not a folder of the snapshot: {self.subdir!r}")
        for name, value in self.env.items():
            if not ENV_NAME.match(name):
                raise BadRequest(f"not the name of a variable: {name!r}")
            if "\0" in value:
                raise BadRequest(f"the variable {name} contains a NUL character")
        for what in ("project", "name", "owner", "params", "tags"):
            if not _can_be_written(getattr(self, what)):
                raise BadRequest(f"{what}: a NUL character, or text that is not valid UTF-8")

    def check_id(self) -> None:
        """Raise BadRequest when the id is none."""
        if not JOB_ID.match(self.job) or self.job in (".", ".."):
            raise BadRequest(f"not a job id: {self.job!r}")


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
    """Until when a job that was asked to stop may end by itself, seconds since the epoch."""
    streams: Dict[str, int] = field(default_factory=dict)
    """Final sizes of the attempt's streams in bytes ("log", "records/<writer>"); empty until it ended."""
    usage: Dict[str, Any] = field(default_factory=dict)
    """What the ended attempt used: wall_seconds, cpu_seconds, peak_memory (bytes)."""

    def to_wire(self) -> Dict[str, Any]:
        """Return the view as JSON can carry it."""
        wire = {f.name: getattr(self, f.name) for f in fields(self)}
        wire.update(spec=self.spec.to_wire(), state=self.state.value, gpus=list(self.gpus))
        return wire

    @classmethod
    def from_wire(cls, wire: Dict[str, Any]) -> "JobView":
        """Return the view in a message; unknown fields are ignored."""
        known = _known(cls, wire)
        known.update(
            spec=JobSpec.from_wire(wire["spec"]),
            state=JobState(wire["state"]),
            attempt=int(wire.get("attempt", 0)),
            gpus=tuple(wire.get("gpus", ())),
        )
        return cls(**known)


@dataclass(frozen=True)
class Lease:
    """What one attempt holds while it is preparing or running."""

    cpus: int
    gpus: Tuple[str, ...] = ()
    gpu_indices: Tuple[int, ...] = ()


def exit_words(exit_code: int, signal_name: Optional[str]) -> str:
    """Return how a process ended, in words."""
    return f"killed by {signal_name}" if signal_name else f"exit code {exit_code}"


def _can_be_written(value: Any) -> bool:
    """Say whether all text in a value can go into a file, a variable and a store."""
    if isinstance(value, dict):
        return all(_can_be_written(key) and _can_be_written(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(_can_be_written(item) for item in value)
    return not isinstance(value, str) or not _NOT_WRITABLE.search(value)


def _known(cls: Any, wire: Dict[str, Any]) -> Dict[str, Any]:
    names: List[str] = [f.name for f in fields(cls)]
    return {name: wire[name] for name in names if name in wire}
