"""New jobs from the app: the form, empty or filled from a job, what would be sent, and the submit itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from foundations_tui.errors import UsageError
from foundations_tui.session import Session
from foundations_tui.store import queries
from foundations_tui.store.rows import JobRow
from foundations_tui.submit import named_files
from foundations_tui.submit.progress import Progress
from foundations_tui.sweeps import submission as submissions
from foundations_tui.sweeps.submission import ALL_OPTIONS, Submission
from foundations_tui.text import humanize, tables
from foundations_tui.text.options import Kind, Option, read_words
from foundations_tui.ui.actions import background
from foundations_tui.ui.input.command_line import Command
from foundations_tui.ui.input.job_form import changed, of_job, with_params
from foundations_tui.ui.models import host_choices
from foundations_tui.ui.models.host_choices import HostChoice
from foundations_tui.ui.screens.job_form import FormResult, JobForm, Submitted
from foundations_tui.ui.screens.task_output import NextStep, TaskOutput
from foundations_tui.ui.tasks import Shown
from foundations_tui.ui.theme import name_of
from foundations_tui.ui.workspace import Workspace
from remote_agent.protocol.wire import JsonTable

if TYPE_CHECKING:
    from foundations_tui.submit.pipeline import Preview

_LEFT_TO_THE_VERB = ("--help", "-h", "--wait", "--follow", "--json", "--accept-new-host-key")
"""Options of submit that say what a terminal does."""
_OPTIONS = ALL_OPTIONS | {
    flag[2:].replace("-", "_"): Option(flag, Kind.FLAG, "Is of the command line.")
    for flag in ("--yes", "--detach", "--dry-run")
}
"""What may be typed: the command line's own questions and waiting are not asked of an app."""
_PREVIEWED = 200
"""Jobs of a sweep that a preview lists."""


class SubmitActions:
    """Shows forms, and submits through the app's own connections."""

    def __init__(self, workspace: Workspace, session: Session) -> None:
        self._workspace = workspace
        self._session = session
        self._drafts: dict[str, Mapping[str, str]] = {}
        """What stood in forms that were left without a submit, by their titles."""

    # --- the form -----------------------------------------------------------------------------------------------

    def new(self) -> None:
        """Show the form for a new job."""
        self._show_form({}, "a new job")

    def edit_and_run(self, jobs: list[str] | None = None, params: Mapping[str, object] | None = None) -> None:
        """Show the form filled from the chosen job, or from one of these, to be changed and run again.

        Args:
            jobs: whole ids; the chosen ones without them.
            params: values of parameters that it is to have instead.
        """
        chosen = (jobs or self._workspace.main.chosen)[:1]

        def read_jobs(conn: sqlite3.Connection) -> list[tuple[JobRow, JsonTable]]:
            return [(row, queries.spec(conn, row.job)) for row in queries.jobs_by_id(conn, chosen)]

        def show(jobs_read: list[tuple[JobRow, JsonTable]]) -> None:
            for row, spec in jobs_read:
                self._show_form(with_params(of_job(row, spec), params or {}), f"a new job like {name_of(row)}")

        self._workspace.read_for_key("chosen", read_jobs, show)

    def _show_form(self, values: Mapping[str, str], title: str) -> None:
        """Show a form as it was left without a submit, else with the values it begins with."""

        def left(result: FormResult | None) -> None:
            if result is None:
                return
            self._drafts.pop(title, None)
            if result.submitted:
                self._workspace.look()
            elif changed(result.values, values):
                self._drafts[title] = result.values
            if result.job:
                self._show_submitted(result.job)

        names = self._workspace.main.hosts

        def show(hosts: list[HostChoice]) -> None:
            form = JobForm(values, title, self.preview, self.submit, hosts, self._drafts.get(title))
            self._workspace.push_screen(form, left)

        self._workspace.read_for_key("hosts", lambda conn: host_choices.read(conn, names), show)

    # --- behind the colon ---------------------------------------------------------------------------------------

    def takes(self, command: Command) -> bool:
        """Return whether a verb makes jobs and needs no terminal, so that it runs on the app's own connections."""
        end = command.words.index("--") if "--" in command.words else len(command.words)
        return command.verb == "submit" and not set(_LEFT_TO_THE_VERB) & set(command.words[:end])

    def run(self, words: Sequence[str]) -> None:
        """Submit, or show what would be, what stands behind the verb."""
        try:
            values, _ = read_words(words, _OPTIONS)
        except UsageError:
            values = {}  # the submit says what is wrong
        if values.get("dry_run"):
            self.preview(words, lambda: self.submit(words, self._show_job))
        else:
            self.submit(words, self._show_job)

    def _show_job(self, window: TaskOutput, job: str) -> None:
        self._workspace.look()
        if job:
            self._show_submitted(job)

    # --- what is done -------------------------------------------------------------------------------------------

    def preview(self, words: Sequence[str], submit: Callable[[], None]) -> None:
        """Show what would be sent, and how many jobs that are.

        Args:
            words: as behind ``foundations submit``.
            submit: called when the user goes on from there.
        """

        def operation(progress: Progress, columns: int) -> Shown:
            submission = self._read(words)
            return Shown(_preview_text(submission, submissions.preview(self._session, submission, progress), columns))

        dry_run = [] if "--dry-run" in words else ["--dry-run"]
        title = humanize.command(["foundations", "submit", *dry_run, *words])
        background.show(self._workspace, title, operation, NextStep("submits it", lambda _: submit()))

    def submit(self, words: Sequence[str], closed: Submitted) -> None:
        """Submit, and show how far it is.

        Args:
            words: as behind ``foundations submit``.
            closed: called with the window when it is closed, and the first job's id when that is to be shown.
        """

        def operation(progress: Progress, columns: int) -> Shown:
            submission = self._read(words)
            submitted = submissions.submit(self._session, submission, progress)
            ids = [job.view.spec.job for job in submitted]
            return Shown(submissions.submitted_text(submission, submitted), ids)

        shown: list[str] = []
        title = humanize.command(["foundations", "submit", *words])
        step = NextStep("shows the job", lambda ids: shown.extend(ids if isinstance(ids, list) else []))

        def left(window: TaskOutput) -> None:
            if window.is_done:
                self._workspace.note(title)
            closed(window, shown[0] if shown else "")

        background.show(self._workspace, title, operation, step, left, shows_end=True)

    def _read(self, words: Sequence[str]) -> Submission:
        values, command = read_words(words, _OPTIONS)
        return submissions.read(self._session.store.conn, command, values)

    def _show_submitted(self, job: str) -> None:
        """Show a job in the table; by itself, where the table has it not."""
        main = self._workspace.back_to_main()
        main.action_page("jobs")
        view = main.jobs.view

        def show(place: int | None) -> None:
            if place is None or view.group_by or view != main.jobs.view:
                self._workspace.show_job(job)
            else:
                main.jobs.table.find(job)

        self._workspace.read_for_key(
            "chosen", lambda conn: queries.position(conn, job, view.filter(conn), view.sort), show
        )


def _preview_text(submission: Submission, preview: Preview, columns: int) -> str:
    """Return what would be submitted and shipped."""
    lines = [*submission.notes, *named_files.warnings(submission.requests[0])]
    if submission.is_sweep:
        requests = submission.requests
        rows = [
            [str(n), *(str(r.params[key]) for key in submission.axes), humanize.command(list(r.command))]
            for n, r in enumerate(requests[:_PREVIEWED], 1)
        ]
        lines += [submission.words, tables.text(("N", *submission.axes, "COMMAND"), rows, columns)]
        if len(requests) > _PREVIEWED:
            lines.append(f"and {humanize.plural(len(requests) - _PREVIEWED, 'more job')}")
        lines.append("")
    lines += preview.lines
    if preview.left_behind.names:
        lines.append(preview.left_behind.words)
    if preview.largest:
        rows = [[humanize.size(size), path] for path, size in preview.largest]
        lines += ["", tables.text(("BYTES", "LARGEST FILES"), rows, columns)]
    return "\n".join(lines)
