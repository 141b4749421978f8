"""How an option is given: as words of a command line, as a line of a form, and back from the value that came of it.

``submit.request.Request`` has one for each of its fields; the command line, the form of the app, "run again" and
docs/options.md are made from those.
"""

from __future__ import annotations

import contextlib
import enum
import json
import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from foundations_tui.errors import UsageError
from foundations_tui.text import humanize
from foundations_tui.text.command_line import Typed, literal

MANY = (1 << 31) - 1
"""Bound of all numbers that are counts."""


class Kind(enum.Enum):
    """What an option takes."""

    TEXT = "text"
    NUMBER = "a whole number"
    SIZE = "bytes, like 20G"
    DURATION = "a time, like 45m"
    FLAG = "nothing"
    CHOICE = "one of a few words"
    LIST = "a comma-separated list"
    VARIABLE = "a variable's name"
    PAIR = "K=V"
    PARAMETER = "K=V, V as JSON or text"
    TAG = "K or K=V"
    PATTERN = "a glob pattern"
    AXIS = "a parameter and its values"
    HOST = "a host"
    PROJECT = "a project"
    JOB = "a job"
    FOLDER = "a folder"
    FILE = "a file"


_REPEATED = (Kind.VARIABLE, Kind.PAIR, Kind.PARAMETER, Kind.TAG, Kind.PATTERN, Kind.AXIS, Kind.JOB)
_AS_TYPED = (Kind.TEXT, Kind.HOST, Kind.PROJECT, Kind.FOLDER, Kind.FILE, Kind.CHOICE, *_REPEATED)


@dataclass(frozen=True)
class Option:
    """One option of ``foundations submit``."""

    flag: str
    kind: Kind
    help: str
    metavar: str = ""
    default: Any = None
    """What stands for it where it is not given."""
    least: int = 0
    most: int = MANY
    choices: tuple[str, ...] = ()
    unit: int = 1
    """Bytes of what the field counts, for a size."""
    hint: str = ""
    """What its own line of the form says while it is empty; an option without stands in the line for all others."""
    label: str = ""
    """Name of that line, where it is not the field's."""
    again: bool = True
    """Whether a job that is run again gets what the first one had."""

    @property
    def repeats(self) -> bool:
        """Whether it may be given several times."""
        return self.kind in _REPEATED

    def read(self, text: str) -> Any:
        """Return the value that one word stands for.

        Raises:
            UsageError: it is none.
        """
        if self.kind in _AS_TYPED:
            if self.kind is Kind.CHOICE and text not in self.choices:
                raise UsageError(f"{self.flag} takes one of {', '.join(self.choices)}; got {text!r}")
            return text
        try:
            if self.kind is Kind.SIZE:
                return humanize.parse_size(text)
            if self.kind is Kind.DURATION:
                return humanize.parse_duration(text)
            if self.kind is Kind.LIST:
                return text
            number = int(text)
        except ValueError as error:
            wrong = f"takes a whole number; got {text!r}" if self.kind is Kind.NUMBER else f"is {error}"
            raise UsageError(f"{self.flag} {wrong}") from None
        if not self.least <= number <= self.most:
            raise UsageError(f"{self.flag} takes {self.least:,} to {self.most:,}; got {text}")
        return number

    def words(self, value: Any) -> list[str]:
        """Return the words of a command line that give a field its value; none for what it is anyway."""
        if self.kind is Kind.FLAG:
            return [self.flag] if value else []
        return [word for text in self._texts(value) for word in (self.flag, text)]

    def _texts(self, value: Any) -> list[str]:
        if self.kind is Kind.PARAMETER:
            return [f"{key}={_parameter_text(part)}" for key, part in value.items() if key and "=" not in key]
        if self.kind in (Kind.PAIR, Kind.TAG):
            return [key if self.kind is Kind.TAG and part == "" else f"{key}={part}" for key, part in value.items()]
        if self.kind is Kind.LIST:
            return [",".join(value)]
        if self.repeats:
            return list(value)
        if self.kind is Kind.SIZE:
            return [str(value * self.unit)]
        return [_number(value)]


def as_given(kind: Kind, default: Any) -> Any:
    """Return what stands on a command line, read, for a field's default."""
    if kind in _REPEATED:
        return ()
    if kind is Kind.LIST:
        return ",".join(default)
    return str(default) if kind is Kind.FOLDER else default


def _parameter_text(value: object) -> str:
    """Return the word that ``parameters`` reads as a value: as typed where that is enough, else JSON."""
    if isinstance(value, str | int | float):
        text = str(value)
        with contextlib.suppress(RecursionError):
            read = literal(text, any_json=True)
            if read == value and isinstance(read, str) == isinstance(value, str):
                return text
    return json.dumps(value, ensure_ascii=False)


def _number(value: object) -> str:
    """Return a value to its last digit: a whole number without a point, none with an exponent."""
    if not isinstance(value, float) or not math.isfinite(value):
        return str(value)
    return format(Decimal(str(value)), "f").removesuffix(".0")


def field_value(option: Option, given: Any) -> Any:
    """Return what a field gets for what was given: names of jobs are left to who knows the store.

    Args:
        option: which.
        given: as ``Option.read`` returns it; of an option that repeats, all of them.
    Raises:
        UsageError: it makes no sense.
    """
    if option.kind is Kind.SIZE:
        return -(-given // option.unit)
    if option.kind is Kind.LIST:
        return tuple(word.strip() for word in given.split(",") if word.strip())
    if option.kind is Kind.PARAMETER:
        return parameters(given, option.flag)
    if option.kind in (Kind.PAIR, Kind.TAG):
        return pairs(given, option.flag, value_needed=option.kind is Kind.PAIR)
    return tuple(given) if option.repeats else given


def parameters(texts: Iterable[str], flag: str) -> dict[str, Any]:
    """Return parameters of K=V words: a JSON literal that writes back as typed, else a text.

    Raises:
        UsageError: one is none, or given twice.
    """
    values = {}
    for key, value in pairs(texts, flag).items():
        try:
            values[key] = literal(value, any_json=True)
        except RecursionError:
            raise UsageError(f"{flag} {key} is nested too deep") from None
    return values


def pairs(texts: Iterable[str], flag: str, value_needed: bool = True) -> dict[str, str]:
    """Return what an option that may be repeated gives, by name.

    Raises:
        UsageError: one is no K=V, or a name is given twice.
    """
    given: dict[str, str] = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not key or (value_needed and not separator):
            raise UsageError(f"{flag} takes KEY=VALUE; got {text!r}")
        if key in given:
            raise UsageError(f"{flag} {key} is given twice: {given[key]!r} and {value!r}")
        given[key] = value
    return given


def parameters_of_file(file: str) -> dict[str, Any]:
    """Return the parameters in a JSON file.

    Raises:
        UsageError: it cannot be read, or holds something else.
    """
    try:
        values = json.loads(Path(file).read_text(encoding="utf-8-sig"), parse_float=Typed.of)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--params-file {file}: {getattr(error, 'strerror', None) or error}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--params-file {file} is no JSON: {error}") from None
    if not isinstance(values, dict):
        raise UsageError(f"--params-file {file} holds a {type(values).__name__}; a JSON object is needed")
    return values


def split_line(line: str) -> list[str]:
    """Return the words of a line, as a shell would.

    Raises:
        UsageError: a quotation is not closed.
    """
    try:
        return shlex.split(line)
    except ValueError as error:
        raise UsageError(f"{str(error).lower()}: {line}") from None


def read_words(
    words: Sequence[str], options: Mapping[str, Option], verb: str = "submit"
) -> tuple[dict[str, Any], list[str]]:
    """Understand what would stand behind a verb of ``foundations``, as the command line does, where none asks.

    Args:
        words: options, then the command, with or without ``--`` before it.
        options: what there is, by the names of the values.
        verb: for messages.
    Returns:
        (the values that were given, by name; the command).
    Raises:
        UsageError: they cannot be understood.
    """
    import click  # the core does without

    end = list(words).index("--") if "--" in words else len(words)
    params: list[click.Parameter] = [
        click.Option([option.flag, name], is_flag=True)
        if option.kind is Kind.FLAG
        else click.Option([option.flag, name], type=click.UNPROCESSED, multiple=option.repeats)
        for name, option in options.items()
    ]
    parser = click.Command(
        verb, params=params, add_help_option=False, context_settings={"allow_interspersed_args": False}
    )
    parser.allow_extra_args = True
    try:
        context = parser.make_context(verb, list(words[:end]))
    except click.NoSuchOption as error:
        raise UsageError(f"not an option of {verb}: {error.option_name}") from None
    except click.UsageError as error:
        raise UsageError(error.format_message().rstrip(".")) from None
    given = {name: value for name, value in context.params.items() if value not in (None, False, ())}
    values = {name: _read(options[name], value) for name, value in given.items()}
    return values, [*context.args, *words[end if context.args else end + 1 :]]


def read_options(words: Sequence[str], options: Mapping[str, Option], verb: str = "submit") -> dict[str, Any]:
    """Understand options behind which no command stands; see ``read_words``.

    Raises:
        UsageError: they cannot be understood, or there is something else.
    """
    values, rest = read_words(words, options, verb)
    if rest:
        raise UsageError(f"not an option of {verb}: {' '.join(rest)}")
    return values


def _read(option: Option, given: Any) -> Any:
    if option.kind is Kind.FLAG:
        return bool(given)
    return tuple(option.read(text) for text in given) if option.repeats else option.read(given)
