"""Predictions for the rows of a file: as jobs, one a shard, with the version's code, environment and files."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import importlib.util
import itertools
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from foundations_tui.config import locations
from foundations_tui.errors import FoundationsError, NotFoundError, UsageError
from foundations_tui.jobs import watch
from foundations_tui.services.models import files, operations, registering, serving
from foundations_tui.session import Session
from foundations_tui.store import queries
from foundations_tui.store.models import Meant
from foundations_tui.store.rows import JobRow
from foundations_tui.submit import data_sets, pipeline
from foundations_tui.submit.progress import SILENT, Progress, bar
from foundations_tui.text import humanize
from foundations_tui.text.sanitize import one_line
from remote_agent.protocol import models
from remote_agent.protocol.data_sets import manifest_hash, manifest_text

_READS = (".csv", ".jsonl", ".ndjson", ".parquet")
_WRITES = (".csv", ".jsonl", ".parquet")
_RETRIES = 3
_LONGEST_NAME = 200
"""Bytes of a file's name that leave room for a temporary one."""
_FOLDER = "predictions"
_TAIL_BYTES = 8192
Answers = Callable[[], Iterator[Any]]
"""Gives the answers of all rows, from the first one, each time."""


@dataclass(frozen=True)
class Predicting:
    """Jobs that answer for the rows of a file."""

    meant: Meant
    jobs: tuple[str, ...]
    """One a shard, in order."""
    host: str
    rows: str
    """Hash of the file, as of a data set."""
    is_resumed: bool
    """Whether some were submitted by an earlier call."""


def begin(
    session: Session,
    reference: str,
    source: Path,
    shards: int,
    host: str = "",
    gpus: int | None = None,
    trust: bool = False,
    progress: Progress = SILENT,
) -> Predicting:
    """Submit a job a shard, unless an earlier call has done so for the same version and the same file.

    Args:
        session: the client's.
        reference: NAME@ALIAS or NAME@7.
        source: CSV with a first line of names, JSON lines, or Parquet.
        shards: how many parts; each takes a CPU.
        host: where; "" for the host of the version's job.
        gpus: of each; None for one where the version's job had any.
        trust: whether a program of somebody else may be run.
        progress: gets the progress.
    Raises:
        UsageError: the file is none of these. NotFoundError: there is no such version. HostError: the host is out of
            reach.
    """
    if source.suffix.lower() not in _READS:
        raise UsageError(f"{source}: rows are read from {', '.join(_READS)}")
    if not source.is_file():
        raise NotFoundError(f"there is no file {source}")
    shards = min(shards, _most_rows(source, shards))
    meant = operations.meant(session, reference)
    serving.refuse_strangers(session, meant, trust)
    version = meant.version.version
    if version.flavour == models.COMMAND:
        raise UsageError(f"{meant.words} is a command: serve it, and ask it")
    host = session.hosts.host(host or queries.job(session.store.conn, version.job).host).name

    def read(what: str, done: int, total: int) -> None:
        progress.stage(bar(what, done, total, f"{humanize.size(done)} of {humanize.size(total)}"))

    digest = manifest_hash(manifest_text(data_sets.manifest_of(source, read)))
    group = f"predict-{hashlib.sha256(f'{version.identity}{digest}{shards}{host}'.encode()).hexdigest()[:12]}"
    known = _of_earlier_calls(session, group)
    missing = [number for number in range(1, shards + 1) if number not in known]
    if not missing:
        return Predicting(meant, tuple(known[number] for number in range(1, shards + 1)), host, digest, True)
    data_sets.put(session, host, _rows_name(digest), source, read)
    place = next((one.path for one in data_sets.listed(session, host) if one.hash == digest), "")
    if not place:
        raise FoundationsError(f"the rows did not get to {host}", "try again")
    told = registering.manifest(meant.row.name, meant.version.number, version)
    own: dict[str, Any] = {
        "gpus": min(1, int(queries.spec(session.store.conn, version.job).get("gpus") or 0)) if gpus is None else gpus,
        "group": group,
        "outputs": (f"{_FOLDER}/*",),
        "retries": _RETRIES,
        "retry_on": ("lost", "oom", "signal"),
        "tags": {"predict": meant.words},
    }
    data = files.on_host(session, version, host, progress)
    data["rows"] = {"path": place, "at": "", "hash": digest}
    requests = [
        replace(
            registering.job_request(version, _command(place, number, shards), told, host, data, **own),
            name=f"{meant.row.name}-{meant.version.number}-part-{number}",
            params={"shard": number},
        )
        for number in missing
    ]
    submitted = pipeline.submit_all(session, requests, progress)
    known.update(zip(missing, (one.view.spec.job for one in submitted), strict=True))
    is_resumed = len(missing) < shards
    return Predicting(meant, tuple(known[number] for number in range(1, shards + 1)), host, digest, is_resumed)


def _most_rows(source: Path, enough: int) -> int:
    """Return how many rows a file has at most, counted no further than is asked; one at least."""
    if source.suffix.lower() == ".parquet":
        return enough
    head = int(source.suffix.lower() == ".csv")
    with source.open("rb") as file:
        lines = sum(1 for line in itertools.islice(file, enough + head) if line.strip())
    return max(1, lines - head)


def _of_earlier_calls(session: Session, group: str) -> dict[int, str]:
    """Return the jobs that earlier calls have submitted and that are still good, by their shards."""
    rows = queries.jobs_of_group(session.store.conn, group)
    good = [row for row in rows if row.state not in _ENDED_BADLY and row.trashed_at is None]
    return {int(row.params.get("shard") or 0): row.job for row in good}  # the newest comes last


def _rows_name(digest: str) -> str:
    return f"rows_{digest[:16]}"


_ENDED_BADLY = ("failed", "stopped", "lost")


def _command(place: str, shard: int, shards: int) -> tuple[str, ...]:
    return ("python", "-m", "foundations_serve", "predict", "--in", place, "--shard", f"{shard}/{shards}")


def finish(
    session: Session, predicting: Predicting, out: Path, changed: Callable[[JobRow], None] = lambda row: None
) -> int:
    """Wait for the shards, bring their answers here, and write them as one file, in the order of the rows.

    Args:
        session: the client's.
        predicting: what was begun.
        out: JSON lines, CSV or Parquet, by its ending; it is there whole or not at all.
        changed: called with each job whose state changed.
    Returns:
        How many rows there are.
    Raises:
        FoundationsError: a shard has failed, or its answers cannot be brought here.
    """
    check_target(out)
    ended = watch.wait_for(session, list(predicting.jobs), changed)
    failed = [row for row in ended if row.state != "completed"]
    if failed:
        raise FoundationsError(
            f"{len(failed)} of {len(ended)} parts did not complete: {_why(watch.fresh(session, failed[0]))}",
            f"foundations logs {failed[0].job[:6]} shows more; the same command tries again",
        )
    for error in watch.bring_results(session, ended):
        raise error
    parts = [_part(job) for job in predicting.jobs]
    count = _write(out, lambda: _answers(parts))
    with contextlib.suppress(FoundationsError):  # another call needs the rows, or the host is away
        data_sets.remove(session, predicting.host, _rows_name(predicting.rows))
    return count


def _why(row: JobRow) -> str:
    """Return why a part has failed: what it said itself at its end, else how it ended."""
    try:
        data = locations.log_file(row.job, row.attempt).read_bytes()[-_TAIL_BYTES:]
    except OSError:
        data = b""
    lines = [line for line in data.decode("utf-8", "replace").splitlines() if line.startswith("error: ")]
    return one_line(lines[-1].removeprefix("error: ")) if lines else row.reason or row.state


def check_target(out: Path) -> None:
    """Refuse a file that cannot be written as it is called.

    Raises:
        UsageError: it cannot.
    """
    if out.suffix.lower() not in _WRITES:
        raise UsageError(f"--out {out}: answers are written as {', '.join(_WRITES)}")
    if out.suffix.lower() == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise UsageError("Parquet needs pyarrow", "pip install 'foundations-tui[export]'")
    parent = out.resolve().parent
    if not parent.is_dir():
        raise UsageError(f"--out {out}: there is no folder {parent}")
    if out.is_dir() or not os.access(parent, os.W_OK) or len(os.fsencode(out.name)) > _LONGEST_NAME:
        raise UsageError(f"--out {out}: no file of this name can be written there")


def _part(job: str) -> Path:
    folder = locations.outputs_folder(job) / _FOLDER
    found = sorted(folder.glob("part-*.jsonl")) if folder.is_dir() else []
    if len(found) != 1:
        raise FoundationsError(f"the answers of job {job[:6]} are not here", f"foundations get {job[:6]} fetches them")
    return found[0]


def _answers(parts: Sequence[Path]) -> Iterator[Any]:
    for part in parts:
        with part.open(encoding="utf-8") as file:
            yield from map(json.loads, file)


def _write(out: Path, answers: Answers) -> int:
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        count = _WRITERS[out.suffix.lower()](temporary, answers)
        temporary.replace(out)
        return count
    finally:
        temporary.unlink(missing_ok=True)


def _write_lines(path: Path, answers: Answers) -> int:
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for answer in answers():
            file.write(json.dumps(answer) + "\n")
            count += 1
    return count


def _write_csv(path: Path, answers: Answers) -> int:
    names = list(dict.fromkeys(name for answer in answers() for name in _row(answer)))
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for answer in answers():
            row = _row(answer)
            writer.writerow([_cell(row.get(name)) for name in names])
            count += 1
    return count


def _row(answer: Any) -> dict[str, Any]:
    return answer if isinstance(answer, dict) else {"output-0": answer}


def _cell(value: Any) -> Any:
    """Return a value as a cell: of a list of one, that one."""
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    return json.dumps(value) if isinstance(value, list | dict) else value


def _write_parquet(path: Path, answers: Answers) -> int:
    import pyarrow
    from pyarrow import parquet

    rows = [_row(answer) for answer in answers()]
    try:
        table = pyarrow.Table.from_pylist(rows)
    except pyarrow.ArrowException as error:
        raise FoundationsError(f"the answers make no table: {error}", "write them as JSON lines") from None
    parquet.write_table(table, path)
    return len(rows)


_WRITERS: dict[str, Callable[[Path, Answers], int]] = {
    ".jsonl": _write_lines,
    ".csv": _write_csv,
    ".parquet": _write_parquet,
}
