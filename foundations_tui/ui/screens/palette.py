"""The palette: a line to type in, and below it what may be meant."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input

from foundations_tui.text.sanitize import one_line
from foundations_tui.ui.models import palette
from foundations_tui.ui.models.palette import Entry, Stored
from foundations_tui.ui.models.store_reader import Reader
from foundations_tui.ui.models.table import TableRow, whole
from foundations_tui.ui.widgets.key_words import key_words
from foundations_tui.ui.widgets.virtual_table import VirtualTable

_LONGEST = 200


class Palette(ModalScreen[Entry]):
    """Offers everything by name; enter takes what is under the cursor, escape nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "back", id="palette.close"),
        Binding("down,ctrl+n,tab", "move(1)", "down", show=False, priority=True, id="palette.down"),
        Binding("up,ctrl+p,shift+tab", "move(-1)", "up", show=False, priority=True, id="palette.up"),
        Binding("pagedown", "move(10)", "page down", show=False, priority=True, id="palette.page_down"),
        Binding("pageup", "move(-10)", "page up", show=False, priority=True, id="palette.page_up"),
    ]

    def __init__(self, reader: Reader, entries: Sequence[Entry]) -> None:
        """Make it.

        Args:
            reader: of the store, which adds jobs, views and models.
            entries: what is offered beside those.
        """
        super().__init__()
        self._reader = reader
        self._entries = list(entries)
        self._stored = Stored("", ())
        self._meant: list[Entry] = []
        self._rows: list[TableRow] = []

    def compose(self) -> ComposeResult:
        """Lay out the box."""
        with Vertical(id="box"):
            yield Input(id="palette-input", max_length=_LONGEST, placeholder="a command, a page, a job, a host ...")
            yield VirtualTable(self._ask, palette.COLUMNS, "nothing is called like that", id="palette-table")

    @property
    def table(self) -> VirtualTable:
        """What may be meant."""
        return self.query_one(VirtualTable)

    def on_mount(self) -> None:
        """Offer everything."""
        box = self.query_one("#box")
        box.border_title = "palette"
        box.border_subtitle = key_words(self, ("enter", "selects"), ("palette.close", "back"))
        self.table.can_focus, self.table.is_menu = False, True
        self.query_one(Input).focus()
        self._read("")

    def on_input_changed(self, event: Input.Changed) -> None:
        """Offer what has these words."""
        event.stop()
        if event.value != one_line(event.value):  # pasted
            self.query_one(Input).value = one_line(event.value)
            return
        self._show()
        self._read(event.value)

    def _read(self, text: str) -> None:
        def read(conn: sqlite3.Connection) -> Stored:
            return palette.read(conn, text)

        self._reader.ask((self, "palette"), read, self._take)

    def _take(self, stored: Stored) -> None:
        if self.is_attached:
            self._stored = stored
            self._show()

    def _show(self) -> None:
        self._meant = palette.meant(self._entries, self._stored, self.query_one(Input).value)
        self._rows = palette.rows(self._meant)
        self.table.start_over()

    def _ask(self, start: int, count: int, key: str | None, follow: bool) -> None:
        self.table.take(whole(self._rows, key))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take what is under the cursor."""
        event.stop()
        if self.table.cursor < len(self._meant):
            self.dismiss(self._meant[self.table.cursor])

    def on_virtual_table_opened(self, event: VirtualTable.Opened) -> None:
        """Take what was clicked."""
        event.stop()
        if self.is_current:  # the second one of two clicks comes when it is gone
            self.dismiss(self._meant[self.table.cursor])

    def on_click(self, event: events.Click) -> None:
        """Close it where the click is beside the box."""
        if not self.query_one("#box").region.contains(event.screen_x, event.screen_y):
            self.action_leave()

    def action_move(self, step: int) -> None:
        """Move the cursor."""
        self.table.action_move(step)

    def action_leave(self) -> None:
        """Take nothing."""
        self.dismiss(None)
