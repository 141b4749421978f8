"""Waiting for the disk in a thread: a sync may take a minute on a network disk, and the daemon's loop goes on."""

from __future__ import annotations

import os
import threading
import time
from typing import Callable, Optional

_SHORT = 0.02
"""Seconds that the loop itself waits: a disk that is well answers in that time."""
SLOW = 2.0
"""Seconds after which a disk is called slow."""


class Syncer:
    """Runs one sync at a time."""

    def __init__(self) -> None:
        self._action: Callable[[], None] = lambda: None
        # Bare locks, let go by the other side: an Event and a queue take half as long again as a sync.
        self._asked = threading.Lock()
        self._asked.acquire()
        self._running = threading.Lock()
        self._woken, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._began: Optional[float] = None
        self._error: Optional[OSError] = None
        self.slowest = 0.0
        """Seconds of the slowest sync of the last minutes."""
        self._slowest_at = 0.0
        self._thread: Optional[threading.Thread] = None

    def fileno(self) -> int:
        """Return a descriptor that is readable when a sync has ended that ``start`` did not wait for."""
        return self._woken

    @property
    def is_busy(self) -> bool:
        """Whether a sync is under way."""
        return self._began is not None

    def start(self, action: Callable[[], None]) -> bool:
        """Begin a sync, and wait for it a moment; say whether it is over."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
        self._running.acquire()
        self._began = time.monotonic()
        self._action = action
        self._asked.release()
        is_over = self._running.acquire(timeout=_SHORT)
        if is_over:
            self._running.release()
        return is_over

    def is_over(self) -> bool:
        """Return whether the sync that was begun has ended."""
        return not self._running.locked()

    def take_result(self) -> Optional[OSError]:
        """Return what went wrong with a sync that has ended; None for nothing."""
        assert self._began is not None
        took = time.monotonic() - self._began
        if took > self.slowest or time.monotonic() - self._slowest_at > 300:
            self.slowest, self._slowest_at = took, time.monotonic()
        self._began = None
        try:
            os.read(self._woken, 64)
        except BlockingIOError:
            pass
        return self._error

    def problem(self) -> str:
        """Return that the disk is slow, in words; empty when it is not."""
        if self._began is not None and time.monotonic() - self._began > SLOW:
            return f"disk slow: it has been asked to keep the journal for {time.monotonic() - self._began:.0f} s"
        return f"disk slow: a sync of the journal took {self.slowest:.1f} s" if self.slowest > SLOW else ""

    def _run(self) -> None:
        while True:
            self._asked.acquire()
            self._error = None
            try:
                self._action()
            except OSError as error:
                self._error = error
            os.write(self._wake, b"x")
            self._running.release()
