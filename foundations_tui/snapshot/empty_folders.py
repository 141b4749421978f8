"""The empty folders of a working tree: git keeps none, and programs write into them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from foundations_tui.snapshot import git_cli

NEVER_MEANT = {
    *("__pycache__", ".venv", "venv", "env", "node_modules", ".ipynb_checkpoints", ".git", ".idea", ".vscode"),
    *(".mypy_cache", ".pytest_cache", ".ruff_cache", ".tox", ".eggs", ".DS_Store"),
}
"""Folders that are made again by programs, or hold environments."""

_MOST_EMPTY, _MOST_EMPTY_BYTES = 200, 8192
_MOST_LOOKED_AT = 10_000
"""Most folders to search for empty ones."""


def among(folders: Iterable[bytes], root: Path, shadow: Path | None) -> tuple[str, ...]:
    """Return the folders that hold nothing and that git does not ignore.

    Args:
        folders: where to look: paths below the root, with a slash at the end, of which the repository knows nothing.
        root: the top of the tree.
        shadow: GIT_DIR for a folder that is no repository.
    """
    empty = list(itertools.islice(_empty(folders, os.fsencode(root)), _MOST_EMPTY))
    return tuple(map(os.fsdecode, _not_ignored(root, shadow, empty)))


def _empty(folders: Iterable[bytes], root: bytes) -> Iterator[bytes]:
    looks = 0
    for name in sorted(folders):
        if NEVER_MEANT.intersection(os.fsdecode(name).split("/")):
            continue
        for folder, below, files in os.walk(os.path.join(root, name)):
            looks += 1
            below[:] = [entry for entry in below if os.fsdecode(entry) not in NEVER_MEANT]
            if b".git" in files or os.path.exists(os.path.join(folder, b".git")):
                below.clear()  # a repository of its own
            elif not below and not files:
                yield os.path.relpath(folder, root)
            if looks >= _MOST_LOOKED_AT:
                return


def _not_ignored(root: Path, shadow: Path | None, folders: list[bytes]) -> list[bytes]:
    """Return the folders that git does not ignore, as far as their names take little room: each job bears them."""
    lines = b"".join(folder + b"/\0" for folder in folders)
    asked = (
        git_cli.run(root, "check-ignore", "-z", "--stdin", shadow=shadow, stdin=lines, check=False) if lines else None
    )
    ignored = set(asked.stdout.split(b"\0")) if asked else set()
    kept, room = [], _MOST_EMPTY_BYTES
    for folder in folders:
        room -= len(folder)
        if folder + b"/" not in ignored and room >= 0:
            kept.append(folder)
    return kept
