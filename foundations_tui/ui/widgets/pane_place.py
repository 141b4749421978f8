"""The place of a pane that is not made yet."""

from __future__ import annotations

from textual.widget import Widget


class PanePlace(Widget):
    """An empty frame where a pane will be: what stands beside it has its room from the first picture on."""

    def __init__(self, pane: str) -> None:
        super().__init__(id=self.id_of(pane))
        self.pane = pane
        self.border_title = pane

    def render(self) -> str:
        """Draw nothing: by itself a widget draws its name."""
        return ""

    @staticmethod
    def id_of(pane: str) -> str:
        """Return the id of the place of a pane."""
        return f"place-{pane}"
