"""Rows of a table that asks for what it shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """One column."""

    title: str
    width: int
    """Cells; 0 for what is left."""
    right: bool = False
    sort: str = ""
    """The expression to sort by when its title is clicked; empty when it cannot be sorted."""


@dataclass(frozen=True)
class TableRow:
    """One row."""

    key: str
    cells: Sequence[str]
    """Any text: it is made safe when it is drawn."""
    styles: Sequence[str] = ()
    """Rich styles, one a cell; a missing or empty one is none."""
    version: object = None
    """Another one means that the row says something new: it is marked for a second."""


@dataclass(frozen=True)
class RowWindow:
    """Some rows in order, and where they stand."""

    count: int
    """How many rows there are in all."""
    start: int
    rows: list[TableRow]
    key: str | None = None
    """Key of the row that was to be found."""
    position: int | None = None
    """Where that row stands; None when it is not there."""


def whole(rows: list[TableRow], key: str | None) -> RowWindow:
    """Return the window of a table whose rows are all at hand."""
    return RowWindow(len(rows), 0, rows, key, next((n for n, row in enumerate(rows) if row.key == key), None))


AskForRows = Callable[[int, int, "str | None", bool], None]
"""Called with (where a window begins, how many rows, the key of a row to be found, whether the window has to hold that
row); ``take`` gets the answer."""
