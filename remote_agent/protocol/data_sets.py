"""Data sets as they cross between client and host: a manifest of files, by their hashes. Pure."""

from __future__ import annotations

import hashlib
import json
from typing import List, NamedTuple

from remote_agent.protocol.checks import flag, listing, row, text, whole
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.facts import HASH

MOST_FILES = 1_000_000
MOST_MANIFEST_BYTES = 512 << 20
_CHECK = listing(row(text(4096, as_bytes=True), whole(), text(64, HASH, "a SHA-256 digest"), flag), MOST_FILES)


class ManifestFile(NamedTuple):
    """One file of a data set."""

    path: str
    """Below its top."""
    size: int
    """Bytes."""
    sha256: str
    is_program: bool


Manifest = List[ManifestFile]


def manifest_text(manifest: Manifest) -> bytes:
    """Return a manifest as it is kept and hashed: canonical."""
    return json.dumps([list(file) for file in sorted(manifest)], separators=(",", ":")).encode()


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
        values = _CHECK(json.loads(data), "a manifest")
    except (ValueError, RecursionError):
        raise BadRequest("a manifest makes no sense") from None
    manifest = [ManifestFile(*value) for value in values]
    paths = {file.path for file in manifest}
    if not manifest or len(paths) != len(manifest):
        raise BadRequest("a manifest has no files, or one twice")
    for file in manifest:
        parts = file.path.split("/")
        if any(part in ("", ".", "..") for part in parts) or "\0" in file.path:
            raise BadRequest(f"{file.path!r} is no path of a data set")
        if any("/".join(parts[:length]) in paths for length in range(1, len(parts))):
            raise BadRequest(f"{file.path!r} lies below a file")
    return manifest
