"""A table that holds only the rows around the screen: it asks for windows of rows, however many rows there are."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from msgspec.structs import replace
from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from foundations_tui.text.sanitize import clip
from foundations_tui.ui.models.table import CHANGED_SECONDS, AskForRows, Column, RecentChanges, RowWindow, TableRow
from foundations_tui.ui.widgets.line_widget import LineWidget
from foundations_tui.ui.widgets.scrolling import scroll_now, set_lines
from foundations_tui.ui.widgets.table_lines import column_at, segments


class VirtualTable(LineWidget, ScrollView, can_focus=True):
    """The table. The cursor stays on its row, by key, whatever comes above it."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "table--header",
        "table--cursor",
        "table--cursor-blurred",
        "table--marked",
        "table--changed",
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "move(1)", "down", show=False, id="table.down"),
        Binding("k,up", "move(-1)", "up", show=False, id="table.up"),
        Binding("ctrl+d", "page(0.5)", "half page down", show=False, id="table.half_down"),
        Binding("ctrl+u", "page(-0.5)", "half page up", show=False, id="table.half_up"),
        Binding("pagedown", "page(1)", "page down", show=False, id="table.page_down"),
        Binding("pageup", "page(-1)", "page up", show=False, id="table.page_up"),
        Binding("g,home", "end(-1)", "top", show=False, id="table.top"),
        Binding("G,end", "end(1)", "bottom", show=False, id="table.bottom"),
        Binding("enter", "open", "open", key_display="enter", id="table.open"),
        Binding("space", "mark", "mark", id="table.mark"),
    ]

    problem = reactive("")
    """Why there are no rows; empty when they can be read."""

    @dataclass
    class Moved(Message):
        """The cursor is on another row."""

        table: VirtualTable
        key: str | None

    @dataclass
    class Opened(Message):
        """The user opens a row."""

        table: VirtualTable
        key: str

    class Marked(Message):
        """Other rows are marked."""

    @dataclass
    class TitleClicked(Message):
        """The user clicked the title of a column."""

        column: Column

    def __init__(self, ask: AskForRows, columns: Sequence[Column], empty: str = "", id: str | None = None) -> None:
        super().__init__(id=id)
        self._ask = ask
        self._columns = columns
        self.empty = empty
        """Shown where there are no rows."""
        self._window = RowWindow(0, 0, [])
        self._is_known = False
        self.cursor = 0
        self.key: str | None = None
        """Key of the row under the cursor."""
        self._clicked: str | None = None
        """Key of the row that was clicked once."""
        self.is_menu = False
        """Whether one click opens a row: it is there to be chosen from."""
        self.marked: dict[str, None] = {}
        """Keys of marked rows, in the order they were marked."""
        self._was_moved = False
        self._is_ahead = False
        """Whether the cursor is on a row that is not here yet: the key is still that of the row before."""
        self._starts_over = False
        self._asked_for: str | None = None
        """Key of the row that was to be found by the last question."""
        self._changed = RecentChanges()

    @property
    def count(self) -> int:
        """How many rows there are."""
        return self._window.count

    @property
    def has_no_rows(self) -> bool:
        """Whether there is no row, as far as is known: it is not before the first rows have come."""
        return self._is_known and not self.count

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Return whether a key does something: some need a row."""
        return not (self.has_no_rows and action in ("open", "mark"))

    def set_columns(self, columns: Sequence[Column]) -> None:
        """Show other columns; the rows that come have to fit them."""
        if columns != self._columns:
            self._columns = columns
            self.forget_lines()
            self.refresh()

    def reload(self) -> None:
        """Ask for the rows again; the cursor stays on its row, or at the top where it never left it."""
        is_in_view = self._is_in_view
        self._ask_around(self.cursor if is_in_view else self.scroll_offset.y, follow=is_in_view)

    def start_over(self) -> None:
        """Other rows are to be shown: the cursor keeps its row if that is among them, and goes to the top if not."""
        self._starts_over = True
        self._ask_around(self.cursor, follow=True)

    def pin(self) -> None:
        """Keep the cursor on its row from now on, even at the top: what is looked at must not change by itself."""
        self._was_moved = True

    def find(self, key: str) -> None:
        """Put the cursor on a row, wherever it stands; to the top, if it is not there."""
        self.pin()
        self._is_ahead = False
        if key != self.key:
            self.key = key
            self.post_message(self.Moved(self, key))
        self.start_over()

    def take(self, window: RowWindow) -> None:
        """Show rows that were asked for."""
        if self._starts_over and window.key != self._asked_for:
            return  # it was asked for before; the other rows are on their way
        if self._changed.note(self._window.rows, window.rows):
            self.set_timer(CHANGED_SECONDS + 0.05, self.refresh)
        keeps_scroll = self.cursor - self.scroll_offset.y
        was_in_view = self._is_in_view
        window = window.about(self._kept_key)  # a key may have moved the cursor since
        if self._starts_over:
            self._starts_over = False
            if window.position is None:
                window = replace(window, position=0)
        was_same = self._is_known and window == self._window
        old_window, was_empty = self._window, self.has_no_rows
        self._window, self._is_known = window, True
        if self.has_no_rows != was_empty:
            self.refresh_bindings()
        if was_same:
            return
        set_lines(self, window.count + 1)
        self._refresh_what_differs(old_window, window)
        if window.position is not None and window.position != self.cursor:
            before, self.cursor = self.cursor, window.position
            if self.scroll_offset.y > 0 or self.cursor >= self.size.height - 1:
                scroll_now(self, max(0, self.cursor - keeps_scroll))
            self._refresh_rows({before})
        self._put_cursor(self.cursor, keep_in_view=was_in_view)

    @property
    def _kept_key(self) -> str | None:
        """Key of the row the cursor stays on; None where it stays at its place."""
        return self.key if (self._was_moved or self.cursor > 0) and not self._is_ahead else None

    def _refresh_what_differs(self, old: RowWindow, new: RowWindow) -> None:
        """Draw again the lines that say something else than before."""
        if (old.count, old.start, len(old.rows)) != (new.count, new.start, len(new.rows)):
            self.refresh()
        else:
            self._refresh_rows(new.differences(old))

    @property
    def _is_in_view(self) -> bool:
        """Whether the cursor is: the wheel may have left it behind."""
        return 0 <= self.cursor - self.scroll_offset.y < max(1, self.size.height - 1)

    def _ask_around(self, position: int, follow: bool = False) -> None:
        screen = max(10, self.size.height)
        self._asked_for = self._kept_key
        self._ask(max(0, position - screen), 3 * screen, self._asked_for, follow)

    def _put_cursor(self, position: int, keep_in_view: bool = True) -> None:
        """Move the cursor, within bounds."""
        before, top = self.cursor, self.scroll_offset.y
        self.cursor = max(0, min(position, self._window.count - 1))
        row = self._window.row(self.cursor)
        if keep_in_view:
            self._keep_in_view()
        if self.scroll_offset.y != top:
            self.refresh()
        else:
            self._refresh_rows({before, self.cursor})
        self._is_ahead = keep_in_view and row is None and self._window.count > 0
        if keep_in_view:
            self._fetch_ahead()
        if row is None and self._window.count and self._is_known:
            return  # its window is on the way, or the wheel has gone elsewhere
        key = row.key if row else None
        if key != self.key:
            self.key = key
            self.post_message(self.Moved(self, key))

    def _refresh_rows(self, positions: Iterable[int]) -> None:
        for position in positions:
            self.refresh_line(position + 1)  # the first line is that of the titles

    def _fetch_ahead(self) -> None:
        """Ask for the next window before the cursor leaves the rows that are here."""
        if self._window.is_near_edge(self.cursor, max(10, self.size.height) // 2):
            self._ask_around(self.cursor)

    def _keep_in_view(self) -> None:
        rows = max(1, self.size.height - 1)
        top = min(max(self.scroll_offset.y, self.cursor - rows + 1), self.cursor)
        if top != self.scroll_offset.y:
            scroll_now(self, top)

    # --- drawing ------------------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """Draw one line: the titles, or a row."""
        room = self.scrollable_content_region.width
        if y == 0:
            return self._titles(room)
        position = self.scroll_offset.y + y - 1
        row = self._window.row(position)
        if row is None:
            notes = [part for line in self._instead_of_rows() for part in textwrap.wrap(line, max(1, room - 4)) or [""]]
            words = notes[y - 2] if 2 <= y < 2 + len(notes) else ""
            words = "…" if self._is_known and position < self._window.count else words
            return self.kept((words, room, self.line_style), lambda: self._words(words, room))
        return self._row(row, position, room)

    def _titles(self, room: int) -> Strip:
        style = self.get_component_rich_style("table--header")
        titles = tuple(column.title for column in self._columns)
        what = (titles, room, style)
        return self.kept(what, lambda: Strip(segments(self._columns, titles, (), room, style, " "), room))

    def _words(self, words: str, room: int) -> Strip:
        return Strip([Segment(clip(f"  {words}", room), self.line_style)]).adjust_cell_length(room, self.line_style)

    def _instead_of_rows(self) -> list[str]:
        """Return what stands in the place of rows: why they cannot be read, or that there are none."""
        if self._window.count:
            return []
        if self.problem:
            return self.problem.split("\n")
        return self.empty.split("\n") if self._is_known else ["reading ..."]

    def _row(self, row: TableRow, position: int, room: int) -> Strip:
        style, styles = self.line_style, row.styles
        if row.key in self._changed:
            style += self.get_component_rich_style("table--changed")
        mark = " "
        if row.key in self.marked:
            style += self.get_component_rich_style("table--marked")
            mark = "▌"
        if position == self.cursor:
            cursor = self.get_component_rich_style("table--cursor" if self.has_focus else "table--cursor-blurred")
            style += cursor
            if cursor.reverse:
                styles = ()  # reversed, each color would be a patch of its own
        what = (tuple(row.cells), tuple(styles), room, style, mark)
        return self.kept(what, lambda: Strip(segments(self._columns, row.cells, styles, room, style, mark), room))

    # --- keys and mouse -----------------------------------------------------------------------------------------

    def action_move(self, rows: int) -> None:
        """Move the cursor by rows."""
        self._was_moved = True
        self._put_cursor(self.cursor + rows)

    def action_page(self, pages: float) -> None:
        """Move the cursor by pages."""
        self.action_move(round(pages * max(1, self.size.height - 1)))

    def action_end(self, direction: int) -> None:
        """Move the cursor to the top or the bottom."""
        self.action_move(direction * self._window.count)

    def action_open(self) -> None:
        """Open the row under the cursor."""
        if self.key is not None:
            self.pin()
            self.post_message(self.Opened(self, self.key))

    def action_mark(self) -> None:
        """Mark the row under the cursor, or take its mark away, and go on to the next."""
        if self.key is not None:
            self.mark([self.key], self.key not in self.marked)
            self.action_move(1)

    def mark(self, keys: Sequence[str], is_marked: bool = True) -> None:
        """Mark rows, or take their marks away."""
        for key in keys:
            if is_marked:
                self.marked[key] = None
            else:
                self.marked.pop(key, None)
        self.post_message(self.Marked())
        if len(keys) == 1:
            self._refresh_rows([self.cursor])
        else:
            self.refresh()

    def on_click(self, event: events.Click) -> None:
        """Put the cursor where the mouse is; a double click opens, in a menu one; a click on a title sorts."""
        if event.y == 0:
            column = column_at(self._columns, self.scrollable_content_region.width, event.x)
            if column is not None and column.sort:
                self.post_message(self.TitleClicked(column))
            return
        if self.scroll_offset.y + event.y - 1 >= self._window.count:
            return
        self._was_moved = True
        self._put_cursor(self.scroll_offset.y + event.y - 1)
        is_second = event.chain == 2 and self._clicked == self.key  # not of two of which the first was elsewhere
        self._clicked = self.key if event.chain == 1 else None
        if is_second or self.is_menu:
            self.action_open()

    def watch_scroll_y(self, old: float, new: float) -> None:
        """Ask for rows that the wheel brings into view."""
        super().watch_scroll_y(old, new)
        top = round(new)
        if self._is_known and not self._window.holds(top, top + self.size.height):
            self._ask_around(top)

    def on_resize(self) -> None:
        """Ask for as many rows as there are lines now."""
        self.reload()
