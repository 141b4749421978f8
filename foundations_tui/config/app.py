"""app.toml: how the app looks, which keys it takes, and whom it tells of what happened."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foundations_tui.config import locations, toml
from foundations_tui.config.values import ENDS, notify_of
from foundations_tui.errors import ConfigError

_KEYS = ("theme", "ascii", "mouse", "keys", "notify")
_NOTIFY_KEYS = ("url", "command", "on", "bell", "terminal")
TERMINAL = ("auto", "osc9", "osc777", "off")
"""How the terminal is asked to notify: as it is known to take it, by one of two sequences, not at all."""


@dataclass(frozen=True, slots=True)
class Notify:
    """Whom the app tells that a job has ended."""

    on: tuple[str, ...] = ("completed", "failed", "lost", "stalled")
    """What is told: ends by their state, and silence of a job."""
    bell: bool = True
    terminal: str = "auto"
    """One of TERMINAL."""
    delivery: dict[str, Any] = field(default_factory=dict)
    """"url" gets a POST of JSON, "command" gets it on standard input."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What app.toml says."""

    theme: str = ""
    """A theme's name; empty for the app's own."""
    ascii: bool = False
    """No glyph beyond ASCII."""
    mouse: bool = True
    keys: dict[str, str] = field(default_factory=dict)
    """Keys by the id of what they do, several with commas between them."""
    notify: Notify = field(default_factory=Notify)


BY_ITSELF = Settings()
"""What holds where app.toml says nothing."""


def load(path: Path | None = None) -> Settings:
    """Return app.toml of the config folder; all as it is by itself where there is none.

    Raises:
        ConfigError: what is wrong, with file and line.
    """
    path = path or locations.config_folder() / "app.toml"
    table = toml.read(path)
    for key in table:
        if key not in _KEYS:
            raise toml.unknown_key(path, key, _KEYS)
    return Settings(
        theme=toml.string(path, table, "theme"),
        ascii=toml.boolean(path, table, "ascii"),
        mouse=toml.boolean(path, table, "mouse", True),
        keys=_keys(path, toml.table_of(path, table.get("keys", {}), "keys")),
        notify=_notify(path, table),
    )


def _keys(path: Path, table: dict[str, Any]) -> dict[str, str]:
    for name, keys in table.items():
        if not isinstance(keys, str) or not all(key.strip() for key in keys.split(",")):
            raise ConfigError(
                f'{toml.at(path, name)}: the keys of {name} are a string, like "m" or "m,ctrl+space"',
                "foundations ui --keys lists what can be named",
            )
    return {name: ",".join(key.strip() for key in keys.split(",")) for name, keys in table.items()}


def _notify(path: Path, whole: dict[str, Any]) -> Notify:
    table = notify_of(path, whole, _NOTIFY_KEYS, (*ENDS, "stalled"))
    terminal = table.get("terminal", "auto")
    if terminal not in TERMINAL:
        raise ConfigError(f"{toml.at(path, 'terminal')}: terminal of [notify] is one of {', '.join(TERMINAL)}")
    return Notify(
        on=tuple(table.get("on", Notify().on)),
        bell=toml.boolean(path, table, "bell", True),
        terminal=terminal,
        delivery={key: table[key] for key in ("url", "command") if key in table},
    )
