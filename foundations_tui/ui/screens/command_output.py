"""What a verb says while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from foundations_tui.text import humanize
from foundations_tui.text.sanitize import one_line
from foundations_tui.ui.input.command_line import Command, Running, submits
from foundations_tui.ui.screens.modal import Window
from foundations_tui.ui.widgets.log_view import LogView

_TICK = 0.15
_COLUMNS = 150


@dataclass(frozen=True)
class Onward:
    """Where enter leads once a verb has ended well."""

    words: str
    """What it does."""
    go: Callable[[str], None]
    """Called with what the verb has said, when its window is closed."""


class Output(Window):
    """Runs a verb and shows what it says; leaving it ends a verb that still runs."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "close", "back", id="output.close"),
        Binding("i", "interrupt", "interrupt", id="output.interrupt"),
        Binding("enter,f3", "onward", "go on", id="output.onward"),
    ]

    class _Ended(Message):
        """The verb has ended."""

    def __init__(self, command: Command, onward: Onward | None = None) -> None:
        super().__init__()
        self._command = command
        self._onward = onward
        self._process: Running | None = None

    def compose(self) -> ComposeResult:
        """Lay out the box."""
        with Vertical(id="box"):
            yield LogView(id="output-text")
            yield Static(id="output-state", markup=False)

    def on_mount(self) -> None:
        """Start the verb once it is known how much room there is."""
        line = humanize.command(["foundations", self._command.verb, *self._command.words])
        self.query_one("#box").border_title = Content(one_line(line))
        self.query_one(LogView).focus()
        self.call_after_refresh(self._start)

    def _start(self) -> None:
        room = self.query_one(LogView).size.width - 1  # the scroll bar's
        if "--help" not in self._command.words:
            room = max(room, _COLUMNS)  # a table is cut to what it is given: what is too wide here is scrolled to
        self._process = Running(self._command, self._has_ended, room)
        self.set_interval(_TICK, self._look)
        self._look()

    @property
    def is_done(self) -> bool:
        """Whether the verb has ended well."""
        return self._process is not None and self._process.code == 0

    def _has_ended(self, code: int) -> None:
        self.post_message(self._Ended())

    def _look(self) -> None:
        if self._process is None:
            return
        code = self._process.code
        self.query_one(LogView).show(self._process.output, "…" if code is None else "it said nothing")
        ended = f"   enter {self._onward.words}" if self._onward is not None and self.is_done else ""
        state = "runs   i interrupts   esc ends it" if code is None else f"exit {code}{ended}   esc back"
        self.query_one("#output-state", Static).update(Content(state))

    def on_output__ended(self) -> None:
        """Show how it ended."""
        self._look()
        view = self.query_one(LogView)
        if submits(self._command):
            return  # what came of it stands at the end
        if view.line_count > view.size.height and self.is_done:
            view.action_top()

    def action_onward(self) -> None:
        """Close it, and go on from there."""
        if self._onward is None or not self.is_done or self._process is None:
            return
        said = self._process.output.read_text(errors="replace")
        self.dismiss(None)
        self._onward.go(said)

    def action_interrupt(self) -> None:
        """Ask the verb to end."""
        if self._process is not None:
            self._process.interrupt()

    def on_unmount(self) -> None:
        """Leave nothing running and no file."""
        if self._process is not None:
            self._process.close()
