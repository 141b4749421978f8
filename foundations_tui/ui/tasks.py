"""What runs behind a window that shows how far it is: an operation of the core in a thread, or a verb as a process.

Both write into a file, which a log view follows while it grows.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from foundations_tui.errors import FoundationsError, as_ours
from foundations_tui.submit.progress import VARIABLE, Progress, Sending
from foundations_tui.text.sanitize import one_line

_log = logging.getLogger(__name__)
_STOP_SECONDS = 3.0
Ended = Callable[[], object]
"""Called once, from any thread."""


class Task(Protocol):
    """Something that runs, and the file with what it says."""

    output: Path
    result: object
    """What it came to, once it has ended well."""

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""

    @property
    def is_done(self) -> bool:
        """Whether it has ended well."""

    @property
    def outcome(self) -> str:
        """How it ended, in a word or two."""

    def interrupt(self) -> None:
        """Ask it to end."""

    def close(self) -> None:
        """Have it end if it still runs, without waiting for that, and remove its output."""


StartTask = Callable[[Ended, int], Task]
"""Starts a task, given whom to tell of its end and how many cells its lines may have."""


@dataclass(frozen=True)
class Shown:
    """What an operation came to."""

    text: str
    """For the window."""
    result: object = None
    """For whoever goes on from there."""


Operation = Callable[[Progress, int], Shown]
"""Takes a progress sink and the cells of a line, and returns what to show; raises FoundationsError."""


def _new_output() -> tuple[int, Path]:
    """Make the file for what a task says; return its descriptor and its path."""
    handle, name = tempfile.mkstemp(prefix="foundations-", suffix=".txt")
    return handle, Path(name)


class _Cancelled(FoundationsError):
    """cancelled"""


class _FileProgress(Progress):
    """Writes how far something is into a file, one line a stage; ends it when it was cancelled meanwhile."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._line = ""
        self._sending = Sending()
        self.is_cancelled = False

    def stage(self, what: str) -> None:
        """Write what begins now."""
        self.end()
        self._write(what)

    def sent(self, done: int, total: int) -> None:
        """Write over the line how much has gone."""
        if not self._line.startswith("sending"):
            self.end()
        self._write(self._sending.line(done, total, time.monotonic()))

    def end(self) -> None:
        """Leave the last line as it is, and begin another one."""
        if self._line:
            self._file.write(b"\n")
            self._line = ""

    def _write(self, line: str) -> None:
        if self.is_cancelled:
            raise _Cancelled
        self._file.write(("\r" + one_line(line)).encode("utf-8", "replace"))
        self._file.flush()
        self._line = line


class OperationTask:
    """An operation of the core that runs in a thread.

    The thread is a daemon, and none of Textual's workers: those are waited for when the app is left, and an operation
    may wait for a host that is out of reach.
    """

    def __init__(self, operation: Operation, ended: Ended, columns: int) -> None:
        """Start it.

        Args:
            operation: what to do.
            ended: called at its end, from its thread.
            columns: how many cells its lines may have.
        """
        handle, self.output = _new_output()
        self.result: object = None
        self.outcome = ""
        self._file = os.fdopen(handle, "wb")
        self._progress = _FileProgress(self._file)
        threading.Thread(target=self._run, args=(operation, ended, columns), daemon=True).start()

    def _run(self, operation: Operation, ended: Ended, columns: int) -> None:
        outcome = "failed"
        try:
            text, outcome = self._do(operation, columns)
            self._write_end(text)
        finally:
            self.outcome = outcome
            ended()

    def _do(self, operation: Operation, columns: int) -> tuple[str, str]:
        """Return the last words to show, and how it ended."""
        try:
            shown = operation(self._progress, columns)
            self.result = shown.result
            return shown.text, "done"
        except Exception as error:
            ours = as_ours(error)
            if not isinstance(ours, _Cancelled):
                _log.warning("%s", ours, exc_info=ours is not error, extra={"action": "app"})
            text = f"error: {ours}" + "".join(f"\nhint: {line}" for line in ours.hint.splitlines())
            return text, "cancelled" if isinstance(ours, _Cancelled) else "failed"

    def _write_end(self, text: str) -> None:
        """Write the last words; a full disk takes none, and the operation has ended as it has."""
        try:
            with self._file:
                self._progress.end()
                self._file.write(text.encode("utf-8", "replace"))
        except OSError as error:
            _log.warning("%s: %s", self.output, error.strerror or error, extra={"action": "app"})

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return not self.outcome

    @property
    def is_done(self) -> bool:
        """Whether it has ended well."""
        return self.outcome == "done"

    def interrupt(self) -> None:
        """Have it end where it next tells how far it is: nothing is left half done."""
        self._progress.is_cancelled = True

    def close(self) -> None:
        """Have it end if it still runs, without waiting for that, and remove its output."""
        self.interrupt()
        self.output.unlink(missing_ok=True)


class ProcessTask:
    """A verb of the command line that runs as a process of its own."""

    def __init__(self, argv: Sequence[str], ended: Ended, columns: int) -> None:
        """Start it.

        Args:
            argv: its command line.
            ended: called at its end, from a thread.
            columns: how many cells its lines may have.
        """
        handle, self.output = _new_output()
        self.result: object = None
        self._code: int | None = None
        env = {**os.environ, "COLUMNS": str(columns), "NO_COLOR": "1", "PYTHONUNBUFFERED": "1", VARIABLE: "1"}
        with os.fdopen(handle, "wb") as output:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                start_new_session=True,
            )
        threading.Thread(target=self._wait, args=(ended,), daemon=True).start()

    def _wait(self, ended: Ended) -> None:
        self._code = self._process.wait()
        ended()

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._code is None

    @property
    def is_done(self) -> bool:
        """Whether its exit code is 0."""
        return self._code == 0

    @property
    def outcome(self) -> str:
        """Its exit code."""
        return f"exit {self._code}"

    def interrupt(self) -> None:
        """Ask it to end, as Ctrl-C would."""
        if self._code is None:
            self._process.send_signal(signal.SIGINT)

    def close(self) -> None:
        """Have it end if it still runs, without waiting for that, and remove its output."""
        if self._code is None:
            self.interrupt()  # it may have something to put in order: what was not sent, say
            threading.Thread(target=self._insist, daemon=True).start()
        self.output.unlink(missing_ok=True)

    def _insist(self) -> None:
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
