"""A table that holds only the rows on screen: it asks its source for windows, however many rows there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from foundations_tui.terminal import clip, one_line, width


@dataclass(frozen=True)
class Column:
    """One column."""

    title: str
    width: int
    """Cells; 0 for what is left."""
    right: bool = False


@dataclass(frozen=True)
class TableRow:
    """One row."""

    key: str
    cells: Sequence[str]
    """Any text: it is made safe when it is drawn."""
    styles: Sequence[str] = ()
    """Rich styles, one a cell; a missing or empty one is none."""


class RowSource(Protocol):
    """Where rows come from."""

    def count(self) -> int:
        """Return how many rows there are."""

    def window(self, start: int, count: int) -> list[TableRow]:
        """Return some rows in order."""

    def position(self, key: str) -> int | None:
        """Return where a row stands, or None."""


class VirtualTable(ScrollView, can_focus=True):
    """The table. The cursor stays on its row, by key, whatever comes above it."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"table--header", "table--cursor", "table--cursor-blurred"}
    DEFAULT_CSS = """
    VirtualTable { height: 1fr; overflow-x: hidden; }
    VirtualTable > .table--header { text-style: bold; color: $text-muted; }
    VirtualTable > .table--cursor { text-style: reverse; }
    VirtualTable > .table--cursor-blurred { text-style: bold underline; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "move(1)", "down", show=False, id="table.down"),
        Binding("k,up", "move(-1)", "up", show=False, id="table.up"),
        Binding("ctrl+d", "page(0.5)", "half page down", show=False, id="table.half_down"),
        Binding("ctrl+u", "page(-0.5)", "half page up", show=False, id="table.half_up"),
        Binding("pagedown", "page(1)", "page down", show=False, id="table.page_down"),
        Binding("pageup", "page(-1)", "page up", show=False, id="table.page_up"),
        Binding("g,home", "end(-1)", "top", show=False, id="table.top"),
        Binding("G,end", "end(1)", "bottom", show=False, id="table.bottom"),
        Binding("enter", "open", "open", id="table.open"),
    ]

    class Moved(Message):
        """The cursor is on another row."""

        def __init__(self, key: str | None) -> None:
            super().__init__()
            self.key = key

    class Opened(Message):
        """The user opens a row."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    def __init__(self, source: RowSource, columns: Sequence[Column], empty: str = "", id: str | None = None) -> None:
        super().__init__(id=id)
        self._source = source
        self._columns = columns
        self._empty = empty
        self._window: list[TableRow] = []
        self._window_start = 0
        self._count = 0
        self.cursor = 0
        self.key: str | None = None
        """Key of the row under the cursor."""
        self._was_moved = False

    def set_columns(self, columns: Sequence[Column]) -> None:
        """Show other columns; the source must give cells for them."""
        self._columns = columns
        self.reload()

    def reload(self) -> None:
        """Ask the source again; the cursor stays on its row."""
        self._count = self._source.count()
        position = self._source.position(self.key) if self.key is not None else None
        if position is not None and (self._was_moved or self.cursor > 0):
            shift, self.cursor = position - self.cursor, position
            if shift and self.scroll_offset.y > 0:
                self.scroll_to(y=self.scroll_offset.y + shift, animate=False, immediate=True)
        self._window = []
        self.virtual_size = Size(self.size.width, self._count + 1)
        self._put_cursor(self.cursor)
        self.refresh()

    def _put_cursor(self, position: int) -> None:
        """Move the cursor, within bounds, and keep it in view."""
        self.cursor = max(0, min(position, self._count - 1))
        row = self._row(self.cursor)
        key = row.key if row else None
        self._keep_in_view()
        self.refresh()
        if key != self.key:
            self.key = key
            self.post_message(self.Moved(key))

    def _keep_in_view(self) -> None:
        rows = max(1, self.size.height - 1)
        top = self.scroll_offset.y
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False, immediate=True)
        elif self.cursor >= top + rows:
            self.scroll_to(y=self.cursor - rows + 1, animate=False, immediate=True)

    def _row(self, position: int) -> TableRow | None:
        """Return a row, fetching the window around it when it is not at hand."""
        if not 0 <= position < self._count:
            return None
        if not self._window_start <= position < self._window_start + len(self._window):
            screen = max(10, self.size.height)
            self._window_start = max(0, position - screen)
            self._window = self._source.window(self._window_start, 3 * screen)
        index = position - self._window_start
        return self._window[index] if 0 <= index < len(self._window) else None

    # --- drawing ------------------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """Draw one line: the header, or a row."""
        room = self.scrollable_content_region.width
        if y == 0:
            style = self.get_component_rich_style("table--header")
            cells = [column.title for column in self._columns]
            return Strip(self._segments(cells, [], room, style), room)
        position = self.scroll_offset.y + y - 1
        row = self._row(position)
        if row is None:
            words = self._empty if y == 2 and not self._count else ""
            return Strip([Segment(clip(f"  {words}", room), self.rich_style)]).adjust_cell_length(room, self.rich_style)
        style, styles = self.rich_style, row.styles
        if position == self.cursor:
            style += self.get_component_rich_style("table--cursor" if self.has_focus else "table--cursor-blurred")
            styles = () if self.has_focus else styles  # reversed, each colour would be a patch of its own
        return Strip(self._segments(row.cells, styles, room, style), room)

    def _segments(self, cells: Sequence[str], styles: Sequence[str], room: int, base: Style) -> list[Segment]:
        segments = []
        for i, (column, cells_wide) in enumerate(zip(self._columns, self._widths(room), strict=True)):
            text = clip(one_line(cells[i] if i < len(cells) else ""), cells_wide)
            padding = " " * (cells_wide - width(text))
            style = Style.parse(styles[i]) if i < len(styles) and styles[i] else Style.null()
            segments.append(Segment((padding + text if column.right else text + padding) + " ", base + style))
        return segments

    def _widths(self, room: int) -> list[int]:
        fixed = sum(column.width for column in self._columns) + len(self._columns)
        left = max(0, room - fixed)
        open_ended = [i for i, column in enumerate(self._columns) if column.width == 0]
        widths = [column.width for column in self._columns]
        for n, i in enumerate(open_ended):
            widths[i] = left // len(open_ended) + (n < left % len(open_ended))
        return widths

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
        self.action_move(direction * self._count)

    def action_open(self) -> None:
        """Open the row under the cursor."""
        if self.key is not None:
            self._was_moved = True  # new rows above do not take the cursor from what is open
            self.post_message(self.Opened(self.key))

    def on_click(self, event: events.Click) -> None:
        """Put the cursor where the mouse is; a double click opens."""
        if event.y > 0:
            self._was_moved = True
            self._put_cursor(self.scroll_offset.y + event.y - 1)
            if event.chain == 2:
                self.action_open()

    def on_resize(self) -> None:
        """Ask for as many rows as there are lines now."""
        self.reload()
