"""The verb init."""

from __future__ import annotations

from pathlib import Path

import click

from foundations_tui.cli.params import say


@click.command()
@click.argument("name", default="")
def init(name: str) -> None:
    """Make an example project in a new folder NAME; without NAME, a config in this folder.

    A config is not needed: any folder can be submitted as it is.
    """
    from foundations_tui.cli import examples

    if not name:
        click.echo(examples.write_config(Path.cwd()).name)
        say("next:\n  foundations submit --follow -- COMMAND...")
        return
    for file in examples.make_project(Path(name)):
        click.echo(f"{name}/{file}")
    inside = _repository_around(Path(name))
    if inside:
        say(f"note: {name} is inside the repository {inside}: a submit from it ships that repository whole")
    elif examples.begin_repository(Path(name)):
        say(f"{name} is a git repository: jobs know their commit, and foundations diff shows what changed since")
    say(f"next:\n  cd {name}\n  foundations submit --follow -- python train.py")


def _repository_around(folder: Path) -> Path | None:
    return next((parent for parent in folder.resolve().parents if (parent / ".git").exists()), None)
