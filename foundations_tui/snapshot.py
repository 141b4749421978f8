"""The working tree, frozen: git's own object ids, made in a shadow GIT_DIR that is ours.

The list of files comes from the user's repository (tracked, modified, untracked that is not ignored), the bytes
from the disk: no filter, no line-ending conversion. The user's ``.git`` is only read. GitPython runs git; the
plumbing commands are the right tool, because they take lists on standard input and keep a stat cache in an index.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foundations_tui import locations
from foundations_tui.errors import SnapshotError

IGNORE_FILE = ".foundationsignore"
_ATTRIBUTES = "* -text -eol -filter -ident -working-tree-encoding\n"
_SETTINGS = {
    "core.autocrlf": "false",
    "core.safecrlf": "false",
    "core.fileMode": "true",
    "core.symlinks": "true",
    "core.compression": "1",
    "core.bare": "false",
    "gc.auto": "0",
}


@dataclass(frozen=True)
class Snapshot:
    """A working tree as it stood at one moment."""

    tree: str
    """Git tree id."""
    shadow: Path
    """GIT_DIR that holds its objects."""
    root: Path
    """Top of the tree on this machine."""
    subdir: str
    """Folder below the root that the user stood in."""
    files: int
    git: dict[str, Any] = field(default_factory=dict)
    """commit, branch and dirty of the user's repository."""


@dataclass(frozen=True)
class Entry:
    """One object of a tree."""

    mode: str
    kind: str
    oid: str
    size: int
    """Bytes; 0 for a tree."""
    path: bytes


def take(folder: Path, max_file: int = 100 << 20) -> Snapshot:
    """Freeze the working tree that a folder is in.

    Args:
        folder: the folder the user stands in; a repository's is taken from its root.
        max_file: untracked files above this many bytes are refused.
    Raises:
        SnapshotError: no such folder, files that are too large, or git cannot do it.
    """
    if not folder.is_dir():
        raise SnapshotError(f"there is no folder {folder}")
    folder = folder.resolve()
    top = repository_of(folder)
    root = top or folder
    shadow = _shadow(root)
    paths, untracked = _list_files(root, shadow, is_repository=top is not None)
    _refuse_large(root, untracked, max_file)
    tree = _write_tree(root, shadow, paths)
    subdir = "" if folder == root else folder.relative_to(root).as_posix()
    return Snapshot(tree, shadow, root, subdir, len(paths), _provenance(root) if top else {})


def repository_of(folder: Path) -> Path | None:
    """Return the top of the repository that a folder is in, or None."""
    found = _git(folder, "rev-parse", "--show-toplevel", check=False)
    text = os.fsdecode(found.stdout).rstrip("\n")
    return Path(text).resolve() if found.returncode == 0 and text else None


def entries(snapshot: Snapshot, base: str | None = None) -> Iterator[Entry]:
    """Yield the objects of a snapshot, folders before what is in them.

    Args:
        snapshot: which.
        base: a tree whose objects are left out, as far as its paths tell.
    """
    if base and base != snapshot.tree:
        changed = _git(snapshot.root, "diff-tree", "-r", "-t", "-z", "--no-renames", base, snapshot.tree, shadow=snapshot)
        yield from _diff_entries(snapshot, changed.stdout)
        return
    listed = _git(snapshot.root, "ls-tree", "-r", "-t", "-z", "-l", "--full-tree", snapshot.tree, shadow=snapshot)
    for line in listed.stdout.split(b"\0")[:-1]:
        facts, path = line.split(b"\t", 1)
        mode, kind, oid, size = facts.decode().split()
        yield Entry(mode, kind, oid, 0 if size == "-" else int(size), path)


def read_object(snapshot: Snapshot, oid: str) -> bytes:
    """Return the content of one object."""
    kind = "tree" if oid == snapshot.tree else None
    found = _git(snapshot.root, "cat-file", kind or "blob", oid, shadow=snapshot)
    return found.stdout


def _diff_entries(snapshot: Snapshot, output: bytes) -> Iterator[Entry]:
    fields = output.split(b"\0")[:-1]
    for facts, path in zip(fields[::2], fields[1::2], strict=True):
        _, mode, _, oid, status = facts.decode().split()
        if status != "D":
            yield Entry(mode, "tree" if mode == "040000" else "blob", oid, -1, path)


def _list_files(root: Path, shadow: Path, is_repository: bool) -> tuple[list[bytes], set[bytes]]:
    """Return (the paths of all files to take, those of them that git does not track), sorted."""
    tracked: set[bytes] = set()
    if is_repository:
        tracked = set(_names(root, "ls-files", "-z", "--cached"))
        others = set(_names(root, "ls-files", "-z", "--others", "--exclude-standard"))
    else:
        others = set(_names(root, "ls-files", "-z", "--others", "--exclude-standard", shadow=shadow))
    ignored: set[bytes] = set()
    if (root / IGNORE_FILE).is_file():
        rule = f"--exclude-from={root / IGNORE_FILE}"
        shadow_or_own = None if is_repository else shadow
        for kind in ("--cached", "--others"):
            ignored |= set(_names(root, "ls-files", "-z", "-i", kind, rule, shadow=shadow_or_own))
    paths: list[bytes] = []
    untracked: set[bytes] = set()
    for path in (tracked | others) - ignored:
        _take_path(root, path, path in others, paths, untracked)
    return sorted(paths), untracked


def _take_path(root: Path, path: bytes, is_untracked: bool, paths: list[bytes], untracked: set[bytes]) -> None:
    """Take one listed name: a file, a link, or a repository within the repository."""
    full = os.path.join(os.fsencode(root), path)
    try:
        mode = os.lstat(full).st_mode
    except OSError:
        return  # deleted
    if stat.S_ISREG(mode) or stat.S_ISLNK(mode):
        paths.append(path)
        if is_untracked:
            untracked.add(path)
    elif stat.S_ISDIR(mode):
        prefix = path.rstrip(b"/") + b"/"
        nested = Path(os.fsdecode(full))
        if not (nested / ".git").exists():
            return
        inner_paths, inner_untracked = _list_files(nested, nested, is_repository=True)
        paths += [prefix + inner for inner in inner_paths]
        untracked |= {prefix + inner for inner in inner_untracked}


def _refuse_large(root: Path, untracked: set[bytes], limit: int) -> None:
    large = []
    for path in untracked:
        size = os.lstat(os.path.join(os.fsencode(root), path)).st_size
        if size > limit:
            large.append((size, path))
    if large:
        lines = [f"  {size / (1 << 20):8.1f} MB  {os.fsdecode(path)!r}" for size, path in sorted(large, reverse=True)[:10]]
        more = f"\n  and {len(large) - 10} more" if len(large) > 10 else ""
        example = os.fsdecode(max(large)[1])
        raise SnapshotError(
            f"{len(large)} untracked files are above {limit / (1 << 20):.0f} MB and are not shipped silently:\n"
            + "\n".join(lines)
            + more,
            f"add a line to {IGNORE_FILE}, for example: /{example}   (or raise snapshot.max_file_mb in foundations.toml)",
        )


def _write_tree(root: Path, shadow: Path, paths: list[bytes]) -> str:
    """Bring the shadow index up to the list and return its tree.

    The index is a copy that is put back at the end: two submits at once cannot disturb each other. The copy keeps
    the file's time, by which git knows which entries may have changed within one tick of the clock.
    """
    handle, name = tempfile.mkstemp(prefix="index-", dir=shadow)
    os.close(handle)
    os.unlink(name)
    try:
        if (shadow / "index").exists():
            shutil.copy2(shadow / "index", name)
        known = set(_names(root, "ls-files", "-z", "--cached", shadow=shadow, index=name))
        wanted = set(paths)
        gone = known - wanted
        if gone:
            _update_index(root, shadow, name, ["--force-remove"], gone)
        changed = (wanted - known) | _stat_changes(root, shadow, name)
        if changed:
            _update_index(root, shadow, name, ["--add", "--remove", "--replace"], changed)
        tree = _git(root, "write-tree", shadow=shadow, index=name).stdout.decode().strip()
        os.replace(name, shadow / "index")
        return tree
    finally:
        for leftover in (name, name + ".lock"):
            if os.path.exists(leftover):
                os.unlink(leftover)


def _stat_changes(root: Path, shadow: Path, index: str) -> set[bytes]:
    """Return the known files whose stat differs from the index; git looks at them in parallel."""
    output = _git(root, "diff-files", "-z", "--name-only", shadow=shadow, index=index).stdout
    return set(output.split(b"\0")[:-1])


def _update_index(root: Path, shadow: Path, index: str, flags: list[str], paths: set[bytes]) -> None:
    listing = b"\0".join(sorted(paths)) + b"\0"
    _git(root, "update-index", *flags, "-z", "--stdin", shadow=shadow, index=index, stdin=listing)


def _provenance(root: Path) -> dict[str, Any]:
    commit = _git(root, "rev-parse", "--verify", "-q", "HEAD", check=False).stdout.decode().strip()
    branch = os.fsdecode(_git(root, "symbolic-ref", "-q", "--short", "HEAD", check=False).stdout).strip()
    return {"commit": commit or None, "branch": branch or None}


def _shadow(root: Path) -> Path:
    """Return the shadow GIT_DIR of a tree, made when it is not there."""
    shadow = locations.snapshots_folder() / hashlib.sha256(os.fsencode(root)).hexdigest()[:16]
    if (shadow / "info" / "attributes").exists():
        return shadow
    shadow.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _git(root, "init", "-q", "--bare", "--template=", "--object-format=sha1", str(shadow))
    for key, value in _SETTINGS.items():
        _git(root, "--git-dir", str(shadow), "config", key, value)
    (shadow / "info").mkdir(exist_ok=True)
    (shadow / "info" / "attributes").write_text(_ATTRIBUTES)
    return shadow


def _names(root: Path, *words: str, shadow: Path | None = None, index: str | None = None) -> list[bytes]:
    return _git(root, *words, shadow=shadow, index=index).stdout.split(b"\0")[:-1]


def _git(
    root: Path,
    *words: str,
    shadow: Path | Snapshot | None = None,
    index: str | None = None,
    stdin: bytes | None = None,
    check: bool = True,
) -> subprocess.CompletedProcess[bytes]:
    """Run git over a working tree: with the user's repository, or with a shadow that knows none of their settings."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    env.update(GIT_OPTIONAL_LOCKS="0", LC_ALL="C", GIT_TERMINAL_PROMPT="0")
    command = ["git", "-c", "core.fsmonitor=false", "-c", "core.untrackedCache=keep", *words]
    if shadow is not None:
        git_dir = shadow.shadow if isinstance(shadow, Snapshot) else shadow
        env.update(GIT_DIR=str(git_dir), GIT_WORK_TREE=str(root), GIT_INDEX_FILE=index or str(git_dir / "empty"))
        env.update(GIT_CONFIG_NOSYSTEM="1", GIT_ATTR_NOSYSTEM="1")
        if index is not None:
            env["GIT_CONFIG_GLOBAL"] = os.devnull
    try:
        done = subprocess.run(command, cwd=root, env=env, input=stdin, capture_output=True)
    except FileNotFoundError:
        raise SnapshotError("git is not installed", "install git, for example: apt install git") from None
    if check and done.returncode != 0:
        raise SnapshotError(f"git {words[0]} failed: {done.stderr.decode(errors='replace').strip()}")
    return done
