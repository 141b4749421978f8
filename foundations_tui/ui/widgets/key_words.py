"""Keys with what they do, in words on a line: a click on one is as good as the key."""

from __future__ import annotations

from typing import Any

from textual.content import Content
from textual.screen import Screen
from textual.style import Style
from textual.widgets import Static

from foundations_tui.text.sanitize import one_line

_SHOWN = {"enter": "enter"}
"""Keys that are named otherwise than Textual does."""


def key_words(screen: Screen[Any], *keys: tuple[str, str], before: str = "", gap: str = "  ") -> Content:
    """Return keys as a line of words, as far as they do something.

    Args:
        screen: where they are pressed.
        keys: each by the id of its binding, which the user may have given another key, or by Textual's name of a key
            that nobody can change; and what it does.
        before: words that are no key; any text, nothing in it is markup.
        gap: what stands between two.
    """
    bound: dict[str, tuple[str, str]] = {}
    for active in screen.active_bindings.values():
        binding = active.binding
        shown = _SHOWN.get(binding.key) or one_line(screen.app.get_key_display(binding))
        bound.setdefault(binding.id or "", (binding.key, shown))
    parts = [Content(before)] if before else []
    for name, does in keys:
        key, shown = bound.get(name, ("", "")) if "." in name else (name, name)
        if key:
            parts.append(Content.styled(f"{shown} {does}", Style.from_meta({"@click": f"app.press({key!r})"})))
    return Content(gap).join(parts)


class KeyWords(Static):
    """Such a line in the middle of a window."""

    auto_links = False
    """They look like other words."""

    def __init__(self, *keys: tuple[str, str], gap: str, id: str) -> None:
        super().__init__(id=id, markup=False)
        self._keys, self._gap = keys, gap

    def on_mount(self) -> None:
        """Name the keys as the user has them."""
        self.update(key_words(self.screen, *self._keys, gap=self._gap))
