"""Runs outside of jobs (``python train.py``): what the SDK writes beside the store, taken in like jobs of ``local``.

The SDK leaves a marker for each run that has begun; a run whose end is taken in, whole, has none any more.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

from foundations_tui.config import locations
from foundations_tui.config.hosts import load_hosts, owner_name
from foundations_tui.errors import FoundationsError
from foundations_tui.ingest import event_files, stories
from foundations_tui.store import queries, write_streams, writes
from foundations_tui.store.db import Store
from foundations_tui.store.process_identity import is_running
from remote_agent.protocol import checks
from remote_agent.protocol.ends import AttemptEnd, Cause, Usage
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.jobs import JOB_ID, JobSpec, JobView
from remote_agent.protocol.states import STATE_OF_REASON, EndReason, JobState
from remote_agent.protocol.wire import JsonTable

KIND = "run"
"""What a run is called among the kinds of jobs."""
_SCANNED = "runs_scanned"
"""Set in a store that has seen all runs: a new one takes in those again whose markers are gone."""
_PAGE = 1 << 22


def folder() -> Path:
    """Return where the SDK keeps runs."""
    return locations.data_folder() / "runs"


def ingest() -> None:
    """Bring the store up to date with the runs of this machine; it costs nothing when there is nothing new."""
    if not _markers() and not (_is_unscanned() and (folder() / "jobs").is_dir()):
        return
    store = Store()
    try:
        take_into(store)
    finally:
        store.close()


def take_into(store: Store) -> bool:
    """Bring a store up to date with the runs of this machine; say whether there was any to look at."""
    jobs = _markers()
    if queries.meta(store.conn, _SCANNED) is None:
        jobs = sorted({*jobs, *_names(folder() / "jobs")})
        writes.put_meta(store, _SCANNED, "1")
    for job in jobs:
        marker = folder() / "new" / job
        marker.unlink(missing_ok=True)  # before anything is read: an attempt that begins meanwhile makes a new one
        if not _Run(store, job).ingest():
            marker.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            marker.touch()
    if jobs:
        stories.refresh(store)
    return bool(jobs)


def stop(job: str, attempt: int) -> None:
    """Ask a run's process to end (TERM).

    Raises:
        FoundationsError: it has ended.
    """
    facts = _read(folder() / "jobs" / job / str(attempt) / "run.json")
    if not facts or not _is_alive(facts):
        raise FoundationsError(f"job {job} has already ended")
    os.kill(int(facts["pid"]), signal.SIGTERM)


def remove(job: str) -> None:
    """Remove a run's own files."""
    (folder() / "new" / job).unlink(missing_ok=True)
    shutil.rmtree(folder() / "jobs" / job, ignore_errors=True)


def artifacts(job: str, attempt: int) -> Path:
    """Return the folder of a run's artifacts."""
    return folder() / "jobs" / job / str(attempt) / "artifacts"


def event_folders(job: str, attempt: int) -> list[Path]:
    """Return links to the folders of TensorBoard's event files that a run has named."""
    links = folder() / "jobs" / job / str(attempt) / "records" / "tensorboard"
    return [links / name for name in _names(links)]


def synced(job: str, attempt: int) -> Path:
    """Return the folder of the directories that a run keeps in step."""
    return folder() / "jobs" / job / str(attempt) / "synced"


class _Run:
    """One run, with its attempts."""

    def __init__(self, store: Store, job: str) -> None:
        self._store = store
        self._job = job
        self._top = folder() / "jobs" / job

    def ingest(self) -> bool:
        """Ingest what is new; return whether nothing more will come."""
        attempts = sorted(int(name) for name in _names(self._top) if name.isdigit())
        if not attempts:
            return True
        views = [self._view(attempt) for attempt in attempts]
        begun = [view for view in views if view is not None]
        if begun:
            writes.put_run(self._store, _with_past(begun))
        is_whole = True
        for attempt, view in zip(attempts, views, strict=True):
            is_final = view is None or view.state.is_final
            is_whole &= self._take_records(attempt, is_final) and is_final and not self._has_writers(attempt)
            is_whole &= self._take_events(attempt)
        if is_whole:
            writes.put_run_complete(self._store, self._job)
        return is_whole

    def _view(self, attempt: int) -> JobView | None:
        """Return what a run is now; None for one whose beginning was not written."""
        facts = _read(self._top / str(attempt) / "run.json")
        if not facts:
            return None
        try:
            spec = _spec(self._job, facts)
            spec.check_id()
            view = JobView(spec, JobState.RUNNING, 0, attempt, started_at=float(facts["started_at"]))
        except (BadRequest, KeyError, TypeError, ValueError):
            return None
        is_alive = _is_alive(facts)
        end = _end(self._top / str(attempt) / "end.json")  # after that: an end that comes in between is seen
        if is_alive and end is None:
            return view
        if facts.get("of_children") is True and (end is None or end.reason_code == EndReason.FINISHED.value):
            end = self._end_of_children(attempt) or end
        return _ended(view, end or _UNSEEN)

    def _end_of_children(self, attempt: int) -> AttemptEnd | None:
        """Return the failure of a run of which only child processes logged; None when none of them says of one.

        The run's own process wrote only that it ended: its exit code was seen by nobody.
        """
        folder = self._top / str(attempt) / "children"
        ends = [_read(folder / name) for name in _names(folder)]
        failed = next((str(end["error"]) for end in ends if end.get("error")), "")
        if failed:
            ended_at = max(float(end.get("ended_at") or 0.0) for end in ends)
            cause = Cause("exception", failed, failed)
            return AttemptEnd(EndReason.EXIT_CODE.value, f"a child raised {failed}", ended_at, cause=cause)
        return None

    def _take_records(self, attempt: int, is_final: bool) -> bool:
        folder = self._top / str(attempt) / "records"
        is_whole = True
        for name in _names(folder):
            writer, _, kind = name.rpartition(".")
            if kind == "jsonl":
                is_whole &= self._take_file(folder / name, attempt, f"records/{writer}", is_final)
        return is_whole

    def _take_events(self, attempt: int) -> bool:
        """Read TensorBoard's event files in the folders that the run has named; say whether all of them are read."""
        began = float(_read(self._top / str(attempt) / "run.json").get("started_at") or 0.0)
        tops = event_folders(self._job, attempt)
        files = {
            path.resolve(): path
            for top in tops
            for run in event_files.runs_below(top)
            for path in event_files.below(run)
        }
        sizes = {
            path: stats.st_size for path in files if (stats := _stat(path)) is not None and stats.st_mtime >= began
        }
        offset = write_streams.run_offset(self._store, self._job, attempt, write_streams.READ_EVENTS) if sizes else 0
        if sum(sizes.values()) <= offset:
            return True
        try:
            records = event_files.by_folder({str(path): path for path in sizes})
        except FoundationsError:
            return False  # without the reader: they are read once it is installed
        write_streams.put_events(self._store, self._job, attempt, offset, sum(sizes.values()), records)
        return True

    def _has_writers(self, attempt: int) -> bool:
        """Return whether a process that has logged still runs: children may outlive the one that the run is."""
        here = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in os.uname().nodename)
        for name in _names(self._top / str(attempt) / "records"):
            host, _, rest = name.removesuffix(".jsonl").rpartition("-")[0].rpartition("-")
            if host == here and rest.isdigit() and Path(f"/proc/{rest}").exists():
                return True
        return False

    def _take_file(self, path: Path, attempt: int, stream: str, is_final: bool) -> bool:
        size = path.stat().st_size
        offset = write_streams.run_offset(self._store, self._job, attempt, stream)
        with path.open("rb") as file:
            file.seek(offset)
            while offset < size:
                page = file.read(_PAGE)
                taken = write_streams.put_records_page(self._store, self._job, attempt, stream, offset, page)
                if taken == 0:
                    if is_final:  # a torn last line
                        write_streams.skip_unfinished(self._store, self._job, attempt, stream, offset, size)
                    return is_final
                offset += taken
                file.seek(offset)
        return True


def _spec(job: str, facts: JsonTable) -> JobSpec:
    return JobSpec(
        job=job,
        command=tuple(str(word) for word in facts["command"]),
        snapshot="",
        project=str(facts["project"]),
        owner=owner_name(load_hosts()),
        kind=KIND,
        subdir=str(facts.get("cwd", "")),
        git=facts.get("git") or {},
        created_at=float(facts["started_at"]),
    )


def _end(path: Path) -> AttemptEnd | None:
    """Return the end that a run wrote down; None when it wrote none, or none that makes sense."""
    try:
        return AttemptEnd.received(_writable(_read(path)), "end.json")
    except BadRequest:
        return None


def _writable(value: Any) -> Any:
    """Return what the SDK wrote with texts that any store takes: an exception's words may hold anything."""
    if isinstance(value, dict):
        return {key: _writable(part) for key, part in value.items()}
    return checks.writable(value) if isinstance(value, str) else value


_UNSEEN = AttemptEnd(
    EndReason.SUPERVISOR_DIED.value, "its process was killed, or the machine went down: its end was not seen", 0.0
)


def _ended(view: JobView, end: AttemptEnd) -> JobView:
    wall = round(end.ended_at - view.started_at, 3) if end.ended_at and view.started_at else None
    return replace(
        view,
        state=STATE_OF_REASON[EndReason(end.reason_code)],
        reason_code=end.reason_code,
        reason=end.reason,
        exit_code=end.exit_code,
        signal=end.signal,
        cause=end.cause,
        ended_at=end.ended_at or None,
        usage=Usage(wall_seconds=wall),
    )


def _with_past(views: list[JobView]) -> JobView:
    """Return the last attempt as the job, with those before it."""
    return replace(views[-1], attempts=tuple(view.past() for view in views[:-1]))


def _is_alive(facts: JsonTable) -> bool:
    """Return whether a run's process still runs: the same pid, started at the same time since the same boot."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = ""
    started = "running" if facts.get("start_time") is None else facts["start_time"]
    return facts.get("boot", "") == boot and is_running(f"{facts.get('pid')}:{started}")


def _is_unscanned() -> bool:
    return not locations.store_file().exists()


def _markers() -> list[str]:
    return [name for name in _names(folder() / "new") if JOB_ID.match(name)]


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None  # it has gone meanwhile


def _names(path: Path) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []


def _read(path: Path) -> JsonTable:
    try:
        table = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError):
        return {}
    return table if isinstance(table, dict) else {}
