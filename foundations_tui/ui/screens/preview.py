"""A text file on this machine, of any size."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content

from foundations_tui.text.sanitize import one_line
from foundations_tui.ui.screens.modal import ModalWindow
from foundations_tui.ui.widgets.key_words import key_words
from foundations_tui.ui.widgets.log_view import LogView


class FilePreview(ModalWindow):
    """Shows it from its beginning; any way back closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "close", "back", id="preview.close")]

    def __init__(self, path: Path, title: str) -> None:
        super().__init__()
        self._path = path
        self._title = title

    def compose(self) -> ComposeResult:
        """Lay out the box."""
        with Vertical(id="box"):
            yield LogView(id="preview-text")

    def on_mount(self) -> None:
        """Show the file."""
        box, view = self.query_one("#box"), self.query_one(LogView)
        box.border_title = Content(one_line(self._title))
        box.border_subtitle = key_words(self, ("preview.close", "back"), before="j k scroll")
        view.focus()
        view.show(self._path, "an empty file")
        self.call_after_refresh(view.action_top)
