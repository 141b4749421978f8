"""The models of a team: their versions, what each is called, where it comes from, and who serves it."""

from __future__ import annotations

import sqlite3
import time

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from foundations_tui.services.models import words
from foundations_tui.store import models
from foundations_tui.store.models import VersionRow
from foundations_tui.text import humanize
from foundations_tui.text.sanitize import one_line
from foundations_tui.ui.messages import JobOpened, JobSelected
from foundations_tui.ui.models.store_reader import Reader
from foundations_tui.ui.models.table import Column, TableRow, fitted
from foundations_tui.ui.panes.table_pane import TablePane
from foundations_tui.ui.theme import LOOK
from foundations_tui.ui.widgets.virtual_table import VirtualTable
from foundations_tui.ui.widgets.whole_table import WholeTable

_COLUMNS = (
    *(Column("MODEL", 18), Column("VER", 4, right=True), Column("ALIASES", 16), Column("METRICS", 26)),
    *(Column("SERVED BY", 16), Column("REGISTERED", 12), Column("BY", 0)),
)
_NARROW = (Column("MODEL", 14), Column("VER", 4, right=True), Column("ALIASES", 14), Column("METRICS", 0))
_WIDE_FROM = 110
_MOST_METRICS, _MOST_PARAMETERS = 2, 8


class ModelsPane(TablePane):
    """All versions; below, what there is to know of the one under the cursor."""

    NOTHING = "no host has a model; foundations model register JOB makes one"
    THEN = "there was no model then"

    def __init__(self, reader: Reader, id: str | None = None) -> None:
        super().__init__(reader, id)
        self._versions: list[VersionRow] = []
        """Those that are shown."""
        self._today: list[VersionRow] = []
        """Those that there are now: what is done is done to them."""
        self.border_title = "models"

    def compose(self) -> ComposeResult:
        """Lay out the pane."""
        yield WholeTable(self.NOTHING, id="models-table")
        yield Static(id="model-details", markup=False)

    @property
    def chosen(self) -> VersionRow | None:
        """The version under the cursor, as it is now."""
        return next((one for one in self._today if one.key == self.table.key), None)

    def reload(self) -> None:
        """Show what the store has now."""
        if self.display:
            moment = self.moment

            def read(conn: sqlite3.Connection) -> tuple[list[VersionRow], list[VersionRow]]:
                today = models.versions(conn)
                return today if moment is None else models.versions(conn, moment), today

            self._reader.ask(self, read, lambda found: self._take(*found))

    def _take(self, versions: list[VersionRow], today: list[VersionRow]) -> None:
        self._versions, self._today = versions, today
        wide, now = self.size.width >= _WIDE_FROM, self.moment or time.time()
        rows = [_row(one, wide, now) for one in versions]
        self._show_rows(fitted(_COLUMNS, rows, {"METRICS": self.size.width // 3}) if wide else _NARROW, rows)
        count = len({(one.row.name, one.row.host) for one in versions})
        self.border_subtitle = Content(
            f"{humanize.plural(count, 'model')}, {humanize.plural(len(versions), 'version')}"
        )
        self._show_details()

    def on_virtual_table_moved(self, event: VirtualTable.Moved) -> None:
        """Show what is under the cursor; the job that made it is the selected one."""
        event.stop()
        self._show_details()
        if self.chosen is not None:
            self.post_message(JobSelected(self.chosen.version.version.job))

    def on_virtual_table_opened(self, event: VirtualTable.Opened) -> None:
        """Show all that is known of the job that made the version under the cursor."""
        event.stop()
        if self.chosen is not None:
            self.post_message(JobOpened(self.chosen.version.version.job))

    def _show_details(self) -> None:
        shown = next((one for one in self._versions if one.key == self.table.key), None)
        self._show_below(Content("\n").join(_details(shown, self.moment or time.time()) if shown else []))


def _row(one: VersionRow, wide: bool, now: float) -> TableRow:
    row, version = one.row, one.version
    aliases = "retired" if version.is_retired else ", ".join(row.aliases_of(version.number))
    metrics = words.metrics(version.version, _MOST_METRICS)
    cells = [row.name, str(version.number), aliases, metrics]
    styles = ["bold", "", LOOK.style("running") if not version.is_retired else "dim", ""]
    if wide:
        served = ", ".join(service.name for service in one.served_by)
        cells += [served, humanize.ago(version.at, now), version.by]
        styles += ["", "dim", "dim"]
    if version.is_retired:
        styles = ["dim"] * len(styles)
    return TableRow(one.key, cells, styles, (aliases, len(one.served_by)))


def _details(one: VersionRow, now: float) -> list[Content]:
    version = one.version.version
    served = ", ".join(f"{service.name} on {service.host}" for service in one.served_by)
    params = ", ".join(f"{key}={value}" for key, value in list(version.params.items())[:_MOST_PARAMETERS])
    lines = {
        "": f"registered {humanize.ago(one.version.at, now)} by {one.version.by or 'somebody'},"
        f" versions listed on {one.row.host}",
        "job": f"{version.job[:6]} of {version.project}" + (f", {params}" if params else ""),
        "metrics": words.metrics(version, 6),
        "answers": words.answers(version),
        "inputs": words.tensors(version, "inputs"),
        "outputs": words.tensors(version, "outputs"),
        "files": f"{version.path}, {humanize.size(version.bytes)}" if version.data else "",
        "served by": served,
        "note": version.note,
    }
    title = Content.styled(one_line(f"{one.row.name} {one.version.number}"), "bold")
    first = Content.assemble(title, f"  {one_line(lines.pop(''))}")
    rest = [
        Content.assemble(Content.styled(f"{name:<10}", "dim"), one_line(words))
        for name, words in lines.items()
        if words
    ]
    return [first, *rest]
