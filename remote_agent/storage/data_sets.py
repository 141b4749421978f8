"""Data sets: folders that people have sent to a host once, by content, read-only, and that jobs share.

    data/names/NAME.json     which data set a name means: {"hash", "at"}
    data/HASH/files/...      its files, read-only; HASH is that of the manifest
    data/HASH/manifest.json  what it consists of; summary.json says how much
    data/HASH.incoming/      one that is being sent: whole files by their SHA-256, and the one that was cut

A manifest is a list of (path, bytes, SHA-256, whether it is a program), sorted by path.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from typing import BinaryIO, Iterator, List, NamedTuple, Optional, Tuple

from remote_agent.protocol.data_sets import Manifest, ManifestFile, manifest_hash, manifest_of, manifest_text
from remote_agent.protocol.errors import BadRequest, DiskFull, NotFound
from remote_agent.protocol.facts import HASH
from remote_agent.protocol.jobs import ENV_NAME
from remote_agent.storage import files
from remote_agent.storage.paths import Paths

_CHUNK = 1 << 20
_INCOMING = ".incoming"
_MOST_LINKS = 10_000
"""Names of one file: ext4 takes 65,000."""
_INCOMING_SECONDS = 7 * 86400.0
"""How long a transfer that was cut is kept."""
_MARGIN = 64 << 20
"""Bytes that are to stay free."""


class Named(NamedTuple):
    """A name of a data set."""

    name: str
    hash: str
    at: float
    """When it was given, seconds since the epoch."""


class DataSet:
    """One data set of a host, whether it is there or not."""

    def __init__(self, paths: Paths, digest: str) -> None:
        self.hash = digest
        self.folder = os.path.join(paths.data, digest)
        self.files = os.path.join(self.folder, "files")
        self.manifest = os.path.join(self.folder, "manifest.json")
        self.incoming = self.folder + _INCOMING

    @property
    def is_whole(self) -> bool:
        """Whether it can be used."""
        return os.path.exists(self.manifest)

    def summary(self) -> Tuple[str, int, int]:
        """Return the path that jobs are given, and how many files and bytes there are; "" when it is not there."""
        told = files.read_json(os.path.join(self.folder, "summary.json")) if self.is_whole else None
        if not isinstance(told, dict):
            return "", 0, 0
        return str(told.get("place", "")), int(told.get("files", 0)), int(told.get("bytes", 0))

    def read_manifest(self) -> Manifest:
        """Return what it consists of.

        Raises:
            NotFound: it is not here. BadRequest: its manifest is damaged.
        """
        try:
            with files.open_regular(self.manifest) as file:
                data = file.read()
        except OSError:
            raise NotFound(f"data set {self.hash[:12]} is not on this host") from None
        return manifest_of(data, self.hash)

    def place(self, manifest: Manifest) -> str:
        """Return the path that jobs are given: of a single file, that file."""
        return os.path.join(self.files, manifest.files[0].path) if manifest.is_file else self.files


def names(paths: Paths) -> List[Named]:
    """Return the names of the data sets of a host."""
    found: List[Named] = []
    try:
        listed = sorted(os.listdir(os.path.join(paths.data, "names")))
    except OSError:
        return found
    for file in listed:
        name, dot, _ = file.rpartition(".json")
        told = files.read_json(os.path.join(paths.data, "names", file)) if dot and ENV_NAME.match(name) else None
        if isinstance(told, dict) and isinstance(told.get("hash"), str) and HASH.match(told["hash"]):
            at = told.get("at")
            found.append(Named(name, told["hash"], float(at) if isinstance(at, (int, float)) else 0.0))
    return found


def put_name(paths: Paths, name: str, digest: str, now: float) -> None:
    """Have a name mean a data set."""
    os.makedirs(os.path.join(paths.data, "names"), 0o700, exist_ok=True)
    files.write_json(os.path.join(paths.data, "names", f"{name}.json"), {"hash": digest, "at": now})


def drop_name(paths: Paths, name: str) -> None:
    """Take a name away.

    Raises:
        NotFound: there is no such name.
    """
    if name not in [one.name for one in names(paths)]:
        raise NotFound(f"there is no data set {name!r} on this host")
    os.unlink(os.path.join(paths.data, "names", f"{name}.json"))


class Receiver:
    """Takes a data set in: what was sent before stays, so that a cut transfer goes on where it stopped."""

    def __init__(self, paths: Paths, manifest: Manifest) -> None:
        """Begin.

        Raises:
            DiskFull: there is no room for what is missing.
        """
        self._paths = paths
        self._manifest = manifest
        self.set = DataSet(paths, manifest_hash(manifest_text(manifest)))
        os.makedirs(paths.data, 0o700, exist_ok=True)
        os.makedirs(self.set.incoming, 0o700, exist_ok=True)
        self.is_missing = [not self.set.is_whole and not self._has(file) for file in manifest.distinct]
        """Of each distinct content, in their order."""
        self.missing = [file for file, wanted in zip(manifest.distinct, self.is_missing) if wanted]  # noqa: B905
        self.done = {file.sha256: files.size(self._part(file)) for file in self.missing if self._part_exists(file)}
        """Bytes that are here of files that were cut."""
        needed = sum(file.size for file in self.missing) - sum(self.done.values())
        if needed + _MARGIN > files.free_bytes(paths.root):
            raise DiskFull(
                f"the data set needs {needed / 1e6:,.0f} MB, {files.free_bytes(paths.root) / 1e6:,.0f} MB are free"
            )

    def _path(self, file: ManifestFile) -> str:
        return os.path.join(self.set.incoming, file.sha256)

    def _part(self, file: ManifestFile) -> str:
        return self._path(file) + ".part"

    def _has(self, file: ManifestFile) -> bool:
        return os.path.exists(self._path(file))

    def _part_exists(self, file: ManifestFile) -> bool:
        return 0 < files.size(self._part(file)) < file.size

    def take(self, file: ManifestFile, source: BinaryIO) -> None:
        """Take in one missing file, from where it was cut.

        Raises:
            EOFError: the transfer ended. BadRequest: it is another file than the manifest says.
        """
        digest, part = hashlib.sha256(), self._part(file)
        begun = self.done.get(file.sha256, 0)
        with open(part, "r+b" if begun else "wb") as target:
            left = begun
            while left:
                known = target.read(min(left, _CHUNK))
                if not known:
                    raise BadRequest(f"{file.path}: what came of it before is gone; send it again")
                digest.update(known)
                left -= len(known)
            left = file.size - begun
            while left:
                chunk = source.read(min(left, _CHUNK))
                if not chunk:
                    raise EOFError("the transfer was cut; send it again, it goes on from here")
                digest.update(chunk)
                target.write(chunk)
                left -= len(chunk)
            target.flush()
            os.fdatasync(target.fileno())
        if digest.hexdigest() != file.sha256:
            os.unlink(part)
            raise BadRequest(f"{file.path} changed while it was sent; send it again")
        os.replace(part, self._path(file))

    def finish(self) -> None:
        """Put the files in their places, read-only, and the data set in its own."""
        if self.set.is_whole:
            shutil.rmtree(self.set.incoming, ignore_errors=True)
            return
        made = f"{self.set.incoming}-{os.urandom(4).hex()}"
        try:
            self._lay(os.path.join(made, "files"))
            _write_down(self.set, self._manifest, made)
            _put_in_place(self.set, made)
        finally:
            files.remove_tree(made)
        shutil.rmtree(self.set.incoming, ignore_errors=True)

    def _lay(self, top: str) -> None:
        """Give each file its name; several of one content are one file, which nobody can write to."""
        os.makedirs(os.path.dirname(top), 0o700)
        os.mkdir(top, 0o700)
        for file in self._manifest.files:
            target = os.path.join(top, file.path)
            os.makedirs(os.path.dirname(target), 0o700, exist_ok=True)
            mode = 0o500 if file.is_program else 0o400
            source = self._path(file)
            told = os.stat(source)
            is_other = told.st_nlink > 1 and told.st_mode & 0o700 != mode  # one content, two modes
            if is_other or told.st_nlink >= _MOST_LINKS or not _linked(source, target):
                shutil.copyfile(source, target)
            os.chmod(target, mode)
        _seal(top)


def gathered(paths: Paths, source: str, mark: str) -> DataSet:
    """Make a data set of a file or folder of this host: of a copy, so that nothing changes it afterwards.

    Links to files within the folder are followed; what leads out of it, or is no file, is refused.

    Args:
        paths: the agent's files.
        source: where it is.
        mark: 64 random hex digits, whose ``lock`` the caller holds: nobody takes the copy for a remainder.
    Raises:
        NotFound: there is nothing. BadRequest: it has no files, or others than files. DiskFull: there is no room.
    """
    found = _files_below(source)
    size = sum(os.stat(place).st_size for _, place in found)
    if size + _MARGIN > files.free_bytes(paths.root):
        free = files.free_bytes(paths.root)
        raise DiskFull(f"a copy needs {size / 1e6:,.0f} MB, {free / 1e6:,.0f} MB are free")
    os.makedirs(paths.data, 0o700, exist_ok=True)
    made = os.path.join(paths.data, f"{mark}{_INCOMING}-{os.urandom(4).hex()}")
    try:
        top = os.path.join(made, "files")
        listed = [_copied(name, place, os.path.join(top, name)) for name, place in found]
        manifest = Manifest(sorted(listed), os.path.isfile(source))
        data_set = DataSet(paths, manifest_hash(manifest_text(manifest)))
        _seal(top)
        _write_down(data_set, manifest, made)
        _put_in_place(data_set, made)
        return data_set
    finally:
        files.remove_tree(made)


def _files_below(source: str) -> List[Tuple[str, str]]:
    """Return (name, where it is) of each file of what is to become a data set."""
    if os.path.isfile(source):
        return [(os.path.basename(source), source)]
    if not os.path.isdir(source):
        raise NotFound(f"there is no file or folder {os.path.basename(source)!r}")
    found: List[Tuple[str, str]] = []
    for folder, _, names in files.walk(source, _fail):
        for name in names:
            place = os.path.join(folder, name)
            shown = os.path.relpath(place, source)
            if not os.path.isfile(place) or not files.is_inside(source, place):
                raise BadRequest(f"{shown!r} is neither a file nor a folder of it")
            found.append((shown, place))
    if not found:
        raise BadRequest(f"{os.path.basename(source)!r} has no files")
    return found


def _fail(folder: str, error: OSError) -> None:
    raise error


def _copied(name: str, source: str, target: str) -> ManifestFile:
    """Copy a file, and return what it is: its hash is that of what was written."""
    os.makedirs(os.path.dirname(target), 0o700, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with files.open_regular(source) as reader, open(target, "xb") as writer:
        is_program = bool(os.fstat(reader.fileno()).st_mode & 0o100)
        for chunk in iter(lambda: reader.read(_CHUNK), b""):
            digest.update(chunk)
            size += len(chunk)
            writer.write(chunk)
        writer.flush()
        os.fdatasync(writer.fileno())
    os.chmod(target, 0o500 if is_program else 0o400)
    return ManifestFile(name, size, digest.hexdigest(), is_program)


def _seal(top: str) -> None:
    """Let nobody add to a data set."""
    for folder, _, _ in os.walk(top, topdown=False):
        os.chmod(folder, 0o500)


def _write_down(data_set: DataSet, manifest: Manifest, made: str) -> None:
    """Write what a data set consists of beside its files, and have all of it on the disk."""
    size = sum(file.size for file in manifest.files)
    told = {"files": len(manifest.files), "bytes": size, "place": data_set.place(manifest)}
    files.write_json(os.path.join(made, "summary.json"), told)
    files.write_bytes(os.path.join(made, "manifest.json"), manifest_text(manifest))
    if not files.disk.sync_all(made):
        files.disk.sync_folder(made)


def _put_in_place(data_set: DataSet, made: str) -> None:
    """Give a data set that was made its name, unless it is there already."""
    try:
        os.rename(made, data_set.folder)
    except OSError:
        if not data_set.is_whole:
            raise
    files.disk.sync_folder(os.path.dirname(data_set.folder))


def _linked(source: str, target: str) -> bool:
    """Give a file a second name; say whether the file system can."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EMLINK, errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        return False
    return True


def unnamed(paths: Paths, now: float) -> List[str]:
    """Return the data sets that no name means, by hash, and which are not being sent."""
    known = {one.hash for one in names(paths)}
    try:
        there = os.listdir(paths.data)
    except OSError:
        return []
    found = []
    for name in there:
        digest = name.partition(".")[0]
        if HASH.match(digest) and digest not in known and not os.path.exists(lock(paths, digest)):
            age = now - os.stat(os.path.join(paths.data, name)).st_mtime
            if name == digest or age > _INCOMING_SECONDS:
                found.append(digest)
    return sorted(set(found))


def remains(paths: Paths) -> List[str]:
    """Return what was moved away to be removed and is still there, and what was being put in place when it was cut."""
    try:
        there = os.listdir(paths.data)
    except OSError:
        return []
    locked = {name.partition(".")[0] for name in there if name.endswith(".lock")}
    return [
        os.path.join(paths.data, name)
        for name in there
        if (".old-" in name or ".incoming-" in name) and name.partition(".")[0] not in locked
    ]


def locks(paths: Paths) -> List[str]:
    """Return the files that say who makes or sends a data set, also those of processes that have died."""
    try:
        there = os.listdir(paths.data)
    except OSError:
        return []
    return [os.path.join(paths.data, name) for name in there if name.endswith(".lock")]


def lock(paths: Paths, digest: str) -> str:
    """Return the file that says who sends a data set just now."""
    return os.path.join(paths.data, digest + ".lock")


def check(paths: Paths, digest: str) -> List[str]:
    """Hash every file of a data set; return what is wrong, in words.

    Raises:
        NotFound: it is not here. BadRequest: its manifest is damaged.
    """
    data_set = DataSet(paths, digest)
    wrong: List[str] = []
    listed = {file.path: file for file in data_set.read_manifest().files}
    for path in sorted(listed):
        place = os.path.join(data_set.files, path)
        try:
            with files.open_regular(place) as file:
                actual = files.sha256_of(file)
        except OSError as error:
            wrong.append(f"{path}: {error.strerror or error}")
            continue
        if actual != listed[path].sha256:
            wrong.append(f"{path} is not what it was when it was sent")
    for top, _, there in files.walk(data_set.files, lambda *_: None):
        wrong += [
            f"{path} was not sent"
            for path in (os.path.relpath(os.path.join(top, name), data_set.files) for name in there)
            if path not in listed
        ]
    return wrong


def listing_hash(path: str, most: int) -> Optional[str]:
    """Return a hash of what lies at a path by names, sizes and times of change: cheap, and no proof of content.

    Args:
        path: a file or folder.
        most: files at most; None is returned for more.
    """
    digest = hashlib.sha256()
    for number, line in enumerate(_listing(path)):
        if number >= most:
            return None
        digest.update(line)
    return f"listing:{digest.hexdigest()}"


def _listing(path: str) -> Iterator[bytes]:
    if not os.path.isdir(path):
        yield _listed(path, b"")
        return
    for top, folders, names_there in files.walk(path, lambda *_: None):
        folders.sort()
        for name in sorted(names_there):
            place = os.path.join(top, name)
            yield _listed(place, os.fsencode(os.path.relpath(place, path)))


def _listed(path: str, name: bytes) -> bytes:
    try:
        told = os.lstat(path)
    except OSError:
        return name + b"\0?\n"
    return name + f"\0{told.st_size} {told.st_mtime_ns}\n".encode()


def trash(paths: Paths, digest: str) -> None:
    """Move a data set out of the way, at once: ``remains`` has it then."""
    data_set = DataSet(paths, digest)
    for folder in (data_set.folder, data_set.incoming):
        try:
            os.rename(folder, f"{data_set.folder}.old-{os.urandom(4).hex()}")
        except OSError:
            continue  # it is not there
