"""What people say of jobs: tag, note, star, archive, and the name of a project; their hosts are told, too."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import click

from foundations_tui.cli.params import (
    ProjectName,
    chosen_jobs,
    connecting,
    jobs_argument,
    parse_pair,
    say,
    where_option,
    yes_option,
)
from foundations_tui.config.hosts import owner_name
from foundations_tui.errors import FoundationsError, NotFoundError, UsageError
from foundations_tui.jobs.ownership import Actor
from foundations_tui.session import Session
from foundations_tui.store import queries
from foundations_tui.store.rows import JobRow
from foundations_tui.text import humanize
from foundations_tui.text.command_line import literal


@click.command()
@click.argument("words_", metavar="[JOB...] KEY[=VALUE]...", nargs=-1)
@click.option("--remove", "removed", multiple=True, metavar="KEY", help="Take this tag away (repeatable).")
@where_option
@yes_option
@connecting
def tag(session: Session, words_: tuple[str, ...], removed: tuple[str, ...], where: str, yes: bool) -> None:
    """Put tags on jobs; the same key again replaces its value.

    \b
      foundations tag 8f3a12 baseline
      foundations tag 8f3a12 c41d00 dataset=v2
      foundations tag --where 'val_loss:min<0.1' good --yes
      foundations tag 8f3a12 --remove baseline
    """
    jobs, pairs = _jobs_and_tags(session, words_, bool(where), bool(removed))
    changes: dict[str, Any] = {f"tag:{key}": None for key in removed}
    for pair in pairs:
        key, value = parse_pair(pair, "a tag", value_needed=False)
        found = literal(value) if value is not None else ""
        changes[f"tag:{key}"] = found if isinstance(found, str | int | float) else value
    rows = chosen_jobs(session.store.conn, jobs, where, yes, "tag")
    annotate(session, rows, changes)


def _jobs_and_tags(
    session: Session, given: tuple[str, ...], is_query: bool, removes: bool
) -> tuple[tuple[str, ...], list[str]]:
    """Return (jobs, tags): the words in front that name jobs, and the rest."""
    if is_query:
        if not given and not removes:
            raise UsageError("which tag?", "foundations tag --where QUERY KEY or KEY=VALUE")
        return (), list(given)
    jobs: list[str] = []
    rest = list(given)
    while rest and (len(rest) > 1 or removes or not jobs):
        try:
            jobs.append(queries.resolve(session.store.conn, rest[0]))
        except NotFoundError:
            if not jobs:
                raise
            break
        rest.pop(0)
    if not rest and not removes:
        raise UsageError("which tag?", "foundations tag JOB KEY or KEY=VALUE")
    return tuple(jobs), rest


@click.command()
@click.argument("job")
@click.argument("text", required=False)
@connecting
def note(session: Session, job: str, text: str | None) -> None:
    """Write a note (Markdown) for a job; without TEXT in $EDITOR, '-' reads it from stdin, '' removes it."""
    row = queries.find(session.store.conn, job)
    if text == "-":
        text = sys.stdin.read()
    elif text is None:
        text = click.edit(row.note, extension=".md", require_save=False)
    if text is None:
        raise FoundationsError("the editor was left without a note", "foundations note JOB TEXT")
    annotate(session, [row], {"note": text.strip()})


def _marking(verb: str, key: str, value: bool, help_text: str) -> click.Command:
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


star = _marking("star", "starred", True, "Star jobs: is:starred finds them.")
unstar = _marking("unstar", "starred", False, "Take the star away.")
archive = _marking("archive", "archived", True, "Put jobs away: listings leave them out, nothing is deleted.")
restore = _marking(
    "restore", "trashed", False, "Bring deleted jobs back; `foundations jobs --where is:trashed` lists them."
)
unarchive = _marking("unarchive", "archived", False, "Bring archived jobs back into the listings.")


@click.group()
def project() -> None:
    """Rename projects (foundations projects lists them)."""


@project.command()
@click.argument("old", type=ProjectName())
@click.argument("new")
@connecting
def rename(session: Session, old: str, new: str) -> None:
    """Give a project's jobs, all of them, another project name; what is submitted later says its own."""
    rows = queries.jobs(session.store.conn, queries.JobFilter(project=old, trashed=True), details=False)
    if not rows:
        raise NotFoundError(f"there is no project {old!r}", "foundations projects lists them")
    if not new.strip():
        raise UsageError("a project needs a name")
    annotate(session, rows, {"project": new})
    say(f"{humanize.plural(len(rows), 'job')} of {old} now belong to {new}; in foundations.toml: project = {new!r}")


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
