"""The steps of a build: programs whose output is the build's log, and how far it is."""

from __future__ import annotations

import os
import re
import subprocess
from typing import BinaryIO, Dict, List, Mapping, Optional, Sequence

from remote_agent.environments.places import Try
from remote_agent.environments.progress import Progress
from remote_agent.protocol.checks import writable

_REASON = re.compile(r"\s*(error: |ERROR: |× |CondaError|LibMambaUnsatisfiableError|critical |FATAL: |Error: )")
"""Where the reason of a failure begins in what uv, pip, conda and the like print."""
_LAST_LINES = 60
_MOST_LINES = 200_000
_REASON_LINES = 12
_LONGEST_LINE = 500


class BuildFailed(Exception):
    """It cannot be built, and why, in words: the first line is the short form."""


class Steps:
    """Runs one program after the other."""

    def __init__(self, attempt: Try, env: Mapping[str, str], folder: str) -> None:
        """Begin.

        Args:
            attempt: whose log and progress are written.
            env: what programs find.
            folder: in which they run; nothing of a project lies there.
        """
        self.env: Dict[str, str] = dict(env)
        self.secrets: List[str] = []
        """Texts that must not stand in the log."""
        self._attempt = attempt
        self._folder = folder
        self._log: BinaryIO = open(attempt.log, "ab", buffering=0)  # noqa: SIM115 - until the process ends
        self._progress = Progress()

    def say(self, words: str) -> None:
        """Write a line of ours."""
        self._write(f"foundations: {words}\n")

    def show(self, output: str) -> None:
        """Write what a program has printed."""
        self._write(self._clean(output))

    def run(self, argv: Sequence[str], more: Optional[Mapping[str, str]] = None) -> List[str]:
        """Run a program and return the lines that it printed; of very many the last.

        Args:
            argv: the program and its arguments.
            more: variables beside those of all steps.
        Raises:
            BuildFailed: it cannot be run, or says no; with its own words.
        """
        try:
            child = subprocess.Popen(
                list(argv),
                env={**self.env, **(more or {})},
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        except OSError as error:
            raise BuildFailed(f"{argv[0]} cannot be run: {error.strerror}") from None
        assert child.stdout is not None
        lines: List[str] = []
        for line in child.stdout:
            text = self._clean(line.decode("utf-8", "replace"))
            self._write(text)
            if len(lines) >= _MOST_LINES:
                del lines[:-_LAST_LINES]
            lines.append(text.rstrip())
            if self._progress.take(text):
                self._tell()
        code = child.wait()
        if code != 0:
            words = reason(lines[-_LAST_LINES:])
            raise BuildFailed(words or f"{os.path.basename(argv[0])} ended with exit code {code}")
        return lines

    def _clean(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, "****")
        return text

    def _write(self, text: str) -> None:
        try:
            self._log.write(text.encode("utf-8", "replace"))
        except OSError:
            pass  # the disk is full: the step itself will say so

    def _tell(self) -> None:
        try:
            with open(self._attempt.progress, "w", encoding="ascii") as file:
                file.write(str(self._progress.percent))
        except OSError:
            pass


def reason(lines: Sequence[str]) -> str:
    """Return the words of a program for why it failed: from the line that begins with an error on."""
    at = next((n for n, line in enumerate(lines) if _REASON.match(line)), None)
    if at is None:
        chosen = [line for line in lines if line.strip()][-3:]
    else:
        chosen = [line for line in lines[at:] if line.strip()][:_REASON_LINES]
    return writable("\n".join(line.strip()[:_LONGEST_LINE] for line in chosen))
