"""The CLI's verbs in the app: what is typed behind ``:``, and the process that carries it out. No widgets."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from foundations_tui.errors import UsageError
from foundations_tui.submit.progress import VARIABLE

CHOSEN = "%"
"""Stands for the marked jobs, or the one under the cursor."""
TAKE_JOBS = tuple(
    "show logs metrics compare diff chart tag note star unstar archive unarchive restore stop delete prune ls get move"
    " export tensorboard wait exec shell".split()
)
"""Verbs that mean the chosen jobs when none is named."""
ONE_JOB = ("logs", "note", "ls", "get", "move", "exec", "shell")
NEED_A_TERMINAL = ("shell", "exec", "demo")
"""Verbs that take over the terminal while they run."""
_STOP_SECONDS = 3.0


@dataclass(frozen=True)
class Command:
    """A line of the app's command line, understood."""

    verb: str
    words: tuple[str, ...]

    @property
    def needs_terminal(self) -> bool:
        """Whether it talks to the user."""
        if {"--help", "-h"} & set(self.words):
            return False
        return self.verb in NEED_A_TERMINAL or (self.verb == "note" and len(self.words) < 2)

    @property
    def argv(self) -> list[str]:
        """The process's command line."""
        return [sys.executable, "-m", "foundations_tui", self.verb, *self.words]


def submits(command: Command) -> bool:
    """Say whether a command makes jobs, and does not only say what it would do."""
    own = command.words[: command.words.index("--")] if "--" in command.words else command.words
    return command.verb == "submit" and not {"--help", "-h", "--dry-run"} & set(own)


def parse(line: str, verbs: Mapping[str, object], chosen: Sequence[str]) -> Command:
    """Understand a line: a verb and its words; ``%`` and a missing job stand for the chosen jobs.

    Args:
        line: what was typed.
        verbs: the verbs that there are.
        chosen: whole ids.
    Raises:
        UsageError: it cannot be understood, or no job is chosen.
    """
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"{str(error).lower()}: {line}") from None
    if words[:1] == ["foundations"]:
        words.pop(0)
    if not words:
        raise UsageError("a verb is needed")
    verb, *rest = words
    if verb not in verbs:
        raise UsageError(f"there is no verb {verb!r}", "tab completes them")
    if CHOSEN in rest and not chosen:
        raise UsageError(f"{CHOSEN} stands for the chosen jobs, and none is chosen")
    found: list[str] = []
    for word in rest:
        found += chosen if word == CHOSEN else [word]
    options_only = all(word.startswith("-") for word in rest)
    if verb in TAKE_JOBS and options_only and chosen and "--where" not in rest and "--help" not in rest:
        found = [*(chosen[:1] if verb in ONE_JOB else chosen), *found]
    return Command(verb, tuple(found))


def suggestions(line: str, verbs: Mapping[str, object], own: Sequence[str]) -> list[str]:
    """Return whole lines that begin with what was typed."""
    return [name for name in sorted([*verbs, *own]) if name.startswith(line)] if " " not in line else []


class Running:
    """A verb that runs as a process of its own; its output goes to a file that can be shown while it grows."""

    def __init__(self, command: Command, ended: Callable[[int], None], columns: int) -> None:
        """Start it.

        Args:
            command: what to do.
            ended: called with the exit code, from a thread.
            columns: how many cells its lines may have.
        """
        self.command = command
        handle, name = tempfile.mkstemp(prefix="foundations-", suffix=".txt")
        self.output = Path(name)
        self.code: int | None = None
        env = {**os.environ, "COLUMNS": str(columns), "NO_COLOR": "1", "PYTHONUNBUFFERED": "1", VARIABLE: "1"}
        with os.fdopen(handle, "wb") as output:
            self._process = subprocess.Popen(
                command.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                start_new_session=True,
            )
        threading.Thread(target=self._wait, args=(ended,), daemon=True).start()

    def _wait(self, ended: Callable[[int], None]) -> None:
        self.code = self._process.wait()
        ended(self.code)

    def interrupt(self) -> None:
        """Ask it to end, as Ctrl-C would."""
        if self.code is None:
            self._process.send_signal(signal.SIGINT)

    def close(self) -> None:
        """End it if it still runs, without waiting for it, and remove its output."""
        if self.code is None:
            self.interrupt()  # it may have something to put in order: what was not sent, say
            threading.Thread(target=self._insist, daemon=True).start()
        self.output.unlink(missing_ok=True)

    def _insist(self) -> None:
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
