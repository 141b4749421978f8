"""What is asked in the line at the bottom, and what the answers change on the screen."""

from __future__ import annotations

import dataclasses
import json
import re
import sqlite3
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from foundations_tui.store import expressions, queries
from foundations_tui.ui.models.jobs_table import JobsView
from foundations_tui.ui.panes.jobs import JobsPane
from foundations_tui.ui.panes.metrics import MetricsPane
from foundations_tui.ui.screens.menu import Choice, Menu
from foundations_tui.ui.widgets.prompt import Question, Suggest

if TYPE_CHECKING:
    from foundations_tui.ui.app import FoundationsApp
    from foundations_tui.ui.screens.main import MainScreen


class Asks:
    """Asks for filters, orders, columns and searches."""

    def __init__(self, app: FoundationsApp) -> None:
        self._app = app
        self._names: list[str] = []
        """What can stand in an expression."""

    @property
    def _main(self) -> MainScreen:
        return self._app.main

    @property
    def _jobs(self) -> JobsPane:
        return self._main.jobs

    def learn_names(self) -> None:
        """Look up what can stand in an expression, for suggestions."""

        def read(conn: sqlite3.Connection) -> list[str]:
            return [*expressions.FIELDS, *(name for _, name in queries.JobFilter().search(conn).names())]

        self._app.reader.ask("names", read, lambda names: setattr(self, "_names", names))

    # --- the jobs -----------------------------------------------------------------------------------------------

    def filter(self) -> None:
        """Ask for a query; the table follows while it is typed."""
        hint = "state=failed and lr<1e-3 and val_loss:min<0.3 and age<2d"
        self._ask_for("/", self._jobs.view.query, "query", hint)

    def host(self) -> None:
        """Ask for a new host."""
        hint = "NAME user@host:port --identity KEY"
        self._main.prompt.ask(Question("new host", submit=self._app.hosting.add, hint=hint))

    def clear(self) -> None:
        """Show all jobs again."""
        self._jobs.show(dataclasses.replace(self._jobs.view, query="", group_by=""))

    def sort(self) -> None:
        """Ask what to sort by."""
        now = self._jobs.view.sort
        self._ask_for("sort", "" if now == "created" else now, "sort", "val_loss:min, lr:desc; empty: newest first")

    def columns(self) -> None:
        """Ask which columns to show."""
        self._ask_for("columns", self._jobs.view.columns, "columns", "lr,val_loss:min,acc,age; empty for the usual")

    def group(self) -> None:
        """Ask what to group by."""
        self._ask_for("group by", self._jobs.view.group_by, "group_by", "bs; empty for no groups")

    def _ask_for(self, label: str, value: str, field: str, hint: str) -> None:
        """Ask for a part of the view; the table follows while it is typed."""
        self.learn_names()
        before = self._jobs.fallback = self._jobs.view

        def show(text: str) -> None:
            self._jobs.show(dataclasses.replace(self._jobs.view, **{field: _meant(field, text.strip())}))  # type: ignore[arg-type]

        def cancel() -> None:
            if self._jobs.view != before:
                self._jobs.show(before)

        suggest = _last_word(lambda: self._names)
        question = Question(label, value, change=show, cancel=cancel, suggest=suggest, hint=hint, is_of_view=True)
        self._main.prompt.ask(question)  # what turns out to be wrong after enter, the screen says when it is read

    def toggle_archived(self) -> None:
        """Show archived jobs too, or not."""
        view = self._jobs.view
        self._jobs.show(dataclasses.replace(view, archived=not view.archived))

    def views(self) -> None:
        """Offer the saved views, and to save this one."""

        def offer(found: dict[str, str]) -> None:
            names = list(found)[:9]
            choices = [Choice(str(n + 1), f"{name}  {_view_words(found[name])}", name) for n, name in enumerate(names)]
            choices += [Choice("s", "save what is shown as ...", "\0save"), Choice("0", "the usual view", "\0usual")]
            self._app.push_screen(Menu("views", choices), lambda name: self._show_view(name or "", found))

        self._app.read_for_key("views", lambda conn: queries.metas(conn, queries.VIEW), offer)

    def _show_view(self, name: str, found: dict[str, str]) -> None:
        if name == "\0save":
            return self._ask_for_name()
        if name == "\0usual":
            self._jobs.show(JobsView())
        elif name in found:
            saved = json.loads(found[name])
            view = JobsView(saved.get("where", ""), saved.get("sort") or "created")
            self._jobs.show(
                dataclasses.replace(view, columns=saved.get("columns", ""), group_by=saved.get("group_by", ""))
            )

    def _ask_for_name(self) -> None:
        options = self._jobs.view.options

        def submit(name: str) -> None:
            if name.strip():
                self._app.deeds.run_quietly(["views", "save", name.strip(), *options], f"saved as {name.strip()}")

        self._main.prompt.ask(Question("save view as", submit=submit))

    # --- logs and metrics ---------------------------------------------------------------------------------------

    def search(self) -> None:
        """Ask for words to search for in the log."""
        log = self._main.log_pane.log_view

        def submit(text: str) -> None:
            log.search(text or log.words)

        hint = "n next, N previous, & only such lines"
        self._main.prompt.ask(Question("search", log.words, submit, hint=hint))

    def log_filter(self) -> None:
        """Ask for words; only lines with them are shown."""
        if not self._main.log_pane.display:
            self._main.action_page("log")
        log = self._main.log_pane.log_view

        def submit(text: str) -> None:
            log.set_filter(text)
            self._main.log_pane.say_where()

        self._main.prompt.ask(Question("only lines with", log.filter, submit))

    def metric(self) -> None:
        """Ask for a part of the metrics' names; the charts follow while it is typed."""
        pane = self._main.query_one(MetricsPane)
        self._main.prompt.ask(Question("metrics", change=pane.set_filter, cancel=lambda: pane.set_filter("")))


def _meant(field: str, text: str) -> str:
    """Return a part of a view for what was typed: an order may stand behind a space, as in SQL."""
    if field != "sort":
        return text
    return re.sub(r"\s+(asc|desc)$", r":\1", text) or "created"


def _view_words(text: str) -> str:
    return "  ".join(str(value) for value in json.loads(text).values())


def _last_word(names: Callable[[], Sequence[str]]) -> Suggest:
    """Return what completes the last word of a line."""

    def suggest(line: str) -> Sequence[str]:
        start = max(line.rfind(char) for char in " ,(") + 1
        word = line[start:]
        if not word:
            return []
        return [line[:start] + name for name in names() if name.startswith(word)]

    return suggest
