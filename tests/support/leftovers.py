"""Processes that tests left running."""

from __future__ import annotations

import os
import time
from pathlib import Path

_PATIENCE_SECONDS = 10
"""What ends by itself, as an app does whose web server has gone, takes a moment to do so."""


def below(folder: Path) -> dict[int, str]:
    """Return pid and command of each process, not ours, that bears a folder in its arguments or its environment."""
    mark = os.fsencode(folder)
    found = {}
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            command, environment = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
        except OSError:
            continue  # it has ended, or is somebody else's
        if command and (mark in command or mark in environment):
            found[int(process.name)] = os.fsdecode(command).replace("\0", " ").strip()
    return found


def still_below(folder: Path) -> dict[int, str]:
    """Return what :func:`below` finds when processes that are about to end have had the time to."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while (found := below(folder)) and time.monotonic() < end:
        time.sleep(0.1)
    return found
