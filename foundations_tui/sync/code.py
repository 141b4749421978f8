"""The code of jobs: in this client's own snapshots, else brought into them from a host that has it."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from foundations_tui.analysis import code_diff
from foundations_tui.config import locations
from foundations_tui.errors import FoundationsError, HostError, NotFoundError
from foundations_tui.session import Session
from foundations_tui.snapshot import objects, shadows
from foundations_tui.store import queries
from foundations_tui.store.rows import JobRow
from foundations_tui.sync import outputs, unpacking
from foundations_tui.sync.outputs import FetchRequest
from foundations_tui.sync.unpacking import Unpacked

_OLD = 86_400.0
"""Seconds."""
Received = Callable[[int, int], None]
"""Takes (bytes that came, bytes in all)."""


def no_progress(done: int, total: int) -> None:
    """Tell nobody."""


def write(
    session: Session,
    job: JobRow,
    target: Path,
    received: Received = no_progress,
    within: str = "",
    with_git: bool = False,
) -> Unpacked:
    """Write the code that a job was submitted with below a folder, to the byte.

    Args:
        session: the client's.
        job: whose code.
        target: made when it is not there.
        received: gets the progress when it comes from a host.
        within: folders below the target that the files come into.
        with_git: whether files below a ``.git`` come, too.
    Raises:
        NotFoundError: neither this client nor a host has it. HostError: the hosts that may have it are out of reach.
    """
    # Links lead where they led here; those that only a host knows of stay inside the folder.
    is_ours = queries.was_frozen_here(session.store.conn, job.job)
    for may_bring in (True, False):
        for shadow in list(shadows.holding(job.snapshot)):
            try:
                with unpacking.Folder(target, within, with_git) as folder:
                    return unpacking.write_files(objects.files(shadow, job.snapshot), folder, is_ours)
            except objects.Damaged as error:
                session.say(f"warning: {error}")
                shadows.set_aside(shadow)
        if may_bring:
            _bring(session, job, received)
    raise NotFoundError(f"the code of job {job.job} is not here whole, nor does a host have it")


def keep_here(session: Session, jobs: Iterable[JobRow]) -> None:
    """Bring the code of jobs into this client's snapshots, as far as it is not there.

    Raises:
        NotFoundError: no host has it. HostError: the hosts that may have it are out of reach.
    """
    for job in jobs:
        if job.snapshot and not any(shadows.holding(job.snapshot)):
            _bring(session, job, no_progress)


def difference(session: Session, jobs: Sequence[JobRow]) -> str:
    """Return how the code of jobs differs, brought here as needed; see ``code_diff.code_difference``."""
    keep_here(session, jobs)
    return code_diff.code_difference(session.store.conn, jobs)


def difference_from_folder(session: Session, job: JobRow, folder: Path, reverse: bool = False) -> str:
    """Return how a folder's working tree differs from the code of a job; see ``code_diff.difference_from_folder``."""
    keep_here(session, [job])
    return code_diff.difference_from_folder(job, folder, reverse)


def _bring(session: Session, job: JobRow, received: Received) -> None:
    """Bring the code of a job from its host, or from any that has it and was in reach when it was last asked."""
    known = queries.hosts(session.store.conn)
    others = [name for name in session.hosts.hosts if name in known and known[name].state == "reachable"]
    problems: list[FoundationsError] = []
    for host in dict.fromkeys([job.host, *others]):
        try:
            return _bring_from(session, job, host, received)
        except FoundationsError as error:
            problems.append(error)
    raise next((error for error in problems if isinstance(error, HostError)), problems[0])


def _bring_from(session: Session, job: JobRow, host: str, received: Received) -> None:
    """Bring the code of a job from a host; what it sends is kept only when it is exactly that tree."""
    folder = locations.incoming_folder()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _remove_left(folder)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        outputs.fetch(session, job, FetchRequest("code"), Path(name), received, host=host)
        shadows.take_in(Path(name), job.snapshot, job.job, host)


def _remove_left(folder: Path) -> None:
    """Remove what processes left that were killed."""
    for left in folder.iterdir():
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _OLD:
                shutil.rmtree(left, ignore_errors=True)
