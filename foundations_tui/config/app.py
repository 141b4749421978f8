"""app.toml: how the app looks, which keys it takes, and whom it tells of what happened."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from foundations_tui.config import locations, toml
from foundations_tui.config.schema import AppFile, AppNotifyTable
from foundations_tui.config.values import delivery_of

if TYPE_CHECKING:
    from remote_agent.protocol.notices import NotifyTarget


@dataclass(frozen=True, slots=True)
class Notify:
    """Whom the app tells that a job has ended."""

    on: tuple[str, ...] = ("completed", "failed", "lost", "stalled")
    """What to notify of: ends by their state, and "stalled"."""
    bell: bool = True
    terminal: str = "auto"
    """How the terminal is asked to: one of ``schema.TERMINALS``."""
    target: NotifyTarget | None = None
    """Who is notified beside the user."""


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
    document = toml.read(path or locations.config_folder() / "app.toml")
    for error in toml.unknown_keys(document, AppFile):
        raise error
    file = toml.convert(document, AppFile)
    return Settings(file.theme, file.ascii, file.mouse, _keys(document, file.keys), _notify(document, file.notify))


def _keys(document: toml.Document, table: dict[str, str]) -> dict[str, str]:
    for name, keys in table.items():
        if not all(key.strip() for key in keys.split(",")):
            raise document.error(
                ("keys", name),
                f'{name} of [keys] must be a string, like "m" or "m,ctrl+space", got {keys!r}',
                "foundations ui --keys lists what can be named",
            )
    return {name: ",".join(key.strip() for key in keys.split(",")) for name, keys in table.items()}


def _notify(document: toml.Document, table: AppNotifyTable) -> Notify:
    on = Notify().on if table.on is None else tuple(table.on)
    return Notify(on, table.bell, table.terminal, delivery_of(document, table))
