"""Running a job again from its own snapshot, with some of it changed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from foundations_tui.errors import UsageError
from foundations_tui.store import queries
from foundations_tui.store.rows import JobRow
from foundations_tui.submit.request import words_of
from foundations_tui.sweeps import grid, submission
from foundations_tui.sweeps.submission import ALL_OPTIONS, Submission
from foundations_tui.text import command_line
from foundations_tui.text.options import pairs, parameters, parameters_of_file, read_options
from remote_agent.protocol.services import KIND
from remote_agent.protocol.wire import JsonTable


def read(
    conn: sqlite3.Connection,
    row: JobRow,
    command: Sequence[str],
    values: Mapping[str, Any],
    param_only: bool = False,
    own_params: JsonTable | None = None,
) -> Submission:
    """Parse what to run again.

    Args:
        conn: a connection of the store.
        row: the job.
        command: the words of another command; empty for the job's own.
        values: the options that are given, and only those, by the names of ``ALL_OPTIONS``: they win over the job's.
        param_only: whether parameters may reach the job by its environment and parameters file alone.
        own_params: the parameters in place of the job's; None for the job's own.
    Raises:
        UsageError: it cannot be understood, or a parameter would change nothing.
    """
    spec = queries.spec(conn, row.job)
    if spec.get("kind") == KIND:
        name = spec.get("service", {}).get("name", "NAME")
        raise UsageError(
            f"job {row.job} is a replica of service {name}: it stays up, and is not run again",
            f"foundations serve {name} --code-of {row.job[:6]} -- COMMAND serves its code",
        )
    own = spec.get("params", {}) if own_params is None else own_params
    params = _given_params(values)
    words = list(command) or list(spec.get("template") or spec["command"])
    is_filled = bool(spec.get("template")) or words != list(spec["command"])
    if not param_only:
        _refuse_what_reaches_nothing(words if is_filled else (), words, own, params)
    others = {name: value for name, value in values.items() if name not in ("params", "params_file")}
    merged = {**_own_values(row, spec), **others}
    if values.get("tags"):
        merged["tags"] = _merged("tags", spec, values["tags"])
    swept = {text.partition("=")[0] for text in values.get("sweeps") or ()}
    kept = {key: value for key, value in {**own, **params}.items() if key not in swept}
    return submission.read(conn, words, merged, params=kept)


def edited(text: str) -> tuple[list[str], JsonTable]:
    """Return (the command, the parameters) that somebody has made of what ``to_edit`` returned.

    Args:
        text: JSON.
    Raises:
        UsageError: it is no JSON, or not of that form.
    """
    try:
        table = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"what was written is no JSON: {error}", "nothing was submitted") from None
    command, params = (table.get("command"), table.get("params", {})) if isinstance(table, dict) else (None, None)
    if not isinstance(command, list) or not command or not all(isinstance(word, str) for word in command):
        raise UsageError('"command" has to be a list of texts', "nothing was submitted")
    if not isinstance(params, dict):
        raise UsageError('"params" has to be a table', "nothing was submitted")
    return command, params


def to_edit(conn: sqlite3.Connection, row: JobRow) -> str:
    """Return the command, with its placeholders, and the parameters of a job as text to be changed."""
    spec = queries.spec(conn, row.job)
    shown = {"command": spec.get("template") or spec["command"], "params": spec.get("params", {})}
    return json.dumps(shown, indent=2, ensure_ascii=False) + "\n"


def _own_values(row: JobRow, spec: JsonTable) -> JsonTable:
    """Return the options that the job itself had, as if they had been given."""
    words = words_of({**spec, "params": {}})
    values = read_options([word for some in words.values() for word in some], ALL_OPTIONS, "rerun")
    return {**values, "code_of": row.job}


def _merged(name: str, spec: JsonTable, given: Sequence[str]) -> tuple[str, ...]:
    """Return what an option of K=V words gives when some of its entries are changed."""
    option = ALL_OPTIONS[name]
    own = option.words(spec.get(name) or {})[1::2]
    changed = pairs(given, option.flag, value_needed=False)
    return (*(word for word in own if word.partition("=")[0] not in changed), *given)


def _given_params(values: Mapping[str, Any]) -> JsonTable:
    of_file = parameters_of_file(values["params_file"]) if values.get("params_file") else {}
    return {**of_file, **parameters(values.get("params") or (), "--param")}


def _refuse_what_reaches_nothing(
    filled: Sequence[str], words: Sequence[str], own: JsonTable, params: JsonTable
) -> None:
    """Refuse parameters that stand in no placeholder, and that the job did not have or has in its command, too.

    Args:
        filled: the words whose placeholders are filled.
        words: the command.
        own: the job's parameters.
        params: those that are given.
    """
    in_command = command_line.parse(words, shell=len(words) == 1)
    for name in params:
        if grid.uses(filled, name):
            continue
        if name in in_command:
            raise UsageError(
                f"--param {name}: the command itself says {name} = {in_command[name]!r}, and that would stay",
                "change both with --edit, or put another command behind --; --param-only changes the parameter alone",
            )
        if name not in own:
            raise UsageError(
                f"--param {name} reaches nothing: the command has no {{{name}}}, and the job had no such parameter",
                f"it had: {', '.join(own) or 'none'}; --param-only passes it on all the same",
            )
