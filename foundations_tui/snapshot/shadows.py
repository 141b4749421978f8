"""The repository of ours that holds the snapshots of a working tree: a bare GIT_DIR, made when it is first needed.

Its objects are kept: ``refs/foundations/<tree>`` holds each tree that jobs were submitted with. (A ref for each tree,
not for each job: the ten thousand jobs of a sweep share one.) The index beside them is a cache, and may be thrown away.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from foundations_tui.config import locations
from foundations_tui.errors import HostRefused
from foundations_tui.snapshot import git_cli

_ATTRIBUTES = "* -text -eol -filter -ident -working-tree-encoding\n"
_NO_REPOSITORY_EXCLUDES = "__pycache__/\n*.pyc\n.venv/\nvenv/\nnode_modules/\n.ipynb_checkpoints/\n"
"""What a folder without a repository, and so perhaps without a .gitignore, hardly wants to ship."""
_REFS = "refs/foundations/"
"""Begins the ref of a snapshot."""
_NAME = re.compile(r"(?:[0-9a-f]{16}|fetched)(?:\.damaged-[0-9a-f]{8})?\Z")
_ROOT = "root"
"""File of a shadow GIT_DIR that names the top of the tree."""
_SETTINGS = {
    "core.autocrlf": "false",
    "core.safecrlf": "false",
    "core.fileMode": "true",
    "core.symlinks": "true",
    "core.compression": "1",
    "core.bare": "false",
    "gc.auto": "0",
    "index.version": "4",  # smaller, and so written sooner
}


def of_tree(root: Path) -> Path:
    """Return the shadow GIT_DIR of a working tree, made when it is not there.

    Args:
        root: the top of the tree.
    """
    shadow = _at(hashlib.sha256(os.fsencode(root)).hexdigest()[:16])
    if not (shadow / _ROOT).exists():
        (shadow / _ROOT).write_bytes(os.fsencode(root))
    return shadow


def _at(name: str) -> Path:
    """Return a shadow GIT_DIR by its name, made when it is not there; several processes may make it at once."""
    shadow = locations.snapshots_folder() / name
    if not (shadow / "info" / "attributes").exists():
        with replacement() as made:
            try:
                os.rename(made, shadow)
            except OSError:
                if not (shadow / "info" / "attributes").exists():
                    shutil.rmtree(shadow, ignore_errors=True)  # half made by an earlier version
                    os.rename(made, shadow)
    return shadow


@contextlib.contextmanager
def replacement() -> Iterator[Path]:
    """Give a new shadow GIT_DIR, which is removed at the end unless it was moved to its place."""
    folder = locations.snapshots_folder()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = Path(tempfile.mkdtemp(prefix="new-", dir=folder))
    try:
        git_cli.run(made, "init", "-q", "--bare", "--template=", "--object-format=sha1", str(made))
        for key, value in _SETTINGS.items():
            git_cli.run(made, "--git-dir", str(made), "config", key, value)
        (made / "info").mkdir(exist_ok=True)
        (made / "info" / "exclude").write_text(_NO_REPOSITORY_EXCLUDES)
        (made / "info" / "attributes").write_text(_ATTRIBUTES)
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def take_in(folder: Path, tree: str, job: str, source: str) -> None:
    """Take the files of a folder in as the snapshot of a job of another client.

    Args:
        folder: has exactly its files and links.
        tree: git tree id that they must have.
        job: whose code it is, for an error.
        source: who sent it, for an error.
    Raises:
        HostRefused: they are another tree.
    """
    shadow = _at("fetched")
    with tempfile.TemporaryDirectory(prefix="index-", dir=shadow) as place:
        index = os.path.join(place, "index")
        git_cli.add(folder, _files_below(folder), shadow, index)
        taken = git_cli.run(folder, "write-tree", shadow=shadow, index=index).stdout.decode().strip()
    if taken != tree:
        raise HostRefused(f"{source}: what it sends is not the code of job {job}")
    hold(shadow, [tree])


def _files_below(folder: Path) -> Iterator[bytes]:
    """Yield the names of the files and links below a folder."""
    for parent, folders, files in os.walk(os.fsencode(folder)):
        paths = [os.path.join(parent, name) for name in files]
        paths += [path for name in folders if os.path.islink(path := os.path.join(parent, name))]
        yield from (os.path.relpath(path, os.fsencode(folder)) for path in paths)


def drop_caches(shadow: Path) -> None:
    """Remove what only saves time, and is made again from the files: the index, and the totals of the last tree."""
    for path in (shadow / "index", shadow / "totals", *shadow.glob("sharedindex.*")):
        path.unlink(missing_ok=True)


def set_aside(shadow: Path) -> None:
    """Move a shadow GIT_DIR with damaged objects out of the way: the snapshots in it that are whole stay readable."""
    if ".damaged-" in shadow.name:
        return
    with contextlib.suppress(FileNotFoundError):  # another process was faster
        os.rename(shadow, shadow.with_name(f"{shadow.name}.damaged-{os.urandom(4).hex()}"))


def hold(shadow: Path, trees: Iterable[str]) -> None:
    """Keep snapshots, whatever git collects.

    Args:
        shadow: the GIT_DIR that has their objects.
        trees: their git tree ids.
    Raises:
        GitFailed: one is not there, or the disk is full.
    """
    lines = "".join(f"update {_REFS}{tree} {tree}\n" for tree in trees)
    done = _git(shadow, "update-ref", "--stdin", stdin=lines.encode())
    if done.returncode != 0:
        raise git_cli.GitFailed(f"git update-ref failed: {done.stderr.decode(errors='replace').strip()}")


def root_of(shadow: Path) -> Path:
    """Return the top of the tree that a shadow GIT_DIR is of; the working directory where it is of none."""
    try:
        return Path(os.fsdecode((shadow / _ROOT).read_bytes()))
    except OSError:
        return Path.cwd()  # its snapshots were fetched, or an earlier version did not note it


def holding(tree: str) -> Iterator[Path]:
    """Yield the shadow GIT_DIRs that have a tree: two clones may have had the same one."""
    for shadow in _all():
        if _git(shadow, "cat-file", "-e", tree + "^{tree}").returncode == 0:
            yield shadow


def _all() -> list[Path]:
    """Return the shadow GIT_DIRs that are in their places: a folder that is called otherwise is none of ours."""
    folders = sorted(path.parent for path in locations.snapshots_folder().glob("*/HEAD"))
    return [folder for folder in folders if _NAME.match(folder.name)]


def _git(shadow: Path, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = ["git", *git_cli.DURABLE, "--git-dir", str(shadow), *words]
    with git_cli.needing_git():
        return subprocess.run(command, env=git_cli.environment({}), input=stdin, capture_output=True)
