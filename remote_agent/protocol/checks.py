"""Checks of values that come from outside: a type, a range and a length for each. Pure.

A check takes a value and the name of its place, and returns the value or raises BadRequest. Checks of parts make
checks of wholes, so that a message is described once, and both sides check by the same description.
"""

from __future__ import annotations

import json
import re
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Pattern

from remote_agent.protocol.errors import BadRequest

Check = Callable[[Any, str], Any]
"""Takes (value, where it stands) and returns the value; raises BadRequest."""

END_OF_TIME = 253402300800
"""The year 10000, seconds since the epoch: what lies behind it is no time."""
LARGEST = 2**62
"""Numbers beyond this fit into no column of a store."""
_LONE = re.compile("[\\ud800-\\udfff]")
_LONE_BUT_BYTES = re.compile("[\\ud800-\\udc7f\\udd00-\\udfff]")
_SHOWN = 60
_DEEPEST = 64


def wrong(where: str, must: str, value: Any) -> BadRequest:
    """Return the error for a value that is not what it must be; a long value is shown by its beginning."""
    where = where or "the message"
    try:
        shown = ascii(value) if not isinstance(value, (dict, list, tuple)) else f"a {type(value).__name__}"
    except ValueError:  # an integer of thousands of digits
        shown = "a number of very many digits"
    if len(shown) > _SHOWN:
        shown = shown[:_SHOWN] + "..."
    return BadRequest(f"{where} must be {must}, got {shown}")


def whole(low: int = 0, high: int = LARGEST) -> Check:
    """Return the check of a whole number within bounds."""

    def check(value: Any, where: str) -> Any:
        if type(value) is not int or not low <= value <= high:
            raise wrong(where, f"a whole number from {low} to {high}", value)
        return value

    return check


def number(low: float = 0.0, high: float = float(LARGEST), must: str = "") -> Check:
    """Return the check of a finite number within bounds; ``must`` says them in better words."""

    def check(value: Any, where: str) -> Any:
        if type(value) not in (int, float) or not low <= value <= high:
            raise wrong(where, must or f"a number from {low:g} to {high:g}", value)
        return value

    return check


moment: Check = number(0, END_OF_TIME)
"""A time, seconds since the epoch."""


def flag(value: Any, where: str) -> Any:
    """Check that a value is true or false."""
    if not isinstance(value, bool):
        raise wrong(where, "true or false", value)
    return value


def text(most: int, pattern: Optional[Pattern[str]] = None, must: str = "", as_bytes: bool = False) -> Check:
    """Return the check of a text that can be written down anywhere.

    Args:
        most: characters at most.
        pattern: what all of it has to match.
        must: that in words.
        as_bytes: whether bytes that are no UTF-8 may be in it, as ``os.fsdecode`` has them.
    """
    lone = _LONE_BUT_BYTES if as_bytes else _LONE

    def check(value: Any, where: str) -> Any:
        if not isinstance(value, str):
            raise wrong(where, "a text", value)
        if len(value) > most:
            raise BadRequest(f"{where} has {len(value):,} characters; at most {most:,} are taken")
        if "\0" in value:
            raise BadRequest(f"{where} contains a NUL character")
        if lone.search(value):
            raise BadRequest(f"{where} contains text that is not valid UTF-8")
        if pattern is not None and not pattern.match(value):
            raise wrong(where, must or "of another form", value)
        return value

    return check


def any_table(value: Any, where: str) -> Any:
    """Check that a value is a table, whatever is in it: that is looked at entry by entry."""
    if not isinstance(value, dict):
        raise wrong(where, "a table", value)
    return value


def one_of(*choices: Any) -> Check:
    """Return the check that a value is one of a few."""

    def check(value: Any, where: str) -> Any:
        if not isinstance(value, str) or value not in choices:
            raise wrong(where, "one of " + ", ".join(map(str, choices)), value)
        return value

    return check


def optional(check: Check) -> Check:
    """Return a check that lets None pass."""
    return lambda value, where: None if value is None else check(value, where)


def listing(check: Check, most: int) -> Check:
    """Return the check of a list, entry by entry."""

    def check_all(value: Any, where: str) -> Any:
        if not isinstance(value, (list, tuple)):
            raise wrong(where, "a list", value)
        if len(value) > most:
            raise BadRequest(f"{where} has {len(value):,} entries; at most {most:,} are taken")
        return [check(entry, f"{where}[{place}]") for place, entry in enumerate(value)]

    return check_all


def as_tuple(check: Check) -> Check:
    """Return a check that makes a tuple of the list that another one lets pass."""
    return lambda value, where: tuple(check(value, where))


def row(*checks: Check) -> Check:
    """Return the check of a list of fixed length, with a check for each value."""

    def check_all(value: Any, where: str) -> Any:
        if not isinstance(value, (list, tuple)) or len(value) != len(checks):
            raise wrong(where, f"a list of {len(checks)} values", value)
        return [check(part, f"{where}[{place}]") for place, (check, part) in enumerate(zip(checks, value))]  # noqa: B905 - 3.8

    return check_all


def table(check: Check, most: int, key: Check) -> Check:
    """Return the check of a table with any keys."""

    def check_all(value: Any, where: str) -> Any:
        any_table(value, where)
        if len(value) > most:
            raise BadRequest(f"{where} has {len(value):,} entries; at most {most:,} are taken")
        return {key(name, f"a name in {where}"): check(part, _at(where, name)) for name, part in value.items()}

    return check_all


def record(fields: Mapping[str, Check], needs: Iterable[str] = ()) -> Check:
    """Return the check of a table with known keys; unknown ones, of a newer side, are left out.

    Args:
        fields: the check of each.
        needs: those that have to be there.
    """
    needed = tuple(needs)

    def check_all(value: Any, where: str) -> Any:
        any_table(value, where)
        for name in needed:
            if name not in value:
                raise BadRequest(f"{where or 'the message'} lacks {name}")
        return {name: check(value[name], _at(where, name)) for name, check in fields.items() if name in value}

    return check_all


def writable(words: str) -> str:
    """Return text as ``text`` takes it: what no file, variable or store carries is shown by escapes."""
    return words.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()


def json_value(most: int) -> Check:
    """Return the check of any JSON value of at most ``most`` bytes; texts are checked as by ``text``."""

    def check(value: Any, where: str) -> Any:
        _check_parts(value, where, _DEEPEST)
        size = json_size(value)
        if size > most:
            raise BadRequest(f"{where} has {size:,} bytes; at most {most:,} are taken")
        return value

    return check


def json_table(most: int) -> Check:
    """Return the check of a JSON object of at most ``most`` bytes."""
    anything = json_value(most)

    def check(value: Any, where: str) -> Any:
        any_table(value, where)
        return anything(value, where)

    return check


def sieve(check: Check, most: int) -> Check:
    """Return the check of a list of a host's that costs wrong entries only themselves: they are left out."""

    def keep(value: Any, where: str) -> Any:
        if not isinstance(value, (list, tuple)):
            raise wrong(where, "a list", value)
        good = []
        for place, entry in enumerate(value[:most]):
            try:
                good.append(check(entry, f"{where}[{place}]"))
            except (BadRequest, ValueError, RecursionError):
                continue
        return good

    return keep


def sift(fields: Mapping[str, Check]) -> Check:
    """Return the check of a table of a host's that costs wrong fields only themselves: they are left out."""

    def keep(value: Any, where: str) -> Any:
        any_table(value, where)
        return mended(fields, value, [])

    return keep


def sifted_table(check: Check, most: int, key: Check) -> Check:
    """Return the check of a table with any keys, of which wrong entries are left out."""

    def keep(value: Any, where: str) -> Any:
        any_table(value, where)
        good = {}
        for name, part in list(value.items())[:most]:
            try:
                good[key(name, where)] = check(part, where)
            except (BadRequest, ValueError, RecursionError):
                continue
        return good

    return keep


def _check_parts(value: Any, where: str, depth: int) -> None:
    if depth == 0:
        raise BadRequest(f"{where} is nested deeper than {_DEEPEST} levels")
    if isinstance(value, str):
        if "\0" in value or _LONE.search(value):
            raise BadRequest(f"{where}: a NUL character, or text that is not valid UTF-8")
    elif isinstance(value, dict):
        for key, part in value.items():
            if not isinstance(key, str):
                raise wrong(where, "a table with texts as keys", value)
            _check_parts(key, where, depth - 1)
            _check_parts(part, _at(where, key), depth - 1)
    elif isinstance(value, (list, tuple)):
        for part in value:
            _check_parts(part, where, depth - 1)
    elif type(value) is int:
        if value.bit_length() > _LONGEST_INTEGER:
            raise BadRequest(f"{where} is a whole number of more than {_LONGEST_INTEGER} bits")
    elif value is not None and not isinstance(value, (bool, float)):
        raise wrong(where, "something that JSON can carry", value)


_LONGEST_INTEGER = 4096


def json_size(value: Any) -> int:
    """Return the bytes that a value has on the wire."""
    return len(json.dumps(value, separators=(",", ":")))


def _at(where: str, name: Any) -> str:
    shown = str(name) if len(str(name)) <= _SHOWN else str(name)[:_SHOWN] + "..."
    return f"{where}.{shown.encode('ascii', 'backslashreplace').decode()}" if where else shown


def mended(fields: Mapping[str, Check], value: Mapping[str, Any], problems: List[str]) -> Dict[str, Any]:
    """Return the fields that are right; what is wrong is left out and named in ``problems``.

    Args:
        fields: the check of each.
        value: from outside.
        problems: takes a line of words for each.
    """
    good = {}
    for name, check in fields.items():
        if name in value:
            try:
                good[name] = check(value[name], name)
            except (BadRequest, ValueError, RecursionError) as error:
                problems.append(str(error))
    return good
