"""Results of operations in print: ids on stdout, the rest on stderr, the first error as the exit code."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click

from foundations_tui.cli.params import chosen_jobs, connecting, jobs_argument, say, where_option, yes_option
from foundations_tui.cli.stderr import tell
from foundations_tui.errors import FoundationsError
from foundations_tui.store import queries
from foundations_tui.text import humanize

if TYPE_CHECKING:
    from foundations_tui.jobs.annotations import AnnotateResult
    from foundations_tui.jobs.outcome import HostOutcome, Outcome
    from foundations_tui.session import Session
    from foundations_tui.store.rows import JobRow


def print_outcome(outcome: Outcome) -> None:
    """Print the id of a job that something was done to, and what is worth telling; or the error."""
    if outcome.error is not None:
        tell(outcome.error)
        return
    click.echo(outcome.row.job)
    if outcome.words:
        say(f"{outcome.row.job[:6]} {outcome.words}")


def print_failure(outcome: Outcome) -> None:
    """Print the error of a job to which nothing was done; the others are printed together later."""
    if outcome.error is not None:
        tell(outcome.error)


def print_hosts(outcomes: Iterable[HostOutcome]) -> None:
    """Print what was done on each host."""
    for outcome in outcomes:
        if outcome.error is not None:
            tell(outcome.error)
        else:
            say(f"{outcome.host}: {outcome.words}")


def exit_code(outcomes: Iterable[Outcome | HostOutcome]) -> int:
    """Return the exit code of an operation on several jobs or hosts: that of the first error."""
    from foundations_tui.jobs.outcome import first_error

    error = first_error(outcomes)
    return 0 if error is None else error.exit_code


def find_each(conn: sqlite3.Connection, names: Sequence[str]) -> tuple[list[JobRow], int]:
    """Return (the jobs that are named, an exit code); a name that means no job is reported, and the others go on."""
    rows, code = [], 0
    for name in names:
        try:
            rows.append(queries.find(conn, name))
        except FoundationsError as error:
            tell(error)
            code = code or error.exit_code
    return rows, code


def print_annotated(annotated: AnnotateResult) -> None:
    """Print the ids of annotated jobs, which hosts do not know of it yet, and on a terminal how it is taken back."""
    if annotated.left_out:
        say(f"{humanize.plural(annotated.left_out, 'job')} of other people left out (--others)")
    for host, error in annotated.undelivered.items():
        say(f"{host} will be told at the next contact: {error}")
    click.echo("\n".join(row.job for row in annotated.rows))
    if os.isatty(1):
        say(f"to undo it: {annotated.undo.command}")


def marking(verb: str, key: str, value: bool, help_text: str) -> click.Command:
    """Return a verb that sets one mark."""
    trashed = verb == "restore"

    @click.command(verb, help=help_text)
    @jobs_argument(required=False, trashed=trashed)
    @where_option
    @yes_option
    @click.option("--others", is_flag=True, help="Also jobs of other people.", hidden=key == "starred")
    @connecting
    def command(session: Session, jobs: tuple[str, ...], where: str, yes: bool, others: bool) -> None:
        from foundations_tui.jobs.annotations import annotate
        from foundations_tui.jobs.ownership import actor_of

        rows = chosen_jobs(session.store.conn, jobs, where, yes, verb, trashed)
        print_annotated(annotate(session, actor_of(session.hosts, others), rows, {key: value}, named=not where))

    return command
