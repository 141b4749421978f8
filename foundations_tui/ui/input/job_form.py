"""The lines of the form for a new job, made from the table of options, and the words that come of them. No widgets."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from foundations_tui.errors import UsageError
from foundations_tui.store.rows import JobRow
from foundations_tui.submit.request import words_of
from foundations_tui.sweeps.submission import ALL_OPTIONS
from foundations_tui.text import humanize


@dataclass(frozen=True)
class FormField:
    """One line of the form."""

    name: str
    option: str
    """The option of ``foundations submit`` that it stands for; empty for the command and for all other options."""
    hint: str
    repeats: bool = False
    """Whether each of its words is given to the option."""


FIELDS = (
    FormField("command", "", "python train.py --lr {lr}"),
    *(
        FormField(option.label or name, option.flag, option.hint, option.repeats)
        for name, option in ALL_OPTIONS.items()
        if option.hint
    ),
    FormField("options", "", "more of foundations submit --help, for example --retries 2"),
)


def submit_words(values: Mapping[str, str]) -> list[str]:
    """Return the words behind ``foundations submit``.

    Args:
        values: what stands in the form, by the fields' names.
    Raises:
        UsageError: there is no command, or a line cannot be split into words.
    """
    words: list[str] = []
    for field in FIELDS:
        value = values.get(field.name, "").strip()
        if not value or not (field.option or field.name == "options"):
            continue
        if field.name == "options":
            words += _split(field, value)
        elif field.repeats:
            words += [word for part in _split(field, value) for word in (field.option, part)]
        else:
            words += [field.option, value]
    command = _split(FIELDS[0], values.get("command", ""))
    if not command:
        raise UsageError("command: what is to be run?")
    return [*words, "--", *command]


def doubts(values: Mapping[str, str], away: Collection[str]) -> list[str]:
    """Return what may not be meant although it can be submitted.

    Args:
        values: what stands in the form, by the fields' names.
        away: hosts that are out of reach.
    """
    host = values.get("host", "").strip()
    warnings = [f"{host} is out of reach"] if host in away else []
    earlier = _job_whose_code_it_ships(values.get("options", ""))
    if earlier:
        warnings.append(f"ships the code of {earlier[:6]}, not that of a folder")
    lists = [part for part in values.get("params", "").split() if _looks_like_values(part.partition("=")[2])]
    return warnings + [
        f"params gives one value each: {part} belongs into sweep, if several are meant" for part in lists
    ]


def _job_whose_code_it_ships(options: str) -> str:
    """Return what ``--code-of`` names; empty when it does not stand there."""
    try:
        words = shlex.split(options)
    except ValueError:
        return ""  # a quote is still open
    return next((after for word, after in itertools.pairwise(words) if word == "--code-of"), "")


def _looks_like_values(text: str) -> bool:
    """Return whether a text is several numbers with commas."""
    parts = text.split(",")
    try:
        return len([float(part) for part in parts]) > 1
    except ValueError:
        return False


def _split(field: FormField, text: str) -> list[str]:
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
    words = {**words_of({**spec, "host": row.host}), "code_of": ALL_OPTIONS["code_of"].words(row.job)}
    own_lines = {name: words.pop(name) for name in list(words) if ALL_OPTIONS[name].hint}
    return {
        "command": humanize.command(spec.get("template") or row.command),
        **{name: _line(name, given) for name, given in own_lines.items()},
        "options": shlex.join([word for given in words.values() for word in given]),
    }


def with_params(values: Mapping[str, str], params: Mapping[str, object]) -> dict[str, str]:
    """Return the form with other values of parameters; its name goes, where it says what varied.

    Args:
        values: what stands in the form, by the fields' names.
        params: the parameters that change.
    """
    if not params:
        return dict(values)
    parts = dict(part.partition("=")[::2] for part in shlex.split(values.get("params", "")))
    parts |= {key: str(value) for key, value in params.items()}
    line = shlex.join(f"{key}={value}" for key, value in parts.items())
    return {**values, "params": line, "name": ""}


def _line(name: str, words: Sequence[str]) -> str:
    """Return the line of a field for the words that would give its option."""
    return shlex.join(words[1::2]) if ALL_OPTIONS[name].repeats else "".join(words[1:])


def changed(values: Mapping[str, str], before: Mapping[str, str]) -> Sequence[str]:
    """Return the names of the fields that say something else than before."""
    return [f.name for f in FIELDS if values.get(f.name, "").strip() != before.get(f.name, "").strip()]
