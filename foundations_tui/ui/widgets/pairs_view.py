"""Pairs of lines side by side; below one another where there is no room for two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from foundations_tui.text.sanitize import clip
from foundations_tui.ui.theme import LOOK
from foundations_tui.ui.widgets.line_widget import LineWidget
from foundations_tui.ui.widgets.scrolling import scroll_now

_SIDES_FROM = 100
"""Columns from which two stand side by side."""


class PairLike(Protocol):
    """Two lines that belong together."""

    @property
    def left(self) -> Any:
        """What stands at the left; None for nothing."""

    @property
    def right(self) -> Any:
        """What stands at the right; None for nothing."""

    @property
    def differs(self) -> bool:
        """Whether they do."""


Draw = Callable[[PairLike, bool], Text]
"""Returns how the left line of a pair looks (True), or the right one (False)."""


class PairsView(LineWidget, ScrollView, can_focus=True):
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

    def __init__(self, draw: Draw) -> None:
        super().__init__()
        self._draw = draw
        self._pairs: Sequence[PairLike] = ()
        self._words = "comparing ..."
        self._lines: list[tuple[int, bool]] = []
        """Where lines stand below one another: the pair of each, and whether it is its left one."""
        self._starts: list[int] = []
        """The line at which each difference begins."""

    def show(self, pairs: Sequence[PairLike], words: str) -> None:
        """Show pairs of lines, or words where there are none."""
        self._pairs, self._words = pairs, words
        self._lay_out()

    def _lay_out(self) -> None:
        if self._is_wide:
            self._lines = []
            differ = [pair.differs for pair in self._pairs]
        else:
            self._lines = _below_one_another(self._pairs)
            differ = [self._pairs[number].differs for number, _ in self._lines]
        self._starts = [n for n, here in enumerate(differ) if here and not (n and differ[n - 1])]
        self.virtual_size = Size(self.size.width, len(differ))
        self.refresh()

    @property
    def _is_wide(self) -> bool:
        return self.size.width >= _SIDES_FROM

    @property
    def differences(self) -> int:
        """How many places differ."""
        return len(self._starts)

    def render_line(self, y: int) -> Strip:
        """Draw a line: both of a pair with a mark where they differ, or one of them."""
        room, number = self.scrollable_content_region.width, self.scroll_offset.y + y
        base = self.line_style
        if number >= self.virtual_size.height:
            words = self._words if y == 0 and not self._pairs else ""
            return Strip([Segment(clip(words, room), base + Style(dim=True))]).adjust_cell_length(room, base)
        if self._lines:
            place, is_left = self._lines[number]
            pair = self._pairs[place]
            sign = ("-" if is_left else "+") if pair.differs else " "
            segments = [Segment(f"{sign} ", base), *self._half(pair, is_left, room - 2)]
            return Strip(segments).adjust_cell_length(room, base)
        pair = self._pairs[number]
        half = (room - 3) // 2
        mark = " ! " if pair.differs else (" | " if LOOK.ascii else " │ ")
        between = Segment(mark, base + Style(bold=pair.differs, dim=not pair.differs))
        segments = [*self._half(pair, True, half), between, *self._half(pair, False, room - half - 3)]
        return Strip(segments).adjust_cell_length(room, base)

    def _half(self, pair: PairLike, is_left: bool, room: int) -> list[Segment]:
        """Return one line of a pair, with the ground of what went or came."""
        base, line = self.line_style, pair.left if is_left else pair.right
        if pair.differs and line is not None:
            base += self.get_component_rich_style("pairs--left" if is_left else "pairs--right")
        text = self._draw(pair, is_left).copy()
        text.no_wrap, text.end = True, ""
        text.truncate(room, overflow="ellipsis")
        drawn = [Segment(s.text, base + (s.style or Style.null())) for s in text.render(self.app.console)]
        return list(Strip(drawn).adjust_cell_length(room, base))

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
        """Lay the lines out anew: side by side, or below one another."""
        self._lay_out()


def _below_one_another(pairs: Sequence[PairLike]) -> list[tuple[int, bool]]:
    """Return lines in the order of a unified difference: of what differs all that went, then all that came."""
    lines: list[tuple[int, bool]] = []
    run: list[int] = []

    def end_run() -> None:
        lines.extend((number, True) for number in run if pairs[number].left is not None)
        lines.extend((number, False) for number in run if pairs[number].right is not None)
        run.clear()

    for number, pair in enumerate(pairs):
        if pair.differs:
            run.append(number)
            continue
        end_run()
        lines.append((number, False))
    end_run()
    return lines
