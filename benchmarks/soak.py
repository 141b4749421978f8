"""Eight hours of four jobs, replayed in four minutes while somebody goes from page to page: what the app keeps."""

from __future__ import annotations

import os
import time
from pathlib import Path

from benchmarks.app import Terminal, program
from benchmarks.live import resident
from benchmarks.paired import Pair
from foundations import records
from foundations_tui.config import locations
from foundations_tui.store import write_streams
from foundations_tui.store.db import Store
from tests.support.store import fill

_HOURS, _SECONDS_EACH = 8, 120
"""What is replayed, and how many of its seconds each second brings."""
_JOBS = 4
_PAGES = b"1j2l3k4j6017"
"""Keys: pages, and what moves on them."""


def run() -> list[Pair]:
    """Return the pairs: what there is after eight hours beside what there was after the first."""
    fill(1000)
    replay = _Replay()
    terminal = Terminal(program())
    terminal.wait_for_words(b"job 9")
    first: dict[str, int] = {}
    for second in range(0, _HOURS * 3600, _SECONDS_EACH):
        began = time.monotonic()
        replay.go_on(second, _SECONDS_EACH)
        for key in (2 * (second // _SECONDS_EACH), 2 * (second // _SECONDS_EACH) + 1):
            terminal.type(_PAGES[key % len(_PAGES) :][:1])
            time.sleep(0.3)
        time.sleep(max(0.0, began + 1 - time.monotonic()))
        if not first and second >= 3600:
            first = _kept(terminal.pid)
    last = _kept(terminal.pid)
    terminal.end()
    replay.close()
    aims = {"memory": 1.1, "threads": 1.0, "descriptors": 1.0}
    return [
        Pair(f"app, {what} after eight hours / after the first", first[what] / 1e9, last[what] / 1e9, aim)
        for what, aim in aims.items()
    ]


class _Replay:
    """Writes what hosts would have sent."""

    def __init__(self) -> None:
        self._store = Store()
        self._jobs = [f"{999 - number:012x}" for number in range(_JOBS)]
        self._offsets = dict.fromkeys(self._jobs, 0)
        self._began = time.time() - _HOURS * 3600
        with self._store.transaction() as conn:
            for job in self._jobs:
                runs = "state = 'running', started_at = ?, ended_at = NULL, exit_code = NULL"
                conn.execute(f"UPDATE jobs SET {runs} WHERE job = ?", [self._began, job])
        for job in self._jobs:
            locations.log_file(job, 1).parent.mkdir(parents=True, exist_ok=True)
            write_streams.put_sizes(self._store, "local", [(job, 1, "records/w", 1 << 40)])

    def go_on(self, first: int, seconds: int) -> None:
        """Write so many seconds from a second on: a line and two values of each job each second."""
        for job in self._jobs:
            steps = range(first, first + seconds)
            page = b"".join(
                records.encode_metric(self._began + step, key, step, 1 / (step + 1))
                for step in steps
                for key in ("loss", "acc")
            )
            write_streams.put_records_page(self._store, job, 1, "records/w", self._offsets[job], page)
            self._offsets[job] += len(page)
            with locations.log_file(job, 1).open("a") as log:
                log.writelines(f"step {step}/{_HOURS * 3600} loss {1 / (step + 1):.5f}\n" for step in steps)

    def close(self) -> None:
        """Close the store."""
        self._store.close()


def _kept(pid: int) -> dict[str, int]:
    process = Path(f"/proc/{pid}")
    return {
        "memory": resident(pid),
        "threads": len(os.listdir(process / "task")),
        "descriptors": len(os.listdir(process / "fd")),
    }
