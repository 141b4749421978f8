"""How errors look, and whether there are colors."""

from __future__ import annotations

import os

import click

from foundations_tui.errors import FoundationsError
from foundations_tui.text.sanitize import several_lines


def tell(error: FoundationsError) -> None:
    """Print an error and what can be done about it."""
    click.echo(click.style("error: ", fg="red") + several_lines(str(error)), err=True, color=use_color())
    for line in several_lines(error.hint).splitlines():
        click.echo(f"hint: {line}", err=True)


def use_color() -> bool | None:
    """Return False when the user wants no colors; None leaves it to whether it is a terminal."""
    return False if os.environ.get("NO_COLOR") else None
