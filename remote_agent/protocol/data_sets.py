"""Data sets as they cross between client and host: a manifest of files, by their hashes. Pure."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from typing import List, NamedTuple, Sequence

from remote_agent.protocol.checks import flag, listing, record, row, text, whole
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.facts import HASH
from remote_agent.protocol.jobs import ENV_NAME

MOST_FILES = 1_000_000
MOST_MANIFEST_BYTES = 512 << 20
LONGEST_NAME = 200
_FILES = listing(row(text(4096, as_bytes=True), whole(), text(64, HASH, "a SHA-256 digest"), flag), MOST_FILES)
_CHECK = record({"file": flag, "files": _FILES}, ["file", "files"])


class ManifestFile(NamedTuple):
    """One file of a data set."""

    path: str
    """Below its top."""
    size: int
    """Bytes."""
    sha256: str
    is_program: bool


class Manifest(NamedTuple):
    """What a data set consists of."""

    files: List[ManifestFile]
    is_file: bool
    """Whether it is one file by itself, and no folder."""

    @property
    def distinct(self) -> List[ManifestFile]:
        """Return one file of each content, in a fixed order."""
        return list({file.sha256: file for file in sorted(self.files, reverse=True)}.values())[::-1]


def manifest_text(manifest: Manifest) -> bytes:
    """Return a manifest as it is kept and hashed: canonical."""
    told = {"file": manifest.is_file, "files": [list(file) for file in sorted(manifest.files)]}
    return json.dumps(told, sort_keys=True, separators=(",", ":")).encode()


def manifest_hash(data: bytes) -> str:
    """Return the name of a data set."""
    return hashlib.sha256(data).hexdigest()


def manifest_of(data: bytes, digest: str = "") -> Manifest:
    """Return the manifest that came from outside.

    Args:
        data: its text.
        digest: what it must hash to; "" for anything.
    Raises:
        BadRequest: it makes no sense, or a name leads out of the data set.
    """
    if digest and manifest_hash(data) != digest:
        raise BadRequest("a manifest is not what its hash says")
    try:
        told = _CHECK(json.loads(data), "a manifest")
    except (ValueError, RecursionError):
        raise BadRequest("a manifest makes no sense") from None
    files = [ManifestFile(*value) for value in told["files"]]
    paths = {file.path for file in files}
    if not files or len(paths) != len(files):
        raise BadRequest("a manifest has no files, or one twice")
    for file in files:
        parts = file.path.split("/")
        if any(part in ("", ".", "..") for part in parts) or "\0" in file.path:
            raise BadRequest(f"{file.path!r} is no path of a data set")
        if any("/".join(parts[:length]) in paths for length in range(1, len(parts))):
            raise BadRequest(f"{file.path!r} lies below a file")
    if told["file"] and (len(files) != 1 or "/" in files[0].path):
        raise BadRequest("a manifest of one file has others")
    return Manifest(files, told["file"])


def marks(wanted: Sequence[bool]) -> str:
    """Return flags as text: a million of them are short."""
    data = bytearray(len(wanted) // 8 + 1)
    for place, is_wanted in enumerate(wanted):
        if is_wanted:
            data[place // 8] |= 1 << place % 8
    return base64.b64encode(zlib.compress(bytes(data))).decode()


def marked(text: str, count: int) -> List[bool]:
    """Return the flags of a text.

    Raises:
        BadRequest: it makes no sense.
    """
    try:
        data = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), count // 8 + 1)
    except (ValueError, zlib.error):
        raise BadRequest("flags that make no sense") from None
    if len(data) != count // 8 + 1:
        raise BadRequest("flags that make no sense")
    return [bool(data[place // 8] >> place % 8 & 1) for place in range(count)]


def is_name(name: str) -> bool:
    """Return whether a data set can be called so."""
    return bool(ENV_NAME.match(name)) and len(name) <= LONGEST_NAME
