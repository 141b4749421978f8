"""Rows in columns, as wide as a terminal or a window: what does not fit is clipped or left out. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from foundations_tui.text.sanitize import clip, one_line, width

NARROWEST = 8
"""Cells to which a column is narrowed at most."""
_GAP = 2
Paint = Callable[[int, int, str], str]
"""Takes the number of a row (-1 for the headers), that of a column and a clipped cell; returns it with its color."""
_NUMBER = re.compile(
    r"[-+−~]?[\d.,]+(?:e[-+]?\d+)?(?: ?(?:[±(/+-].*|[%a-zA-Z]{1,4}\b.{0,12}))?\Z|in \d.*|now\Z|-?(?:NaN|[Ii]nf\w*)\Z"
)
"""A number, an amount or a span of time: "1,024", "0.535 ±0.27", "3/8", "12 s ago", "4 min 10 s"."""
_IDS = ("ID", "JOB", "HASH", "SNAPSHOT", "SWEEP", "VERSION", "REPLICA")
"""Titles of what may look like a number and is none."""
_NAME_WANTS = 16
"""Cells of a name, before columns are left out."""
_WHOLE = (*_IDS, "STATE")
"""Titles of what says nothing when it is cut."""


@dataclass(frozen=True)
class Layout:
    """A table that fits."""

    headers: list[str]
    rows: list[list[str]]
    widths: list[int]
    """Cells of each column."""
    right: frozenset[int] = frozenset()
    """Columns whose cells stand at the right: numbers."""

    def lines(self, paint: Paint = lambda row, column, text: text) -> list[str]:
        """Return the table, a line each, the headers first."""
        rows = enumerate([self.headers, *self.rows], -1)
        return [self._line(row, lambda column, text, n=n: paint(n, column, text)) for n, row in rows]  # type: ignore[misc]

    def _line(self, cells: Sequence[str], paint: Callable[[int, str], str]) -> str:
        parts = []
        for column, cell in enumerate(cells):
            text = clip(cell, self.widths[column])
            room = " " * (self.widths[column] - width(text))
            parts.append(room + paint(column, text) if column in self.right else paint(column, text) + room)
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
    right = frozenset(
        number for number, title in enumerate(kept) if _is_of_numbers(title, [row[number] for row in cells])
    )
    fixed = right | {number for number, title in enumerate(kept) if title in _WHOLE}
    _fit(widths, room, fixed, _least(kept, widths, last_wants))
    return Layout(kept, cells, widths, right)


def _is_of_numbers(title: str, cells: Sequence[str]) -> bool:
    """Return whether a column has numbers, amounts and spans of time alone."""
    filled = [cell for cell in cells if cell]
    return bool(filled) and title not in _IDS and all(_NUMBER.match(cell) for cell in filled)


def text(headers: Sequence[str], rows: Sequence[Sequence[str]], room: int, droppable: Sequence[str] = ()) -> str:
    """Return rows in columns as one text; see ``lay_out``."""
    return "\n".join(lay_out(headers, rows, room, droppable).lines())


def _drop(
    headers: list[str], cells: list[list[str]], droppable: Sequence[str], room: int, last_wants: int
) -> tuple[list[str], list[list[str]], list[int]]:
    """Leave out columns until the rest fits when it is clipped; return headers, cells and the widths they want."""
    widths = [max(width(row[i]) for row in [headers, *cells]) for i in range(len(headers))]
    narrowest = sum(_least(headers, widths, last_wants)) + _GAP * (len(widths) - 1)
    if narrowest <= room or not droppable:
        return headers, cells, widths
    kept = [i for i, name in enumerate(headers) if name != droppable[0]]
    cells = [[row[i] for i in kept] for row in cells]
    return _drop([headers[i] for i in kept], cells, droppable[1:], room, last_wants)


def _least(headers: Sequence[str], widths: Sequence[int], last_wants: int) -> list[int]:
    """Return the cells that columns are to keep as long as others can be left out."""
    wanted = [_NAME_WANTS if header == "NAME" else NARROWEST for header in headers[:-1]] + [last_wants]
    return [min(cells, least) for cells, least in zip(widths, wanted, strict=True)]


def _fit(widths: list[int], room: int, fixed: frozenset[int], least: Sequence[int]) -> None:
    """Narrow columns until they fit, the widest first; what is fixed only where nothing else is left to narrow."""
    over = sum(widths) + _GAP * (len(widths) - 1) - room
    while over > 0:
        free = [i for i in range(len(widths)) if i not in fixed and widths[i] > least[i]]
        free = free or [i for i in range(len(widths)) if widths[i] > NARROWEST]
        if not free:
            break
        widest = max(free, key=lambda i: widths[i])
        others = [widths[i] for i in free if i != widest]
        cut = min(over, max(1, widths[widest] - max(others)) if others else over)
        cut = min(cut, widths[widest] - (least[widest] if widths[widest] > least[widest] else NARROWEST))
        widths[widest] -= cut
        over -= cut
