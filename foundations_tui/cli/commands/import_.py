"""The verb import: runs of other tools."""

from __future__ import annotations

import click

from foundations_tui.cli.params import LocalPath, ProjectName, say
from foundations_tui.text import humanize


@click.command("import")
@click.argument("tool", type=click.Choice(("mlflow", "tensorboard")))
@click.argument("path", type=LocalPath("dir"))
@click.option("--project", default="", type=ProjectName(), help="Import into this project (default: its name there).")
def import_(tool: str, path: str, project: str) -> None:
    """Import the runs of another tool: parameters, tags, and all values of all metrics.

    \b
      foundations import mlflow mlruns              a folder, a database file, or a tracking URI
      foundations import tensorboard runs           each folder with event files is a run
    Run it again to update the imported runs; your notes, tags and stars on them stay.
    """
    from foundations_tui.ingest import importers
    from foundations_tui.store.db import Store

    store = Store()
    try:
        runs = {"mlflow": importers.mlflow, "tensorboard": importers.tensorboard}[tool](path, project)
        taken = importers.ingest(store, runs, lambda one: click.echo(one.job))
    finally:
        store.close()
    parts = [f"{humanize.plural(taken.new, 'run')} taken in"]
    parts += [f"{taken.changed:,} brought up to date"] if taken.changed else []
    parts += [f"{taken.known:,} were here already"] if taken.known else []
    say("; ".join(parts))
