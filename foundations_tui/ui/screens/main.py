"""The main screen: its pages are panes over one store, shown one or several at a time."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, cast

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal
from textual.screen import Screen
from textual.widget import Widget

from foundations_tui.store import queries
from foundations_tui.store.rows import JobRow
from foundations_tui.text import humanize, moments
from foundations_tui.ui.commands import KEYS, NEEDS_A_ROW, ON_PAGES
from foundations_tui.ui.input.held_key import HeldKey
from foundations_tui.ui.messages import JobOpened, JobSelected
from foundations_tui.ui.models import jobs_table
from foundations_tui.ui.models.jobs_table import JobsView
from foundations_tui.ui.models.store_reader import Reader
from foundations_tui.ui.pages import KEYS as PAGE_KEYS
from foundations_tui.ui.panes import layout
from foundations_tui.ui.panes.jobs import JobsPane
from foundations_tui.ui.panes.late import LatePanes
from foundations_tui.ui.panes.layout import PageLayout
from foundations_tui.ui.panes.log import LogPane
from foundations_tui.ui.panes.logs import LogPanes
from foundations_tui.ui.panes.table_pane import TablePane
from foundations_tui.ui.screens.live import LiveScreen
from foundations_tui.ui.widgets.head_line import HeadLine
from foundations_tui.ui.widgets.key_line import KeyLine
from foundations_tui.ui.widgets.log_view import LogView
from foundations_tui.ui.widgets.prompt import Prompt
from foundations_tui.ui.widgets.scrubber import Scrubber
from foundations_tui.ui.widgets.tour import Tour

if TYPE_CHECKING:
    from foundations_tui.store.models import VersionRow
    from foundations_tui.store.services import ServiceRow
    from foundations_tui.ui.models.hosts_table import Place
    from foundations_tui.ui.models.race import Sweep
    from foundations_tui.ui.panes.hosts import HostsPane
    from foundations_tui.ui.panes.metrics import MetricsPane
    from foundations_tui.ui.panes.queue import QueuePane
    from foundations_tui.ui.workspace import Workspace
    from remote_agent.protocol.resources import HostGpu

_OVERVIEW_FROM = (120, 30)
"""Columns and lines from which the overview is offered."""
_SMALLEST = (40, 8)
_TICK = 1.0


class MainScreen(LiveScreen, Screen[None]):
    """Everything at a glance."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(key, f"page('{page}')", page, show=False, id=f"main.{page}") for page, key in PAGE_KEYS.items()),
        Binding("enter", "open", "open", key_display="enter", show=False, id="main.open"),
        *KEYS,
        Binding("p", "part", "part", tooltip="log, summary, configuration, code", id="main.part"),
        Binding("left_curly_bracket", "beside(-1)", "{ } job", key_display="{", show=False, id="main.job_before"),
        Binding("right_curly_bracket", "beside(1)", "next job", key_display="}", show=False, id="main.next_job"),
        Binding("z", "zoom", "zoom", id="main.zoom"),
        Binding("ctrl+o", "jump", "jump", show=False, tooltip="a letter for each pane", id="main.jump"),
        Binding("comma", "rewind(-1)", "back in time", key_display=",", show=False, id="main.earlier"),
        Binding("full_stop", "rewind(1)", "on in time", key_display=".", show=False, id="main.later"),
        Binding("r,f5", "reload", "refresh", id="main.refresh"),
        Binding("escape", "back", "back", show=False, id="main.back"),
        Binding("question_mark,f1", "app.help", "help", id="main.help", key_display="?"),
        Binding("q", "app.quit", "quit", id="main.quit"),
    ]

    def __init__(self, reader: Reader, hosts: Iterable[str], page: str = "", tour: bool = False) -> None:
        """Make it.

        Args:
            reader: of the store.
            hosts: names of those to show.
            page: the one to begin with; one that fits when it is not given.
            tour: say what to press first.
        """
        super().__init__()
        self._has_tour = tour
        self._reader = reader
        self._late = LatePanes(reader)
        self._pages = PageLayout(self, self._make_pane)
        self.hosts = list(hosts)
        self._wanted_page = page
        self.page = ""
        self.pins: tuple[str, ...] = ()
        """Metrics that come first."""
        self.moment: float | None = None
        """What was then is shown, seconds since the epoch; None for now."""
        self._first_moment = 0.0
        """The earliest of which something is known."""
        self._pointed = ("", 0.0, "")
        """Of which job log and charts show which moment, on which page."""
        self._held = HeldKey()
        self.selected: JobRow | None = None
        self._selected_id: str | None = None
        self._brought: str | None = None
        """The job of another page, or window, that metrics and log are about."""

    @property
    def workspace(self) -> Workspace:
        """The app, which carries out what is asked for."""
        return cast("Workspace", self.app)

    def compose(self) -> ComposeResult:
        """Lay out the panes."""
        yield HeadLine(self._reader, id="head")
        with Container(id="body"):
            with Horizontal(id="top"):
                jobs = JobsPane(self._reader, id="jobs")
                room = layout.room_of_jobs(self._first_page, self.app.size.width)
                jobs.ask_before_layout(room, self.app.size.height)
                yield jobs
            with Horizontal(id="bottom"):
                yield LogPanes(self._reader, id="log")
        yield Scrubber(id="scrubber")
        if self._has_tour:
            yield Tour(id="tour")
        yield Prompt(id="prompt")
        yield KeyLine()

    def on_mount(self) -> None:
        """Begin."""
        self.action_page(self._first_page)
        self.set_interval(_TICK, self.workspace.look)

    def go_on_with(self, view: JobsView) -> None:
        """Show the view that was left, and begin with a job that runs, where one is near the top."""
        self.call_after_refresh(self._go_on_with, view)

    def _go_on_with(self, view: JobsView) -> None:
        if view != self.jobs.view:
            self.jobs.show(view)
        self._reader.ask("running", lambda conn: jobs_table.first_running(conn, view), self._point_at)

    def _point_at(self, job: str | None) -> None:
        if job is not None and self.jobs.table.cursor == 0:
            self.jobs.table.find(job)

    @property
    def _first_page(self) -> str:
        usual = "overview" if self._has_room else "jobs"
        return usual if self._wanted_page in ("", "overview") else self._wanted_page

    @property
    def _has_room(self) -> bool:
        return self.app.size.width >= _OVERVIEW_FROM[0] and self.app.size.height >= _OVERVIEW_FROM[1]

    @property
    def jobs(self) -> JobsPane:
        """The jobs."""
        return self.query_one(JobsPane)

    @property
    def log_pane(self) -> LogPane:
        """The log with the keys, where two stand side by side; else the first."""
        return self.logs.focused

    @property
    def logs(self) -> LogPanes:
        """The logs."""
        return self.query_one(LogPanes)

    @property
    def prompt(self) -> Prompt:
        """The line at the bottom."""
        return self.query_one(Prompt)

    @property
    def chosen(self) -> list[str]:
        """The marked jobs, or the one under the cursor."""
        if self._brought is not None and self.page in ("metrics", "log"):
            return [self._brought]
        if self.page == "queue":
            key = self._late.queue.table.key if self._late.queue is not None else None
            return [key] if key else []
        if self.page == "hosts":
            return self.gpu.jobs[:1] if self.gpu is not None else []
        if self.page == "race":
            return self._late.race.lane if self._late.race is not None else []
        if self.page == "models":
            return [self.version.version.version.job] if self.version else []
        if self.page == "services":
            return [replica.job for replica in self.service.view.running] if self.service else []
        return self.jobs.chosen

    @property
    def place(self) -> Place | None:
        """The host, or the GPU, under the cursor of the page of hosts."""
        return self._late.hosts.place if self._late.hosts is not None and self.page == "hosts" else None

    @property
    def gpu(self) -> HostGpu | None:
        """The GPU under the cursor of the page of hosts."""
        return self._late.hosts.gpu if self._late.hosts is not None and self.page == "hosts" else None

    @property
    def sweep(self) -> Sweep | None:
        """The sweep whose race is shown."""
        return self._late.race.sweep if self._late.race is not None else None

    @property
    def service(self) -> ServiceRow | None:
        """The service under the cursor."""
        return self._late.services.chosen if self._late.services is not None else None

    @property
    def version(self) -> VersionRow | None:
        """The version of a model under the cursor."""
        return self._late.models.chosen if self._late.models is not None else None

    @property
    def compared(self) -> list[str]:
        """The jobs whose differences mean most now: those of the comparison, or the chosen ones."""
        if self.page == "compare" and self._late.compare is not None:
            return self._late.compare.jobs
        return self.chosen[1::-1]

    # --- pages --------------------------------------------------------------------------------------------------

    def action_page(self, page: str) -> None:
        """Show a page."""
        if page == "overview" and not self._has_room:
            self.workspace.say(f"the overview needs {_OVERVIEW_FROM[0]} columns and {_OVERVIEW_FROM[1]} lines")
            return
        if page != self.page:
            self._take_along(page)
            self.set_class(page == "overview", "-overview")
            self.page = page
        if page not in ("overview", "jobs"):
            self.jobs.table.pin()
        has_places = self._pages.show(page)
        is_of_table = page in ("overview", "jobs", "metrics") and self._brought is None
        if is_of_table and self.jobs.pointed_at not in (None, self._selected_id):
            self._selected_id = self.jobs.pointed_at  # every pane of a page shows the job that its table points at
            self._show_selected()
        self.set_focus(self._pages.target(page))  # at once: the next key may be there already
        if has_places:  # what stands beside the first pane is made once the first rows are drawn
            self._reader.ask("places", lambda conn: None, self._fill_places_soon, self._fill_places_soon)
        self.call_after_refresh(self._begin_page, page)
        self.saw(page)
        self.refresh_bindings()

    def _take_along(self, page: str) -> None:
        """Let metrics and log be about the job that was chosen on a page of its own, until the jobs are shown again."""
        if page not in ("metrics", "log"):
            self._brought = None
        elif self.page in ("race", "queue", "hosts") and self.chosen:
            self._brought = self._selected_id = self.chosen[0]

    def show_log_of(self, job: str) -> None:
        """Show the log of a job, wherever it stands in the table."""
        self.action_page("log")
        self._brought = self._selected_id = job
        self.reload()

    def saw(self, what: str) -> None:
        """Let the tour go on once the user has come where it leads: a page, or a job."""
        for tour in self.query(Tour):
            tour.saw(what)

    def _begin_page(self, page: str) -> None:
        """Give the page the keys and its jobs, once its panes are there."""
        if page != self.page:
            return
        self.set_focus(self._pages.target(page))
        if page == "compare" and self._late.compare is not None:
            self._late.compare.show(self.jobs.chosen)
        if page == "race" and self._late.race is not None:
            self._late.race.show(self.selected.group if self.selected is not None else "")
        self.reload()

    def _make_pane(self, pane: str) -> Widget:
        return self._late.make(pane, self.hosts, self.pins, lambda: self.workspace.actor)

    def _fill_places_soon(self, _: object) -> None:
        self.call_after_refresh(self._fill_places)

    def _fill_places(self) -> None:
        if not self.is_attached:
            return
        self._pages.fill(self.page)
        self.call_after_refresh(self.reload)

    @property
    def metrics(self) -> MetricsPane | None:
        """The charts, while they are shown."""
        return self._late.metrics if self._late.metrics is not None and self._late.metrics.display else None

    def show_hosts(self, names: Iterable[str]) -> None:
        """Show these hosts from now on."""
        self.hosts = list(names)
        if self._late.hosts is not None:
            self._late.hosts.names = self.hosts
        self.reload()

    def reload(self) -> None:
        """Show what the store has now."""
        if not self.is_attached or not self.page:
            return
        for timed in (self.jobs, *self.query(LogPane)):
            timed.moment = self.moment
        self._late.show_moment(self.moment)
        if layout.has(self.page, "jobs") or self.page in ("metrics", "log", "compare"):
            self.jobs.reload()
        for pane in self._late.of_the_store():
            pane.reload()
        self._show_selected()
        self._show_metrics()
        self.query_one(HeadLine).reload(self.page, self._has_room, self.hosts, self.moment_words)

    def on_job_selected(self, event: JobSelected) -> None:
        """Show the job under the cursor; when the one whose log is open has gone, go back to the jobs."""
        if self.page == "log" and event.job != self._selected_id and self._selected_id is not None:
            self.action_page("jobs")
        self._selected_id, self._brought = event.job, None
        self._show_selected()
        self._show_metrics()

    def on_metrics_pane_moved(self, event: MetricsPane.Moved) -> None:
        """Let the log follow the cursor of the charts, or open it there."""
        pane = self.logs.first
        if event.opens and self.selected is not None and self.selected.job in event.moments:
            self.action_page("log")
            pane.show(self.selected)
        if self.logs.display and pane.row is not None and pane.row.job in event.moments:
            pane.go_to(event.moments[pane.row.job])

    def on_metrics_pane_pinned(self, event: MetricsPane.Pinned) -> None:
        """Keep which metrics come first."""
        self.pins = event.pins

    def on_log_pane_pointed(self, event: LogPane.Pointed) -> None:
        """Let the charts' cursor follow the log."""
        if self.metrics is None:
            self.action_page("metrics")
        if self.metrics is not None:
            self.metrics.point_at(event.job, event.time)

    def on_queue_pane_put(self, event: QueuePane.Put) -> None:
        """Give a waiting job another place."""
        self.workspace.run_command("put_in_queue", row=event.job, where=event.where, other=event.other)

    def on_hosts_pane_chosen(self, event: HostsPane.Chosen) -> None:
        """Show the jobs of a host."""
        self.jobs.show(JobsView(query=f'host="{event.host}"'))
        self.action_page("jobs")

    def on_jobs_chosen(self) -> None:
        """Draw the metrics of the marked jobs."""
        self._show_metrics()

    def _show_metrics(self) -> None:
        if self.metrics is not None:
            self.metrics.show([self._brought] if self._brought else self.jobs.chosen, self.jobs.view)

    def _show_selected(self) -> None:
        job, beside = self._selected_id, self._beside

        moment = self.moment

        def read(conn: sqlite3.Connection) -> tuple[JobRow | None, JobRow | None, float | None]:
            found = queries.jobs_by_id(conn, [name for name in (job, beside) if name])
            if moment is None:
                rows = {row.job: row for row in found}
                return rows.get(job or ""), rows.get(beside or ""), None
            from foundations_tui.store import history  # few look back

            rows = {row.job: row for row in history.jobs(conn, found, moment)}
            chosen = rows.get(job or "")
            ahead = history.offsets(conn).get(chosen.host, 0.0) if chosen is not None else None
            return chosen, rows.get(beside or ""), ahead

        self._reader.ask("selected", read, lambda rows: self._take_selected(*rows))

    @property
    def _beside(self) -> str | None:
        """The job whose log stands beside that of the selected one: the first other one that is marked."""
        others = [job for job in self.jobs.marked if job != self._selected_id]
        return others[0] if self.page == "log" and others else None

    def _take_selected(self, row: JobRow | None, beside: JobRow | None, ahead: float | None) -> None:
        """Show the selected job.

        Args:
            row: it.
            beside: the one whose log stands beside it.
            ahead: by how much the clock of its host is ahead, where an earlier moment is shown.
        """
        if row is None or row.job == self._selected_id:
            self.selected = row
            self.logs.show(row, beside if self.page == "log" else None)
            if self.moment is not None and ahead is not None and row is not None and row.has_begun:
                self._point_at_moment(row, self.moment, ahead)

    def _point_at_moment(self, row: JobRow, moment: float, ahead: float) -> None:
        """Have log and charts show a moment, once for each."""
        pointed = (row.job, moment, self.page)
        if pointed == self._pointed:
            return
        self._pointed = pointed
        if self.logs.display:
            self.logs.first.go_to(moment + ahead, ahead)
        if self.metrics is not None:
            self.metrics.point_at(row.job, moment + ahead)

    def on_job_opened(self, event: JobOpened) -> None:
        """Show all that is known of a job."""
        self.workspace.show_job(event.job)

    def on_jobs_pane_view_changed(self, event: JobsPane.ViewChanged) -> None:
        """Say what is wrong with a filter, where it is typed."""
        if event.view != self.jobs.view:
            return
        if event.error is not None:
            if self.prompt.is_of_view:
                self.prompt.say(str(event.error).splitlines()[0], is_error=True)
            else:
                self.workspace.say(str(event.error), failed=True)
                self.jobs.fall_back()
        elif self.prompt.is_of_view:
            self.prompt.say(humanize.plural(self.jobs.table.count, "job"))

    def on_log_view_said(self, event: LogView.Said) -> None:
        """Say how a search ended."""
        self.workspace.say(event.words)

    def on_head_line_page_clicked(self, event: HeadLine.PageClicked) -> None:
        """Go to the page whose name is clicked."""
        self.action_page(event.page)

    def on_resize(self, event: events.Resize) -> None:
        """Leave the overview where there is no room for it."""
        if self.page == "overview" and not self._has_room:
            self.action_page("jobs")
        too_small = event.size.width < _SMALLEST[0] or event.size.height < _SMALLEST[1]
        self.set_class(too_small, "-too-small")
        self.query_one(HeadLine).reload(self.page, self._has_room, self.hosts, self.moment_words)

    # --- the time machine ---------------------------------------------------------------------------------------

    def action_rewind(self, steps: int) -> None:
        """Go back in time, or on; a key that is held goes faster."""
        streak = self._held.streak(steps)
        if self.moment is None and steps > 0:
            return
        self.show_moment(moments.stepped(self.moment, steps, streak, self._first_moment, time.time()))

    def _take_begin(self, first: float) -> None:
        self._first_moment = first
        if self.moment is not None:
            self.show_moment(max(first, self.moment))

    def show_moment(self, moment: float | None) -> None:
        """Show what was at a moment on every page.

        Args:
            moment: seconds since the epoch; None for now.
        """
        if moment is not None and self.moment is None:
            from foundations_tui.store import history

            self._reader.ask("begin", lambda conn: history.begin(conn, time.time()), self._take_begin)
        was_now = self.moment is None
        self.moment = moment
        self.query_one(Scrubber).show(moment, self._first_moment or (moment or 0.0))
        if moment is None and not was_now:
            self.logs.first.log_view.action_follow()
        self.reload()

    @property
    def moment_words(self) -> str:
        """Return which moment is shown; empty for now."""
        return "" if self.moment is None else moments.words(self.moment, time.time())

    def on_scrubber_pointed(self, event: Scrubber.Pointed) -> None:
        """Show the moment that was clicked."""
        self.show_moment(event.moment)

    def on_scrubber_stepped(self, event: Scrubber.Stepped) -> None:
        """Go back in time, or on."""
        self.action_rewind(event.steps)

    # --- keys ---------------------------------------------------------------------------------------------------

    def action_back(self) -> None:
        """Close what is open, then clear the filter, then the marks, then go back to the jobs: one at a time."""
        log = self.log_pane.log_view
        home = "overview" if self._has_room and self.page == "overview" else "jobs"
        if self.maximized is not None:
            self.minimize()
        elif self.moment is not None:
            self.show_moment(None)
        elif log.has_focus and log.filter:
            log.set_filter("")
        elif self.page not in ("jobs", "overview"):
            self.action_page(home)
        elif not self.jobs.table.has_focus:
            self.jobs.table.focus()
        elif self.jobs.view.query or self.jobs.view.group_by:
            self.workspace.run_command("clear_filter")
        elif self.jobs.table.marked:
            self.jobs.action_unmark()

    def action_open(self) -> None:
        """Show all that is known of the job under the cursor."""
        if self.chosen:
            is_own = self.page in ("queue", "race", "models", "services")
            self.workspace.show_job(self.chosen[0] if is_own else (self._selected_id or self.chosen[0]))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Return whether a key does something on this page."""
        name = str(parameters[0]) if action == "command" and parameters else action
        is_here = action != "command" or self.page in ON_PAGES.get(name, (self.page,))
        return is_here and not (name in NEEDS_A_ROW and self._is_empty)

    @property
    def _is_empty(self) -> bool:
        """Whether there is nothing on this page that a key could be about."""
        pane = getattr(self._late, self.page, None)
        table = pane.table if isinstance(pane, TablePane) else self.jobs.table
        return table.has_no_rows and not self.chosen

    def action_beside(self, step: int) -> None:
        """Go to the next job of the table, or the one before, on whatever page it is shown."""
        self._selected_id = None  # another one is meant: the page stays
        self.jobs.table.action_move(step)

    def action_jump(self) -> None:
        """Show a letter on each pane; the letter gives it the keys."""
        targets = [widget for widget in self.focus_chain if isinstance(widget, Widget) and widget.region.area]

        def go(widget: Widget | None) -> None:
            if widget is not None:
                self.set_focus(widget)

        from foundations_tui.ui.screens.jump import Jump

        self.app.push_screen(Jump(targets), go)

    def action_zoom(self) -> None:
        """Give the pane with the keys all the room, or take it back."""
        if self.maximized is not None:
            self.minimize()
        elif self.focused is not None:
            self.maximize(self.focused)

    def action_reload(self) -> None:
        """Refresh; what was not answered when a host was connected to is asked again."""
        self.workspace.ask_again()
        self.reload()
        self.refresh(layout=True)

    def action_command(self, name: str) -> None:
        """Run a command of the app, by its name."""
        self.workspace.run_command(name)

    def action_act(self) -> None:
        """Offer what can be done with the chosen jobs; on pages of other things, with one of those."""
        of_page = {"hosts": "host_actions", "models": "model_actions", "services": "service_actions"}
        self.workspace.run_command(of_page.get(self.page, "job_actions"))

    def action_part(self) -> None:
        """Show another part of the job where its log is."""
        if not self.logs.display:
            self.action_page("jobs")
        self.logs.first.show_next_part()
