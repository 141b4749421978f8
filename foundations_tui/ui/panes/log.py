"""The selected job: a line or two of facts, and its log, live."""

from __future__ import annotations

import time

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from foundations_tui import locations, words
from foundations_tui.store.rows import JobRow
from foundations_tui.terminal import one_line
from foundations_tui.ui.look import LOOK
from foundations_tui.ui.widgets.log_view import LogView


class LogPane(Vertical):
    """Shows one job."""

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.row: JobRow | None = None
        self._facts = self._said = ""
        self.border_title = "log"

    def compose(self) -> ComposeResult:
        """Lay out the pane."""
        yield Static(id="job-facts", markup=False)
        yield LogView(id="log-view")

    @property
    def log_view(self) -> LogView:
        """The viewer."""
        return self.query_one(LogView)

    def show(self, row: JobRow | None) -> None:
        """Show a job as it is now, or none."""
        self.row = row
        facts = Content("") if row is None else _facts(row)
        if facts.markup != self._facts:
            self._facts = facts.markup
            self.query_one("#job-facts", Static).update(facts, layout=False)
        if row is None:
            self.log_view.show(None, "")
            return
        path = locations.log_file(row.job, row.attempt) if row.attempt else None
        self.log_view.show(path, _empty_words(row))
        self.say_where()

    def say_where(self) -> None:
        """Say what of the log is shown."""
        view = self.log_view
        parts = [f"filter: {view.filter}" if view.filter else "", words.plural(view.line_count, "line")]
        parts.append("" if view.following else "G follows")
        said = one_line("  ".join(part for part in parts if part))
        if said != self._said:
            self._said = said
            self.border_subtitle = Content(said)


def _facts(row: JobRow) -> Content:
    """Return a job in two lines; nothing in it is markup."""
    state = Content.styled(f"{LOOK.glyph(row.state)} {row.state}", LOOK.style(row.state))
    parts = [row.job[:8], row.name, f"on {row.host}", words.duration(row.duration(time.time()))]
    parts.append("" if row.exit_code is None else f"exit {row.exit_code}")
    parts.append(row.why if row.why and row.state != "completed" else "")
    first = Content.assemble(state, "  ", one_line("  ".join(part for part in parts if part)))
    metrics = [f"{key} {words.number(metric.last)}" for key, metric in row.metrics.items()]
    params = [f"{key}={words.number(value)}" for key, value in row.params.items()]
    second = "  ".join(metrics + params) or words.command(row.command)
    return Content.assemble(first, "\n", Content.styled(one_line(second), "dim"))


def _empty_words(row: JobRow) -> str:
    if row.kind == "run":
        return "run by hand: its output was not captured"
    if row.state in ("submitting", "queued"):
        return row.reason or "waits for its turn"
    if row.is_final:
        return "it wrote nothing" if row.complete else "its log is not here yet"
    return "nothing written yet"
