"""Processes that tests left running."""

from __future__ import annotations

import os
from pathlib import Path


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
