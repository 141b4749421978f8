"""What an operation or a verb says while it runs."""

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

from foundations_tui.text.sanitize import one_line
from foundations_tui.ui.screens.modal import ModalWindow
from foundations_tui.ui.tasks import StartTask, Task
from foundations_tui.ui.widgets.log_view import LogView

_TICK = 0.15
_COLUMNS = 150
"""A table is cut to what it is given: what is too wide for the window can be scrolled to."""


@dataclass(frozen=True)
class NextStep:
    """Where enter leads once a task has ended well."""

    words: str
    """What it does."""
    go: Callable[[object], None]
    """Called with the task's result, when its window is closed."""


class TaskOutput(ModalWindow):
    """Starts a task and shows what it says; leaving it ends one that still runs."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "close", "back", id="output.close"),
        Binding("i", "interrupt", "interrupt", id="output.interrupt"),
        Binding("enter,f3", "onward", "go on", id="output.onward"),
    ]

    class _Ended(Message):
        """The task has ended."""

    def __init__(
        self,
        title: str,
        start: StartTask,
        next_step: NextStep | None = None,
        fits_window: bool = False,
        shows_end: bool = False,
    ) -> None:
        """Make one; the task starts when the window is there.

        Args:
            title: what stands above it.
            start: starts the task.
            next_step: where enter leads.
            fits_window: whether the task breaks its lines itself.
            shows_end: whether its last lines count, not its first.
        """
        super().__init__()
        self._title = title
        self._start_task = start
        self._next_step = next_step
        self._fits_window = fits_window
        self._shows_end = shows_end
        self._shown_task: Task | None = None

    def compose(self) -> ComposeResult:
        """Lay out the box."""
        with Vertical(id="box"):
            yield LogView(id="output-text")
            yield Static(id="output-state", markup=False)

    def on_mount(self) -> None:
        """Start the task once it is known how much room there is."""
        self.query_one("#box").border_title = Content(one_line(self._title))
        self.query_one(LogView).focus()
        self.call_after_refresh(self._start)

    def _start(self) -> None:
        room = self.query_one(LogView).size.width - 1  # the scroll bar's
        columns = room if self._fits_window else max(room, _COLUMNS)
        self._shown_task = self._start_task(lambda: self.post_message(self._Ended()), columns)
        self.set_interval(_TICK, self._look)
        self._look()

    @property
    def is_done(self) -> bool:
        """Whether the task has ended well."""
        return self._shown_task is not None and self._shown_task.is_done

    @property
    def result(self) -> object:
        """What the task came to, once it has ended well."""
        return self._shown_task.result if self._shown_task is not None else None

    def _look(self) -> None:
        if self._shown_task is None:
            return
        running = self._shown_task.is_running
        self.query_one(LogView).show(self._shown_task.output, "…" if running else "it said nothing")
        onward = f"   enter {self._next_step.words}" if self._next_step is not None and self.is_done else ""
        state = "runs   i interrupts   esc ends it" if running else f"{self._shown_task.outcome}{onward}   esc back"
        self.query_one("#output-state", Static).update(Content(state))

    def on_task_output__ended(self) -> None:
        """Show how it ended."""
        self._look()
        view = self.query_one(LogView)
        if not self._shows_end and self.is_done and view.line_count > view.size.height:
            view.action_top()

    def action_onward(self) -> None:
        """Close it, and go on from there."""
        if self._next_step is None or not self.is_done:
            return
        result = self.result
        self.dismiss(None)
        self._next_step.go(result)

    def action_interrupt(self) -> None:
        """Ask the task to end."""
        if self._shown_task is not None:
            self._shown_task.interrupt()

    def on_unmount(self) -> None:
        """Leave nothing running and no file."""
        if self._shown_task is not None:
            self._shown_task.close()
