"""What the user has done from the app: stop, mark, copy, undo, and every verb of the command line."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from textual.app import SuspendNotSupported

from foundations_tui.config import locations
from foundations_tui.errors import FoundationsError, UsageError
from foundations_tui.jobs.ownership import actor_of
from foundations_tui.jobs.states import possible
from foundations_tui.session import Session
from foundations_tui.store import queries
from foundations_tui.store.rows import JobRow
from foundations_tui.text import humanize
from foundations_tui.ui.input.command_line import Command, parse, submits, suggestions
from foundations_tui.ui.input.job_form import changed, of_job
from foundations_tui.ui.messages import HostsChanged
from foundations_tui.ui.models.jobs_table import JobsView
from foundations_tui.ui.screens.command_output import Onward, Output
from foundations_tui.ui.screens.confirm import Confirm
from foundations_tui.ui.screens.job_form import Launch, Launched
from foundations_tui.ui.screens.menu import Choice, Menu
from foundations_tui.ui.theme import name_of
from foundations_tui.ui.widgets.prompt import Question
from foundations_tui.ui.workers import carry_out

if TYPE_CHECKING:
    from foundations_tui.jobs.annotations import Undo
    from foundations_tui.ui.app import FoundationsApp

_MOST_UNDONE = 100
_JOB = re.compile(r"[0-9a-f]{12}")


class Deeds:
    """Carries out what the user asks for, in threads and processes of their own."""

    def __init__(self, app: FoundationsApp, session: Session, verbs: Mapping[str, object]) -> None:
        self._app = app
        self._session = session
        self._verbs = verbs
        self._undos: list[tuple[str, Undo]] = []
        self._drafts: dict[str, Mapping[str, str]] = {}
        """What stood in forms that were left without a submit, by their titles."""
        self._moving: threading.Thread | None = None
        """What gave a waiting job its place last: the next move comes after it."""
        self.done: list[str] = []
        """What was done, the newest last."""

    # --- menus --------------------------------------------------------------------------------------------------

    def offer_actions(self, jobs: list[str] | None = None) -> None:
        """Offer what can be done with the chosen jobs, or with these."""
        self._with_chosen(self._offer_actions, jobs=jobs)

    def _offer_actions(self, rows: list[JobRow]) -> None:
        can = possible(rows)
        choices = []
        if can.stop:
            choices += [Choice("s", "stop: its signal, then KILL", "stop"), Choice("K", "KILL at once", "kill")]
        if can.move:
            choices += [Choice("f", "first in the queue", "first"), Choice("l", "last in the queue", "last")]
        if can.groups:
            choices += [Choice("p", "pause its group", "pause"), Choice("r", "resume its group", "resume")]
        choices += [
            Choice("*", "star, or take the star away", "star"),
            Choice("a", "archive, or bring back", "archive"),
        ]
        choices += [Choice("t", "tag ...", "tag"), Choice("n", "note ...", "note")]
        if can.delete:
            choices += [Choice("d", "delete (30 days in the trash)", "delete")]
        choices += [Choice("e", "edit and run anew", "edit")] if len(rows) == 1 else []
        title = name_of(rows[0]) if len(rows) == 1 else humanize.plural(len(rows), "job")
        self._app.push_screen(Menu(title, choices), lambda answer: self._act(answer or "", rows))

    def _act(self, action: str, rows: list[JobRow]) -> None:
        if action in ("stop", "kill"):
            self.ask_to_stop(possible(rows).stop, at_once=action == "kill")
        elif action in ("first", "last"):
            for row in rows:
                self.do(lambda row=row: _move(self._session, row, action))  # type: ignore[misc]
        elif action in ("pause", "resume"):
            group = possible(rows).groups[0]
            self.run_quietly([action, group], f"{group} {'is paused' if action == 'pause' else 'goes on'}")
        elif action == "star":
            self._annotate(rows, "starred", not rows[0].starred, "starred" if not rows[0].starred else "not starred")
        elif action == "archive":
            done = "brought back" if rows[0].archived else "archived"
            self._annotate(rows, "archived", not rows[0].archived, done)
        elif action == "delete":
            self._delete(possible(rows).delete)
        elif action in ("tag", "note"):
            self._ask_what_to_say(action, rows)
        elif action == "edit":
            self.edit_and_run([row.job for row in rows])

    def put_in_queue(self, row: JobRow, where: str, other: JobRow) -> None:
        """Let a waiting job stand before or after another one of its host."""
        self._moving = self.do(lambda: _move(self._session, row, where, other), after=self._moving)

    def ask_to_stop(self, rows: Sequence[JobRow], at_once: bool = False) -> None:
        """Ask before jobs are stopped, then stop them."""
        if not rows:
            return
        others = actor_of(self._session.hosts).strangers(rows)
        whose = f" Not yours, but of {', '.join(others)}!" if others else ""
        verb = "Kill" if at_once else "Stop"
        what = f"job {rows[0].job[:6]} on {rows[0].host}" if len(rows) == 1 else humanize.plural(len(rows), "job")
        names = ", ".join(name_of(row) for row in rows[:6]) + (" ..." if len(rows) > 6 else "")

        def answered(yes: bool | None) -> None:
            for row in rows if yes else ():
                self.do(lambda row=row: _stop(self._session, row, 0.0 if at_once else None))  # type: ignore[misc]

        self._app.push_screen(Confirm(f"{verb} {what}?{whose}", names[:200]), answered)

    def _ask_what_to_say(self, kind: str, rows: list[JobRow]) -> None:
        before = rows[0].note if kind == "note" and len(rows) == 1 else ""

        def submit(text: str) -> None:
            if kind == "note":
                self._annotate(rows, "note", text.strip(), "noted")
            elif text.strip():
                key, _, value = text.strip().partition("=")
                self._annotate(rows, f"tag:{key}", value, f"tagged {key}")

        self._app.back_to_main().prompt.ask(Question(kind, before, submit, hint="KEY or KEY=VALUE" * (kind == "tag")))

    # --- saying things of jobs, and taking them back ------------------------------------------------------------

    def _annotate(self, rows: list[JobRow], key: str, value: Any, done: str) -> None:
        what = f"{_these(rows)}: {done}"
        self.do(lambda: _annotate(self._session, rows, {key: value}, what, lambda undo: self._keep(what, undo)))

    def _delete(self, rows: list[JobRow]) -> None:
        what = f"{_these(rows)}: in the trash for 30 days"
        self.do(lambda: _delete(self._session, rows, what, lambda undo: self._keep(what, undo)))

    def _keep(self, words: str, undo: Undo) -> None:
        self._undos = [*self._undos, (words, undo)][-_MOST_UNDONE:]

    def undo(self) -> None:
        """Take back what was said of jobs last."""
        if not self._undos:
            self._app.say("there is nothing to take back")
            return
        words, last = self._undos.pop()
        self.do(lambda: _undo(self._session, last, words))

    # --- verbs of the command line ------------------------------------------------------------------------------

    def ask_command(self, line: str) -> None:
        """Ask for a verb and its words."""

        def submit(text: str) -> None:
            if text.strip():
                self.run(text)

        hint = "% the chosen jobs   tab completes   --help"
        own = list(self._app.own_commands)
        question = Question(":", line, submit, suggest=lambda text: suggestions(text, self._verbs, own), hint=hint)
        self._app.main.prompt.ask(question)

    def run(self, line: str) -> None:
        """Carry out a line of the app's command line."""
        verb, _, rest = line.strip().partition(" ")
        if verb in self._app.own_commands:
            self._app.own_commands[verb](rest.strip())
            return
        try:
            command = parse(line, self._verbs, self._app.main.chosen)
        except UsageError as error:
            self._app.say(f"{error}" + (f" ({error.hint})" if error.hint else ""), failed=True)
            return
        self.done.append(line)
        if command.needs_terminal:
            self.run_in_terminal(command.argv)
        else:
            onward = Onward("shows the job", self._show_submitted) if submits(command) else None
            self._app.push_screen(Output(command, onward), lambda _: self._have_run(command))

    def _have_run(self, command: Command) -> None:
        if command.verb == "hosts":
            self._app.post_message(HostsChanged())
        self._app.look()

    def run_quietly(self, argv: list[str], done: str, then: Callable[[], object] = lambda: None) -> None:
        """Carry out a verb that says nothing worth reading, and then something else; its error is said."""

        def run() -> str:
            _run(argv)
            then()
            return done

        self.do(run)

    def run_in_terminal(self, argv: list[str]) -> None:
        """Give a verb the terminal until it ends."""

        def run() -> None:
            code = subprocess.run(argv).returncode
            if code:
                input(f"\nexit {code}; enter goes back ")

        self.with_terminal(run)

    def with_terminal(self, run: Callable[[], None]) -> None:
        """Do something while the app leaves the terminal alone."""
        try:
            with self._app.suspend():
                run()
        except SuspendNotSupported:
            self._app.say("this needs a terminal of its own, which a browser has not", failed=True)
        self._app.refresh()

    def edit_and_run(self, jobs: list[str] | None = None) -> None:
        """Show the form filled from the chosen job, or from one of these, to be changed and run anew."""
        chosen = (jobs or self._app.main.chosen)[:1]

        def read(conn: sqlite3.Connection) -> list[tuple[JobRow, dict[str, Any]]]:
            return [(row, queries.spec(conn, row.job)) for row in queries.jobs_by_id(conn, chosen)]

        def show(found: list[tuple[JobRow, dict[str, Any]]]) -> None:
            for row, spec in found:
                self._launch(of_job(row, spec), f"a new job like {name_of(row)}")

        self._app.read_for_key("chosen", read, show)

    def launch_new(self) -> None:
        """Show the form for a new job."""
        self._launch({}, "a new job")

    def _launch(self, values: Mapping[str, str], title: str) -> None:
        """Show a form as it was left without a submit, else with the values it begins with."""

        def left(launched: Launched | None) -> None:
            if launched is None:
                return
            self._drafts.pop(title, None)
            if launched.words:
                self.done.append(humanize.command(["submit", *launched.words]))
                self._app.look()
            elif changed(launched.values, values):
                self._drafts[title] = launched.values
            if launched.said:
                self._show_submitted(launched.said)

        self._app.push_screen(Launch(values, title, self._app.main.away, self._drafts.get(title)), left)

    def _show_submitted(self, said: str) -> None:
        """Show the first job that a submit names, each in a line of its own; by itself, where the table has it not."""
        found = next((line for line in said.splitlines() if _JOB.fullmatch(line)), None)
        main = self._app.back_to_main()
        main.action_page("jobs")
        if found is None:
            return
        view = main.jobs.view

        def show(place: int | None) -> None:
            if place is None or view.group_by or view != main.jobs.view:
                self._app.show_job(found)
            else:
                main.jobs.table.find(found)

        self._app.read_for_key("chosen", lambda conn: queries.position(conn, found, view.filter(conn), view.sort), show)

    # --- copying ------------------------------------------------------------------------------------------------

    def offer_copies(self) -> None:
        """Offer what can be copied."""
        view = self._app.main.jobs.view
        self._with_chosen(lambda rows: self._offer_copies(rows, view), none_is_fine=True)

    def _offer_copies(self, rows: list[JobRow], view: JobsView) -> None:
        texts: dict[str, tuple[str, str]] = {"v": ("the command line that lists what is shown", view.cli())}
        if rows:
            ids = [row.job for row in rows]
            texts["i"] = ("id" if len(ids) == 1 else f"{len(ids)} ids", " ".join(ids))
            texts["c"] = ("command", humanize.command(rows[0].command))
            texts["s"] = ("command line that shows it", f"foundations show {rows[0].job[:8]}")
            texts["l"] = ("path of its log", str(locations.log_file(rows[0].job, rows[0].attempt or 1)))
            texts["j"] = ("all of it, as JSON", json.dumps([row.to_json(time.time()) for row in rows], indent=1))
        choices = [Choice(key, label, key) for key, (label, _) in texts.items()]

        def copy(key: str | None) -> None:
            if key in texts:
                self._app.copy_to_clipboard(texts[key][1])
                self._app.say(f"copied: {texts[key][1][:120]}")

        self._app.push_screen(Menu("copy", choices), copy)

    # --- inside -------------------------------------------------------------------------------------------------

    def _with_chosen(
        self, then: Callable[[list[JobRow]], None], none_is_fine: bool = False, jobs: list[str] | None = None
    ) -> None:
        """Read the chosen jobs, or these, and go on with them."""
        chosen = self._app.main.chosen if jobs is None else jobs

        def take(rows: list[JobRow]) -> None:
            if rows or none_is_fine:
                then(rows)

        self._app.read_for_key("chosen", lambda conn: queries.jobs_by_id(conn, chosen), take)

    def do(self, action: Callable[[], str], after: threading.Thread | None = None) -> threading.Thread:
        """Do something in a thread; what it returns, or its error, is said."""

        def noted() -> str:
            done = action()
            self.done.append(done)
            return done

        return carry_out(self._app.post_message, noted, after)


def _these(rows: Sequence[JobRow]) -> str:
    return name_of(rows[0]) if len(rows) == 1 else humanize.plural(len(rows), "job")


def _run(argv: list[str]) -> None:
    """Carry out a verb to its end.

    Raises:
        FoundationsError: what it said when it failed.
    """
    command = Command(argv[0], tuple(argv[1:])).argv
    found = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if found.returncode:
        raise FoundationsError(found.stderr.strip().removeprefix("error: ") or f"exit {found.returncode}")


def _annotate(
    session: Session, rows: list[JobRow], changes: dict[str, Any], done: str, keep: Callable[[Undo], None]
) -> str:
    from foundations_tui.jobs.annotations import annotate

    annotated = annotate(session, actor_of(session.hosts), rows, changes)
    keep(annotated.undo)
    return f"{done}   u takes it back{_later(annotated.undelivered)}"


def _delete(session: Session, rows: list[JobRow], done: str, keep: Callable[[Undo], None]) -> str:
    from foundations_tui.jobs import operations
    from foundations_tui.jobs.outcome import first_error

    deleted = operations.delete(session, actor_of(session.hosts), rows)
    if deleted.annotated is not None:
        keep(deleted.annotated.undo)
    error = first_error(deleted.outcomes)
    if error is not None:
        raise error
    return f"{done}   u takes it back"


def _later(hosts: Iterable[str]) -> str:
    return "".join(f"; {host} will be told at the next contact" for host in hosts)


def _undo(session: Session, undone: Undo, words: str) -> str:
    from foundations_tui.jobs import annotations as annotating

    return f"taken back: {words}{_later(annotating.undo(session, undone))}"


def _stop(session: Session, row: JobRow, grace: float | None) -> str:
    from foundations_tui.jobs import operations

    actor = actor_of(session.hosts, others=True)  # whose it is was said when it was asked
    (outcome,) = operations.stop(session, actor, [row], grace)
    if outcome.error is not None:
        raise outcome.error
    return f"{row.job[:6]} is being stopped"


def _move(session: Session, row: JobRow, where: str, other: JobRow | None = None) -> str:
    from foundations_tui.jobs import operations

    operations.move(session, actor_of(session.hosts), row, where, other)
    behind = f" {other.job[:6]}" if other else ""
    return f"{row.job[:6]} is {where}{behind} in the queue of {row.host}"
