"""The verb views."""

from __future__ import annotations

import json

import click

from foundations_tui.cli import output
from foundations_tui.cli.params import json_option, project_filter, reader, say, yes_option
from foundations_tui.cli.view_options import VIEW_OPTIONS, view_of, view_options
from foundations_tui.store import expressions, queries
from foundations_tui.text.sanitize import one_line


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def views(ctx: click.Context, as_json: bool) -> None:
    """List saved views; save and remove them."""
    if ctx.invoked_subcommand is not None:
        return
    found = queries.metas(reader(False), queries.VIEW)
    if as_json:
        output.print_json([{"view": name, **json.loads(text)} for name, text in found.items()])
        return
    table = [[name, *(json.loads(text).get(option, "") for option in VIEW_OPTIONS)] for name, text in found.items()]
    output.print_table(("VIEW", "WHERE", "SORT", "COLUMNS", "GROUP BY"), table)


@views.command("save")
@click.argument("name")
@view_options
def save_view(name: str, **options: str) -> None:
    """Save a view: foundations jobs --view NAME shows it."""
    from foundations_tui.store import writes

    conn = reader(False)
    which = project_filter(conn, query=options["where"])
    expressions.parse_query(options["where"])
    for column in expressions.parse_columns(options["columns"]) if options["columns"] else []:
        which.search(conn).meaning(column, options["columns"])
    writes.remember(queries.VIEW + name, json.dumps({key: value for key, value in options.items() if value}))
    say(f"saved: foundations jobs --view {one_line(name)}")


@views.command("remove")
@click.argument("name")
@yes_option
def remove_view(name: str, yes: bool) -> None:
    """Remove a saved view."""
    from foundations_tui.store import writes

    view_of(reader(False), name)
    writes.remember(queries.VIEW + name, None)
