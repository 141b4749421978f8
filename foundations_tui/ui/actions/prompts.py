"""What is asked in the line at the bottom, and what the answers change on the screen."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import sqlite3
from collections.abc import Callable, Sequence

from foundations_tui.store import expressions, search, views
from foundations_tui.store.db import open_reader
from foundations_tui.store.views import SavedView
from foundations_tui.ui.actions import background
from foundations_tui.ui.models import offers
from foundations_tui.ui.models.jobs_table import JobsView
from foundations_tui.ui.models.offers import Offer
from foundations_tui.ui.panes.jobs import JobsPane
from foundations_tui.ui.screens.menu import Choice, Menu
from foundations_tui.ui.widgets.prompt import Question, Suggest
from foundations_tui.ui.workspace import Pages, Workspace

_MOST_VIEWS = 9
"""Saved views that a menu offers: each has a digit."""
_SAVE, _USUAL = "\0save", "\0usual"
"""What else it offers; no view is called so."""


class Prompts:
    """Asks for filters, orders, columns and searches."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._names: list[str] = []
        """What can stand in an expression."""

    @property
    def _main(self) -> Pages:
        return self._workspace.main

    @property
    def _jobs(self) -> JobsPane:
        return self._main.jobs

    def learn_names(self) -> None:
        """Look up what can stand in an expression, for suggestions."""

        def read(conn: sqlite3.Connection) -> list[str]:
            return [*expressions.FIELDS, *(name for _, name in search.KnownNames(conn).all())]

        self._workspace.reader.ask("names", read, lambda names: setattr(self, "_names", names))

    # --- the jobs -----------------------------------------------------------------------------------------------

    def filter(self) -> None:
        """Ask for a query; the table follows while it is typed."""
        hint = "state=failed and lr<1e-3 and val_loss:min<0.3 and age<2d"
        self._ask_for("/", self._jobs.view.query, "query", hint)

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
        offer = None if field == "query" else self._offers(field == "columns")
        question = Question(
            label, value, change=show, cancel=cancel, suggest=suggest, offer=offer, hint=hint, is_of_view=True
        )
        self._main.prompt.ask(question)  # what turns out to be wrong after enter, the screen says when it is read

    def _offers(self, takes_many: bool) -> Callable[[str], Sequence[Offer]]:
        """Return what lists the names that may be meant, once they are read."""
        known: list[offers.Name] = []
        view, prompt = self._jobs.view, self._main.prompt

        def take(names: list[offers.Name]) -> None:
            known.extend(names)
            prompt.offer()

        self._workspace.reader.ask("offers", lambda conn: offers.names(conn, view), take)
        return lambda line: offers.offers(line, known, takes_many)

    def toggle_archived(self) -> None:
        """Show archived jobs too, or not."""
        view = self._jobs.view
        self._jobs.show(dataclasses.replace(view, archived=not view.archived))

    def views(self) -> None:
        """Offer the saved views, and to save this one."""

        def offer(saved: dict[str, SavedView]) -> None:
            shown = list(saved.items())[:_MOST_VIEWS]
            choices = [
                Choice(str(n), f"{name}  {'  '.join(view.parts.values())}", name)
                for n, (name, view) in enumerate(shown, 1)
            ]
            choices += [Choice("s", "save what is shown as ...", _SAVE), Choice("0", "the usual view", _USUAL)]
            self._workspace.push_screen(Menu("views", choices), lambda name: self._show_view(name or "", saved))

        self._workspace.read_for_key("views", views.saved, offer)

    def _show_view(self, name: str, saved: dict[str, SavedView]) -> None:
        if name == _SAVE:
            self._ask_for_name()
        elif name == _USUAL:
            self._jobs.show(JobsView())
        elif name in saved:
            self._jobs.show(JobsView.of(saved[name]))

    def _ask_for_name(self) -> None:
        view = self._jobs.view

        def submit(name: str) -> None:
            if name.strip():
                saved = view.saved
                background.do(self._workspace, lambda: _save_view(name.strip(), saved))

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
        pane = self._main.metrics
        if pane is None:
            return
        self._main.prompt.ask(Question("metrics", change=pane.set_filter, cancel=lambda: pane.set_filter("")))


def _save_view(name: str, view: SavedView) -> str:
    with contextlib.closing(open_reader()) as conn:
        views.save(conn, name, view)
    return f"saved as {name}"


def _meant(field: str, text: str) -> str:
    """Return a part of a view for what was typed: an order may stand behind a space, as in SQL."""
    if field != "sort":
        return text
    return re.sub(r"\s+(asc|desc)$", r":\1", text) or "created"


def _last_word(names: Callable[[], Sequence[str]]) -> Suggest:
    """Return what completes the last word of a line."""

    def suggest(line: str) -> Sequence[str]:
        start = max(line.rfind(char) for char in " ,(") + 1
        word = line[start:]
        if not word:
            return []
        return [line[:start] + name for name in names() if name.startswith(word)]

    return suggest
