"""The main screen: hosts, jobs, and the selected job's log."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.screen import Screen
from textual.widgets import Footer

from foundations_tui.errors import NotFoundError
from foundations_tui.store import queries
from foundations_tui.store.rows import JobRow
from foundations_tui.ui.messages import JobSelected
from foundations_tui.ui.panes.hosts import HostsPane
from foundations_tui.ui.panes.jobs import JobsPane
from foundations_tui.ui.panes.log import LogPane

_TICK = 1.0


class MainScreen(Screen[None]):
    """Everything at a glance."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (120, "-wide")]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "stop_job", "stop", id="main.stop"),
        Binding("r,f5", "reload", "refresh", id="main.refresh", show=False),
        Binding("escape", "back", "back", id="main.back"),
        Binding("question_mark,f1", "app.help", "help", id="main.help", key_display="?"),
        Binding("q", "app.quit", "quit", id="main.quit"),
    ]

    def __init__(self, conn: sqlite3.Connection, hosts: Iterable[str]) -> None:
        super().__init__()
        self._conn = conn
        self._hosts = list(hosts)
        self.selected: JobRow | None = None

    def compose(self) -> ComposeResult:
        """Lay out the panes."""
        with Horizontal(id="top"):
            yield JobsPane(self._conn, id="jobs")
            yield HostsPane(self._conn, self._hosts, id="hosts")
        yield LogPane(id="log")
        yield Footer()

    def on_mount(self) -> None:
        """Begin."""
        self.query_one(JobsPane).table.focus()
        self.reload()
        self.set_interval(_TICK, self.reload)

    def reload(self) -> None:
        """Show what the store has now."""
        if not self.is_attached:
            return
        self.query_one(JobsPane).reload()
        self.query_one(HostsPane).reload()
        self._show_selected(self.selected.job if self.selected else None)

    def on_job_selected(self, event: JobSelected) -> None:
        """Show the job under the cursor; when the one whose log is open has gone, go back to the jobs."""
        if self.has_class("log-only"):
            self.action_back()
        self._show_selected(event.job)

    def on_jobs_pane_opened(self) -> None:
        """Give the log all the room."""
        self._open_log()

    def _show_selected(self, job: str | None) -> None:
        could_stop = self._can_stop()
        try:
            self.selected = queries.job(self._conn, job) if job else None
        except NotFoundError:
            self.selected = None  # deleted meanwhile
        self.query_one(LogPane).show(self.selected)
        if self._can_stop() != could_stop:
            self.refresh_bindings()

    def _can_stop(self) -> bool:
        return self.selected is not None and not self.selected.is_final

    def _open_log(self) -> None:
        """Give the log all the room."""
        if self.selected is not None:
            self.add_class("log-only")
            self.query_one(LogPane).log_view.focus()
            self.refresh_bindings()

    def action_back(self) -> None:
        """Go back to the jobs."""
        self.remove_class("log-only")
        self.query_one(JobsPane).table.focus()
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer the way back only where there is one, and a stop only of what runs or waits."""
        if action == "stop_job":
            return self._can_stop()
        return action != "back" or self.has_class("log-only") or not self.query_one(JobsPane).table.has_focus

    def action_reload(self) -> None:
        """Draw anew."""
        self.reload()
        self.refresh(layout=True)

    def action_stop_job(self) -> None:
        """Ask whether the selected job is to be stopped."""
        if self.selected is not None:
            self.app.ask_to_stop(self.selected)  # type: ignore[attr-defined]
