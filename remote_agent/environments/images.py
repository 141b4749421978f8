"""Environments that are container images: fetched by the host's apptainer or podman, run with a job's GPUs."""

from __future__ import annotations

import os
import re
from typing import List, Mapping, Sequence

from remote_agent.environments.places import Environment
from remote_agent.environments.steps import BuildFailed, Steps
from remote_agent.protocol.recipes import Recipe
from remote_agent.storage import files

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_OF_THE_HOST = ("PATH", "HOME", "SHELL", "USER", "LOGNAME", "PYTHONHOME", "LD_LIBRARY_PATH")
"""Variables that are the image's own."""


def build(recipe: Recipe, steps: Steps, folder: str) -> str:
    """Fetch the image, and return its digest.

    Args:
        recipe: what to fetch, and with which program.
        steps: runs programs.
        folder: what becomes the environment.
    Raises:
        BuildFailed: why not.
    """
    if is_podman(recipe):
        steps.run([recipe.program, "pull", "--quiet", _plain(recipe.image)])
        lines = steps.run([recipe.program, "image", "inspect", "--format", "{{.Digest}}", _plain(recipe.image)])
        found = _DIGEST.search("\n".join(lines))
        if found is None:
            raise BuildFailed(f"podman does not say the digest of {recipe.image}")
        return found.group()
    path = os.path.join(folder, "image.sif")
    source = recipe.image if "://" in recipe.image or recipe.image.startswith("/") else f"docker://{recipe.image}"
    steps.run([recipe.program, "pull", "--force", path, source])
    with open(path, "rb") as file:
        return f"sha256:{files.sha256_of(file)}"


def command(
    recipe: Recipe,
    environment: Environment,
    digest: str,
    argv: Sequence[str],
    env: Mapping[str, str],
    cwd: str,
    folders: Sequence[str],
    gpus: Sequence[str],
    vendor: str,
) -> List[str]:
    """Return what runs a command inside an image.

    Args:
        recipe: what was fetched, and with which program.
        environment: where it lies.
        digest: of the image that was fetched.
        argv: the command.
        env: its variables; those of the host's own programs stay outside.
        cwd: where it starts.
        folders: of the host, seen inside at the same places.
        gpus: the leased ones, by UUID.
        vendor: theirs.
    """
    given = {name: value for name, value in env.items() if name not in _OF_THE_HOST}
    if is_podman(recipe):
        words = [recipe.program, "run", "--rm", "--init", "--userns=keep-id", "--network=host", "--workdir", cwd]
        words += [word for folder in folders for word in ("--volume", f"{folder}:{folder}")]
        words += [word for name in sorted(given) for word in ("--env", name)]
        if vendor == "nvidia":
            words += [word for gpu in gpus for word in ("--device", f"nvidia.com/gpu={gpu}")]
        elif gpus:
            words += ["--device", "/dev/kfd", "--device", "/dev/dri"]
        name = _plain(recipe.image).partition("@")[0]
        return [*words, f"{_untagged(name)}@{digest}", *argv]
    words = [recipe.program, "exec", "--pwd", cwd]
    words += [word for folder in folders for word in ("--bind", f"{folder}:{folder}")]
    if gpus:
        words += ["--nv"] if vendor == "nvidia" else ["--rocm"]
    return [*words, environment.image, *argv]


def is_podman(recipe: Recipe) -> bool:
    """Return whether podman runs it."""
    return os.path.basename(recipe.program) == "podman"


def _plain(image: str) -> str:
    return image[len("docker://") :] if image.startswith("docker://") else image


def _untagged(name: str) -> str:
    head, colon, tag = name.rpartition(":")
    return head if colon and "/" not in tag else name
