"""What is done with jobs from the app: stop, move, pause, mark, tag, delete, copy, and its undo."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from foundations_tui.config import locations
from foundations_tui.jobs.ownership import actor_of
from foundations_tui.jobs.states import possible
from foundations_tui.session import Session
from foundations_tui.store import queries
from foundations_tui.store.rows import JobRow
from foundations_tui.text import humanize
from foundations_tui.ui.actions import background
from foundations_tui.ui.models.jobs_table import JobsView
from foundations_tui.ui.screens.confirm import Confirm
from foundations_tui.ui.screens.menu import Choice, Menu
from foundations_tui.ui.theme import name_of
from foundations_tui.ui.widgets.prompt import Question
from foundations_tui.ui.workspace import Workspace
from remote_agent.protocol.wire import JsonTable

if TYPE_CHECKING:
    from foundations_tui.jobs.annotations import Undo

_MOST_UNDONE = 100
_NAMED = 6
"""Jobs that a question names."""


class JobActions:
    """Offers what can be done with jobs, and does it in threads."""

    def __init__(self, workspace: Workspace, session: Session) -> None:
        self._workspace = workspace
        self._session = session
        self._undos: list[tuple[str, Undo]] = []
        """Annotations of jobs, in words, and how to undo them."""
        self._moving: threading.Thread | None = None
        """What gave a waiting job its place last: the next move comes after it."""

    # --- menus --------------------------------------------------------------------------------------------------

    def offer_actions(self, jobs: list[str] | None = None) -> None:
        """Offer what can be done with the chosen jobs, or with these."""
        self._with_chosen(self._offer_actions, jobs=jobs)

    def _offer_actions(self, rows: list[JobRow]) -> None:
        can = possible(rows)
        choices = []
        if can.stop:
            some = f" {len(can.stop)} of {len(rows)} jobs" if len(can.stop) < len(rows) else ""
            choices += [Choice("s", f"stop{some}: the stop signal, then KILL", "stop")]
            choices += [Choice("K", f"kill{some} at once", "kill")]
        if can.move:
            choices += [Choice("f", "first in the queue", "first"), Choice("l", "last in the queue", "last")]
        if can.groups:
            choices += [Choice("p", "pause its group", "pause"), Choice("r", "resume its group", "resume")]
        choices += [
            Choice("*", "star, or unstar", "star"),
            Choice("a", "archive, or bring back", "archive"),
        ]
        choices += [Choice("t", "tag ...", "tag"), Choice("n", "note ...", "note")]
        if can.delete:
            choices += [Choice("d", "delete (30 days in the trash)", "delete")]
        choices += [Choice("e", "edit and rerun", "edit")] if len(rows) == 1 else []
        self._workspace.push_screen(Menu(_these(rows), choices), lambda answer: self._act(answer or "", rows))

    def _act(self, action: str, rows: list[JobRow]) -> None:
        can = possible(rows)
        if action in ("stop", "kill"):
            self.ask_to_stop(can.stop, at_once=action == "kill")
        elif action in ("first", "last"):
            self._ask_of_others(f"Move {_these(can.move)}?", can.move, lambda: self._move(can.move, action))
        elif action in ("pause", "resume"):
            self._do(lambda: _pause(self._session, can.groups[0], action == "pause"))
        elif action == "star":
            self._annotate(rows, "starred", not rows[0].starred, "starred" if not rows[0].starred else "not starred")
        elif action == "archive":
            archived = not rows[0].archived
            question = f"{'Archive' if archived else 'Bring back'} {_these(rows)}?"
            done = "archived" if archived else "brought back"
            self._ask_of_others(question, rows, lambda: self._annotate(rows, "archived", archived, done))
        elif action == "delete":
            self._ask_of_others(f"Delete {_these(can.delete)}?", can.delete, lambda: self._delete(can.delete))
        elif action in ("tag", "note"):
            self._ask_what_to_say(action, rows)
        elif action == "edit":
            self._workspace.run_command("edit", jobs=[row.job for row in rows])

    def offer_stop(self, jobs: list[str]) -> None:
        """Ask before these jobs are stopped."""
        self._with_chosen(lambda rows: self.ask_to_stop(possible(rows).stop), jobs=jobs)

    # --- stop and move ------------------------------------------------------------------------------------------

    def put_in_queue(self, row: JobRow, where: str, other: JobRow) -> None:
        """Let a waiting job stand before or after another one of its host."""

        def move() -> None:
            self._moving = self._do(lambda: _move(self._session, row, where, other), after=self._moving)

        self._ask_of_others(f"Move {_these([row])}?", [row], move)

    def _move(self, rows: Sequence[JobRow], where: str) -> None:
        for row in rows:
            self._do(lambda row=row: _move(self._session, row, where))  # type: ignore[misc]

    def ask_to_stop(self, rows: Sequence[JobRow], at_once: bool = False) -> None:
        """Ask before jobs are stopped, and say whose they are; then stop them."""
        if not rows:
            return
        verb = "Kill" if at_once else "Stop"
        what = f"job {rows[0].job[:6]} on {rows[0].host}" if len(rows) == 1 else humanize.plural(len(rows), "job")
        names = ", ".join(name_of(row) for row in rows[:_NAMED]) + (" ..." if len(rows) > _NAMED else "")

        def answered(yes: bool | None) -> None:
            for row in rows if yes else ():
                self._do(lambda row=row: _stop(self._session, row, 0.0 if at_once else None))  # type: ignore[misc]

        self._workspace.push_screen(Confirm(f"{verb} {what}?{self._whose(rows)}", names[:200]), answered)

    def _whose(self, rows: Sequence[JobRow]) -> str:
        """Return whose jobs these are, where they are somebody else's."""
        others = actor_of(self._session.hosts).strangers(rows)
        return f" Not yours, but of {', '.join(others)}!" if others else ""

    def _ask_of_others(self, question: str, rows: Sequence[JobRow], then: Callable[[], object]) -> None:
        """Do something that can be undone: at once with one's own jobs, after a question with somebody else's."""
        whose = self._whose(rows)
        if not whose:
            then()
            return

        def answered(yes: bool | None) -> None:
            if yes:
                then()

        self._workspace.push_screen(Confirm(question + whose), answered)

    # --- annotations and their undo -----------------------------------------------------------------------------

    def _ask_what_to_say(self, kind: str, rows: list[JobRow]) -> None:
        before = rows[0].note if kind == "note" and len(rows) == 1 else ""

        def submit(text: str) -> None:
            if kind == "note":
                self._annotate(rows, "note", text.strip(), "noted")
            elif text.strip():
                key, _, value = text.strip().partition("=")
                self._annotate(rows, f"tag:{key}", value, f"tagged {key}")

        question = Question(kind, before, submit, hint="KEY or KEY=VALUE" * (kind == "tag"))
        self._workspace.back_to_main().prompt.ask(question)

    def _annotate(self, rows: list[JobRow], key: str, value: Any, done: str) -> None:
        what = f"{_these(rows)}: {done}"
        self._do(lambda: _annotate(self._session, rows, {key: value}, what, lambda undo: self._keep(what, undo)))

    def _delete(self, rows: list[JobRow]) -> None:
        what = f"{_these(rows)}: in the trash for 30 days"
        self._do(lambda: _delete(self._session, rows, what, lambda undo: self._keep(what, undo)))

    def _keep(self, words: str, undo: Undo) -> None:
        self._undos = [*self._undos, (words, undo)][-_MOST_UNDONE:]

    def undo(self) -> None:
        """Undo the last annotation of jobs."""
        if not self._undos:
            self._workspace.say("nothing to undo")
            return
        words, last = self._undos.pop()
        self._do(lambda: _undo(self._session, last, words))

    # --- copying ------------------------------------------------------------------------------------------------

    def offer_copies(self) -> None:
        """Offer what can be copied."""
        view = self._workspace.main.jobs.view
        self._with_chosen(lambda rows: self._offer_copies(rows, view), none_is_fine=True)

    def _offer_copies(self, rows: list[JobRow], view: JobsView) -> None:
        texts: dict[str, tuple[str, str]] = {"v": ("the command line that lists what is shown", view.cli())}
        if rows:
            ids = [row.job for row in rows]
            texts["i"] = ("id" if len(ids) == 1 else f"{len(ids)} ids", " ".join(ids))
            texts["c"] = ("command", humanize.command(rows[0].command))
            texts["s"] = ("command line that shows it", f"foundations show {rows[0].job[:6]}")
            texts["l"] = ("path of its log", str(locations.log_file(rows[0].job, rows[0].attempt or 1)))
            texts["j"] = ("all of it, as JSON", json.dumps([row.to_json(time.time()) for row in rows], indent=1))
        choices = [Choice(key, label, key) for key, (label, _) in texts.items()]

        def copy(key: str | None) -> None:
            if key in texts:
                self._workspace.copy_to_clipboard(texts[key][1])
                self._workspace.say(f"copied: {texts[key][1][:120]}")

        self._workspace.push_screen(Menu("copy", choices), copy)

    # --- inside -------------------------------------------------------------------------------------------------

    def _with_chosen(
        self, then: Callable[[list[JobRow]], None], none_is_fine: bool = False, jobs: list[str] | None = None
    ) -> None:
        """Read the chosen jobs, or these, and go on with them."""
        chosen = self._workspace.main.chosen if jobs is None else jobs

        def take(rows: list[JobRow]) -> None:
            if rows or none_is_fine:
                then(rows)
            else:
                self._workspace.say("no job is selected")

        self._workspace.read_for_key("chosen", lambda conn: queries.jobs_by_id(conn, chosen), take)

    def _do(self, action: Callable[[], str], after: threading.Thread | None = None) -> threading.Thread:
        return background.do(self._workspace, action, after)


def _these(rows: Sequence[JobRow]) -> str:
    return name_of(rows[0]) if len(rows) == 1 else humanize.plural(len(rows), "job")


# What follows runs in threads; the core is imported there, behind the first picture: it takes 60 ms. Other people's
# jobs are meant, too: that was asked before.


def _annotate(session: Session, rows: list[JobRow], changes: JsonTable, done: str, keep: Callable[[Undo], None]) -> str:
    from foundations_tui.jobs.annotations import annotate

    annotated = annotate(session, actor_of(session.hosts, others=True), rows, changes)
    keep(annotated.undo)
    return f"{done}   u undoes it{_later(annotated.undelivered)}"


def _delete(session: Session, rows: list[JobRow], done: str, keep: Callable[[Undo], None]) -> str:
    from foundations_tui.jobs import operations
    from foundations_tui.jobs.outcome import raise_first

    deleted = operations.delete(session, actor_of(session.hosts, others=True), rows)
    if deleted.annotated is not None:
        keep(deleted.annotated.undo)
    raise_first(deleted.outcomes)
    return f"{done}   u undoes it"


def _undo(session: Session, undone: Undo, words: str) -> str:
    from foundations_tui.jobs.annotations import undo

    return f"undone: {words}{_later(undo(session, undone))}"


def _later(hosts: Iterable[str]) -> str:
    return "".join(f"; {host} will be told at the next contact" for host in hosts)


def _stop(session: Session, row: JobRow, grace: float | None) -> str:
    from foundations_tui.jobs import operations
    from foundations_tui.jobs.outcome import raise_first

    raise_first(operations.stop(session, actor_of(session.hosts, others=True), [row], grace))
    return f"{row.job[:6]} is being stopped"


def _move(session: Session, row: JobRow, where: str, other: JobRow | None = None) -> str:
    from foundations_tui.jobs import operations

    operations.move(session, actor_of(session.hosts, others=True), row, where, other)
    behind = f" {other.job[:6]}" if other else ""
    return f"{row.job[:6]} is {where}{behind} in the queue of {row.host}"


def _pause(session: Session, group: str, paused: bool) -> str:
    from foundations_tui.jobs import on_hosts
    from foundations_tui.jobs.outcome import raise_first

    raise_first(on_hosts.set_paused(session, group, "", paused))
    return f"{group} {'is paused' if paused else 'goes on'}"
