"""Looking closer at jobs: their artifacts, files, code, logs, and in what two of them differ."""

from __future__ import annotations

import os
import shlex
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from foundations_tui.config import locations
from foundations_tui.session import Session
from foundations_tui.store import queries
from foundations_tui.store.rows import JobRow
from foundations_tui.sync import code
from foundations_tui.text import tables
from foundations_tui.ui.actions import background
from foundations_tui.ui.models import images
from foundations_tui.ui.screens.artifacts import Artifacts
from foundations_tui.ui.screens.differences import CodeDifference, LogDifference
from foundations_tui.ui.screens.image import Picture
from foundations_tui.ui.screens.lineage import Lineage
from foundations_tui.ui.screens.menu import Choice, Menu
from foundations_tui.ui.screens.preview import FilePreview
from foundations_tui.ui.tasks import Shown
from foundations_tui.ui.theme import LOOK, name_of
from foundations_tui.ui.workspace import Workspace

if TYPE_CHECKING:
    from PIL.Image import Image

    from foundations_tui.submit.progress import Progress

_TEXT_BYTES = 4096
"""So much of a file is looked at to tell text from all else."""


class JobInspector:
    """Shows what belongs to jobs."""

    def __init__(self, workspace: Workspace, session: Session) -> None:
        self._workspace = workspace
        self._session = session

    def open_log(self, variable: str, usual: str) -> None:
        """Open the log in the program that a variable of the environment names, in $PAGER or $EDITOR."""
        path = self._workspace.main.log_pane.log_view.path
        if path is None or not path.exists():
            self._workspace.say("there is no log yet")
            return
        program = shlex.split(os.environ.get(variable) or usual)

        def show() -> None:
            try:
                subprocess.run([*program, str(path)])
            except OSError as error:
                input(f"{program[0]}: {error.strerror}; enter goes back ")

        background.with_terminal(self._workspace, show)

    # --- artifacts and files ------------------------------------------------------------------------------------

    def list_artifacts(self, row: JobRow) -> None:
        """List the artifacts of a job."""
        self._workspace.push_screen(Artifacts(self._workspace.reader, row))

    def show_lineage(self, row: JobRow) -> None:
        """Show what a job comes from, and what came of it."""
        self._workspace.push_screen(Lineage(self._workspace.reader, row.job, name_of(row)))

    def open_artifact(self, row: JobRow, key: str) -> None:
        """Show an artifact, or open it with what this machine has for it; it is fetched if need be."""
        background.do(self._workspace, lambda: self._open_artifact(row, key))

    def _open_artifact(self, row: JobRow, key: str) -> str:
        """Fetch an artifact if need be, and show it; in a thread."""
        from foundations_tui.sync import outputs

        path = outputs.artifact(self._session, row, key)
        if path.is_file() and _is_text(path):
            self._workspace.call_from_thread(self._workspace.push_screen, FilePreview(path, f"{row.job[:6]}  {key}"))
            return f"{key} is {path}"
        picture = images.load(path) if path.is_file() and not LOOK.ascii else None
        if picture is not None:
            self._workspace.call_from_thread(self._show_picture, picture, f"{row.job[:6]}  {key}")
            return f"{key} is {path}"
        opener = _opener()
        if opener is None:
            return f"{key} is {path}"
        subprocess.Popen([opener, path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        return f"{key} is opened: {path}"

    def _show_picture(self, picture: Image, title: str) -> None:
        self._workspace.push_screen(Picture(images.widget(self._workspace, picture), title))

    def show_files(self, row: JobRow) -> None:
        """List the files of a job's folder."""

        def operation(progress: Progress, columns: int) -> Shown:
            from foundations_tui.jobs import job_files

            progress.stage(f"asking {row.host}")
            folder = job_files.list_files(self._session, row)
            table = tables.text(job_files.HEADERS, job_files.cells(folder, time.time()), columns)
            more = "\nthere are more: foundations ls JOB FOLDER lists one below it" if folder.truncated else ""
            return Shown(table + more)

        background.show(self._workspace, f"files of {name_of(row)}", operation)

    # --- differences --------------------------------------------------------------------------------------------

    def offer_differences(self, jobs: list[str] | None = None) -> None:
        """Offer what can be compared of two jobs; of one, with the one before it in its project, or with its commit.

        Args:
            jobs: whole ids; those that are compared or chosen when they are not given.
        """
        two = (self._workspace.main.compared if jobs is None else jobs)[:2]

        def read(conn: sqlite3.Connection) -> list[JobRow]:
            rows = queries.jobs_by_id(conn, two, details=False)
            if len(rows) == 1:
                rows += queries.jobs_by_id(conn, queries.jobs_before(conn, rows[0], 1), details=False)[:1]
            return rows

        self._workspace.read_for_key("differences", read, self._offer_differences)

    def _offer_differences(self, rows: list[JobRow]) -> None:
        if not rows:
            return
        row, others = rows[0], rows[1:]
        choices = [Choice("c", "changes since its commit", "commit")]
        for other in others:
            choices.append(Choice("d", f"code: against {name_of(other)}", "code"))
            choices.append(Choice("l", f"log: against {name_of(other)}", "log"))

        def show(answer: str | None) -> None:
            if answer == "commit":
                self._show_code([row])
            elif answer == "code":
                self._show_code([others[0], row])
            elif answer == "log":
                self._show_logs(others[0], row)

        self._workspace.push_screen(Menu(f"differences of {name_of(row)}", choices), show)

    def _show_code(self, rows: list[JobRow]) -> None:
        title = f"code of {'  and  '.join(name_of(row) for row in rows)}"
        self._workspace.push_screen(CodeDifference(lambda: code.difference(self._session, rows), title))

    def _show_logs(self, first: JobRow, other: JobRow) -> None:
        left, right = (locations.log_file(row.job, row.attempt or 1) for row in (first, other))
        self._workspace.push_screen(LogDifference(left, right, f"{name_of(first)}  and  {name_of(other)}"))


def _opener() -> str | None:
    """Return the program that opens a file as the desktop would; None without a desktop."""
    if sys.platform == "darwin":
        return shutil.which("open")
    return shutil.which("xdg-open") if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") else None


def _is_text(path: Path) -> bool:
    with path.open("rb") as file:
        begin = file.read(_TEXT_BYTES)
    try:
        begin.decode()
    except UnicodeDecodeError as error:
        return error.start > len(begin) - 4  # it was cut within a character
    return b"\0" not in begin
