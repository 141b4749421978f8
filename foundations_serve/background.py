"""``/evaluate`` and ``/recalibrate``: functions of the model's code that run in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from typing import Any, Dict, List

from foundations_serve.errors import Busy

_MOST = 4
"""Processes at a time."""


class Background:
    """The processes that requests have begun; they end with the server."""

    def __init__(self) -> None:
        self._running: List["subprocess.Popen[bytes]"] = []
        self._count = 0

    def begin(self, name: str, arguments: Dict[str, Any]) -> int:
        """Begin one; what it prints is in the log of the replica.

        Args:
            name: "evaluate" or "recalibrate".
            arguments: by name.
        Returns:
            Its number.
        Raises:
            Busy: too many run already.
        """
        self._running = [process for process in self._running if process.poll() is None]
        if len(self._running) >= _MOST:
            raise Busy(f"{_MOST} of them run already")
        with tempfile.TemporaryFile() as given:  # a pipe would wait for who reads it
            given.write(json.dumps(arguments).encode())
            given.seek(0)
            command = [sys.executable, "-m", "foundations_serve", "call", name]
            self._running.append(subprocess.Popen(command, stdin=given))
        self._count += 1
        return self._count

    def close(self) -> None:
        """End what still runs."""
        for process in self._running:
            if process.poll() is None:
                process.terminate()
