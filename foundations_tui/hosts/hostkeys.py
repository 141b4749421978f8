"""Host keys: what known_hosts says of a host, and what is done with a key that it does not know.

Format: sshd(8), SSH_KNOWN_HOSTS FILE FORMAT. A line that cannot be read is passed over, the others count.
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
import hashlib
import hmac
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class KnownKey:
    """One key that known_hosts gives for a host."""

    kind: str
    blob: bytes
    revoked: bool
    where: str
    """"file:line"."""


def fingerprint(blob: bytes) -> str:
    """Return a key's fingerprint as OpenSSH prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def known_keys(name: str, paths: list[Path]) -> Iterator[KnownKey]:
    """Yield the keys that these files give for a host.

    Args:
        name: "host", or "[host]:port" where the port is not 22.
        paths: known_hosts files; those that are not there are passed over.
    """
    for path in paths:
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        for number, line in enumerate(lines, 1):
            key = _parse(line, name, f"{path}:{number}")
            if key is not None:
                yield key


def remember(name: str, kind: str, blob: bytes, path: Path) -> None:
    """Add a key to a known_hosts file."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    with open(fd, "ab+") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        newline = b"\n" if size and file.read(1) != b"\n" else b""
        file.write(newline + f"{name} {kind} {base64.b64encode(blob).decode()}\n".encode())


def _parse(line: str, name: str, where: str) -> KnownKey | None:
    words = line.split()
    marker = words.pop(0) if words and words[0].startswith("@") else ""
    if len(words) < 3 or line.lstrip().startswith("#") or marker not in ("", "@revoked"):
        return None
    if not _matches(words[0], name):
        return None
    try:
        return KnownKey(words[1], base64.b64decode(words[2], validate=True), marker == "@revoked", where)
    except (binascii.Error, ValueError):
        return None


def _matches(patterns: str, name: str) -> bool:
    if patterns.startswith("|1|"):
        return _matches_hashed(patterns, name)
    is_match = False
    for pattern in patterns.split(","):
        negated = pattern.startswith("!")
        # Brackets are literal in known_hosts; fnmatch would read them as a class.
        literal = pattern.lstrip("!").lower().replace("[", "[[]")
        if fnmatch.fnmatchcase(name.lower(), literal):
            if negated:
                return False
            is_match = True
    return is_match


def _matches_hashed(pattern: str, name: str) -> bool:
    try:
        _, _, salt, digest = pattern.split("|")
        hashed = hmac.new(base64.b64decode(salt), name.encode(), hashlib.sha1).digest()
        return hmac.compare_digest(hashed, base64.b64decode(digest))
    except (ValueError, binascii.Error):
        return False
