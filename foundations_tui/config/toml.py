"""TOML files that people write: read, checked against a struct, and told about with the line of what is wrong."""

from __future__ import annotations

import difflib
import functools
import re
import tomllib
import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from foundations_tui.errors import ConfigError

T = TypeVar("T", bound=msgspec.Struct)
Keys = tuple[str, ...]
"""Where a value stands: the keys that lead to it."""
MUST_BE = "must_be"
"""Key of a field's words for what it has to be, beside its description."""


def setting(description: str, must_be: str, **bounds: Any) -> msgspec.Meta:
    """Return what a field of a file means: for its schema, and for the error about a wrong value.

    Args:
        description: one sentence.
        must_be: what it has to be, as it ends a sentence: "a whole number".
        bounds: of ``msgspec.Meta``.
    """
    return msgspec.Meta(description=description, extra={MUST_BE: must_be}, **bounds)


@dataclass(frozen=True)
class Document:
    """One file, or a table of one, and where in it everything stands."""

    path: Path
    table: dict[str, Any]
    prefix: Keys = ()
    """The keys that lead to the table in its file."""
    text: str = field(default="", repr=False)

    @functools.cached_property
    def _lines(self) -> dict[Keys, int]:
        return dict(_key_lines(self.text))

    def at(self, *keys: str) -> str:
        """Return "file:line" of a key, or of the nearest table above it."""
        whole = self.prefix + keys
        for end in range(len(whole), 0, -1):
            if whole[:end] in self._lines:
                return f"{self.path}:{self._lines[whole[:end]]}"
        return str(self.path)

    def error(self, keys: Keys, words: str, hint: str = "") -> ConfigError:
        """Return the error about a key, with its place."""
        return ConfigError(f"{self.at(*keys)}: {words}", hint)

    def below(self, *keys: str) -> Document | None:
        """Return one of its tables; None where there is none.

        Raises:
            ConfigError: something else stands there.
        """
        table: Any = self.table
        for number, key in enumerate(keys, 1):
            if key not in table:
                return None
            table = table[key]
            if not isinstance(table, dict):
                raise self.error(keys[:number], f"{'.'.join(keys[:number])} must be a table, got {_shown(table)}")
        return Document(self.path, table, self.prefix + keys, self.text)


def read(path: Path, parse_float: Callable[[str], Any] = float) -> Document:
    """Return what a file holds, nothing where there is no file.

    Args:
        path: the file.
        parse_float: makes numbers of their text.
    Raises:
        ConfigError: it cannot be read, or is no TOML.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        return Document(path, tomllib.loads(text, parse_float=parse_float), text=text)
    except FileNotFoundError:
        return Document(path, {})
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}", "this is no valid TOML") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: {error}") from None
    except RecursionError:
        raise ConfigError(f"{path}: it is nested too deep") from None


def parse(text: str, path: Path) -> Document:
    """Return what a text holds.

    Args:
        text: of a TOML file.
        path: what it is called in errors.
    Raises:
        ConfigError: it is no TOML.
    """
    try:
        return Document(path, tomllib.loads(text), text=text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: {error}", "this is no valid TOML") from None


def convert(document: Document, struct: type[T], whose: str = "", values: Mapping[str, Any] | None = None) -> T:
    """Return a table as the struct that it has to be; keys that the struct does not know are passed over.

    Args:
        document: the table.
        struct: what it has to be.
        whose: of whom it is, for messages.
        values: what counts instead of the table itself, when that is more.
    Raises:
        ConfigError: a value is wrong, with its line.
    """
    table = document.table if values is None else values
    try:
        return msgspec.convert(table, struct, strict=True)
    except msgspec.ValidationError as error:
        keys, kind = _place(str(error), struct, table)
        value = _value(table, keys)
        must_be = _extra(kind, MUST_BE) or str(error).partition(" - at ")[0].lower()
        name = keys[-1] if keys else "it"
        of = f" of {whose}" if whose else f" of [{'.'.join((*document.prefix, *keys[:-1]))}]" if keys[1:] else ""
        raise document.error(keys, f"{name}{of} must be {must_be}, got {_shown(value)}") from None


def unknown_keys(document: Document, struct: type[msgspec.Struct]) -> list[ConfigError]:
    """Return an error about each key that a struct does not know, with the nearest one; all of them at once."""
    return list(_unknown(document, struct, (), document.table))


def _unknown(
    document: Document, struct: type[msgspec.Struct], keys: Keys, table: Mapping[str, Any]
) -> Iterator[ConfigError]:
    fields = {f.encode_name: f.type for f in msgspec.structs.fields(struct)}
    for key, value in table.items():
        if key not in fields:
            yield document.error((*keys, key), f"unknown key {key!r}", nearest(key, fields))
            continue
        inner, of_each = _struct_in(fields[key])
        if inner is None or not isinstance(value, dict):
            continue
        for name, entry in value.items() if of_each else [("", value)]:
            if isinstance(entry, dict):
                yield from _unknown(document, inner, (*keys, key, name) if of_each else (*keys, key), entry)


def _struct_in(kind: Any) -> tuple[type[msgspec.Struct] | None, bool]:
    """Return (the struct that a field holds, whether it holds a table of them)."""
    kind = _bare(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind, False
    if typing.get_origin(kind) is dict:
        inner = _bare(typing.get_args(kind)[1])
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            return inner, True
    return None, False


def _bare(kind: Any) -> Any:
    return typing.get_args(kind)[0] if typing.get_origin(kind) is typing.Annotated else kind


_STEP = re.compile(r"\.([A-Za-z_][A-Za-z0-9_]*)|\[(\d+|\.\.\.)\]")


def _place(message: str, struct: type[msgspec.Struct], table: Mapping[str, Any]) -> tuple[Keys, Any]:
    """Return (the keys to what msgspec found wrong, the type of that): it does not say which key of a table it is."""
    path = message.partition(" - at `$")[2].rstrip("`")
    keys: Keys = ()
    kind: Any = struct
    value: Any = table
    for match in _STEP.finditer(path):
        if match[1]:
            fields = {f.encode_name: f.type for f in msgspec.structs.fields(_bare(kind))}
            keys, kind = (*keys, match[1]), fields[match[1]]
            value = value.get(match[1]) if isinstance(value, dict) else None
        elif typing.get_origin(_bare(kind)) is dict and isinstance(value, dict):
            inner = typing.get_args(_bare(kind))[1]
            wrong = next((key for key, entry in value.items() if not _fits(entry, inner)), None)
            if wrong is None:
                break
            keys, kind, value = (*keys, wrong), inner, value[wrong]
        else:
            break  # an element of a list stands with its list
    return keys, kind


def _fits(value: Any, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError:
        return False
    return True


def _extra(kind: Any, key: str) -> str:
    """Return what the annotations of a field say, the outermost first."""
    if typing.get_origin(kind) is typing.Annotated:
        for meta in typing.get_args(kind)[1:]:
            if isinstance(meta, msgspec.Meta) and meta.extra and key in meta.extra:
                return str(meta.extra[key])
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        return next(filter(None, (_extra(part, key) for part in typing.get_args(kind))), "")
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return "a table"
    return ""


def _value(table: Any, keys: Keys) -> Any:
    for key in keys:
        table = table.get(key) if isinstance(table, dict) else None
    return table


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a table"
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "..."


def refuse(unknown: Sequence[ConfigError]) -> None:
    """Raise what is wrong with unknown keys, all in one.

    Raises:
        ConfigError: there are some.
    """
    if len(unknown) == 1:
        raise unknown[0]
    if unknown:
        raise ConfigError("\n".join(f"{error} ({error.hint})" if error.hint else str(error) for error in unknown))


def nearest(name: str, names: Collection[str]) -> str:
    """Return a hint with the name that is most like a wrong one, if any is."""
    match = difflib.get_close_matches(name, list(names), 1, 0.5)
    return f"did you mean {match[0]!r}?" if match else ""


def _key_lines(text: str) -> Iterator[tuple[Keys, int]]:
    """Yield (keys, line) of all that stands in a file; tomllib keeps no positions, so its statements are read apart."""
    table: Keys = ()
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        first = number
        statement = lines[number]
        number += 1
        if not statement.strip() or statement.lstrip().startswith("#"):
            continue
        if statement.lstrip().startswith("["):
            table = _only_path(_parsed(statement.replace("[[", "[").replace("]]", "]")) or {})
            yield from ((table[:end], first + 1) for end in (len(table),) if table)
            continue
        parsed = _parsed(statement)
        while parsed is None and number < len(lines):  # a value of several lines
            statement += "\n" + lines[number]
            number += 1
            parsed = _parsed(statement)
        for keys in _paths(parsed or {}):
            yield table + keys, first + 1


def _parsed(statement: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(statement)
    except (tomllib.TOMLDecodeError, RecursionError):
        return None


def _only_path(table: Any) -> Keys:
    keys: Keys = ()
    while isinstance(table, dict) and table:
        key = next(iter(table))
        keys, table = (*keys, key), table[key]
    return keys


def _paths(table: Mapping[str, Any]) -> Iterator[Keys]:
    for key, value in table.items():
        yield (key,)
        if isinstance(value, dict):
            yield from ((key, *below) for below in _paths(value))
