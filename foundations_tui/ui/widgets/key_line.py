"""The keys in the last line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, NamedTuple

from textual import events
from textual.content import Content
from textual.reactive import reactive
from textual.screen import Screen
from textual.widget import Widget

from foundations_tui.text.sanitize import one_line, width

_LAST = ("app.help", "app.quit")
"""What is never left out."""


class _Key(NamedTuple):
    """A key of the line."""

    name: str
    shown: str
    words: str
    """What it does."""
    action: str
    is_enabled: bool
    """Whether it does that now."""
    tooltip: str

    @property
    def cells(self) -> int:
        """How many cells it takes."""
        return width(f" {self.shown} {self.words} ")


class KeyLine(Widget):
    """Shows what keys do here, and takes a click for a key; what finds no room is left out whole.

    One widget that draws a line: Textual's Footer makes a widget of each key again whenever one of them changes.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"key-line--key", "key-line--words"}
    DEFAULT_CSS = """
    KeyLine {
        dock: bottom;
        height: 1;
        color: $footer-foreground;
        background: $footer-background;
        .key-line--key {
            color: $footer-key-foreground;
            background: $footer-key-background;
            text-style: bold;
        }
        .key-line--words {
            color: $footer-description-foreground;
            background: $footer-description-background;
        }
    }
    """
    ALLOW_SELECT = False

    keys: reactive[tuple[_Key, ...]] = reactive(())
    """Those that there are here, in order."""

    def on_mount(self) -> None:
        """Follow the keys of the screen."""
        self.screen.bindings_updated_signal.subscribe(self, self._look)

    def _look(self, screen: Screen[object]) -> None:
        if screen is self.screen and screen.app.app_focus:
            self.call_after_refresh(self._take)  # what a key does may change once more with what is drawn next

    def _take(self) -> None:
        found: dict[str, _Key] = {}
        for _, binding, enabled, tooltip in self.screen.active_bindings.values():
            if binding.show:
                shown, words = one_line(self.app.get_key_display(binding)), one_line(binding.description)
                key = _Key(binding.key, shown, words, binding.action, enabled, one_line(tooltip))
                found.setdefault(binding.action, key)
        self.keys = tuple(found.values())

    def render(self) -> Content:
        """Draw the keys that fit."""
        key_style, style = (self.get_visual_style(f"key-line--{name}") for name in ("key", "words"))
        parts: list[Content] = []
        for key in self._fitting():
            part = Content.assemble((f" {key.shown} ", key_style), (f"{key.words} ", style))
            parts.append(part if key.is_enabled else part.stylize("dim"))
        return Content.assemble(*parts)

    def _fitting(self) -> Iterator[_Key]:
        left = self.size.width - sum(key.cells for key in self.keys if key.action in _LAST)
        for key in self.keys:
            if key.action not in _LAST:
                left -= key.cells
            if left >= 0 or key.action in _LAST:
                yield key

    def _at(self, x: int) -> _Key | None:
        """Return the key that stands at a cell of the line."""
        edge = 0
        for key in self._fitting():
            edge += key.cells
            if x < edge:
                return key
        return None

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Press the key that is clicked."""
        key = self._at(event.x)
        if key is not None and key.is_enabled:
            self.app.simulate_key(key.name)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Say more of the key under the mouse."""
        key = self._at(event.x)
        self.tooltip = Content(key.tooltip) if key is not None and key.tooltip else None
