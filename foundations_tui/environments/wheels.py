"""The wheels of a lock, fetched here by their hashes and sent to a host that reaches no index."""

from __future__ import annotations

import contextlib
import re
import tempfile
from pathlib import Path

from packaging.markers import Marker

from foundations_tui.config import locations
from foundations_tui.environments import indexes, programs
from foundations_tui.environments.locking import Lock, Target
from foundations_tui.errors import FoundationsError
from remote_agent.environments import pip_settings
from remote_agent.protocol.recipes import REQUIREMENTS

_SECONDS = 3600
_OLDEST_GLIBC = 5
_PINNED = re.compile(r"(?m)^[A-Za-z0-9][^\s;=]*==")
_MISSING = re.compile(r"No matching distribution found for ([^\s(]+)")


class NoWheels(FoundationsError):
    """Not every package of a lock could be fetched as a wheel."""


def fetched(lock: Lock, target: Target) -> dict[str, Path]:
    """Return the wheels of a lock for a host, by their names; they are kept, and fetched once.

    Raises:
        NoWheels: a package has none for the host, or the index gives no answer.
    """
    if lock.format != REQUIREMENTS:
        raise NoWheels("--ship-wheels works with requirements and uv.lock, not with pylock.toml")
    folder = locations.data_folder() / "wheels" / f"{lock.digest}-{target.machine}-{target.libc}-{target.python}"
    if not folder.is_dir():
        _fetch(lock, target, folder)
    return {path.name: path for path in sorted(folder.glob("*.whl"))}


def _fetch(lock: Lock, target: Target, folder: Path) -> None:
    if not programs.has_pip():
        raise NoWheels("this Python has no pip to fetch wheels with", "python -m ensurepip")
    folder.parent.mkdir(exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        top = Path(scratch)
        (top / "lock.txt").write_text(_for_target(lock.text, target), encoding="utf-8")
        (top / "wheels").mkdir()
        if _PINNED.search(lock.text):
            _download(lock, target, top)
        with contextlib.suppress(OSError):  # another submit was faster
            (top / "wheels").rename(folder)


def _for_target(text: str, target: Target) -> str:
    """Return the requirements of a lock that apply to a host: pip would judge them by this machine."""
    minor = ".".join(target.python.split(".")[:2])
    there = {
        "python_version": minor,
        "python_full_version": target.python,
        "implementation_version": target.python,
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "os_name": "posix",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": target.machine,
    }
    kept: list[str] = []
    is_kept = True
    for line in text.splitlines():
        if line and not line[0].isspace():
            requirement, separator, marker = line.partition(" ;")
            marker = marker.strip().removesuffix("\\").strip()
            is_kept = not separator or Marker(marker).evaluate(there)
            line = f"{requirement} \\" if separator and line.rstrip().endswith("\\") else requirement
        if is_kept:
            kept.append(line)
    return "".join(f"{line}\n" for line in kept)


def _download(lock: Lock, target: Target, top: Path) -> None:
    words = [word for platform in _platforms(target) for word in ("--platform", platform)]
    words += ["--python-version", target.python, "--implementation", "cp", "-r", str(top / "lock.txt")]
    words += [word for index in lock.indexes for word in ("--extra-index-url", index)]
    env = pip_settings.pip_variables(indexes.variables_here())  # a user may have told only uv
    try:
        programs.download_wheels(words, top / "wheels", _SECONDS, env)
    except programs.ProgramFailed as error:
        missing = _MISSING.search(error.output)
        if missing is not None:
            raise NoWheels(
                f"{missing.group(1)} has no wheel for {target.machine}, {target.libc}, Python {target.python}:"
                " what has to be built cannot be sent",
                "take a version that has one, or build without --ship-wheels on a host that reaches the index",
            ) from None
        raise NoWheels(f"the wheels could not be fetched: {error}") from None


def _platforms(target: Target) -> list[str]:
    """Return the tags of wheels that run on a host, the newest first: PEP 600, PEP 656."""
    if target.libc.startswith("musl"):
        return [f"musllinux_1_{minor}_{target.machine}" for minor in (2, 1)]
    match = re.fullmatch(r"glibc-2\.(\d+)(?:\.\d+)?", target.libc)
    newest = int(match.group(1)) if match else 17
    tags = [f"manylinux_2_{minor}_{target.machine}" for minor in range(newest, _OLDEST_GLIBC - 1, -1)]
    return [*tags, *(f"{old}_{target.machine}" for old in ("manylinux2014", "manylinux2010", "manylinux1"))]
