"""The verb rerun."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from foundations_tui.cli.commands.submit import carry_out, outcome_options
from foundations_tui.cli.params import LocalPath, connecting_to_submit, job_argument, need_terminal
from foundations_tui.cli.table_options import table_options
from foundations_tui.errors import UsageError
from foundations_tui.store import queries
from foundations_tui.sweeps import rerun as reruns
from foundations_tui.sweeps.submission import ALL_OPTIONS

if TYPE_CHECKING:
    from foundations_tui.session import Session

_BY_DEFAULT = click.core.ParameterSource.DEFAULT
_OPTIONS = {name: option for name, option in ALL_OPTIONS.items() if name not in ("folder", "code_of")}


@click.command()
@table_options(_OPTIONS)
@click.option("--edit", is_flag=True, help="Change the command and the parameters in $EDITOR first.")
@click.option("--param-only", is_flag=True, help="Take parameters that stand in no {placeholder} of the command.")
@outcome_options
@job_argument
@click.argument("command", nargs=-1, type=LocalPath(), metavar="[-- COMMAND...]")
@connecting_to_submit
def rerun(
    session: Session,
    job: str,
    command: tuple[str, ...],
    edit: bool,
    param_only: bool,
    then: str,
    dry_run: bool,
    as_json: bool,
    yes: bool,
    **values: Any,
) -> int:
    """Run a job again from its own code, whatever folder you are in; options that are given win over the job's.

    \b
      foundations rerun 3f9a2c
      foundations rerun 3f9a2c --param lr=3e-4 --host gpu2
      foundations rerun 3f9a2c --job-seed 7 -- python train.py --long

    --param fills the {placeholders} of a sweep's command again. The environment variables are the job's own; Python and
    setup lines are those of its host today. Secrets are read from your shell again.
    """
    context = click.get_current_context()
    given = {name: value for name, value in values.items() if context.get_parameter_source(name) is not _BY_DEFAULT}
    row = queries.find(session.store.conn, job)
    words, params = list(command), None
    if edit:
        if words:
            raise UsageError("either --edit or -- COMMAND")
        words, params = _edited(reruns.to_edit(session.store.conn, row))
    submission = reruns.read(session.store.conn, row, words, given, param_only, params)
    return carry_out(session, submission, then, dry_run, as_json, yes)


def _edited(text: str) -> tuple[list[str], dict[str, Any]]:
    """Return the command and the parameters as the user leaves them in an editor."""
    need_terminal("--edit opens an editor")
    changed = click.edit(text, extension=".json")
    return reruns.edited(text if changed is None else changed)
