"""Logging, importing and taking in records, each beside its floor; the store at size; and what other trackers take."""

from __future__ import annotations

import functools
import importlib.util
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.paired import Pair, time_pair
from foundations import records
from foundations_tui.analysis import braille
from foundations_tui.store import queries, write_streams, writes
from foundations_tui.store.db import Store, open_reader
from foundations_tui.sync import pull
from remote_agent.protocol.jobs import JobSpec, JobView
from remote_agent.protocol.states import JobState

_CALLS = 100_000
_RECORDS = 1_000_000
_JOBS, _KEYS = 100_000, 50
_POINTS = 10_000_000
_PAGE = pull.BATCH_BYTES


def run() -> list[Pair]:
    """Return the pairs."""
    with tempfile.TemporaryDirectory() as name:
        os.environ["FOUNDATIONS_HOME"] = name
        return [*_logging(Path(name)), _importing(), *_taking_in(Path(name)), *_at_size(), *_many_points()]


def _logging(folder: Path) -> list[Pair]:
    """100,000 calls of log_metric, beside os.write of a ready line; and other trackers beside ours."""
    (folder / "records").mkdir()
    os.environ["FOUNDATIONS_RECORDS_DIR"] = str(folder / "records")
    import foundations

    line = b'["m",1795537895.473,"val_loss",1234,0.123456789]\n'
    fd = os.open(folder / "ready", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def floor() -> None:
        for _ in range(_CALLS):
            os.write(fd, line)

    def ours() -> None:
        for n in range(_CALLS):
            foundations.log_metric("val_loss", 0.123456789 + n)

    pairs = [time_pair("log_metric / os.write of a ready line, 100,000 calls", 4.0, floor, ours, 5)]
    size = sum(path.stat().st_size for path in (folder / "records").iterdir())
    written = 6 * _CALLS  # a first call of each is not counted in the medians
    pairs.append(Pair("bytes a point (as ms) / 60", 0.060, size / written / 1000, 1.0))
    for label, calls, other in _others(folder):
        few = calls

        def ours_few(few: int = few) -> None:
            for n in range(few):
                foundations.log_metric("val_loss", 0.123456789 + n)

        pairs.append(time_pair(f"log_metric / {label}, {few:,} calls", 1.0, other, ours_few, 3))
    if "mlflow" in sys.modules:
        sys.modules["mlflow"].end_run()
    return pairs


def _others(folder: Path) -> list[tuple[str, int, Callable[[], None]]]:
    found: list[tuple[str, int, Callable[[], None]]] = []
    if importlib.util.find_spec("tensorboard"):
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        writer = EventFileWriter(str(folder / "tb"))

        def tensorboard() -> None:
            for n in range(10_000):
                value = summary_pb2.Summary.Value(tag="val_loss", simple_value=0.1 + n)
                writer.add_event(
                    event_pb2.Event(step=n, wall_time=time.time(), summary=summary_pb2.Summary(value=[value]))
                )
            writer.flush()

        found.append(("TensorBoard", 10_000, tensorboard))
    if importlib.util.find_spec("mlflow"):
        import mlflow

        mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
        mlflow.start_run()

        def flow() -> None:
            for n in range(200):
                mlflow.log_metric("val_loss", 0.1 + n, step=n)

        found.append(("MLflow (sqlite)", 200, flow))
    if importlib.util.find_spec("trackio"):
        import trackio

        os.environ["TRACKIO_DIR"] = str(folder / "trackio")
        trackio.init(project="bench", embed=False)

        def track() -> None:
            for n in range(1000):
                trackio.log({"val_loss": 0.1 + n})

        found.append(("trackio", 1000, track))
    if importlib.util.find_spec("wandb"):
        import wandb

        run = wandb.init(mode="offline", dir=str(folder), settings=wandb.Settings(silent=True))

        def wandb_offline() -> None:
            for n in range(1000):
                run.log({"val_loss": 0.1 + n})

        found.append(("wandb offline", 1000, wandb_offline))
    if importlib.util.find_spec("aim"):
        import aim

        aim_run = aim.Run(repo=str(folder), system_tracking_interval=None, log_system_params=False)

        def aimed() -> None:
            for n in range(1000):
                aim_run.track(0.1 + n, name="val_loss", step=n)

        found.append(("Aim", 1000, aimed))
    for name in ("tensorboard", "mlflow", "trackio", "wandb", "aim"):
        if not importlib.util.find_spec(name):
            print(f"not here: {name}", file=sys.stderr)
    return found


def _importing() -> Pair:
    def start(code: str) -> Callable[[], object]:
        return functools.partial(subprocess.check_call, [sys.executable, "-c", code])

    return time_pair("import foundations / import json", 1.5, start("import json"), start("import foundations"), 15)


def _taking_in(folder: Path) -> list[Pair]:
    """1,000,000 records of one job into the store, beside a bare executemany of the same rows; and their chart."""
    keys = [f"metric{n}" for n in range(10)]
    parts = [records.encode_metric(1e9 + n, keys[n % 10], n // 10, n * 0.37) for n in range(_RECORDS)]
    pages, page, size = [], [], 0
    for part in parts:
        page.append(part)
        size += len(part)
        if size > _PAGE:
            pages.append(b"".join(page))
            page, size = [], 0
    pages.append(b"".join(page))
    rows = [(n % 10, 1e9 + n, 1, n * 50, n // 10, n * 0.37) for n in range(_RECORDS)]
    count = iter(range(100))
    store = Store()

    def floor() -> None:
        conn = sqlite3.connect(folder / f"floor{next(count)}.db", isolation_level=None)
        conn.execute("PRAGMA journal_mode = WAL")
        conn.execute("PRAGMA synchronous = NORMAL")
        conn.execute(
            "CREATE TABLE points (series INTEGER, time REAL, writer INTEGER, offset INTEGER, step INTEGER, value,"
            " PRIMARY KEY (series, time, writer, offset)) WITHOUT ROWID"
        )
        conn.execute("BEGIN")
        conn.executemany("INSERT INTO points VALUES (?, ?, ?, ?, ?, ?)", rows)
        conn.execute("COMMIT")
        conn.close()

    def ours() -> None:
        job = f"{next(count):012x}"
        _put_job(store, job, 0)
        write_streams.put_sizes(store, "local", [(job, 1, "records/w", 1 << 40)])
        offset = 0
        for one in pages:
            offset += write_streams.put_records_page(store, job, 1, "records/w", offset, one)

    pair = time_pair("1,000,000 records into the store / executemany of the rows", 2.5, floor, ours, 2)
    _put_job(store, "f" * 12, 0)
    write_streams.put_sizes(store, "local", [("f" * 12, 1, "records/w", 1 << 40)])
    offset = 0
    for start in range(0, _RECORDS, 1000):
        page = [records.encode_metric(1e9 + n, "long", n, n * 0.37) for n in range(start, start + 1000)]
        offset += write_streams.put_records_page(store, "f" * 12, 1, "records/w", offset, b"".join(page))
    store.close()
    reader = open_reader()

    def chart() -> None:
        points = queries.curve(reader, "f" * 12, 1, "long")
        xs, lows, highs = zip(*((p.step_max, p.min, p.max) for p in points), strict=True)
        braille.draw([braille.Curve(xs, lows, highs)], 150, 40)

    aim = time_pair("the chart of 1,000,000 points / 30 ms", 1.0, lambda: time.sleep(0.03), chart, 5)
    return [pair, aim]


def _put_job(store: Store, job: str, number: int) -> None:
    spec = JobSpec(job, ("true",), "0" * 40, created_at=1e9 + number)
    with store.transaction():
        writes._put_view(store, "local", "j", JobView(spec, JobState.COMPLETED, 1, 1))


def _at_size() -> list[Pair]:
    """100,000 jobs with 50 metrics each: the first 100 rows of queries and orders, beside 100 ms."""
    with tempfile.TemporaryDirectory() as name:
        os.environ["FOUNDATIONS_HOME"] = name
        fill(_JOBS, _KEYS)
        conn = open_reader()
        pairs = []
        asked = [
            ("state=failed", "created"),
            ("lr<1e-3", "created"),
            ("state=failed and lr<1e-2 and m3:min<0.3 and tag:cnn and host=gpu1 and age<9d", "created"),
            ("nosuchword", "created"),
            ("", "m0:min"),
            ("", "lr:desc"),
            ("state=completed and lr<0.5", "m7:max:desc"),
        ]
        for query, sort in asked:
            which = queries.JobFilter(query=query)

            def ask(which: queries.JobFilter = which, sort: str = sort) -> None:
                queries.jobs(conn, which, sort, 100)

            label = f"100,000 jobs, where {query!r} sort {sort} / 100 ms"
            pairs.append(time_pair(label, 1.0, lambda: time.sleep(0.1), ask, 3))
        conn.close()
        return pairs


def _many_points() -> list[Pair]:
    """10,000,000 points in the store: more of them beside the first ones, the chart and the table beside their aims."""
    with tempfile.TemporaryDirectory() as name:
        os.environ["FOUNDATIONS_HOME"] = name
        store = Store()
        pages = [b"".join(_lines_of(n) for n in range(start, start + 1000)) for start in range(0, 10_000, 1000)]
        times = [_time_of(store, f"{n:012x}", pages) for n in range(_POINTS // 100_000)]
        store.close()
        reader = open_reader()

        def chart() -> None:
            queries.curve(reader, f"{50:012x}", 1, "metric3")

        def table() -> None:
            queries.jobs(reader, queries.JobFilter(query="metric3:max>1"), "metric3:min", 100)

        first, last = statistics.median(times[:10]), statistics.median(times[-10:])
        return [
            Pair("the last of 10,000,000 points into the store / the first", first, last, 1.5),
            time_pair("a chart among 10,000,000 points / 30 ms", 1.0, lambda: time.sleep(0.03), chart, 5),
            time_pair("a query among 10,000,000 points / 100 ms", 1.0, lambda: time.sleep(0.1), table, 5),
        ]


def _lines_of(step: int) -> bytes:
    """Return the lines of ten metrics at a step."""
    return b"".join(records.encode_metric(1e9 + step, f"metric{k}", step, step * 0.37 + k) for k in range(10))


def _time_of(store: Store, job: str, pages: list[bytes]) -> float:
    """Return how long the pages of a job take to get into the store, seconds."""
    _put_job(store, job, 0)
    write_streams.put_sizes(store, "local", [(job, 1, "records/w", 1 << 40)])
    began = time.perf_counter()
    offset = 0
    for page in pages:
        offset += write_streams.put_records_page(store, job, 1, "records/w", offset, page)
    return time.perf_counter() - began


def fill(jobs: int, keys: int) -> None:
    """Fill the store of FOUNDATIONS_HOME with jobs that have so many metrics each."""
    dice = random.Random(1)
    store = Store()
    for start in range(0, jobs, 2000):
        with store.transaction() as conn:
            for n in range(start, min(start + 2000, jobs)):
                _put_large(store, conn, dice, n, jobs, keys)
    store.close()


def _put_large(store: Store, conn: sqlite3.Connection, dice: random.Random, n: int, jobs: int, keys: int) -> None:
    job = f"{dice.getrandbits(48):012x}"
    created = time.time() - jobs + n
    spec = JobSpec(
        job,
        ("python", "train.py", "--lr", str(dice.random())),
        "0" * 40,
        project=f"p{n % 20}",
        params={"bs": dice.choice([16, 32, 64]), "seed": n},
        tags={"cnn": ""} if n % 7 == 0 else {},
        created_at=created,
    )
    state = JobState.FAILED if n % 11 == 0 else JobState.COMPLETED
    view = JobView(spec, state, n, 1, started_at=created, ended_at=created + dice.random() * 1000)
    writes._put_view(store, f"gpu{n % 4}", "j", view)
    base = conn.execute("SELECT COALESCE(MAX(id), 0) FROM series").fetchone()[0]
    rows = [(f"m{k}", job, 1, base + 1 + k, 1.0, dice.random(), dice.random(), dice.random() + 1) for k in range(keys)]
    conn.executemany(
        "INSERT INTO series (key, job, attempt, id, first, last, min, max, count, step, time)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 100, 99, 0)",
        rows,
    )
