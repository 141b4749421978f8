"""The keys of the app by the ids of what they do, and what app.toml makes of them."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Mapping

from textual.binding import Binding
from textual.dom import DOMNode
from textual.keys import _character_to_key as name_of_character

from foundations_tui import ui
from foundations_tui.config.app import OwnCommand
from foundations_tui.config.toml import nearest
from foundations_tui.errors import ConfigError

_OURS = "foundations_tui.ui"
_WITH_KEYS = tuple(f"{_OURS}.{folder}." for folder in ("screens", "panes", "widgets"))


def catalog() -> dict[str, Binding]:
    """Return what can be given other keys, by id: of all screens, panes and widgets."""
    for part in pkgutil.walk_packages(ui.__path__, f"{_OURS}."):
        if part.name.startswith(_WITH_KEYS):
            importlib.import_module(part.name)
    bindings = {binding.id: binding for node in _nodes(DOMNode) for binding in _bindings(node)}
    return {name: bindings[name] for name in sorted(name for name in bindings if name)}


def _nodes(node: type[DOMNode]) -> Iterator[type[DOMNode]]:
    for child in node.__subclasses__():
        yield from _nodes(child)
        if child.__module__.startswith(_OURS):
            yield child


def _bindings(node: type[DOMNode]) -> Iterator[Binding]:
    for binding in node.__dict__.get("BINDINGS", ()):
        if isinstance(binding, Binding) and binding.id:
            yield binding


def keymap(chosen: Mapping[str, str]) -> dict[str, str]:
    """Return Textual's keymap for what app.toml wants.

    Args:
        chosen: keys by id; a character such as "/" may stand for its name.
    Raises:
        ConfigError: there is no such id, or two of one place want the same key.
    """
    bindings = catalog()
    for name in chosen:
        if name not in bindings:
            hint = nearest(name, bindings) or "foundations ui --keys lists them"
            raise ConfigError(f"app.toml: [keys] has {name!r}, which nothing is called", hint)
    named = {name: ",".join(_name(key) for key in keys.split(",")) for name, keys in chosen.items()}
    taken: dict[tuple[str, str], str] = {}
    for name in (*named, *(name for name in bindings if name not in named)):
        for key in named.get(name, bindings[name].key).split(","):
            place = (name.partition(".")[0], key)
            if place in taken:
                hint = f"give {name} another key, too" if name not in named else "give one of them another key"
                raise ConfigError(f"app.toml: [keys]: {taken[place]} and {name} are both {key!r}", hint)
            taken[place] = name
    return named


def check_own(commands: Iterable[OwnCommand], chosen: Mapping[str, str]) -> None:
    """Check that the keys of the user's programs mean nothing else.

    Args:
        commands: those programs.
        chosen: other keys of the app's own, as ``keymap`` gives them.
    Raises:
        ConfigError: a key is taken.
    """
    taken = {
        key: name
        for name, binding in catalog().items()
        if name.partition(".")[0] not in _WINDOWS
        for key in chosen.get(name, binding.key).split(",")
    }
    for command in commands:
        key = _name(command.key)
        if key and key in taken:
            hint = "foundations ui --keys lists the keys that are taken"
            raise ConfigError(f"app.toml: [commands.{command.name}]: {command.key!r} is {taken[key]}", hint)
        taken[key] = f"commands.{command.name}"


_WINDOWS = (
    "code",
    "confirm",
    "detail",
    "difference",
    "files",
    "help",
    "launch",
    "menu",
    "output",
    "palette",
    "passphrase",
)
"""Where keys mean something only while a window is open."""


def _name(key: str) -> str:
    return name_of_character(key) if len(key) == 1 else key
