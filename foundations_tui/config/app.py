"""app.toml: how the app looks, which keys it takes, and whom it tells of what happened."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from foundations_tui.config import locations, toml
from foundations_tui.config.schema import AppFile, AppNotifyTable, CommandTable
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


FIELDS = {
    "job": ("job", "name", "project", "group", "host", "state", "attempt", "log"),
    "host": ("host", "address"),
    "gpu": ("host", "address", "gpu", "uuid", "job"),
}
"""What a command of the user's can have filled in, by what it is about."""


@dataclass(frozen=True, slots=True)
class OwnCommand:
    """A program of the user's that a key starts."""

    name: str
    run: tuple[str, ...]
    """The program and its arguments, with fields in braces."""
    key: str = ""
    on: str = "job"
    """What it is about: one of ``FIELDS``."""
    confirm: bool = False
    background: bool = False

    def argv(self, fields: Mapping[str, str]) -> list[str]:
        """Return the program and its arguments, each field filled into the argument that names it."""
        return [self._filled(part, fields) for part in self.run]

    def _filled(self, part: str, fields: Mapping[str, str]) -> str:
        return _FIELD.sub(lambda match: fields[match[1]] if match[1] else match[0][0], part)

    def may_be_options(self, fields: Mapping[str, str]) -> list[str]:
        """Return the arguments that are options only by what is filled in: the user did not write the dash."""
        filled = [(part, self._filled(part, fields)) for part in self.run]
        return [argument for part, argument in filled if argument.startswith("-") and not part.startswith("-")]


_FIELD = re.compile(r"\{\{|\}\}|\{([a-z]+)\}")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class Settings:
    """What app.toml says."""

    theme: str = ""
    """A theme's name; empty for the app's own."""
    ascii: bool = False
    """No glyph beyond ASCII."""
    mouse: bool = True
    slow_link: bool = False
    """Whether what changes is drawn every few seconds only."""
    keys: dict[str, str] = field(default_factory=dict)
    """Keys by the id of what they do, several with commas between them."""
    notify: Notify = field(default_factory=Notify)
    commands: tuple[OwnCommand, ...] = ()


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
    return Settings(
        file.theme,
        file.ascii,
        file.mouse,
        file.slow_link,
        _keys(document, file.keys),
        _notify(document, file.notify),
        tuple(_command(document, name, table) for name, table in file.commands.items()),
    )


def _command(document: toml.Document, name: str, table: CommandTable) -> OwnCommand:
    place = ("commands", name)
    if not _NAME.fullmatch(name):
        hint = "lower-case letters, digits, - and _, like tail-log"
        raise document.error(place, f"{name!r} cannot be the name of a command", hint)
    if not table.run or not table.run[0]:
        hint = 'run = ["tmux", "new-window", "less", "+F", "{log}"]'
        raise document.error((*place, "run"), f"[commands.{name}] names no program to run", hint)
    _check_fields(document, name, table.run, FIELDS[table.on])
    return OwnCommand(name, tuple(table.run), table.key.strip(), table.on, table.confirm, table.background)


def _check_fields(document: toml.Document, name: str, run: list[str], known: Collection[str]) -> None:
    for match in (match for part in run for match in _FIELD.finditer(part)):
        if match[1] and match[1] not in known:
            words = f"[commands.{name}] has {match[0]}, which there is not"
            hint = f"{', '.join(f'{{{one}}}' for one in known)}; {{{{ and }}}} stand for braces"
            raise document.error(("commands", name, "run"), words, hint)
    if any("\0" in part for part in run):
        raise document.error(("commands", name, "run"), f"[commands.{name}] has a NUL in an argument")


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
