"""A pane that is a table of all that was read the last time, with more about the row under the cursor below it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from foundations_tui.ui.models.store_reader import Reader
from foundations_tui.ui.models.table import Column, TableRow, whole
from foundations_tui.ui.widgets.virtual_table import VirtualTable


class TablePane(Vertical):
    """Holds the rows; a pane of this kind reads them, and lays out a table that gets them by ``_ask``."""

    def __init__(self, reader: Reader, id: str | None = None) -> None:
        super().__init__(id=id)
        self._reader = reader
        self._rows: list[TableRow] = []
        self._below = ""
        """What stands below the table."""

    @property
    def table(self) -> VirtualTable:
        """The table."""
        return self.query_one(VirtualTable)

    @abstractmethod
    def reload(self) -> None:
        """Show what the store has now."""

    def _show_rows(self, columns: Sequence[Column], rows: list[TableRow]) -> None:
        self._rows = rows
        self.table.set_columns(columns)
        self.table.reload()

    def _ask(self, start: int, count: int, key: str | None, follow: bool) -> None:
        self.table.take(whole(self._rows, key))

    def _show_below(self, text: Content) -> None:
        """Show a text below the table; what stands there already is not laid out again."""
        if text.markup != self._below:
            self._below = text.markup
            self.query_one(Static).update(text)

    def on_resize(self) -> None:
        """Show as much as fits."""
        self.reload()
