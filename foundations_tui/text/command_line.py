"""What a command line says about an experiment: ``--lr 3e-4``, ``--lr=3e-4`` and ``lr=3e-4`` are parameters, too."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

_OPTION = re.compile(r"--?([A-Za-z_][\w.:/-]*)(?:=(.*))?\Z", re.DOTALL)
_ASSIGNMENT = re.compile(r"\+{0,2}([A-Za-z_][\w.@/-]*)=(.*)\Z", re.DOTALL)
"""As Hydra takes them; a leading + adds a key."""
_MOST = 500
_LONGEST = 2000


def parse(command: Sequence[str], shell: bool = False) -> dict[str, Any]:
    """Return the arguments of a command by name, without their dashes.

    Args:
        command: the argument vector; with ``shell``, one line for a shell.
        shell: whether it is such a line.
    Returns:
        Values as JSON would read them (numbers, booleans, lists), else text. A flag without a value is True; several
        numbers behind an option are a list. Options of a launcher in front of the script are not the experiment's.
    """
    words = _split(command[0]) if shell and command else list(command)
    parameters: dict[str, Any] = {}
    rest = words[_behind_script(words) :]
    while rest and len(parameters) < _MOST:
        word = rest.pop(0)
        if word == "--":
            continue
        option = _OPTION.match(word)
        if option and not _is_number(word):
            name, value = option[1], option[2]
            parameters[name] = _cut(literal(value) if value is not None else _values(rest))
        elif assignment := _ASSIGNMENT.match(word):
            parameters[assignment[1]] = _cut(literal(assignment[2]))
    return parameters


def _split(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:
        return []  # a quote that is not closed: the shell will say so


def _behind_script(words: list[str]) -> int:
    """Return where the experiment's own arguments begin: behind ``script.py`` or ``-m module``, else the program."""
    for number, word in enumerate(words[:-1]):
        if word == "-m":
            return number + 2
        if word.endswith((".py", ".sh")) and not word.startswith("-"):
            return number + 1
    return 1


def _values(rest: list[str]) -> Any:
    """Take the value of an option off what follows it: one word, or all numbers that stand there."""
    if not rest or (rest[0].startswith("-") and not _is_number(rest[0])) or _ASSIGNMENT.match(rest[0]):
        return True
    first = rest.pop(0)
    values = [literal(first)]
    if _is_number(first):
        while rest and _is_number(rest[0]):
            values.append(literal(rest.pop(0)))
    return values[0] if len(values) == 1 else values


def _cut(value: Any) -> Any:
    return value[:_LONGEST] if isinstance(value, str) else value


def _is_number(word: str) -> bool:
    return number(word) is not None or word.lower() in ("-inf", "-infinity", "-nan")


class Typed(float):
    """A number that remembers how it was typed: a command line gets it so again."""

    typed: str

    @classmethod
    def of(cls, text: str) -> Typed:
        """Return the number that a text says."""
        self = cls(text)
        self.typed = text
        return self

    def __repr__(self) -> str:
        return float.__repr__(self)

    __str__ = __repr__

    def __reduce__(self) -> tuple[Any, ...]:
        return (Typed.of, (self.typed,))


_SCIENTIFIC = re.compile(
    r"-?[1-9](\.(0|\d*[1-9]))?[eE][-+]?0?(0|[1-9]\d?)\Z|-?[1-9](\.(0|\d*[1-9]))?[eE][-+]?[1-9]\d{2}\Z"
)
"""How people and programs write a number with an exponent: one digit, not 0, before the point."""
_DECIMAL = re.compile(r"-?(0|[1-9]\d*)?\.(0|\d*[1-9])?\Z")
"""Without leading zeros, and without trailing ones but in ``1.0``."""
_WHOLE = re.compile(r"-?(0|[1-9]\d*)\Z")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\Z", re.ASCII)
MOST_DIGITS = 4000
"""Python reads no longer whole number (``sys.get_int_max_str_digits``)."""


def literal(text: str, any_json: bool = False) -> Any:
    """Return what a typed word says: a number, a truth value, a list, a quoted text, else the word itself.

    A word counts as a number only if that writes back to what was typed: ``7`` and ``3e-4`` do; ``007``, ``3.10``,
    ``67217e15``, ``3e563`` and a number of more digits than are kept are ids, versions and hashes, and stay text.

    Args:
        text: the word.
        any_json: also null, objects, NaN and infinities, as JSON readers take them.
    Raises:
        RecursionError: ``any_json``, and it is nested deeper than JSON readers go.
    """
    if text in ("NaN", "Infinity", "-Infinity"):
        return float(text) if any_json else text
    if _NUMBER.match(text) or text in ("-", "."):
        return _number(text)
    if not any_json and text != text.strip():
        return text
    readers = (_json_float, None, None) if any_json else (_number_in_list, _number_in_list, _no_constant)
    try:
        value = json.loads(text, parse_float=readers[0], parse_int=readers[1], parse_constant=readers[2])
    except RecursionError:
        if any_json:
            raise
        return text
    except (ValueError, OverflowError):
        return {"True": True, "False": False}.get(text, text)
    if any_json:
        return value
    is_kept = value is not None and not isinstance(value, dict)
    return value if is_kept and not (isinstance(value, str) and _NO_TEXT.search(value)) else text


_NO_TEXT = re.compile("[\0\ud800-\udfff]")
"""What JSON can write and no file and no command line carries."""


def _number(text: str) -> Any:
    """Return a number as it was typed, when it is one of the ways in which that number is written; else the text."""
    if len(text) > MOST_DIGITS:
        return text
    if _WHOLE.match(text) and text != "-0":
        return int(text)
    if not (_DECIMAL.match(text) or _SCIENTIFIC.match(text)) or not any(map(str.isdigit, text)):
        return text
    value = float(text)
    if not math.isfinite(value) or Decimal(repr(value)) != Decimal(text):
        return text
    return value if repr(value) == text else Typed.of(text)


def _number_in_list(text: str) -> int | float:
    value = _number(text)
    if isinstance(value, str):
        raise ValueError(text)
    return value  # type: ignore[no-any-return]


def _json_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _no_constant(text: str) -> float:
    raise ValueError(text)


def number(text: str) -> int | float | None:
    """Return the number that a word is sorted and compared by, however it is written; None for what is none."""
    if not _NUMBER.match(text) or len(text) > MOST_DIGITS:
        return None
    return int(text) if text.lstrip("+-").isdigit() else float(text)
