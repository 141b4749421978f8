"""TensorBoard's event files of an attempt, which clients replicate like its log: where they are, and what they hold.

A link beside the records leads to their folder: the supervisor makes it where a project wants all event files, the SDK
where the job itself says where they are.
"""

from __future__ import annotations

import os
import stat
import time
from typing import Dict, List, Tuple

from remote_agent import files
from remote_agent.paths import EVENTS, AttemptPaths

_LOOK_SECONDS = 5.0
"""Between two walks through the folder of an attempt that runs."""
_MOST_FOLDERS = 2000
_MOST_FILES = 200
_MARK = "tfevents"
_LONGEST_NAME = 250
_known: Dict[str, Tuple[float, List[str]]] = {}


def link(attempt: AttemptPaths, folder: str) -> None:
    """Say where the event files of an attempt are."""
    os.symlink(folder, attempt.events)


def has(attempt: AttemptPaths) -> bool:
    """Say whether an attempt has a folder of event files."""
    return os.path.islink(attempt.events)


def sizes(attempt: AttemptPaths, fresh: bool = False) -> Dict[str, int]:
    """Return the size of each event file of an attempt, bytes, by the name of its stream.

    Args:
        attempt: whose.
        fresh: look for new files now, for the last time.
    """
    if not has(attempt):
        return {}
    found = {}
    for name in _names(attempt, fresh):
        path = os.path.join(attempt.events, name)
        try:
            stats = os.lstat(path)
        except OSError:
            continue  # it is gone
        if stat.S_ISREG(stats.st_mode):
            found[EVENTS + name] = stats.st_size
    return found


def _names(attempt: AttemptPaths, fresh: bool) -> List[str]:
    looked_at, names = _known.get(attempt.folder, (0.0, []))
    now = time.monotonic()
    if fresh or not looked_at or now - looked_at > _LOOK_SECONDS:
        names = _below(attempt.events)
        _known[attempt.folder] = (now, names)
    if fresh:
        _known.pop(attempt.folder, None)
    return names


def _below(top: str) -> List[str]:
    """Return the event files below a folder, with names that a stream can have."""
    found: List[str] = []
    for count, (folder, _, names) in enumerate(files.walk(os.path.realpath(top), lambda *failure: None)):
        for name in names:
            path = os.path.relpath(os.path.join(folder, name), os.path.realpath(top))
            if _MARK in name and len(path) <= _LONGEST_NAME and _is_text(path):
                found.append(path)
        if count >= _MOST_FOLDERS or len(found) >= _MOST_FILES:
            break
    return sorted(found)[:_MOST_FILES]


def _is_text(name: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in name)
