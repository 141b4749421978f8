"""What waits on the hosts, in order, with why and until when."""

from __future__ import annotations

import sqlite3
import time
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from foundations_tui.store import history, queries
from foundations_tui.store.rows import JobRow
from foundations_tui.text import humanize
from foundations_tui.text.sanitize import one_line
from foundations_tui.ui.messages import JobOpened, JobSelected
from foundations_tui.ui.models.store_reader import Reader
from foundations_tui.ui.models.table import Column, TableRow, fitted
from foundations_tui.ui.panes.table_pane import TablePane
from foundations_tui.ui.widgets.virtual_table import VirtualTable
from foundations_tui.ui.widgets.whole_table import WholeTable

_COLUMNS = (
    *(Column("ID", 6), Column("NAME", 0), Column("HOST", 10), Column("GROUP", 10), Column("PRIO", 4, right=True)),
    *(Column("GPUS", 4, right=True), Column("STARTS", 11, right=True), Column(" WHY IT WAITS", 0)),
)
_FITTED, _NARROW_FITTED = {"NAME": 40, "GROUP": 24, "STARTS": 14}, {"NAME": 24, "STARTS": 14}
"""Cells at most: the reason gets what is left."""
_NARROW = (Column("ID", 6), Column("NAME", 14), Column("HOST", 8), Column("STARTS", 9), Column("WHY IT WAITS", 0))
_WIDE_FROM = 100
_MOST = 2000
_DETAILS_FROM = 10
"""Lines from which there is room for a job's reason below the table."""
_ORDER_SECONDS = 5.0
"""A move is in the store by then."""


class QueuePane(TablePane):
    """The waiting jobs, each host's in the order in which it looks at them."""

    NOTHING = "the queue is empty; ctrl+n makes a new job"
    THEN = "the queue was empty then"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("K", "put(-1)", "earlier, later", key_display="K J", id="queue.earlier"),
        Binding("J", "put(1)", "later", show=False, id="queue.later"),
    ]

    class Put(Message):
        """A job is to stand before or after another one of its host."""

        def __init__(self, job: JobRow, where: str, other: JobRow) -> None:
            super().__init__()
            self.job = job
            self.where = where
            self.other = other

    def __init__(self, reader: Reader, id: str | None = None) -> None:
        super().__init__(reader, id)
        self._jobs: list[JobRow] = []
        self._order: dict[str, int] = {}
        """Places that were given to jobs lately, by id: what was read before that is outdated."""
        self._order_until = 0.0
        self.border_title = "queue"

    def compose(self) -> ComposeResult:
        """Lay out the pane."""
        yield WholeTable(self.NOTHING, id="queue-table")
        yield Static(id="queue-details", markup=False)

    def reload(self) -> None:
        """Show what the store has now."""
        if not self.display:
            return

        moment = self.moment

        def read(conn: sqlite3.Connection) -> list[JobRow]:
            return queries.waiting(conn, _MOST) if moment is None else history.waiting(conn, moment)

        self._reader.ask(self, read, self._take)

    def _take(self, jobs: list[JobRow]) -> None:
        if time.monotonic() < self._order_until:
            jobs = sorted(jobs, key=lambda job: self._order.get(job.job, len(self._order)))
        self._jobs = jobs
        wide, now = self.size.width >= _WIDE_FROM, self.moment or time.time()
        rows = [_row(job, wide, now) for job in jobs]
        columns = fitted(_COLUMNS, rows, _FITTED) if wide else fitted(_NARROW, rows, _NARROW_FITTED)
        self._show_rows(columns, rows)
        self.border_subtitle = Content(humanize.plural(len(jobs), "job"))
        self._show_details()

    def _show_details(self) -> None:
        """Show whole, below the table, why the job under the cursor waits."""
        job = next((job for job in self._jobs if job.job == self.table.key), None)
        text = Content("")
        if job is not None and self.size.height >= _DETAILS_FROM:
            text = Content.assemble(
                (one_line(f"{job.job[:6]} {job.label}"), "bold"), "  ", one_line(job.tell(self.moment or time.time()))
            )
        self._show_below(text)

    def action_put(self, step: int) -> None:
        """Let the job under the cursor trade places with the one beside it, where that is of the same host."""
        if self.moment is not None:
            return  # that is over
        place = next((n for n, job in enumerate(self._jobs) if job.job == self.table.key), -1)
        beside = place + step
        if place < 0 or not 0 <= beside < len(self._jobs) or self._jobs[beside].host != self._jobs[place].host:
            return
        self.post_message(self.Put(self._jobs[place], "before" if step < 0 else "after", self._jobs[beside]))
        jobs = list(self._jobs)
        jobs[place], jobs[beside] = jobs[beside], jobs[place]
        self._order = {job.job: n for n, job in enumerate(jobs)}
        self._order_until = time.monotonic() + _ORDER_SECONDS
        self._take(jobs)  # at once: the next key means the new place

    def on_virtual_table_moved(self, event: VirtualTable.Moved) -> None:
        """Tell the screen which job is selected."""
        event.stop()
        self._show_details()
        self.post_message(JobSelected(event.key))

    def on_virtual_table_opened(self, event: VirtualTable.Opened) -> None:
        """Show all that is known of the job under the cursor."""
        event.stop()
        self.post_message(JobOpened(event.key))


def _row(job: JobRow, wide: bool, now: float) -> TableRow:
    starts = humanize.ahead(job.starts_at, now)
    name = job.label
    why = job.reason or job.tell(now)
    cells = [job.job[:6], name, job.host, starts, why]
    if wide:
        numbers = (str(job.priority), str(job.gpus_requested))
        cells = [job.job[:6], name, job.host, job.group, *numbers, starts, f" {why}"]
    return TableRow(job.job, cells, ["dim"], (why, job.priority))
