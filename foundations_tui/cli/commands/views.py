"""The verb views."""

from __future__ import annotations

import dataclasses

import click

from foundations_tui.cli import output
from foundations_tui.cli.params import json_option, reader, say, yes_option
from foundations_tui.cli.view_options import view_options
from foundations_tui.store import views as views_store
from foundations_tui.text.sanitize import one_line


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def views(ctx: click.Context, as_json: bool) -> None:
    """List saved views; save and remove them."""
    if ctx.invoked_subcommand is not None:
        return
    saved = views_store.saved(reader(False))
    if as_json:
        output.print_json([{"view": name, **view.parts} for name, view in saved.items()])
        return
    if not saved:
        say("no views yet: foundations views save failed --where state=failed")
        return
    output.print_table(
        ("VIEW", "WHERE", "SORT", "COLUMNS", "GROUP BY"),
        [[name, *dataclasses.astuple(view)] for name, view in saved.items()],
    )


@views.command("save")
@click.argument("name")
@view_options
def save_view(name: str, **options: str) -> None:
    """Save a view: foundations jobs --view NAME shows it."""
    views_store.save(reader(False), name, views_store.SavedView(**options))
    say(f"saved: foundations jobs --view {one_line(name)}")


@views.command("remove")
@click.argument("name")
@yes_option
def remove_view(name: str, yes: bool) -> None:
    """Remove a saved view."""
    views_store.remove(reader(False), name)
