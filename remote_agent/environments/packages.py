"""Environments of Python packages: a virtual environment that uv makes from a lock, or pip where there is no uv."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tarfile
from typing import Dict, List, Mapping

from remote_agent.environments import places, sealing
from remote_agent.environments.pip_settings import pip_variables
from remote_agent.environments.places import Environment
from remote_agent.environments.steps import BuildFailed, Steps
from remote_agent.protocol.recipes import PYLOCK, Recipe
from remote_agent.storage import files, workspace
from remote_agent.storage.objects import ObjectStore
from remote_agent.storage.paths import Paths

_NO_FILES = ("lock", "wanted", "constraints", "uv", "python", "certificates")
"""Objects that are no wheels."""
_HASH = re.compile(r"--hash=|#sha256=")
_STANDALONE = re.compile(r"\s*[^\s#-]")
"""A line of requirements that names a package."""


class PackagesBuild:
    """One build: what it has, and its steps in order."""

    def __init__(self, paths: Paths, recipe: Recipe, steps: Steps, folder: str, scratch: str) -> None:
        """Begin.

        Args:
            paths: the agent's files.
            recipe: what to build.
            steps: runs programs.
            folder: where it is built.
            scratch: a folder that is removed afterwards.
        """
        self._paths = paths
        self._recipe = recipe
        self._steps = steps
        self._folder = folder
        self._scratch = scratch
        self._objects = ObjectStore(paths.objects)
        self._prefix = os.path.join(folder, "env")

    def run(self) -> str:
        """Build, and return the SHA-256 of the lock that it was built from.

        Raises:
            BuildFailed: why not. OSError: the disk does not take it.
        """
        recipe, steps = self._recipe, self._steps
        interpreter = self._sent_python() if "python" in recipe.objects else recipe.interpreter
        if not os.access(interpreter, os.X_OK):
            raise BuildFailed(f"the Python {interpreter} is not on this host any more; submit again")
        if "certificates" in recipe.objects:
            steps.env["SSL_CERT_FILE"] = self._put("certificates.pem", "certificates")
        for name in recipe.objects:
            if name not in _NO_FILES:
                self._put(os.path.join("wheels", name), name)
        uv = self._uv()
        if uv:
            os.makedirs(places.cache(self._paths), 0o700, exist_ok=True)
            steps.env.update(self._uv_settings())
            steps.run([uv, "venv", "--quiet", "--relocatable", "--no-project", "--python", interpreter, self._prefix])
        else:
            steps.say("there is no uv on this host, so pip builds the environment")
            steps.env.update(_pip_settings(steps.env))
            steps.run([interpreter, "-m", "venv", self._prefix])
        lock = self._lock(uv)
        with open(lock, "rb") as file:
            content = file.read()
        if recipe.lock and hashlib.sha256(content).hexdigest() != recipe.lock:
            raise BuildFailed("the lock that came with the job is damaged; submit it again")
        digest = keep_lock(self._paths, content)
        for name in ("UV_CONSTRAINT", "PIP_CONSTRAINT"):
            steps.env.pop(name, None)  # they say nothing to what is locked
        if uv:
            self._install_with_uv(uv, lock)
        else:
            self._install_with_pip(lock, content.decode("utf-8", "replace"))
        if recipe.builds:
            self._install_project(uv)
        return digest

    def relocate(self, target: Environment) -> None:
        """Have the scripts that pip has made name the place to which the environment goes; uv's find it themselves."""
        programs = os.path.join(self._prefix, "bin")
        before, after = (os.fsencode(os.path.join(top, "bin")) + b"/" for top in (self._prefix, target.prefix))
        for name in sorted(os.listdir(programs)):
            path = os.path.join(programs, name)
            if os.path.islink(path) or not os.path.isfile(path):
                continue
            with open(path, "rb") as file:
                content = file.read()
            if content.startswith(b"#!") and before in content:
                with open(path, "wb") as file:
                    file.write(content.replace(before, after))

    def _sent_python(self) -> str:
        """Return the Python that was sent as an archive, unpacked once."""
        oid = self._recipe.objects["python"]
        folder = os.path.join(self._paths.tools, f"python-{oid}")
        if not os.path.isdir(folder):
            made = f"{folder}.{os.getpid()}.tmp"
            try:
                with tarfile.open(self._put("python.tar.gz", "python"), "r:gz") as archive:
                    members = archive.getmembers()
                    for member in members:
                        _check_member(member)
                    archive.extractall(made, members)
                os.rename(made, folder)
            except (tarfile.TarError, EOFError) as error:
                raise BuildFailed(f"the archive of Python that was sent makes no sense: {error}") from None
            except OSError:
                if not os.path.isdir(folder):  # else another builder was faster
                    raise
            finally:
                shutil.rmtree(made, ignore_errors=True)
        return os.path.join(folder, "python", "bin", "python3")

    def _uv(self) -> str:
        """Return the uv that builds: the one that was sent, else the host's; "" for none."""
        oid = self._recipe.objects.get("uv")
        if not oid:
            return self._recipe.program
        path = os.path.join(self._paths.tools, f"uv-{oid}")
        if files.size(path) != files.size(self._objects.path(oid)):
            os.makedirs(self._paths.tools, 0o700, exist_ok=True)
            temporary = f"{path}.{os.getpid()}.tmp"
            copy_object(self._objects, self._recipe, "uv", temporary)
            os.chmod(temporary, 0o700)
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
        return path

    def _uv_settings(self) -> Dict[str, str]:
        cache = places.cache(self._paths)
        settings = {
            "UV_CACHE_DIR": cache,
            "UV_LINK_MODE": link_mode(cache, self._folder),
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_SYSTEM_CERTS": "1",
            "UV_NATIVE_TLS": "1",  # its name before 0.9
            "UV_NO_PROGRESS": "1",
        }
        if self._recipe.offline:
            settings.update(UV_OFFLINE="1", UV_NO_INDEX="1")
        if self._has_wheels:
            given = self._steps.env.get("UV_FIND_LINKS", "")
            settings["UV_FIND_LINKS"] = ",".join(filter(None, [os.path.join(self._scratch, "wheels"), given]))
        return settings

    @property
    def _has_wheels(self) -> bool:
        return any(name not in _NO_FILES for name in self._recipe.objects)

    def _lock(self, uv: str) -> str:
        """Return the file of the lock: the one that came, or the one that is made here of what is wanted."""
        recipe = self._recipe
        if recipe.lock:
            kept = self._paths.lock(recipe.lock)
            name = "pylock.toml" if recipe.format == PYLOCK else "lock.txt"
            if "lock" in recipe.objects:
                return self._put(name, "lock")
            try:
                return shutil.copyfile(kept, os.path.join(self._scratch, name))
            except OSError:
                raise BuildFailed("its lock is not on this host any more; submit it again") from None
        wanted = self._put("requirements.in", "wanted")
        if "constraints" in recipe.objects:
            constraints = self._put("constraints.txt", "constraints")
            self._steps.env.update(UV_CONSTRAINT=constraints, PIP_CONSTRAINT=constraints)
        lock = os.path.join(self._scratch, "lock.txt")
        python = os.path.join(self._prefix, "bin", "python")
        if uv:
            words = ["--quiet", "--generate-hashes", "--no-header", "--no-annotate", "--python", python]
            self._steps.run([uv, "pip", "compile", *words, "--output-file", lock, wanted])
        else:
            pip = [python, "-m", "pip", "--disable-pip-version-check"]
            self._steps.run([*pip, "install", "--no-input", "--progress-bar", "off", "-r", wanted])
            lines = self._steps.run([*pip, "freeze"])
            with open(lock, "w", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in lines if "==" in line or " @ " in line)
        return lock

    def _install_with_uv(self, uv: str, lock: str) -> None:
        python = os.path.join(self._prefix, "bin", "python")
        with open(lock, encoding="utf-8", errors="replace") as file:
            is_empty = not any(_STANDALONE.match(line) for line in file)
        if is_empty:
            return
        words = ["--python", python, "--compile-bytecode"]
        if self._recipe.format == PYLOCK:
            words += [word for extra in self._recipe.extras for word in ("--extra", extra)]
            words += [word for group in self._recipe.groups for word in ("--group", group)]
        self._steps.run([uv, "pip", "sync", *words, lock])

    def _install_with_pip(self, lock: str, content: str) -> None:
        if self._recipe.format == PYLOCK:
            raise BuildFailed("pylock.toml needs uv, and none is on this host nor could one be sent")
        python = os.path.join(self._prefix, "bin", "python")
        words = ["--no-input", "--progress-bar", "off", "--no-deps", "--no-warn-script-location"]
        if self._recipe.offline:
            words += ["--no-index"]
        if self._has_wheels:
            words += ["--find-links", os.path.join(self._scratch, "wheels")]
        if any(_STANDALONE.match(line) for line in content.splitlines()):
            words += ["--require-hashes"] if _HASH.search(content) else []
            self._steps.run([python, "-m", "pip", "--disable-pip-version-check", "install", *words, "-r", lock])

    def _install_project(self, uv: str) -> None:
        """Build the project's own packages out of its snapshot, without what they depend on: that is locked."""
        tree = os.path.join(self._scratch, "tree")
        workspace.make(self._objects, self._recipe.tree, tree, lambda: None)
        python = os.path.join(self._prefix, "bin", "python")
        folders = [os.path.join(tree, folder) for folder in self._recipe.builds]
        self._steps.say("building the project's own packages")
        if uv:
            words = ["pip", "install", "--python", python, "--no-deps", "--compile-bytecode", "--no-cache"]
            self._steps.run([uv, *words, *folders])
        else:
            pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--no-input", "--no-deps"]
            self._steps.run([*pip, *folders])

    def _put(self, name: str, key: str) -> str:
        """Return a file of the scratch folder that holds an object which came with the job."""
        path = os.path.join(self._scratch, name)
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        copy_object(self._objects, self._recipe, key, path)
        return path


def _check_member(member: tarfile.TarInfo) -> None:
    """Refuse what an archive would write outside of its folder.

    Raises:
        BuildFailed: which.
    """
    names = [member.name]
    if member.issym():
        names.append(os.path.join(os.path.dirname(member.name), member.linkname))
    elif member.islnk():
        names.append(member.linkname)
    leads_out = any(os.path.isabs(name) or os.path.normpath(name).split(os.sep)[0] == os.pardir for name in names)
    if leads_out or not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
        raise BuildFailed(f"the archive of Python that was sent leads out of its folder: {member.name}")


def link_mode(cache: str, folder: str) -> str:
    """Return how files get from uv's cache into an environment.

    Clones share blocks and nothing else. Hard links share the file: whoever writes into one environment changes all
    others and the cache, so they are made only where read-only files stop everybody. Root is stopped by nothing.
    """
    if sealing.can_clone(cache, folder):
        return "clone"
    if os.getuid() != 0 and os.stat(cache).st_dev == os.stat(folder).st_dev:
        return "hardlink"
    return "copy"


def copy_object(objects: ObjectStore, recipe: Recipe, key: str, path: str) -> None:
    """Copy an object that came with a job.

    Args:
        objects: those of the host.
        recipe: names it.
        key: its name there.
        path: where to.
    Raises:
        BuildFailed: it is not here.
    """
    oid = recipe.objects.get(key, "")
    try:
        shutil.copyfile(objects.path(oid) if oid else "", path)
    except FileNotFoundError:
        raise BuildFailed("a file that its environment is built from is not on this host; submit it again") from None


def keep_lock(paths: Paths, content: bytes) -> str:
    """Keep a lock by its SHA-256, which is returned: clients read it from there."""
    digest = hashlib.sha256(content).hexdigest()
    path = paths.lock(digest)
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        files.write_bytes(path, content)
    return digest


def _pip_settings(env: Mapping[str, str]) -> Dict[str, str]:
    settings = pip_variables(env)
    if env.get("SSL_CERT_FILE"):
        settings["PIP_CERT"] = env["SSL_CERT_FILE"]
    return settings


def secrets_of(variables: Mapping[str, str]) -> List[str]:
    """Return the texts in private variables that must not stand in a log: whole values, and users with passwords."""
    found: List[str] = []
    for value in variables.values():
        for url in value.replace(",", " ").split():
            with contextlib.suppress(ValueError):
                authority = url.partition("://")[2].partition("/")[0]
                if "@" in authority:
                    found.append(authority.rpartition("@")[0])
                    found.append(authority.rpartition("@")[0].partition(":")[2])
    return [text for text in found if len(text) >= 4]
