"""Which files a snapshot takes: what git lists, less what is ignored, with the repositories inside the repository."""

from __future__ import annotations

import os
import stat
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from foundations_tui.config import locations
from foundations_tui.errors import SnapshotError
from foundations_tui.snapshot import git_cli

IGNORE_FILE = ".foundationsignore"


@dataclass(frozen=True)
class Listed:
    """What lies below a folder, but for the ignored: paths below it."""

    names: set[bytes]
    """Files and links, and repositories inside with a slash at the end."""
    untracked: set[bytes]
    """Those of them that the repository does not know."""
    folders: list[bytes]
    """Folders of which the repository knows nothing, empty ones among them, with a slash at the end."""


class Listing:
    """The names of the files to take. What the index knows already is believed; the rest is looked at."""

    def __init__(self, root: Path, shadow: Path, tracked: Future[set[bytes]], changed: Future[set[bytes]]) -> None:
        """Start with an empty list.

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
            self._look_at(path, b"")

    def add(self, listed: Listed) -> None:
        """Take in what git lists below the top of the tree."""
        self._take_in(listed.names, listed.untracked, b"")

    def _take_in(self, names: set[bytes], untracked: set[bytes], repository: bytes) -> None:
        """Take in names that git lists in a repository, which is given by its folder, with a slash at the end."""
        self.names |= names
        self.untracked |= untracked
        for path in (names - self._known.result()) | (names & self._changed.result()):
            self._look_at(path, repository)

    def _look_at(self, path: bytes, repository: bytes) -> None:
        """Keep a name only when it is a file or a link; what is a folder by now gives names of its own."""
        full = os.path.join(os.fsencode(self._root), path)
        try:
            mode = 0 if self._is_beyond_a_link(path) else os.lstat(full).st_mode
        except (FileNotFoundError, NotADirectoryError):
            mode = 0  # deleted
        except OSError as error:
            raise SnapshotError(
                f"{os.fsdecode(full)!r} cannot be read: {error.strerror}", "let it be read, or name it in .gitignore"
            ) from None
        if stat.S_ISREG(mode) or stat.S_ISLNK(mode):
            return
        self.names.discard(path)
        self.untracked.discard(path)
        if stat.S_ISDIR(mode):
            self._look_inside(path.rstrip(b"/") + b"/", repository)

    def _look_inside(self, folder: bytes, repository: bytes) -> None:
        top, full = (Path(self._root, os.fsdecode(name)) for name in (repository, folder))
        has_git = os.path.exists(full / ".git")
        if has_git or _is_submodule(top, folder[len(repository) : -1]):
            # Where git cannot read it, or its .git was not copied along, all its files count.
            self._add_repository(folder, None if has_git and _is_repository(full) else self._shadow)
        else:  # it was a file: git passes over a folder where its index has a file
            below_top = folder[len(repository) :]
            inside = _inside(top, [below_top], None)
            inside -= {below_top} | _ignored_by_us(top, None, below_top) | _our_own(top, inside)
            names = {repository + name for name in inside}
            self._take_in(names, names, repository)

    def _add_repository(self, folder: bytes, shadow: Path | None) -> None:
        self.repositories.append(folder)
        listed = below(Path(self._root, os.fsdecode(folder)), shadow)
        names, untracked = ({folder + name for name in these} for these in (listed.names, listed.untracked))
        self._take_in(names, untracked, folder)

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
    listed = git_cli.run(root, "ls-files", "-z", "--stage", "--", f":(literal){os.fsdecode(path)}", check=False).stdout
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
    return set(git_cli.names(top, "ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--", *rules))


def below(top: Path, shadow: Path | None) -> Listed:
    """List what lies below a folder, but for the ignored.

    Args:
        top: the folder, which is the top of a repository, or of none.
        shadow: GIT_DIR for a folder that is no repository: all below it is untracked.
    Raises:
        SnapshotError: a folder cannot be read.
    """
    with ThreadPoolExecutor(1) as pool:
        known = pool.submit(_all_names, top, "ls-files", "-z", "--cached") if shadow is None else None
        words = ["ls-files", "-z", "--others", "--directory", "--exclude-standard"]
        others = _all_names(top, *words, shadow=shadow)
        folders = [name for name in others if name.endswith(b"/")]
        untracked = {name for name in others if not name.endswith(b"/")} | _inside(top, folders, shadow)
        names = untracked.union(known.result()) if known else set(untracked)
    left_out = _ignored_by_us(top, shadow) | _our_own(top, untracked)
    names -= left_out
    untracked -= left_out
    return Listed(names, untracked, folders)


_LONGEST_ARGUMENTS = 32 << 10
"""Bytes of names that a git is given at most; it looks at all that is there where they are more."""


def _inside(top: Path, folders: list[bytes], shadow: Path | None) -> set[bytes]:
    """Return the untracked names inside folders."""
    if not folders:
        return set()
    only = [f":(literal){os.fsdecode(name)}" for name in folders]
    if sum(map(len, folders)) > _LONGEST_ARGUMENTS:
        only = []
    return set(_all_names(top, "ls-files", "-z", "--others", "--exclude-standard", "--", *only, shadow=shadow))


def _our_own(top: Path, names: set[bytes]) -> set[bytes]:
    """Return our own files among names: the user may keep them in the project."""
    own = os.fsencode(os.path.relpath(locations.data_folder().resolve(), top)) + b"/"
    return set() if own.startswith(b"../") else {name for name in names if name.startswith(own)}


def _ignored_by_us(top: Path, shadow: Path | None, within: bytes = b"") -> set[bytes]:
    """Return the files that a folder's own ignore file leaves out; all, or those within a folder below it."""
    if not (top / IGNORE_FILE).is_file():
        return set()
    rule = f"--exclude-from={top / IGNORE_FILE}"
    kinds = ("--cached", "--others") if shadow is None else ("--others",)
    only = ["--", f":(literal){os.fsdecode(within)}"] if within else []
    words = ["ls-files", "-z", "-i", rule]
    return {path for kind in kinds for path in git_cli.names(top, *words, kind, *only, shadow=shadow)}


def _all_names(top: Path, *words: str, shadow: Path | None = None) -> list[bytes]:
    """Return what git lists; that it could not look into a folder is only a warning of git's."""
    done = git_cli.run(top, *words, shadow=shadow)
    for told in done.stderr.split(_HIDDEN)[1:]:
        if b"No such file or directory" not in told:  # deleted a moment ago
            folder = os.fsdecode(told.removesuffix(b"warning: ").strip())
            raise SnapshotError(
                f"a folder in {top} cannot be read: {folder}", "let it be read, or name it in .gitignore"
            )
    return done.stdout.split(b"\0")[:-1]


_HIDDEN = b"could not open directory "
