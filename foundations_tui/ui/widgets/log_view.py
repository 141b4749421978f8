"""A log, however long: the visible lines are read, searches and filters go through it in a thread."""

from __future__ import annotations

import textwrap
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from foundations_tui.text.humanize import plural
from foundations_tui.text.sanitize import LogFilter, clip, steady
from foundations_tui.ui.models import log_colors
from foundations_tui.ui.models.log_file import ERRORS, TRACEBACK, LogFile, Wanted, compile_words, drawn_last
from foundations_tui.ui.models.log_search import FilteredPage, LineFilter, Match, Search
from foundations_tui.ui.widgets.line_widget import LineWidget
from foundations_tui.ui.widgets.scrolling import scroll_now, scroll_to_end, set_lines

_SCAN_BYTES = 2 << 20
"""Bytes to count at once; a longer file takes several looks."""
_PAUSE = 0.002
"""Seconds between two slices: nothing is drawn by a widget whose next call is waiting already."""
_COUNTED_EVERY = 0.4
"""Seconds between two messages of a count that goes on."""


class LogView(LineWidget, ScrollView, can_focus=True):
    """The viewer. It follows the end of the file until the user scrolls up."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"log--found"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "move(1)", "down", show=False, id="log.down"),
        Binding("k,up", "move(-1)", "up", show=False, id="log.up"),
        Binding("ctrl+d", "page(0.5)", "half page down", show=False, id="log.half_down"),
        Binding("ctrl+u", "page(-0.5)", "half page up", show=False, id="log.half_up"),
        Binding("pagedown", "page(1)", "page down", show=False, id="log.page_down"),
        Binding("pageup", "page(-1)", "page up", show=False, id="log.page_up"),
        Binding("g,home", "top", "top", show=False, id="log.top"),
        Binding("G,end,f", "follow", "follow", key_display="G", id="log.follow"),
        Binding("slash", "screen.command('search')", "search", key_display="/", id="log.find"),
        Binding("n", "search(1)", "next", show=False, id="log.next"),
        Binding("N", "search(-1)", "previous", show=False, id="log.previous"),
        Binding("right_square_bracket", "error(1)", "next error", key_display="]", id="log.next_error"),
        Binding("left_square_bracket", "error(-1)", "previous error", show=False, id="log.previous_error"),
        Binding("t", "traceback", "traceback", show=False, id="log.traceback"),
        Binding("Y", "copy", "copy what is shown", show=False, id="log.copy"),
        Binding("R", "raw", "raw", show=False, id="log.raw"),
        Binding("W", "wrap", "wrap", id="log.wrap"),
        Binding("l,right", "shift(1)", "right", show=False, id="log.right"),
        Binding("h,left", "shift(-1)", "left", show=False, id="log.left"),
    ]

    @dataclass
    class Said(Message):
        """A message about a search."""

        words: str

    class Counted(Message):
        """More lines are known, or that these are all."""

    @dataclass
    class _Found(Message):
        """From the thread of a search."""

        search: Search
        match: Match

    @dataclass
    class _Filtered(Message):
        """From the thread of a filter."""

        line_filter: LineFilter
        page: FilteredPage

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._file: LogFile | None = None
        self._empty = ""
        self._tail: list[bytes] = []
        self._cache: tuple[int, list[bytes]] = (0, [])
        self.words = ""
        """What was searched for last."""
        self._found: int | None = None
        """The line that was found."""
        self._dims_later = False
        """Whether what stands behind the line that was gone to had not been written yet at the moment that is shown."""
        self._search: Search | None = None
        self._filter: LineFilter | None = None
        """Lets through which lines are shown; None for all."""
        self._sought: int | None = None
        """An offset that is to be shown as soon as lines are counted up to it."""
        self._left = 0
        """Cells of each line that are passed over."""
        self._is_scanning = False
        self._scan_began: float | None = None
        """Since when more is counted than one look can; None while it is not."""
        self._told_at = 0.0
        """When the progress of counting was shown last."""
        self._is_raw = self._wraps = False
        self._wraps_end = False
        """Whether the end is wrapped in any case: the message of an exception must not be cut."""
        self._wrapped: tuple[object, list[tuple[Text, int | None]]] = (None, [])
        """The lines on the screen in parts that fit, each with its number, and what they are of."""
        self._shown_last: object = None
        self.following = True
        """Whether the end of the file is kept in view."""

    def show(self, path: Path | None, empty: str, wraps_end: bool = False) -> None:
        """Show another file, or words when it is not there or empty.

        Args:
            path: the file.
            empty: the words.
            wraps_end: whether long lines are wrapped at the end of the file in any case.
        """
        if wraps_end != self._wraps_end:
            self._wraps_end = wraps_end
            self.refresh()
        if path != (self._file.path if self._file else None):
            self._file = LogFile(path) if path is not None else None
            self.following, self._found, self._sought = True, None, None
            self._end_search()
            self._cache = (0, [])
            self._left = 0
        self._empty = empty
        self.look()

    @property
    def path(self) -> Path | None:
        """The file that is shown."""
        return self._file.path if self._file else None

    def look(self) -> None:
        """Take in what the file has gained, a slice at a time: other work goes on between them."""
        file = self._file
        if file is None:
            self._resize()
            return
        grown = file.scan(_SCAN_BYTES)
        if grown and self._filter is not None:
            self._filter.go_on()
        self._resize()
        if grown:
            self._cache = (0, [])
        if self._sought is not None and self.size.height and (file.scanned > self._sought or grown < _SCAN_BYTES):
            self.call_after_refresh(self._go_to_line, file.line_at(self._sought))  # the new size counts from then on
            self._sought = None
        has_begun = self._scan_began is not None
        self._scan_began = None if grown < _SCAN_BYTES else self._scan_began or time.monotonic()
        if grown >= _SCAN_BYTES and not self._is_scanning:
            self._is_scanning = True
            self.set_timer(_PAUSE, self._look_again)
        self._tell(is_whole=has_begun and self._scan_began is None)

    def _tell(self, is_whole: bool) -> None:
        """Say that all is counted, or from time to time that it goes on: what says so on the screen takes its time."""
        now = time.monotonic()
        if is_whole or (self.is_counting and now - self._told_at > _COUNTED_EVERY):
            self._told_at = now
            self.post_message(self.Counted())

    def _look_again(self) -> None:
        self._is_scanning = False
        self.look()

    def _resize(self) -> None:
        before = self.virtual_size
        set_lines(self, self.line_count)
        is_new = before != self.virtual_size
        if self.following:
            self._tail = self._file.tail(self.size.height) if self._file and self._is_behind else []
            scroll_to_end(self)
            if is_new:
                self.call_after_refresh(self._keep_end)  # the new size counts from then on
        shown = (self.path, self._empty, self.filter, self.line_count, self._tail)
        if is_new or shown != self._shown_last:
            self._shown_last = shown
            self.refresh()

    def _keep_end(self) -> None:
        if self.following:
            scroll_to_end(self)

    @property
    def _is_behind(self) -> bool:
        """Whether lines are still being counted: then the end is shown without their numbers."""
        return self._file is not None and not self.filter and self._file.scanned < self._file.size()

    @property
    def is_counting(self) -> bool:
        """Whether there are more lines than are known so far, and have been for a while."""
        began = self._filter.began if self._filter is not None and self._filter.began else self._scan_began
        return began is not None and time.monotonic() - began > _COUNTED_EVERY

    @property
    def line_count(self) -> int:
        """How many lines are known."""
        if self._filter is not None:
            return len(self._filter.offsets)
        return self._file.line_count if self._file else 0

    @property
    def filter(self) -> str:
        """Only lines with these words are shown; empty for all."""
        return self._filter.words if self._filter is not None else ""

    def dim_later(self, is_past: bool) -> None:
        """Draw what stands behind the line that was gone to dim, or as all others."""
        if is_past != self._dims_later:
            self._dims_later = is_past
            self.refresh()

    # --- drawing ------------------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """Draw one line of the file."""
        room = self.scrollable_content_region.width
        number = self.scroll_offset.y + y
        if not self.line_count:
            lines = textwrap.wrap(f"no line with {self.filter!r}" if self.filter else self._empty, max(1, room))
            words = lines[y] if y < len(lines) else ""
            return self._strip(Text(clip(words, room), style="dim"), room)
        if self._wraps or (self._wraps_end and self.following):
            parts = self._parts(room)
            part, of_line = parts[y] if y < len(parts) else (Text(""), None)
            is_found = of_line is not None and of_line == self._found
            return self._strip(part.copy(), room, self._style_of(-1 if of_line is None else of_line, is_found))
        if self.following and self._tail:
            place = y - max(0, self.size.height - len(self._tail))
            return self._line_strip(self._tail[place] if 0 <= place < len(self._tail) else b"", room)
        line = self._line(number)
        if line is None:
            return self._strip(Text(""), room)
        return self._line_strip(line, room, self._style_of(number, number == self._found))

    def _style_of(self, number: int, is_found: bool) -> Style | None:
        """Return the style of a line that is looked for, or that was written after the moment that is shown."""
        if is_found:
            return self.get_component_rich_style("log--found")
        is_later = self._dims_later and self._found is not None and number > self._found
        return self.line_style + Style(dim=True) if is_later else None

    def _line_strip(self, line: bytes, room: int, style: Style | None = None) -> Strip:
        what = (line, self._is_raw, self._left, room, self.line_style, style)
        return self.kept(what, lambda: self._strip(drawn_text(line, self._is_raw), room, style))

    def _parts(self, room: int) -> list[tuple[Text, int | None]]:
        """Return the lines on the screen in parts that fit, each with its line's number: from the first one on, or so
        that the last one ends at the bottom."""
        height, top = self.size.height, self.scroll_offset.y
        at_end = self.following or top >= self.max_scroll_y > 0
        key = (room, height, top, at_end, self.line_count, self._is_raw, self.filter, self._tail[-1:], self.path)
        if key != self._wrapped[0]:
            self._wrapped = key, self._laid_out(room, height, top, at_end)
        return self._wrapped[1]

    def _laid_out(self, room: int, height: int, top: int, at_end: bool) -> list[tuple[Text, int | None]]:
        if at_end and self._tail:
            lines: list[tuple[bytes | None, int | None]] = [(line, None) for line in reversed(self._tail)]
        else:
            last = self.line_count - 1
            numbers = range(last, max(-1, last - height), -1) if at_end else range(top, top + height)
            lines = [(self._line(number), number) for number in numbers]
        rows: list[tuple[Text, int | None]] = []
        for line, number in lines:
            if line is None:
                break
            text = drawn_text(line, self._is_raw)
            text.rstrip()
            parts = list(text.wrap(self.app.console, max(1, room), overflow="fold")) or [Text("")]
            wrapped = [(part, number) for part in parts]
            rows = [*wrapped, *rows] if at_end else [*rows, *wrapped]
            if len(rows) >= height:
                break
        return rows[-height:] if at_end else rows[:height]

    def _line(self, number: int) -> bytes | None:
        """Return a line, from the lines around the screen that are kept."""
        if number >= self.line_count or self._file is None:
            return None
        start, lines = self._cache
        if not start <= number < start + len(lines):
            start = max(0, number - self.size.height)
            lines = self._read(start, 3 * max(1, self.size.height))
            self._cache = (start, lines)
        return lines[number - start] if number - start < len(lines) else None

    def _read(self, start: int, count: int) -> list[bytes]:
        assert self._file is not None
        if self._filter is None:
            return self._file.lines(start, count)
        return self._file.lines_from(self._filter.offsets[start : start + count])

    def _strip(self, text: Text, room: int, style: Style | None = None) -> Strip:
        text.no_wrap = True
        if self._left:
            text = text[self._left :]
            text.end = ""
        text.truncate(room, overflow="ellipsis")
        base = self.line_style + style if style else self.line_style
        segments = [Segment(s.text, base + (s.style or Style.null())) for s in text.render(self.app.console)]
        return Strip(segments).adjust_cell_length(room, base)

    # --- searching ----------------------------------------------------------------------------------------------

    def search(self, words: str, direction: int = 1) -> None:
        """Go to the next line with some words, or the one before."""
        self.words = words
        if words:
            self._look_for(compile_words(words), direction, words)

    def action_search(self, direction: int) -> None:
        """Go to the next line with what was searched for last."""
        self.search(self.words, direction)

    def action_error(self, direction: int) -> None:
        """Go to the next line that speaks of an error."""
        self._look_for(ERRORS, direction, "an error")

    def action_traceback(self) -> None:
        """Go to the first traceback."""
        self._found = None
        self.action_top()
        self._look_for(TRACEBACK, 1, "a traceback", from_start=True)

    def action_copy(self) -> None:
        """Copy the lines that are on the screen."""
        if self._file is None or not self.line_count:
            return
        start = self.scroll_offset.y
        shown = self._tail if self._is_behind else self._read(start, min(self.size.height, self.line_count - start))
        self.app.copy_to_clipboard("\n".join(drawn_text(line, self._is_raw).plain.rstrip() for line in shown))
        self.post_message(self.Said(f"copied: {plural(len(shown), 'line')}"))

    def action_raw(self) -> None:
        """Show all that a line was, or of a progress bar only what it shows last."""
        self._is_raw = not self._is_raw
        self.refresh()

    def action_wrap(self) -> None:
        """Show the whole of lines that are too long, below one another, or cut them."""
        self._wraps, self._left = not self._wraps, 0
        self.refresh()

    def _look_for(self, pattern: Wanted, direction: int, words: str, from_start: bool = False) -> None:
        file = self._file
        if file is None or self._filter is not None:
            return
        self._end_search()
        search = self._search = Search(words)
        here = -1 if from_start else self._found if self._found is not None else self.scroll_offset.y - 1
        place = file.offset_of(here + (direction > 0)) if here >= 0 else 0
        search.start(file, pattern, place, direction, lambda match: self.post_message(self._Found(search, match)))

    def on_log_view__found(self, event: _Found) -> None:
        """Go to what was found."""
        event.stop()
        if event.search is not self._search or self._file is None:
            return
        if event.match.offset is None:
            self.post_message(self.Said(f"no line with {event.search.words}"))
            return
        if event.match.went_round:
            self.post_message(self.Said("the search went on from the other end"))
        if event.match.offset < self._file.scanned:
            self._go_to_line(self._file.line_at(event.match.offset))
        else:
            self.go_to(event.match.offset)

    def go_to(self, offset: int) -> None:
        """Show the line in which a byte stands, as soon as lines are counted up to there."""
        if self.filter:
            self.set_filter("")
        self.following = False
        self._sought = offset
        self.look()

    @property
    def place(self) -> int | None:
        """The offset of the line that was found, or of the first one on the screen; None without a log."""
        if self._file is None or not self.line_count:
            return None
        number = self.scroll_offset.y if self._found is None else self._found
        if self._filter is not None:
            return self._filter.offsets[min(number, self.line_count - 1)]
        return self._file.offset_of(number)

    def _go_to_line(self, number: int) -> None:
        self.following = False
        self._found = min(number, max(0, self.line_count - 1))
        self._tail = []
        before = 0 if self._wraps else self.size.height // 3  # wrapped lines before it may fill the screen
        scroll_now(self, max(0, self._found - before))
        self.refresh()

    def set_filter(self, words: str) -> None:
        """Show only the lines with some words; all of them when there are none."""
        self._end_search()
        self._cache, self._found = (0, []), None
        if words and self._file is not None:
            self._filter = LineFilter(self._file, words, lambda of, page: self.post_message(self._Filtered(of, page)))
            self._filter.go_on()
        self._resize()
        self.refresh()
        self._tell(is_whole=True)

    def on_log_view__filtered(self, event: _Filtered) -> None:
        """Show more lines that the filter lets through."""
        event.stop()
        if event.line_filter is not self._filter:
            return
        self._filter.take(event.page)
        self._cache = (0, [])
        self._resize()
        self.refresh()
        self._tell(is_whole=event.page.seen is not None)

    def _end_search(self) -> None:
        for thread in (self._search, self._filter):
            if thread is not None:
                thread.end()
        self._search = self._filter = None

    # --- keys and mouse -----------------------------------------------------------------------------------------

    def action_move(self, lines: int) -> None:
        """Scroll by lines."""
        scroll_now(self, self.scroll_offset.y + lines)

    def action_page(self, pages: float) -> None:
        """Scroll by pages."""
        self.action_move(round(pages * max(1, self.size.height - 1)))

    def action_shift(self, direction: int) -> None:
        """Show what stands further right in lines that are too long, or go back."""
        self._left = max(0, self._left + direction * max(8, self.size.width // 2))
        self.refresh()

    def action_top(self) -> None:
        """Scroll to the first line, and stay there if that is not the last page."""
        self.following = self.line_count <= self.size.height and not self._wraps
        self._tail = []
        scroll_now(self, 0)

    def action_follow(self) -> None:
        """Scroll to the end and stay there."""
        self.following, self._sought = True, None
        self._resize()

    def watch_scroll_y(self, old: float, new: float) -> None:
        """Follow while the end is in view."""
        super().watch_scroll_y(old, new)
        if self._sought is not None:
            return  # what scrolls is a layout: the line that is sought has not been gone to yet
        if new < old:
            self.following = new >= self.max_scroll_y
        elif new >= self.max_scroll_y:
            self.following = True

    def on_resize(self) -> None:
        """Fit the new size."""
        self.look()


def drawn_text(line: bytes, is_raw: bool) -> Text:
    """Return a line with its colors: of a progress bar that redraws itself, what it showed last, unless it is raw."""
    shown = LogFilter()
    line = line.replace(b"\r", b"\xe2\x90\x8d") if is_raw else drawn_last(line)
    safe = steady(shown.feed(line) + shown.end())
    has_own = "\x1b" in safe
    text = Text.from_ansi(safe.expandtabs(8)) if has_own else log_colors.paint(Text(safe.expandtabs(8)))
    text.end = ""
    return text
