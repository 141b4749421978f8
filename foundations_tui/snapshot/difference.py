"""Differences of snapshots that were taken on this machine, as ``git diff`` prints them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from foundations_tui.errors import NotFoundError, SnapshotError
from foundations_tui.snapshot import git_cli, shadows


def of_snapshots(first: str, other: str) -> str:
    """Return what ``git diff`` says of two snapshots that were taken on this machine.

    Args:
        first: tree id.
        other: tree id.
    Raises:
        NotFoundError: one of them is not here.
    """
    homes = [_home_of(tree) for tree in (first, other)]
    return _diff(homes[0], [home / "objects" for home in homes], first, other)


def counts(first: str, other: str) -> tuple[int, int, int]:
    """Return (files that differ, lines added, lines removed) from one snapshot to another; binary files have no lines.

    Raises:
        NotFoundError: one of them is not here.
    """
    homes = [_home_of(tree) for tree in (first, other)]
    listed = _diff(homes[0], [home / "objects" for home in homes], first, other, "--numstat", "--no-renames", "-z")
    files = [entry.split("\t", 2) for entry in listed.split("\0") if entry]
    added, removed = (sum(int(file[n]) for file in files if file[n].isdigit()) for n in (0, 1))
    return len(files), added, removed


def since_commit(tree: str, commit: str) -> str:
    """Return what ``git diff`` says of a commit of the user's repository and a snapshot that was taken there later.

    Args:
        tree: tree id.
        commit: id of the commit.
    Raises:
        NotFoundError: the snapshot was taken elsewhere, or the repository or the commit is gone.
    """
    problem: SnapshotError | NotFoundError = _elsewhere(tree)
    for home in shadows.holding(tree):
        root = shadows.root_of(home)
        if not root.is_dir():
            problem = NotFoundError(f"the repository {root}, from which it was submitted, is not there any more")
        elif git_cli.run(root, "cat-file", "-e", commit + "^{tree}", check=False).returncode != 0:
            hint = "git fetch may bring it back"
            problem = NotFoundError(f"commit {commit[:12]} is not in the repository {root}", hint)
        else:
            asked = git_cli.run(root, "rev-parse", "--path-format=absolute", "--git-path", "objects")
            return _diff(home, [home / "objects", Path(os.fsdecode(asked.stdout.rstrip(b"\n")))], commit, tree)
    raise problem


def _home_of(tree: str) -> Path:
    home = next(shadows.holding(tree), None)
    if home is None:
        raise _elsewhere(tree)
    return home


def _elsewhere(tree: str) -> NotFoundError:
    hint = "foundations get JOB --code fetches the code of a job"
    return NotFoundError(f"the code {tree[:12]} was not submitted from this machine", hint)


def _diff(home: Path, objects: list[Path], tree: str, other: str, *options: str) -> str:
    """Return the difference of two trees whose objects are in several places."""
    plain = ("--no-color", "--no-ext-diff", "--no-textconv", *options)
    words = ["git", "--git-dir", str(home), "diff", *plain, tree, other]
    places = os.pathsep.join(map(str, objects))
    env = git_cli.environment({"GIT_ALTERNATE_OBJECT_DIRECTORIES": places, "GIT_CONFIG_GLOBAL": os.devnull})
    done = subprocess.run(words, env=env, capture_output=True)
    if done.returncode != 0:
        raise SnapshotError(f"git diff failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode("utf-8", "replace")
