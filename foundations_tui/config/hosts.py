"""hosts.toml: read, checked, and written when a host is added.

Unknown keys are errors that name the key and the nearest right one.
"""

from __future__ import annotations

import functools
import getpass
import os
import re
import subprocess
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from foundations_tui.config import locations, toml
from foundations_tui.config.values import data_table, env_table, notify_of
from foundations_tui.errors import ConfigError, NotFoundError, UsageError

LOCAL = "local"
RESERVED = ("any", "defaults")
_MOST_JOBS = 100_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


@dataclass(frozen=True)
class HostConfig:
    """One host of hosts.toml."""

    name: str
    address: str = ""
    """"user@host:port" or an alias of ~/.ssh/config; empty for this machine."""
    identity: str = ""
    """Private key file."""
    root: str = ""
    """Folder of the agent; empty for its usual place."""
    python: str = ""
    """Interpreter that jobs mean by ``python``; also runs the agent."""
    max_jobs: int = 0
    """Most jobs at once; 0 for as many as there are CPUs."""
    gpus: str | int | list[int] = "auto"
    """"auto", a count, or the indices that may be used."""
    backend: str = "process"
    transport: str = "paramiko"
    setup: str = ""
    """Shell lines before each job (modules, conda)."""
    env: dict[str, str] = field(default_factory=dict)
    """Variables of each job."""
    data: dict[str, dict[str, str]] = field(default_factory=dict)
    """What lies there, by name: {"path": where, "at": its place in a job's folder}."""
    tags: list[str] = field(default_factory=list)
    slurm: dict[str, Any] = field(default_factory=dict)

    @property
    def is_local(self) -> bool:
        """Whether this is the machine itself."""
        return not self.address


_TYPES: dict[str, tuple[type, ...]] = {
    "address": (str,),
    "identity": (str,),
    "root": (str,),
    "python": (str,),
    "max_jobs": (int,),
    "gpus": (str, int, list),
    "backend": (str,),
    "transport": (str,),
    "setup": (str,),
    "env": (dict,),
    "data": (dict,),
    "tags": (list,),
    "slurm": (dict,),
}
KEYS = tuple(_TYPES)
"""The keys of a host's table."""
_NOT_YET = {
    "backend": ("process", "the slurm backend"),
    "transport": ("paramiko", "another transport"),
    "slurm": ({}, "the slurm backend"),
}


@dataclass(frozen=True)
class HostsConfig:
    """hosts.toml as a whole."""

    hosts: dict[str, HostConfig]
    default_host: str = ""
    owner: str = ""
    notify: dict[str, Any] = field(default_factory=dict)
    """Whom a host tells that a job has ended: "url", "command", "on"."""

    def host(self, name: str) -> HostConfig:
        """Return a host.

        Raises:
            NotFoundError: there is none of this name.
        """
        if name not in self.hosts:
            raise NotFoundError(
                f"unknown host {name!r}", toml.nearest(name, self.hosts) or "foundations hosts lists them"
            )
        return self.hosts[name]


def load_hosts(path: Path | None = None) -> HostsConfig:
    """Return hosts.toml, with ``local`` added.

    Raises:
        ConfigError: what is wrong, with file and line.
    """
    path = path or locations.hosts_file()
    table = toml.read(path)
    for key in table:
        if key not in _TOP_KEYS:
            raise toml.unknown_key(path, key, _TOP_KEYS)
    defaults = toml.table_of(path, table.get("defaults", {}), "defaults")
    if "address" in defaults:
        raise ConfigError(f"{toml.at(path, 'address')}: address belongs to one host, not to [defaults]")
    hosts = {LOCAL: _host(path, LOCAL, defaults, {})}
    for name, entry in toml.table_of(path, table.get("hosts", {}), "hosts").items():
        try:
            check_name(name, allow_local=True)
        except UsageError as error:
            raise ConfigError(f"{toml.at(path, name)}: {error}") from None
        hosts[name] = _host(path, name, defaults, toml.table_of(path, entry, f"hosts.{name}"))
    default = toml.string(path, table, "default_host")
    if default and default != "any" and default not in hosts:
        raise ConfigError(
            f"{toml.at(path, 'default_host')}: default_host names no host: {default!r}",
            toml.nearest(default, hosts),
        )
    return HostsConfig(hosts, default, toml.string(path, table, "owner"), notify_of(path, table))


_TOP_KEYS = ("hosts", "defaults", "default_host", "owner", "notify")


def check_name(name: str, allow_local: bool = False) -> None:
    """Raise UsageError when a host may not be called so."""
    if not _NAME.match(name) or name in RESERVED or (name == LOCAL and not allow_local):
        taken = "is taken" if name in (*RESERVED, LOCAL) else "is not a name: letters, digits, . _ -"
        raise UsageError(f"{name!r} {taken}")


def owner_name(config: HostsConfig) -> str:
    """Return whose jobs these are: the config's word, else git's, else the login's."""
    return config.owner or _name_in_git() or _login()


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"  # a container whose user has no name


@functools.cache
def _name_in_git() -> str:
    try:
        asked = subprocess.run(["git", "config", "--global", "user.name"], capture_output=True, text=True, timeout=5)
        return asked.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def add_host(name: str, address: str, options: dict[str, Any]) -> Path:
    """Write a host into hosts.toml, keeping what stands there, comments too.

    Raises:
        UsageError: the name is taken or is none. ConfigError: the file is wrong as it is, or would be.
    """
    check_name(name)
    if name in load_hosts().hosts:
        raise UsageError(f"there is a host {name!r} already", f"foundations hosts remove {name}")
    import tomlkit

    path, document = _open_document()
    _host(path, name, {}, {"address": address, **options})  # what could not be read again is not written
    tables = document.setdefault("hosts", tomlkit.table(is_super_table=True))
    entry = tomlkit.table()
    for key, value in {"address": address, **options}.items():
        entry[key] = value
    tables[name] = entry
    _save_document(path, tomlkit.dumps(document))
    return path


def remove_host(name: str) -> Path:
    """Take a host out of hosts.toml.

    Raises:
        NotFoundError: it is not there. UsageError: it is ``local``.
    """
    if name == LOCAL:
        raise UsageError("local is this machine; it cannot be removed")
    load_hosts().host(name)
    import tomlkit

    path, document = _open_document()
    del document["hosts"][name]
    if document.get("default_host") == name:
        del document["default_host"]
    _save_document(path, tomlkit.dumps(document))
    return path


def _open_document() -> tuple[Path, Any]:
    import tomlkit

    path = locations.hosts_file()
    return path, tomlkit.parse(path.read_text(encoding="utf-8") if path.exists() else "")


def _save_document(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.touch(mode=0o600)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None


def _host(path: Path, name: str, defaults: dict[str, Any], entry: dict[str, Any]) -> HostConfig:
    known = [f.name for f in fields(HostConfig) if f.name != "name"]
    merged = {**defaults, **entry}
    for key, value in merged.items():
        if key not in known:
            raise toml.unknown_key(path, key, known)
        if not isinstance(value, _TYPES[key]) or isinstance(value, bool):
            raise ConfigError(
                f"{toml.at(path, key)}: {key} of {name} is a {type(value).__name__}; {_wanted(key)} is needed"
            )
        if key in _NOT_YET and value != _NOT_YET[key][0]:
            raise ConfigError(f"{toml.at(path, key)}: {_NOT_YET[key][1]} is not available in this version yet")
    if name == LOCAL and merged.get("address"):
        raise ConfigError(
            f"{toml.at(path, 'address')}: local is this machine and has no address", "give it another name"
        )
    if name != LOCAL and not merged.get("address"):
        raise ConfigError(f"{toml.at(path, name)}: host {name} has no address", 'address = "user@host:port"')
    if not _are_gpus(merged.get("gpus", "auto")):
        raise ConfigError(f'{toml.at(path, "gpus")}: gpus is "auto", a count or a list of indices')
    if not 0 <= merged.get("max_jobs", 0) <= _MOST_JOBS:
        raise ConfigError(f"{toml.at(path, 'max_jobs')}: max_jobs is 1 to {_MOST_JOBS:,}, or 0 for as many as CPUs")
    if not all(isinstance(tag, str) for tag in merged.get("tags", [])):
        raise ConfigError(f"{toml.at(path, 'tags')}: tags are strings")
    data = data_table(path, merged.get("data", {}))
    return HostConfig(name=name, **{**merged, "env": env_table(path, merged.get("env", {})), "data": data})


def _are_gpus(value: Any) -> bool:
    numbers = value if isinstance(value, list) else [value]
    return value == "auto" or all(type(number) is int and 0 <= number <= _MOST_JOBS for number in numbers)


def _wanted(key: str) -> str:
    words = {str: "a string", int: "a whole number", list: "a list", dict: "a table"}
    return " or ".join(words[kind] for kind in _TYPES[key])
