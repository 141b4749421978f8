"""A table of rows that are all at hand."""

from __future__ import annotations

from collections.abc import Sequence

from foundations_tui.ui.models.table import Column, TableRow, whole
from foundations_tui.ui.widgets.virtual_table import VirtualTable


class WholeTable(VirtualTable):
    """Holds its rows; whoever has others shows them."""

    def __init__(self, empty: str = "", id: str | None = None) -> None:
        super().__init__(self._answer, (), empty, id)
        self.rows: list[TableRow] = []
        self._was_shown = False
        """Whether there was anything to be shown: before that the table says that it is being read."""

    def show(self, columns: Sequence[Column], rows: list[TableRow]) -> None:
        """Show these rows; the cursor stays on its own."""
        self.rows, self._was_shown = rows, True
        self.set_columns(columns)
        self.reload()

    def _answer(self, start: int, count: int, key: str | None, follow: bool) -> None:
        if self._was_shown:
            self.take(whole(self.rows, key))
