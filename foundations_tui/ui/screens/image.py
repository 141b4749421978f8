"""A picture."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widget import Widget

from foundations_tui.text.sanitize import one_line
from foundations_tui.ui.screens.modal import ModalWindow
from foundations_tui.ui.widgets.key_words import key_words


class Picture(ModalWindow):
    """Shows it as large as fits; any way back closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,enter", "close", "back", id="picture.close")]

    def __init__(self, picture: Widget, title: str) -> None:
        super().__init__()
        self._picture = picture
        self._title = title

    def compose(self) -> ComposeResult:
        """Lay out the box."""
        with Vertical(id="box"):
            yield self._picture

    def on_mount(self) -> None:
        """Say what it is."""
        box = self.query_one("#box")
        box.border_title = Content(one_line(self._title))
        box.border_subtitle = key_words(self, ("picture.close", "back"))
