"""Rows in columns, as wide as a terminal or a window: what does not fit is clipped or left out. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from foundations_tui.text.sanitize import clip, one_line, width

NARROWEST = 8
"""Cells to which a column is narrowed at most."""
_GAP = 2
Paint = Callable[[int, int, str], str]
"""Takes the number of a row, that of a column and a clipped cell; returns it with its color."""


@dataclass(frozen=True)
class Layout:
    """A table that fits."""

    headers: list[str]
    rows: list[list[str]]
    widths: list[int]
    """Cells of each column."""

    def lines(self, paint: Paint = lambda row, column, text: text) -> list[str]:
        """Return the table, a line each, the headers first."""
        head = self._line(self.headers, lambda column, text: text)
        rows = enumerate(self.rows)
        return [head, *(self._line(row, lambda column, text, n=n: paint(n, column, text)) for n, row in rows)]  # type: ignore[misc]

    def _line(self, cells: Sequence[str], paint: Callable[[int, str], str]) -> str:
        parts = []
        for column, cell in enumerate(cells):
            text = clip(cell, self.widths[column])
            parts.append(paint(column, text) + " " * (self.widths[column] - width(text)))
        return (" " * _GAP).join(parts).rstrip()


def lay_out(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    room: int,
    droppable: Sequence[str] = (),
    last_wants: int = NARROWEST,
) -> Layout:
    """Fit rows into columns; nothing in them moves a terminal.

    Args:
        headers: one a column.
        rows: cells; where there is not room for all of them, the last column is clipped, then the widest.
        room: cells in a line.
        droppable: headers of columns that go, in this order, when clipping is not enough.
        last_wants: cells that the last column is to keep, at the cost of those.
    """
    cells = [[one_line(cell) for cell in row] for row in rows]
    kept, cells, widths = _drop([one_line(header) for header in headers], cells, droppable, room, last_wants)
    _fit(widths, room)
    return Layout(kept, cells, widths)


def text(headers: Sequence[str], rows: Sequence[Sequence[str]], room: int, droppable: Sequence[str] = ()) -> str:
    """Return rows in columns as one text; see ``lay_out``."""
    return "\n".join(lay_out(headers, rows, room, droppable).lines())


def _drop(
    headers: list[str], cells: list[list[str]], droppable: Sequence[str], room: int, last_wants: int
) -> tuple[list[str], list[list[str]], list[int]]:
    """Leave out columns until the rest fits when it is clipped; return headers, cells and the widths they want."""
    widths = [max(width(row[i]) for row in [headers, *cells]) for i in range(len(headers))]
    least = [min(wanted, NARROWEST) for wanted in widths[:-1]] + [min(widths[-1], last_wants)]
    narrowest = sum(least) + _GAP * (len(widths) - 1)
    if narrowest <= room or not droppable:
        return headers, cells, widths
    kept = [i for i, name in enumerate(headers) if name != droppable[0]]
    cells = [[row[i] for i in kept] for row in cells]
    return _drop([headers[i] for i in kept], cells, droppable[1:], room, last_wants)


def _fit(widths: list[int], room: int) -> None:
    """Narrow columns until they fit, the widest first."""
    over = sum(widths) + _GAP * (len(widths) - 1) - room
    while over > 0:
        widest = max(range(len(widths)), key=lambda i: widths[i])
        if widths[widest] <= NARROWEST:
            break
        cut = min(over, max(1, widths[widest] - sorted(widths)[-2]) if len(widths) > 1 else over, widths[widest] - 1)
        widths[widest] -= cut
        over -= cut
