"""Asking nvidia-smi, in a child that can be killed: a driver that hangs must not hang the agent."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from typing import IO, List, Optional

from remote_agent import gpus

DEADLINE = 10.0
"""Seconds that one call of nvidia-smi may take."""
INTERVAL = 5.0
"""Seconds between two looks while anybody is interested."""


class GpuProbe:
    """The GPUs of this host as last seen."""

    def __init__(self) -> None:
        """Look once, waiting at most DEADLINE."""
        self.gpus: List[gpus.Gpu] = []
        self.problem = ""
        """Why the GPUs are not known, in words; empty when they are."""
        self._child: Optional[subprocess.Popen[bytes]] = None
        self._output: Optional[IO[bytes]] = None
        self._started = 0.0
        if shutil.which(gpus.QUERY[0]):
            self._start()
            while self.busy:
                time.sleep(0.01)
                self.tick()

    @property
    def busy(self) -> bool:
        """Whether a look is under way."""
        return self._child is not None

    def tick(self) -> bool:
        """Go on with a look or begin the next; never waits.

        Returns:
            Whether the picture has changed.
        """
        if self._child is not None:
            return self._collect()
        if (self.gpus or self.problem) and time.monotonic() - self._started > INTERVAL:
            self._start()
        return False

    def _start(self) -> None:
        self._started = time.monotonic()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - read when the child has ended
        try:
            self._child = subprocess.Popen(
                gpus.QUERY, stdin=subprocess.DEVNULL, stdout=self._output, stderr=self._output
            )
        except OSError as error:
            self.problem = f"nvidia-smi cannot be run: {error.strerror}"

    def _collect(self) -> bool:
        assert self._child is not None and self._output is not None
        if self._child.poll() is None:
            if time.monotonic() - self._started < DEADLINE:
                return False
            self._child.kill()
            self.problem = f"nvidia-smi did not answer within {DEADLINE:.0f} s"
            self._child = None
            return True
        self._output.seek(0)
        text = self._output.read(1 << 20).decode("utf-8", "replace")
        failed = self._child.returncode != 0
        self._child = None
        before = (self.gpus, self.problem)
        self.problem = f"nvidia-smi failed: {text.strip()[:200]}" if failed else ""
        if not failed:
            self.gpus = gpus.parse(text)
        return before != (self.gpus, self.problem)
