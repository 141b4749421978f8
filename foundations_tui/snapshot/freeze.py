"""The working tree, frozen: git's own object ids, made in a shadow GIT_DIR that is ours.

The list of files comes from the user's repository (tracked, modified, untracked that is not ignored), the bytes
from the disk: no filter, no line-ending conversion. The user's ``.git`` is only read. GitPython says which repository
it is and where it stands; the trees are made by git's plumbing, which takes lists on standard input, keeps a stat cache
in an index, and needs an environment without any GIT_ variable of the caller's.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import os
import shutil
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from foundations_tui.errors import SnapshotError
from foundations_tui.snapshot import empty_folders, git_cli, objects, shadows
from foundations_tui.snapshot.files import IGNORE_FILE, Listed, Listing, below, included
from foundations_tui.text import humanize
from remote_agent.protocol.urls import without_credentials
from remote_agent.protocol.wire import JsonTable

if TYPE_CHECKING:
    import git

_EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
_NO_OBJECT = b"0" * 40


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
    empty: tuple[str, ...] = ()
    """Folders below the root that hold nothing: git keeps none, and programs write into them."""
    git: JsonTable = field(default_factory=dict)
    """commit, branch and remote of the user's repository, and whether the tree is another than the commit's ("dirty").
    """


def take(folder: Path, max_file: int = 100 << 20, include: tuple[str, ...] = ()) -> Snapshot:
    """Freeze the working tree that a folder is in.

    Args:
        folder: the folder the user stands in; a repository's is taken from its root.
        max_file: untracked files above this many bytes are refused.
        include: patterns of files that git ignores and that are taken all the same.
    Raises:
        SnapshotError: no such folder, files that are too large, or git cannot do it.
    """
    if not folder.is_dir():
        raise SnapshotError(f"there is no folder {folder}")
    folder = folder.resolve()
    repository = _repository_of(folder)
    root = _top(repository, folder)
    shadow = shadows.of_tree(root)
    of_folder = None if repository else shadow
    with ThreadPoolExecutor(4) as pool:
        listed = pool.submit(_listed, root, of_folder)
        looked = pool.submit(lambda: empty_folders.among(listed.result().folders, root, of_folder))
        origin = pool.submit(_origin, repository) if repository else None
        tree, files, size = _freeze_whole(root, shadow, listed, max_file, include if repository else ())
        empty = looked.result()
    subdir = "" if folder == root else folder.relative_to(root).as_posix()
    if subdir and not git_cli.run(root, "ls-tree", tree, f"{subdir}/", shadow=shadow).stdout:
        raise SnapshotError(
            f"{folder} has no files that are shipped: it is empty, or git ignores what is in it",
            f"start in another folder, or ship it: [snapshot] include = ['{subdir}/**'] in foundations.toml",
        )
    git_facts = _provenance(root, origin.result(), tree) if origin else {}
    return Snapshot(tree, shadow, root, subdir, files, size, empty, git_facts)


def _listed(root: Path, shadow: Path | None) -> Listed:
    """List what lies below the top of a tree, with a new repository of ours where the one for a folder is damaged."""
    try:
        return below(root, shadow)
    except git_cli.GitFailed:
        if shadow is None:
            raise
        with shadows.replacement() as fresh:
            return below(root, fresh)


def kept(tree: str) -> Snapshot | None:
    """Return a snapshot that this client has, by its git tree id; None when it has not."""
    for shadow in shadows.holding(tree):
        with contextlib.suppress(git_cli.GitFailed):
            sizes = [entry.size for entry in objects.entries(shadow, tree) if entry.kind == "blob"]
            return Snapshot(tree, shadow, shadows.root_of(shadow), "", len(sizes), sum(sizes))
    return None


def top_of(folder: Path) -> Path:
    """Return the top of the working tree that a folder is in, which is what ``take`` takes whole.

    Raises:
        SnapshotError: git cannot read the repository that it is in.
    """
    folder = folder.resolve()
    return _top(_repository_of(folder), folder)


def _top(repository: git.Repo | None, folder: Path) -> Path:
    return Path(repository.working_tree_dir or folder).resolve() if repository else folder


def _freeze_whole(
    root: Path, shadow: Path, listed: Future[Listed], max_file: int, include: tuple[str, ...]
) -> tuple[str, int, int]:
    """Return (tree, files, bytes) of the files on disk; what is damaged of ours is made again, and nothing is lost.

    Whether it is, or something is wrong with the files, shows a repository that has nothing yet.
    """
    try:
        return _freeze(root, shadow, listed, max_file, include)
    except git_cli.GitFailed:
        with shadows.replacement() as fresh:
            frozen = _freeze(root, fresh, listed, max_file, include)
            shadows.drop_caches(shadow)
            try:
                return _freeze(root, shadow, listed, max_file, include)
            except git_cli.GitFailed:
                shadows.set_aside(shadow)
            try:
                os.rename(fresh, shadow)
                return frozen
            except OSError:  # another process was faster
                return _freeze(root, shadows.of_tree(root), listed, max_file, include)


def _freeze(
    root: Path, shadow: Path, listed: Future[Listed], max_file: int, include: tuple[str, ...]
) -> tuple[str, int, int]:
    """Return (tree, files, bytes) of the files on disk."""
    tree = _write_tree(root, shadow, listed, max_file, include)
    return tree, *_totals(root, shadow, tree)


def largest(snapshot: Snapshot, count: int = 10) -> list[tuple[int, bytes]]:
    """Return (bytes, path) of the largest files, the largest first."""
    entries = objects.entries(snapshot.shadow, snapshot.tree)
    files = ((entry.size, entry.path) for entry in entries if entry.kind == "blob")
    return heapq.nlargest(count, files)


@dataclass(frozen=True)
class LeftBehind:
    """What git ignores, and so is not shipped; caches and environments are not counted."""

    names: list[str]
    """Files, and folders with a / at the end."""
    size: int
    """Bytes of the files among them."""

    @property
    def words(self) -> str:
        """Return it in words; empty for nothing."""
        if not self.names:
            return ""
        shown = ", ".join(self.names[:_MOST_NAMED]) + (", ..." if len(self.names) > _MOST_NAMED else "")
        folders = sum(name.endswith("/") for name in self.names)
        parts = [humanize.plural(len(self.names) - folders, "ignored file") + f", {humanize.size(self.size)}"]
        parts += [humanize.plural(folders, "ignored folder")] if folders else []
        return f"{' and '.join(parts[folders == len(self.names) :])}, not shipped: {shown}"


_MOST_NAMED = 5


def left_behind(snapshot: Snapshot, include: tuple[str, ...] = ()) -> LeftBehind:
    """Return what git ignores in the tree of a snapshot.

    Args:
        snapshot: which.
        include: patterns of what is shipped all the same.
    """
    listed = (
        git_cli.names(snapshot.root, "ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory")
        if snapshot.git
        else set()
    )
    shipped = included(snapshot.root, include)
    names = [
        f"{name}/ (a submodule that is not here: git submodule update --init)"
        for name in _missing_submodules(snapshot.root)
    ]
    size = 0
    for name in sorted(set(listed) - shipped):
        shown = os.fsdecode(name)
        parts = shown.rstrip("/").split("/")
        if empty_folders.NEVER_MEANT.intersection(parts) or parts[-1].endswith((".pyc", ".egg-info", ".swp")):
            continue
        names.append(shown)
        if not shown.endswith("/"):
            with contextlib.suppress(OSError):
                size += os.lstat(snapshot.root / shown).st_size
    return LeftBehind(names, size)


_LFS = b"version https://git-lfs.github.com/spec/"
_LARGEST_POINTER = 1024
"""Bytes of a pointer of Git LFS, git-lfs-spec(7)."""


def lfs_pointers(snapshot: Snapshot) -> list[str]:
    """Return the files of a snapshot that are pointers of Git LFS: their content was never fetched."""
    try:
        if b"filter=lfs" not in (snapshot.root / ".gitattributes").read_bytes():
            return []
    except OSError:
        return []
    small = [
        entry
        for entry in objects.entries(snapshot.shadow, snapshot.tree)
        if entry.kind == "blob" and len(_LFS) < entry.size < _LARGEST_POINTER
    ]
    contents = objects.read(snapshot.shadow, [entry.oid for entry in small])
    return [
        entry.path.decode("utf-8", "replace")
        for entry, content in zip(small, contents, strict=True)
        if content.whole().startswith(_LFS)
    ]


def _missing_submodules(root: Path) -> list[str]:
    """Return the submodules whose files are not here."""
    if not (root / ".gitmodules").is_file():
        return []
    words = ["config", "-z", "--file", ".gitmodules", "--get-regexp", r"^submodule\..*\.path$"]
    lines = git_cli.run(root, *words, check=False).stdout.split(b"\0")[:-1]
    names = [os.fsdecode(line.partition(b"\n")[2]) for line in lines]
    return [name for name in names if not (root / name).is_dir() or not os.listdir(root / name)]


def _refuse_large(root: Path, listing: Listing, limit: int) -> None:
    sizes = ((git_cli.size_of(root, path), path) for path in listing.untracked)
    large = sorted(((size, path) for size, path in sizes if size > limit), reverse=True)
    if not large:
        return
    lines = [f"  {size / (1 << 20):8.1f} MB  {os.fsdecode(path)!r}" for size, path in large[:10]]
    more = [f"  and {len(large) - 10} more"] if len(large) > 10 else []
    files = "1 untracked file is" if len(large) == 1 else f"{len(large)} untracked files are"
    path = large[0][1]
    top = max((folder for folder in listing.repositories if path.startswith(folder)), key=len, default=b"")
    raise SnapshotError(
        "\n".join([f"{files} above {limit / (1 << 20):.0f} MB and not shipped silently:", *lines, *more]),
        f"add a line to {root / os.fsdecode(top) / IGNORE_FILE}, for example: /{os.fsdecode(path[len(top) :])}\n"
        "or raise max_file_mb under [snapshot] in foundations.toml",
    )


def _write_tree(root: Path, shadow: Path, listed: Future[Listed], max_file: int, include: tuple[str, ...]) -> str:
    """Bring the shadow index up to the files on disk and return its tree.

    The index is a copy that is put back at the end: two submits at once cannot disturb each other. The copy keeps
    the file's time, by which git knows which entries may have changed within one tick of the clock.
    """
    handle, index = tempfile.mkstemp(prefix="index-", dir=shadow)
    os.close(handle)
    os.unlink(index)
    try:
        if (shadow / "index").exists():
            shutil.copy2(shadow / "index", index)
        _update_index(root, shadow, index, listed, max_file, include)
        tree = git_cli.run(root, "write-tree", shadow=shadow, index=index).stdout.decode().strip()
        os.replace(index, shadow / "index")
        return tree
    finally:
        for leftover in (index, index + ".lock"):
            if os.path.exists(leftover):
                os.unlink(leftover)


def _update_index(
    root: Path, shadow: Path, index: str, listed: Future[Listed], max_file: int, include: tuple[str, ...]
) -> None:
    """Put into the index what is new or changed, and take out what is gone."""
    with ThreadPoolExecutor() as pool:

        def ask(*words: str) -> Future[set[bytes]]:
            return pool.submit(lambda: set(git_cli.names(root, *words, "-z", shadow=shadow, index=index)))

        tracked, changed = ask("ls-files"), ask("diff-files", "--name-only")
        listing = Listing(root, shadow, tracked, changed)
        listing.add(listed.result())
        listing.include(included(root, include))
    _refuse_large(root, listing, max_file)
    gone = tracked.result() - listing.names
    fresh = (listing.names - tracked.result()) | (listing.names & changed.result())
    if gone:
        lines = b"".join(name + b"\0" for name in sorted(gone))
        words = ["update-index", "--force-remove", "-z", "--stdin"]
        git_cli.run(root, *words, shadow=shadow, index=index, stdin=lines)
    git_cli.add(root, fresh, shadow, index, *_split_if_large(index))


def _split_if_large(index: str) -> list[str]:
    """Return what splits a large index, so that from then on only what changes is written anew."""
    is_large = os.path.exists(index) and os.path.getsize(index) > _LARGE_INDEX
    return ["--split-index"] if is_large else []


_LARGE_INDEX = 256 << 10
"""Bytes, of some thousands of files."""


def _totals(root: Path, shadow: Path, tree: str) -> tuple[int, int]:
    """Return (files, bytes) of a tree, counted on from those of the last one: only what differs is looked at."""
    base, files, size = _EMPTY_TREE, 0, 0
    with contextlib.suppress(OSError, ValueError, TypeError):
        base, files, size = json.loads((shadow / "totals").read_text())
    if base == tree:
        return files, size
    diff = git_cli.run(root, "diff-tree", "-r", "-z", "--no-renames", base, tree, shadow=shadow).stdout
    pairs = [line.split()[2:4] for line in diff.split(b"\0")[:-1:2]]
    sizes = _blob_sizes(root, shadow, {oid for pair in pairs for oid in pair})
    for before, after in pairs:
        files += (after != _NO_OBJECT) - (before != _NO_OBJECT)
        size += sizes[after] - sizes[before]
    _replace(shadow / "totals", json.dumps([tree, files, size]))
    return files, size


def _blob_sizes(root: Path, shadow: Path, oids: set[bytes]) -> dict[bytes, int]:
    """Return the bytes of each blob; what is no object has none."""
    if not oids:
        return {}
    lines = b"".join(oid + b"\n" for oid in oids)
    listing = git_cli.run(
        root, "cat-file", "--batch-check=%(objectname) %(objectsize)", shadow=shadow, stdin=lines
    ).stdout
    return {oid: int(size) if size.isdigit() else 0 for oid, size in map(bytes.split, listing.splitlines())}


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent)
    with open(handle, "w") as file:
        file.write(text)
    os.replace(name, path)


def _repository_of(folder: Path) -> git.Repo | None:
    """Return the repository that a folder is in, or None."""
    try:
        import git  # 80 ms
    except ModuleNotFoundError:
        raise
    except ImportError:  # GitPython looks for the program when it is imported
        raise SnapshotError("git cannot be found on the PATH", "install git (Debian: apt install git)") from None

    try:
        repository = git.Repo(folder, search_parent_directories=True)
    except (git.InvalidGitRepositoryError, git.NoSuchPathError):
        return None
    except git.GitCommandNotFound:
        raise SnapshotError("git is not installed", "install git, for example: apt install git") from None
    return repository if repository.working_tree_dir else None


@dataclass(frozen=True)
class _Origin:
    """Where a repository stands."""

    commit: str
    """Empty where there is none yet."""
    tree: str
    """Tree id of the commit."""
    branch: str | None
    remote: str | None


def _origin(repository: git.Repo) -> _Origin:
    folder = Path(repository.working_dir)
    words = ["log", "-1", "--no-show-signature", "--format=%H %T"]
    told = git_cli.run(folder, *words, check=False).stdout.decode().split()
    commit, tree = told if len(told) == 2 else ("", "")
    branch = None if repository.head.is_detached else repository.head.reference.name
    return _Origin(commit, tree, branch, _remote(folder))


def _provenance(root: Path, origin: _Origin, tree: str) -> JsonTable:
    """Return the commit and branch that the working tree stands on, and its remote; None where there is none.

    "dirty" is whether the tree is another than the commit's.

    A tree with submodules, or one whose files a filter changed at checkout, is never the commit's.
    """
    is_dirty = origin.tree != tree
    if len(origin.tree) > len(tree):  # a repository of SHA-256: its ids are no ids of ours
        is_dirty = bool(git_cli.run(root, "status", "--porcelain", check=False).stdout)
    return {"commit": origin.commit or None, "branch": origin.branch, "dirty": is_dirty, "remote": origin.remote}


def _remote(folder: Path) -> str | None:
    """Return the URL of the remote "origin", else of the first one, without credentials; None when there is none."""
    listed = git_cli.run(folder, "config", "-z", "--get-regexp", r"^remote\..*\.url$", check=False).stdout
    pairs = [entry.decode("utf-8", "replace").partition("\n") for entry in listed.split(b"\0") if entry]
    remotes = {name: url for name, _, url in pairs if url}
    url = remotes.get("remote.origin.url") or next(iter(remotes.values()), "")
    return without_credentials(url)[:_LONGEST_URL] or None


_LONGEST_URL = 2000
