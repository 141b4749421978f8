"""The keys in the last line."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.widgets import Footer
from textual.widgets._footer import FooterKey

from foundations_tui.text.sanitize import width

_LAST = ("app.help", "app.quit")
"""What is never left out."""


class KeyLine(Footer):
    """Textual's footer; what finds no room is left out whole."""

    def compose(self) -> ComposeResult:
        """Lay out the keys that fit."""
        keys = [key for key in super().compose() if isinstance(key, FooterKey)]
        left = self.app.size.width - sum(_cells(key) for key in keys if key.action in _LAST)
        for key in keys:
            if key.action not in _LAST:
                left -= _cells(key)
            if left >= 0 or key.action in _LAST:
                yield key

    def on_resize(self, event: events.Resize) -> None:
        """Fit the new width."""
        self.call_after_refresh(self.recompose)


def _cells(key: FooterKey) -> int:
    return width(f" {key.key_display} {key.description} ")
