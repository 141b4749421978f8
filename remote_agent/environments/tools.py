"""What a host has to build environments with: its Pythons, uv, conda, container programs; found, and asked."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
import selectors
import shutil
import subprocess
import time
from typing import Dict, Iterable, List, Mapping, Optional, Tuple

from remote_agent.protocol.roles import HostPython, HostTools
from remote_agent.protocol.wire import JsonTable
from remote_agent.storage import files
from remote_agent.storage.paths import Paths
from remote_agent.system import login, machine

_SECONDS = 10.0
"""What does not answer by then is not there."""
_LOGIN_SECONDS = 3.0
_MOST_PYTHONS = 40
_MOST_BYTES = 65536
_PLACES = (
    "/usr/bin",
    "/usr/local/bin",
    "~/.pyenv/versions/*/bin",
    "~/.local/share/uv/python/*/bin",
    "~/.local/bin",
    "~/miniconda3/bin",
    "~/anaconda3/bin",
    "~/miniforge3/bin",
    "~/mambaforge/bin",
    "~/conda/bin",
    "~/.conda/envs/*/bin",
    "~/*conda*/envs/*/bin",
    "~/miniforge3/envs/*/bin",
    "/opt/*/bin",
    "/opt/python/*/bin",
    "/opt/conda/envs/*/bin",
)
"""Where Pythons lie that no PATH leads to."""
_NAMES = re.compile(r"python(3(\.\d+)?)?\Z")
_QUESTION = (
    "import sys, json, importlib.util as u; print(json.dumps([sys.executable, '.'.join(map(str, sys.version_info[:3])),"
    " sys.implementation.name, sys.prefix == sys.base_prefix, all(map(u.find_spec, ('venv', 'ensurepip')))]))"
)
_VERSION = re.compile(r"\d+(\.\d+)+")
_CUDA = re.compile(r"CUDA Version:\s*(\d+\.\d+)")
CONDAS = ("micromamba", "mamba", "conda")
CONTAINERS = ("apptainer", "singularity", "podman", "docker")


def look(paths: Paths) -> HostTools:
    """Return what there is."""
    search = search_path(paths)
    programs = {name: found for name in ("uv", *CONDAS, *CONTAINERS) for found in [_program(name, search)] if found}
    candidates, nvidia_smi = _candidates(search), _program("nvidia-smi", search)
    home = login.identity()["HOME"]
    choices = [os.path.join(home, name) for name in (".pyenv/version", ".tool-versions")]  # shims go by them
    mark = _mark([*candidates, *programs.values(), nvidia_smi, *choices])
    remembered = os.path.join(paths.interpreters, "tools.json")
    known = files.read_json(remembered)
    if isinstance(known, dict) and known.get("mark") == mark:
        return HostTools.from_wire(known.get("tools"), "tools")
    pythons, versions, cuda = _ask_all(candidates, programs, nvidia_smi)
    tools = _told(programs, pythons, versions, cuda)
    if pythons and all(versions.get(name) for name in programs):  # what was slow to answer is asked again
        _remember(remembered, {"mark": mark, "tools": tools.to_wire()})
    return tools


def _mark(programs: Iterable[str]) -> str:
    """Return what changes when a program does, or the driver."""
    parts = [machine.driver() or "", machine.kernel()]
    for path in programs:
        try:
            told = os.stat(path)
            parts.append(f"{path}\0{told.st_dev} {told.st_ino} {told.st_size} {told.st_mtime_ns}")
        except OSError:
            parts.append(path)
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def _remember(path: str, value: JsonTable) -> None:
    try:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        files.write_bytes(path, json.dumps(value).encode(), durable=False)
    except OSError:
        pass  # a full disk: they are asked again


def _told(programs: Dict[str, str], pythons: List[HostPython], versions: Dict[str, str], cuda: str) -> HostTools:
    libc = machine.libc() or ""
    return HostTools(
        machine=os.uname().machine,
        libc=libc.replace(" ", "-") if libc else "musl",
        pythons=pythons,
        programs=programs,
        versions=versions,
        cuda=cuda,
        driver=machine.driver() or "",
        kernel=machine.kernel(),
    )


def search_path(paths: Paths) -> str:
    """Return the folders in which programs of the user are looked for.

    A daemon that has just started may not know the PATH of a login shell yet: that is waited for.
    """
    deadline = time.monotonic() + _LOGIN_SECONDS
    while not os.path.exists(paths.login_path) and time.monotonic() < deadline:
        time.sleep(0.01)
    home = login.identity()["HOME"]
    more = [os.path.join(home, part) for part in (".local/bin", ".cargo/bin", "bin", "micromamba/bin")]
    more += [os.path.join(top, "condabin") for top in glob.glob(os.path.join(home, "*conda*"))]
    return os.pathsep.join([login.path(paths.login_path), *more])


def _program(name: str, search: str) -> str:
    return shutil.which(name, path=search) or ""


def _candidates(search: str) -> List[str]:
    """Return the Pythons of a host: the one that a shell of the user means first, each only once."""
    home = login.identity()["HOME"]
    folders = [folder for folder in search.split(os.pathsep) if folder]
    for place in _PLACES:
        folders += sorted(glob.glob(place.replace("~", glob.escape(home), 1)))
    first = [found for name in ("python3", "python") for found in [shutil.which(name, path=search)] if found]
    found: Dict[str, str] = {}
    for path in [*first, *(os.path.join(folder, name) for folder in folders for name in _python_names(folder))]:
        found.setdefault(os.path.realpath(path), path)
    return list(found.values())[:_MOST_PYTHONS]


def _python_names(folder: str) -> List[str]:
    try:
        return sorted((name for name in os.listdir(folder) if _NAMES.match(name)), key=len, reverse=True)
    except OSError:
        return []


def _ask_all(
    pythons: List[str], programs: Mapping[str, str], nvidia_smi: str
) -> Tuple[List[HostPython], Dict[str, str], str]:
    """Ask Pythons what they are, programs for their versions and nvidia-smi for the newest CUDA, all at once."""
    commands = [[path, "-I", "-c", _QUESTION] for path in pythons]
    commands += [[path, "--version"] for path in programs.values()]
    commands += [[nvidia_smi]] if nvidia_smi else []
    answers = [*_answers(commands[:1]), *_answers(commands[1:])]  # the shell's own Python before the crowd
    told = list(map(_python, pythons, answers))
    found = list({python.path: python for python in reversed(told) if python is not None}.values())[::-1]
    versions: Dict[str, str] = {}
    for number, name in enumerate(programs, len(pythons)):
        version = _VERSION.search(answers[number])
        versions[name] = version.group() if version else ""
    cuda = _CUDA.search(answers[-1]) if nvidia_smi else None
    return found, versions, cuda.group(1) if cuda else ""


def _python(path: str, answer: str) -> Optional[HostPython]:
    try:
        executable, version, implementation, is_base, has_venv = json.loads(answer)
    except (ValueError, TypeError, RecursionError):
        return None
    if not isinstance(version, str) or not isinstance(executable, str) or not _VERSION.match(version):
        return None
    return HostPython(executable or path, version, str(implementation), bool(is_base), bool(has_venv))


def _answers(commands: List[List[str]]) -> List[str]:
    """Return what commands print, run all at once; "" for what fails or takes too long."""
    env = {**login.identity(), "PATH": login.USUAL_PATH}
    children: List[Optional["subprocess.Popen[bytes]"]] = []
    for command in commands:
        try:
            children.append(
                subprocess.Popen(
                    command,
                    env=env,
                    cwd=login.home(env),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            )
        except (OSError, ValueError):
            children.append(None)
    told = _collect([child for child in children if child is not None])
    return [told.get(child.pid, "") if child is not None else "" for child in children]


def _collect(children: List["subprocess.Popen[bytes]"]) -> Dict[int, str]:
    deadline = time.monotonic() + _SECONDS
    data: Dict[int, bytes] = {child.pid: b"" for child in children}
    with selectors.DefaultSelector() as selector:
        for child in children:
            selector.register(child.stdout, selectors.EVENT_READ, child)  # type: ignore[arg-type]
        while selector.get_map() and time.monotonic() < deadline:
            for key, _ in selector.select(max(0.0, deadline - time.monotonic())):
                part = os.read(key.fd, _MOST_BYTES)
                data[key.data.pid] += part
                if not part or len(data[key.data.pid]) > _MOST_BYTES:
                    selector.unregister(key.fileobj)
    for child in children:
        try:
            os.killpg(child.pid, 9)
        except OSError:
            pass
        assert child.stdout is not None
        child.stdout.close()
        try:
            child.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            pass  # it hangs in the kernel, on a disk that is gone
    return {pid: told.decode("utf-8", "replace") for pid, told in data.items()}
