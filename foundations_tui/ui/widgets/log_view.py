"""A log, however long: the visible lines are read, searches and filters go through it in a thread."""

from __future__ import annotations

import threading
import time
from array import array
from pathlib import Path
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from foundations_tui.text.humanize import plural
from foundations_tui.text.sanitize import LogFilter, clip, steady
from foundations_tui.ui.models.log_file import (
    ERRORS,
    TRACEBACK,
    LogFile,
    Wanted,
    compile_words,
    drawn_last,
    matches,
    next_match,
)
from foundations_tui.ui.widgets.scrolling import scroll_now, scroll_to_end

_SCAN_BYTES = 2 << 20
"""So many new bytes are counted at once; a longer file takes several looks."""
_PAUSE = 0.002
"""Seconds between two slices: nothing is drawn by a widget whose next call is waiting already."""
_COUNTED_EVERY = 0.4
"""Seconds between two messages of a count that goes on."""
_TOLD_EVERY = 0.05
"""Seconds between two messages of a filter."""


class LogView(ScrollView, can_focus=True):
    """The viewer. It follows the end of the file until the user scrolls up."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"log--found"}
    DEFAULT_CSS = """
    LogView { height: 1fr; overflow-x: hidden; }
    LogView > .log--found { background: $warning 30%; text-style: bold; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "move(1)", "down", show=False, id="log.down"),
        Binding("k,up", "move(-1)", "up", show=False, id="log.up"),
        Binding("ctrl+d", "page(0.5)", "half page down", show=False, id="log.half_down"),
        Binding("ctrl+u", "page(-0.5)", "half page up", show=False, id="log.half_up"),
        Binding("pagedown", "page(1)", "page down", show=False, id="log.page_down"),
        Binding("pageup", "page(-1)", "page up", show=False, id="log.page_up"),
        Binding("g,home", "top", "top", show=False, id="log.top"),
        Binding("G,end,f", "follow", "follow", key_display="G", id="log.follow"),
        Binding("n", "search(1)", "next", show=False, id="log.next"),
        Binding("N", "search(-1)", "previous", show=False, id="log.previous"),
        Binding("right_square_bracket", "error(1)", "next error", key_display="]", id="log.next_error"),
        Binding("left_square_bracket", "error(-1)", "previous error", show=False, id="log.previous_error"),
        Binding("t", "traceback", "traceback", show=False, id="log.traceback"),
        Binding("Y", "copy", "copy what is shown", show=False, id="log.copy"),
        Binding("R", "raw", "raw", show=False, id="log.raw"),
        Binding("l,right", "shift(1)", "right", show=False, id="log.right"),
        Binding("h,left", "shift(-1)", "left", show=False, id="log.left"),
    ]

    class Said(Message):
        """Something to be said of a search."""

        def __init__(self, words: str) -> None:
            super().__init__()
            self.words = words

    class Counted(Message):
        """More lines are known, or that these are all."""

    class _Found(Message):
        """From the thread that searches: the offset of a line, and whether it went on from the other end."""

        def __init__(self, search: _Search, offset: int | None, is_anew: bool) -> None:
            super().__init__()
            self.search = search
            self.offset = offset
            self.is_anew = is_anew

    class _Filtered(Message):
        """From the thread that filters: offsets of lines, how far it has come, and at its end how long the file was."""

        def __init__(self, search: _Search, offsets: list[int], upto: int, seen: int | None = None) -> None:
            super().__init__()
            self.search = search
            self.offsets = offsets
            self.upto = upto
            self.seen = seen

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
        self._search: _Search | None = None
        self.filter = ""
        """Only lines with these words are shown; empty for all."""
        self._filtered = 0
        """Up to where the filter has come, bytes."""
        self._shown = array("Q")
        """Offsets of the lines that the filter lets through."""
        self._sought: int | None = None
        """An offset that is to be shown as soon as lines are counted up to it."""
        self._left = 0
        """Cells of each line that are passed over."""
        self._is_scanning = False
        self._scan_began: float | None = None
        """Since when more is counted than one look can; None while it is not."""
        self._told_at = 0.0
        """When it was said last that counting goes on."""
        self._is_raw = False
        self._shown_last: object = None
        self.following = True
        """Whether the end of the file is kept in view."""

    def show(self, path: Path | None, empty: str) -> None:
        """Show another file, or words when it is not there or empty."""
        if path != (self._file.path if self._file else None):
            self._file = LogFile(path) if path is not None else None
            self.following, self._found, self._sought = True, None, None
            self._end_search()
            self.filter, self._shown = "", array("Q")
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
        if grown and self.filter and self._search is None:
            self._go_on_filtering()
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
        size = Size(self.size.width, self.line_count)
        is_new = size != self.virtual_size
        self.virtual_size = size
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
        began = self._search.began if self.filter and self._search is not None else self._scan_began
        return began is not None and time.monotonic() - began > _COUNTED_EVERY

    @property
    def line_count(self) -> int:
        """How many lines are known."""
        if self.filter:
            return len(self._shown)
        return self._file.line_count if self._file else 0

    # --- drawing ------------------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """Draw one line of the file."""
        room = self.scrollable_content_region.width
        number = self.scroll_offset.y + y
        if not self.line_count:
            words = (f"no line with {self.filter!r}" if self.filter else self._empty) if y == 0 else ""
            return self._strip(Text(clip(words, room), style="dim"), room)
        if self.following and self._tail:
            place = y - max(0, self.size.height - len(self._tail))
            return self._strip(self._text(self._tail[place]) if 0 <= place < len(self._tail) else Text(""), room)
        line = self._line(number)
        if line is None:
            return self._strip(Text(""), room)
        style = self.get_component_rich_style("log--found") if number == self._found else Style.null()
        return self._strip(self._text(line), room, style)

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
        if not self.filter:
            return self._file.lines(start, count)
        return self._file.lines_from(self._shown[start : start + count])

    def _text(self, line: bytes) -> Text:
        """Return a line with its colors: of a progress bar that redraws itself, what it showed last."""
        shown = LogFilter()
        line = line.replace(b"\r", b"\xe2\x90\x8d") if self._is_raw else drawn_last(line)
        safe = steady(shown.feed(line) + shown.end())
        text = Text.from_ansi(safe.expandtabs(8)) if "\x1b" in safe else Text(safe.expandtabs(8))
        text.end = ""
        return text

    def _strip(self, text: Text, room: int, style: Style | None = None) -> Strip:
        text.no_wrap = True
        if self._left:
            text = text[self._left :]
            text.end = ""
        text.truncate(room, overflow="ellipsis")
        base = self.rich_style + style if style else self.rich_style
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
        self.app.copy_to_clipboard("\n".join(self._text(line).plain.rstrip() for line in shown))
        self.post_message(self.Said(f"copied: {plural(len(shown), 'line')}"))

    def action_raw(self) -> None:
        """Show all that a line was, or of a progress bar only what it shows last."""
        self._is_raw = not self._is_raw
        self.refresh()

    def _look_for(self, wanted: Wanted, direction: int, words: str, from_start: bool = False) -> None:
        file = self._file
        if file is None or self.filter:
            return
        self._end_search()
        search = self._search = _Search(words)
        here = -1 if from_start else self._found if self._found is not None else self.scroll_offset.y - 1
        place = file.offset_of(here + (direction > 0)) if here >= 0 else 0

        def run() -> None:
            try:
                found, is_anew = next_match(file.path, wanted, lambda: search.ended, place, direction)
            except OSError:
                found, is_anew = None, False  # it is not here (any more)
            self.post_message(self._Found(search, found, is_anew))

        threading.Thread(target=run, daemon=True).start()

    def on_log_view__found(self, event: _Found) -> None:
        """Go to what was found."""
        event.stop()
        if event.search is not self._search or self._file is None:
            return
        if event.offset is None:
            self.post_message(self.Said(f"no line with {event.search.words}"))
            return
        if event.is_anew:
            self.post_message(self.Said("the search went on from the other end"))
        if event.offset < self._file.scanned:
            self._go_to_line(self._file.line_at(event.offset))
        else:
            self.go_to(event.offset)

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
        if self.filter:
            return self._shown[min(number, len(self._shown) - 1)]
        return self._file.offset_of(number)

    def _go_to_line(self, number: int) -> None:
        self.following = False
        self._found = min(number, max(0, self.line_count - 1))
        self._tail = []
        scroll_now(self, max(0, self._found - self.size.height // 3))
        self.refresh()

    def set_filter(self, words: str) -> None:
        """Show only the lines with some words; all of them when there are none."""
        self._end_search()
        self.filter, self._shown, self._cache, self._found = words, array("Q"), (0, []), None
        self._filtered = 0
        if words:
            self._go_on_filtering()
        self._resize()
        self.refresh()
        self._tell(is_whole=True)

    def _go_on_filtering(self) -> None:
        """Filter what has not been filtered yet, in a thread."""
        file = self._file
        if file is None:
            return
        search = self._search = _Search(self.filter)
        wanted, start = compile_words(self.filter), self._filtered

        def run() -> None:
            upto, found, told, seen = start, [], 0.0, file.size()
            try:
                for offsets, upto in matches(file.path, wanted, lambda: search.ended, start):
                    found += offsets
                    if found and time.monotonic() - told > _TOLD_EVERY:
                        self.post_message(self._Filtered(search, found, upto))
                        found, told = [], time.monotonic()
            except OSError:
                pass  # not here yet
            self.post_message(self._Filtered(search, found, upto, seen))

        threading.Thread(target=run, daemon=True).start()

    def on_log_view__filtered(self, event: _Filtered) -> None:
        """Show more lines that the filter lets through."""
        event.stop()
        if event.search is not self._search:
            return
        self._filtered = event.upto
        last = self._shown[-1] if self._shown else -1
        self._shown.extend(offset for offset in event.offsets if offset > last)  # an unfinished line comes again
        self._cache = (0, [])
        self._resize()
        self.refresh()
        if event.seen is not None:
            self._search = None
            if self._file is not None and self._file.scanned > event.seen:
                self._go_on_filtering()
        self._tell(is_whole=event.seen is not None)

    def _end_search(self) -> None:
        if self._search is not None:
            self._search.ended = True
            self._search = None

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
        self.following = self.line_count <= self.size.height
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


class _Search:
    """A search that goes on in a thread until it is ended."""

    def __init__(self, words: str) -> None:
        self.words = words
        self.began = time.monotonic()
        self.ended = False
