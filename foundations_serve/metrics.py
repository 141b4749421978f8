"""What a server has done, for Prometheus: its text format, version 0.0.4 (prometheus.io, "Exposition formats")."""

from __future__ import annotations

import threading
from typing import Dict, Iterator, List, Tuple

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of latencies, seconds."""
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)


class Histogram:
    """Counts of values up to each bound."""

    def __init__(self, bounds: Tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts: List[int] = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        place = next((place for place, bound in enumerate(self.bounds) if value <= bound), len(self.bounds))
        self.counts[place] += 1
        self.sum += value

    def lines(self, name: str) -> Iterator[str]:
        """Yield it as text."""
        so_far = 0
        for bound, count in zip((*self.bounds, "+Inf"), self.counts):
            so_far += count
            yield f'{name}_bucket{{le="{bound}"}} {so_far}'
        yield f"{name}_sum {self.sum:.6f}"
        yield f"{name}_count {so_far}"


class Metrics:
    """The counters of one server; its threads share them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Dict[Tuple[str, int], int] = {}
        self._seconds = Histogram(BUCKETS)
        self._batches = Histogram(BATCH_BUCKETS)
        self.in_flight = 0

    def count(self, route: str, status: int, seconds: float) -> None:
        """Count a request that asked for an answer of the model.

        Args:
            route: its kind: "infer", "predict", "invocations".
            status: of HTTP; 499 where the caller has left.
            seconds: how long it took.
        """
        with self._lock:
            self._requests[route, status] = self._requests.get((route, status), 0) + 1
            self._seconds.add(seconds)

    def count_batch(self, size: int) -> None:
        """Count requests that were computed together."""
        with self._lock:
            self._batches.add(size)

    def text(self, waiting: int) -> str:
        """Return all of it.

        Args:
            waiting: requests in the queue.
        """
        with self._lock:
            lines = ["# TYPE foundations_requests_total counter"]
            lines += [
                f'foundations_requests_total{{route="{route}",status="{status}"}} {count}'
                for (route, status), count in sorted(self._requests.items())
            ]
            lines += ["# TYPE foundations_request_seconds histogram"]
            lines += self._seconds.lines("foundations_request_seconds")
            lines += ["# TYPE foundations_batch_size histogram"]
            lines += self._batches.lines("foundations_batch_size")
        lines += ["# TYPE foundations_requests_in_flight gauge", f"foundations_requests_in_flight {self.in_flight}"]
        lines += ["# TYPE foundations_requests_waiting gauge", f"foundations_requests_waiting {waiting}"]
        return "\n".join(lines) + "\n"
