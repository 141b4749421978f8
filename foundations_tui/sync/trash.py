"""Jobs that were deleted: listings leave them out, thirty days later they are removed for good."""

from __future__ import annotations

import time

from foundations_tui.errors import FoundationsError, HostError, NotFoundError
from foundations_tui.ingest import local_runs
from foundations_tui.session import Session
from foundations_tui.store import queries, write_annotations, writes
from foundations_tui.store.rows import JobRow
from remote_agent.protocol.messages import Delete

KEPT_SECONDS = 30 * 86400.0


def check_can_go(job: JobRow) -> None:
    """Refuse to delete a job that has not ended.

    Raises:
        FoundationsError: it has not.
    """
    if not job.is_final and job.state != "submitting":
        raise FoundationsError(f"job {job.job} has not ended ({job.state})", f"foundations stop {job.job}")


def remove(session: Session, job: JobRow, files: bool = False, force: bool = False) -> None:
    """Remove an ended job for good: its folder on the host, then all of it here.

    Args:
        session: the client's.
        job: which.
        files: whether files that it wrote and nobody fetched may go with it.
        force: whether everything may, also what its submitter has not fetched.
    Raises:
        FoundationsError: it has not ended. HostError: its host is out of reach.
    """
    check_can_go(job)
    if job.kind == local_runs.KIND:
        local_runs.remove(job.job)
    elif not job.is_gone:
        request = Delete(job.job, session.client_id, files, force)
        try:
            session.ask(job.host, request)
        except NotFoundError:
            pass  # the host has forgotten it already
    writes.remove_job(session.store, job.job)


def empty(session: Session, host: str) -> None:
    """Remove for good what has been in the trash for long, with all files; deleting it announced that.

    A job that its submitter has not fetched stays until then, or until the submitter's own trash empties.

    Raises:
        HostError: the host is out of reach.
    """
    for job in write_annotations.long_in_trash(session.store, host, time.time() - KEPT_SECONDS):
        try:
            remove(session, queries.job(session.store.conn, job), files=True)
        except HostError:
            raise
        except FoundationsError:
            continue
