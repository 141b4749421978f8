"""A screen that shows what the store has now."""

from __future__ import annotations

from abc import abstractmethod


class LiveScreen:
    """Is told when the store has something new."""

    @abstractmethod
    def reload(self) -> None:
        """Show what the store has now."""
