"""The objects of a snapshot, out of the repository of ours that holds them."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from foundations_tui.errors import SnapshotError
from foundations_tui.snapshot import git_cli

CHUNK = 1 << 20
"""Bytes of a content that are in memory at a time."""


class Damaged(SnapshotError):
    """A snapshot is damaged."""


@dataclass(frozen=True)
class TreeEntry:
    """One object of a tree."""

    mode: str
    kind: str
    oid: str
    size: int
    """Bytes; 0 for a tree, and for a damaged file."""
    path: bytes


def entries(shadow: Path, tree: str, base: str | None = None) -> Iterator[TreeEntry]:
    """Yield the objects of a snapshot, folders before what is in them.

    Args:
        shadow: GIT_DIR that has it.
        tree: its id.
        base: a tree whose objects are left out, as far as its paths tell; none are when it is not here any more.
    """
    if base and base != tree:
        words = ["diff-tree", "-r", "-t", "-z", "--no-renames", base, tree]
        changed = git_cli.run(shadow, *words, shadow=shadow, check=False)
        if changed.returncode == 0:
            yield from _diff_entries(changed.stdout)
            return
    listed = git_cli.run(shadow, "ls-tree", "-r", "-t", "-z", "-l", "--full-tree", tree, shadow=shadow)
    for line in listed.stdout.split(b"\0")[:-1]:
        facts, path = line.split(b"\t", 1)
        mode, kind, oid, size = facts.decode().split()
        yield TreeEntry(mode, kind, oid, int(size) if size.isdigit() else 0, path)


@dataclass(frozen=True)
class Content:
    """An object as it is read: in pieces, once, before the next one, as long as the reading goes on."""

    oid: str
    kind: str
    """"blob" or "tree"."""
    size: int
    """Bytes."""
    chunks: Iterator[bytes]

    def whole(self) -> bytes:
        """Return all of it."""
        return b"".join(self.chunks)


@dataclass(frozen=True)
class File:
    """A file or link of a snapshot, as it is read: in pieces, once, before the next one."""

    path: bytes
    mode: str
    """Git's."""
    size: int
    """Bytes."""
    chunks: Iterator[bytes]
    """Its content; of a link, where it leads."""


def read(shadow: Path, oids: Sequence[str]) -> Iterator[Content]:
    """Yield objects in the order asked for, however large they are.

    Raises:
        Damaged: one is not there, or cannot be read; also where it is found out while its content is read.
    """
    with tempfile.TemporaryFile() as names_file:
        names_file.write("".join(oid + "\n" for oid in oids).encode())
        names_file.seek(0)
        command = ["git", *git_cli.OURS, "cat-file", "--batch", "--buffer"]
        env = git_cli.environment({"GIT_DIR": str(shadow)})
        with subprocess.Popen(
            command, env=env, stdin=names_file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as git:
            assert git.stdout is not None
            try:
                for oid in oids:
                    head = git.stdout.readline().split()
                    if len(head) != 3:
                        raise Damaged(f"object {oid} of a snapshot is missing or damaged in {shadow}")
                    size = int(head[2])
                    chunks = _checked(git.stdout, oid, head[1], size, shadow)
                    yield Content(oid, head[1].decode(), size, chunks)
                    for _ in chunks:
                        pass  # what the caller had no use for
            finally:
                git.kill()  # it has more to say when the caller has seen enough


def _checked(source: IO[bytes], oid: str, kind: bytes, size: int, shadow: Path) -> Iterator[bytes]:
    """Yield the content of an object, which is followed by a line end, and check its hash."""
    digest = hashlib.sha1(b"%s %d\0" % (kind, size))
    left = size
    while left:
        chunk = source.read(min(left, CHUNK))
        if not chunk:
            break
        left -= len(chunk)
        digest.update(chunk)
        yield chunk
    source.read(1)
    if digest.hexdigest() != oid:
        raise Damaged(f"object {oid} of a snapshot is damaged in {shadow}")


def files(shadow: Path, tree: str) -> Iterator[File]:
    """Yield the files and links of a snapshot.

    Raises:
        Damaged: as ``read`` does.
    """
    listed = [entry for entry in entries(shadow, tree) if entry.kind == "blob"]
    contents = read(shadow, [entry.oid for entry in listed])
    for entry, content in zip(listed, contents, strict=True):
        yield File(entry.path, entry.mode, content.size, content.chunks)


def blob_id(content: bytes | Path) -> str:
    """Return git's id of a file's content, which is given, or where it lies."""
    if isinstance(content, bytes):
        return blob_id_of(len(content), [content])
    return blob_id_of(content.stat().st_size, file_chunks(content))


def blob_id_of(size: int, chunks: Iterable[bytes]) -> str:
    """Return git's id of a content that comes in pieces.

    Args:
        size: bytes of all of it.
        chunks: the pieces.
    """
    digest = hashlib.sha1(b"blob %d\0" % size)
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def file_chunks(path: Path) -> Iterator[bytes]:
    """Yield the content of a file in pieces."""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def tree_of(files: Mapping[bytes, tuple[str, str]]) -> str:
    """Return the git tree id of files and links (git-mktree(1): entries sorted, a folder as if its name ended in /).

    Args:
        files: (git's mode, object id) by path.
    Returns:
        The id; "" when a file lies below another one.
    """
    top: dict[bytes, Any] = {}
    for path, entry in files.items():
        *parents, last = path.split(b"/")
        at = top
        for parent in parents:
            at = at.setdefault(parent, {})
            if not isinstance(at, dict):
                return ""
        at[last] = entry
    return _hash_tree(top)


def _hash_tree(entries: dict[bytes, Any]) -> str:
    lines = []
    for name, entry in entries.items():
        is_tree = isinstance(entry, dict)
        mode, oid = ("40000", _hash_tree(entry)) if is_tree else entry
        lines.append((name + b"/" if is_tree else name, b"%s %s\0%s" % (mode.encode(), name, bytes.fromhex(oid))))
    body = b"".join(line for _, line in sorted(lines))
    return hashlib.sha1(b"tree %d\0%s" % (len(body), body)).hexdigest()


def _diff_entries(output: bytes) -> Iterator[TreeEntry]:
    fields = output.split(b"\0")[:-1]
    for facts, path in zip(fields[::2], fields[1::2], strict=True):
        _, mode, _, oid, status = facts.decode().split()
        if status != "D":
            yield TreeEntry(mode, "tree" if mode == "040000" else "blob", oid, -1, path)
