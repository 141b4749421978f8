"""Keys with what they do, in words on a line: a click on one is as good as the key."""

from __future__ import annotations

from textual.content import Content
from textual.style import Style
from textual.widgets import Static

_SHOWN = {"escape": "esc", "slash": "/", "number_sign": "#"}
BACK = ("escape", "back")


class KeyWords(Static):
    """Such a line in the middle of a window."""

    auto_links = False
    """They look like other words."""

    def __init__(self, *keys: tuple[str, str], gap: str, id: str) -> None:
        super().__init__(key_words(*keys, gap=gap), id=id, markup=False)


def key_words(*keys: tuple[str, str], before: str = "", gap: str = "  ") -> Content:
    """Return keys as a line of words.

    Args:
        keys: each key, by Textual's name, and what it does.
        before: words that are no key; any text, nothing in it is markup.
        gap: what stands between two.
    """
    parts = [Content.styled(f"{_SHOWN.get(key, key)} {does}", _pressed(key)) for key, does in keys]
    return Content(gap).join([Content(before), *parts] if before else parts)


def _pressed(key: str) -> Style:
    return Style.from_meta({"@click": f"app.press({key!r})"})
