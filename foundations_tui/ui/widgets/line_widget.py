"""A widget that draws itself line by line, with nothing around its lines."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip

if TYPE_CHECKING:
    from textual.widget import Widget as _Base
else:
    _Base = object  # no widget: Textual takes the style sheet of a class from the first of its bases that is one

_PICTURES_KEPT = 4
"""How many times the lines of a picture are kept, at most."""


class LineWidget(_Base):
    """Works the style out once a picture, and hands out lines that show the same again as they are.

    Textual remembers of a line how it was cut and written, as long as it gets that line again; its own way of drawing
    makes all lines anew where a widget scrolls, to work border, padding and opacity in. These widgets have none.
    """

    _of_this_picture: Style | None = None
    _lines_before: dict[Hashable, Strip] | None = None
    _lines_now: dict[Hashable, Strip] | None = None

    @property
    def line_style(self) -> Style:
        """The style of a line that has no other."""
        return self._of_this_picture or self.rich_style

    def kept(self, what: Hashable, draw: Callable[[], Strip]) -> Strip:
        """Return the line that the last picture had of the same, or draw it.

        Args:
            what: all that the line depends on.
            draw: draws it.
        """
        line = (self._lines_before or {}).get(what) or draw()
        if self._lines_now is not None:
            self._lines_now[what] = line
        return line

    def _keep(self, is_whole: bool) -> None:
        """Keep the lines that were drawn: beside those of the last picture where only a part was asked for.

        Textual asks for one line to find out what is under the mouse.
        """
        now, self._lines_now = self._lines_now or {}, None
        before = self._lines_before or {}
        is_much = len(before) > _PICTURES_KEPT * max(1, self.region.height)
        self._lines_before = now if is_whole or is_much else {**before, **now}

    def forget_lines(self) -> None:
        """Draw all lines anew the next time: something has changed that none of them names."""
        self._lines_before = None

    def render_lines(self, crop: Region) -> list[Strip]:
        """Draw lines of the widget."""
        style = self._of_this_picture = self.rich_style
        self._lines_now = {}
        try:
            lines = [self.render_line(y) for y in crop.line_range]
        finally:
            self._keep(is_whole=crop.height >= self.region.height)
            self._of_this_picture = None
        room, background = self.region.width, self.background_colors[1]
        lines = [line.adjust_cell_length(room, style) for line in lines]
        for line_filter in self.get_line_filters():
            lines = [line.apply_filter(line_filter, background) for line in lines]
        left, right = crop.column_span
        return lines if (left, right) == (0, room) else [line.crop(left, right) for line in lines]
