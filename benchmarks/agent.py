"""The agent of this machine: how soon a job starts, how fast many are submitted, and what it costs while it waits."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

from benchmarks.paired import Pair, time_pair
from foundations_tui.config.hosts import HostConfig, HostsConfig
from foundations_tui.session import Session
from foundations_tui.snapshot import freeze
from foundations_tui.submit import shipping
from foundations_tui.submit.pipeline import submit, submit_all
from foundations_tui.submit.progress import SILENT
from foundations_tui.submit.request import JobRequest
from remote_agent.protocol import messages
from remote_agent.system import processes
from tests.support import agents

_MANY = 10_000
_RUNNING = 500
_TICKS = os.sysconf("SC_CLK_TCK")


class Host:
    """An agent with a root of its own, connected."""

    def __init__(self, max_jobs: int) -> None:
        # Removed at the very end: a disk that has to forget ten thousand files is slow for a while.
        top = Path(tempfile.mkdtemp(prefix="foundations-bench-"))
        atexit.register(shutil.rmtree, top, ignore_errors=True)
        self.project, self.root = top / "project", top / "agent"
        self.project.mkdir()
        (self.project / "train.py").write_text("print(1)\n")
        os.environ["FOUNDATIONS_HOME"] = str(top)
        hosts = HostsConfig({"local": HostConfig(name="local", root=str(self.root), max_jobs=max_jobs)})
        self.session = Session(hosts)
        self.agent = self.session.agent("local")
        self.frozen = freeze.take(self.project)
        shipping.ship(self.agent, self.session.store, self.frozen, SILENT)

    def __enter__(self) -> Host:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.session.close()
        agents.end(self.root)

    def request(self, *command: str) -> JobRequest:
        return JobRequest(command, self.project, host="local")

    def run_trues(self, count: int = 2000) -> None:
        """Submit so many jobs of /bin/true in one call and wait for their last durable end."""
        submit_all(self.session, [self.request("/bin/true")] * count, frozen=self.frozen)
        while True:
            hello = self.agent.call(messages.Hello())
            if not hello.resources.queued and not hello.active:
                return
            time.sleep(0.02)

    def cpu_seconds(self) -> float:
        stat = Path(f"/proc/{agents.daemon_pid(self.root)}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / _TICKS


def run() -> list[Pair]:
    """Return the pairs."""
    return [_start(), _submit_many(), *_idle(), *_busy()]


def _start() -> Pair:
    """From the call of submit to the process's first act, beside a plain Popen of the same."""
    with Host(max_jobs=2) as host:
        mark = host.project.parent / "mark"
        command = ("/bin/sh", "-c", f": > {mark}")

        def wait() -> None:
            while not mark.exists():
                time.sleep(0.0002)
            mark.unlink()

        def plain() -> None:
            with subprocess.Popen(command):
                wait()

        def ours() -> None:
            submit(host.session, host.request(*command), frozen=host.frozen)
            wait()

        return time_pair("submit call to process start, idle local host / Popen", 6.0, plain, ours, 40)


def _submit_many() -> Pair:
    """10,000 jobs in one call, beside their specifications written and synced once."""
    with Host(max_jobs=1) as host:
        host.agent.call(messages.Pause(paused=True))
        requests = [host.request("python", "train.py", "--n", str(n)) for n in range(_MANY)]

        def plain() -> None:
            with open(host.root / "plain", "wb") as file:
                for request in requests:
                    file.write(repr(request).encode())
                os.fdatasync(file.fileno())

        def ours() -> None:
            submit_all(host.session, requests, frozen=host.frozen)

        return time_pair(f"{_MANY:,} jobs submitted in one call / written and synced", 40.0, plain, ours, 2)


def _idle() -> list[Pair]:
    """What a daemon costs that has nothing to do: share of a core in percent, memory in MB, as if they were ms."""
    with Host(max_jobs=2) as host:
        time.sleep(1)
        before, began = host.cpu_seconds(), time.monotonic()
        time.sleep(15)
        share = (host.cpu_seconds() - before) / (time.monotonic() - began)
        status = Path(f"/proc/{agents.daemon_pid(host.root)}/status").read_text()
        memory = 1024.0 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        return [
            Pair("idle daemon, % of a core / 0.5 %", 0.005, share, 1.0),
            Pair("idle daemon, MB (as ms) / 25 MB", 0.025, memory / 1e9, 1.0),
        ]


def _busy() -> list[Pair]:
    with Host(max_jobs=_RUNNING) as host:
        submit_all(host.session, [host.request("/bin/sleep", "300")] * _RUNNING, frozen=host.frozen)
        while len(host.agent.call(messages.StreamSizes()).streams) < _RUNNING:
            time.sleep(0.2)
        time.sleep(5)
        before, began = host.cpu_seconds(), time.monotonic()
        time.sleep(25)
        share = (host.cpu_seconds() - before) / (time.monotonic() - began)
        own = [_memory(record.supervisor.pid) for record in agents.supervisors(host.root) if record.supervisor]
        return [
            Pair(f"daemon with {_RUNNING} running jobs, % of a core / 5 %", 0.05, share, 1.0),
            Pair("a supervisor's own memory, MB (as ms) / 5 MB", 0.005, sum(own) / len(own) / 1e9, 1.0),
        ]


def _memory(pid: int) -> float:
    """Return the bytes that are a process's own."""
    if processes.start_time(pid) is None:
        return 0.0
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    facts = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.endswith("kB")}
    return 1024.0 * (facts["Private_Dirty"] + facts["Private_Clean"])


if __name__ == "__main__":
    sys.exit("run it with: make bench")
