"""The files of versions: where they are on a host, and how they get to another one, or here."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from foundations_tui.config import locations
from foundations_tui.errors import FoundationsError, HostError, NotFoundError
from foundations_tui.session import Session
from foundations_tui.store import queries
from foundations_tui.store.rows import JobRow
from foundations_tui.submit import data_sets
from foundations_tui.submit.progress import Progress, bar
from foundations_tui.sync import code as of_jobs, outputs
from foundations_tui.sync.outputs import FetchRequest
from foundations_tui.text import humanize
from remote_agent.protocol.data_sets import manifest_hash, manifest_text
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.models import DATA, FilesToKeep, KeptFiles, Version

_MOST_KEPT = 40
"""Folders of versions that are kept here, those used last."""


def keep(session: Session, row: JobRow, path: str, progress: Progress) -> KeptFiles:
    """Have the host of a job keep some of its files as they are now: a copy that nothing changes afterwards.

    Args:
        session: the client's.
        row: the job.
        path: "artifacts/KEY", or below the folder that it ran in.
        progress: gets the progress.
    Raises:
        NotFoundError: there is nothing. HostError: its host is out of reach.
    """
    progress.stage(f"keeping {path} on {row.host}")
    order = FilesToKeep(row.job, max(row.attempt, 1), _in_job(session, row, path)).to_wire()
    answer = session.retrying(row.host, lambda agent: agent.run_role("keep-data", json.dumps(order)))
    try:
        return KeptFiles.from_wire(answer, "what it has kept")
    except BadRequest as error:
        raise HostError(f"{row.host}: {error}") from None


def _in_job(session: Session, row: JobRow, path: str) -> str:
    """Return a path as the host knows it: artifacts lie there by the names of their files."""
    first, _, rest = path.partition("/")
    if first != "artifacts" or not rest:
        subdir = str(queries.spec(session.store.conn, row.job).get("subdir", ""))
        return f"{subdir}/{path}" if subdir and first != "artifacts" else path
    for key in sorted(row.artifacts, key=len, reverse=True):
        facts = row.artifacts[key]
        if (rest == key or rest.startswith(f"{key}/")) and isinstance(facts, dict) and facts.get("path"):
            return f"artifacts/{facts['path']}{rest[len(key) :]}"
    return path


def on_host(session: Session, version: Version, host: str, progress: Progress) -> dict[str, dict[str, str]]:
    """Return a version's files as data of a job on a host; what that has not is sent, through this machine.

    Args:
        session: the client's.
        version: which.
        host: where they are needed.
        progress: gets the progress; size and what is sent are said first.
    Raises:
        NotFoundError: nobody has them. HostError: a host is out of reach.
    """
    if not version.data:
        return {}
    place = _place(session, version, host)
    if not place:
        here = local(session, version, progress)
        size = humanize.size(version.bytes)
        session.say(f"sending {humanize.plural(version.files, 'file')}, {size}, to {host}")

        def sent(what: str, done: int, total: int) -> None:
            progress.stage(bar(what, done, total, f"{humanize.size(done)} of {humanize.size(total)}"))

        data_sets.put(session, host, _name(version), here, sent)
        place = _place(session, version, host)
    if not place:
        raise NotFoundError(f"the files of the version are not on {host}, and did not get there")
    return {DATA: {"path": place, "at": "", "hash": version.data}}


def is_on_host(session: Session, version: Version, host: str) -> bool:
    """Return whether a host has a version's files."""
    return bool(_place(session, version, host))


def _name(version: Version) -> str:
    return f"model_{version.data[:16]}"


def _place(session: Session, version: Version, host: str) -> str:
    """Return where a host has a version's files; "" where it has not."""
    there = [one.path for one in data_sets.listed(session, host) if one.hash == version.data and one.path]
    return there[0] if there else ""


def local(session: Session, version: Version, progress: Progress) -> Path:
    """Return a version's files on this machine, brought from the host of its job when they are not here yet.

    Raises:
        NotFoundError: nobody has them. HostError: the host is out of reach. FoundationsError: they are not what was
            registered.
    """
    folder = _cache() / version.data
    if not folder.exists():
        row = queries.job(session.store.conn, version.job)
        size = humanize.size(version.bytes)
        session.say(f"fetching {humanize.plural(version.files, 'file')}, {size}, from {row.host}")

        def came(done: int, total: int) -> None:
            progress.stage(bar("fetching", done, total, f"{humanize.size(done)} of {humanize.size(total)}"))

        def fetch(temporary: Path) -> None:
            outputs.fetch(session, row, FetchRequest("data", (version.data,)), temporary, came)
            _matching(temporary, version)

        _made(folder, fetch)
    os.utime(folder)
    return _matching(folder, version)


def code(session: Session, version: Version) -> Path:
    """Return a folder with the code of a version on this machine, brought here when it is not.

    Raises:
        NotFoundError: nobody has it. HostError: the host is out of reach.
    """
    folder = _cache() / f"code-{version.snapshot}"
    if not folder.exists():
        row = queries.job(session.store.conn, version.job)
        _made(folder, lambda temporary: of_jobs.write(session, row, temporary))
    os.utime(folder)
    return folder


def let_go(session: Session, version: Version) -> None:
    """Have the host of a version's job forget its files, unless another version or a job needs them."""
    if not version.data:
        return
    try:
        data_sets.remove(session, queries.job(session.store.conn, version.job).host, _name(version))
    except FoundationsError:
        pass  # somebody needs them; or the host is away, and keeps them


def _cache() -> Path:
    return locations.data_folder() / "models"


def _made(folder: Path, fill: Callable[[Path], object]) -> None:
    """Fill a folder, which is there whole or not at all; another process may have been faster. Old ones go."""
    temporary = folder.with_name(f"{folder.name}.{os.getpid()}.incoming")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        fill(temporary)
        with contextlib.suppress(OSError):
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    kept = sorted((one for one in folder.parent.iterdir() if "." not in one.name), key=lambda one: one.stat().st_mtime)
    for old in kept[:-_MOST_KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def _matching(folder: Path, version: Version) -> Path:
    """Return the folder, or the one file in it, that has the hash of a version's files.

    Raises:
        FoundationsError: neither has.
    """
    inside = list(folder.iterdir()) if folder.is_dir() else []
    for candidate in [folder, *(inside if len(inside) == 1 else [])]:
        if inside and manifest_hash(manifest_text(data_sets.manifest_of(candidate, lambda *_: None))) == version.data:
            return candidate
    raise FoundationsError(
        f"the files at {folder} are not those that were registered", "remove that folder: they are fetched again"
    )
