"""Environments of conda packages, made by the host's own conda, mamba or micromamba.

They know the folder that they were made for, so they are made where they stay, and the environment links to it.
"""

from __future__ import annotations

import os
import re
from typing import Dict, List

from remote_agent.environments import places, sealing
from remote_agent.environments.packages import copy_object, keep_lock
from remote_agent.environments.steps import Steps
from remote_agent.protocol.recipes import EXPLICIT, Recipe
from remote_agent.storage import files
from remote_agent.storage.objects import ObjectStore
from remote_agent.storage.paths import Paths

_PIP = "# pip "
"""Begins a line of the lock that conda does not read: a package of pip's."""
_URL = re.compile(r"(https?|file)://\S+\Z")


def build(paths: Paths, recipe: Recipe, steps: Steps, folder: str, scratch: str) -> str:
    """Build, and return the SHA-256 of the lock: conda's explicit list, and what pip has installed beside it.

    Args:
        paths: the agent's files.
        recipe: what to build.
        steps: runs programs.
        folder: what becomes the environment.
        scratch: a folder that is removed afterwards.
    Raises:
        BuildFailed: why not.
    """
    place = os.path.join(os.path.dirname(folder), os.path.basename(folder).replace(places.NEW, places.AT, 1))
    program = recipe.program
    steps.env.update(CONDA_ALWAYS_YES="true", CONDA_PKGS_DIRS=os.path.join(places.cache(paths), "conda"))
    steps.env.setdefault("MAMBA_ROOT_PREFIX", os.path.join(places.cache(paths), "mamba"))
    try:
        _create(paths, recipe, steps, program, place, scratch)
        lines = ["@EXPLICIT", *_of_conda(place), *(_PIP + line for line in _of_pip(place))]
        sealing.protect(place)
    except BaseException:
        files.remove_tree(place)
        raise
    os.symlink(os.path.join(os.pardir, os.path.basename(place)), os.path.join(folder, "env"))
    return keep_lock(paths, "".join(f"{line}\n" for line in lines).encode())


def _create(paths: Paths, recipe: Recipe, steps: Steps, program: str, place: str, scratch: str) -> None:
    name = os.path.basename(program)
    key = "lock" if recipe.format == EXPLICIT else "wanted"
    wanted = os.path.join(scratch, "explicit.txt" if recipe.format == EXPLICIT else "environment.yml")
    copy_object(ObjectStore(paths.objects), recipe, key, wanted)
    if recipe.format == EXPLICIT or name == "micromamba":
        steps.run([program, "create", "--yes", "--prefix", place, "--file", wanted])
    else:
        steps.run([program, "env", "create", "--prefix", place, "--file", wanted])
    if recipe.format == EXPLICIT:
        with open(wanted, encoding="utf-8", errors="replace") as file:
            pinned = [line[len(_PIP) :].strip() for line in file if line.startswith(_PIP)]
        if pinned:
            python = os.path.join(place, "bin", "python")
            steps.run([python, "-m", "pip", "install", "--no-deps", "--no-input", *pinned])


def _of_conda(place: str) -> List[str]:
    """Return the URLs of conda's packages with their hashes, as ``conda list --explicit --md5`` has them."""
    lines: List[str] = []
    folder = os.path.join(place, "conda-meta")
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        told = files.read_json(os.path.join(folder, name)) if name.endswith(".json") else None
        if isinstance(told, dict) and isinstance(told.get("url"), str) and _URL.match(told["url"]):
            digest = told.get("md5")
            lines.append(told["url"] + (f"#{digest}" if isinstance(digest, str) else ""))
    return lines


def _of_pip(place: str) -> List[str]:
    found: Dict[str, str] = {}
    for top, folders, _ in files.walk(os.path.join(place, "lib"), lambda *_: None):
        if not top.endswith(".dist-info"):
            continue
        folders.clear()
        try:
            with files.open_regular(os.path.join(top, "INSTALLER")) as file:
                by = file.read(100).strip()
        except OSError:
            continue
        name, _, version = os.path.basename(top)[: -len(".dist-info")].partition("-")
        if by == b"pip" and version:
            found[name] = version
    return [f"{name}=={version}" for name, version in sorted(found.items())]
