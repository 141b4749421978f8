"""What people have from elsewhere: runs of MLflow and TensorBoard, taken in as runs of this machine."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foundations.records import METRIC, PARAM, TAG, Record, valid_text
from foundations_tui.config.hosts import load_hosts, owner_name
from foundations_tui.errors import FoundationsError, NotFoundError
from foundations_tui.ingest import event_files, local_runs
from foundations_tui.store import writes
from foundations_tui.store.db import Store
from foundations_tui.text.command_line import literal
from remote_agent.protocol.jobs import JobSpec, JobView
from remote_agent.protocol.states import STATE_OF_REASON, EndReason, JobState


@dataclass(frozen=True)
class Imported:
    """A run of another tool."""

    source: str
    """What it is there, for good: the same source is the same job."""
    project: str
    name: str
    records: list[Record]
    started_at: float
    ended_at: float | None
    reason: EndReason = EndReason.FINISHED
    words: str = "imported"

    @property
    def job(self) -> str:
        """Its id here."""
        return hashlib.sha256(self.source.encode("utf-8", "surrogateescape")).hexdigest()[:12]


@dataclass
class Taken:
    """How many runs were taken in."""

    new: int = 0
    changed: int = 0
    """Were here already, and went on since."""
    known: int = 0
    """Were here as they are."""


def ingest(store: Store, runs: Iterator[Imported], progress: Callable[[Imported], None]) -> Taken:
    """Ingest runs, and updates of those that are in the store already.

    Args:
        store: open for writing.
        runs: the runs.
        progress: called with each that was new or changed.
    """
    taken = Taken()
    for run in runs:
        is_new, is_changed = writes.put_imported(store, _view(run), run.records)
        taken.new += is_new
        taken.changed += is_changed and not is_new
        taken.known += not is_changed
        if is_changed:
            progress(run)
    return taken


def _view(run: Imported) -> JobView:
    spec = JobSpec(
        run.job,
        (run.name or run.source,),
        "",
        project=valid_text(run.project),
        name=valid_text(run.name),
        owner=owner_name(load_hosts()),
        kind=local_runs.KIND,
        created_at=run.started_at,
    )
    state = STATE_OF_REASON[run.reason] if run.ended_at is not None else JobState.LOST
    reason = run.reason if run.ended_at is not None else EndReason.SUPERVISOR_DIED
    words = run.words if run.ended_at is not None else "imported; its end was not seen"
    return JobView(
        spec,
        state,
        0,
        1,
        reason_code=reason.value,
        reason=words,
        exit_code=0 if state is JobState.COMPLETED else None,
        started_at=run.started_at,
        ended_at=run.ended_at,
    )


def tensorboard(path: str, project: str) -> Iterator[Imported]:
    """Yield the runs in a log folder of TensorBoard: each folder with event files is one.

    Raises:
        NotFoundError: there are none. FoundationsError: the reader is not installed.
    """
    top = Path(path).absolute()
    folders = event_files.runs_below(top)
    if not folders:
        raise NotFoundError(f"{path} has no event files", "name the folder that tensorboard --logdir takes")
    for folder in folders:
        records = event_files.read(event_files.below(folder))
        name = str(folder.relative_to(top)) if folder != top else top.name
        times = [record.time for record in records] or [folder.stat().st_mtime]
        yield Imported(f"tensorboard:{folder}", project or top.name, name, records, min(times), max(times))


_STATES = {"FINISHED": EndReason.FINISHED, "FAILED": EndReason.EXIT_CODE, "KILLED": EndReason.STOPPED_BY_USER}


def mlflow(path: str, project: str) -> Iterator[Imported]:
    """Yield the runs of an MLflow store: a folder (``mlruns``), a database, or an address, as its tracking URI.

    Raises:
        NotFoundError: there are none. FoundationsError: MLflow is not installed, or cannot read it.
    """
    try:
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # newer versions want to be asked for old folders
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
    except ImportError:
        raise FoundationsError("this needs mlflow", "pip install 'foundations-tui[mlflow]'") from None
    uri = _tracking_uri(path)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    try:
        client = MlflowClient(uri)
        experiments = list(client.search_experiments())
        for experiment in experiments:
            for run in _pages(client, experiment.experiment_id):
                yield _of_mlflow(client, uri, experiment.name, run, project)
    except (MlflowException, OSError) as error:
        raise FoundationsError(f"{path}: MLflow says: {error}") from None


def _tracking_uri(path: str) -> str:
    """Return what MLflow calls a place; a file that is none of its databases is not touched.

    Raises:
        NotFoundError: there is nothing. FoundationsError: it is no database.
    """
    if "://" in path and not path.startswith("sqlite:///"):
        return path
    real = Path(path.removeprefix("sqlite:///")).absolute() if path else None
    if real is None or not real.exists():
        raise NotFoundError(f"there is no {path!r}")
    if real.is_dir():
        return real.as_uri()
    with real.open("rb") as file:
        if file.read(16) != b"SQLite format 3\0":
            raise FoundationsError(f"{path} is no database of MLflow", "name a folder (mlruns), a database or a URI")
    return f"sqlite:///{real}"


def _pages(client: Any, experiment: str) -> Iterator[Any]:
    token = None
    while True:
        page = client.search_runs([experiment], max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _of_mlflow(client: Any, uri: str, experiment: str, run: Any, project: str) -> Imported:
    start = (run.info.start_time or 0) / 1000
    points: list[tuple[str, float, str, int | None, Any]] = []
    for key, value in run.data.params.items():
        points.append((PARAM, start, key, None, literal(value)))
    for key, value in run.data.tags.items():
        if not key.startswith("mlflow."):
            points.append((TAG, start, key, None, value))
    for key in run.data.metrics:
        points += [
            (METRIC, measurement.timestamp / 1000, key, int(measurement.step), float(measurement.value))
            for measurement in client.get_metric_history(run.info.run_id, key)
        ]
    records = [
        Record(kind, moment, valid_text(key), step, value, place)
        for place, (kind, moment, key, step, value) in enumerate(points)
    ]
    status = run.info.status
    return Imported(
        source=f"mlflow:{run.info.run_id}",
        project=project or experiment,
        name=run.info.run_name or "",
        records=records,
        started_at=start,
        ended_at=run.info.end_time / 1000 if run.info.end_time else None,
        reason=_STATES.get(status, EndReason.FINISHED),
        words=f"imported from MLflow ({status.lower()})",
    )
