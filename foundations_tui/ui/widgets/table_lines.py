"""The lines of a table: how wide its columns are, and what is drawn of a row."""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style

from foundations_tui.text.sanitize import clip, one_line, width
from foundations_tui.ui.models.table import Column


def segments(
    columns: Sequence[Column], cells: Sequence[str], styles: Sequence[str], room: int, base: Style, mark: str
) -> list[Segment]:
    """Return a line of a table; a text that is too long runs on over the empty cells beside it.

    Args:
        columns: those that are shown.
        cells: any text, one a column: it is made safe here.
        styles: Rich styles, one a cell; a missing or empty one is none.
        room: cells of the whole line.
        base: style of the line.
        mark: one character before the first column.
    """
    drawn = [Segment(mark, base)]
    wide, end = widths(columns, room), 0
    for i, column in enumerate(columns):
        if i < end:
            continue
        text, cells_wide, end = one_line(cells[i] if i < len(cells) else ""), wide[i], i + 1
        while end < len(columns) and not column.right and width(text) > cells_wide and not any(cells[end : end + 1]):
            cells_wide, end = cells_wide + 1 + wide[end], end + 1
        text = clip(text, cells_wide)
        padding = " " * (cells_wide - width(text))
        style = Style.parse(styles[i]) if i < len(styles) and styles[i] else Style.null()
        drawn.append(Segment((padding + text if column.right else text + padding) + " ", base + style))
    used = sum(len(segment.text) for segment in drawn)
    drawn.append(Segment(" " * max(0, room - used), base))
    return drawn


def widths(columns: Sequence[Column], room: int) -> list[int]:
    """Return the cells of each column of a line: columns without a width share what is left."""
    left = max(0, room - 1 - sum(column.width + 1 for column in columns))
    open_ended = [i for i, column in enumerate(columns) if column.width == 0]
    cells = [column.width for column in columns]
    for n, i in enumerate(open_ended):
        cells[i] = left // len(open_ended) + (n < left % len(open_ended))
    return cells


def column_at(columns: Sequence[Column], room: int, x: int) -> Column | None:
    """Return the column that stands at a cell of a line."""
    edge = 1
    for column, cells in zip(columns, widths(columns, room), strict=True):
        edge += cells + 1
        if x < edge:
            return column
    return None
