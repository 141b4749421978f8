"""What a project says of its environment, found in its snapshot: which file counts, and what stands there."""

from __future__ import annotations

import posixpath
import re
import shlex
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from foundations_tui.errors import UsageError
from foundations_tui.snapshot import git_cli, objects
from foundations_tui.snapshot.freeze import Snapshot

NONE, AUTO = "none", "auto"
IMAGE_PREFIX = "image:"
_MOST_BYTES = 16 << 20
"""A larger file is none that a person or a resolver wrote."""
_HEADER = re.compile(r"(?m)^# /// script$\s(?P<content>(^#(| .*)$\s)+)^# ///$")
"""PEP 723: the block of a script's metadata."""
_PYTHON = re.compile(r"(.*/)?python[\d.]*\Z")
_ENVIRONMENT_FILES = ("environment.yml", "environment.yaml")
_OWN_ENVIRONMENTS = ("uv", "uvx", "poetry", "pipenv", "pixi", "hatch", "pdm", "conda", "mamba", "micromamba")
"""Programs that bring an environment by themselves."""
_INCLUDE = re.compile(r"\s*(?:-r|-c|--requirement|--constraint)[\s=]+(\S+)")
_LOCAL = re.compile(r"\s*(?:-e|--editable)[\s=]+(\S+)|\s*(\.{1,2}(?:/\S*)?(?:\[[^\]]*\])?)\s*(?:#.*)?\Z")
_MOST_INCLUDES = 50
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
"""The name that a requirement begins with, PEP 508."""


@dataclass(frozen=True)
class Source:
    """Where an environment comes from."""

    how: str
    """"script", "script.lock", "uv.lock", "pylock.toml", "requirements", "project", "conda", "image"."""
    file: str = ""
    """Its path below the snapshot's root; an image's name."""
    files: dict[str, bytes] = field(default_factory=dict)
    """All that it consists of: contents by path below the snapshot's root."""
    python: str = ""
    """Which Pythons fit, as a version specifier; "" for any."""
    import_path: tuple[str, ...] = ()
    """Folders below the root from which the project's own packages are imported."""
    preferred: str = ""
    """Which of the Pythons that fit ``.python-version`` names; "" for none."""
    asked: tuple[str, ...] = ()
    """Names of the packages that it asks for itself, where its files are not at hand."""
    warnings: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """Return what it is, in words."""
        return {"script": f"the header of {self.file}", "project": f"[project] of {self.file}"}.get(self.how, self.file)


class SnapshotFiles:
    """The files of a snapshot, read when they are asked for."""

    def __init__(self, frozen: Snapshot) -> None:
        self._frozen = frozen
        self._listed: dict[str, tuple[dict[str, str], set[str]]] = {}

    def names(self, folder: str) -> dict[str, str]:
        """Return the files in a folder, with their object ids."""
        return self._list(folder)[0]

    def folders(self, folder: str) -> set[str]:
        """Return the names of the folders in a folder."""
        return self._list(folder)[1]

    def _list(self, folder: str) -> tuple[dict[str, str], set[str]]:
        if folder not in self._listed:
            place = [f"{folder}/"] if folder else []
            words = ["ls-tree", "-z", "--full-tree", self._frozen.tree, *place]
            listed = git_cli.run(self._frozen.shadow, *words, shadow=self._frozen.shadow).stdout
            self._listed[folder] = _sorted_out(listed)
        return self._listed[folder]

    def has(self, path: str) -> bool:
        """Return whether there is such a file."""
        folder, name = posixpath.split(path)
        return name in self.names(folder)

    def read(self, path: str) -> bytes:
        """Return what a file holds; nothing for one that is too large to be what it is called."""
        folder, name = posixpath.split(path)
        oid = self.names(folder)[name]
        _, _, content = next(iter(objects.read(self._frozen.shadow, [oid])))
        return content if len(content) <= _MOST_BYTES else b""

    def everywhere(self, wanted: Sequence[str]) -> list[str]:
        """Return the paths of all files that are called so, in whatever folder."""
        listed = objects.entries(self._frozen.shadow, self._frozen.tree)
        paths = [entry.path.decode("utf-8", "replace") for entry in listed if entry.kind == "blob"]
        return [path for path in paths if posixpath.basename(path) in wanted]


def _sorted_out(listed: bytes) -> tuple[dict[str, str], set[str]]:
    """Return the files, with their object ids, and the folders of a listing; links are neither."""
    files, folders = {}, set()
    for line in listed.split(b"\0")[:-1]:
        facts, path = line.split(b"\t", 1)
        mode, kind, oid = facts.decode().split()
        name = posixpath.basename(path.decode("utf-8", "replace"))
        if kind == "tree":
            folders.add(name)
        elif kind == "blob" and mode != "120000":
            files[name] = oid
    return files, folders


def found(frozen: Snapshot, command: Sequence[str]) -> Source | None:
    """Return what a project has: the nearest folder upwards that has something counts.

    Args:
        frozen: its snapshot.
        command: what is run: a script may say itself what it needs.
    """
    if command and posixpath.basename(command[0].split(" ")[0]) in _OWN_ENVIRONMENTS:
        return None
    files = SnapshotFiles(frozen)
    script = _script(files, frozen.subdir, command)
    if script is not None:
        return script
    warnings: list[str] = []
    for folder in _upwards(frozen.subdir):
        source = _in_folder(files, folder, warnings)
        if source is not None:
            return source
    return Source(NONE, warnings=tuple(warnings)) if warnings else None


def named(frozen: Snapshot, what: str, command: Sequence[str]) -> Source:
    """Return what ``--runtime`` names: a file of the project, or an image.

    Raises:
        UsageError: there is no such file, or it is none of which an environment is built.
    """
    if what.startswith(IMAGE_PREFIX):
        return _image(what[len(IMAGE_PREFIX) :])
    files = SnapshotFiles(frozen)
    path = posixpath.normpath(posixpath.join(frozen.subdir, what))
    if path.startswith(("../", "/")) or not files.has(path):
        raise UsageError(
            f"--runtime {what}: the project has no such file",
            "none, auto, image:NAME, or a file: uv.lock, pylock.toml, requirements.txt, pyproject.toml,"
            " environment.yml, a script with a header",
        )
    folder, name = posixpath.split(path)
    if name.endswith(".py"):
        source = _of_script(files, path)
        if source is None:
            raise UsageError(f"--runtime {what}: the script has no header", "PEP 723: # /// script")
        return source
    if name == "uv.lock":
        return _of_uv_lock(files, folder)
    if re.match(r"pylock(\.[^.]+)?\.toml\Z", name):
        return _of_pylock(files, folder, name)
    if name == "pyproject.toml":
        project = _of_project(files, folder)
        if project is None:
            raise UsageError(f"--runtime {what}: it has no [project] with dependencies")
        return project
    if name.endswith((".yml", ".yaml")):
        return Source("conda", path, {path: files.read(path)})
    if name.endswith((".txt", ".in")):
        return _of_requirements(files, folder, name)
    raise UsageError(f"--runtime {what}: no environment is built of a file of that name")


def _image(name: str) -> Source:
    if not name or name.startswith("-") or not name.isprintable() or " " in name:
        raise UsageError(f"--runtime {IMAGE_PREFIX}{name}: that names no image", "image:docker://python:3.12")
    return Source("image", name)


def _in_folder(files: SnapshotFiles, folder: str, warnings: list[str]) -> Source | None:
    names = files.names(folder)
    source = None
    if "uv.lock" in names and "pyproject.toml" in names:
        source = _of_uv_lock(files, folder)
    elif "pylock.toml" in names:
        source = _of_pylock(files, folder, "pylock.toml")
    elif "requirements.txt" in names:
        source = _of_requirements(files, folder, "requirements.txt")
    elif "pyproject.toml" in names:
        source = _of_project(files, folder)
    if source is not None:
        return replace(source, preferred=_preferred(files, folder))
    for name in _ENVIRONMENT_FILES:
        if name in names:
            path = posixpath.join(folder, name)
            return Source("conda", path, {path: files.read(path)})
    if "poetry.lock" in names:
        warnings.append(
            "poetry.lock is not supported: poetry export -o requirements.txt (or [project] in pyproject.toml) is"
        )
    if "Pipfile" in names or "Pipfile.lock" in names:
        warnings.append("Pipfile is not supported: pipenv requirements > requirements.txt makes what is")
    return None


def _preferred(files: SnapshotFiles, folder: str) -> str:
    """Return the Python in the nearest ``.python-version``, as pyenv and uv read it."""
    for place in _upwards(folder):
        path = posixpath.join(place, ".python-version")
        if files.has(path):
            lines = files.read(path).decode("utf-8", "replace").splitlines()
            words = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
            return words[0] if words and re.fullmatch(r"3(\.\d+){1,2}", words[0]) else ""
    return ""


def direct(source: Source) -> list[str]:
    """Return the names of the packages that a project asks for itself, as indexes write them."""
    names: set[str] = set()
    for path, content in source.files.items():
        if path.endswith("pyproject.toml"):
            content = dependencies_of(content, path)
        elif path.endswith((".lock", ".toml", ".yml", ".yaml")) or (path.endswith(".py") and source.how != "script"):
            continue
        for line in content.decode("utf-8", "replace").splitlines():
            match = _REQUIREMENT.match(line)
            if match is not None:
                names.add(re.sub(r"[-_.]+", "-", match.group(1)).lower())
    return sorted(names)


def _upwards(folder: str) -> Iterator[str]:
    while True:
        yield folder
        if not folder:
            return
        folder = posixpath.dirname(folder)


# --- one kind after the other -----------------------------------------------------------------------------------


def _script(files: SnapshotFiles, subdir: str, command: Sequence[str]) -> Source | None:
    name = script_of(command)
    path = posixpath.normpath(posixpath.join(subdir, name)) if name else ""
    if not name or path.startswith(("../", "/")) or not files.has(path):
        return None
    return _of_script(files, path)


def script_of(command: Sequence[str]) -> str:
    """Return the Python script that a command runs, as far as it shows."""
    words = list(command)
    if len(words) == 1 and " " in words[0]:
        try:
            words = shlex.split(words[0])
        except ValueError:
            return ""
    for place, word in enumerate(words):
        if place == 0 and word.endswith(".py"):
            return word
        if _PYTHON.match(word):
            rest = [part for part in words[place + 1 :] if not part.startswith("-")]
            return rest[0] if rest and rest[0].endswith(".py") and "-m" not in words[place + 1 :][:2] else ""
    return ""


def _of_script(files: SnapshotFiles, path: str) -> Source | None:
    content = files.read(path)
    header = _HEADER.search(content.decode("utf-8", "replace").replace("\r\n", "\n"))
    if header is None:
        return None
    lines = [line[2:] if line.startswith("# ") else line[1:] for line in header.group("content").splitlines()]
    table = _toml("\n".join(lines), f"the header of {path}")
    if files.has(f"{path}.lock"):
        both = {path: content, f"{path}.lock": files.read(f"{path}.lock")}
        return Source("script.lock", f"{path}.lock", both, _text(table.get("requires-python")))
    wanted = _requirements(table.get("dependencies", []), f"dependencies of {path}")
    return Source("script", path, {path: wanted}, _text(table.get("requires-python")))


def _of_uv_lock(files: SnapshotFiles, folder: str) -> Source:
    lock = posixpath.join(folder, "uv.lock")
    if not files.has(posixpath.join(folder, "pyproject.toml")):
        raise UsageError(f"{lock}: no pyproject.toml is beside it")
    content = files.read(lock)
    table = _toml(content.decode("utf-8", "replace"), lock)
    wanted = [path for path in files.everywhere(["pyproject.toml"]) if path.startswith(f"{folder}/" if folder else "")]
    projects = {path: files.read(path) for path in wanted}
    own = [posixpath.dirname(path) for path, text in projects.items() if _is_package(path, text)]
    paths = tuple(path for one in own for path in _import_path(files, one))
    return Source("uv.lock", lock, {lock: content, **projects}, _text(table.get("requires-python")), paths)


def _of_pylock(files: SnapshotFiles, folder: str, name: str) -> Source:
    path = posixpath.join(folder, name)
    content = files.read(path)
    table = _toml(content.decode("utf-8", "replace"), path)
    return Source("pylock.toml", path, {path: content}, _text(table.get("requires-python")), _own(files, folder))


def _of_requirements(files: SnapshotFiles, folder: str, name: str) -> Source:
    path = posixpath.join(folder, name)
    contents: dict[str, bytes] = {}
    is_installed: list[str] = []
    _gather(files, path, contents, is_installed)
    paths: list[str] = list(_own(files, folder))
    for place in is_installed:
        project = _of_project(files, place)
        if project is not None:
            contents.update(project.files)
        paths += [part for part in _import_path(files, place) if part not in paths]
    python = ""
    own = posixpath.join(folder, "pyproject.toml")
    if files.has(own):
        table = _toml(files.read(own).decode("utf-8", "replace"), own).get("project", {})
        python = _text(table.get("requires-python")) if isinstance(table, dict) else ""
    return Source("requirements", path, contents, python, tuple(paths))


def _gather(files: SnapshotFiles, path: str, contents: dict[str, bytes], installed: list[str]) -> None:
    """Take in a file of requirements with all that it includes; lines that mean folders of the project are taken out.

    Raises:
        UsageError: it includes a file that was not shipped, or too many.
    """
    if path in contents:
        return
    if len(contents) >= _MOST_INCLUDES:
        raise UsageError(f"{path}: more than {_MOST_INCLUDES} files of requirements")
    kept: list[str] = []
    contents[path] = b""
    for line in files.read(path).decode("utf-8-sig", "replace").splitlines():
        local = _LOCAL.match(line)
        if local is not None:
            place = (local.group(1) or local.group(2)).partition("[")[0].removeprefix("file:")
            if "://" in place:
                kept.append(line)
                continue
            installed.append(_below(path, place))
            continue
        include = _INCLUDE.match(line)
        if include is not None and "://" not in include.group(1):
            other = _below(path, include.group(1).strip("\"'"))
            if not files.has(other):
                raise UsageError(f"{path} names {include.group(1)}, which is not among the files that are shipped")
            _gather(files, other, contents, installed)
        kept.append(line)
    contents[path] = "\n".join([*kept, ""]).encode()


def _below(path: str, place: str) -> str:
    folder = posixpath.normpath(posixpath.join(posixpath.dirname(path), place))
    if folder.startswith(("../", "/")) or folder == "..":
        raise UsageError(f"{path} names {place}, which lies outside of what is shipped")
    return "" if folder == "." else folder


def _of_project(files: SnapshotFiles, folder: str) -> Source | None:
    path = posixpath.join(folder, "pyproject.toml")
    if not files.has(path):
        return None
    content = files.read(path)
    project = _toml(content.decode("utf-8", "replace"), path).get("project")
    if not isinstance(project, dict):
        return None
    if "dependencies" not in project:  # it has none, or a program computes them
        return None
    _requirements(project["dependencies"], f"{path}: [project] dependencies")
    return Source("project", path, {path: content}, _text(project.get("requires-python")), _own(files, folder))


# --- the project's own packages ---------------------------------------------------------------------------------


def _own(files: SnapshotFiles, folder: str) -> tuple[str, ...]:
    """Return where the project's own packages lie, when it is one that is installed."""
    path = posixpath.join(folder, "pyproject.toml")
    if files.has(path):
        return _import_path(files, folder) if _is_package(path, files.read(path)) else ()
    return _import_path(files, folder) if files.has(posixpath.join(folder, "setup.py")) else ()


def _is_package(path: str, content: bytes) -> bool:
    table = _toml(content.decode("utf-8", "replace"), path)
    uv = table.get("tool", {}).get("uv", {}) if isinstance(table.get("tool"), dict) else {}
    told = uv.get("package") if isinstance(uv, dict) else None
    return bool(told) if isinstance(told, bool) else "build-system" in table


def _import_path(files: SnapshotFiles, folder: str) -> tuple[str, ...]:
    """Return the folder from which a project's packages are imported: ``src``, where there is one, else its own."""
    return (posixpath.join(folder, "src"),) if "src" in files.folders(folder) else (folder or ".",)


# --- reading ----------------------------------------------------------------------------------------------------


def _toml(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{where} is no TOML: {error}", "--runtime none runs with the host's Python") from None


def _requirements(wanted: object, where: str) -> bytes:
    if not isinstance(wanted, list) or not all(isinstance(part, str) and "\n" not in part for part in wanted):
        raise UsageError(f"{where} is no list of requirements")
    return "".join(f"{part}\n" for part in wanted).encode()


def dependencies_of(content: bytes, where: str) -> bytes:
    """Return the dependencies in [project] of a pyproject.toml as requirements."""
    project = _toml(content.decode("utf-8", "replace"), where).get("project", {})
    return _requirements(project.get("dependencies", []) if isinstance(project, dict) else [], where)


def is_include(line: str) -> bool:
    """Return whether a line of requirements names another file of them."""
    match = _INCLUDE.match(line)
    return match is not None and "://" not in match.group(1)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
