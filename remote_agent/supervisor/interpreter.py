"""What a job's Python is, and which packages it finds: asked once, and remembered as long as its files stay the same.

The interpreter itself is asked where it looks for packages (it takes 20 ms and more); the lists of those folders are
read from their names, as PyPA's "Recording installed projects" has them: ``NAME-VERSION.dist-info``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import select
import signal
import subprocess
import time
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from remote_agent.protocol import facts
from remote_agent.protocol.checks import writable
from remote_agent.protocol.facts import Interpreter, Package
from remote_agent.protocol.urls import without_credentials
from remote_agent.protocol.wire import JsonTable
from remote_agent.storage import files
from remote_agent.storage.paths import Paths
from remote_agent.supervisor import environment

_SECONDS = 5.0
"""An interpreter that does not answer by then is unknown."""
_TICK_SECONDS = 0.05
_SILENT_SECONDS = 600.0
"""How long one that did not answer is not asked again."""
_LONGEST_ORIGIN = 2000
_MOST_BYTES = 1 << 20
_OF_PYTHON = re.compile(r"(python|pypy)[\d.]*[a-z]*\Z")
_QUESTION = """import sys
sys.path.pop(0)
import glob, json, os
try:
    import site
    places = [*site.getsitepackages(), site.getusersitepackages()]
except Exception:
    places = []
places += [part for part in sys.path if part not in places]
pths = [path for part in places for path in glob.glob(os.path.join(glob.escape(part), "*.pth"))]
print(json.dumps({"path": sys.executable, "implementation": sys.implementation.name, "prefix": sys.prefix,
    "version": ".".join(map(str, sys.version_info[:3])), "build": " ".join(sys.version.split()[1:]),
    "folders": sys.path, "decide": [sys.executable, *places, *pths]}))
"""
_DECIDES = (
    *("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONNOUSERSITE", "PYTHONPLATLIBDIR", "HOME"),
    *("LD_LIBRARY_PATH", "LD_PRELOAD", "VIRTUAL_ENV", "CONDA_PREFIX"),
)
"""Variables that change where an interpreter looks for packages."""
_LINE = 256
"""Bytes of a script's first line that Linux looks at, execve(2)."""


def of_command(argv: Sequence[str], python: str, cwd: str, search: str) -> str:
    """Return the Python that a command runs with, as far as it shows: else the one that ``python`` means.

    Args:
        argv: the command.
        python: what ``python`` means in the job.
        cwd: where it starts.
        search: its PATH.
    """
    if _OF_PYTHON.match(os.path.basename(argv[0])):
        return environment.found(argv[0], cwd, search) or python
    script = environment.found(argv[0], cwd, search)
    words = _first_line(script).split() if script else []
    if words and os.path.basename(words[0]) == "env":
        words = [environment.found(word, cwd, search) or word for word in words[1:] if not word.startswith("-")]
    is_python = bool(words) and bool(_OF_PYTHON.match(os.path.basename(words[0])))
    return words[0] if is_python and os.path.isfile(words[0]) else python


def first_python(search: str) -> str:
    """Return what ``python`` is behind setup lines: the first ``python``, else the first ``python3``; "" for none."""
    return environment.found("python", "/", search) or environment.found("python3", "/", search)


def _first_line(path: str) -> str:
    """Return what stands behind the ``#!`` of a script; empty when it is none."""
    try:
        with files.open_regular(path) as file:
            line = file.read(_LINE).split(b"\n", 1)[0]
    except OSError:
        return ""
    return os.fsdecode(line[2:].strip()) if line.startswith(b"#!") else ""


def look(
    paths: Paths, python: str, env: Mapping[str, str], cwd: str, tick: Callable[[], None]
) -> Tuple[Optional[Interpreter], Optional[str]]:
    """Return an interpreter and the hash of the list of its packages, which lies in the agent's folder then.

    Args:
        paths: the agent's files.
        python: its path.
        env: the job's environment.
        cwd: where the job starts.
        tick: called while the interpreter is waited for; what it raises ends that.
    """
    answer = _answer(paths, python, env, cwd, tick)
    if answer is None:
        return None, None
    told = {name: writable(value) if name != "path" else value for name, value in answer["told"].items()}
    interpreter = Interpreter.from_wire(told, "an interpreter")
    return interpreter, _packages(paths, [str(folder) for folder in answer["folders"]], interpreter.prefix or "")


def _answer(
    paths: Paths, python: str, env: Mapping[str, str], cwd: str, tick: Callable[[], None]
) -> Optional[JsonTable]:
    """Return what the interpreter says of itself: what it said before, unless something of it has changed."""
    mark = _mark(python, env, cwd)
    if not mark:
        return None
    if not all(map(os.path.isabs, env.get("PYTHONPATH", "/").split(os.pathsep))):
        return _ask(python, env, cwd, tick)  # each attempt has folders of its own
    remembered = os.path.join(paths.interpreters, f"{mark}.json")
    known: Optional[JsonTable] = files.read_json(remembered)
    if known is not None and _is_answer(known) and known["states"] == list(map(_state, known["decide"])):
        return known
    if isinstance(known, dict) and _is_recent(known.get("silent_at")):
        return None
    answer = _ask(python, env, cwd, tick)
    _write(remembered, json.dumps(answer or {"silent_at": time.time()}).encode())
    return answer


def _is_recent(moment: object) -> bool:
    return isinstance(moment, float) and 0 <= time.time() - moment < _SILENT_SECONDS


def _mark(python: str, env: Mapping[str, str], cwd: str) -> str:
    """Return a name for all that decides what an interpreter will answer; empty when it is not there."""
    state = _state(python)
    if not state:
        return ""
    parts = [python, state]
    for above in (os.path.dirname(python), os.path.dirname(os.path.dirname(python))):
        parts.append(_state(os.path.join(above, "pyvenv.cfg")))
    parts += [f"{name}={env.get(name)}" for name in _DECIDES]
    parts += _choices(env, cwd) if _first_line(python) else []
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _choices(env: Mapping[str, str], cwd: str) -> List[str]:
    """Return what shims (of pyenv, asdf) choose an interpreter by: variables, and files of the project and at home."""
    parts = [f"{name}={value}" for name, value in sorted(env.items()) if name.startswith(_OF_SHIMS)]
    home = env.get("HOME", "/")
    folders = [home, cwd]
    while os.path.basename(folders[-1]) != "work" and len(folders) < _DEEPEST:  # an attempt's folder of that name
        folders.append(os.path.dirname(folders[-1]))
    parts += [_content(os.path.join(folder, name)) for folder in folders for name in _SHIM_FILES]
    return [*parts, _state(os.path.join(env.get("PYENV_ROOT") or os.path.join(home, ".pyenv"), "version"))]


_DEEPEST = 12
_OF_SHIMS = ("PYENV_", "ASDF_", "PATH")
_SHIM_FILES = (".python-version", ".tool-versions")


def _content(path: str) -> str:
    """Return what a short file says: each attempt has a copy of its own."""
    try:
        with files.open_regular(path) as file:
            return repr(file.read(10_000))
    except OSError:
        return ""


def _state(path: str) -> str:
    """Return what changes when a file does; empty when it is not there."""
    try:
        stats = os.stat(path)
    except (OSError, ValueError):
        return ""
    return f"{stats.st_dev} {stats.st_ino} {stats.st_size} {stats.st_mtime_ns}"


def _ask(python: str, env: Mapping[str, str], cwd: str, tick: Callable[[], None]) -> Optional[JsonTable]:
    """Ask the interpreter; None when it does not answer in time, or makes no sense."""
    try:
        child = subprocess.Popen(
            [python, "-c", _QUESTION],
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except (OSError, ValueError):
        return None
    try:
        told = json.loads(_read_all(child, tick).strip().rsplit(b"\n", 1)[-1])
    except (ValueError, RecursionError):
        return None
    finally:
        with contextlib.suppress(OSError):
            os.killpg(child.pid, signal.SIGKILL)  # also what it started
        child.communicate()
    if not isinstance(told, dict):
        return None
    folders, decide = told.pop("folders", None), told.pop("decide", None)
    answer = {"told": told, "folders": folders, "decide": decide, "states": []}
    return {**answer, "states": list(map(_state, decide))} if _is_answer(answer) else None


def _read_all(child: "subprocess.Popen[bytes]", tick: Callable[[], None]) -> bytes:
    """Return what a child writes until it ends; nothing when that is too much or takes too long."""
    assert child.stdout is not None
    deadline, data = time.monotonic() + _SECONDS, b""
    while time.monotonic() < deadline and len(data) <= _MOST_BYTES:
        tick()
        if select.select([child.stdout], [], [], _TICK_SECONDS)[0]:
            part = os.read(child.stdout.fileno(), 65536)
            if not part:
                return data
            data += part
    return b""


def _is_answer(value: Any) -> bool:
    """Return whether something has the form of an answer: it lies where jobs can write, too."""
    if not isinstance(value, dict) or not isinstance(value.get("told"), dict):
        return False
    lists = [value.get(name) for name in ("folders", "decide")]
    texts = [part for some in lists if isinstance(some, list) for part in some]
    all_there = all(isinstance(some, list) for some in (*lists, value.get("states")))
    return all_there and all(isinstance(part, str) for part in (*texts, *value["told"].values()))


# --- packages -----------------------------------------------------------------------------------------------------


def _packages(paths: Paths, folders: Sequence[str], prefix: str) -> Optional[str]:
    """Return the hash of the list of the packages in some folders; it is read anew when one of them has changed."""
    places = [folder for folder in dict.fromkeys(folders) if os.path.isdir(folder)]
    conda = os.path.join(prefix, "conda-meta")
    mark = _state_of([*places, conda])
    remembered = os.path.join(paths.interpreters, f"{mark}.packages")
    try:
        with files.open_regular(remembered) as file:
            digest = file.read(100).decode("ascii")
        if facts.HASH.match(digest) and os.path.exists(paths.packages(digest)):
            return digest
    except (OSError, ValueError):
        pass
    data = facts.packages_text([*_conda_packages(conda), *_python_packages(places)])
    digest = facts.packages_hash(data)
    if len(data) > facts.MOST_PACKAGES_BYTES or not _write(paths.packages(digest), data, durable=True):
        return None
    _write(remembered, digest.encode())
    return digest


def _state_of(folders: Sequence[str]) -> str:
    """Return a name for what is in folders: a package that comes, goes or is replaced changes its folder's time."""
    parts: List[str] = []
    for folder in folders:
        try:
            stats = os.stat(folder)
            parts.append(f"{folder}\0{stats.st_dev} {stats.st_ino} {stats.st_mtime_ns}")
        except OSError:
            continue
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _python_packages(folders: Sequence[str]) -> List[Package]:
    """Return the packages that an interpreter finds: of two with one name, the first."""
    found: Dict[str, Package] = {}
    for folder in folders:
        for entry in _names(folder):
            base, dot, kind = entry.rpartition(".")
            if not dot or kind not in ("dist-info", "egg-info"):
                continue
            name, _, version = base.partition("-")
            version = version.split("-py")[0] if kind == "egg-info" else version
            key = re.sub(r"[-_.]+", "-", name).lower()
            if key not in found and _is_package(key, version):
                origin = _origin(os.path.join(folder, entry, "direct_url.json"))
                found[key] = ("python", key, version, origin)
    return list(found.values())


def _conda_packages(folder: str) -> List[Package]:
    """Return conda's packages: ``NAME-VERSION-BUILD.json``."""
    packages: List[Package] = []
    for entry in _names(folder):
        parts = entry[: -len(".json")].rsplit("-", 2)
        if entry.endswith(".json") and len(parts) == 3 and _is_package(parts[0], "-".join(parts[1:])):
            packages.append(("conda", parts[0], "-".join(parts[1:]), ""))
    return packages


def _is_package(name: str, version: str) -> bool:
    return bool(facts.PACKAGE_NAME.match(name) and facts.PACKAGE_VERSION.match(version))


def _names(folder: str) -> List[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _origin(path: str) -> str:
    """Return where a package came from that came from no index: ``direct_url.json``, without credentials."""
    told = files.read_json(path)
    if not isinstance(told, dict) or not isinstance(told.get("url"), str):
        return ""
    url = without_credentials(told["url"])
    vcs = told.get("vcs_info")
    commit = vcs.get("commit_id") if isinstance(vcs, dict) else None
    editable = isinstance(told.get("dir_info"), dict) and told["dir_info"].get("editable")
    origin = f"{url}@{commit}" if isinstance(commit, str) else url + (" (editable)" if editable else "")
    return "".join(c if c.isprintable() else "?" for c in writable(origin))[:_LONGEST_ORIGIN]


def _write(path: str, data: bytes, durable: bool = False) -> bool:
    """Put a file in place, and say whether it is there: the disk may be full."""
    try:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        files.write_bytes(path, data, durable)
    except OSError:
        return False
    return True
