"""Locks: made here of what a project wants, for a host's platform and Python, wheels only; kept, so that nothing is
resolved twice.

uv does it, in a folder of its own that has copies of the files which count: nothing is written into a working tree.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import re
import sys
import tempfile
import tomllib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from foundations_tui.config import locations
from foundations_tui.environments import indexes, programs, uv_program
from foundations_tui.environments.sources import Source
from foundations_tui.errors import FoundationsError, UsageError
from remote_agent.environments import pip_settings
from remote_agent.protocol.recipes import PYLOCK, REQUIREMENTS
from remote_agent.protocol.urls import without_credentials

_SECONDS = 900
_PYPI = "//pypi.org/"
_MANYLINUX = (17, 28, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40)
"""Versions of glibc that uv knows as ``x86_64-manylinux_2_N``."""
_MACHINES = ("x86_64", "aarch64")
_LOCAL_LINE = re.compile(r"\s*(-e\s|\.{1,2}(/|\s|$)|file:|\S+ @ file:)")
_CREDENTIALS = re.compile(r"://[^/\s@]*:[^/\s@]*@")
_INDEX_LINE = re.compile(r"(?:-i|--index-url|--extra-index-url|--find-links)[\s=]+(\S+)\s*\Z")
_REASON = re.compile(r"\s*(error: |× )")
_NO_WHEEL = re.compile(r"usable wheels|Wheels are required|has no wheels|building from source is disabled")
_BOXES = re.compile("[─-╿▶×]+ *")


_LOCK_FILE, _EXTENDED_FILE = "lock.txt", "more.txt"


class CannotLock(FoundationsError):
    """What a project wants cannot be locked here."""


class NoSolution(UsageError):
    """What a project wants cannot be had together, whoever tries."""


@dataclass(frozen=True)
class Lock:
    """What an environment is built from, to the last version."""

    text: str
    format: str
    """One of ``recipes``' formats."""
    indexes: tuple[str, ...] = ()
    """Indexes that its packages come from, beside the user's."""

    @property
    def digest(self) -> str:
        """Return its SHA-256."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True)
class Target:
    """What a lock is for."""

    python: str
    """"3.11.7"."""
    machine: str
    libc: str
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    torch_backend: str = ""
    """Which of PyTorch's own indexes uv takes its builds from: "cu126"; "" for none."""

    @property
    def platform(self) -> str:
        """Return the name by which uv knows it; "" when it knows none."""
        if self.machine not in _MACHINES:
            return ""
        if self.libc.startswith("musl"):
            return f"{self.machine}-unknown-linux-musl"
        match = re.fullmatch(r"glibc-2\.(\d+)(?:\.\d+)?", self.libc)
        known = [version for version in _MANYLINUX if match and version <= int(match.group(1))]
        return f"{self.machine}-manylinux_2_{known[-1]}" if known else ""


def locked(source: Source, target: Target, anew: bool = False) -> Lock:
    """Return the lock of a source: what the project has locked itself, else one that is made here, once.

    Args:
        source: what the project wants.
        target: for what host.
        anew: resolve what was resolved before.
    Raises:
        CannotLock: there is no uv, no index, or something has no wheel: the host may do it.
        NoSolution: it cannot be had together.
    """
    if source.how == "pylock.toml":
        return Lock(source.files[source.file].decode("utf-8", "replace"), PYLOCK)
    if not any(content.strip() for content in source.files.values()):
        return Lock("", REQUIREMENTS)
    known = {without_credentials(place) for place in pip_settings.places(indexes.variables_here())}
    kept = locations.data_folder() / "locks" / _key(source, target)
    if not anew and kept.exists():
        return _of_text(kept.read_text(encoding="utf-8"), source, known)
    text = _exported(source, target) if source.how in ("uv.lock", "script.lock") else _compiled(source, target)
    text = "".join(f"{line}\n" for line in text.splitlines() if not _names_one_of(line, known))
    if _CREDENTIALS.search(text):
        raise UsageError(
            f"{source.words}: a URL with credentials would be written into the lock of the job",
            "leave them out of the file: git's credential store or a netrc file has them on the host",
        )
    kept.parent.mkdir(exist_ok=True, mode=0o700)
    temporary = kept.with_name(f"{kept.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(kept)
    return _of_text(text, source, known)


def extended(lock: Lock, packages: Sequence[str], target: Target) -> Lock:
    """Return a lock with further packages: what it has stays as it is, to the last version.

    Raises:
        CannotLock: there is no uv, or no index. NoSolution: they do not go with it.
    """
    if lock.format == PYLOCK and {_name(one) for one in packages} <= _names_in_pylock(lock.text):
        return lock
    if lock.format != REQUIREMENTS:
        raise CannotLock(
            f"a lock of format {lock.format} cannot be extended", f"have it hold {', '.join(packages)} itself"
        )
    indexes_of_it = [f"--extra-index-url {url}" for url in lock.indexes]
    lines = [*indexes_of_it, f"-r {_LOCK_FILE}", *packages]
    wanted = "".join(f"{line}\n" for line in lines)
    files = {_EXTENDED_FILE: wanted.encode(), _LOCK_FILE: lock.text.encode()}
    try:
        made = locked(Source("requirements", _EXTENDED_FILE, files), target)
    except NoSolution as error:
        raise NoSolution(f"{', '.join(packages)} do not go with the lock of the job: {error}", error.hint) from None
    return replace(made, indexes=tuple(dict.fromkeys([*lock.indexes, *made.indexes])))


def _name(requirement: str) -> str:
    return canonicalize_name(Requirement(requirement).name)


def _names_in_pylock(text: str) -> set[str]:
    """Return the names of the packages in a pylock.toml (PEP 751)."""
    try:
        packages = tomllib.loads(text).get("packages", [])
        return {canonicalize_name(str(one["name"])) for one in packages}
    except (tomllib.TOMLDecodeError, TypeError, KeyError, AttributeError):
        return set()


def _names_one_of(line: str, known: Collection[str]) -> bool:
    """Return whether a line names an index of this machine's settings: a host is told of those apart."""
    match = _INDEX_LINE.match(line)
    return match is not None and without_credentials(match.group(1)) in known


def _of_text(text: str, source: Source, known: Collection[str]) -> Lock:
    """Return a lock without the lines that name indexes, and those that this machine's settings do not name."""
    lines = text.splitlines()
    named = [match.group(1) for match in map(_INDEX_LINE.match, lines) if match]
    kept = "".join(f"{line}\n" for line in lines if not _INDEX_LINE.match(line))
    more = [url for url in (*named, *_registries(source)) if without_credentials(url) not in known and _PYPI not in url]
    return Lock(kept, REQUIREMENTS, tuple(dict.fromkeys(more)))


def _registries(source: Source) -> tuple[str, ...]:
    """Return the indexes that a uv.lock names beside PyPI."""
    if source.how != "uv.lock":
        return ()
    table = tomllib.loads(source.files[source.file].decode("utf-8", "replace"))
    packages = table.get("package", [])
    found = {
        str(package["source"]["registry"])
        for package in packages
        if isinstance(package, dict) and isinstance(package.get("source"), dict) and "registry" in package["source"]
    }
    return tuple(sorted(url for url in found if "://" in url))


def _key(source: Source, target: Target) -> str:
    """Return a name for all that decides what a lock will be."""
    here = indexes.variables_here()
    decides = [
        source.how,
        source.file,
        {path: hashlib.sha256(content).hexdigest() for path, content in source.files.items()},
        [target.python, target.machine, target.libc, target.extras, target.groups, target.torch_backend],
        {name: here[name] for name in sorted(here) if name.startswith("UV_")},
    ]
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def _exported(source: Source, target: Target) -> str:
    """Return the requirements, with hashes, of a lock of uv's."""
    words = ["export", "--frozen", "--quiet", "--no-header", "--no-annotate", "--format", "requirements-txt"]
    words += [word for extra in target.extras for word in ("--extra", extra)]
    words += [word for group in target.groups for word in ("--group", group)]
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder), source)
        if source.how == "script.lock":
            words += ["--script", posixpath.basename(source.file).removesuffix(".lock")]
        else:
            words += ["--no-emit-workspace"]
        text = _uv(words, Path(folder) / posixpath.dirname(source.file), source)
    return _without_own(text)


def _compiled(source: Source, target: Target) -> str:
    if not target.platform:
        raise CannotLock(f"uv knows no platform {target.machine} {target.libc}")
    words = ["pip", "compile", "--quiet", "--generate-hashes", "--no-header", "--no-annotate"]
    words += ["--emit-index-url", "--emit-find-links"]
    words += ["--only-binary", ":all:", "--python-version", target.python, "--python-platform", target.platform]
    words += ["--python", sys.executable]
    words += ["--torch-backend", target.torch_backend] if target.torch_backend else []
    words += [word for extra in target.extras for word in ("--extra", extra)]
    words += [word for group in target.groups for word in ("--group", group)]
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        _write(top, source)
        projects = [path for path in source.files if posixpath.basename(path) == "pyproject.toml"]
        inputs = projects if source.how in ("script", "project") else [source.file, *projects]
        start = posixpath.dirname(inputs[0])
        relative = [posixpath.relpath(path, start or ".") for path in inputs]
        return _without_own(_uv([*words, "--", *relative], top / start, source))


def _write(top: Path, source: Source) -> None:
    for path, content in source.files.items():
        place = top / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)


def _without_own(text: str) -> str:
    """Return a lock without the project's own packages: those come with the code."""
    lines = text.splitlines()
    kept: list[str] = []
    is_left_out = False
    for line in lines:
        if not line.startswith((" ", "\t")):
            is_left_out = bool(_LOCAL_LINE.match(line))
        if not is_left_out:
            kept.append(line)
    return "".join(f"{line}\n" for line in kept)


def _uv(words: list[str], folder: Path, source: Source) -> str:
    """Return what uv prints.

    Raises:
        CannotLock: it has no answer from the index, or needs what is not here. NoSolution: it says that there is none.
    """
    try:
        uv = uv_program.here()
    except uv_program.NoUv as error:
        raise CannotLock(str(error), error.hint) from None
    env = {**os.environ, **indexes.variables_here(), "UV_PYTHON_DOWNLOADS": "never"}
    env.update(UV_SYSTEM_CERTS="1", UV_NATIVE_TLS="1")  # the second is its name before 0.9
    env = {name: value for name, value in env.items() if name not in ("VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT")}
    try:
        return programs.output_of([uv, *words], _SECONDS, env, folder)
    except programs.ProgramFailed as error:
        if not error.output:
            raise CannotLock(f"uv: {error}") from None
        reason = _reason(error.output)
        if "No solution found" in error.output and not _NO_WHEEL.search(reason):
            raise NoSolution(f"{source.words}: {reason}", "--runtime none runs with the host's Python") from None
        raise CannotLock(f"{source.words}: {reason}") from None


def _reason(output: str) -> str:
    """Return why uv ended, in its own words."""
    lines = output.splitlines()
    at = next((number for number, line in enumerate(lines) if _REASON.match(line)), 0)
    return " ".join(filter(None, (_BOXES.sub("", line).strip() for line in lines[at : at + 12])))[:1000]
