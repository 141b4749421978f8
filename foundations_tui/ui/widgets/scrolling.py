"""Scrolling that has happened when the call is back."""

from __future__ import annotations

from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.widget import Widget


def set_lines(view: ScrollView, lines: int) -> None:
    """Give a view, whose own size does not depend on it, another number of lines.

    Textual lays out the whole screen for that, each time a log gains a line; only a bar that comes or goes needs it.
    """
    size = Size(view.size.width, lines)
    has_bar = lines > view.container_size.height
    if has_bar != view.show_vertical_scrollbar or size.width != view.virtual_size.width:
        view.virtual_size = size
    elif size != view.virtual_size:
        view.set_reactive(Widget.virtual_size, size)
        if has_bar:
            view.vertical_scrollbar.window_virtual_size = lines


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
