"""Values that several files may have and that a type does not describe: variables, data on hosts, whom to tell."""

from __future__ import annotations

import shlex
import urllib.parse
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from foundations_tui.config.schema import AppNotifyTable, NotifyTable
from foundations_tui.config.toml import Document, nearest
from remote_agent.protocol.names import ENV_NAME

if TYPE_CHECKING:
    from remote_agent.protocol.notices import NotifyTarget

_PLACE_KEYS = ("path", "at", "hash")


def delivery_of(document: Document, notify: NotifyTable | AppNotifyTable) -> NotifyTarget | None:
    """Return where notifications go; None where nowhere.

    Raises:
        ConfigError: one makes no sense, with its line.
    """
    if notify.url and not _is_url(notify.url):
        raise document.error(("notify", "url"), "url of [notify] must begin with http:// or https://")
    if "command" in document.table.get("notify", {}) and not _is_command(notify.command):
        raise document.error(
            ("notify", "command"), "command of [notify] must be a command: a string, or a list of strings"
        )
    if not notify.url and not notify.command:
        return None
    from remote_agent.protocol.notices import NotifyTarget  # most configurations have none

    return NotifyTarget(notify.url, notify.command)


def notify_of(document: Document, notify: NotifyTable) -> NotifyTarget | None:
    """Return whom a host notifies of ends; None if [notify] is empty.

    Raises:
        ConfigError: one makes no sense, with its line.
    """
    target = delivery_of(document, notify)
    if notify.on is None:
        return target
    from remote_agent.protocol.notices import NotifyTarget  # most configurations have none

    return replace(target or NotifyTarget(), on=[*notify.on])


def _is_command(value: str | list[str]) -> bool:
    try:
        words = shlex.split(value) if isinstance(value, str) else value
    except ValueError:
        return False  # a quote is not closed
    return bool(words and words[0])


def _is_url(value: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(value)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and " " not in value
    except ValueError:
        return False


def data_table(document: Document, table: dict[str, Any], *above: str) -> dict[str, dict[str, str]]:
    """Return what lies on hosts, each as {"path", "at"}; a bare path has no place in the job's folder.

    Args:
        document: the file.
        table: its table of data.
        above: the keys that lead to that.
    Raises:
        ConfigError: an entry makes no sense, with its line.
    """
    places = {}
    for name, value in table.items():
        entry = {"path": value} if isinstance(value, str) else value
        if not ENV_NAME.match(name):
            raise document.error((*above, name), f"data {name!r} needs a name of letters, digits and _")
        if not isinstance(entry, dict) or not all(isinstance(text, str) for text in entry.values()):
            raise document.error((*above, name), f'data {name} must be a path, or {{ path = "/...", at = "data/x" }}')
        for key in entry:
            if key not in _PLACE_KEYS:
                raise document.error((*above, name, key), f"unknown key {key!r}", nearest(key, _PLACE_KEYS))
        if entry.get("hash", "listing") != "listing":
            raise document.error((*above, name, "hash"), f'data {name}: hash is "listing", or left out')
        places[name] = entry
    return places


def env_table(document: Document, table: dict[str, Any], *above: str) -> dict[str, str]:
    """Return environment variables as text; see ``data_table``.

    Raises:
        ConfigError: a name or a value makes no sense, with its line.
    """
    for name, value in table.items():
        if not ENV_NAME.match(name):
            raise document.error((*above, name), f"{name!r} is not the name of a variable")
        if isinstance(value, dict | list) or "\0" in str(value):
            raise document.error((*above, name), f"the variable {name} must be a string or a number")
    return {name: str(value) for name, value in table.items()}
