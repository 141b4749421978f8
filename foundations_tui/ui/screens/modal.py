"""A box over everything else."""

from __future__ import annotations

from textual import events
from textual.screen import ModalScreen


class ModalWindow(ModalScreen[None]):
    """Shows something until it is closed, with its keys or by a click beside the box."""

    def on_click(self, event: events.Click) -> None:
        """Close it where the click is beside the box."""
        if not self.query_one("#box").region.contains(event.screen_x, event.screen_y):
            self.action_close()

    def action_close(self) -> None:
        """Go back."""
        self.dismiss(None)
