"""Which files a snapshot takes: what git lists, less what is ignored, with the repositories inside the repository."""

from __future__ import annotations

import os
import re
import stat
from concurrent.futures import Future
from pathlib import Path

from foundations_tui.config import locations
from foundations_tui.errors import SnapshotError
from foundations_tui.snapshot import git_cli

IGNORE_FILE = ".foundationsignore"
_OTHER = ord("?")
"""What git marks an untracked file with."""


class Listing:
    """The names of the files to take. What the index knows already is believed; the rest is looked at."""

    def __init__(self, root: Path, shadow: Path, tracked: Future[set[bytes]], changed: Future[set[bytes]]) -> None:
        """Begin with none.

        Args:
            root: the top of the tree.
            shadow: GIT_DIR for a folder that is no repository.
            tracked: the files in the index, paths below the root.
            changed: those of them that are not as the index has them.
        """
        self._root, self._shadow = root, shadow
        self._known, self._changed = tracked, changed
        self.names: set[bytes] = set()
        """Files and links, paths below the root."""
        self.untracked: set[bytes] = set()
        self.repositories: list[bytes] = []
        """Folders of the repositories inside, with a slash at the end."""
        self._links: dict[bytes, bool] = {}

    def include(self, names: set[bytes]) -> None:
        """Take in files that git ignores; the user wants just these, whatever their size."""
        self.names |= names
        for path in names:
            self._look_at(path)

    def add(self, top: Path, is_repository: bool) -> None:
        """Take in what git lists below a folder that is a repository, or any folder."""
        names, untracked = _listed(top, None if is_repository else self._shadow)
        if top != self._root:
            prefix = os.fsencode(os.path.relpath(top, self._root)) + b"/"
            self.repositories.append(prefix)
            names, untracked = {prefix + path for path in names}, {prefix + path for path in untracked}
        self.names |= names
        self.untracked |= untracked
        for path in (names - self._known.result()) | (names & self._changed.result()):
            self._look_at(path)

    def _look_at(self, path: bytes) -> None:
        """Keep a name only when it is a file or a link; a repository within the repository gives names of its own."""
        full = os.path.join(os.fsencode(self._root), path)
        try:
            mode = 0 if self._is_beyond_a_link(path) else os.lstat(full).st_mode
        except OSError:
            mode = 0  # deleted
        if stat.S_ISREG(mode) or stat.S_ISLNK(mode):
            return
        self.names.discard(path)
        self.untracked.discard(path)
        if stat.S_ISDIR(mode):
            folder = Path(os.fsdecode(full))
            if os.path.exists(os.path.join(full, b".git")) and _is_repository(folder):
                self.add(folder, is_repository=True)
            elif _is_submodule(self._root, path):
                self.add(folder, is_repository=False)  # its .git was not copied along: its files are all there is

    def _is_beyond_a_link(self, path: bytes) -> bool:
        """Return whether a folder on the way to a name is a link by now: then the name is not the tree's any more."""
        folder = os.path.dirname(path.rstrip(b"/"))
        if not folder:
            return False
        if folder not in self._links:
            full = os.path.join(os.fsencode(self._root), folder)
            self._links[folder] = os.path.islink(full) or self._is_beyond_a_link(folder)
        return self._links[folder]


def _is_repository(folder: Path) -> bool:
    return git_cli.run(folder, "rev-parse", "--git-dir", check=False).returncode == 0


def _is_submodule(root: Path, path: bytes) -> bool:
    """Return whether the user's repository holds a name as a link to another repository's commit."""
    listed = git_cli.run(root, "ls-files", "-z", "--stage", "--", os.fsdecode(path), check=False).stdout
    return listed.startswith(b"160000 ")


def included(top: Path, patterns: tuple[str, ...]) -> set[bytes]:
    """Return the files below a folder that git ignores and that the project wants shipped all the same.

    Args:
        top: the top of the tree.
        patterns: as .gitignore has them, below the top.
    """
    if not patterns:
        return set()
    rules = [f":(glob){pattern.rstrip('/')}" for pattern in patterns]
    rules += [f":(glob){pattern.rstrip('/')}/**" for pattern in patterns]
    names = git_cli.names(top, "ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--", *rules)
    return {name for name in names if not name.endswith(b"/")}


def _listed(top: Path, shadow: Path | None) -> tuple[set[bytes], set[bytes]]:
    """Return the names (all, untracked) below a folder but the ignored; without a repository all are untracked.

    Raises:
        SnapshotError: a folder cannot be read.
    """
    if shadow is None:
        lines = _all_names(top, "ls-files", "-z", "-t", "--cached", "--others", "--exclude-standard")
        names, untracked = {line[2:] for line in lines}, {line[2:] for line in lines if line[0] == _OTHER}
    else:
        names = set(_all_names(top, "ls-files", "-z", "--others", "--exclude-standard", shadow=shadow))
        untracked = set(names)
    left_out = _ignored_by_us(top, shadow) | _our_own(top, untracked)
    names -= left_out
    untracked -= left_out
    return names, untracked


def _our_own(top: Path, names: set[bytes]) -> set[bytes]:
    """Return our own files among names: the user may keep them in the project."""
    own = os.fsencode(os.path.relpath(locations.data_folder().resolve(), top)) + b"/"
    return set() if own.startswith(b"../") else {name for name in names if name.startswith(own)}


def _ignored_by_us(top: Path, shadow: Path | None) -> set[bytes]:
    """Return the files that a folder's own ignore file leaves out."""
    if not (top / IGNORE_FILE).is_file():
        return set()
    rule = f"--exclude-from={top / IGNORE_FILE}"
    kinds = ("--cached", "--others") if shadow is None else ("--others",)
    return {path for kind in kinds for path in git_cli.names(top, "ls-files", "-z", "-i", kind, rule, shadow=shadow)}


def _all_names(top: Path, *words: str, shadow: Path | None = None) -> list[bytes]:
    """Return what git lists; that it could not look into a folder is only a warning of git's."""
    done = git_cli.run(top, *words, shadow=shadow)
    hidden = _HIDDEN.search(done.stderr)
    if hidden is not None:
        name = os.fsdecode(hidden[1])
        raise SnapshotError(
            f"{top / name}: the folder cannot be read: {os.fsdecode(hidden[2])}",
            f"let it be read, or leave it out: a line {name!r} in {IGNORE_FILE} or .gitignore",
        )
    return done.stdout.split(b"\0")[:-1]


_HIDDEN = re.compile(rb"could not open directory '([^\n]*)': ([^\n]*)")
