"""The artifacts of a job: what it saved, how large each is, and which of them are on this machine."""

from __future__ import annotations

import time

from foundations_tui.store.rows import JobRow
from foundations_tui.text import humanize
from foundations_tui.ui.models import job_artifacts
from foundations_tui.ui.models.job_artifacts import Artifact
from foundations_tui.ui.models.store_reader import Reader
from foundations_tui.ui.screens.table_window import TableWindow
from foundations_tui.ui.theme import name_of
from foundations_tui.ui.widgets.virtual_table import VirtualTable


class Artifacts(TableWindow):
    """Lists them; one that is opened is fetched where it is not here."""

    def __init__(self, reader: Reader, row: JobRow) -> None:
        nothing = "it has saved none; foundations.save_artifact(PATH) keeps a file"
        super().__init__(reader, f"artifacts of {name_of(row)}", nothing, "shows or opens it")
        self._row = row

    def reload(self) -> None:
        """Show what the store has now."""
        job = self._row.job
        self._reader.ask(self, lambda conn: job_artifacts.read(conn, job), self._take, self.fail)

    def _take(self, found: tuple[JobRow, list[Artifact]]) -> None:
        self._row, artifacts = found
        room = self.size.width
        self.show(job_artifacts.columns(room), [job_artifacts.drawn(one, room, time.time()) for one in artifacts])
        if self.is_attached and artifacts:
            size = humanize.size(sum(one.size or 0 for one in artifacts))
            count = humanize.plural(len(artifacts), "artifact")
            self.say(f"{count}, {size}")

    def on_virtual_table_opened(self, event: VirtualTable.Opened) -> None:
        """Show an artifact, or open it with what this machine has for it."""
        event.stop()
        self.workspace.run_command("open_artifact", row=self._row, artifact=event.key)
