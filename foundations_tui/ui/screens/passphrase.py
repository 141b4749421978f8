"""A passphrase, typed without being seen."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from foundations_tui.text.sanitize import one_line
from foundations_tui.ui.screens.confirm import UNCALLED_SECONDS
from foundations_tui.ui.widgets.key_words import KeyWords


class Passphrase(ModalScreen[str | None]):
    """Asks for a passphrase; escape says none. It takes no key at first: one may have been meant for something else."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "not now", id="passphrase.close")]

    def __init__(self, question: str, detail: str) -> None:
        super().__init__()
        self._question = question
        self._detail = detail

    def compose(self) -> ComposeResult:
        """Lay out the box."""
        with Vertical(id="box"):
            yield Static(one_line(self._question), id="question", markup=False)
            yield Static(one_line(self._detail), id="detail", markup=False)
            yield Input(password=True, id="passphrase", disabled=True)
            yield KeyWords(("enter", "goes on"), ("passphrase.close", "not now"), gap="    ", id="answers")

    def on_mount(self) -> None:
        """Begin to take keys, after a while."""
        self.set_timer(UNCALLED_SECONDS, self._begin)

    def _begin(self) -> None:
        field = self.query_one(Input)
        field.disabled = False
        field.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Close with what was typed."""
        event.stop()
        self.dismiss(event.value)

    def action_leave(self) -> None:
        """Close with nothing."""
        if not self.query_one(Input).disabled:
            self.dismiss(None)
