"""Programs that are run here in order to lock and fetch: uv, and this Python's pip."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


class ProgramFailed(Exception):
    """A program did not do what it was run for; why is in its words."""

    def __init__(self, words: str, output: str = "") -> None:
        """Say why.

        Args:
            words: of the program, or of the system.
            output: what it printed to standard error; "" when it did not end by itself.
        """
        super().__init__(words)
        self.output = output


def output_of(
    command: Sequence[str], seconds: float, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> str:
    """Return what a program prints.

    Args:
        command: its path and words.
        seconds: how long it may take.
        env: its environment; None for that of this process.
        cwd: where it starts; None for the folder of this process.
    Raises:
        ProgramFailed: it could not be started, took too long, or ended with an error.
    """
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        raise ProgramFailed(f"no answer within {seconds:g} s") from None
    except OSError as error:
        raise ProgramFailed(str(error)) from None
    if done.returncode != 0:
        raise ProgramFailed(f"exit code {done.returncode}", done.stderr)
    return done.stdout


def has_pip() -> bool:
    """Return whether this Python has pip."""
    return importlib.util.find_spec("pip") is not None


def download_wheels(words: Sequence[str], folder: Path, seconds: float, env: Mapping[str, str] | None = None) -> None:
    """Fetch wheels with pip: it knows the user's index, its certificates and credentials.

    Args:
        words: which, and for what platforms.
        folder: where they go.
        seconds: how long it may take.
        env: variables beside those of this process.
    Raises:
        ProgramFailed: not all could be had.
    """
    usual = ["download", "--quiet", "--no-deps", "--no-input", "--disable-pip-version-check", "--only-binary", ":all:"]
    command = [sys.executable, "-m", "pip", *usual, "--dest", str(folder), *words]
    try:
        output_of(command, seconds, {**os.environ, **(env or {})})
    except ProgramFailed as error:
        last = [line for line in error.output.splitlines() if line.startswith("ERROR")][-1:]
        raise ProgramFailed(last[0].removeprefix("ERROR: ") if last else str(error), error.output) from None
