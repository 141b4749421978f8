"""The options that a saved view holds."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import click

from foundations_tui.errors import NotFoundError
from foundations_tui.store import queries

VIEW_OPTIONS = ("where", "sort", "columns", "group_by")


def view_options(command: Any) -> Any:
    """Give a verb the options that a view is made of."""
    for option in (
        click.option("--group-by", default="", metavar="EXPR", help="A line for each value, over its jobs."),
        click.option("--columns", default="", metavar="EXPR,EXPR", help="What to show; 'help' lists what there is."),
        click.option("--sort", default="", metavar="EXPR[:asc|:desc]", help="Order (default: newest first)."),
        click.option("--where", default="", metavar="QUERY", help="Only jobs that a query finds."),
    ):
        command = option(command)
    return command


def view_of(conn: sqlite3.Connection, name: str) -> dict[str, str]:
    if not name:
        return {}
    text = queries.meta(conn, queries.VIEW + name)
    if text is None:
        known = ", ".join(queries.metas(conn, queries.VIEW)) or "none"
        raise NotFoundError(f"there is no view {name!r}", f"there are: {known}")
    found: dict[str, str] = json.loads(text)
    return found
