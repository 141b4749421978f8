"""The log of the selected job, and of a marked one beside it."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal

from foundations_tui.store.rows import JobRow
from foundations_tui.ui.models.store_reader import Reader
from foundations_tui.ui.panes.log import LogPane


class LogPanes(Horizontal):
    """One log, or two side by side."""

    def __init__(self, reader: Reader, id: str | None = None) -> None:
        super().__init__(id=id)
        self._reader = reader

    def compose(self) -> ComposeResult:
        """Lay out the first one."""
        yield LogPane(self._reader)

    @property
    def first(self) -> LogPane:
        """The log of the selected job."""
        return self.query(LogPane).first()

    @property
    def focused(self) -> LogPane:
        """The log that has the keys; else the first."""
        shown = [pane for pane in self.query(LogPane) if pane.display]
        return next((pane for pane in shown if pane.log_view.has_focus), self.first)

    def show(self, row: JobRow | None, beside: JobRow | None) -> None:
        """Show a job as it is now, or none.

        Args:
            row: the selected one.
            beside: the one whose log stands beside it; None for none.
        """
        self.first.is_named = beside is not None
        if self.display:
            self.first.show(row)
        if beside is not None and len(self.query(LogPane)) == 1:
            self.mount(LogPane(self._reader))
        for pane in list(self.query(LogPane))[1:]:
            pane.display = pane.is_named = beside is not None
            if beside is not None:
                pane.show(beside)
