"""The verb ui."""

from __future__ import annotations

import sys

import click

from foundations_tui.errors import UsageError


@click.command()
def ui() -> None:
    """Open the terminal app on all jobs, live."""
    open_app()


def open_app() -> None:
    """Open the terminal app.

    Raises:
        UsageError: there is no terminal.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "the terminal app needs a terminal", "foundations jobs lists jobs; foundations --help shows more"
        )
    from foundations_tui import runs
    from foundations_tui.cli.main import VERBS
    from foundations_tui.session import Session
    from foundations_tui.ui.app import FoundationsApp  # Textual: 190 ms

    runs.take_in()
    FoundationsApp(Session(), verbs=VERBS).run()
