"""The working tree, frozen: git's own object ids, made in a shadow GIT_DIR that is ours.

The list of files comes from the user's repository (tracked, modified, untracked that is not ignored), the bytes
from the disk: no filter, no line-ending conversion. The user's ``.git`` is only read. GitPython says which repository
it is and where it stands; the trees are made by git's plumbing, which takes lists on standard input, keeps a stat cache
in an index, and needs an environment without any GIT_ variable of the caller's.
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
from typing import TYPE_CHECKING, Any

from foundations_tui import locations
from foundations_tui.errors import SnapshotError

if TYPE_CHECKING:
    import git

IGNORE_FILE = ".foundationsignore"
_ATTRIBUTES = "* -text -eol -filter -ident -working-tree-encoding\n"
_NO_REPOSITORY_EXCLUDES = "__pycache__/\n*.pyc\n.venv/\nvenv/\nnode_modules/\n.ipynb_checkpoints/\n"
"""What a folder without a repository, and so perhaps without a .gitignore, hardly wants to ship."""
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
    size: int
    """Bytes of all its files."""
    largest: tuple[tuple[int, bytes], ...] = ()
    """(bytes, path) of the largest files."""
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
    repository = _repository_of(folder)
    root = Path(repository.working_tree_dir or folder).resolve() if repository else folder
    shadow = _shadow(root)
    listing = _Listing(root)
    listing.add(root, b"", shadow, is_repository=repository is not None)
    _refuse_large(listing, max_file)
    tree = _write_tree(root, shadow, sorted(listing.sizes))
    subdir = "" if folder == root else folder.relative_to(root).as_posix()
    largest = sorted(((size, path) for path, size in listing.sizes.items()), reverse=True)[:10]
    git = _provenance(repository) if repository else {}
    return Snapshot(tree, shadow, root, subdir, len(listing.sizes), sum(listing.sizes.values()), tuple(largest), git)


def entries(snapshot: Snapshot, base: str | None = None) -> Iterator[Entry]:
    """Yield the objects of a snapshot, folders before what is in them.

    Args:
        snapshot: which.
        base: a tree whose objects are left out, as far as its paths tell.
    """
    if base and base != snapshot.tree:
        changed = _git(
            snapshot.root, "diff-tree", "-r", "-t", "-z", "--no-renames", base, snapshot.tree, shadow=snapshot
        )
        yield from _diff_entries(snapshot, changed.stdout)
        return
    listed = _git(snapshot.root, "ls-tree", "-r", "-t", "-z", "-l", "--full-tree", snapshot.tree, shadow=snapshot)
    for line in listed.stdout.split(b"\0")[:-1]:
        facts, path = line.split(b"\t", 1)
        mode, kind, oid, size = facts.decode().split()
        yield Entry(mode, kind, oid, 0 if size == "-" else int(size), path)


def read_objects(snapshot: Snapshot, oids: list[str]) -> Iterator[tuple[str, str, bytes]]:
    """Yield (object id, "blob" or "tree", content) of objects, in the order asked for.

    Raises:
        SnapshotError: one is not there.
    """
    with tempfile.TemporaryFile() as wishes:
        wishes.write("".join(oid + "\n" for oid in oids).encode())
        wishes.seek(0)
        command = ["git", "cat-file", "--batch", "--buffer"]
        env = _environment({"GIT_DIR": str(snapshot.shadow)})
        with subprocess.Popen(command, env=env, stdin=wishes, stdout=subprocess.PIPE) as git:
            assert git.stdout is not None
            for oid in oids:
                head = git.stdout.readline().split()
                if len(head) != 3:
                    raise SnapshotError(f"the snapshot's object {oid} is gone from {snapshot.shadow}", "submit again")
                content = git.stdout.read(int(head[2]))
                git.stdout.read(1)
                yield oid, head[1].decode(), content


def _diff_entries(snapshot: Snapshot, output: bytes) -> Iterator[Entry]:
    fields = output.split(b"\0")[:-1]
    for facts, path in zip(fields[::2], fields[1::2], strict=True):
        _, mode, _, oid, status = facts.decode().split()
        if status != "D":
            yield Entry(mode, "tree" if mode == "040000" else "blob", oid, -1, path)


class _Listing:
    """The files to take, with their sizes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.sizes: dict[bytes, int] = {}
        """Bytes of each file, by its path below the root."""
        self.untracked: set[bytes] = set()

    def add(self, top: Path, prefix: bytes, shadow: Path, is_repository: bool) -> None:
        """Take in what git lists below a folder that is a repository, or any folder."""
        reader = None if is_repository else shadow
        tracked = set(_names(top, "ls-files", "-z", "--cached")) if is_repository else set()
        others = set(_names(top, "ls-files", "-z", "--others", "--exclude-standard", shadow=reader))
        own = os.fsencode(os.path.relpath(locations.data_folder().resolve(), top)) + b"/"
        for path in (tracked | others) - _ignored_by_us(top, reader):
            if path.startswith(own):
                continue  # our own files, when the user keeps them in the project
            self._take(top, prefix, path, shadow, path in others)

    def _take(self, top: Path, prefix: bytes, path: bytes, shadow: Path, is_untracked: bool) -> None:
        """Take one listed name: a file, a link, or a repository within the repository."""
        full = os.path.join(os.fsencode(top), path)
        try:
            stats = os.lstat(full)
        except OSError:
            return  # deleted
        if stat.S_ISREG(stats.st_mode) or stat.S_ISLNK(stats.st_mode):
            self.sizes[prefix + path] = stats.st_size
            if is_untracked:
                self.untracked.add(prefix + path)
        elif stat.S_ISDIR(stats.st_mode) and os.path.exists(os.path.join(full, b".git")):
            self.add(Path(os.fsdecode(full)), prefix + path.rstrip(b"/") + b"/", shadow, is_repository=True)


def _ignored_by_us(top: Path, shadow: Path | None) -> set[bytes]:
    """Return the files that a folder's own ignore file leaves out."""
    if not (top / IGNORE_FILE).is_file():
        return set()
    rule = f"--exclude-from={top / IGNORE_FILE}"
    kinds = ("--cached", "--others") if shadow is None else ("--others",)
    return {path for kind in kinds for path in _names(top, "ls-files", "-z", "-i", kind, rule, shadow=shadow)}


def _refuse_large(listing: _Listing, limit: int) -> None:
    large = sorted(
        ((listing.sizes[path], path) for path in listing.untracked if listing.sizes[path] > limit), reverse=True
    )
    if not large:
        return
    lines = [f"  {size / (1 << 20):8.1f} MB  {os.fsdecode(path)!r}" for size, path in large[:10]]
    more = [f"  and {len(large) - 10} more"] if len(large) > 10 else []
    files = "1 untracked file is" if len(large) == 1 else f"{len(large)} untracked files are"
    raise SnapshotError(
        "\n".join([f"{files} above {limit / (1 << 20):.0f} MB and not shipped silently:", *lines, *more]),
        f"add a line to {listing.root / IGNORE_FILE}, for example: /{os.fsdecode(large[0][1])}\n"
        "or raise max_file_mb under [snapshot] in foundations.toml",
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


def _repository_of(folder: Path) -> git.Repo | None:
    """Return the repository that a folder is in, or None."""
    import git  # 80 ms

    try:
        repository = git.Repo(folder, search_parent_directories=True)
    except (git.InvalidGitRepositoryError, git.NoSuchPathError):
        return None
    except git.GitCommandNotFound:
        raise SnapshotError("git is not installed", "install git, for example: apt install git") from None
    return repository if repository.working_tree_dir else None


def _provenance(repository: git.Repo) -> dict[str, Any]:
    """Return the commit and branch that the working tree stands on; None where there is none."""
    from git.refs.symbolic import SymbolicReference

    try:
        commit = SymbolicReference.dereference_recursive(repository, "HEAD")
    except (ValueError, OSError):
        commit = None  # no commit yet
    branch = None if repository.head.is_detached else repository.head.reference.name
    return {"commit": commit or None, "branch": branch}


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
    (shadow / "info" / "exclude").write_text(_NO_REPOSITORY_EXCLUDES)
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
    command = ["git", "-c", "core.fsmonitor=false", "-c", "core.untrackedCache=keep", *words]
    extra = {}
    if shadow is not None:
        git_dir = shadow.shadow if isinstance(shadow, Snapshot) else shadow
        extra = {"GIT_DIR": str(git_dir), "GIT_WORK_TREE": str(root), "GIT_INDEX_FILE": index or str(git_dir / "empty")}
        extra.update(GIT_CONFIG_NOSYSTEM="1", GIT_ATTR_NOSYSTEM="1")
        if index is not None:
            extra["GIT_CONFIG_GLOBAL"] = os.devnull
    env = _environment(extra)
    try:
        done = subprocess.run(command, cwd=root, env=env, input=stdin, capture_output=True)
    except FileNotFoundError:
        raise SnapshotError("git is not installed", "install git, for example: apt install git") from None
    if check and done.returncode != 0:
        raise SnapshotError(f"git {words[0]} failed: {done.stderr.decode(errors='replace').strip()}")
    return done


def _environment(extra: dict[str, str]) -> dict[str, str]:
    """Return an environment for git without what the caller's own git may have set (a hook sets GIT_DIR)."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    return {**env, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", **extra}
