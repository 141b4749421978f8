"""Scrolling that has happened when the call is back."""

from __future__ import annotations

from textual.scroll_view import ScrollView


def scroll_now(view: ScrollView, y: int) -> None:
    """Put a line at the top, as far as there are lines to show below it.

    A view without a scroll bar does not scroll, and the bar comes with the next layout: where lines have just outgrown
    the room, that is too late.
    """
    view.show_vertical_scrollbar = view.virtual_size.height > view.container_size.height
    view.scroll_to(y=y, animate=False, immediate=True)


def scroll_to_end(view: ScrollView) -> None:
    """Show the last line."""
    scroll_now(view, view.max_scroll_y)
