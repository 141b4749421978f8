"""A window over everything else that is a table of something of a job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content

from foundations_tui.errors import FoundationsError
from foundations_tui.text.sanitize import one_line
from foundations_tui.ui.models.store_reader import Reader
from foundations_tui.ui.models.table import Column, TableRow
from foundations_tui.ui.screens.live import LiveScreen
from foundations_tui.ui.screens.modal import ModalWindow
from foundations_tui.ui.widgets.key_words import key_words
from foundations_tui.ui.widgets.whole_table import WholeTable
from foundations_tui.ui.workspace import Workspace


class TableWindow(LiveScreen, ModalWindow):
    """Shows it until it is closed; a window of this kind reads the rows and says what ``enter`` does."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "close", "back", id="window.close")]

    def __init__(self, reader: Reader, title: str, empty: str, enter: str) -> None:
        """Make it.

        Args:
            reader: of the store.
            title: stands above it.
            empty: stands where there are no rows.
            enter: what ``enter`` does.
        """
        super().__init__()
        self._reader = reader
        self._title, self._empty, self._enter = title, empty, enter

    @property
    def workspace(self) -> Workspace:
        """The app, which carries out what is asked for."""
        return cast(Workspace, self.app)

    @property
    def table(self) -> WholeTable:
        """The table."""
        return self.query_one(WholeTable)

    def compose(self) -> ComposeResult:
        """Lay out the box."""
        with Vertical(id="box"):
            yield WholeTable(self._empty)

    def on_mount(self) -> None:
        """Begin."""
        self.query_one("#box").border_title = Content(one_line(self._title))
        self.say("")
        self.table.focus()

    def on_screen_resume(self) -> None:
        """Show what the store has now: what was opened from here may have changed something."""
        self.reload()

    def on_resize(self) -> None:
        """Show as much as fits."""
        self.reload()

    def show(self, columns: Sequence[Column], rows: list[TableRow]) -> None:
        """Show rows; an answer may come while the window is being closed."""
        if self.is_attached and self.query(WholeTable):
            self.table.show(columns, rows)

    def say(self, words: str) -> None:
        """Say something below the table, before the keys."""
        keys = ("table.open", self._enter), ("window.close", "back")
        self.query_one("#box").border_subtitle = key_words(self, *keys, before=words)

    def fail(self, error: FoundationsError) -> None:
        """Say why there are none."""
        if self.is_attached and self.query(WholeTable):
            self.table.problem = str(error)
            self.table.refresh()
