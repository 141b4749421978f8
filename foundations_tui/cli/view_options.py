"""The options that a saved view holds."""

from __future__ import annotations

from typing import Any

import click


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
