"""Programs of the user's, from [commands] of app.toml: about the chosen jobs, the host or the GPU under the cursor."""

from __future__ import annotations

import functools
import os
import sqlite3
import subprocess
import tempfile
from collections.abc import Sequence

from foundations_tui.config import locations
from foundations_tui.config.app import OwnCommand
from foundations_tui.errors import FoundationsError
from foundations_tui.session import Session
from foundations_tui.store import queries
from foundations_tui.store.rows import JobRow
from foundations_tui.text import humanize
from foundations_tui.text.sanitize import one_line
from foundations_tui.ui.actions import background
from foundations_tui.ui.models.hosts_table import Place
from foundations_tui.ui.screens.confirm import Confirm
from foundations_tui.ui.workspace import Workspace

Fields = dict[str, str]
_LONGEST_SAID = 300


class OwnCommands:
    """Fills their arguments in and starts them; no shell is between."""

    def __init__(self, workspace: Workspace, session: Session, commands: Sequence[OwnCommand]) -> None:
        self._workspace = workspace
        self._session = session
        self.by_name = {command.name: command for command in commands}

    def run(self, name: str) -> None:
        """Run one, about what is chosen."""
        command = self.by_name[name]
        if command.on == "job":
            chosen = self._workspace.main.chosen

            def read(conn: sqlite3.Connection) -> list[JobRow]:
                return queries.jobs_by_id(conn, chosen, details=False)

            self._workspace.read_for_key("chosen", read, lambda rows: self._start(command, list(map(_of_job, rows))))
        else:
            self._start(command, self._of_place(self._workspace.main.place, command.on))

    def _of_place(self, place: Place | None, kind: str) -> list[Fields]:
        """Return the fields of the host, or the GPU, under the cursor of the page of hosts."""
        if place is None or (kind == "gpu" and not place.gpu):
            return []
        host = self._session.hosts.hosts.get(place.host)
        fields = {"host": place.host, "address": host.address if host else ""}
        gpu = self._workspace.main.gpu
        if gpu is not None:
            fields |= {"gpu": str(gpu.index), "uuid": gpu.uuid, "job": gpu.jobs[0] if gpu.jobs else ""}
        return [fields]

    def _start(self, command: OwnCommand, about: list[Fields]) -> None:
        if not about:
            self._workspace.say(f"{command.name} is about a {command.on}, and none is chosen", failed=True)
            return
        for fields in about:
            for argument in command.may_be_options(fields):
                words = f"{command.name}: {argument!r} would be taken for an option of {command.run[0]}"
                self._workspace.say(f"{words}; the variables FOUNDATIONS_... have each field, too", failed=True)
                return
        if command.confirm or len(about) > 1:
            detail = humanize.command(command.argv(about[0])) + (" ..." if len(about) > 1 else "")
            question = f"Run {command.name}" + (f" on {humanize.plural(len(about), command.on)}?" if about[1:] else "?")
            self._workspace.push_screen(
                Confirm(question, detail), lambda yes: self._run(command, about) if yes else None
            )
        else:
            self._run(command, about)

    def _run(self, command: OwnCommand, about: list[Fields]) -> None:
        for fields in about:
            argv, variables = command.argv(fields), {**os.environ, **_variables(fields)}
            if command.background:
                background.do(self._workspace, functools.partial(_quietly, command, argv, variables))
            else:
                background.run_in_terminal(self._workspace, argv, variables)


def _of_job(row: JobRow) -> Fields:
    return {
        "job": row.job,
        "name": row.name,
        "project": row.project,
        "group": row.group,
        "host": row.host,
        "state": row.state,
        "attempt": str(row.attempt),
        "log": str(locations.log_file(row.job, row.attempt or 1)),
    }


def _variables(fields: Fields) -> Fields:
    return {f"FOUNDATIONS_{name.upper()}": value.replace("\0", "") for name, value in fields.items()}


def _quietly(command: OwnCommand, argv: list[str], variables: Fields) -> str:
    """Run a program without the terminal; return what it said last.

    Raises:
        FoundationsError: it could not be started, or failed.
    """
    with tempfile.TemporaryFile() as said:
        try:
            code = subprocess.run(argv, env=variables, stdin=subprocess.DEVNULL, stdout=said, stderr=said).returncode
        except (OSError, ValueError) as error:
            raise FoundationsError(f"{command.name}: {argv[0]}: {getattr(error, 'strerror', None) or error}") from None
        said.seek(max(0, said.seek(0, os.SEEK_END) - _LONGEST_SAID))
        last = said.read().decode(errors="replace").strip().splitlines()[-1:]
    words = "".join(f": {one_line(line)}" for line in last)
    if code:
        raise FoundationsError(f"{command.name} ended with exit code {code}{words}")
    return f"{command.name} has ended{words}"
