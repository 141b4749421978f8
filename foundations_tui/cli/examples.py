"""The example project that ``init`` and ``demo`` make: a real training, on real data, in seconds."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from foundations_tui.errors import FoundationsError, UsageError

_CONFIG = """\
# What foundations knows of this project. All keys are optional.
project = {name}
# host = "gpu1"                 # where its jobs go when --host is not given

# [env]                         # environment variables of its jobs; no secrets
# OMP_NUM_THREADS = "4"

# [snapshot]
# max_file_mb = 100             # larger files that git does not track stop a submit
"""


def make_project(folder: Path) -> list[str]:
    """Make the example project and return its files.

    Raises:
        UsageError: the folder is there and not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is there already and not empty", "give another name")
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for entry in sorted(resources.files("foundations_tui").joinpath("template").iterdir(), key=lambda e: e.name):
        if entry.is_file():
            (folder / entry.name).write_bytes(entry.read_bytes())
            names.append(entry.name)
    return names


def begin_repository(folder: Path) -> bool:
    """Make a new project a git repository with a first commit, where git is there and knows who commits.

    Returns:
        Whether it is one now.
    """
    from foundations_tui.snapshot import git_cli

    try:
        git_cli.run(folder, "init", "--quiet")
        git_cli.run(folder, "add", "--all")
        git_cli.run(folder, "commit", "--quiet", "--message", "Begin with the example of foundations", check=False)
    except FoundationsError:
        return False
    return True


def write_config(folder: Path) -> Path:
    """Write a foundations.toml into an existing project.

    Raises:
        UsageError: there is one.
    """
    import json  # a JSON string is a TOML string

    path = folder / "foundations.toml"
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(_CONFIG.format(name=json.dumps(folder.resolve().name or "default")))
    except FileExistsError:
        raise UsageError("there is a foundations.toml already") from None
    return path
