"""Data sets: sent to a host once, by content, and named by projects."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from foundations_tui.config import locations
from foundations_tui.config.project import DATA_SET
from foundations_tui.errors import FoundationsError, HostRefused, HostUnreachable, NotFoundError, UsageError
from foundations_tui.hosts.agent import Agent, refusal
from foundations_tui.session import Session
from foundations_tui.snapshot import objects
from foundations_tui.text import humanize
from remote_agent.protocol import messages
from remote_agent.protocol.data_sets import (
    Manifest,
    ManifestFile,
    is_name,
    manifest_hash,
    manifest_text,
    marked,
)
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.messages import HostedData
from remote_agent.protocol.wire import JsonTable

_CHUNK = 1 << 20
_ANSWER_SECONDS = 3600
"""A host hashes what has come of a file that was cut, and syncs a large data set."""
Progress = Callable[[str, int, int], None]
"""Takes (what is being done, bytes so far, bytes in all)."""


@dataclass(frozen=True)
class Sent:
    """What came of a data set."""

    hash: str
    files: int
    bytes: int
    sent: int
    """Bytes that travelled."""


def put(session: Session, host: str, name: str, path: Path, progress: Progress) -> Sent:
    """Send a file or folder to a host as a data set; what is there already is not sent again.

    A transfer that was cut goes on where it stopped, also from another call.

    Args:
        session: the client's.
        host: which.
        name: what it is called there.
        path: what.
        progress: gets the progress.
    Raises:
        UsageError: the name is none, or there is nothing to send. HostError: the host is out of reach, or refuses.
    """
    if not is_name(name):
        raise UsageError(f"{name[:50]!r} is no name of a data set", "letters, digits and _, like a variable")
    manifest = manifest_of(path, progress)
    sent = session.retrying(host, lambda agent: _put(agent, name, path, manifest, progress))
    listed(session, host)  # has the host remove what no name means any more
    return sent


def _put(agent: Agent, name: str, path: Path, manifest: Manifest, progress: Progress) -> Sent:
    data = manifest_text(manifest)
    channel, lines, first = agent.open_bulk("take-data", name)
    try:
        _raise_error(agent, first)
        packed = zlib.compress(data, 1)
        channel.set_timeout(60)
        channel.send(f"{len(packed):020d}".encode() + packed)
        answer = lines.read(_ANSWER_SECONDS)
        _raise_error(agent, answer)
        wanted, begun = _missing(answer, manifest)
        total = sum(file.size - begun.get(file.sha256, 0) for file in wanted)
        sent = 0
        try:
            for chunk in _contents(path, wanted, begun):
                channel.send(chunk)
                sent += len(chunk)
                progress("sending", sent, total)
            channel.end_input()
        except (OSError, HostUnreachable) as error:
            _raise_error(agent, lines.read(5))  # the other side may have said why it stopped
            raise HostUnreachable(f"{agent.host.name}: the connection was lost while sending ({error})") from None
        _raise_error(agent, lines.read(_ANSWER_SECONDS))
        return Sent(manifest_hash(data), len(manifest.files), sum(file.size for file in manifest.files), sent)
    finally:
        channel.close()


def _missing(answer: JsonTable, manifest: Manifest) -> tuple[list[ManifestFile], dict[str, int]]:
    """Return the files that a host lacks, in its order, and how many bytes it has of those that were cut."""
    begun = answer.get("begun")
    try:
        flags = marked(str(answer.get("missing")), len(manifest.distinct))
    except BadRequest:
        flags = []
    sizes = {file.sha256: file.size for file in manifest.files}
    if (
        not isinstance(begun, dict)
        or not flags
        or not all(isinstance(size, int) and 0 <= size <= sizes.get(digest, -1) for digest, size in begun.items())
    ):
        raise HostRefused("the host's answer makes no sense")
    return [file for file, is_wanted in zip(manifest.distinct, flags, strict=True) if is_wanted], begun


def _contents(top: Path, wanted: Iterable[ManifestFile], begun: Mapping[str, int]) -> Iterator[bytes]:
    """Yield what is missing of files, each exactly as long as the manifest says.

    Raises:
        FoundationsError: a file has become shorter, or cannot be read any more.
    """
    for file in wanted:
        at = begun.get(file.sha256, 0)
        left = file.size - at
        try:
            with open(top if top.is_file() else top / file.path, "rb") as source:
                source.seek(at)
                while left:
                    chunk = source.read(min(left, _CHUNK))
                    if not chunk:
                        raise FoundationsError(f"{file.path} changed while it was sent", "send it again")
                    left -= len(chunk)
                    yield chunk
        except OSError as error:
            raise FoundationsError(f"{file.path} cannot be read any more: {error.strerror}", "send it again") from None


def _raise_error(agent: Agent, answer: JsonTable) -> None:
    if "error" in answer:
        raise refusal(agent.host.name, answer["error"])


# --- what there is ----------------------------------------------------------------------------------------------


def manifest_of(path: Path, progress: Progress) -> Manifest:
    """Return what a file or folder consists of; what was hashed before and has not changed is not read again.

    Raises:
        UsageError: there is nothing, or something that is neither a file nor a folder.
    """
    found = list(_found(path))
    if not found:
        raise UsageError(f"{path} has no files")
    known = _Known(path)
    total, done, manifest = sum(told.st_size for _, _, told in found), 0, list[ManifestFile]()
    for name, place, told in found:
        digest = known.get(name, told)
        if digest is None:
            digest = _hash(place, lambda size: progress("hashing", done + size, total))  # noqa: B023 - called at once
            known.put(name, told, digest)
        done += told.st_size
        manifest.append(ManifestFile(name, told.st_size, digest, bool(told.st_mode & 0o100)))
    known.save()
    return Manifest(sorted(manifest), path.is_file())


def _found(path: Path) -> Iterator[tuple[str, Path, os.stat_result]]:
    """Yield (path below the top, where it is, its state) of each file; links are not followed."""
    if path.is_file():
        yield path.name, path, path.stat()
        return
    if not path.is_dir():
        raise UsageError(f"there is no file or folder {path}")

    def fail(error: OSError) -> None:
        raise UsageError(f"{error.filename} cannot be read: {error.strerror}")

    for top, folders, names in os.walk(path, onerror=fail):
        folders.sort()
        for name in [*names, *(folder for folder in folders if os.path.islink(os.path.join(top, folder)))]:
            place = Path(top) / name
            told = place.lstat()
            if not stat.S_ISREG(told.st_mode):
                kind = "a link" if stat.S_ISLNK(told.st_mode) else "neither a file nor a folder"
                raise UsageError(f"{place} is {kind}: a data set has only files", "replace it by what it leads to")
            yield place.relative_to(path).as_posix(), place, told


def _hash(path: Path, progress: Callable[[int], None]) -> str:
    digest, size = hashlib.sha256(), 0
    try:
        for chunk in objects.file_chunks(path):
            digest.update(chunk)
            size += len(chunk)
            progress(size)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    return digest.hexdigest()


class _Known:
    """The hashes of the files of a folder, as last found."""

    def __init__(self, top: Path) -> None:
        name = hashlib.sha256(os.fsencode(top.resolve())).hexdigest()[:32]
        self._path = locations.data_folder() / "hashes" / f"{name}.json"
        self._before: JsonTable = {}
        self._now: JsonTable = {}
        try:
            read = json.loads(self._path.read_text(encoding="utf-8"))
            self._before = read if isinstance(read, dict) else {}
        except (OSError, ValueError):
            pass

    def get(self, name: str, told: os.stat_result) -> str | None:
        entry = self._before.get(name)
        if not isinstance(entry, list) or entry[:3] != [told.st_size, told.st_mtime_ns, told.st_ino]:
            return None
        self._now[name] = entry
        return str(entry[3])

    def put(self, name: str, told: os.stat_result, digest: str) -> None:
        self._now[name] = [told.st_size, told.st_mtime_ns, told.st_ino, digest]

    def save(self) -> None:
        self._path.parent.mkdir(exist_ok=True, mode=0o700)
        temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}.tmp")
        temporary.write_text(json.dumps(self._now), encoding="utf-8", errors="surrogatepass")
        temporary.replace(self._path)


# --- what a host has --------------------------------------------------------------------------------------------


def listed(session: Session, host: str) -> list[HostedData]:
    """Return the data sets of a host.

    Raises:
        HostError: it is out of reach.
    """
    return session.ask(host, messages.DataSets()).sets


def remove(session: Session, host: str, name: str) -> None:
    """Remove a data set from a host.

    Raises:
        NotFoundError: there is none of that name. FoundationsError: a job uses it.
    """
    session.ask(host, messages.DataSets(remove=name))


def check(session: Session, host: str, name: str) -> tuple[str, list[str]]:
    """Have a host hash a data set; return its hash, and what is wrong with it, in words.

    Raises:
        NotFoundError: there is none of that name. HostError: the host is out of reach.
    """

    def ask(agent: Agent) -> JsonTable:
        channel, _, answer = agent.open_bulk("check-data", name)
        channel.close()
        return answer

    answer = session.retrying(host, ask)
    if "error" in answer:
        raise refusal(host, answer["error"])
    wrong = answer.get("wrong")
    return str(answer.get("hash", "")), [str(words) for words in wrong] if isinstance(wrong, list) else []


def resolved(session: Session, host: str, data: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """Return data with the places of data sets on a host, and their hashes.

    Raises:
        NotFoundError: one is not there, or not whole.
    """
    if not any(entry["path"].startswith(DATA_SET) for entry in data.values()):
        return data
    there = {one.name: one for one in listed(session, host)}
    return {key: _resolved(host, key, entry, there) for key, entry in data.items()}


def _resolved(host: str, key: str, entry: dict[str, str], there: dict[str, HostedData]) -> dict[str, str]:
    if not entry["path"].startswith(DATA_SET):
        return entry
    name = entry["path"].removeprefix(DATA_SET)
    found = there.get(name)
    if found is None or not found.path:
        raise NotFoundError(
            f"data {key}: there is no data set {name!r} on {host}", f"foundations data put {name} PATH --host {host}"
        )
    return {**entry, "path": found.path, "hash": found.hash}


def words(one: HostedData) -> str:
    """Return what a data set is, in words."""
    return f"{humanize.plural(one.files, 'file')}, {humanize.size(one.bytes)}"
