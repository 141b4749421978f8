"""The agent as it is shipped: one zipapp of remote_agent, the SDK and the model server, built from our own tree."""

from __future__ import annotations

import functools
import hashlib
import io
import zipfile
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable

_PACKAGES = ("remote_agent", "foundations", "foundations_serve")
_MAIN = b"import sys\nfrom remote_agent.__main__ import main\nsys.exit(main(sys.argv[1:]))\n"
_NO_TIME = (1980, 1, 1, 0, 0, 0)


@functools.cache
def sources() -> tuple[tuple[str, bytes], ...]:
    """Return (name, content) of each file of the agent, sorted."""
    files = [("__main__.py", _MAIN)]
    for package in _PACKAGES:
        files += _python_files(resources.files(package), package)
    return tuple(sorted(files))


@functools.cache
def content_hash() -> str:
    """Return the agent's version: a hash over its sources, the same wherever it is built."""
    digest = hashlib.sha256()
    for name, content in sources():
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:32]


def build() -> bytes:
    """Return the zipapp."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sources():
            archive.writestr(zipfile.ZipInfo(name, _NO_TIME), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def bootstrap() -> str:
    """Return the program that takes the agent in."""
    return dict(sources())["remote_agent/bootstrap.py"].decode()


def _python_files(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        name = f"{prefix}/{entry.name}"
        if entry.is_dir() and entry.name != "__pycache__":
            yield from _python_files(entry, name)
        elif entry.name.endswith(".py"):
            yield name, entry.read_bytes()
