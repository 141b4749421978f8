"""Two logs side by side, line by line; what differs stands out."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from foundations_tui.analysis import log_diff
from foundations_tui.analysis.log_diff import Pair
from foundations_tui.errors import FoundationsError, as_ours
from foundations_tui.text import humanize
from foundations_tui.text.sanitize import clip, one_line, width
from foundations_tui.ui.screens.modal import ModalWindow
from foundations_tui.ui.theme import LOOK
from foundations_tui.ui.widgets.scrolling import scroll_now


class PairsView(ScrollView, can_focus=True):
    """Pairs of lines, one below the other."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"pairs--left", "pairs--right"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "move(1)", "down", show=False, id="difference.down"),
        Binding("k,up", "move(-1)", "up", show=False, id="difference.up"),
        Binding("ctrl+d,pagedown", "page(1)", "page down", show=False, id="difference.page_down"),
        Binding("ctrl+u,pageup", "page(-1)", "page up", show=False, id="difference.page_up"),
        Binding("g,home", "move(-1000000000)", "top", show=False, id="difference.top"),
        Binding("G,end", "move(1000000000)", "bottom", show=False, id="difference.bottom"),
        Binding("n,right_square_bracket", "next(1)", "next difference", id="difference.next"),
        Binding("N,left_square_bracket", "next(-1)", "previous difference", show=False, id="difference.previous"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._pairs: Sequence[Pair] = ()
        self._words = "comparing ..."
        self._starts: list[int] = []
        """Where each difference begins."""

    def show(self, pairs: Sequence[Pair], words_: str) -> None:
        """Show pairs of lines, or words where there are none."""
        self._pairs, self._words = pairs, words_
        differ = [pair.differs for pair in pairs]
        self._starts = [n for n, here in enumerate(differ) if here and not (n and differ[n - 1])]
        self.virtual_size = Size(self.size.width, len(pairs))
        self.refresh()

    @property
    def differences(self) -> int:
        """How many places differ."""
        return len(self._starts)

    def render_line(self, y: int) -> Strip:
        """Draw one pair: the left line, a mark where they differ, the right line."""
        room, number = self.scrollable_content_region.width, self.scroll_offset.y + y
        base = self.rich_style
        if number >= len(self._pairs):
            words = self._words if y == 0 and not self._pairs else ""
            return Strip([Segment(clip(words, room), base + Style(dim=True))]).adjust_cell_length(room, base)
        pair = self._pairs[number]
        half = (room - 3) // 2
        left, right = (self.get_component_rich_style(f"pairs--{side}") for side in ("left", "right"))
        mark = " ! " if pair.differs else (" | " if LOOK.ascii else " │ ")
        segments = [
            _half(pair.left, half, base + left if pair.differs and pair.left is not None else base),
            Segment(mark, base + Style(bold=pair.differs, dim=not pair.differs)),
            _half(pair.right, room - half - 3, base + right if pair.differs and pair.right is not None else base),
        ]
        return Strip(segments).adjust_cell_length(room, base)

    def action_move(self, lines: int) -> None:
        """Scroll by lines."""
        scroll_now(self, self.scroll_offset.y + lines)

    def action_page(self, pages: int) -> None:
        """Scroll by pages."""
        self.action_move(pages * max(1, self.size.height - 1))

    def action_next(self, direction: int) -> None:
        """Go to the next difference, or the one before."""
        here = self.scroll_offset.y + self.size.height // 3 if self.scroll_offset.y else -1
        ahead = [n for n in self._starts if (n > here if direction > 0 else n < here)]
        if ahead:
            place = ahead[0 if direction > 0 else -1]
            scroll_now(self, max(0, place - self.size.height // 3))

    def show_first(self) -> None:
        """Go to the first difference where it is out of sight."""
        if self._starts and self._starts[0] >= self.size.height:
            scroll_now(self, self._starts[0] - self.size.height // 3)

    def on_resize(self) -> None:
        """Give each log its half."""
        self.virtual_size = Size(self.size.width, len(self._pairs))


def _half(line: bytes | None, room: int, style: Style) -> Segment:
    text = clip(one_line((line or b"").decode("utf-8", "replace").expandtabs(8)), room)
    return Segment(text + " " * (room - width(text)), style)


class Difference(ModalWindow):
    """Compares two logs and shows them; any way back closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "close", "back", id="difference.close"),
        Binding("number_sign", "numbers", "numbers count", key_display="#", id="difference.numbers"),
    ]

    class _Compared(Message):
        """From the thread that compares."""

        def __init__(self, pairs: Sequence[Pair], problem: str, numbers: bool) -> None:
            super().__init__()
            self.pairs = pairs
            self.problem = problem
            self.numbers = numbers

    def __init__(self, left: Path, other: Path, title: str) -> None:
        super().__init__()
        self._logs = (left, other)
        self._title = title
        self._numbers = False

    def compose(self) -> ComposeResult:
        """Lay out the box."""
        with Vertical(id="box"):
            yield PairsView()

    def on_mount(self) -> None:
        """Begin to compare."""
        self.query_one("#box").border_title = Content(one_line(self._title))
        self.query_one(PairsView).focus()
        self._compare()

    def _compare(self) -> None:
        numbers = self._numbers

        def run() -> None:
            try:
                self.post_message(self._Compared(log_diff.pairs(*self._logs, numbers), "", numbers))
            except (FoundationsError, OSError) as error:
                self.post_message(self._Compared((), str(as_ours(error)), numbers))

        threading.Thread(target=run, daemon=True).start()

    def on_difference__compared(self, event: _Compared) -> None:
        """Show what came of it."""
        if event.numbers != self._numbers:
            return
        view = self.query_one(PairsView)
        view.show(event.pairs, event.problem or "both are empty")
        self.call_after_refresh(view.show_first)
        numbers = "numbers count" if self._numbers else "numbers do not count"
        many = humanize.plural(view.differences, "difference")
        if any(map(log_diff.is_cut, self._logs)):
            many += f" in the first {humanize.size(log_diff.MOST_BYTES)}"
        subtitle = f"{many}, {numbers}   n next  # numbers  esc back"
        self.query_one("#box").border_subtitle = Content(subtitle)

    def action_numbers(self) -> None:
        """Let lines differ in which only numbers differ, or not."""
        self._numbers = not self._numbers
        self._compare()
