"""What a command line says about an experiment: ``--lr 3e-4``, ``--lr=3e-4`` and ``lr=3e-4`` are parameters, too."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Sequence
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
    found: dict[str, Any] = {}
    rest = words[_behind_script(words) :]
    while rest and len(found) < _MOST:
        word = rest.pop(0)
        if word == "--":
            continue
        option = _OPTION.match(word)
        if option and not _is_number(word):
            name, value = option[1], option[2]
            found[name] = _cut(literal(value) if value is not None else _values(rest))
        elif assignment := _ASSIGNMENT.match(word):
            found[assignment[1]] = _cut(literal(assignment[2]))
    return found


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
    values = [literal(rest.pop(0))]
    if isinstance(values[0], int | float):
        while rest and _is_number(rest[0]):
            values.append(literal(rest.pop(0)))
    return values[0] if len(values) == 1 else values


def _cut(value: Any) -> Any:
    return value[:_LONGEST] if isinstance(value, str) else value


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def literal(text: str) -> Any:
    """Return what a word says: a JSON literal, or a number or truth value as Python writes it, else the word."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = {"True": True, "False": False}.get(text)
        if value is None and re.fullmatch(r"-?((0|[1-9]\d*)\.?\d*|\.\d+)([eE][-+]?\d+)?", text):
            value = float(text)
    if value is None or isinstance(value, dict) or (isinstance(value, float) and not math.isfinite(value)):
        return text
    return value
