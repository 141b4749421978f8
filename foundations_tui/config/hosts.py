"""hosts.toml: read, checked, and written when a host is added; ``schema.py`` says what may stand there."""

from __future__ import annotations

import functools
import getpass
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from foundations_tui.config import locations, toml
from foundations_tui.config.schema import HostsFile, HostTable
from foundations_tui.config.values import data_table, env_table, notify_of
from foundations_tui.errors import ConfigError, NotFoundError, UsageError

if TYPE_CHECKING:
    from remote_agent.protocol.notices import NotifyTarget

IN_A_BUNDLE = "(bundle)"
"""Stands for the host of a job that came in a bundle: no host can be called so."""
LOCAL = "local"
RESERVED = ("any", "defaults")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


class HostConfig(HostTable, frozen=True, kw_only=True):
    """One host: what hosts.toml says of it, its name, and its variables and data as they are used."""

    name: str

    @property
    def is_local(self) -> bool:
        """Whether this is the machine itself."""
        return not self.address


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
    notify: NotifyTarget | None = None
    """Whom a host tells that a job has ended: "url", "command", "on"."""
    unknown: tuple[ConfigError, ...] = ()
    """What is wrong with keys that nobody knows: reading goes on without them, submitting does not."""

    def host(self, name: str) -> HostConfig:
        """Return a host.

        Raises:
            NotFoundError: there is none of this name.
        """
        if name == IN_A_BUNDLE:
            raise NotFoundError(
                "the job came in a bundle: none of your hosts has it", "show, logs, compare, checkout and rerun work"
            )
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
    document = toml.read(path or locations.hosts_file())
    _check_hosts(document)
    file = toml.convert(document, HostsFile)
    defaults = document.table.get("defaults", {})
    hosts = {LOCAL: _host(document, LOCAL, defaults, {})}
    for name, entry in document.table.get("hosts", {}).items():
        hosts[name] = _host(document, name, defaults, entry)
    if file.default_host and file.default_host != "any" and file.default_host not in hosts:
        raise document.error(
            ("default_host",),
            f"default_host names no host: {file.default_host!r}",
            toml.nearest(file.default_host, hosts),
        )
    unknown = tuple(toml.unknown_keys(document, HostsFile))
    return HostsConfig(hosts, file.default_host, file.owner, notify_of(document, file.notify), unknown)


def _check_hosts(document: toml.Document) -> None:
    """Find what is wrong with the tables of hosts before their values are: each error names its host.

    Raises:
        ConfigError: what is wrong, with its line.
    """
    defaults = document.below("defaults")
    if defaults is not None:
        toml.convert(defaults, HostTable, "[defaults]")
        if "address" in defaults.table:
            raise document.error(("defaults", "address"), "address belongs to one host, not to [defaults]")
    hosts = document.below("hosts")
    for name in hosts.table if hosts is not None else ():
        try:
            check_name(name, allow_local=True)
        except UsageError as error:
            raise document.error(("hosts", name), str(error)) from None
        table = document.below("hosts", name)
        assert table is not None
        toml.convert(table, HostTable, name)


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
    table = {"address": address, **options}
    _check_hosts(toml.Document(path, {"hosts": {name: table}}))  # what could not be read again is not written
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


def _host(document: toml.Document, name: str, defaults: dict[str, Any], entry: dict[str, Any]) -> HostConfig:
    """Return a host: its own table over the defaults, each of which was checked by itself."""

    def place(key: str) -> toml.Keys:
        return ("hosts", name, key) if key in entry else ("defaults", key)

    merged = {**defaults, **entry}
    for key, (usual, what) in _NOT_YET.items():
        if merged.get(key, usual) != usual:
            raise document.error(place(key), f"{what} is not available in this version yet")
    if name == LOCAL and merged.get("address"):
        raise document.error(place("address"), "local is this machine and has no address", "give it another name")
    if name != LOCAL and not merged.get("address"):
        raise document.error(("hosts", name), f"host {name} has no address", 'address = "user@host:port"')
    table = msgspec.convert(merged, HostTable)
    used = {
        "env": env_table(document, table.env, *place("env")),
        "data": data_table(document, table.data, *place("data")),
    }
    return HostConfig(**{**msgspec.structs.asdict(table), **used, "name": name})
