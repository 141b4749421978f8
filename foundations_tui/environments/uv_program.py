"""uv: the one that locks here, and the one that is sent to hosts which have none."""

from __future__ import annotations

import functools
import os
import re
import shutil
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

from foundations_tui.config import locations
from foundations_tui.environments import programs
from foundations_tui.errors import FoundationsError

LEAST = (0, 7, 0)
"""The oldest uv that works here, except for pylock.toml."""
LEAST_FOR_PYLOCK = (0, 8, 5)
_PLATFORMS = {
    "x86_64": ("musllinux_1_1_x86_64", "musllinux_1_2_x86_64"),
    "aarch64": ("musllinux_1_1_aarch64", "musllinux_1_2_aarch64", "manylinux_2_28_aarch64"),
}
"""Tags of the wheels whose uv needs no C library of the host's, by machine."""
_SECONDS = 300
_VERSION_SECONDS = 10


class NoUv(FoundationsError):
    """There is no uv, and none could be fetched."""


def is_new_enough(version: str, least: tuple[int, ...] = LEAST) -> bool:
    """Return whether a uv of this version does."""
    return tuple(int(part) for part in [*re.findall(r"\d+", version), "0", "0"][:3]) >= least


@functools.cache
def here() -> str:
    """Return the uv that runs on this machine: on PATH, beside this Python, else fetched from the user's index.

    Raises:
        NoUv: there is none, and why none could be fetched.
    """
    beside = Path(sysconfig.get_path("scripts")) / "uv"
    for path in (shutil.which("uv"), str(beside) if beside.exists() else None):
        if path and is_new_enough(_version(path)):
            return path
    machine = os.uname().machine
    if sys.platform != "linux" or machine not in _PLATFORMS:
        raise NoUv("uv is not installed here", "install it: https://docs.astral.sh/uv/, or pip install uv")
    return str(for_machine(machine))


def for_machine(machine: str) -> Path:
    """Return a uv for a Linux machine, fetched once from the index that pip uses here.

    Args:
        machine: as uname(2) says: "x86_64".
    Raises:
        NoUv: why not.
    """
    least = ".".join(map(str, LEAST_FOR_PYLOCK))
    target = locations.data_folder() / "tools" / f"uv-{least}-{machine}"
    if target.exists():
        return target
    if machine not in _PLATFORMS:
        raise NoUv(f"there is no uv for {machine} that runs on any Linux", "install uv on the host")
    target.parent.mkdir(exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        wheel = _fetched(Path(folder), machine, least)
        temporary = Path(folder) / "uv"
        with zipfile.ZipFile(wheel) as archive:
            name = next((name for name in archive.namelist() if re.fullmatch(r"uv-[^/]+\.data/scripts/uv", name)), "")
            if not name:
                raise NoUv(f"{wheel.name} has no uv in it")
            with archive.open(name) as source, temporary.open("wb") as out:
                shutil.copyfileobj(source, out)
        temporary.chmod(0o700)
        temporary.rename(target)
    return target


def _fetched(folder: Path, machine: str, least: str) -> Path:
    """Return uv's wheel for a machine, brought by pip."""
    if not programs.has_pip():
        raise NoUv("this Python has no pip to fetch uv with", "install uv on this machine and on the host")
    platforms = [word for platform in _PLATFORMS[machine] for word in ("--platform", platform)]
    try:
        programs.download_wheels([*platforms, f"uv>={least}"], folder, _SECONDS)
    except programs.ProgramFailed as error:
        raise NoUv(f"uv could not be fetched: {error}") from None
    found = sorted(folder.glob("uv-*.whl"))
    if not found:
        raise NoUv("uv could not be fetched: pip found no uv")
    return found[0]


def _version(path: str) -> str:
    try:
        return programs.output_of([path, "--version"], _VERSION_SECONDS).partition(" ")[2]
    except programs.ProgramFailed:
        return "0"
