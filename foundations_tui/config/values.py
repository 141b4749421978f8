"""Values that several files may have: variables, data on hosts, whom to tell of ends."""

from __future__ import annotations

import shlex
import urllib.parse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from foundations_tui.config import toml
from foundations_tui.errors import ConfigError
from remote_agent.protocol.jobs import ENV_NAME

_NOTIFY_KEYS = ("url", "command", "on")
ENDS = ("completed", "failed", "stopped", "lost")


def notify_of(
    path: Path, table: dict[str, Any], known: Sequence[str] = _NOTIFY_KEYS, events: Sequence[str] = ENDS
) -> dict[str, Any]:
    """Return whom to tell of ends, as a file says in its table ``notify``.

    Args:
        path: the file.
        table: all of it.
        known: the keys that may stand there.
        events: what may be told.
    Raises:
        ConfigError: what is wrong, with file and line.
    """
    found = toml.table_of(path, table.get("notify", {}), "notify")
    for key, value in found.items():
        if key not in known:
            raise toml.unknown_key(path, key, known)
        if key == "url" and not _is_url(value):
            raise ConfigError(f"{toml.at(path, key)}: url of [notify] begins with http:// or https://")
        if key == "command" and not _is_command(value):
            raise ConfigError(f"{toml.at(path, key)}: command of [notify] is a string or a list of strings")
        if key == "on" and not (isinstance(value, list) and all(end in events for end in value)):
            raise ConfigError(f"{toml.at(path, key)}: on of [notify] is a list of {', '.join(events)}")
    return found


def _is_command(value: Any) -> bool:
    try:
        words = shlex.split(value) if isinstance(value, str) else value
    except ValueError:
        return False  # a quote is not closed
    return isinstance(words, list) and all(isinstance(word, str) for word in words) and bool(words and words[0])


def _is_url(value: Any) -> bool:
    try:
        parts = urllib.parse.urlsplit(value) if isinstance(value, str) else None
        return parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname) and " " not in value
    except ValueError:
        return False


def data_table(path: Path, table: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Return what lies on hosts, each as {"path", "at"}; a bare path has no place in the job's folder."""
    found = {}
    for name, value in table.items():
        entry = {"path": value} if isinstance(value, str) else value
        if not ENV_NAME.match(name):
            raise ConfigError(f"{toml.at(path, name)}: data {name!r}: a name of letters, digits and _ is needed")
        if not isinstance(entry, dict) or not all(isinstance(text, str) for text in entry.values()):
            raise ConfigError(f'{toml.at(path, name)}: data {name} is a path, or {{ path = "/...", at = "data/x" }}')
        for key in entry:
            if key not in ("path", "at"):
                raise toml.unknown_key(path, key, ("path", "at"))
        found[name] = entry
    return found


def env_table(path: Path, table: dict[str, Any]) -> dict[str, str]:
    """Return environment variables as text."""
    for name, value in table.items():
        if not ENV_NAME.match(name):
            raise ConfigError(f"{toml.at(path, name)}: not the name of a variable: {name!r}")
        if isinstance(value, dict | list) or "\0" in str(value):
            raise ConfigError(f"{toml.at(path, name)}: the variable {name} is a string or a number")
    return {name: str(value) for name, value in table.items()}
