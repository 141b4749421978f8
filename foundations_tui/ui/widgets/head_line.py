"""The first line of the main screen, and what is clicked in it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from textual import events
from textual.message import Message
from textual.widgets import Static

from foundations_tui.store import queries
from foundations_tui.store.rows import HostRow
from foundations_tui.ui import header
from foundations_tui.ui.models.store_reader import Reader


@dataclass(frozen=True)
class _Known:
    """What the store had the last time."""

    counts: dict[str, int]
    """Jobs by state."""
    hosts: dict[str, HostRow]
    sometimes: set[str]
    """Pages that are offered because there is something to see."""


class HeadLine(Static):
    """The pages, hosts that are out of reach, what runs and waits."""

    @dataclass
    class PageClicked(Message):
        """The user clicked the name of a page."""

        page: str

    def __init__(self, reader: Reader, id: str | None = None) -> None:
        super().__init__(id=id, markup=False)
        self._reader = reader
        self._shown = ""
        self._page = self._moment = ""
        self._names: Sequence[str] = ()
        self._known = _Known({}, {}, set())
        self._usual: set[str] = set()
        self._offered: set[str] = set()
        """Pages that are offered although they are not always."""

    def reload(self, page: str, has_overview: bool, hosts: Sequence[str], moment: str = "") -> None:
        """Show what the store has now.

        Args:
            page: the one that is shown.
            has_overview: whether that page is offered.
            hosts: names of those to show.
            moment: which earlier moment is shown, in words; empty for now.
        """
        self._page, self._names, self._moment = page, hosts, moment
        self._usual = {"overview"} if has_overview else set()
        self._show()  # at once: the page's name does not wait for the store
        self._reader.ask("head", _read, self._take)

    def _take(self, known: _Known) -> None:
        self._known = known
        self._show()

    def _show(self) -> None:
        self._offered = self._usual | self._known.sometimes
        rows = [self._known.hosts[name] for name in self._names if name in self._known.hosts]
        text = header.line(self._page, self.screen.size.width, self._offered, self._known.counts, rows, self._moment)
        if text.markup != self._shown:
            self._shown = text.markup
            self.update(text, layout=False)

    def on_click(self, event: events.Click) -> None:
        """Go to the page whose name is clicked."""
        page = header.page_at(event.screen_x, self._page, self.screen.size.width, self._offered)
        if page is not None:
            self.post_message(self.PageClicked(page))


def _read(conn: sqlite3.Connection) -> _Known:
    there = {
        "race": queries.is_any_sweep(conn),
        "models": queries.are_any(conn, "registry"),
        "services": queries.are_any(conn, "services"),
    }
    return _Known(queries.state_counts(conn), queries.hosts(conn), {page for page, is_any in there.items() if is_any})
