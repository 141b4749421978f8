"""What verbs say of jobs, and how it is undone."""

from __future__ import annotations

import os
import time
from typing import Any

import click

from foundations_tui.cli.params import chosen_jobs, connecting, jobs_argument, say, where_option, yes_option
from foundations_tui.config.hosts import owner_name
from foundations_tui.jobs.ownership import Actor
from foundations_tui.session import Session
from foundations_tui.store import queries
from foundations_tui.store.rows import JobRow
from foundations_tui.text import humanize


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
        rows = chosen_jobs(session.store.conn, jobs, where, yes, verb, trashed)
        if key != "starred":  # that hides jobs from everybody, or shows them again
            rows = _own(session, rows, Actor(owner_name(session.hosts), others), bool(where))
        annotate(session, rows, {key: value})

    return command


def _own(session: Session, rows: list[JobRow], actor: Actor, by_query: bool) -> list[JobRow]:
    """Return the jobs that somebody may touch.

    Raises:
        UsageError: one that was named is somebody else's, or all that a query finds are.
    """
    mine = [row for row in rows if actor.may_touch(row)]
    for row in rows:
        if not by_query or not mine:
            actor.check(row)
    if len(mine) < len(rows):
        say(f"{humanize.plural(len(rows) - len(mine), 'job')} of other people left out (--others)")
    return mine


def annotate(session: Session, rows: list[JobRow], changes: dict[str, Any]) -> None:
    """Say it here, then to the hosts; one that is out of reach is told at the next contact."""
    from foundations_tui.jobs import operations

    problems = operations.annotate(session, rows, changes, time.time())
    for host, error in problems.items():
        say(f"{host} will be told at the next contact: {error}")
    click.echo("\n".join(row.job for row in rows))
    if not os.isatty(1):
        return
    say("to undo it: " + _undo(rows, changes))


def _undo(rows: list[JobRow], changes: dict[str, Any]) -> str:
    jobs = " ".join(row.job[: queries.SHORTEST] for row in rows[:3]) + (" ..." if len(rows) > 3 else "")
    verbs = {("starred", True): "unstar", ("starred", False): "star"}
    verbs |= {("archived", True): "unarchive", ("archived", False): "archive"}
    verbs |= {("trashed", True): "restore", ("trashed", False): "delete"}
    for key, value in changes.items():
        if (key, value) in verbs:
            return f"foundations {verbs[key, value]} {jobs}"
        if key == "note":
            return f"foundations note {jobs} {rows[0].note!r}"
        if key == "project":
            return f"foundations project rename {value} {rows[0].project}"
        before = rows[0].tags.get(key[4:])
        if before is None:
            return f"foundations tag {jobs} --remove {key[4:]}"
        return f"foundations tag {jobs} {key[4:]}={before}"
    return "nothing"
