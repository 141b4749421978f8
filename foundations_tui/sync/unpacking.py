"""The one place where files that come from elsewhere are written: below a folder, never out of it, through no link.

Whatever a host sends, and whatever is copied from our own cache into a user's project, goes through ``Folder``. It
walks down from its top by descriptors (openat(2) with O_NOFOLLOW), so that a link on the way is an error and not a
detour, whoever made it and when. What cannot be written is refused by itself, in words, and the rest goes on.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import struct
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from foundations_tui.errors import FoundationsError, HostRefused, HostUnreachable
from foundations_tui.snapshot import objects
from foundations_tui.store import sparse
from remote_agent.protocol.checks import END_OF_TIME

_LONGEST_NAME = 255
"""Bytes of a file's name; Linux takes no more (NAME_MAX)."""
_LONGEST_TARGET = 4096
"""Bytes of where a link leads; Linux takes no more (PATH_MAX)."""
_LONGEST_HEADER = 1 << 20
"""Bytes of what a tar stream says of one file."""
_MOST_FILES = 1_000_000
_GIT = ".git"
_LINK, _PROGRAM = "120000", "100755"
"""Modes of git's."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 20


class Refused(Exception):
    """One entry cannot be written here; its text says why."""


@dataclass
class Unpacked:
    """What came of a stream."""

    files: list[tuple[str, int]] = field(default_factory=list)
    """(path below the folder, bytes)."""
    refused: list[tuple[str, str]] = field(default_factory=list)
    """(name, why)."""


class Folder:
    """A folder of the user's, below which files are put in place, each whole or not at all."""

    def __init__(self, top: Path, within: str = "", with_git: bool = False) -> None:
        """Open it, made when it is not there.

        Args:
            top: named by the user: it may be a link.
            within: folders below it, which are ours to make: none of them is followed when it is a link.
            with_git: whether something may be written below a ``.git``.
        Raises:
            OSError: it cannot be made.
        """
        self._with_git = with_git
        top.mkdir(parents=True, exist_ok=True)
        self._top = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._last: tuple[tuple[str, ...], int] | None = None
        """The folder that was written to last, open."""
        self._within = tuple(part for part in within.split("/") if part)

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()
        os.close(self._top)

    @contextlib.contextmanager
    def new_file(self, name: str, mode: int = 0o666, moment: float | None = None) -> Iterator[IO[bytes]]:
        """Give a file to write to, which is put in place at the end; the umask applies.

        Args:
            name: its path below the folder.
            mode: permissions.
            moment: when it was changed, seconds since the epoch.
        Raises:
            Refused: it cannot be there.
        """
        if moment is not None and not -1e10 < moment < END_OF_TIME:
            raise Refused("its time is none")
        with self._replacing(self._parts(name)) as (temporary, parent):
            fd = os.open(temporary, _NEW_FILE, mode & 0o777 | 0o400, dir_fd=parent)
            with open(fd, "wb") as file:
                yield file
                file.flush()
                if moment is not None:
                    os.utime(fd, (moment, moment))

    def link(self, name: str, target: str, as_it_is: bool = False) -> None:
        """Make a symbolic link, which is never followed here.

        Args:
            name: its path below the folder.
            target: where it leads.
            as_it_is: whether it may lead anywhere.
        Raises:
            Refused: it leads out of the folder, or cannot be there.
        """
        parts = self._parts(name)
        if not as_it_is:
            _check_inward(len(parts) - 1, target)
        with self._replacing(parts) as (temporary, parent):
            try:
                os.symlink(target, temporary, dir_fd=parent)
            except (ValueError, OSError) as error:
                raise Refused(_words(error)) from None

    def make(self, name: str) -> None:
        """Make a folder.

        Args:
            name: its path below the folder.
        Raises:
            Refused: it leads out of the folder, or cannot be there.
        """
        self._open(tuple(self._parts(name)))

    @contextlib.contextmanager
    def _replacing(self, parts: list[str]) -> Iterator[tuple[str, int]]:
        """Give (a name of its own, the folder that it is in) to make something by; it then takes its real name."""
        *parents, last = parts
        parent = self._open(tuple(parents))
        # Several processes may fetch the same file: each writes one of its own, and the last one whole stands.
        temporary = f".foundations-{os.urandom(8).hex()}.part"
        try:
            yield temporary, parent
            self._put_in_place(temporary, last, parent)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=parent)

    def _parts(self, name: str) -> list[str]:
        try:
            data = os.fsencode(name)
        except UnicodeError:
            raise Refused("its name is no file name") from None
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if name.startswith("/") or ".." in parts or not parts:
            raise Refused("its name leads out of the folder")
        if b"\0" in data:
            raise Refused("its name contains a NUL character")
        for part in parts:
            if len(os.fsencode(part)) > _LONGEST_NAME:
                raise Refused(f"a name of {len(os.fsencode(part))} bytes; {_LONGEST_NAME} are possible")
        if not self._with_git and any(part.casefold() == _GIT for part in parts):
            raise Refused("it belongs to a git repository; --with-git fetches those")
        return parts

    def _open(self, parents: tuple[str, ...]) -> int:
        """Return a descriptor of a folder below, made when it is not there; a link on the way is refused."""
        path_parts = self._within + parents
        if self._last is not None and self._last[0] == path_parts:
            return self._last[1]
        self._leave()
        at = os.dup(self._top)
        for place, part in enumerate(path_parts, 1):
            try:
                below = self._step(at, part, "/".join(path_parts[:place]))
            finally:
                os.close(at)
            at = below
        self._last = (path_parts, at)
        return at

    def _step(self, at: int, part: str, shown: str) -> int:
        for _ in range(2):
            try:
                return os.open(part, _FOLDER, dir_fd=at)
            except FileNotFoundError:
                with contextlib.suppress(FileExistsError):  # another process was faster
                    os.mkdir(part, 0o777, dir_fd=at)
            except OSError as error:
                if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                    raise
                is_link = stat.S_ISLNK(os.stat(part, dir_fd=at, follow_symlinks=False).st_mode)
                what = "a link, and nothing is written through it" if is_link else "a file"
                raise Refused(f"{shown} is {what}: move it away, or name another folder") from None
        raise Refused(f"{shown} cannot be made")

    def _put_in_place(self, temporary: str, name: str, parent: int) -> None:
        try:
            os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
        except OSError as error:
            if error.errno in (errno.EISDIR, errno.ENOTEMPTY, errno.EEXIST):
                raise Refused("a folder of this name is there: move it away") from None
            raise

    def _leave(self) -> None:
        if self._last is not None:
            os.close(self._last[1])
            self._last = None


def _check_inward(depth: int, target: str) -> None:
    """Refuse a link that leads out of its folder's top, also by way of other links.

    Args:
        depth: how many folders the link is below the top.
        target: where it leads. It may go up only at its beginning, from a folder that is none but a real one; behind
            that every name leads, as far as it is a link of ours, to something inside again.
    """
    parts = [part for part in target.split("/") if part not in ("", ".")]
    up = 0
    while up < len(parts) and parts[up] == "..":
        up += 1
    if target.startswith("/") or up > depth or ".." in parts[up:]:
        raise Refused("a link that leads out of the folder")


class _Member(tarfile.TarInfo):
    """What a tar stream says of one file, of bounded size.

    By itself tarfile takes a damaged header for the end of the stream, and forgives a size that is none.
    """

    @classmethod
    def frombuf(cls, buf: Any, encoding: str, errors: str) -> Any:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except (tarfile.EmptyHeaderError, tarfile.TruncatedHeaderError) as error:  # type: ignore[attr-defined]
            raise EOFError(str(error)) from None
        except tarfile.HeaderError as error:
            raise ValueError(f"damaged within: {error}") from None

    def _proc_member(self, tar: Any) -> Any:
        if self.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) and self.size > _LONGEST_HEADER:
            raise tarfile.ReadError("a header that is too long")
        return super()._proc_member(tar)  # type: ignore[misc]


def unpack(
    source: Any,
    folder: Folder,
    limit: int = 0,
    tree: str = "",
    host: str = "the host",
    asked: Callable[[str], bool] = lambda name: True,
) -> Unpacked:
    """Write the files of a tar stream below a folder; links come last, and are followed by nothing here.

    Args:
        source: has ``read``, and ``is_cut``: whether more was read than it has.
        folder: where to.
        limit: bytes of files that are taken at most; 0 for no limit.
        tree: git tree id: links are made as they are when the stream is exactly that tree.
        host: who sends it, for messages.
        asked: whether a name was asked for; nothing else is written.
    Raises:
        HostUnreachable: the stream was cut. HostRefused: it is no tar stream. OSError: the disk does not take it.
    """
    done = Unpacked()
    links: list[tuple[str, str]] = []
    content: dict[bytes, tuple[str, str]] = {}
    room = limit
    try:
        with tarfile.open(fileobj=source, mode="r|", tarinfo=_Member) as tar:
            for number, member in enumerate(tar):
                if member.size < 0 or not str(member.pax_headers.get("size", "0")).isdecimal():
                    raise HostRefused(f"{host}: it sends a file of an impossible size")
                if number >= _MOST_FILES:
                    raise HostRefused(f"{host}: it sends more than {_MOST_FILES:,} files")
                if not asked(member.name):
                    done.refused.append((member.name, "it was not asked for"))
                elif member.issym():
                    links.append((member.name, member.linkname))
                elif member.isdir():
                    continue
                elif not member.isreg() or member.issparse():
                    done.refused.append((member.name, "neither a file nor a symbolic link"))
                elif limit and member.size > room:
                    done.refused.append((member.name, "it is over the limit of what comes back"))
                else:
                    room -= member.size
                    _unpack_file(tar, member, folder, done, content)
    except (tarfile.TarError, ValueError, EOFError, OverflowError, RecursionError, struct.error) as error:
        if source.is_cut:
            raise HostUnreachable(f"the connection was lost while fetching ({error})") from None
        raise HostRefused(f"{host}: the files that it sends make no sense: {error}") from None
    is_frozen = bool(tree) and not done.refused and objects.tree_of({**content, **_links(links)}) == tree
    for name, target in links:
        _keep(done, name, 0, lambda name=name, target=target: folder.link(name, target, is_frozen))
    return done


def _links(links: list[tuple[str, str]]) -> dict[bytes, tuple[str, str]]:
    """Return links as entries of a tree."""
    return {os.fsencode(name): (_LINK, objects.blob_id(os.fsencode(target))) for name, target in links}


def write_files(files: Iterable[objects.File], folder: Folder, links_as_they_are: bool) -> Unpacked:
    """Write the files of a snapshot below a folder; links come last.

    Args:
        files: the files and links.
        folder: where to.
        links_as_they_are: whether links may lead anywhere.
    Raises:
        OSError: the disk does not take it.
    """
    done = Unpacked()
    links: list[tuple[str, str]] = []
    for file in files:
        name = os.fsdecode(file.path)
        if file.mode == _LINK and file.size > _LONGEST_TARGET:
            done.refused.append((name, "a link whose target is too long"))
        elif file.mode == _LINK:
            links.append((name, os.fsdecode(b"".join(file.chunks))))
        else:
            _keep(done, name, file.size, lambda name=name, file=file: _write(folder, name, file))
    for name, target in links:
        _keep(done, name, 0, lambda name=name, target=target: folder.link(name, target, links_as_they_are))
    return done


def _write(folder: Folder, name: str, file: objects.File) -> None:
    with folder.new_file(name, 0o777 if file.mode == _PROGRAM else 0o666) as writer:
        writer.writelines(file.chunks)


def _unpack_file(
    tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Folder, done: Unpacked, content: dict[bytes, tuple[str, str]]
) -> None:
    reader = tar.extractfile(member)
    assert reader is not None
    digest = hashlib.sha1(b"blob %d\0" % member.size)

    def write() -> None:
        with folder.new_file(member.name, member.mode, member.mtime) as writer:
            while page := reader.read(_CHUNK):
                writer.write(page)
                digest.update(page)

    if _keep(done, member.name, member.size, write):
        mode = _PROGRAM if member.mode & 0o100 else "100644"
        content[os.fsencode(member.name)] = (mode, digest.hexdigest())


def _keep(done: Unpacked, name: str, size: int, write: Any) -> bool:
    """Do one write and note what came of it; a full disk ends it all."""
    try:
        write()
    except Refused as error:
        done.refused.append((name, str(error)))
        return False
    except OSError as error:
        if error.errno not in (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.EPERM, errno.EACCES):
            raise
        done.refused.append((name, error.strerror or str(error)))
        return False
    done.files.append((name, size))
    return True


def copy(source: Path, folder: Folder, name: str) -> Unpacked:
    """Copy a file or folder of this machine below a folder, links as links, none followed.

    Args:
        source: what.
        folder: where to.
        name: its path there.
    Raises:
        FoundationsError: it is gone. OSError: the disk does not take it.
    """
    done = Unpacked()
    links = []
    for path, shown in _walk(source, name):
        mode = os.lstat(path).st_mode
        if stat.S_ISLNK(mode):
            links.append((shown, os.readlink(path)))
        elif stat.S_ISREG(mode):
            _keep(done, shown, os.lstat(path).st_size, lambda path=path, shown=shown: _copy(path, folder, shown))
        else:
            done.refused.append((shown, "neither a file nor a symbolic link"))
    for shown, target in links:
        _keep(done, shown, 0, lambda shown=shown, target=target: folder.link(shown, target))
    return done


def _walk(source: Path, name: str) -> Iterator[tuple[str, str]]:
    if not os.path.lexists(source):
        raise FoundationsError(f"{source} is gone")
    if os.path.islink(source) or not os.path.isdir(source):
        yield str(source), name
        return
    hidden: list[OSError] = []
    for parent, folders, names in os.walk(source, onerror=hidden.append):
        below = os.path.relpath(parent, source)
        prefix = name if below == "." else f"{name}/{below}"
        links = [entry for entry in folders if os.path.islink(os.path.join(parent, entry))]
        for entry in sorted(names + links):
            yield os.path.join(parent, entry), f"{prefix}/{entry}"
    if hidden:
        raise hidden[0]


def _copy(path: str, folder: Folder, name: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(fd, "rb") as reader:
        stats = os.fstat(fd)
        with folder.new_file(name, stats.st_mode, stats.st_mtime) as writer:
            sparse.copy(reader.fileno(), writer.fileno(), stats.st_size)


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
