"""The services of the hosts: how each is, where it is reached from here, and its replicas."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from typing import cast

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from foundations_tui.services import state
from foundations_tui.store import services
from foundations_tui.store.services import ServiceRow
from foundations_tui.text import humanize
from foundations_tui.text.sanitize import one_line
from foundations_tui.ui.messages import JobOpened, JobSelected
from foundations_tui.ui.models.store_reader import Reader
from foundations_tui.ui.models.table import Column, TableRow
from foundations_tui.ui.panes.table_pane import TablePane
from foundations_tui.ui.theme import LOOK
from foundations_tui.ui.widgets.virtual_table import VirtualTable
from foundations_tui.ui.widgets.whole_table import WholeTable
from foundations_tui.ui.workspace import Workspace
from remote_agent.protocol.services import Replica, ServiceView

_COLUMNS = (
    *(Column("SERVICE", 18), Column("HOST", 10), Column("REV", 4, right=True), Column("READY", 6, right=True)),
    *(Column("REACHED AT", 16), Column("RATE, P50/P99", 26), Column("HOW IT IS", 0)),
)
_NARROW = (Column("SERVICE", 16), Column("HOST", 8), Column("READY", 6, right=True), Column("HOW IT IS", 0))
_WIDE_FROM = 100
_MOST_REVISIONS = 5
Aliases = dict[tuple[str, str], int]
"""Versions by the names of their models and their aliases."""
_STYLES = {
    "ready": "running",
    "partly ready": "preparing",
    "warming": "preparing",
    "rolling": "preparing",
    "waiting": "queued",
    "failing": "failed",
    "not ready": "failed",
}
"""The state of a job whose color a state of a service has."""


class ServicesPane(TablePane):
    """All services; below, what there is to know of the one under the cursor."""

    NOTHING = "no host has a service; foundations serve -- COMMAND begins one"
    THEN = "there was no service then"

    def __init__(self, reader: Reader, id: str | None = None) -> None:
        super().__init__(reader, id)
        self._services: list[ServiceRow] = []
        """Those that are shown."""
        self._today: list[ServiceRow] = []
        """Those that there are now: what is done is done to them."""
        self._aliases: Aliases = {}
        self.border_title = "services"

    def compose(self) -> ComposeResult:
        """Lay out the pane."""
        yield WholeTable(self.NOTHING, id="services-table")
        yield Static(id="service-details", markup=False)

    @property
    def chosen(self) -> ServiceRow | None:
        """The service under the cursor, as it is now."""
        return next((row for row in self._today if _key(row) == self.table.key), None)

    @property
    def _shown(self) -> ServiceRow | None:
        """The service under the cursor, as it is shown."""
        return next((row for row in self._services if _key(row) == self.table.key), None)

    def reload(self) -> None:
        """Show what the store has now."""
        if self.display:
            moment = self.moment

            def read(conn: sqlite3.Connection) -> tuple[list[ServiceRow], list[ServiceRow], Aliases]:
                today = services.services(conn)
                shown = today if moment is None else services.services_then(conn, moment)
                return shown, today, _aliases(conn, shown)

            self._reader.ask(self, read, lambda found: self._take(*found))

    def _take(self, rows: list[ServiceRow], today: list[ServiceRow], aliases: Aliases) -> None:
        self._services, self._today, self._aliases = rows, today, aliases
        wide, urls = self.size.width >= _WIDE_FROM, cast(Workspace, self.app).local_urls
        shown = [_row(row, wide, self.moment, urls.get((row.name, row.host), ""), aliases) for row in rows]
        self._show_rows(_COLUMNS if wide else _NARROW, shown)
        self.border_subtitle = Content(humanize.plural(len(rows), "service"))
        self._show_details()

    def on_virtual_table_moved(self, event: VirtualTable.Moved) -> None:
        """Show what is under the cursor; its first replica is the selected job."""
        event.stop()
        self._show_details()
        row = self._shown
        if row is not None and row.view.running:
            self.post_message(JobSelected(row.view.running[0].job))

    def on_virtual_table_opened(self, event: VirtualTable.Opened) -> None:
        """Show all that is known of the first replica of the service under the cursor."""
        event.stop()
        row = self._shown
        if row is not None and row.view.running:
            self.post_message(JobOpened(row.view.running[0].job))

    def _show_details(self) -> None:
        row = self._shown
        urls = cast(Workspace, self.app).local_urls
        lines = _details(row, self.moment, urls.get((row.name, row.host), ""), self._aliases) if row else []
        self._show_below(Content("\n").join(lines))


def _aliases(conn: sqlite3.Connection, rows: Iterable[ServiceRow]) -> Aliases:
    """Return which versions aliases mean now, where a service was served by one."""
    if not any(row.view.alias for row in rows):
        return {}
    from foundations_tui.store import models  # few services run a model

    pairs = ((row, row.model.aliases) for row in models.models_of(conn))
    return {(row.name, alias): number for row, aliases in pairs for alias, number in aliases.items()}


def _key(row: ServiceRow) -> str:
    return f"{row.name}@{row.host}"


def _row(row: ServiceRow, wide: bool, moment: float | None, url: str, aliases: Aliases) -> TableRow:
    view = row.view
    if moment is None:
        words, ready = state.row_words(row, time.time()), f"{state.ready_count(view)}/{view.replicas}"
        color = "lost" if row.is_lost or row.unreachable_since else _STYLES.get(state.code(view), "stopped")
        if moved := _moved(view, aliases):
            words, color = f"{words}; {view.alias} {moved}", "lost" if color == "running" else color
    else:
        words, ready, url = state.words_then(view), "", ""
        color = "running" if view.running else "stopped"
    cells = [row.name, row.host, ready, words]
    styles = ["bold", "dim", "", LOOK.style(color)]
    if wide:
        cells = [
            row.name,
            row.host,
            str(view.revision),
            ready,
            url.removeprefix("http://"),
            state.traffic_cell(view),
            words,
        ]
        styles = ["bold", "dim", "dim", "", "", "", styles[-1]]
    return TableRow(_key(row), cells, styles, (state.code(view), view.revision, ready))


def _details(row: ServiceRow, moment: float | None, url: str, aliases: Aliases) -> list[Content]:
    view, now = row.view, moment or time.time()
    reached = f"reached at {url}" if url else "x, then c: reach it from here"
    probed = f"probed at {view.probes.ready or '/'} every {view.probes.period:g} s"
    told = state.traffic_words(view)
    restarts = sum(max(0, replica.attempt - 1) for replica in view.running)
    counts = [_model(view, aliases), told, humanize.plural(restarts, "restart") if restarts else ""]
    lines = [
        Content.assemble(Content.styled(one_line(f"{row.name} on {row.host}"), "bold"), f"  {one_line(reached)}"),
        Content(one_line(f"for {state.access_words(view, row.host)}; {probed}; owner {view.owner or 'unknown'}")),
        *([Content(one_line("; ".join(filter(None, counts))))] if any(counts) else []),
        Content(""),
        *(_replica(replica, row.host, moment) for replica in view.running),
        *([] if view.running else [Content.styled("no replica", "dim")]),
        Content(""),
    ]
    for head in list(reversed(view.revisions))[:_MOST_REVISIONS]:
        mark = ">" if head.number == view.revision else " "
        when = humanize.ago(head.at, now) if head.at else ""
        text = one_line(f"{mark} revision {head.number}  {when}  {head.by}  {state.runs(head)}")
        lines.append(Content.styled(text, "" if head.number == view.revision else "dim"))
    return lines


def _model(view: ServiceView, aliases: Aliases) -> str:
    """Return the version that a service runs, and whether the alias that it was served by means another one now."""
    if not view.model or not view.alias:
        return f"{view.model} {view.version}" if view.model else ""
    moved = _moved(view, aliases)
    return f"{view.model} {view.version} (served as {view.alias}{', which ' if moved else ''}{moved})"


def _moved(view: ServiceView, aliases: Aliases) -> str:
    """Return that an alias means another version than the one that it was served for; empty where it does not."""
    meant = aliases.get((view.model, view.alias), view.version)
    return f"is version {meant} now" if meant != view.version else ""


def _replica(replica: Replica, host: str, moment: float | None) -> Content:
    readiness = replica.readiness
    glyph = "running" if readiness.ready else "failed" if replica.failures else "preparing"
    words = state.replica_words(replica, time.time())
    if moment is not None:  # whether it answered was not recorded
        glyph, words = replica.state, replica.state
    address = state.listens_at(replica)
    place = f"on {host}: {address}" if address else ""
    text = f" {replica.job[:6]}  revision {replica.revision}  attempt {replica.attempt}  "
    text += f"GPU {', '.join(replica.gpus)}  " if replica.gpus else ""
    return Content.assemble(
        Content.styled(LOOK.glyph(glyph), LOOK.style(glyph)),
        one_line(f"{text}{words}  {place}".rstrip()),
    )
