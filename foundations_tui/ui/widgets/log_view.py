"""A file of lines that grows, however long: an index of line starts, and only the visible lines are read."""

from __future__ import annotations

import os
import re
from array import array
from pathlib import Path
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from foundations_tui.terminal import LogFilter, clip

_SCAN_BYTES = 512 << 10
"""So many new bytes are indexed at once; a longer file takes several looks."""
_NEWLINE = re.compile(b"\n")
_LONGEST_LINE = 4096


class LogView(ScrollView, can_focus=True):
    """The viewer. It follows the end of the file until the user scrolls up."""

    DEFAULT_CSS = "LogView { height: 1fr; overflow-x: hidden; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "move(1)", "down", show=False, id="log.down"),
        Binding("k,up", "move(-1)", "up", show=False, id="log.up"),
        Binding("ctrl+d", "page(0.5)", "half page down", show=False, id="log.half_down"),
        Binding("ctrl+u", "page(-0.5)", "half page up", show=False, id="log.half_up"),
        Binding("pagedown", "page(1)", "page down", show=False, id="log.page_down"),
        Binding("pageup", "page(-1)", "page up", show=False, id="log.page_up"),
        Binding("g,home", "top", "top", show=False, id="log.top"),
        Binding("G,end,f", "follow", "follow", show=False, id="log.follow"),
    ]

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._path: Path | None = None
        self._starts = array("Q", [0])
        self._scanned = 0
        self._inode = 0
        self._empty = ""
        self.following = True
        """Whether the end of the file is kept in view."""

    def show(self, path: Path | None, empty: str) -> None:
        """Show another file, or words when it is not there or empty."""
        if path != self._path:
            self._path = path
            self._starts = array("Q", [0])
            self._scanned = 0
            self.following = True
        self._empty = empty
        self.look()

    def look(self) -> None:
        """Take in what the file has gained, a slice at a time: other work goes on between them."""
        grown = self._scan()
        self.virtual_size = Size(self.size.width, self.line_count)
        if self.following:
            self.scroll_end(animate=False, immediate=True)
        self.refresh()
        if grown == _SCAN_BYTES:
            self.call_later(self.look)

    @property
    def line_count(self) -> int:
        """How many lines are known."""
        return len(self._starts) - 1 + (self._scanned > self._starts[-1])

    def _scan(self) -> int:
        try:
            with self._path.open("rb") as file:  # type: ignore[union-attr]
                self._begin_anew_if_replaced(os.fstat(file.fileno()))
                file.seek(self._scanned)
                data = file.read(_SCAN_BYTES)
        except (OSError, AttributeError):
            return 0
        self._starts.extend(self._scanned + end.end() for end in _NEWLINE.finditer(data))
        self._scanned += len(data)
        return len(data)

    def _begin_anew_if_replaced(self, stats: os.stat_result) -> None:
        if stats.st_ino != self._inode or stats.st_size < self._scanned:
            self._inode = stats.st_ino
            self._starts, self._scanned = array("Q", [0]), 0

    def render_line(self, y: int) -> Strip:
        """Draw one line of the file."""
        room = self.scrollable_content_region.width
        number = self.scroll_offset.y + y
        if not self.line_count:
            words = self._empty if y == 0 else ""
            return self._strip(Text(clip(words, room), style="dim"), room)
        if number >= self.line_count:
            return self._strip(Text(""), room)
        return self._strip(self._text(number), room)

    def _text(self, number: int) -> Text:
        """Return a line with its colours: of a progress bar that redraws itself, what it showed last."""
        start = self._starts[number]
        end = self._starts[number + 1] if number + 1 < len(self._starts) else self._scanned
        try:
            with self._path.open("rb") as file:  # type: ignore[union-attr]
                file.seek(max(start, end - _LONGEST_LINE))
                line = file.read(end - file.tell()).rstrip(b"\r\n")
        except (OSError, AttributeError):
            line = b""
        shown = LogFilter()
        safe = shown.feed(line.rpartition(b"\r")[2]) + shown.end()
        text = Text.from_ansi(safe.expandtabs(8)) if "\x1b" in safe else Text(safe.expandtabs(8))
        text.end = ""
        return text

    def _strip(self, text: Text, room: int) -> Strip:
        text.no_wrap = True
        text.truncate(room, overflow="ellipsis")
        segments = [Segment(s.text, self.rich_style + (s.style or Style.null())) for s in text.render(self.app.console)]
        return Strip(segments).adjust_cell_length(room, self.rich_style)

    # --- keys and mouse -----------------------------------------------------------------------------------------

    def action_move(self, lines: int) -> None:
        """Scroll by lines."""
        self.scroll_to(y=self.scroll_offset.y + lines, animate=False, immediate=True)

    def action_page(self, pages: float) -> None:
        """Scroll by pages."""
        self.action_move(round(pages * max(1, self.size.height - 1)))

    def action_top(self) -> None:
        """Scroll to the first line."""
        self.scroll_to(y=0, animate=False, immediate=True)

    def action_follow(self) -> None:
        """Scroll to the end and stay there."""
        self.following = True
        self.scroll_end(animate=False, immediate=True)

    def watch_scroll_y(self, old: float, new: float) -> None:
        """Follow while the end is in view."""
        super().watch_scroll_y(old, new)
        if new < old:
            self.following = new >= self.max_scroll_y
        elif new >= self.max_scroll_y:
            self.following = True

    def on_resize(self) -> None:
        """Fit the new size."""
        self.look()
