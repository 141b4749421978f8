"""TOML files that people write: read and checked, with the file and line of what is wrong."""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import Any

from foundations_tui.errors import ConfigError


def read(path: Path) -> dict[str, Any]:
    """Return what a file holds, nothing where there is no file.

    Raises:
        ConfigError: it cannot be read, or is no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return {}
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}", "this is no valid TOML") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: {error}") from None
    except RecursionError:
        raise ConfigError(f"{path}: it is nested too deep") from None


def table_of(path: Path, value: Any, name: str) -> dict[str, Any]:
    """Return a table.

    Raises:
        ConfigError: it is none.
    """
    if not isinstance(value, dict):
        raise ConfigError(f"{at(path, name.rpartition('.')[2])}: [{name}] is a table")
    return value


def string(path: Path, table: dict[str, Any], key: str) -> str:
    """Return a string, empty when it is not given."""
    value = table.get(key, "")
    if not isinstance(value, str):
        raise ConfigError(f"{at(path, key)}: {key} is a string")
    return value


def strings(path: Path, table: dict[str, Any], key: str) -> tuple[str, ...]:
    """Return a list of words that are not empty."""
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(word, str) and word for word in value):
        raise ConfigError(f"{at(path, key)}: {key} is a list of patterns")
    return tuple(value)


def boolean(path: Path, table: dict[str, Any], key: str, default: bool = False) -> bool:
    """Return true or false; ``default`` when it is not given."""
    value = table.get(key, default)
    if not isinstance(value, bool):
        raise ConfigError(f"{at(path, key)}: {key} is true or false")
    return value


def unknown_key(path: Path, key: str, known: Any) -> ConfigError:
    """Return the error about a key that nobody knows, with the nearest one."""
    return ConfigError(f"{at(path, key)}: unknown key {key!r}", nearest(key, known))


def nearest(name: str, known: Any) -> str:
    """Return a hint with the name that is most like a wrong one, if any is."""
    match = difflib.get_close_matches(name, list(known), 1, 0.5)
    return f"did you mean {match[0]!r}?" if match else ""


def at(path: Path, key: str) -> str:
    """Return "file:line" of a key; tomllib keeps no positions, so the text is searched."""
    pattern = re.compile(rf"^\s*(\[.*)?[\"']?{re.escape(key)}[\"']?\s*(=|\.|\])")
    try:
        for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
            if pattern.match(line):
                return f"{path}:{number}"
    except OSError:
        pass
    return str(path)
