"""Rows of a table that asks for what it shows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec import Struct  # made, and compared, in a tenth of the time of a dataclass: a table does so each second
from msgspec.structs import replace

from foundations_tui.text.sanitize import one_line, width

CHANGED_SECONDS = 1.0
"""How long a row that changed stays marked."""


class Column(Struct, frozen=True):
    """One column."""

    title: str
    width: int
    """Cells; 0 for what is left."""
    right: bool = False
    sort: str = ""
    """The expression to sort by when its title is clicked; empty when it cannot be sorted."""


class TableRow(Struct, frozen=True):
    """One row."""

    key: str
    cells: Sequence[str]
    """Any text: it is made safe when it is drawn."""
    styles: Sequence[str] = ()
    """Rich styles, one a cell; a missing or empty one is none."""
    version: object = None
    """Another one means that the row says something new: it is marked for a second."""


class RowWindow(Struct, frozen=True):
    """Some rows in order, and where they stand."""

    count: int
    """How many rows there are in all."""
    start: int
    rows: list[TableRow]
    key: str | None = None
    """Key of the row that was to be found."""
    position: int | None = None
    """Where that row stands; None when it is not there."""

    @property
    def end(self) -> int:
        """The place behind the last row."""
        return self.start + len(self.rows)

    def row(self, place: int) -> TableRow | None:
        """Return the row at a place; None where it is not at hand."""
        return self.rows[place - self.start] if self.start <= place < self.end else None

    def holds(self, first: int, end: int) -> bool:
        """Return whether the rows from one place to before another are at hand, as far as there are any."""
        return self.start <= first and min(end, self.count) <= self.end

    def is_near_edge(self, place: int, margin: int) -> bool:
        """Return whether less than a margin of the rows around a place is at hand, though there are more."""
        return (self.start > 0 and place < self.start + margin) or (
            self.end < self.count and place >= self.end - margin
        )

    def about(self, key: str | None) -> RowWindow:
        """Return the window as it would say where another row stands."""
        if key == self.key:
            return self
        places = (self.start + n for n, row in enumerate(self.rows) if row.key == key)
        return replace(self, key=key, position=next(places, None))

    def differences(self, other: RowWindow) -> Iterator[int]:
        """Yield the places of the rows that say something else than in another window of the same places."""
        pairs = enumerate(zip(self.rows, other.rows, strict=True), self.start)
        return (place for place, (row, was) in pairs if row != was)


def widest(rows: Sequence[TableRow], number: int) -> int:
    """Return how many cells the longest text of a column takes; rows without that column do not count."""
    return max((width(one_line(row.cells[number])) for row in rows if len(row.cells) > number), default=0)


def fitted(columns: Sequence[Column], rows: Sequence[TableRow], most: Mapping[str, int]) -> list[Column]:
    """Return columns of which some are as wide as what stands in them.

    Args:
        columns: all of them.
        rows: what stands in them.
        most: by title: cells that a column takes at most; others stay as they are.
    """

    def of(number: int, column: Column) -> Column:
        if column.title not in most:
            return column
        return replace(column, width=min(most[column.title], max(len(column.title), widest(rows, number))))

    return [of(number, column) for number, column in enumerate(columns)]


def whole(rows: list[TableRow], key: str | None) -> RowWindow:
    """Return the window of a table whose rows are all at hand."""
    return RowWindow(len(rows), 0, rows, key, next((n for n, row in enumerate(rows) if row.key == key), None))


class RecentChanges:
    """Keys of the rows that said something new a moment ago."""

    def __init__(self) -> None:
        self._ends: dict[str, float] = {}
        """By key, on the monotonic clock."""

    def __contains__(self, key: str) -> bool:
        return self._ends.get(key, 0.0) > time.monotonic()

    def note(self, before: Sequence[TableRow], now: Sequence[TableRow]) -> bool:
        """Take in rows that stand in the place of others; return whether any of them says something new."""
        old = {row.key: row.version for row in before}
        fresh = [row.key for row in now if row.key in old and old[row.key] != row.version]
        if fresh:
            moment = time.monotonic()
            self._ends = {key: end for key, end in self._ends.items() if end > moment}
            self._ends.update(dict.fromkeys(fresh, moment + CHANGED_SECONDS))
        return bool(fresh)


AskForRows = Callable[[int, int, "str | None", bool], None]
"""Called with (where a window begins, how many rows, the key of a row to be found, whether the window has to hold that
row); ``take`` gets the answer."""
