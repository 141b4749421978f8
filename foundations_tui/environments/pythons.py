"""Which Python of a host an environment is built on."""

from __future__ import annotations

import re
from pathlib import Path

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from foundations_tui.errors import HostRefused, UsageError
from remote_agent.protocol.roles import HostPython, HostTools

_BARE = re.compile(r"\d+(\.\d+)*\Z")
_OLDEST = Version("3.8")
_MOST_NAMED = 12
_ARCHIVE = re.compile(r"cpython-(\d+\.\d+\.\d+)\+\d+-(x86_64(?:_v\d)?|aarch64)-unknown-linux-(gnu|musl)-.*\.tar\.gz\Z")


def specifier(wanted: str, where: str) -> SpecifierSet:
    """Return what a wish for a Python means: "3.12" is any 3.12, ">=3.10" what it says.

    Raises:
        UsageError: it means nothing.
    """
    text = wanted.strip().removeprefix("python").removeprefix("cpython@")
    if _BARE.match(text):
        text = f"=={text}" if text.count(".") >= 2 else f"=={text}.*"
    try:
        return SpecifierSet(text, prereleases=True)
    except InvalidSpecifier:
        raise UsageError(f"{where}: {wanted!r} names no Python", "3.12, or >=3.10,<3.13") from None


def chosen(
    host: str, tools: HostTools, required: SpecifierSet, asked: SpecifierSet, preferred: SpecifierSet
) -> HostPython:
    """Return the Python of a host that an environment is built on.

    That is the one that is preferred, else the one that a shell means there, else the newest.

    Args:
        host: its name.
        tools: what it has.
        required: by the project.
        asked: by the user.
        preferred: by the project; another one does, too.
    Raises:
        HostRefused: none fits; what is there and what is wanted.
    """
    usable = [python for python in tools.pythons if python.is_base and _version(python) >= _OLDEST]
    fitting = [python for python in usable if _fits(_version(python), required, asked)]
    of_c = [python for python in fitting if python.implementation == "cpython"] or fitting
    if not of_c:
        wanted = " and ".join(str(part) for part in (required, asked) if str(part))
        there = ", ".join(f"{python.version} ({python.path})" for python in usable[:_MOST_NAMED]) or "none"
        raise HostRefused(
            f"{host}: no Python there is {wanted or f'at least {_OLDEST}'}; it has {there}",
            "install one there (uv python install, pyenv, conda), or ask for another one: --python, [runtime] python",
        )
    liked = [python for python in of_c if _fits(_version(python), preferred)] or of_c
    first = tools.pythons[0]
    return first if first in liked else max(liked, key=_version)


def of_archive(file: str, tools: HostTools, required: SpecifierSet, asked: SpecifierSet) -> HostPython | None:
    """Return the Python in an archive of python-build-standalone, which says in its name what it is; None when it does
    not fit a host or a wish.

    Args:
        file: its path.
        tools: what the host is.
        required: by the project.
        asked: by the user.
    Raises:
        UsageError: there is no such file, or its name is none of theirs.
    """
    name = Path(file).name
    match = _ARCHIVE.match(name)
    if match is None or not Path(file).is_file():
        raise UsageError(
            f"[runtime] python_archive: {file} is no file like cpython-3.12.7+20241016-x86_64-unknown-linux-gnu-"
            "install_only.tar.gz",
            "https://github.com/astral-sh/python-build-standalone/releases",
        )
    version, machine, libc = match.groups()
    fits = _fits(Version(version), required, asked)
    is_of_host = machine.startswith(tools.machine) and (libc == "musl") == tools.libc.startswith("musl")
    return HostPython("", version) if fits and is_of_host else None


def _fits(version: Version, *wishes: SpecifierSet) -> bool:
    """Return whether a version is what all wishes allow; what a host has counts, also when it is no final release."""
    return all(wish.contains(version, prereleases=True) for wish in wishes)


def _version(python: HostPython) -> Version:
    try:
        return Version(python.version)
    except InvalidVersion:
        return Version("0")
