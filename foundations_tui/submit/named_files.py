"""Files that a command names and that would not travel with it: they are not there, or git ignores them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from foundations_tui.config.project import load_project
from foundations_tui.errors import FoundationsError
from foundations_tui.snapshot import files, freeze, git_cli
from foundations_tui.submit.request import JobRequest
from foundations_tui.text.sanitize import one_line

_SCRIPTS = (".py", ".sh", ".ipynb")
_MOST = 50


def warnings(request: JobRequest) -> list[str]:
    """Return what to say of the files that a command names.

    Args:
        request: what is to be run, on the working tree as it is now.
    """
    if request.code_of or request.shell:
        return []
    words = list(_paths(request))
    missing = next((word for word in words if word.endswith(_SCRIPTS)), "")
    said = []
    if missing and not (request.folder / missing).exists():
        folder = one_line(str(request.folder.resolve()))
        said.append(f"warning: {one_line(missing)} is not in {folder}: the job will not find it")
    for word in _ignored(request.folder, [word for word in words if (request.folder / word).is_file()]):
        said.append(
            f"warning: git ignores {one_line(word)}, so it is not shipped:"
            f" [snapshot] include = [{json.dumps(word)}] in foundations.toml ships it"
        )
    return said


def _paths(request: JobRequest) -> Iterator[str]:
    """Yield the words of a command that may be files of its folder, also ``--config=conf.yaml``."""
    for word in request.command[:_MOST]:
        path = word.partition("=")[2] if word.startswith("-") else word
        if path and not os.path.isabs(path) and "{" not in path and "\0" not in path and len(path) < 1000:
            yield path


def _ignored(folder: Path, words: list[str]) -> list[str]:
    """Return those of some files that git ignores and the project does not include all the same."""
    if not words:
        return []
    told = b"".join(os.fsencode(word) + b"\0" for word in words)
    try:
        done = git_cli.run(folder, "check-ignore", "-z", "--stdin", stdin=told, check=False)
        top = freeze.top_of(folder)
        shipped = files.included(top, load_project(folder).include)
    except FoundationsError:
        return []  # no repository, no git: the submit itself says what is wrong
    found = [os.fsdecode(name) for name in done.stdout.split(b"\0") if name]
    return [word for word in found if os.fsencode(os.path.relpath(folder.resolve() / word, top)) not in shipped]
