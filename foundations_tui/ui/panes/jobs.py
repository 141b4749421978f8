"""The jobs: a virtual table over windows of the store."""

from __future__ import annotations

import dataclasses
import time
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message

from foundations_tui.errors import FoundationsError
from foundations_tui.text import humanize
from foundations_tui.text.sanitize import one_line
from foundations_tui.ui.messages import JobOpened, JobsChosen, JobSelected
from foundations_tui.ui.models import jobs_table as views
from foundations_tui.ui.models.jobs_table import JobsView, JobsWindow, WindowRequest
from foundations_tui.ui.models.store_reader import Reader
from foundations_tui.ui.models.table import Column
from foundations_tui.ui.widgets.virtual_table import VirtualTable

_MOST_MARKED = 10_000
_EARLY_SECONDS = 0.3
_NO_JOBS = """no jobs yet

ctrl+n   a new job, here
ctrl+t   add a host
?        all keys

or in a shell:  foundations submit -- python train.py
to see it work: foundations demo"""


class JobsPane(Vertical):
    """The jobs of a view, the newest first unless it says otherwise."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("v", "range", "mark range", show=False, id="jobs.range"),
        Binding("a", "mark_all", "mark all", show=False, id="jobs.mark_all"),
        Binding("A", "unmark", "clear marks", show=False, id="jobs.unmark"),
        Binding("S", "reverse", "reverse", show=False, id="jobs.reverse"),
        Binding("less_than_sign", "sort_column(-1)", "sort by the previous column", show=False, id="jobs.sort_left"),
        Binding("greater_than_sign", "sort_column(1)", "sort by the next column", show=False, id="jobs.sort_right"),
    ]

    class ViewChanged(Message):
        """The table shows a view, or cannot: then with the error."""

        def __init__(self, view: JobsView, error: FoundationsError | None = None) -> None:
            super().__init__()
            self.view = view
            self.error = error

    def __init__(self, reader: Reader, id: str | None = None) -> None:
        super().__init__(id=id)
        self._reader = reader
        self.moment: float | None = None
        """Jobs are shown as they were then, seconds since the epoch; None for now."""
        self.view = JobsView()
        self.fallback = JobsView()
        """What is shown again when the view turns out to be wrong."""
        self.error: FoundationsError | None = None
        """What is wrong with the view; the rows are those of the last one that could be read."""
        self._asked_early: tuple[JobsView, int] | None = None
        """The view and the cells whose first rows were asked for already: what more there is comes a moment later."""
        self._folded: frozenset[str] = frozenset()
        self._range_from: str | None = None
        self._columns: tuple[Column, ...] = ()
        self._grouped = ""
        """How many jobs and groups there are, where they are grouped."""
        self._said = ("", "")
        self.border_title = "jobs"

    def compose(self) -> ComposeResult:
        """Lay out the pane."""
        yield VirtualTable(self._ask, (), _NO_JOBS, id="jobs-table")

    @property
    def table(self) -> VirtualTable:
        """The table."""
        return self.query_one(VirtualTable)

    @property
    def chosen(self) -> list[str]:
        """The marked jobs, or the one under the cursor."""
        return self.marked or ([self.pointed_at] if self.pointed_at is not None else [])

    @property
    def marked(self) -> list[str]:
        """The marked jobs."""
        return [key for key in self.table.marked if not views.is_group(key)]

    @property
    def pointed_at(self) -> str | None:
        """The job under the cursor."""
        key = self.table.key
        return None if key is None or views.is_group(key) else key

    def reload(self) -> None:
        """Show what the store has now."""
        self.table.reload()

    def show(self, view: JobsView) -> None:
        """Show another view."""
        self.view, self.error = view, None  # what was wrong with the last one says nothing of this one
        self.table.empty = "no jobs like that; esc clears the filter" if view.query else _NO_JOBS
        self.table.start_over()

    def ask_before_layout(self, room: int, lines: int) -> None:
        """Ask for the first rows before it is known how large the table is: they come with the first picture.

        Args:
            room: cells that the pane will have, as far as one can tell; other ones are asked for again.
            lines: likewise.
        """
        self._read(WindowRequest(0, lines, None, True, room))
        self._asked_early = self.view, room

    def on_mount(self) -> None:
        """Ask for all rows around the screen once the first ones are drawn."""
        if self._asked_early is not None:
            self.set_timer(_EARLY_SECONDS, self._ask_for_the_rest)

    def _ask_for_the_rest(self) -> None:
        self._asked_early = None
        self.table.reload()

    def _ask(self, start: int, count: int, key: str | None, follow: bool) -> None:
        if (start, key, self._asked_early) != (0, None, (self.view, self.size.width)):
            self._read(WindowRequest(start, count, key, follow, self.size.width, self.moment, self._folded))

    def _read(self, request: WindowRequest) -> None:
        view = self.view

        def take(window: JobsWindow) -> None:
            if view == self.view:
                self._take(window)

        def failed(error: FoundationsError) -> None:
            if view == self.view:
                self.error = error
                self.post_message(self.ViewChanged(view, error))

        self._reader.ask((self, "rows"), lambda conn: views.read(conn, view, request, time.time()), take, failed)

    def fall_back(self) -> None:
        """Show the view again that was right; the usual one, where that has become wrong itself."""
        if self.view == self.fallback:
            self.fallback = JobsView()
        if self.view != self.fallback:
            self.show(self.fallback)

    def _take(self, window: JobsWindow) -> None:
        if not self.query(VirtualTable):
            self._asked_early = None
            return  # it was asked for before the table was made: that asks again
        self.error = None
        if self._columns != tuple(window.columns):
            self._columns = tuple(window.columns)
            self.table.set_columns(window.columns)
        self.table.take(window)
        self._grouped = window.words
        self._say_counts()
        self.post_message(self.ViewChanged(self.view))

    def _say_counts(self) -> None:
        marked = f"{len(self.table.marked)} marked  " if self.table.marked else ""
        count = self._grouped or humanize.plural(self.table.count, "job")
        title = f"jobs  {self.view.words}" if self.view.words else "jobs"
        titles = one_line(title), one_line(f"{marked}{count}")
        if titles != self._said:
            self._said = titles
            self.border_title, self.border_subtitle = map(Content, titles)

    def on_resize(self) -> None:
        """Show as many columns as fit."""
        self.table.reload()

    def on_virtual_table_moved(self, event: VirtualTable.Moved) -> None:
        """Tell the screen which job is selected."""
        event.stop()
        key = event.key
        self.post_message(JobSelected(None if key is None or views.is_group(key) else key))

    def on_virtual_table_opened(self, event: VirtualTable.Opened) -> None:
        """Fold a group; of a job, tell the screen that it is to be opened."""
        event.stop()
        if views.is_group(event.key):
            self._folded ^= {event.key}
            self.table.start_over()
        else:
            self.post_message(JobOpened(event.key))

    def on_virtual_table_marked(self, event: VirtualTable.Marked) -> None:
        """Tell the screen that other jobs are meant."""
        event.stop()
        self._say_counts()
        self.post_message(JobsChosen())

    def on_virtual_table_title_clicked(self, event: VirtualTable.TitleClicked) -> None:
        """Sort by the column, or the other way round."""
        event.stop()
        self.sort_by(event.column.sort)

    def sort_by(self, expression: str) -> None:
        """Sort by an expression; by the one that it is sorted by already: the other way round."""
        if expression == self.view.sort.rpartition(":")[0] or expression == self.view.sort:
            self.action_reverse()
        else:
            self.show(dataclasses.replace(self.view, sort=expression))

    # --- keys ---------------------------------------------------------------------------------------------------

    def action_reverse(self) -> None:
        """Sort the other way round."""
        sort = self.view.sort
        if sort.endswith(":asc"):
            sort = sort.removesuffix(":asc") + ":desc"
        elif sort.endswith(":desc"):
            sort = sort.removesuffix(":desc") + ":asc"
        else:
            sort += ":asc" if sort == "created" else ":desc"
        self.show(dataclasses.replace(self.view, sort=sort))

    def action_sort_column(self, step: int) -> None:
        """Sort by the next column that can be sorted."""
        sorts = [column.sort for column in self._columns if column.sort]
        if not sorts:
            return
        now = self.view.sort.removesuffix(":asc").removesuffix(":desc")
        place = sorts.index(now) + step if now in sorts else (0 if step > 0 else -1)
        self.show(dataclasses.replace(self.view, sort=sorts[place % len(sorts)]))

    def action_range(self) -> None:
        """Begin a range of marks at the cursor; a second time, end it there."""
        key = self.table.key
        if key is None or views.is_group(key):
            return
        if self._range_from is None:
            self._range_from = key
            self.table.mark([key])
            return
        ends, self._range_from = {self._range_from, key}, None
        view = self.view
        self._reader.ask((self, "range"), lambda conn: views.between(conn, view, ends), self.table.mark)

    def action_mark_all(self) -> None:
        """Mark all jobs of the view."""
        view = self.view
        self._reader.ask((self, "range"), lambda conn: views.ids(conn, view, _MOST_MARKED), self.table.mark)

    def action_unmark(self) -> None:
        """Take all marks away."""
        self._range_from = None
        self.table.mark(list(self.table.marked), False)
