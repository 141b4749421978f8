"""How an attempt ended: the exit record, with what it used and why it failed."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from typing import Optional

from remote_agent.protocol import checks
from remote_agent.protocol.ends import AttemptEnd, Evidence
from remote_agent.protocol.states import STATE_OF_REASON, EndReason, JobState, exit_words
from remote_agent.storage import files
from remote_agent.storage.paths import AttemptPaths, Paths
from remote_agent.supervisor import postmortem
from remote_agent.system import failpoints, processes

TIME_LIMIT_CODE = 124
"""Exit code of an attempt that its time limit ended, as timeout(1) has it."""
_LONGEST_REASON = 500
_TRIES = 600
"""How often, a second apart, the exit record is tried on a full disk, while no daemon listens."""
_HEARD_TRIES = 3
"""The same while a daemon does."""
_DISK_SECONDS = 2.0
"""Longest time to count the files of an attempt."""


def of_process(status: int, ended_by: Optional[EndReason], words: str) -> AttemptEnd:
    """Return the end that the process's wait status tells.

    Args:
        status: as wait4(2) gives it.
        ended_by: why we ended it; None when it ended by itself.
        words: that in words.
    """
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    name = signal_name(number) if number else None
    code = 128 + number if number else os.WEXITSTATUS(status)
    if ended_by is EndReason.TIME_LIMIT:
        return record(ended_by, words, TIME_LIMIT_CODE, name)
    if ended_by is not None:
        return record(ended_by, words, code, name)
    if code == 0:
        return record(EndReason.FINISHED, "finished", code)
    return record(EndReason.SIGNAL if number else EndReason.EXIT_CODE, exit_words(code, name), code, name)


def record(reason: EndReason, words: str, code: Optional[int] = None, name: Optional[str] = None) -> AttemptEnd:
    """Return an end without usage and cause."""
    words = checks.writable(words)
    words = words if len(words) <= _LONGEST_REASON else words[:_LONGEST_REASON] + "…"
    return AttemptEnd(reason.value, words, time.time(), code, name)


def with_cause(end: AttemptEnd, attempt: AttemptPaths, oom_kills: int) -> AttemptEnd:
    """Return an end with the post-mortem of a failure.

    Args:
        end: how the attempt ended.
        attempt: whose log is looked at.
        oom_kills: how many processes the kernel killed for memory while it ran.
    """
    failed = STATE_OF_REASON[EndReason(end.reason_code)] is JobState.FAILED
    if not failed or end.reason_code == EndReason.TIME_LIMIT.value:
        return end
    evidence = Evidence(
        exit_code=end.exit_code,
        signal=end.signal or "",
        oom_kills=oom_kills,
        peak_memory=end.usage.peak_memory or 0,
        memory_total=processes.memory_total(),
        disk_free=_free_bytes(attempt.folder),
    )
    return replace(end, cause=postmortem.explain(_tail(attempt.log), evidence))


def write(end: AttemptEnd, paths: Paths, attempt: AttemptPaths, is_heard: bool) -> None:
    """Put an exit record in place; on a full disk, give up the reserve, and try for a while.

    Args:
        end: what it tells.
        paths: the agent's files.
        attempt: whose it is.
        is_heard: whether a daemon listens, which writes the end into its journal, durably, before anybody learns of it.
    """
    data = json.dumps(end.to_wire()).encode()
    for turn in range(_TRIES):
        try:
            files.write_bytes(attempt.exit, data, durable=not is_heard)
            if not is_heard:
                files.sync_path(attempt.folder, paths.jobs)
            break
        except OSError as error:
            if is_heard and turn + 1 >= _HEARD_TRIES:
                break
            if error.errno not in files.FULL:
                _mend_folder(attempt, turn)
            elif not files.drop_reserve(paths.reserve):
                time.sleep(1)
    failpoints.point("supervisor.recorded")


def _mend_folder(attempt: AttemptPaths, turn: int) -> None:
    """Make place for the exit record where the job has wrecked its own folder; from the second turn on, slowly."""
    time.sleep(1 if turn else 0)
    try:
        os.makedirs(attempt.folder, 0o700, exist_ok=True)
        if os.path.isdir(attempt.exit) and not os.path.islink(attempt.exit):
            os.rename(attempt.exit, f"{attempt.exit}.{os.urandom(4).hex()}")
        os.chmod(attempt.folder, 0o700)
    except OSError:
        pass  # tried again at the next turn


def disk_used(folder: str) -> Optional[int]:
    """Return the bytes that a folder takes on the disk; None when counting takes too long."""
    deadline = time.monotonic() + _DISK_SECONDS
    total, todo = 0, [folder]
    while todo:
        if time.monotonic() > deadline:
            return None
        try:
            with os.scandir(todo.pop()) as entries:
                for entry in entries:
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
        except OSError:
            pass  # a job may leave folders that cannot be read
    return total


def signal_name(number: int) -> str:
    """Return "SIGTERM" and the like."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"  # one of the real-time signals


def _free_bytes(folder: str) -> Optional[int]:
    try:
        return files.free_bytes(folder)
    except OSError:
        return None  # the job has removed it


def _tail(log: str) -> bytes:
    try:
        with files.open_regular(log) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - postmortem.TAIL_BYTES))
            return file.read(postmortem.TAIL_BYTES)
    except OSError:
        return b""
