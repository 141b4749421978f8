"""The states of a job, why an attempt ends, and which state that means. Pure."""

from __future__ import annotations

import enum
from typing import Dict, Optional


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

    @classmethod
    def reported(cls, text: str) -> "JobState":
        """Return the state that a host reports: one that only a newer agent knows stays text, and is not final."""
        if text in cls._value2member_map_:
            return cls(text)
        state = str.__new__(cls, text)
        state._name_ = state._value_ = text
        return state

    @property
    def is_final(self) -> bool:
        """Whether nothing more happens to the job by itself."""
        return self in FINAL_STATES


FINAL_STATES = (JobState.COMPLETED, JobState.FAILED, JobState.STOPPED, JobState.LOST)
ACTIVE_STATES = (JobState.PREPARING, JobState.RUNNING)
RETRY_CLASSES = ("lost", "oom", "signal", "failed")
"""Kinds of ends that ``--retry-on`` names; ``retry_class`` says which one an end is."""


class EndReason(str, enum.Enum):
    """Why an attempt ended; ``STATE_OF_REASON`` maps each to the final state."""

    FINISHED = "finished"
    EXIT_CODE = "exit_code"
    SIGNAL = "signal"
    COMMAND_NOT_FOUND = "command_not_found"
    COMMAND_NOT_EXECUTABLE = "command_not_executable"
    WORKSPACE_FAILED = "workspace_failed"
    ENVIRONMENT_FAILED = "environment_failed"
    AGENT_FAILED = "agent_failed"
    TIME_LIMIT = "time_limit"
    STOPPED_BY_USER = "stopped_by_user"
    DEPENDENCY_FAILED = "dependency_failed"
    SUPERVISOR_DIED = "supervisor_died"
    HOST_REBOOTED = "host_rebooted"
    HOST_REINSTALLED = "host_reinstalled"
    UNHEALTHY = "unhealthy"
    EXPOSED = "exposed"
    SUBMIT_INTERRUPTED = "submit_interrupted"


STATE_OF_REASON: Dict[EndReason, JobState] = {
    EndReason.FINISHED: JobState.COMPLETED,
    EndReason.EXIT_CODE: JobState.FAILED,
    EndReason.SIGNAL: JobState.FAILED,
    EndReason.COMMAND_NOT_FOUND: JobState.FAILED,
    EndReason.COMMAND_NOT_EXECUTABLE: JobState.FAILED,
    EndReason.WORKSPACE_FAILED: JobState.FAILED,
    EndReason.ENVIRONMENT_FAILED: JobState.FAILED,
    EndReason.AGENT_FAILED: JobState.FAILED,
    EndReason.TIME_LIMIT: JobState.FAILED,
    EndReason.STOPPED_BY_USER: JobState.STOPPED,
    EndReason.DEPENDENCY_FAILED: JobState.STOPPED,
    EndReason.SUPERVISOR_DIED: JobState.LOST,
    EndReason.HOST_REBOOTED: JobState.LOST,
    EndReason.HOST_REINSTALLED: JobState.LOST,
    EndReason.SUBMIT_INTERRUPTED: JobState.FAILED,
    EndReason.UNHEALTHY: JobState.FAILED,
    EndReason.EXPOSED: JobState.FAILED,
}


def retry_class(reason: EndReason, cause: str) -> str:
    """Return which kind of end ``--retry-on`` means by it: one of RETRY_CLASSES, or "" for what is never retried.

    Args:
        reason: why the attempt ended.
        cause: code of the post-mortem's cause; empty when it is not known.
    """
    state = STATE_OF_REASON[reason]
    if state is JobState.LOST:
        return "lost"
    if state is not JobState.FAILED or reason in _NEVER_BETTER:
        return ""
    if cause in ("oom_killed", "cuda_oom", "host_oom"):
        return "oom"
    return "signal" if reason is EndReason.SIGNAL else "failed"


_NEVER_BETTER = (EndReason.COMMAND_NOT_FOUND, EndReason.COMMAND_NOT_EXECUTABLE, EndReason.SUBMIT_INTERRUPTED)


def exit_words(exit_code: int, signal_name: Optional[str]) -> str:
    """Return how a process ended, in words."""
    return f"killed by {signal_name}" if signal_name else f"exit code {exit_code}"
