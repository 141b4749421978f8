"""The style of a widget that draws itself line by line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip

if TYPE_CHECKING:
    from textual.widget import Widget as _Base
else:
    _Base = object  # no widget: Textual takes the style sheet of a class from the first of its bases that is one


class LineStyle(_Base):
    """Works the style out once a picture: asking Textual for it with each line costs more than drawing the line."""

    _of_this_picture: Style | None = None

    @property
    def line_style(self) -> Style:
        """The style of a line that has no other."""
        return self._of_this_picture or self.rich_style

    def render_lines(self, crop: Region) -> list[Strip]:
        """Draw lines of the widget."""
        self._of_this_picture = self.rich_style
        try:
            return super().render_lines(crop)
        finally:
            self._of_this_picture = None
