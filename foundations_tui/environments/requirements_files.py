"""Files of requirements as pip reads them: what they include, which folders of the project they install. Pure.

https://pip.pypa.io/en/stable/reference/requirements-file-format/.
"""

from __future__ import annotations

import codecs
import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from foundations_tui.errors import UsageError

_MOST_FILES = 50
_LONG = re.compile(r"\s*(--[a-z-]+)(?:\s*=\s*|\s+)(.*)")
_SHORT = re.compile(r"\s*-([rceif])\s*(.*)")
_NAMES = {"r": "--requirement", "c": "--constraint", "e": "--editable", "i": "--index-url", "f": "--find-links"}
_FOLDER = re.compile(r"\s*(\.{1,2}(?:/[^\s;#\[]*)?)(\[[^\]]*\])?\s*(?:[;#].*)?\Z")
_FILE = re.compile(r"(?:\.whl|\.tar\.gz|\.tgz|\.zip)(?:\[[^\]]*\])?\Z")
_COMMENT = re.compile(r"(?:\A|\s)#.*\Z")
_EXTRAS = re.compile(r"\[([^\]]*)\]\s*\Z")


@dataclass
class Gathered:
    """What a file of requirements comes to, with all that it includes."""

    files: dict[str, bytes] = field(default_factory=dict)
    """Contents by path, without the lines that install folders of the project."""
    constraints: set[str] = field(default_factory=set)
    """Those of the files that only bound versions."""
    folders: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Folders of the project that are installed, with their extras."""
    indexes: list[str] = field(default_factory=list)
    """URLs of indexes and of pages with links."""


def gather(path: str, read: Callable[[str], bytes | None]) -> Gathered:
    """Return what a file of requirements comes to.

    Args:
        path: its path below the snapshot's root.
        read: returns what a file holds; None for none.
    Raises:
        UsageError: it names what is not shipped, or what no host could have.
    """
    gathered = Gathered()
    _take(path, read, gathered, False)
    return gathered


def _take(path: str, read: Callable[[str], bytes | None], gathered: Gathered, bounds: bool) -> None:
    if path in gathered.files:
        return
    if len(gathered.files) >= _MOST_FILES:
        raise UsageError(f"{path}: more than {_MOST_FILES} files of requirements")
    content = read(path)
    if content is None:
        raise UsageError(f"{path} is not among the files that are shipped")
    gathered.files[path] = b""
    if bounds:
        gathered.constraints.add(path)
    kept = []
    for line in lines_of(content):
        if _takes_line(path, line, read, gathered, bounds):
            kept.append(line)
    gathered.files[path] = "".join(f"{line}\n" for line in kept).encode()


def _takes_line(path: str, line: str, read: Callable[[str], bytes | None], gathered: Gathered, bounds: bool) -> bool:
    """Take a line in, and say whether it stays."""
    name, value = option_of(line)
    if name in ("--requirement", "--constraint") and "://" not in value:
        _take(_below(path, value), read, gathered, bounds or name == "--constraint")
        return True
    if name in ("--index-url", "--extra-index-url", "--find-links"):
        if "://" not in value or value.startswith("file:"):
            raise UsageError(f"{path} names {value}: no host has that", "--ship-wheels sends what your pip.conf names")
        gathered.indexes.append(value)
        return True
    is_file = bool(_FILE.search(_COMMENT.sub("", line).partition(";")[0].strip()))
    folder = _FOLDER.match(line) if not name and not is_file else None
    if name == "--editable" or folder is not None:
        place = value if folder is None else folder.group(1) + (folder.group(2) or "")
        if "://" in place:
            return True
        extras = _EXTRAS.search(place)
        place = _EXTRAS.sub("", place).removeprefix("file:")
        named = tuple(part.strip() for part in extras.group(1).split(",") if part.strip()) if extras else ()
        gathered.folders[_below(path, place)] = named
        return False
    _refuse_files(path, line)
    return True


def _refuse_files(path: str, line: str) -> None:
    """Refuse a requirement that is a file of this machine: it would be on no host."""
    bare = _COMMENT.sub("", line).partition(";")[0].strip()
    place = (
        bare.partition("@")[2].strip() if re.match(r"[A-Za-z0-9._-]+(\[[^\]]*\])?\s*@", bare) else bare.split(" ")[0]
    )
    if place.startswith("file:") or ("://" not in place and _FILE.search(place) and not place.startswith("-")):
        raise UsageError(
            f"{path} names the file {place}: files of packages are not sent",
            "put it on an index, or into a folder that [tool.uv] or pip.conf find-links names, with --ship-wheels",
        )


def option_of(line: str) -> tuple[str, str]:
    """Return the option that a line is, by its long name, and its value; ("", "") for a requirement."""
    long, short = _LONG.match(line), _SHORT.match(line)
    if long is None and short is None:
        return "", ""
    name, value = (long.group(1), long.group(2)) if long is not None else (_NAMES[short.group(1)], short.group(2))  # type: ignore[union-attr]
    return name, _COMMENT.sub("", value).strip().strip("\"'")


def lines_of(content: bytes) -> list[str]:
    """Return the lines of a file, whichever encoding it begins with."""
    for mark, encoding in ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):
        if content.startswith(mark):
            return re.split(r"\r\n|\r|\n", content.decode(encoding, "replace"))
    return re.split(r"\r\n|\r|\n", content.decode("utf-8-sig", "replace"))


def _below(path: str, place: str) -> str:
    folder = posixpath.normpath(posixpath.join(posixpath.dirname(path), place))
    if folder.startswith(("../", "/")) or folder == "..":
        raise UsageError(f"{path} names {place}, which lies outside of what is shipped")
    return "" if folder == "." else folder
