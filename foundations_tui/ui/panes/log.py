"""The selected job: a line or two of facts, and its log, live."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from foundations_tui.config import locations
from foundations_tui.store import queries
from foundations_tui.store.rows import JobRow
from foundations_tui.text import humanize
from foundations_tui.text.sanitize import clip, one_line
from foundations_tui.ui.models.log_file import LogFile
from foundations_tui.ui.models.store_reader import Reader
from foundations_tui.ui.pages import NOTHING_SELECTED
from foundations_tui.ui.theme import LOOK
from foundations_tui.ui.widgets.log_view import LogView

if TYPE_CHECKING:  # the first picture waits for neither
    from foundations_tui.ingest.log_clock import LogClock
    from foundations_tui.ui.models.job_details import JobDetails

_NAME_CELLS = 28
"""Of a name in the first line, at least, and half of the room: how the job ended has to be seen, too."""


class LogPane(Vertical):
    """Shows one job."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left_parenthesis", "attempt(-1)", "attempt before", show=False, id="log.attempt_before"),
        Binding("right_parenthesis", "attempt(1)", "attempt behind", show=False, id="log.attempt_behind"),
        Binding("m", "metrics_then", "metrics at this line", show=False, id="log.metrics_then"),
    ]

    class Pointed(Message):
        """The metrics at the moment of a line are asked for."""

        def __init__(self, job: str, time: float) -> None:
            super().__init__()
            self.job = job
            self.time = time

    def __init__(self, reader: Reader, id: str | None = None) -> None:
        super().__init__(id=id)
        self._reader = reader
        self._moment = ""
        """About when the line was written that was gone to."""
        self.moment: float | None = None
        """The job is shown as it was then, seconds since the epoch; None for now."""
        self.row: JobRow | None = None
        self.is_named = False
        """Whether the title says whose log it is: one stands beside it."""
        self._attempt: int | None = None
        """An earlier attempt that is looked at; None for the one that counts."""
        self._head = self._said = self._about = ""
        self._part = ""
        """What stands in the log's place; empty for the log."""
        self.border_title = self._title = "log"

    def compose(self) -> ComposeResult:
        """Lay out the pane."""
        yield Static(id="job-facts", markup=False)
        yield LogView(id="log-view")
        with VerticalScroll(id="about") as about:
            about.display = False
            yield Static(id="about-text", markup=False)

    @property
    def log_view(self) -> LogView:
        """The viewer."""
        return self.query_one(LogView)

    def show(self, row: JobRow | None) -> None:
        """Show a job as it is now, or none."""
        if not self.query("#job-facts"):
            self.call_after_refresh(self.show, row)  # a pane that was just mounted is made a moment later
            return
        if row is None or self.row is None or row.job != self.row.job:
            self._attempt, self._moment = None, ""
        self.row = row
        self._show_title()
        head = Content("") if row is None else _head(row, self.attempt, self.size.width, self.moment or time.time())
        if head.markup != self._head:
            self._head = head.markup
            self.query_one("#job-facts", Static).update(head, layout=False)
        if row is None:
            self.log_view.show(None, NOTHING_SELECTED)
            return
        is_there = row.attempt and (self.moment is None or row.has_begun)
        path = locations.log_file(row.job, self.attempt) if is_there else None
        self.log_view.show(path, _empty_words(row), wraps_end=row.went_wrong)
        self.log_view.dim_later(self.moment is not None)
        self.say_where()
        if self._part:
            self._ask_about(row.job, self._part)

    def _show_title(self) -> None:
        """Show which part of the job that is, and of which one where two stand side by side."""
        name = f"  {self.row.job[:6]} {self.row.label}" if self.is_named and self.row is not None else ""
        title = one_line(f"{self._part or 'log'}{name}")
        if title != self._title:
            self._title = title
            self.border_title = Content(title)

    def _ask_about(self, job: str, part: str) -> None:
        from foundations_tui.ui.models import job_details

        self._reader.ask(
            (self, "about"), lambda conn: job_details.read(conn, job), lambda known: self._take(known, part)
        )

    def _take(self, details: JobDetails, part: str) -> None:
        if self.row is not None and (details.row.job, part) == (self.row.job, self._part):
            from foundations_tui.ui.models import job_details

            text = job_details.part(details, part, self.size.width - 4)
            if text.markup != self._about:
                self._about = text.markup
                self.query_one("#about-text", Static).update(text)

    def show_next_part(self) -> None:
        """Show the job's summary, its configuration, its code, or its log again."""
        from foundations_tui.ui.models.job_details import PARTS

        parts = ("", *PARTS)
        self._part = parts[(parts.index(self._part) + 1) % len(parts)]
        had_keys = self.log_view.has_focus or self.query_one("#about").has_focus
        self.log_view.display, self.query_one("#about").display = not self._part, bool(self._part)
        if had_keys:
            (self.query_one("#about") if self._part else self.log_view).focus()
        self.show(self.row)

    @property
    def attempt(self) -> int:
        """The attempt whose log is shown."""
        return self._attempt or (self.row.attempt if self.row is not None else 0)

    def action_attempt(self, step: int) -> None:
        """Show the log of the attempt before or behind."""
        if self.row is not None and 1 <= self.attempt + step <= self.row.attempt:
            attempt = self.attempt + step
            self._attempt = attempt if attempt < self.row.attempt else None
            self.show(self.row)

    def go_to(self, time: float, ahead: float = 0.0) -> None:
        """Show what was written about a moment.

        Args:
            time: seconds since the epoch, by the clock of the job's host.
            ahead: by how many seconds that clock is ahead of this machine's.
        """

        def go(clock: LogClock) -> None:
            offset = clock.offset_at(time)
            if offset is not None:
                self._moment = f"about {humanize.clock(time - ahead, time - ahead, seconds=True)}"
                self.log_view.go_to(offset)
                self.say_where()

        self._with_clock(go)

    def action_metrics_then(self) -> None:
        """Show the metrics as they were when this line was written."""
        row, offset = self.row, self.log_view.place

        def point(clock: LogClock) -> None:
            time = None if offset is None else clock.time_at(offset)
            if row is not None and time is not None:
                self._moment = f"about {humanize.clock(time, time, seconds=True)}"
                self.say_where()
                self.post_message(self.Pointed(row.job, time))

        self._with_clock(point)

    def _with_clock(self, then: Callable[[LogClock], None]) -> None:
        from foundations_tui.ingest import log_clock

        row, attempt = self.row, self.attempt
        if row is None or not attempt:
            return
        size = LogFile(locations.log_file(row.job, attempt)).size()

        def take(clock: LogClock) -> None:
            if self.row is not None and (self.row.job, self.attempt) == (row.job, attempt):
                then(clock)

        def read(conn: sqlite3.Connection) -> LogClock:
            return log_clock.read(conn, queries.job(conn, row.job), attempt, size)  # as it is now: it may have ended

        self._reader.ask((self, "moments"), read, take)

    def on_log_view_counted(self, event: LogView.Counted) -> None:
        """Show how many lines there are; for a running job that comes with its next update."""
        event.stop()
        if self.row is None or self.row.is_final:
            self.say_where()

    def say_where(self) -> None:
        """Say what of the log is shown."""
        view = self.log_view
        count = humanize.plural(view.line_count, "line") + (" so far" if view.is_counting else "")
        parts = [f"filter: {view.filter}" if view.filter else "", count]
        parts += ["", ""] if view.following else [self._moment, "G follows"]
        subtitle = "" if self._part else one_line("  ".join(part for part in parts if part))
        if subtitle != self._said:
            self._said = subtitle
            self.border_subtitle = Content(subtitle)


def _head(row: JobRow, attempt: int, room: int, now: float) -> Content:
    """Return a job in two lines; nothing in it is markup."""
    state = Content.styled(f"{LOOK.glyph(row.shown_state)} {row.state}", LOOK.style(row.shown_state))
    parts = [
        row.job[:6],
        clip(one_line(row.name), max(_NAME_CELLS, room // 2 - 10)),
        f"on {row.host}",
        humanize.duration(row.duration(now)),
    ]
    parts.append(f"attempt {attempt} of {row.attempt}" if row.attempt > 1 else "")
    parts.append("" if row.exit_code is None else f"exit {row.exit_code}")
    parts.append(row.tell(now))
    first = Content.assemble(state, "  ", one_line("  ".join(part for part in parts if part)))
    metrics = [f"{key} {humanize.number(metric.last)}" for key, metric in row.metrics.items()]
    params = [f"{key}={humanize.number(value)}" for key, value in row.params.items()]
    last = "last " if metrics else ""  # the line above may tell the best
    second = last + "  ".join(metrics + params) or humanize.command(row.command)
    return Content.assemble(first, "\n", Content.styled(one_line(second), "dim"))


def _empty_words(row: JobRow) -> str:
    if row.kind == "run":
        return "run by hand: its output was not captured"
    if not row.has_begun:
        return row.reason or "waits for its turn"
    if row.is_final:
        return "it wrote nothing" if row.complete else "its log is not here yet"
    return "nothing written yet"
