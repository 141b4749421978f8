"""Fetching what a job wrote into a folder: files, code, artifacts, checkpoints, its log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from foundations_tui.config import locations
from foundations_tui.errors import FoundationsError, HostError, NotFoundError, UsageError
from foundations_tui.ingest import local_runs
from foundations_tui.session import Session
from foundations_tui.store import queries
from foundations_tui.store.rows import JobRow
from foundations_tui.sync import code, outputs, pull, unpacking
from foundations_tui.sync.outputs import Fetched, FetchRequest
from foundations_tui.sync.unpacking import Unpacked

Received = Callable[[int, int], None]
"""Takes how many bytes of how many are here."""


@dataclass(frozen=True)
class FileSelection:
    """Which files of a job are to be fetched; none named means all that it wrote in its folder."""

    paths: tuple[str, ...] = ()
    """Files and folders below its folder."""
    code: bool = False
    artifacts: bool = False
    keys: tuple[str, ...] = ()
    """Single artifacts."""
    log: bool = False
    checkpoints: bool = False
    attempt: int | None = None
    """Which attempt's files; None for the last one's."""
    with_git: bool = False
    """Whether files below a ``.git`` come, too."""

    @property
    def means_written(self) -> bool:
        """Whether all that it wrote is meant, or some of that."""
        return bool(self.paths) or not (self.code or self.artifacts or self.keys or self.log or self.checkpoints)


@dataclass(frozen=True)
class FetchResult:
    """What came, and where it lies."""

    folder: Path
    files: list[tuple[str, int]]
    """(path below the folder, bytes)."""
    refused: list[tuple[str, str]]
    """(path, why) of those that cannot be written here."""


def fetch(
    session: Session,
    row: JobRow,
    request: FileSelection,
    dest: Path | None = None,
    received: Received = lambda done, total: None,
) -> FetchResult:
    """Bring files of a job into a folder.

    Args:
        session: the client's.
        row: the job.
        request: which files.
        dest: where to; None for a folder in the working directory that is named by the job's id and that git ignores.
        received: gets the progress.
    Raises:
        NotFoundError: it has no such files. UsageError: the folder is none, or somebody else's. HostError: its host is
            out of reach.
    """
    _check(row, request)
    target = dest or Path(queries.short_ids(session.store.conn, [row.job])[row.job])
    if target.exists() and not target.is_dir():
        raise UsageError(f"{target} is no folder", "--dest names a folder")
    if dest is None:
        _refuse_other_folder(target, row)
        _keep_out_of_snapshots(target)
    fetched = Fetched([], [])

    def bring(wanted: FetchRequest, within: str = "") -> None:
        wanted = replace(wanted, attempt=request.attempt or 0, with_git=request.with_git)
        try:
            came = outputs.fetch(session, row, wanted, target, received, within)
        except NotFoundError as error:
            raise NotFoundError(str(error), f"foundations ls {row.job[:6]} lists the job's folder") from None
        _add(fetched, came, within)

    if request.means_written and row.kind != local_runs.KIND:
        bring(FetchRequest("paths" if request.paths else "written", request.paths))
    if request.code:
        _add(fetched, code.write(session, row, target, received, "code", request.with_git), "code")
    if request.checkpoints:
        bring(FetchRequest("checkpoints"), "checkpoints")
    if request.artifacts or request.keys:
        _copy_artifacts(session, row, request.keys, target, request.with_git, fetched)
    if request.log:
        _copy_log(session, row, request.attempt or row.attempt, target, fetched)
    if dest is None:
        _keep_out_of_snapshots(target)  # again: what came may say otherwise
    return FetchResult(target, fetched.files, fetched.refused)


def _check(row: JobRow, request: FileSelection) -> None:
    """Refuse what the job cannot have.

    Raises:
        NotFoundError: why.
    """
    asks_for_folder = request.paths or request.code or request.checkpoints
    if row.kind == local_runs.KIND and (asks_for_folder or request.log):
        raise NotFoundError(f"job {row.job} was started by hand: it ran in your own folder", "--artifacts are kept")
    if request == FileSelection(code=True, attempt=request.attempt, with_git=request.with_git):
        return  # the code is there before the job has begun, and when its folder has gone
    if row.attempt == 0:
        raise NotFoundError(f"job {row.job} has not started: it has no files yet")
    if (request.attempt or 0) > row.attempt:
        raise NotFoundError(f"job {row.job} has no attempt {request.attempt}", f"it has {row.attempt}")
    if row.pruned and (asks_for_folder or not (request.log or request.artifacts or request.keys)):
        raise NotFoundError(f"the folder of job {row.job} was removed from {row.host} (pruned)", "--log is still here")


def _add(fetched: Fetched, came: Fetched | Unpacked, within: str) -> None:
    prefix = f"{within}/" if within else ""
    fetched.files.extend((prefix + name, size) for name, size in came.files)
    fetched.refused.extend((prefix + name, why) for name, why in came.refused)


_MARK = "# fetched by foundations get: not part of the project\n*\n"
"""The end of the .gitignore of a folder that we made: the last rule counts."""


def _refuse_other_folder(folder: Path, row: JobRow) -> None:
    """Refuse a folder that is named like a job and was not made by an earlier get: hosts choose their jobs' names.

    Raises:
        UsageError: it is there, and not empty.
    """
    if folder.is_dir() and any(folder.iterdir()) and not _is_marked(folder):
        raise UsageError(f"{folder}/ is there already, and not from an earlier get", "--dest names a folder")


def _is_marked(folder: Path) -> bool:
    try:
        return (folder / ".gitignore").read_bytes().splitlines()[-1:] == [b"*"]
    except OSError:
        return False


def _keep_out_of_snapshots(folder: Path) -> None:
    """Make git ignore the folder, and so the next submit: it lies in the middle of the user's project."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ".gitignore"
    if path.is_symlink():
        path.unlink()
    if not _is_marked(folder):
        with path.open("a") as file:
            file.write(("\n" if path.stat().st_size else "") + _MARK)


def _copy_artifacts(
    session: Session, row: JobRow, keys: tuple[str, ...], target: Path, with_git: bool, fetched: Fetched
) -> None:
    """Put artifacts into artifacts/, each under its key; what is here already is not fetched again."""
    for key in keys or tuple(row.artifacts):
        try:
            source = outputs.artifact(session, row, key)
        except HostError:
            raise
        except FoundationsError as error:
            if keys:
                raise
            fetched.refused.append((key, str(error)))
            continue
        within = "artifacts/synced" if row.artifacts[key].get("kind") == outputs.SYNCED else "artifacts"
        try:
            with unpacking.Folder(target, within, with_git) as folder:
                copied = unpacking.copy(source, folder, _with_suffix(source.name, row.artifacts[key].get("name")))
        except OSError as error:
            raise FoundationsError(f"{target}: {error.strerror or error}") from None
        _add(fetched, copied, within)


def _with_suffix(name: str, original: Any) -> str:
    """Return an artifact's name with the ending of the file that it was, where its key has none: programs go by it."""
    ending = Path(original).suffix if isinstance(original, str) and "\0" not in original else ""
    return name + ending if ending.isascii() and len(ending) <= 10 and not Path(name).suffix else name


def _copy_log(session: Session, row: JobRow, attempt: int, target: Path, fetched: Fetched) -> None:
    if not row.complete:
        pull.catch_up(session, row.host, jobs=[row.job])
    source = locations.log_file(row.job, attempt)
    try:
        with unpacking.Folder(target) as folder:
            copied = unpacking.copy(source, folder, "output.log") if source.exists() else None
            if copied is None:  # it wrote nothing
                with folder.new_file("output.log"):
                    fetched.files.append(("output.log", 0))
    except unpacking.Refused as error:
        raise FoundationsError(f"{target}/output.log: {error}") from None
    except OSError as error:
        raise FoundationsError(f"{target}: {error.strerror}") from None
    if copied is not None:
        _add(fetched, copied, "")
