"""The line under every page while it shows an earlier moment: where that lies in all that is known."""

from __future__ import annotations

import time
from dataclasses import dataclass

from textual import events
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from foundations_tui.text import humanize
from foundations_tui.text.sanitize import width
from foundations_tui.ui.theme import LOOK

_KEYS_FROM = 70
"""Columns from which its keys are said."""


class Scrubber(Static):
    """Shows the moment on a line from the first that is known to now; hidden while that is what is shown."""

    @dataclass
    class Pointed(Message):
        """The user wants to see another moment, seconds since the epoch; None for now."""

        moment: float | None

    @dataclass
    class Stepped(Message):
        """The wheel was turned: back, or on."""

        steps: int

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id, markup=False)
        self.display = False
        self._moment: float | None = None
        self._first = 0.0
        self._ends = (0, 0)
        """Cells between which the line lies."""

    def show(self, moment: float | None, first: float) -> None:
        """Show a moment.

        Args:
            moment: seconds since the epoch; None for now.
            first: the earliest that is known.
        """
        self._moment, self._first = moment, first
        self.display = moment is not None
        self._draw()

    def _draw(self) -> None:
        if self._moment is None:
            return
        now = time.time()
        words = f" {humanize.clock(self._moment, now, seconds=True)} "
        first = f" {humanize.clock(self._first, now)} "
        last = " now   , back  . forward  esc now" if self.size.width >= _KEYS_FROM else " now "
        room = max(4, self.size.width - sum(map(width, (words, first, last))) - 1)
        share = (self._moment - self._first) / (now - self._first) if now - self._first >= 1.0 else 1.0
        place = min(room - 1, max(0, round(share * (room - 1))))
        line, mark = ("-", "#") if LOOK.ascii else ("─", "●")
        begin = width(words) + width(first)
        self._ends = begin, begin + room
        marked = Content.styled(mark, LOOK.style("stalled"))
        drawn = Content.assemble(line * place, marked, line * (room - 1 - place))
        self.update(Content.assemble((words, "bold reverse"), (first, "dim"), drawn, (last, "dim")))

    def on_resize(self) -> None:
        """Fit the new width."""
        self._draw()

    def on_click(self, event: events.Click) -> None:
        """Go to the moment that is clicked; behind the line it is now."""
        begin, end = self._ends
        if event.x >= end - 1:
            self.post_message(self.Pointed(None))
        elif event.x >= begin:
            share = (event.x - begin) / max(1, end - begin - 1)
            self.post_message(self.Pointed(self._first + share * (time.time() - self._first)))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Go back."""
        self.post_message(self.Stepped(-1))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Go on."""
        self.post_message(self.Stepped(1))
