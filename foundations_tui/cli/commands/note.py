"""The verb note."""

from __future__ import annotations

import sys

import click

from foundations_tui.cli.outcomes import print_annotated
from foundations_tui.cli.params import connecting
from foundations_tui.errors import FoundationsError
from foundations_tui.session import Session
from foundations_tui.store import queries


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
    from foundations_tui.jobs.annotations import annotate
    from foundations_tui.jobs.ownership import actor_of

    print_annotated(annotate(session, actor_of(session.hosts), [row], {"note": text.strip()}))
