"""TensorBoard's event files of an attempt, which clients replicate like its log: where they are, and what they hold.

A folder beside the records has links to the folders of event files: that in which the job starts, where its project
wants all of them, and those that the job itself names through the SDK. Files that are older than the attempt came with
its code.
"""

from __future__ import annotations

import os
import time
from typing import Dict, Iterator, List, Set, Tuple

from remote_agent.storage.paths import EVENTS, AttemptPaths

_LOOK_SECONDS = 5.0
"""At least, between two walks through the folders of an attempt that runs."""
_SHARE = 20
"""Pause before the next walk, as a multiple of how long the last one took: the daemon itself walks."""
_MOST_ENTRIES = 20_000
_MOST_FILES = 200
_MARK = "tfevents"
_LONGEST_NAME = 250
_START, _ALL, _ELSEWHERE = "start", "all", "~"
"""Links to the folder in which the job starts, and again when all is wanted; what marks streams from elsewhere."""
_known: Dict[str, Tuple[float, List[str]]] = {}
"""When an attempt is looked through next, and what was found."""


def prepare(attempt: AttemptPaths, start: str, wants_all: bool) -> None:
    """Make the folder of links, once the job's own folder is there.

    Args:
        attempt: whose.
        start: the folder in which the job starts.
        wants_all: whether all event files below it are wanted.
    """
    os.makedirs(attempt.events, 0o700, exist_ok=True)
    for name in (_START, _ALL)[: 1 + wants_all]:
        os.symlink(start, os.path.join(attempt.events, name))


def has(attempt: AttemptPaths) -> bool:
    """Return whether event files of an attempt are wanted."""
    return bool(_tops(attempt))


def sizes(attempt: AttemptPaths, fresh: bool = False) -> Dict[str, int]:
    """Return the size of each event file of an attempt, bytes, by the name of its stream.

    Args:
        attempt: whose.
        fresh: look for new files now, for the last time.
    """
    sizes_by_name = {}
    for name in _names(attempt, fresh):
        try:
            sizes_by_name[EVENTS + name] = os.lstat(path(attempt, name)).st_size
        except OSError:
            continue  # it is gone
    return sizes_by_name


def path(attempt: AttemptPaths, name: str) -> str:
    """Return where an event file lies, by the name of its stream behind ``EVENTS``."""
    link, _, below = name[1:].partition("/") if name.startswith(_ELSEWHERE) else (_START, "", name)
    return os.path.join(attempt.events, link, below)


def _names(attempt: AttemptPaths, fresh: bool) -> List[str]:
    due, names = _known.get(attempt.folder, (0.0, []))
    began = time.monotonic()
    if fresh or began >= due:
        names = _find(attempt)
        took = time.monotonic() - began
        _known[attempt.folder] = (began + max(_LOOK_SECONDS, _SHARE * took), names)
    if fresh:
        _known.pop(attempt.folder, None)
    return names


def _tops(attempt: AttemptPaths) -> List[str]:
    """Return the names of the links to folders of event files."""
    try:
        return sorted(name for name in os.listdir(attempt.events) if name != _START and not name.startswith("."))
    except OSError:
        return []


def _find(attempt: AttemptPaths) -> List[str]:
    """Return the event files of an attempt by the names of their streams."""
    start = os.path.join(attempt.events, _START)
    try:
        began = os.lstat(start).st_mtime_ns
    except OSError:
        return []
    home = os.path.realpath(start) + os.sep
    paths: List[str] = []
    seen: Set[str] = set()
    for link in _tops(attempt):
        top = os.path.realpath(os.path.join(attempt.events, link))
        for entry in _event_files(top):
            name = entry.path[len(home) :] if entry.path.startswith(home) else ""
            name = (
                name if name and not name.startswith(_ELSEWHERE) else f"{_ELSEWHERE}{link}/{entry.path[len(top) + 1 :]}"
            )
            if entry.path in seen or len(name) > _LONGEST_NAME or not _is_text(name) or _is_older(entry, began):
                continue
            seen.add(entry.path)
            paths.append(name)
            if len(paths) >= _MOST_FILES:
                return sorted(paths)
    return sorted(paths)


def _event_files(top: str) -> "Iterator[os.DirEntry[str]]":
    """Yield the event files below a folder, up to a number of entries; links are not followed."""
    waiting, left = [top], _MOST_ENTRIES
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    left -= 1
                    if left < 0:
                        return
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif _MARK in entry.name and entry.is_file(follow_symlinks=False):
                        yield entry
        except OSError:
            continue  # it has gone, or may not be read


def _is_older(entry: "os.DirEntry[str]", than: int) -> bool:
    try:
        return entry.stat(follow_symlinks=False).st_mtime_ns < than
    except OSError:
        return True


def _is_text(name: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in name)
