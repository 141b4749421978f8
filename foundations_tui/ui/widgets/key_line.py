"""The keys in the last line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual import events
from textual.content import Content
from textual.reactive import reactive
from textual.screen import Screen
from textual.widget import Widget

from foundations_tui.text.sanitize import one_line, width

_LAST = ("app.help", "app.quit")
"""What is never left out."""
_Key = tuple[str, str, str, str, bool, str]
"""The key, how it is shown, what it does in words, its action, whether it does that now, and more words."""


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
                shown = self.app.get_key_display(binding)
                key = (binding.key, shown, binding.description, binding.action, enabled, tooltip)
                found.setdefault(binding.action, key)
        self.keys = tuple(found.values())

    def render(self) -> Content:
        """Draw the keys that fit."""
        key_style, style = (self.get_visual_style(f"key-line--{name}") for name in ("key", "words"))
        parts: list[Content] = []
        for _, shown, words, _, enabled, _ in self._fitting():
            dim = "" if enabled else "dim"
            parts += [Content.styled(f" {one_line(shown)} ", key_style), Content.styled(f"{one_line(words)} ", style)]
            parts[-2:] = [part.stylize(dim) if dim else part for part in parts[-2:]]
        return Content.assemble(*parts)

    def _fitting(self) -> Iterator[_Key]:
        left = self.size.width - sum(_cells(key) for key in self.keys if key[3] in _LAST)
        for key in self.keys:
            if key[3] not in _LAST:
                left -= _cells(key)
            if left >= 0 or key[3] in _LAST:
                yield key

    def _at(self, x: int) -> _Key | None:
        """Return the key that stands at a cell of the line."""
        edge = 0
        for key in self._fitting():
            edge += _cells(key)
            if x < edge:
                return key
        return None

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Press the key that is clicked."""
        key = self._at(event.x)
        if key is not None and key[4]:
            self.app.simulate_key(key[0])

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Say more of the key under the mouse."""
        key = self._at(event.x)
        self.tooltip = Content(one_line(key[5])) if key is not None and key[5] else None


def _cells(key: _Key) -> int:
    return width(f" {one_line(key[1])} {one_line(key[2])} ")
