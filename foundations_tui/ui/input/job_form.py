"""What the launch form asks for, and the verb and words that come of it. No widgets."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from foundations_tui.errors import UsageError
from foundations_tui.store.rows import JobRow
from foundations_tui.text import humanize


@dataclass(frozen=True)
class Field:
    """One line of the form."""

    name: str
    option: str
    """The option of ``foundations submit`` that it stands for; empty for the command itself."""
    hint: str
    repeats: bool = False
    """Whether each of its words is given to the option."""


FIELDS = (
    Field("command", "", "python train.py --lr {lr}"),
    Field("host", "--host", "gpu1, or a,b, tag:x, any; empty for the default"),
    Field("name", "--name", "a name for the job"),
    Field("project", "--project", "empty for the folder's own"),
    Field("folder", "--dir", "what is shipped; empty for this folder"),
    Field("gpus", "--gpus", "how many; 0 for none"),
    Field("params", "--param", "lr=0.1 bs=32", repeats=True),
    Field("sweep", "--sweep", "lr=1e-4,3e-4 bs=32:128:x2: a job for each combination", repeats=True),
    Field("tags", "--tag", "baseline dataset=v2", repeats=True),
    Field("options", "", "more of foundations submit --help, for example --retries 2"),
)


def submit_words(values: Mapping[str, str]) -> list[str]:
    """Return the words behind ``foundations submit``.

    Args:
        values: what stands in the form, by the fields' names.
    Raises:
        UsageError: there is no command, or a line cannot be split into words.
    """
    found: list[str] = []
    for field in FIELDS:
        value = values.get(field.name, "").strip()
        if not value or not (field.option or field.name == "options"):
            continue
        if field.name == "options":
            found += _split(field, value)
        elif field.repeats:
            found += [word for part in _split(field, value) for word in (field.option, part)]
        else:
            found += [field.option, value]
    command = _split(FIELDS[0], values.get("command", ""))
    if not command:
        raise UsageError("command: what is to be run?")
    return [*found, "--", *command]


def doubts(values: Mapping[str, str], away: Collection[str]) -> list[str]:
    """Return what may not be meant although it can be submitted.

    Args:
        values: what stands in the form, by the fields' names.
        away: hosts that are out of reach.
    """
    host = values.get("host", "").strip()
    found = [f"{host} is out of reach"] if host in away else []
    lists = [part for part in values.get("params", "").split() if _looks_like_values(part.partition("=")[2])]
    return found + [f"params gives one value each: {part} belongs into sweep, if several are meant" for part in lists]


def _looks_like_values(text: str) -> bool:
    """Say whether a text is several numbers with commas."""
    parts = text.split(",")
    try:
        return len([float(part) for part in parts]) > 1
    except ValueError:
        return False


def _split(field: Field, text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"{field.name}: {str(error).lower()}") from None


def of_job(row: JobRow, spec: Mapping[str, Any]) -> dict[str, str]:
    """Return the form as a job would have been submitted with it.

    Args:
        row: the job.
        spec: its specification: what it logged itself later is not given to it again.
    """
    options = [word for key, option in _OPTIONS.items() if spec.get(key) for word in (option, str(spec[key]))]
    return {
        "command": humanize.command(row.command),
        "host": row.host,
        "name": row.name,
        "project": row.project,
        "gpus": str(row.gpus_requested or ""),
        "params": _pairs(spec.get("params") or {}),
        "tags": _pairs(spec.get("tags") or {}),
        "options": shlex.join([*options, *(["--shell"] if spec.get("shell") else [])]),
    }


_OPTIONS = {
    "priority": "--priority",
    "retries": "--retries",
    "time_limit": "--time-limit",
    "gpu_memory": "--gpu-memory",
}


def _pairs(facts: Mapping[str, object]) -> str:
    parts = []
    for key, value in facts.items():
        if isinstance(value, str | int | float | bool):
            shown = humanize.number(value) if isinstance(value, float) else str(value)
            parts.append(key if value == "" else f"{key}={shown}")
    return shlex.join(parts)


def changed(values: Mapping[str, str], before: Mapping[str, str]) -> Sequence[str]:
    """Return the names of the fields that say something else than before."""
    return [f.name for f in FIELDS if values.get(f.name, "").strip() != before.get(f.name, "").strip()]
