"""The verb project: a project is renamed."""

from __future__ import annotations

import click

from foundations_tui.cli.outcomes import print_annotated
from foundations_tui.cli.params import ProjectName, connecting, say
from foundations_tui.errors import NotFoundError, UsageError
from foundations_tui.session import Session
from foundations_tui.store import queries
from foundations_tui.text import humanize


@click.group()
def project() -> None:
    """Rename projects (foundations projects lists them)."""


@project.command()
@click.argument("old", type=ProjectName())
@click.argument("new")
@connecting
def rename(session: Session, old: str, new: str) -> None:
    """Give a project's jobs, all of them, another project name; what is submitted later says its own."""
    from foundations_tui.jobs.annotations import annotate
    from foundations_tui.jobs.ownership import actor_of

    rows = queries.jobs(session.store.conn, queries.JobFilter(project=old, trashed=True), details=False)
    if not rows:
        raise NotFoundError(f"there is no project {old!r}", "foundations projects lists them")
    if not new.strip():
        raise UsageError("a project needs a name")
    print_annotated(annotate(session, actor_of(session.hosts), rows, {"project": new}))
    say(f"{humanize.plural(len(rows), 'job')} of {old} now belong to {new}; in foundations.toml: project = {new!r}")
