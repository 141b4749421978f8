"""What a replica answered, minute by minute, as metrics of its job: they come back and are drawn like any others."""

from __future__ import annotations

import json
from typing import Optional

from remote_agent.supervisor import traffic
from remote_agent.supervisor.traffic import Counts

MINUTE = 60.0


class Series:
    """The records file of one attempt; nothing is written while nobody asks."""

    def __init__(self, path: str) -> None:
        """Begin with nothing: the file is made with the first line.

        Args:
            path: of the file, in the format of ``foundations.records``.
        """
        self._path = path
        self._last: Optional[Counts] = None
        self._step = 0

    def take(self, counts: Counts, now: float) -> None:
        """Take in counters that were just read.

        Args:
            counts: since the server was started.
            now: seconds since the epoch.
        """
        if self._last is None:
            self._last = counts
            return
        if counts.at - self._last.at < MINUTE:
            return
        found = traffic.between(self._last, counts)
        is_quiet = counts.total == self._last.total
        self._last = counts
        self._step += 1
        if is_quiet:
            return
        values = {"rate": found.rate, "p50": found.p50, "p99": found.p99, "errors": found.errors}
        lines = [json.dumps(["m", now, f"serving/{name}", self._step, value]) for name, value in values.items()]
        try:
            with open(self._path, "a", encoding="utf-8") as file:
                if not file.tell():
                    file.write('["foundations-records", 1]\n')
                file.write("".join(f"{line}\n" for line in lines))
        except OSError:
            pass  # a full disk: this minute is not told
