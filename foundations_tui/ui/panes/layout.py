"""Where the panes of each page stand on the main screen, and which of them are made."""

from __future__ import annotations

from collections.abc import Callable

from textual.css.query import NoMatches
from textual.screen import Screen
from textual.widget import Widget

from foundations_tui.ui.widgets.pane_place import PanePlace

_PANES = {
    "overview": ("jobs", "metrics", "log", "hosts"),
    "jobs": ("jobs", "log"),
    "metrics": ("metrics",),
    "log": ("log",),
    "hosts": ("hosts",),
    "compare": ("compare",),
    "queue": ("queue",),
    "race": ("race",),
    "models": ("models",),
    "services": ("services",),
}
"""What a page shows, the pane that gets the keys first."""
_HOMES = {
    "jobs": "#top",
    "metrics": "#top",
    "log": "#bottom",
    "hosts": "#bottom",
    "compare": "#body",
    "queue": "#body",
    "race": "#body",
    "models": "#body",
    "services": "#body",
}
"""Where each pane belongs."""
_HALVES = {"#top": ("overview", "jobs", "metrics"), "#bottom": ("overview", "jobs", "log", "hosts")}
"""The pages that show these parts of the body."""
_FOCUS = {
    "jobs": "#jobs-table",
    "log": "#log-view",
    "compare": "#compare-table",
    "queue": "#queue-table",
    "race": "#race-table",
    "models": "#models-table",
    "services": "#services-table",
    "hosts": "#hosts-table",
}
"""What gets the keys in a pane, where that is not the pane itself."""
_FRAME = 4
"""Cells of a pane that are its border and its padding."""
_SHARE_OF_JOBS = 0.6
"""Of the overview's columns."""


def has(page: str, pane: str) -> bool:
    """Return whether a page shows a pane."""
    return pane in _PANES[page]


def room_of_jobs(page: str, columns: int) -> int:
    """Return how many cells the table of jobs has on a page, for a terminal of so many columns."""
    return round(columns * (_SHARE_OF_JOBS if page == "overview" else 1.0)) - _FRAME


class PageLayout:
    """Shows the panes of a page; each is made when it is shown for the first time."""

    def __init__(self, screen: Screen[None], make: Callable[[str], Widget]) -> None:
        """Make none yet.

        Args:
            screen: has the parts of the body.
            make: makes a pane.
        """
        self._screen = screen
        self._make = make

    def show(self, page: str) -> bool:
        """Show the panes of a page; return whether there are some whose places are only kept: ``fill`` makes them."""
        first, *others = _PANES[page]
        self._have(first)
        for pane in others:
            self._keep_place(pane)
        self._display(page)
        return bool(self._screen.query(PanePlace))

    def fill(self, page: str) -> None:
        """Make the panes whose places are kept."""
        for place in self._screen.query(PanePlace):
            self._have(place.pane)
            place.remove()
        self._display(page)

    def target(self, page: str) -> Widget | None:
        """Return what gets the keys on a page; None while that is being made."""
        pane = _PANES[page][0]
        made = self._screen.query(_FOCUS.get(pane, f"#{pane}"))
        return made.first() if made else None

    def _have(self, pane: str) -> None:
        if self._made(pane) is None:
            self._home(pane).mount(self._make(pane))

    def _keep_place(self, pane: str) -> None:
        if self._made(pane) is None and self._place(pane) is None:
            self._home(pane).mount(PanePlace(pane))

    def _display(self, page: str) -> None:
        for pane in _HOMES:
            made, place = self._made(pane), self._place(pane)
            if made is not None:
                made.display = has(page, pane)
            if place is not None:
                place.display = has(page, pane) and made is None
        for half, pages in _HALVES.items():
            self._screen.query_one(half).display = page in pages

    def _home(self, pane: str) -> Widget:
        return self._screen.query_one(_HOMES[pane])

    def _made(self, pane: str) -> Widget | None:
        return _child(self._home(pane), pane)

    def _place(self, pane: str) -> Widget | None:
        return _child(self._home(pane), PanePlace.id_of(pane))


def _child(of: Widget, id: str) -> Widget | None:
    """Return a child by its id, without a query: each page that is shown asks for all panes."""
    try:
        return of.get_child_by_id(id)
    except NoMatches:
        return None
