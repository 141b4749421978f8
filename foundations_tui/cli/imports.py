"""The verb import: runs of other tools."""

from __future__ import annotations

import click

from foundations_tui import words
from foundations_tui.cli.options import LocalPath, ProjectName, say


@click.command("import")
@click.argument("tool", type=click.Choice(("mlflow", "tensorboard")))
@click.argument("path", type=LocalPath("dir"))
@click.option("--project", default="", type=ProjectName(), help="Into this project (default: what it is called there).")
def import_(tool: str, path: str, project: str) -> None:
    """Take in the runs of another tool: parameters, tags, and all values of all metrics.

    \b
      foundations import mlflow mlruns              a folder, a database file, or a tracking URI
      foundations import tensorboard runs           each folder with event files is a run
    What is here already is left as it is, so it can be repeated.
    """
    from foundations_tui import imports
    from foundations_tui.store.db import Store

    known: list[str] = []

    def said(one: imports.Imported, is_new: bool) -> None:
        if is_new:
            click.echo(one.job)
        else:
            known.append(one.job)

    store = Store()
    try:
        found = {"mlflow": imports.mlflow, "tensorboard": imports.tensorboard}[tool](path, project)
        count = imports.take_in(store, found, said)
    finally:
        store.close()
    say(f"{words.plural(count, 'run')} taken in" + (f"; {len(known):,} were here already" if known else ""))
