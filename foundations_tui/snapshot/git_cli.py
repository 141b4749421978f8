"""git's plumbing over a working tree: the user's repository, which is only read, or a shadow GIT_DIR of ours."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from foundations_tui.errors import SnapshotError

_NO_HELPERS = ("-c", "core.fsmonitor=false", "-c", "core.untrackedCache=keep")
DURABLE = ("-c", "core.fsync=loose-object,pack,pack-metadata,reference", "-c", "core.fsyncMethod=batch")
"""Options by which what is written outlives a loss of power; git before 2.36 ignores them."""

OURS = (
    *("-c", "core.protectNTFS=false", "-c", "core.protectHFS=false"),  # names are names of this file system
    *("-c", "core.bigFileThreshold=32m"),  # a larger one is never whole in memory, and becomes a pack of its own
    *("-c", "pack.compression=0"),  # data hardly gets smaller, and git would take four times as long
    *("-c", "core.packedGitWindowSize=32m", "-c", "core.packedGitLimit=256m"),
)
"""Options for a repository of ours."""
_LARGE = 16 << 20
"""Bytes: half of git's threshold, since files grow."""


class GitFailed(SnapshotError):
    """A git ended with an error."""


def names(root: Path, *words: str, shadow: Path | None = None, index: str | None = None) -> list[bytes]:
    """Return what a git command with ``-z`` lists."""
    return run(root, *words, shadow=shadow, index=index).stdout.split(b"\0")[:-1]


def run(
    root: Path,
    *words: str,
    shadow: Path | None = None,
    index: str | None = None,
    stdin: bytes | None = None,
    check: bool = True,
    settings: Sequence[str] = (),
) -> subprocess.CompletedProcess[bytes]:
    """Run git over a working tree: with the user's repository, or with a shadow that knows none of their settings.

    Args:
        root: the top of the tree.
        words: the command and its arguments.
        shadow: GIT_DIR of a repository of ours; the user's repository without one.
        index: file of an index of ours.
        stdin: what it reads.
        check: whether a failure is an error.
        settings: options before the command.
    Raises:
        GitFailed: it ended with an error.
    """
    ours = OURS if shadow is not None else ()
    command = ["git", *_NO_HELPERS, *DURABLE, *ours, *settings, *words]
    extra = {}
    if shadow is not None:
        extra = {"GIT_DIR": str(shadow), "GIT_WORK_TREE": str(root), "GIT_INDEX_FILE": index or str(shadow / "empty")}
        extra.update(GIT_CONFIG_NOSYSTEM="1", GIT_ATTR_NOSYSTEM="1")
        if index is not None:
            extra["GIT_CONFIG_GLOBAL"] = os.devnull
    env = environment(extra)
    with needing_git():
        done = subprocess.run(command, cwd=root, env=env, input=stdin, capture_output=True)
    if check and done.returncode != 0 and b"dubious ownership" in done.stderr:
        raise GitFailed(
            f"the repository {root} belongs to another user, so git does not trust it",
            f"git config --global --add safe.directory {shlex.quote(str(root))}",
        )
    if check and done.returncode != 0:
        raise GitFailed(f"git {words[0]} failed in {root}: {done.stderr.decode(errors='replace').strip()}")
    return done


def add(root: Path, names: Iterable[bytes], shadow: Path, index: str, *options: str) -> None:
    """Write files into a repository of ours, and into an index of it; one that is gone is taken out of the index.

    Large files are added by themselves: git 2.39 loses their packs when it also syncs small files in a batch.

    Args:
        root: the top of the tree.
        names: the files, paths below it.
        shadow: the repository's GIT_DIR.
        index: the file of the index.
        options: more options of git-update-index(1).
    """
    small: list[bytes] = []
    large: list[bytes] = []
    for name in sorted(names):
        (large if size_of(root, name) >= _LARGE else small).append(name)
    words = ["update-index", "--add", "--remove", "--replace", *options, "-z", "--stdin"]
    one_by_one = ("-c", "core.fsyncMethod=fsync")
    for some, settings in ((small, ()), (large, one_by_one)):
        if some:
            lines = b"".join(name + b"\0" for name in some)
            done = run(root, *words, shadow=shadow, index=index, stdin=lines, settings=settings)
            _refuse_passed_over(root, done.stderr)


def _refuse_passed_over(root: Path, said: bytes) -> None:
    """Refuse a name that git passes over with no more than a warning."""
    if _PASSED_OVER in said:
        name = os.fsdecode(said.partition(_PASSED_OVER)[2].partition(b"\n")[0])
        raise SnapshotError(f"git cannot keep a file of this name: {str(root / name)!r}", "rename it, or ignore it")


_PASSED_OVER = b"Ignoring path "


def size_of(root: Path, name: bytes) -> int:
    """Return the bytes of a file; 0 for one that is gone."""
    try:
        return os.lstat(os.path.join(os.fsencode(root), name)).st_size
    except OSError:
        return 0


@contextlib.contextmanager
def needing_git() -> Iterator[None]:
    """Say what is missing when the program git is not there."""
    try:
        yield
    except FileNotFoundError:
        raise SnapshotError("git is not installed", "install git, for example: apt install git") from None


def environment(extra: dict[str, str]) -> dict[str, str]:
    """Return an environment for git without what the caller's own git may have set (a hook sets GIT_DIR)."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    return {**env, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", **extra}
