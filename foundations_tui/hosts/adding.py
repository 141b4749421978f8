"""Adding a host to hosts.toml: the options that the command line and the app share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from foundations_tui.config.hosts import add_host
from foundations_tui.errors import UsageError
from foundations_tui.hosts.addresses import split_address
from foundations_tui.text.options import Kind, Option, read_options

OPTIONS: dict[str, Option] = {
    "identity": Option("--identity", Kind.FILE, "Private key file.", default=""),
    "root": Option("--root", Kind.TEXT, "Folder for the agent and its jobs.", default=""),
    "python": Option("--python", Kind.TEXT, "Interpreter that jobs mean by 'python'.", default=""),
    "max_jobs": Option("--max-jobs", Kind.NUMBER, "Most jobs at once (default: as many as CPUs).", default=0),
    "gpus": Option("--gpus", Kind.TEXT, "How many of its GPUs to use, or which: 2, or 0,1 (default: all).", default=""),
    "tags": Option("--tag", Kind.TAG, "A tag (repeatable).", metavar="TEXT", default=()),
}
"""Keys of a host that can be given when it is added."""


def add(name: str, address: str, values: Mapping[str, Any]) -> Path:
    """Write a host into hosts.toml; return that file.

    Args:
        name: by which it is known here.
        address: "user@host", "user@host:port" or an alias of ~/.ssh/config.
        values: by the names of ``OPTIONS``.
    Raises:
        ConfigError: the address is none, or hosts.toml is wrong. UsageError: the name is taken, or a value is wrong.
    """
    split_address(address)
    keys = {key: value for key, value in values.items() if value}
    if "identity" in keys and not Path(keys["identity"]).expanduser().is_file():
        raise UsageError(f"there is no key file {keys['identity']}")
    if "tags" in keys:
        keys["tags"] = list(keys["tags"])
    if "gpus" in keys:
        keys["gpus"] = _gpus(keys["gpus"])
    return add_host(name, address, keys)


def add_from_words(words: Sequence[str]) -> str:
    """Add a host as words behind ``foundations hosts add`` say it; return its name.

    Raises:
        UsageError: they cannot be understood.
    """
    if len(words) < 2 or any(word.startswith("-") for word in words[:2]):
        raise UsageError("a host needs a name and an address", "gpu1 user@host:port --identity KEY")
    add(words[0], words[1], read_options(words[2:], OPTIONS, "hosts add"))
    return words[0]


def _gpus(text: str) -> int | list[int]:
    """Return a count of GPUs, or their indices, as hosts.toml has them."""
    try:
        numbers = [int(word) for word in text.split(",")]
    except ValueError:
        raise UsageError(f"--gpus takes a count, or indices with commas; got {text!r}") from None
    return numbers if "," in text else numbers[0]
