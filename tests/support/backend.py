"""A backend whose attempts are entries in memory: what a test says has happened to them is what ``poll`` gives."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from remote_agent.backends import Attempt, Backend, Status
from remote_agent.core.scheduler import Capacity
from remote_agent.protocol.ends import AttemptEnd
from remote_agent.protocol.lease import Lease
from remote_agent.protocol.messages import HostSettings


class FakeBackend(Backend):
    """The port without a process."""

    def __init__(self, slots: int = 4) -> None:
        self._capacity = Capacity(slots)
        self.started: list[Attempt] = []
        self.stopped: list[tuple[Attempt, str, float]] = []
        self.leases: dict[str, Lease] = {}
        """What the engine held when it last asked."""
        self._unkept: dict[Attempt, Status] = {}
        self._readable, self._wake = os.pipe()

    def __del__(self) -> None:
        os.close(self._readable)
        os.close(self._wake)

    def fileno(self) -> int:
        return self._readable

    def capacity(self, leases: Mapping[str, Lease], settings: HostSettings) -> Capacity:
        self.leases = dict(leases)
        return self._capacity

    def start(self, attempt: Attempt, lease: Lease, is_brief: bool) -> None:
        self.started.append(attempt)

    def adopt(self, attempt: Attempt) -> bool:
        return attempt in self.started

    def poll(self, attempts: list[Attempt]) -> dict[Attempt, Status]:
        self._unkept.update(self.news(attempts))
        return dict(self._unkept)

    def news(self, attempts: list[Attempt]) -> Iterator[tuple[Attempt, Status]]:
        """Yield what is new of these attempts: nothing, where a test does not say."""
        return iter(())

    def says_running(self, attempt: Attempt) -> None:
        """Let the next ``poll`` give that an attempt runs."""
        self._unkept[attempt] = Status("running", started_at=1.0)

    def says_ended(self, attempt: Attempt, reason_code: str, exit_code: int) -> None:
        """Let the next ``poll`` give that an attempt has ended."""
        end = AttemptEnd(reason_code, f"exit code {exit_code}", 0.0, exit_code)
        self._unkept[attempt] = Status("ended", end=end)

    def acknowledge(self) -> None:
        self._unkept.clear()

    def stop(self, attempt: Attempt, by: str, grace: float) -> None:
        self.stopped.append((attempt, by, grace))
