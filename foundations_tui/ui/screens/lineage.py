"""The lineage of a job: what it comes from, and what came of it."""

from __future__ import annotations

from foundations_tui.store import lineage, queries
from foundations_tui.store.lineage import Relative
from foundations_tui.ui.models import job_lineage
from foundations_tui.ui.models.store_reader import Reader
from foundations_tui.ui.screens.table_window import TableWindow
from foundations_tui.ui.widgets.virtual_table import VirtualTable


class Lineage(TableWindow):
    """Lists a job's family; ``enter`` opens the job under the cursor."""

    def __init__(self, reader: Reader, job: str, title: str) -> None:
        super().__init__(reader, f"lineage of {title}", "", "opens the job")
        self._job = job
        self._family: list[Relative] = []

    def reload(self) -> None:
        """Show what the store has now."""
        job = self._job
        self._reader.ask(self, lambda conn: lineage.family(conn, queries.job(conn, job)), self._take, self.fail)

    def _take(self, family: list[Relative]) -> None:
        is_first = not self._family
        self._family = family
        self.show(job_lineage.columns(self.size.width), job_lineage.drawn(family, self.size.width))
        if is_first and self.is_attached:
            own = next(n for n, one in enumerate(family) if one.generation == 0)
            self.table.find(job_lineage.key_of(own, family[own]))

    def on_virtual_table_opened(self, event: VirtualTable.Opened) -> None:
        """Show all that is known of the job under the cursor, where it is one that is known."""
        event.stop()
        keys = {job_lineage.key_of(number, one): one for number, one in enumerate(self._family)}
        chosen = keys.get(event.key)
        if chosen is not None and chosen.row is not None and chosen.generation != 0:
            self.workspace.show_job(chosen.name)
