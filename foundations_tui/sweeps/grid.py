"""Sweeps: which parameters, how they are combined, and what becomes of a command. Pure: nothing is sent from here.

    lr=1e-4,3e-4        these values           batch=32:128:x2     32, 64, 128
    p=0:1:0.25          0, 0.25, 0.5, 0.75, 1  lr=log:1e-5:1e-2:8  eight values, evenly spaced in the exponent

For ``--random`` a range needs no step: ``0:1`` is uniform, ``log:1e-5:1e-2`` in the exponent; whole ends give whole
numbers.
"""

from __future__ import annotations

import itertools
import math
import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from foundations_tui.errors import UsageError
from foundations_tui.text.command_line import Typed, literal

if TYPE_CHECKING:
    import msgspec

T = TypeVar("T", bound="msgspec.Struct")
MOST_JOBS = 20_000
"""A sweep is no larger: a slip of the finger should not fill a host's queue."""
_KEY = re.compile(r"[A-Za-z_][\w.-]*\Z")
_PLACEHOLDER = re.compile(r"\{\{([A-Za-z_][\w.-]*)\}\}|\{([A-Za-z_][\w.-]*)\}")


@dataclass(frozen=True)
class Values:
    """These values and no others."""

    values: tuple[Any, ...]
    typed: tuple[str, ...] = field(default=(), compare=False)
    """Each as it was typed, where it was."""

    def draw(self, dice: random.Random) -> Any:
        """Return one of them."""
        return dice.choice(self.values)


@dataclass(frozen=True)
class Range:
    """All numbers between two."""

    low: float
    high: float
    is_log: bool

    def draw(self, dice: random.Random) -> float:
        """Return a number between its ends; a whole one when both are."""
        if self.is_log:
            value = math.exp(dice.uniform(math.log(self.low), math.log(self.high)))
            value = min(max(value, self.low), self.high)
        elif isinstance(self.low, int) and isinstance(self.high, int):
            return dice.randint(self.low, self.high)
        else:
            value = dice.uniform(self.low, self.high)
        return round(value) if isinstance(self.low, int) and isinstance(self.high, int) else float(f"{value:.6g}")


Axis = Values | Range


def parse(text: str) -> tuple[str, Axis]:
    """Return (name, what it ranges over) of ``KEY=VALUES``.

    Raises:
        UsageError: it cannot be understood.
    """
    key, equals, given = text.partition("=")
    if not equals or not _KEY.match(key) or not given:
        raise UsageError(f"--sweep takes KEY=VALUES; got {text!r}", "--sweep lr=1e-4,3e-4 or --sweep batch=32:128:x2")
    return key, axis(key, given)


def axis(key: str, given: Any) -> Axis:
    """Return what a parameter ranges over.

    Args:
        key: its name, for messages.
        given: text as ``--sweep`` takes it, a list of values, or one value.
    Raises:
        UsageError: it cannot be understood.
    """
    for value in given if isinstance(given, list) else [given]:
        if not isinstance(value, str | bool | int | float | list | dict):
            raise UsageError(f"sweep {key}: a {type(value).__name__} is no parameter", "write it as a string")
    if isinstance(given, list):
        if not given:
            raise UsageError(f"sweep {key}: the list is empty")
        return Values(tuple(given))
    if not isinstance(given, str):
        return Values((given,))
    if "," not in given and not given.startswith("'") and given.count(":") in (1, 2, 3):
        try:
            if given.count(":") == 3 and not given.startswith("log:"):
                raise ValueError(given)
            return _range(key, given.split(":"))
        except ValueError:
            pass  # a text with colons in it
    try:
        parts = [part.strip() for part in _split(given)]
    except ValueError as error:
        raise UsageError(
            f"sweep {key}: {error} in {given!r}", "a comma inside of quotes, or \\, belongs to the value"
        ) from None
    if any(not part for part in parts[:-1]) or parts == [""]:
        raise UsageError(
            f"sweep {key}: a value is empty in {given!r}", f"{key}=A, sweeps over A and nothing: one comma at the end"
        )
    return Values(tuple(_value_of(part) for part in parts), tuple(part.replace("\\,", ",") for part in parts))


NOTHING = ""
"""A value that takes the whole word away where it stands alone: an option that is there or not."""


def _value_of(part: str) -> Any:
    if len(part) >= 2 and part[0] == part[-1] == "'":
        return part[1:-1]
    return literal(part.replace("\\,", ","))


def _split(text: str) -> list[str]:
    """Return what stands between the commas outside brackets and quotes; a comma behind a backslash is no end.

    Raises:
        ValueError: a quote or a bracket is not closed.
    """
    parts, depth, start, quote = [], 0, 0, ""
    for place, character in enumerate(text):
        if place and text[place - 1] == "\\":
            continue
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'" and not text[start:place].strip():
            quote = character
        elif character in "[{(":
            depth += 1
        elif character in "]})":
            depth -= 1
        elif character == "," and depth <= 0:
            parts.append(text[start:place])
            start = place + 1
    if quote:
        raise ValueError(f"a {quote} is not closed")
    if depth > 0:
        raise ValueError("a bracket is not closed")
    return [*parts, text[start:]]


_PADDED = re.compile(r"[-+]?0\d")
"""How numbers of dates and times are written."""


def _range(key: str, parts: list[str]) -> Axis:
    """Return a range or its values.

    Raises:
        ValueError: these are no numbers. UsageError: they make no range.
    """
    if any(_PADDED.match(part) for part in parts):
        raise UsageError(
            f"sweep {key}: {':'.join(parts)} is no range: a number begins with a 0",
            "a date or a time stands in quotes: \"'12:30:00'\"",
        )
    is_log = parts[0] == "log"
    ends = [_number(part) for part in (parts[1:3] if is_log else parts[:2])]
    if len(ends) < 2:
        raise ValueError(parts)
    low, high = ends
    if high < low or (is_log and low <= 0):
        raise UsageError(f"sweep {key}: {':'.join(parts)} goes from the smaller to the larger, above 0 for log")
    step = parts[3:] if is_log else parts[2:]
    whole = all(map(_WHOLE.match, [*(parts[1:3] if is_log else parts[:2]), *(part.lstrip("x") for part in step)]))
    if not step:
        return Range(int(low) if whole else float(low), int(high) if whole else float(high), is_log)
    if is_log:
        return Values(_log_spaced(key, low, high, step[0]))
    if step[0].startswith("x"):
        return Values(tuple(_typed(value, whole) for value in _times(key, low, high, _number(step[0][1:]))))
    return Values(tuple(_typed(value, whole) for value in _evenly(key, low, high, _number(step[0]))))


_WHOLE = re.compile(r"[-+]?\d+\Z", re.ASCII)
_PLAIN = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,3})?\Z", re.ASCII)
_EXACT = Context(prec=17)
"""More digits than a float keeps."""


def _number(text: str) -> Decimal:
    """Return a number as it was typed, to its last digit.

    Raises:
        ValueError: it is none. UsageError: it is too large.
    """
    if not _PLAIN.match(text):
        raise ValueError(text)
    number = Decimal(text)
    if math.isinf(float(number)):
        raise UsageError(f"sweep: {text[:20]}{'...' * (len(text) > 20)} is too large for a range")
    return number


def _typed(value: Decimal, whole: bool) -> int | Typed:
    """Return a value of a range as it would be typed: 0.25, 1, 1e-05."""
    if whole and value == value.to_integral_value():
        return int(value)
    text = format(value.normalize(), "f")
    return Typed.of(text if len(text) <= _LONGEST_TYPED else repr(float(value)))


_LONGEST_TYPED = 20


def _log_spaced(key: str, low: Decimal, high: Decimal, text: str) -> tuple[float, ...]:
    if not text.isdecimal() or not 2 <= int(text) <= MOST_JOBS:
        raise UsageError(f"sweep {key}: log:FROM:TO:COUNT takes a count of at least 2; got {text!r}")
    count = int(text)
    first, last = math.log(low), math.log(high)
    inner = [math.exp(first + (last - first) * n / (count - 1)) for n in range(1, count - 1)]
    return (_typed(low, False), *(_typed(Decimal(f"{value:.6g}"), False) for value in inner), _typed(high, False))


def _times(key: str, low: Decimal, high: Decimal, factor: Decimal) -> Iterator[Decimal]:
    if factor <= 1 or low <= 0:
        raise UsageError(f"sweep {key}: xN multiplies by more than 1, from above 0")
    value, count = low, 0
    while value <= high:
        if count == MOST_JOBS:
            raise UsageError(f"sweep {key}: x{factor} gives more than {MOST_JOBS:,} values")
        yield value
        value, count = _EXACT.multiply(value, factor), count + 1


def _evenly(key: str, low: Decimal, high: Decimal, step: Decimal) -> Iterator[Decimal]:
    if step <= 0 or (high - low) / step > MOST_JOBS:
        raise UsageError(f"sweep {key}: FROM:TO:STEP takes a step above 0, and gives at most {MOST_JOBS:,} values")
    values = [low + n * step for n in range(int((high - low) / step) + 1)]
    if len(set(map(float, values))) < len(values):
        raise UsageError(f"sweep {key}: a step of {step:g} is lost beside {high:g}: numbers have about 16 digits")
    yield from values


def expand(axes: dict[str, Axis], mode: str = "grid", count: int = 0, seed: int | None = None) -> list[dict[str, Any]]:
    """Return the parameters of each job.

    Args:
        axes: what each parameter ranges over.
        mode: "grid" (all combinations), "zip" (the first of each, the second of each, ...) or "random".
        count: how many jobs, for "random".
        seed: the same gives the same draws.
    Raises:
        UsageError: they cannot be combined so, or give too many jobs.
    """
    if mode == "random":
        if not 1 <= count <= MOST_JOBS:
            raise UsageError(f"--random takes 1 to {MOST_JOBS:,} jobs")
        dice = random.Random(seed)
        return [{key: axis_values.draw(dice) for key, axis_values in axes.items()} for _ in range(count)]
    values = {key: _listed(key, axis_values) for key, axis_values in axes.items()}
    if mode == "zip":
        lengths = {len(axis_values) for axis_values in values.values()}
        if len(lengths) > 1:
            told = ", ".join(f"{key} has {len(axis_values)}" for key, axis_values in values.items())
            raise UsageError(f"--zip takes lists of one length: {told}")
        return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    total = math.prod(len(axis_values) for axis_values in values.values())
    if total > MOST_JOBS:
        raise UsageError(f"this sweep has {total:,} jobs; at most {MOST_JOBS:,} are taken", "--random N draws some")
    return [dict(zip(values, row, strict=True)) for row in itertools.product(*values.values())]


def _listed(key: str, axis: Axis) -> tuple[Any, ...]:
    if isinstance(axis, Range):
        raise UsageError(
            f"sweep {key}: {axis.low:g}:{axis.high:g} has no step",
            f"{key}={axis.low:g}:{axis.high:g}:STEP, or --random N",
        )
    return axis.values


def typed_words(axes: dict[str, Axis]) -> dict[str, dict[str, str]]:
    """Return how truth values, lists and tables were typed, by parameter and JSON: ``True``, ``[1,2]``."""
    return {
        key: {
            _json(value): word
            for value, word in zip(axis.values, axis.typed, strict=False)
            if isinstance(value, bool | list | dict)
        }
        for key, axis in axes.items()
        if isinstance(axis, Values)
    }


def fill(
    command: Sequence[str], params: dict[str, Any], typed: Mapping[str, Mapping[str, str]] = MappingProxyType({})
) -> tuple[str, ...]:
    """Return a command with ``{name}`` replaced by the parameter of that name.

    Only names of parameters are replaced, so JSON and ``find -exec {}`` pass; ``{{name}}`` stands for ``{name}``. A
    word that is only the placeholder of an empty value is left out.

    Args:
        command: the argument vector.
        params: the parameters.
        typed: how some of their values were typed, see ``typed_words``.
    """

    def value_of(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in params:
            return match[0]
        if match[1]:
            return f"{{{name}}}"
        return typed.get(name, {}).get(_json(params[name])) or text_of(params[name])

    whole = {f"{{{name}}}" for name, value in params.items() if value == NOTHING and isinstance(value, str)}
    return tuple(_PLACEHOLDER.sub(value_of, word) for word in command if word not in whole)


def typed_before(
    template: Sequence[str], command: Sequence[str], params: Mapping[str, Any]
) -> dict[str, dict[str, str]]:
    """Return how the parameters of a job were written in its command, as ``fill`` takes it.

    Args:
        template: the command with its placeholders.
        command: the command as they were filled.
        params: the parameters that filled them.
    """
    typed: dict[str, dict[str, str]] = {}
    left_out = {f"{{{name}}}" for name, value in params.items() if value == NOTHING and isinstance(value, str)}
    kept = [word for word in template if word not in left_out]
    for word, filled in zip(kept, command, strict=False):
        names = [match[2] for match in _PLACEHOLDER.finditer(word)]
        if len(names) == 1 and names[0] in params:  # of several in one word nobody knows where each ends
            before, _, behind = word.partition(f"{{{names[0]}}}")
            if filled.startswith(before) and filled.endswith(behind):
                text = filled[len(before) : len(filled) - len(behind)]
                typed.setdefault(names[0], {})[_json(params[names[0]])] = text
    return typed


def text_of(value: Any) -> str:
    """Return a parameter as a word of a command line."""
    if isinstance(value, str):
        return value
    if isinstance(value, Typed):
        return value.typed
    if isinstance(value, float):
        return repr(value)
    return _json(value)


def _json(value: Any) -> str:
    import json

    return json.dumps(value)


def uses(command: Iterable[str], name: str) -> bool:
    """Return whether a command has a parameter's placeholder."""
    return any(match[2] == name for word in command for match in _PLACEHOLDER.finditer(word))


def unfilled(command: Iterable[str], params: Iterable[str]) -> list[str]:
    """Return the placeholders of a command that no parameter fills, as they stand there."""
    given = set(params)
    names = [match[2] for word in command for match in _PLACEHOLDER.finditer(word) if match[2]]
    return [f"{{{name}}}" for name in dict.fromkeys(names) if name not in given]


def read_table(path: Path, name: str, struct: type[T]) -> T | None:
    """Return one table of a TOML file; None when the file has none of this name.

    Raises:
        ConfigError: the file cannot be read, or a key or value is wrong, with its line.
    """
    from foundations_tui.config import toml

    if not path.exists():
        raise UsageError(f"{path}: there is no such file")
    document = toml.read(path, Typed.of).below(name)
    if document is None:
        return None
    for error in toml.unknown_keys(document, struct):
        raise error
    return toml.convert(document, struct)


@dataclass(frozen=True)
class SweepPlan:
    """What a sweep's file says."""

    axes: dict[str, Axis]
    mode: str = "grid"
    count: int = 0
    seed: int | None = None


def read(path: Path) -> SweepPlan:
    """Return the plan in the ``[sweep]`` table of a TOML file.

        [sweep]
        mode = "random"
        count = 50
        seed = 7
        [sweep.parameters]
        lr = "log:1e-5:1e-2"
        optimizer = ["adam", "sgd"]

    Raises:
        UsageError: it cannot be read or understood.
    """
    from foundations_tui.config.schema import SweepTable

    table = read_table(path, "sweep", SweepTable)
    if table is None or not table.parameters:
        raise UsageError(f"{path} has no table [sweep.parameters]", 'lr = [1e-4, 3e-4], or lr = "log:1e-5:1e-2:8"')
    axes = {key: axis(key, value) for key, value in table.parameters.items()}
    return SweepPlan(axes, table.mode, table.count, table.seed)
