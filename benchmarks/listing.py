"""``foundations jobs`` with 10,000 jobs in the store, against an interpreter that does nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.paired import Pair, time_pair
from tests.support.store import fill

_JOBS = 10_000


def run() -> Pair:
    """Return the pair."""
    fill(_JOBS)
    program = Path(sys.executable).with_name("foundations")

    def nothing() -> None:
        subprocess.run([sys.executable, "-c", "pass"], check=True)

    def jobs() -> None:
        subprocess.run([program, "jobs"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    return time_pair("foundations jobs, 10,000 in the store / python -c pass", 8.0, nothing, jobs, 25)
