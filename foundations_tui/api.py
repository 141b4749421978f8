"""The client for Python: what the SDK calls when it submits and reads. A thread has a session once it needs one."""

from __future__ import annotations

import atexit
import contextlib
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from foundations_tui.config import locations
from foundations_tui.errors import HostError, NotFoundError
from foundations_tui.ingest import local_runs
from foundations_tui.jobs import watch
from foundations_tui.session import Session
from foundations_tui.store import queries, sparse
from foundations_tui.store.db import open_reader
from foundations_tui.store.rows import JobRow
from foundations_tui.submit import pipeline as submission
from foundations_tui.submit.request import JobRequest
from foundations_tui.sync import outputs
from remote_agent.protocol.wire import JsonTable

_own = threading.local()


def session() -> Session:
    """Return this thread's session."""
    if not hasattr(_own, "session"):
        _own.session = Session()
        atexit.register(_own.session.close)  # a connection left open is a process left behind
    own: Session = _own.session
    return own


def submit(command: list[str], folder: str, **wanted: Any) -> str:
    """Submit a job and return its id; see ``foundations_tui.submit.request.JobRequest`` for what can be wanted.

    Raises:
        FoundationsError: why not.
    """
    request = JobRequest(tuple(command), Path(folder), **wanted)
    return submission.submit(session(), request).view.spec.job


def jobs(where: str, sort: str, limit: int) -> list[JsonTable]:
    """Return jobs as ``--json`` prints them."""
    conn = _reader()
    which = queries.JobFilter(query=where, directions=queries.directions(conn))
    return [row.to_json(time.time()) for row in queries.jobs(conn, which, sort or "created", limit)]


def job(name: str, fresh: bool = False) -> JsonTable:
    """Return one job as ``--json`` prints it.

    Args:
        name: as a user names it.
        fresh: ask its host first, when that can be reached.
    Raises:
        NotFoundError: there is none.
    """
    return _row(name, fresh).to_json(time.time())


def wait(names: list[str]) -> None:
    """Wait until jobs have ended."""
    own = session()
    ids = [queries.resolve(own.store.conn, name) for name in names]
    watch.wait_for(own, ids, lambda row: None)


def log(name: str) -> bytes:
    """Return the log of a job's last attempt, as it is now."""
    row = _row(name, fresh=True)
    try:
        with locations.log_file(row.job, row.attempt).open("rb") as file:
            return b"".join(page for _, page in sparse.pages(file.fileno(), 0))
    except FileNotFoundError:
        return b""


def follow_log(name: str) -> Iterator[bytes]:
    """Yield a job's log as it grows, to its end."""
    own = session()
    yield from watch.follow_log(own, queries.resolve(own.store.conn, name))


def history(name: str, key: str) -> list[JsonTable]:
    """Return all values of a metric.

    Raises:
        NotFoundError: there is no such job or metric.
    """
    conn = _reader()
    row = queries.find(conn, name)
    if key not in row.metrics:
        raise NotFoundError(f"job {row.job} has no metric {key!r}", f"it has: {', '.join(row.metrics) or 'none'}")
    values = queries.metrics(conn, row.job, row.attempt, key)
    return [{"step": value.step, "value": _python(value.value), "time": value.time} for value in values]


def artifact(name: str, key: str) -> tuple[str, str]:
    """Return (the job's whole id, the path of its artifact here)."""
    row = _row(name, fresh=False)
    if key not in row.artifacts:
        row = _row(name, fresh=True)
    return row.job, str(outputs.artifact(session(), row, key))


def load_model(reference: str, trust: bool) -> Any:
    """Return a version of a model that answers in this process; see ``services.models.loading``."""
    from foundations_tui.services.models import loading

    return loading.load(session(), reference, trust)


def request_files(service: str) -> list[str]:
    """Return the files of a service's request log, after asking its host for what is new.

    Raises:
        NotFoundError: there is no such service.
    """
    from foundations_tui.services import operations, watching

    row = operations.fresh(session(), service)
    with contextlib.suppress(HostError):
        watching.bring(session(), row)
    return [str(path) for path in watching.request_files(session(), row.name, row.host)]


def project_rows(project: str) -> list[JsonTable]:
    """Return a project's jobs, oldest first, with the names that the predecessor gave them."""
    rows = queries.jobs(_reader(), queries.JobFilter(project=project), "created:asc")
    return [_project_row(row) for row in rows]


def _project_row(row: JobRow) -> JsonTable:
    return {
        "project_name": row.project,
        "job_id": row.job,
        "user": row.owner,
        "status": row.state,
        "start_time": _local(row.started_at),
        "completed_time": _local(row.ended_at),
        "creation_time": row.created_at,
        "tags": row.tags,
        **row.params,
        **{key: _python(summary.last) for key, summary in row.metrics.items()},
        **{f"tag_{key}": value for key, value in row.tags.items()},
    }


def _local(moment: float | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment).isoformat()


def _python(value: Any) -> Any:
    """Return a metric's value as it was logged: what the store keeps by name is a float again."""
    return float(value) if value in ("NaN", "Infinity", "-Infinity") else value


def _row(name: str, fresh: bool) -> JobRow:
    own = session()
    row = queries.find(own.store.conn, name)
    return watch.fresh(own, row) if fresh or row.kind == local_runs.KIND else row


def _reader() -> Any:
    local_runs.ingest()
    return open_reader()
