"""What a bundle is: jobs in an ordinary zip that others can open, with a list of what is in it.

    README.md                        for people
    MANIFEST.sha256                  of every other file: its SHA-256 and name, as sha256sum -c reads them
    ro-crate-metadata.json           the same for programs: RO-Crate 1.1, Process Run Crate
    jobs/ID/job.json                 what the job is and how it ended
    jobs/ID/attempts/N/output.log    and records.jsonl (the SDK's format), facts.json
    jobs/ID/artifacts/...
    code/TREE/...                    the code of jobs, by git's tree id, as plain files with modes and links
    packages/HASH.json               lists of packages that facts name
    environment/HASH/pylock.toml     locks that facts name; requirements.lock.txt, conda-explicit.txt

Reading trusts nothing: names, links, sizes and hashes are checked before anything is written.
"""

from __future__ import annotations

import hashlib
import lzma
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from foundations_tui.errors import FoundationsError, NotFoundError
from foundations_tui.text import humanize

VERSION = 1
MANIFEST, README, CRATE = "MANIFEST.sha256", "README.md", "ro-crate-metadata.json"
MOST_BYTES = 20 << 30
"""Bytes that a bundle may have unpacked, unless more is asked for."""
_MOST_FILES = 500_000
_MOST_RATIO, _LEAST_BOMB = 500, 64 << 20
"""What is packed more than that, and large, is a bomb."""
_LONGEST_NAME = 4096
_CHUNK = 1 << 20
_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, struct.error, lzma.LZMAError, EOFError),
    *(OSError, ValueError, LookupError, NotImplementedError, RuntimeError, OverflowError),
)
"""What reading a zip raises that somebody has damaged or made up."""


class BadBundle(FoundationsError):
    """It is no bundle, or not whole, or not to be trusted."""


@dataclass(frozen=True)
class Entry:
    """One file of a bundle, or one link."""

    name: str
    size: int
    is_link: bool
    is_program: bool


class Bundle:
    """A bundle that is read; its table was checked when it was opened."""

    def __init__(self, path: Path, most: int = MOST_BYTES) -> None:
        """Open it.

        Args:
            path: the file.
            most: bytes that it may have unpacked.
        Raises:
            NotFoundError: there is no such file. BadBundle: it is none, or something in it is not to be trusted.
        """
        self.path = path
        if not path.is_file():
            raise NotFoundError(f"there is no file {path}")
        try:
            self._zip = zipfile.ZipFile(path)
        except _DAMAGE as error:
            raise BadBundle(f"{path} is no bundle: {error}") from None
        try:
            self.entries = _checked(self._zip.infolist(), most)
        except BaseException:
            self._zip.close()
            raise

    def __enter__(self) -> Bundle:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def read(self, name: str, most: int = 64 << 20) -> bytes:
        """Return what a file holds.

        Raises:
            BadBundle: it is not there, damaged, or larger than that.
        """
        entry = self.entries.get(name)
        if entry is None:
            raise BadBundle(f"the bundle has no {name}")
        if entry.size > most:
            raise BadBundle(f"{name} has {humanize.size(entry.size)}; at most {humanize.size(most)} make sense")
        return b"".join(self.chunks(name))

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield what a file holds; see ``read``."""
        try:
            with self._zip.open(name) as file:
                while chunk := file.read(_CHUNK):
                    yield chunk
        except _DAMAGE as error:
            raise BadBundle(f"{name} is damaged: {error}") from None

    def below(self, folder: str) -> list[Entry]:
        """Return the files below a folder."""
        return [entry for name, entry in self.entries.items() if name.startswith(f"{folder}/")]

    def check_manifest(self) -> int:
        """Hash every file, and return how many there are.

        Raises:
            BadBundle: one is another than the manifest says, is missing, or is not in it.
        """
        listed = _manifest(self.read(MANIFEST))
        there = {name for name in self.entries if name != MANIFEST}
        missing, unlisted = sorted(listed.keys() - there), sorted(there - listed.keys())
        if missing or unlisted:
            name = (missing or unlisted)[0]
            raise BadBundle(f"{name} is {'missing' if missing else 'not in the manifest'}")
        for name in sorted(there):
            digest = hashlib.sha256()
            for chunk in self.chunks(name):
                digest.update(chunk)
            if digest.hexdigest() != listed[name]:
                raise BadBundle(f"{name} is not what the manifest says")
        return len(there)


def _manifest(data: bytes) -> dict[str, str]:
    listed: dict[str, str] = {}
    for line in data.decode("utf-8", "replace").split("\n")[:-1]:
        digest, separator, name = line.partition("  ")
        if not separator or len(digest) != 64 or name in listed:
            raise BadBundle(f"{MANIFEST} makes no sense")
        listed[name] = digest
    return listed


def _checked(infos: list[zipfile.ZipInfo], most: int) -> dict[str, Entry]:
    """Return the entries of a bundle by name.

    Raises:
        BadBundle: a name leads out of it or is there twice, or it would fill the disk.
    """
    if len(infos) > _MOST_FILES:
        raise BadBundle(f"the bundle has {len(infos):,} files; at most {_MOST_FILES:,} are taken")
    total = sum(info.file_size for info in infos)
    if total > most:
        raise BadBundle(
            f"the bundle has {humanize.size(total)} unpacked; at most {humanize.size(most)} are taken", "--limit"
        )
    if total > _LEAST_BOMB and total > _MOST_RATIO * max(1, sum(info.compress_size for info in infos)):
        raise BadBundle(f"the bundle is packed more than {_MOST_RATIO} times: it is not unpacked")
    entries: dict[str, Entry] = {}
    folded: dict[str, str] = {}
    for info in infos:
        name = info.filename
        _check_name(name)
        if info.flag_bits & 1:
            raise BadBundle(f"{name} is encrypted")
        mode = info.external_attr >> 16
        kind = stat.S_IFMT(mode)
        if info.is_dir():
            continue
        if kind not in (0, stat.S_IFREG, stat.S_IFLNK):
            raise BadBundle(f"{name} is neither a file nor a link")
        # Names that are one on some file systems: which one would stand is chance.
        same = "/".join(unicodedata.normalize("NFC", part).casefold() for part in name.split("/"))
        if name in entries:
            raise BadBundle(f"{name} is in it twice")
        if same in folded and not name.startswith("code/"):
            raise BadBundle(f"{name} and {folded[same]} differ only in case")
        folded[same] = name
        entries[name] = Entry(name, info.file_size, kind == stat.S_IFLNK, bool(mode & 0o111))
    _check_folders(entries)
    return entries


def _check_folders(entries: dict[str, Entry]) -> None:
    """Refuse a file or link in the place of a folder: what lies below would be written through it."""
    for name in entries:
        parts = name.split("/")
        for length in range(1, len(parts)):
            if "/".join(parts[:length]) in entries:
                raise BadBundle(f"{name} lies below what is no folder")


def _check_name(name: str) -> None:
    parts = name.rstrip("/").split("/")
    bad = name.startswith("/") or len(name) > _LONGEST_NAME or ("\\" in name and not name.startswith("code/"))
    if bad or any(part in ("", ".", "..") for part in parts) or any(ord(c) < 32 or ord(c) == 127 for c in name):
        raise BadBundle(f"the name {name!r} is none that is taken")
