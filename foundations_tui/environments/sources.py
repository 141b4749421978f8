"""What a project says of its environment, found in its snapshot: which file counts, and what stands there."""

from __future__ import annotations

import posixpath
import re
import shlex
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from foundations_tui.environments import requirements_files
from foundations_tui.errors import UsageError
from foundations_tui.snapshot import git_cli, objects
from foundations_tui.snapshot.freeze import Snapshot
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.jobs import SPEC_CHECKS

NONE, AUTO = "none", "auto"
IMAGE_PREFIX = "image:"
_MOST_BYTES = 16 << 20
"""A larger file is none that a person or a resolver wrote."""
_HEADER = re.compile(r"(?m)^# /// script$\s(?P<content>(^#(| .*)$\s)+)^# ///$")
"""PEP 723: the block of a script's metadata."""
_COMPILING = re.compile(
    rb"build-backend\s*=\s*.(maturin|mesonpy|scikit_build_core|sipbuild)|setuptools-rust|ext-modules"
)
_EXTENSIONS = re.compile(rb"ext_modules|Extension\(|cythonize|rust_extensions|cffi_modules")
"""What projects with extension modules have in their files."""
_PYTHON = re.compile(r"(.*/)?python[\d.]*\Z")
_LOCAL_IN_YAML = re.compile(r"""(?m)^\s*-\s+["']?((?:-[rec]\b|--requirement|--editable|\.{1,2}/|\.\s*$).*)$""")
_PROJECT = "pyproject.toml"
_ENVIRONMENT_FILES = ("environment.yml", "environment.yaml")
_OWN_ENVIRONMENTS = ("uv", "uvx", "poetry", "pipenv", "pixi", "hatch", "pdm", "conda", "mamba", "micromamba")
"""Programs that bring an environment by themselves."""
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
    distributions: dict[str, Any] = field(default_factory=dict)
    """What is imported from them, as ``JobSpec.distributions``."""
    builds: tuple[str, ...] = ()
    """Folders below the root whose packages have to be built: they have extension modules."""
    preferred: str = ""
    """Which of the Pythons that fit ``.python-version`` names; "" for none."""
    extras: tuple[str, ...] = ()
    """Extras of the project that it asks for itself."""
    constraints: tuple[str, ...] = ()
    """Those of its files that only bound versions."""
    indexes: tuple[str, ...] = ()
    """Indexes that it names itself."""
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
        self._contents: dict[str, bytes] = {}

    def names(self, folder: str) -> dict[str, str]:
        """Return the files in a folder, with their object ids."""
        return self._list(folder)[0]

    def folders(self, folder: str) -> set[str]:
        """Return the names of the folders in a folder."""
        return self._list(folder)[1]

    def _list(self, folder: str) -> tuple[dict[str, str], set[str]]:
        if folder not in self._listed:
            place = [f"{folder}/"] if folder else []
            words = ["ls-tree", "-z", "--full-tree", "--", self._frozen.tree, *place]
            listed = git_cli.run(self._frozen.shadow, *words, shadow=self._frozen.shadow).stdout
            self._listed[folder] = _sorted_out(listed)
        return self._listed[folder]

    def has(self, path: str) -> bool:
        """Return whether there is such a file."""
        folder, name = posixpath.split(path)
        return name in self.names(folder)

    def read(self, path: str) -> bytes:
        """Return what a file holds; nothing for one that is too large to be what it is called."""
        if path not in self._contents:
            folder, name = posixpath.split(path)
            contents = objects.read(self._frozen.shadow, [self.names(folder)[name]])
            (self._contents[path],) = (some.whole() if some.size <= _MOST_BYTES else b"" for some in contents)
        return self._contents[path]


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


def named(frozen: Snapshot, what: str) -> Source:
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
        return _of_conda(files, path)
    if name.endswith((".txt", ".in")):
        return _of_requirements(files, folder, name)
    raise UsageError(f"--runtime {what}: no environment is built of a file of that name")


def nothing() -> Source:
    """Return the source of an environment without packages: only its Python was asked for."""
    return Source("requirements", "no packages", {"no packages": b""})


def has_sources(source: Source) -> bool:
    """Return whether a project says where some packages come from: another resolver would take other ones."""
    for path, content in source.files.items():
        if path.endswith(_PROJECT):
            tool = _toml(content, path).get("tool", {})
            uv = tool.get("uv") if isinstance(tool, dict) else None
            if isinstance(uv, dict) and any(key in uv for key in ("sources", "index", "workspace")):
                return True
    return False


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
            return _of_conda(files, path)
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
        elif path in source.constraints or path.endswith((".lock", ".toml", ".yml", ".yaml", ".py")):
            continue
        for line in requirements_files.lines_of(content):
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
    table = _toml("\n".join(lines).encode(), f"the header of {path}")
    python = _text(table.get("requires-python"))
    if files.has(f"{path}.lock"):
        return Source(
            "script.lock", f"{path}.lock", {path: content, f"{path}.lock": files.read(f"{path}.lock")}, python
        )
    _requirements(table.get("dependencies", []), f"dependencies of {path}")
    return Source("script", path, {_PROJECT: _project_of(table, python)}, python)


def _project_of(header: dict[str, Any], python: str) -> bytes:
    """Return a script's header as a project, so that its [tool.uv] counts."""
    import tomlkit

    project = {"name": "script", "version": "0", "dependencies": header.get("dependencies", [])}
    if python:
        project["requires-python"] = python
    tool = header.get("tool", {})
    uv = tool.get("uv") if isinstance(tool, dict) else None
    return tomlkit.dumps({"project": project, **({"tool": {"uv": uv}} if isinstance(uv, dict) else {})}).encode()


def _of_uv_lock(files: SnapshotFiles, folder: str) -> Source:
    lock = posixpath.join(folder, "uv.lock")
    if not files.has(posixpath.join(folder, "pyproject.toml")):
        raise UsageError(f"{lock}: no pyproject.toml is beside it")
    content = files.read(lock)
    table = _toml(content, lock)
    members = [posixpath.normpath(posixpath.join(folder, place)) for place in _members(table)]
    places = [
        posixpath.join("" if place == "." else place, _PROJECT) for place in members if not place.startswith("..")
    ]
    projects = {
        path: files.read(path) for path in dict.fromkeys([posixpath.join(folder, _PROJECT), *places]) if files.has(path)
    }
    own = [posixpath.dirname(path) for path, text in projects.items() if _is_package(path, text)]
    python = _text(table.get("requires-python"))
    return _laid(files, own, Source("uv.lock", lock, {lock: content, **projects}, python))


def _of_conda(files: SnapshotFiles, path: str) -> Source:
    content = files.read(path)
    local = _LOCAL_IN_YAML.search(content.decode("utf-8", "replace"))
    if local is not None:
        raise UsageError(
            f"{path}: {local.group(1).strip()!r} names files of the project, which conda does not get",
            "list the packages themselves; --runtime none runs with the host's Python",
        )
    return Source("conda", path, {path: content})


def _members(lock: dict[str, Any]) -> list[str]:
    """Return the folders of the packages that a uv.lock has of the project itself."""
    packages = lock.get("package", [])
    sources_of = [package.get("source") for package in packages if isinstance(package, dict)]
    kinds = ("editable", "virtual", "directory")
    return [str(source[kind]) for source in sources_of if isinstance(source, dict) for kind in kinds if kind in source]


def _of_pylock(files: SnapshotFiles, folder: str, name: str) -> Source:
    path = posixpath.join(folder, name)
    content = files.read(path)
    table = _toml(content, path)
    python = _text(table.get("requires-python"))
    return _laid(files, _own(files, folder), Source("pylock.toml", path, {path: content}, python))


def _of_requirements(files: SnapshotFiles, folder: str, name: str) -> Source:
    path = posixpath.join(folder, name)
    gathered = requirements_files.gather(path, lambda other: files.read(other) if files.has(other) else None)
    contents, extras = dict(gathered.files), list[str]()
    own_folders: list[str] = list(_own(files, folder))
    warnings: list[str] = []
    for place, named_extras in gathered.folders.items():
        project = _of_project(files, place)
        if project is not None:
            contents.update(project.files)
            extras += named_extras
        else:
            warnings.append(f"what {place or 'the project'} needs itself is computed by a program: list it in {name}")
        own_folders += [place] if place not in own_folders else []
    python = ""
    own = posixpath.join(folder, "pyproject.toml")
    if files.has(own):
        table = _toml(files.read(own), own).get("project", {})
        python = _text(table.get("requires-python")) if isinstance(table, dict) else ""
    source = Source(
        "requirements",
        path,
        contents,
        python,
        extras=tuple(extras),
        constraints=tuple(sorted(gathered.constraints)),
        indexes=tuple(gathered.indexes),
        warnings=tuple(warnings),
    )
    return _laid(files, own_folders, source)


def _of_project(files: SnapshotFiles, folder: str) -> Source | None:
    path = posixpath.join(folder, "pyproject.toml")
    if not files.has(path):
        return None
    content = files.read(path)
    project = _toml(content, path).get("project")
    if not isinstance(project, dict):
        return None
    if "dependencies" not in project:  # it has none, or a program computes them
        return None
    _requirements(project["dependencies"], f"{path}: [project] dependencies")
    python = _text(project.get("requires-python"))
    return _laid(files, _own(files, folder), Source("project", path, {path: content}, python))


# --- the project's own packages ---------------------------------------------------------------------------------


def _own(files: SnapshotFiles, folder: str) -> tuple[str, ...]:
    """Return the folder of a project, when it is one that is installed; none for one that only has dependencies."""
    path = posixpath.join(folder, _PROJECT)
    if files.has(path):
        return (folder,) if _is_package(path, files.read(path)) else ()
    return (folder,) if files.has(posixpath.join(folder, "setup.py")) else ()


def _is_package(path: str, content: bytes) -> bool:
    table = _toml(content, path)
    uv = table.get("tool", {}).get("uv", {}) if isinstance(table.get("tool"), dict) else {}
    told = uv.get("package") if isinstance(uv, dict) else None
    return bool(told) if isinstance(told, bool) else "build-system" in table


def _laid(files: SnapshotFiles, folders: Iterable[str], source: Source) -> Source:
    """Return a source with where the project's own packages are imported from, and which have to be built first.

    Of what is only Python, ``src`` is imported from, where there is one, else the folder itself.
    """
    imported: list[str] = []
    built: list[str] = []
    distributions: dict[str, Any] = {}
    for folder in dict.fromkeys(folders):
        if _is_compiled(files, folder):
            built.append(folder or ".")
        else:
            imported.append(posixpath.join(folder, "src") if "src" in files.folders(folder) else folder or ".")
            distributions.update(_distribution(files, folder))
    return replace(source, import_path=tuple(imported), builds=tuple(built), distributions=distributions)


_UNKNOWN_VERSION = "0+unknown"
_SCRIPTS = {"scripts": "console_scripts", "gui-scripts": "gui_scripts"}
"""Tables of [project], and the group of entry points that each means (PyPA's specification of pyproject.toml)."""


def _distribution(files: SnapshotFiles, folder: str) -> dict[str, Any]:
    """Return what [project] says of the distribution in a folder; nothing where it says nothing that can be used."""
    path = posixpath.join(folder, _PROJECT)
    project = _toml(files.read(path), path).get("project") if files.has(path) else None
    if not isinstance(project, dict):
        return {}
    groups = project.get("entry-points")
    groups = dict(groups) if isinstance(groups, dict) else {}
    groups.update({group: project[table] for table, group in _SCRIPTS.items() if table in project})
    entry_points = {group: entries for group in groups if (entries := _usable(group, groups[group]))}
    name = project.get("name")
    if not isinstance(name, str):
        return {}
    version = project["version"] if "version" in project else _version_in_code(files, folder, name)
    distribution = {name: {"version": version, "entry_points": entry_points}}
    try:
        return dict(SPEC_CHECKS["distributions"](distribution, path))
    except BadRequest:
        return {}


def _version_in_code(files: SnapshotFiles, folder: str, name: str) -> str:
    """Return the version that build backends read out of a package's code; "0+unknown" where they compute it."""
    package = re.sub(r"[-_.]+", "_", name).lower()
    for place in (posixpath.join(folder, "src", package), posixpath.join(folder, package)):
        for file in ("__init__.py", "__about__.py", "_version.py", "version.py"):
            path = posixpath.join(place, file)
            found = _VERSION_LINE.search(files.read(path)) if files.has(path) else None
            if found:
                return found[1].decode()
    return _UNKNOWN_VERSION


_VERSION_LINE = re.compile(rb"""(?m)^__version__\s*(?::[^=\n]+)?=\s*["']([A-Za-z0-9][A-Za-z0-9.!+_-]*)["']""")


def _usable(group: str, entries: object) -> dict[str, str]:
    """Return the entry points of a group that a job can have."""
    usable = {}
    for name, reference in entries.items() if isinstance(entries, dict) else ():
        try:
            SPEC_CHECKS["distributions"]({"x": {"version": "0", "entry_points": {group: {name: reference}}}}, "")
        except BadRequest:
            continue
        usable[name] = reference
    return usable


def _is_compiled(files: SnapshotFiles, folder: str) -> bool:
    """Return whether a project has extension modules, as far as its files say."""
    for name, pattern in ((_PROJECT, _COMPILING), ("setup.py", _EXTENSIONS), ("setup.cfg", _EXTENSIONS)):
        path = posixpath.join(folder, name)
        if files.has(path) and pattern.search(files.read(path)):
            return True
    return False


# --- reading ----------------------------------------------------------------------------------------------------


def _toml(content: bytes, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(content.decode("utf-8-sig", "replace"))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{where} is not valid TOML: {error}", "--runtime none runs with the host's Python") from None


def _requirements(wanted: object, where: str) -> bytes:
    if not isinstance(wanted, list) or not all(isinstance(part, str) and "\n" not in part for part in wanted):
        raise UsageError(f"{where} is no list of requirements")
    return "".join(f"{part}\n" for part in wanted).encode()


def dependencies_of(content: bytes, where: str) -> bytes:
    """Return the dependencies in [project] of a pyproject.toml as requirements."""
    project = _toml(content, where).get("project", {})
    return _requirements(project.get("dependencies", []) if isinstance(project, dict) else [], where)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
