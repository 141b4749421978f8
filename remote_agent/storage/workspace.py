"""The folder of an attempt: a copy of the snapshot that is the job's own."""

from __future__ import annotations

import json
import os
import shutil
from typing import Callable, Iterable

from remote_agent.protocol.errors import AgentError
from remote_agent.protocol.wire import JsonTable
from remote_agent.storage import files
from remote_agent.storage.objects import ObjectStore

PARAMETERS_FILE = "foundations_job_parameters.json"


def make(objects: ObjectStore, tree: str, folder: str, check: Callable[[], None]) -> None:
    """Make a folder from a snapshot.

    Args:
        objects: where the snapshot lies.
        tree: its id.
        folder: made again.
        check: called before each file; what it raises ends the making.
    Raises:
        NotFound: an object is missing. OSError: the disk does not take it.
    """
    os.makedirs(folder, 0o700)
    _fill(objects, tree, os.fsencode(folder), check)


def _fill(objects: ObjectStore, tree: str, folder: bytes, check: Callable[[], None]) -> None:
    for mode, name, oid in objects.tree(tree):
        path = os.path.join(folder, name)
        check()
        if mode in ("40000", "040000"):
            os.mkdir(path, 0o700)
            _fill(objects, oid, path, check)
        elif mode == "120000":
            with open(objects.path(oid), "rb") as file:
                os.symlink(file.read(), path)
        elif mode in ("100644", "100755"):
            _copy(objects.path(oid), path, 0o755 if mode == "100755" else 0o644)


def _copy(source: str, target: bytes, mode: int) -> None:
    with open(source, "rb") as reader:
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with open(fd, "wb") as writer:
            try:
                files.clone(reader, writer)
            except OSError:
                shutil.copyfileobj(reader, writer, 1 << 20)


def add_folders(work: str, folders: Iterable[str]) -> None:
    """Make the folders that were empty where the snapshot was taken: it has only files, and programs write into them.

    Where data of the host is linked, or anything leads out of the job's folder, none is made.
    """
    for folder in folders:
        if not files.is_inside(work, os.path.join(work, folder)):
            continue
        try:
            os.makedirs(os.path.join(work, folder), 0o700, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            pass  # it became a file while the snapshot was taken


def start_folder(work: str, subdir: str) -> str:
    """Return the folder in which the command starts.

    Raises:
        AgentError: the snapshot has no such folder.
    """
    folder = os.path.join(work, subdir) if subdir else work
    if not os.path.isdir(folder):
        raise AgentError(f"the snapshot has no folder {subdir!r}: a folder without files is not kept")
    return folder


def link_data(work: str, data: JsonTable) -> None:
    """Link what lies on the host into the job's folder, at the paths that its code knows.

    Raises:
        AgentError: it is not on this host, or its place is taken.
    """
    for name, entry in sorted(data.items()):
        path, at = os.path.expanduser(entry["path"]), entry.get("at", "")
        if not os.path.exists(path):
            raise AgentError(f"data {name!r}: {path} is not on this host")
        if not at:
            continue
        link = os.path.join(work, at)
        if not files.is_inside(work, os.path.dirname(link)):
            raise AgentError(f"data {name!r}: {at!r} leads out of the job's folder")
        os.makedirs(os.path.dirname(link), 0o700, exist_ok=True)
        try:
            os.symlink(path, link)
        except FileExistsError:
            raise AgentError(f"data {name!r}: the snapshot has a file or folder at {at!r} already") from None


def write_parameters(folder: str, params: JsonTable) -> None:
    """Put the job's parameters where scripts look for them; they win over those of a file that is there."""
    if not params:
        return
    path = os.path.join(folder, PARAMETERS_FILE)
    merged = _parameters_in(path)
    merged.update(params)
    with open(path + ".tmp", "w", encoding="utf-8") as file:
        json.dump(merged, file, indent=2)
    os.replace(path + ".tmp", path)


def _parameters_in(path: str) -> JsonTable:
    try:
        with open(path, encoding="utf-8") as file:
            table = json.load(file)
    except (OSError, ValueError):
        return {}
    return table if isinstance(table, dict) else {}
