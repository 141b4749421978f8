"""git's plumbing over a working tree: the user's repository, which is only read, or a shadow GIT_DIR of ours."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

from foundations_tui.errors import SnapshotError

DURABLE = ("-c", "core.fsync=loose-object,reference", "-c", "core.fsyncMethod=batch")
"""Options by which what is written outlives a loss of power; a git before 2.36 passes over them."""


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
) -> subprocess.CompletedProcess[bytes]:
    """Run git over a working tree: with the user's repository, or with a shadow that knows none of their settings."""
    command = ["git", "-c", "core.fsmonitor=false", "-c", "core.untrackedCache=keep", *DURABLE, *words]
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
        raise GitFailed(f"git {words[0]} failed: {done.stderr.decode(errors='replace').strip()}")
    return done


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
