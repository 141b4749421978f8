"""One job in full."""

from __future__ import annotations

from typing import ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from foundations_tui.errors import FoundationsError
from foundations_tui.store.rows import JobRow
from foundations_tui.text.sanitize import one_line, several_lines
from foundations_tui.ui.models import job_details
from foundations_tui.ui.models.store_reader import Reader
from foundations_tui.ui.screens.live import LiveScreen
from foundations_tui.ui.screens.modal import ModalWindow
from foundations_tui.ui.widgets.key_words import key_words
from foundations_tui.ui.workspace import Workspace

_KEYS = (
    *(("detail.close", "back"), ("detail.act", "actions"), ("detail.artifacts", "artifacts")),
    *(("detail.lineage", "lineage"), ("detail.files", "files"), ("detail.difference", "differences")),
    ("detail.log", "log"),
)


class Detail(LiveScreen, ModalWindow):
    """Shows all that is known of a job; any way back closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "close", "back", id="detail.close"),
        Binding("x", "act", "actions", id="detail.act"),
        Binding("a", "artifacts", "artifacts", id="detail.artifacts"),
        Binding("L", "lineage", "lineage", id="detail.lineage"),
        Binding("f", "files", "files", id="detail.files"),
        Binding("d", "difference", "differences", id="detail.difference"),
        Binding("l", "log", "log", id="detail.log"),
        Binding("j,down", "scroll(1)", "down", show=False, id="detail.down"),
        Binding("k,up", "scroll(-1)", "up", show=False, id="detail.up"),
        Binding("ctrl+d,pagedown", "scroll(12)", "page down", show=False, id="detail.page_down"),
        Binding("ctrl+u,pageup", "scroll(-12)", "page up", show=False, id="detail.page_up"),
        Binding("g,home", "scroll(-9999)", "top", show=False, id="detail.top"),
        Binding("G,end", "scroll(9999)", "bottom", show=False, id="detail.bottom"),
    ]

    def __init__(self, reader: Reader, job: str) -> None:
        super().__init__()
        self._reader = reader
        self._job = job
        self._row: JobRow | None = None

    @property
    def _workspace(self) -> Workspace:
        return cast(Workspace, self.app)

    def compose(self) -> ComposeResult:
        """Lay out the box."""
        with VerticalScroll(id="box"), Horizontal(id="detail-columns"):
            yield Static(id="detail-text", markup=False)
            yield Static(id="detail-beside", markup=False)

    def on_resize(self) -> None:
        """Show it in one column or in two."""
        self.reload()

    def on_mount(self) -> None:
        """Begin."""
        self.query_one("#box").border_subtitle = key_words(self, *_KEYS)
        self.reload()

    def reload(self) -> None:
        """Show what the store has now."""
        job = self._job

        self._reader.ask(self, lambda conn: job_details.read(conn, job), self._take, self._failed)

    @property
    def _is_there(self) -> bool:
        """Whether an answer has a place: it may come before the box is made, or while the screen is being closed."""
        return self.is_attached and bool(self.query("#box")) and bool(self.query("#detail-text"))

    def _take(self, details: job_details.JobDetails) -> None:
        if not self._is_there:
            return
        self._row = details.row
        title = f"{details.row.job}  {details.row.label}".strip()
        self.query_one("#box").border_title = Content(one_line(title))
        room = self.query_one("#box").scrollable_content_region.width - 1  # a scroll bar may come
        first, *second = job_details.everything(details, room)
        self.query_one("#detail-text", Static).update(first)
        beside = self.query_one("#detail-beside", Static)
        beside.display = bool(second)
        if second:
            beside.update(second[0])

    def _failed(self, error: FoundationsError) -> None:
        if self._is_there:
            self.query_one("#detail-text", Static).update(Content(several_lines(str(error))))

    def action_scroll(self, lines: int) -> None:
        """Scroll."""
        self.query_one("#box").scroll_relative(y=lines, animate=False)

    def action_act(self) -> None:
        """Offer what can be done with it: stop, tag, note ..."""
        self._workspace.run_command("job_actions", jobs=[self._job])

    def action_artifacts(self) -> None:
        """List its artifacts."""
        if self._row is not None:
            self._workspace.run_command("artifacts", row=self._row)

    def action_lineage(self) -> None:
        """Show what it comes from, and what came of it."""
        if self._row is not None:
            self._workspace.run_command("lineage", row=self._row)

    def action_files(self) -> None:
        """List its files."""
        if self._row is not None:
            self._workspace.run_command("files", row=self._row)

    def action_difference(self) -> None:
        """Offer to compare its code and its log: with another marked job, the one before it, or its commit."""
        others = [job for job in self._workspace.main.chosen if job != self._job]
        self._workspace.run_command("differences", jobs=[self._job, *others])

    def action_log(self) -> None:
        """Go to its log."""
        self._workspace.back_to_main().show_log_of(self._job)
