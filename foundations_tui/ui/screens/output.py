"""What a verb says while it runs."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from foundations_tui import words
from foundations_tui.terminal import one_line
from foundations_tui.ui.commands import Command, Running
from foundations_tui.ui.screens.window import Window
from foundations_tui.ui.widgets.log_view import LogView

_TICK = 0.15


class Output(Window):
    """Runs a verb and shows what it says; leaving it ends a verb that still runs."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "close", "back", id="output.close"),
        Binding("i", "interrupt", "interrupt", id="output.interrupt"),
    ]

    class _Ended(Message):
        """The verb has ended."""

    def __init__(self, command: Command) -> None:
        super().__init__()
        self._command = command
        self._process: Running | None = None

    def compose(self) -> ComposeResult:
        """Lay out the box."""
        with Vertical(id="box"):
            yield LogView(id="output-text")
            yield Static(id="output-state", markup=False)

    def on_mount(self) -> None:
        """Start the verb."""
        line = words.command(["foundations", self._command.verb, *self._command.words])
        self.query_one("#box").border_title = Content(one_line(line))
        self._process = Running(self._command, self._has_ended)
        self.query_one(LogView).focus()
        self.set_interval(_TICK, self._look)
        self._look()

    def _has_ended(self, code: int) -> None:
        self.post_message(self._Ended())

    def _look(self) -> None:
        if self._process is None:
            return
        code = self._process.code
        self.query_one(LogView).show(self._process.output, "…" if code is None else "it said nothing")
        state = "runs   i interrupts   esc ends it" if code is None else f"exit {code}   esc back"
        self.query_one("#output-state", Static).update(Content(state))

    def on_output__ended(self) -> None:
        """Show how it ended."""
        self._look()
        view = self.query_one(LogView)
        if self._command.verb == "submit" and not {"--help", "-h", "--dry-run"} & set(self._command.words):
            return  # what came of it stands at the end
        if view.line_count > view.size.height and self._process is not None and self._process.code == 0:
            view.action_top()

    def action_interrupt(self) -> None:
        """Ask the verb to end."""
        if self._process is not None:
            self._process.interrupt()

    def on_unmount(self) -> None:
        """Leave nothing running and no file."""
        if self._process is not None:
            self._process.close()
