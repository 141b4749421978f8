"""The form for a new job, empty or filled from one that there was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from foundations_tui import words
from foundations_tui.errors import UsageError
from foundations_tui.terminal import one_line
from foundations_tui.ui.commands import Command
from foundations_tui.ui.launching import FIELDS, changed, submit_words
from foundations_tui.ui.screens.output import Output


class Launch(ModalScreen[list[str]]):
    """Asks for a job; returns the words behind ``foundations submit``, none when the user leaves it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "back", id="launch.close"),
        Binding("f2,ctrl+p", "preview", "what would be sent", priority=True, id="launch.preview"),
        Binding("f3,ctrl+o", "submit", "submit", priority=True, id="launch.submit"),
        Binding("down", "app.focus_next", "next", show=False, id="launch.next"),
        Binding("up", "app.focus_previous", "previous", show=False, id="launch.previous"),
    ]

    def __init__(self, values: Mapping[str, str], title: str) -> None:
        """Make one.

        Args:
            values: what stands there to begin with, by the fields' names.
            title: where that comes from.
        """
        super().__init__()
        self._before = values
        self._title = title

    def compose(self) -> ComposeResult:
        """Lay out the form."""
        with VerticalScroll(id="box"):
            for field in FIELDS:
                with Horizontal(classes="launch-line"):
                    yield Static(field.name, id=f"label-{field.name}", classes="launch-label", markup=False)
                    value = one_line(self._before.get(field.name, ""))
                    yield Input(value, placeholder=field.hint, id=f"field-{field.name}", select_on_focus=False)
            yield Static(id="launch-said", markup=False)
            yield Static("f2 what would be sent    f3 submit    enter next line    esc back", id="launch-keys")

    def on_mount(self) -> None:
        """Begin with the command."""
        self.query_one("#box").border_title = Content(one_line(self._title))
        self.query_one("#field-command", Input).focus()
        self._say()

    @property
    def values(self) -> dict[str, str]:
        """What stands in the form."""
        return {field.name: self.query_one(f"#field-{field.name}", Input).value for field in FIELDS}

    def _say(self) -> None:
        """Show the command line that comes of it, or what is wrong, and mark what was changed."""
        values = self.values
        fresh = changed(values, self._before)
        for field in FIELDS:
            mark = "*" if field.name in fresh and any(self._before.values()) else " "
            self.query_one(f"#label-{field.name}", Static).update(f"{mark} {field.name}", layout=False)
        said = self.query_one("#launch-said", Static)
        try:
            said.update(Content(one_line(words.command(["foundations", "submit", *submit_words(values)]))))
            said.remove_class("-error")
        except UsageError as error:
            said.update(Content(one_line(str(error))))
            said.add_class("-error")

    def on_input_changed(self, event: Input.Changed) -> None:
        """Say what comes of it."""
        event.stop()
        self._say()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Go to the next line."""
        event.stop()
        self.focus_next(Input)

    def on_click(self, event: events.Click) -> None:
        """Do what the keys' line says where it is clicked."""
        line = self.query_one("#launch-keys").region
        if event.screen_y == line.y and event.screen_x >= line.x:
            place = event.screen_x - line.x
            if place < 22:
                self.action_preview()
            elif place < 36:
                self.action_submit()

    def action_preview(self) -> None:
        """Show what would be sent, and how many jobs that are."""
        found = self._words()
        if found is not None:
            self.app.push_screen(Output(Command("submit", ("--dry-run", *found))))

    def action_submit(self) -> None:
        """Return the words."""
        found = self._words()
        if found is not None:
            self.dismiss(found)

    def _words(self) -> list[str] | None:
        try:
            return submit_words(self.values)
        except UsageError as error:
            self.app.notify(one_line(str(error)), severity="error", markup=False)
            return None

    def action_leave(self) -> None:
        """Go back."""
        self.dismiss([])
