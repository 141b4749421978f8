"""The jobs: a virtual table over windows of the store."""

from __future__ import annotations

import sqlite3
import time

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message

from foundations_tui import words
from foundations_tui.store import queries
from foundations_tui.store.rows import JobRow
from foundations_tui.ui.messages import JobSelected
from foundations_tui.ui.widgets.virtual_table import Column, TableRow, VirtualTable

GLYPHS = {
    "submitting": "◌",
    "queued": "◌",
    "preparing": "◍",
    "running": "●",
    "completed": "✓",
    "failed": "✗",
    "stopped": "⊘",
    "lost": "?",
}
STYLES = {
    "submitting": "#999999",
    "queued": "#999999",
    "preparing": "#56B4E9",
    "running": "#56B4E9",
    "completed": "#009E73",
    "failed": "#D55E00",
    "stopped": "#CC79A7",
    "lost": "#E69F00",
}
"""The palette of Okabe and Ito: told apart with any colour vision."""

_STATE, _ID, _NAME = Column("STATE", 12), Column("ID", 8), Column("NAME", 0)
_NARROW = (_STATE, _ID, _NAME, Column("HOST", 10), Column("TOOK", 11, right=True), Column("EXIT", 4, right=True))
_WIDE = (
    _STATE,
    _ID,
    _NAME,
    Column("PROJECT", 10),
    Column("HOST", 10),
    Column("STARTED", 10, right=True),
    Column("TOOK", 11, right=True),
    Column("EXIT", 4, right=True),
    Column("", 0),
)
WIDE_FROM = 100
"""Cells from which the table shows all columns."""


class JobsPane(Vertical):
    """All jobs, newest first."""

    class Opened(Message):
        """The user wants to see a job's log."""

    def __init__(self, conn: sqlite3.Connection, id: str | None = None) -> None:
        super().__init__(id=id)
        self._rows = _JobRows(conn)
        self.border_title = "jobs"

    def compose(self) -> ComposeResult:
        """Lay out the pane."""
        empty = "no jobs yet: foundations submit -- python train.py"
        yield VirtualTable(self._rows, _NARROW, empty, id="jobs-table")

    @property
    def table(self) -> VirtualTable:
        """The table."""
        return self.query_one(VirtualTable)

    def reload(self) -> None:
        """Show what the store has now."""
        self.table.reload()
        self.border_subtitle = words.plural(self._rows.count(), "job")

    def on_resize(self) -> None:
        """Show as many columns as fit."""
        self._rows.wide = self.size.width >= WIDE_FROM
        self.table.set_columns(_WIDE if self._rows.wide else _NARROW)

    def on_virtual_table_moved(self, event: VirtualTable.Moved) -> None:
        """Tell the screen which job is selected."""
        self.post_message(JobSelected(event.key))

    def on_virtual_table_opened(self) -> None:
        """Tell the screen that a job is to be opened."""
        self.post_message(self.Opened())


class _JobRows:
    """Windows of jobs."""

    def __init__(self, conn: sqlite3.Connection) -> None:
        self._conn = conn
        self.wide = False

    def count(self) -> int:
        return queries.count_jobs(self._conn)

    def window(self, start: int, count: int) -> list[TableRow]:
        now = time.time()
        rows = queries.jobs(self._conn, limit=count, offset=start, details=self.wide)
        short = queries.short_ids(self._conn, [row.job for row in rows])
        return [self._table_row(row, short[row.job], now) for row in rows]

    def position(self, key: str) -> int | None:
        return queries.position(self._conn, key)

    def _table_row(self, row: JobRow, short: str, now: float) -> TableRow:
        unsure = "?" if row.unreachable_since is not None and not row.is_final else ""
        state = f"{GLYPHS[row.state]} {row.state}{unsure}"
        name = row.name or words.command(row.command)
        took = words.duration(row.duration(now))
        code = "" if row.exit_code is None else str(row.exit_code)
        started = words.ago(row.started_at, now) if row.started_at else ""
        cells = [state, short, name, row.host, took, code]
        if self.wide:
            cells = [state, short, name, row.project, row.host, started, took, code, row.facts]
        return TableRow(row.job, cells, [STYLES[row.state], "dim"])
