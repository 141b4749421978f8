"""A pane that is a table of all that was read the last time, with more about the row under the cursor below it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from foundations_tui.ui.models.store_reader import Reader
from foundations_tui.ui.models.table import Column, TableRow
from foundations_tui.ui.widgets.whole_table import WholeTable


class TablePane(Vertical):
    """Lays out the table and what is below it; a pane of this kind reads the rows."""

    NOTHING: ClassVar[str]
    """Stands where there are no rows now."""
    THEN: ClassVar[str] = "there was none then"
    """Stands where there were none at the moment that is shown."""

    def __init__(self, reader: Reader, id: str | None = None) -> None:
        super().__init__(id=id)
        self._reader = reader
        self.moment: float | None = None
        """What was then is shown, seconds since the epoch; None for now. A comparison is always of now."""
        self._below = ""
        """What stands below the table."""

    @property
    def table(self) -> WholeTable:
        """The table."""
        return self.query_one(WholeTable)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Return whether a key does something here."""
        return self.has_use_for_keys

    @property
    def has_use_for_keys(self) -> bool:
        """Whether there is something that its keys are about: rows, as far as is known."""
        return not any(table.has_no_rows for table in self.query(WholeTable))

    @abstractmethod
    def reload(self) -> None:
        """Show what the store has now."""

    def _show_rows(self, columns: Sequence[Column], rows: list[TableRow]) -> None:
        """Show rows, or say that there are none, or were none then."""
        nothing = self.NOTHING if self.moment is None else self.THEN
        if nothing != self.table.empty:
            self.table.empty = nothing
            self.table.refresh()
        self.table.show(columns, rows)

    def _show_below(self, text: Content) -> None:
        """Show a text below the table; what stands there already is not laid out again."""
        if text.markup != self._below:
            self._below = text.markup
            self.query_one(Static).update(text)

    def on_resize(self) -> None:
        """Show as much as fits."""
        self.reload()
