"""A few steps for who opens the app for the first time, one line at a time."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widgets import Static

STEPS = (
    ("race", "press 7: the race: who leads, who failed, who is too far behind"),
    ("hosts", "press 4: the hosts: whose job is on which (pretended) GPU"),
    ("job", "press 1, then enter: all that is known of a job; esc is the way back"),
)
"""What ends a step, a page or an opened job; and what it says."""
_OVER = "that was it: ? has the keys, ctrl+p finds everything by name, q quits"


class Tour(Static):
    """Says what to press next, until all of it was pressed."""

    def __init__(self, steps: Sequence[tuple[str, str]] = STEPS, id: str | None = None) -> None:
        super().__init__(id=id, markup=False)
        self._steps = steps
        self._done = 0

    def on_mount(self) -> None:
        """Say the first step."""
        self._say()

    def saw(self, what: str) -> None:
        """Take in that the user has come somewhere: a page, or a job."""
        if self._done > len(self._steps):
            return
        is_step = self._done < len(self._steps) and self._steps[self._done][0] == what
        if is_step or self._done == len(self._steps):
            self._done += 1
            self._say()

    def _say(self) -> None:
        many = len(self._steps)
        self.display = self._done <= many
        number, words = (f"{self._done + 1}/{many}", self._steps[self._done][1]) if self._done < many else ("", _OVER)
        self.update(Content.assemble((f" tour {number} ", "bold reverse"), f" {words}"))
