"""How far a build is, from what uv and pip print where no terminal is. Pure."""

from __future__ import annotations

import re
from typing import Dict, Optional

_STARTED = re.compile(r"\s*Downloading (\S+) \(([\d.]+)\s?([KMGT]?i?B)\)")
_FETCHED = re.compile(r"\s*Downloaded (\S+)")
_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "kB": 1000, "MB": 10**6, "GB": 10**9}
_STAGES = (
    (re.compile(r"\s*(Resolved|Audited) \d+"), 5),
    (re.compile(r"\s*Prepared \d+|Installing collected packages"), 85),
    (re.compile(r"\s*Installed \d+|Successfully installed"), 90),
    (re.compile(r"\s*Bytecode compiled"), 97),
)
_BEGIN, _FETCHING = 5, 80
"""Percent before anything is fetched, and that fetching takes: it is most of the time."""


class Progress:
    """Takes lines in, and says a percentage that never falls."""

    def __init__(self) -> None:
        self.percent = 0
        self._sizes: Dict[str, float] = {}
        self._fetched = 0.0

    def take(self, line: str) -> bool:
        """Take in a line, and say whether the percentage has changed."""
        reached = self._stage(line)
        if reached is None:
            reached = self._share(line)
        if reached is None or reached <= self.percent:
            return False
        self.percent = reached
        return True

    def _stage(self, line: str) -> Optional[int]:
        return next((percent for pattern, percent in _STAGES if pattern.match(line)), None)

    def _share(self, line: str) -> Optional[int]:
        started, fetched = _STARTED.match(line), _FETCHED.match(line)
        if started is not None:
            self._sizes[started.group(1)] = float(started.group(2)) * _UNITS.get(started.group(3), 1)
            return None
        if fetched is None or not self._sizes:
            return None
        self._fetched += self._sizes.get(fetched.group(1), 0.0)
        return _BEGIN + int(_FETCHING * min(1.0, self._fetched / max(1.0, sum(self._sizes.values()))))
