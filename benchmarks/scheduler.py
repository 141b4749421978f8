"""2,000 jobs of /bin/true, two at a time, from submit to the last durable end; and the schedulers that people use."""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.agent import Host
from benchmarks.paired import Pair, time_pair

_JOBS = 2000
_RUNS = 3
_AT_ONCE = 2


def run() -> list[Pair]:
    """Return a pair for each scheduler that is installed here, timed in turns with ours."""
    with tempfile.TemporaryDirectory() as name, Host(max_jobs=_AT_ONCE) as host:
        folder = Path(name)
        pairs = []
        for label, aim, other in _others(folder):
            pairs.append(
                time_pair(f"{_JOBS:,} x /bin/true, {_AT_ONCE} at once / {label}", aim, other, host.run_trues, _RUNS)
            )
        return pairs


def _others(folder: Path) -> list[tuple[str, float, Callable[[], None]]]:
    found: list[tuple[str, float, Callable[[], None]]] = [
        ("xargs -P2", 3.0, _xargs),
        ("a record and an fsync a job, xargs -P2", 2.0, lambda: _xargs_with_records(folder)),
    ]
    known = {"tsp": ("task-spooler", 1.3, _task_spooler), "parallel": ("GNU parallel", 1.0, lambda _: _parallel())}
    for program, (label, aim, action) in known.items():
        if shutil.which(program):
            found.append((label, aim, lambda action=action: action(folder)))  # type: ignore[misc]
        else:
            print(f"not here: {label} (apt install {label.lower().replace('gnu ', '')})", file=sys.stderr)
    if importlib.util.find_spec("hyperqueue"):
        found.append(("HyperQueue", 1.0, _HyperQueue(folder).run))
    else:
        print("not here: HyperQueue (pip install hyperqueue cloudpickle tqdm)", file=sys.stderr)
    return found


def _xargs() -> None:
    numbers = "\n".join(map(str, range(_JOBS))).encode()
    subprocess.run(["xargs", f"-P{_AT_ONCE}", "-n1", "/bin/true"], input=numbers, check=True)


def _xargs_with_records(folder: Path) -> None:
    """What durability alone costs: xargs, and a record synced for each job."""
    _xargs()
    fd = os.open(folder / "records", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for _ in range(_JOBS):
        os.write(fd, b"x" * 200)
        os.fdatasync(fd)
    os.close(fd)


def _task_spooler(folder: Path) -> None:
    env = {**os.environ, "TS_SOCKET": str(folder / "ts"), "TS_MAXFINISHED": "5000", "TS_MAXCONN": "50"}
    subprocess.run(["tsp", "-S", str(_AT_ONCE)], env=env, check=True, stdout=subprocess.DEVNULL)
    for _ in range(_JOBS):
        subprocess.run(["tsp", "-n", "/bin/true"], env=env, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["tsp", "-w"], env=env, stdout=subprocess.DEVNULL)
    while "running" in subprocess.run(["tsp"], env=env, capture_output=True, text=True).stdout:
        time.sleep(0.01)
    subprocess.run(["tsp", "-K"], env=env, check=True)


def _parallel() -> None:
    numbers = "\n".join(map(str, range(_JOBS))).encode()
    subprocess.run(
        ["parallel", f"-j{_AT_ONCE}", "-n1", "/bin/true"], input=numbers, check=True, stderr=subprocess.DEVNULL
    )


_HYPERQUEUE = f"""
import sys
from hyperqueue import Job, LocalCluster
from hyperqueue.cluster import WorkerConfig
with LocalCluster(worker_config=WorkerConfig(cores={_AT_ONCE})) as cluster:
    client = cluster.client()
    print("ready", flush=True)
    for line in sys.stdin:
        job = Job()
        for _ in range({_JOBS}):
            job.program(["/bin/true"])
        client.wait_for_jobs([client.submit(job)])
        print("done", flush=True)
"""


class _HyperQueue:
    """A server and a worker in a process of their own, whose start is not timed; it keeps no journal."""

    def __init__(self, folder: Path) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-c", _HYPERQUEUE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            text=True,
        )
        self._wait_for("ready")
        atexit.register(self._child.kill)

    def run(self) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write("go\n")
        self._child.stdin.flush()
        self._wait_for("done")

    def _wait_for(self, word: str) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            if line.strip() == word:
                return
        raise RuntimeError("HyperQueue has ended")
