"""A letter on everything that can have the keys: the letter gives them to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Static

_LETTERS = "asdfghjklwertyuiopzxcvbnm"


class Jump(ModalScreen[Widget]):
    """Shows the letters over the main screen; any other key takes none."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "back", id="jump.close")]

    def __init__(self, targets: Sequence[Widget]) -> None:
        super().__init__()
        self._by_letter = dict(zip(_LETTERS, targets, strict=False))

    def compose(self) -> ComposeResult:
        """Put each letter where what it means begins."""
        for letter, widget in self._by_letter.items():
            label = Static(f" {letter} ", classes="jump-label", markup=False)
            label.styles.offset = widget.region.x + 1, widget.region.y
            yield label

    def on_key(self, event: events.Key) -> None:
        """Take what the letter means."""
        event.stop()
        self.dismiss(self._by_letter.get(event.character or ""))

    def on_click(self) -> None:
        """Take none."""
        self.dismiss(None)

    def action_leave(self) -> None:
        """Take none."""
        self.dismiss(None)
