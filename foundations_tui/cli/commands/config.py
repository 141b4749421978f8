"""The verb config: what may stand in the files that people write."""

from __future__ import annotations

import click

_FILES = ("hosts", "project", "app", "sweep", "search")


@click.group()
def config() -> None:
    """Describe the configuration files: hosts.toml, foundations.toml, app.toml, sweep files."""


@config.command()
@click.argument("file", type=click.Choice(_FILES))
def schema(file: str) -> None:
    """Print the JSON schema of a file, by which editors complete and check it.

    \b
      foundations config schema hosts > hosts.schema.json
    """
    from foundations_tui.config.schema import json_schema

    click.echo(json_schema(file), nl=False)
