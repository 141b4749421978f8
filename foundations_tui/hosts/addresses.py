"""Addresses of hosts as hosts.toml has them. Pure: adding a host must not load paramiko."""

from __future__ import annotations

from foundations_tui.errors import ConfigError


def split_address(address: str) -> tuple[str, str, int]:
    """Return (user, host, port) of "user@host:port"; empty and 0 for what is not given.

    Raises:
        ConfigError: the address is none.
    """
    user, _, rest = address.rpartition("@")
    if rest.startswith("["):
        name, _, port = rest[1:].partition("]")
        port = port.removeprefix(":")
    elif rest.count(":") > 1:
        name, port = rest, ""
    else:
        name, _, port = rest.partition(":")
    is_odd = any(c.isspace() or not c.isprintable() for c in address)
    is_port = not port or (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536)
    if is_odd or not name or name.startswith("-") or user.startswith("-") or not is_port:
        raise ConfigError(
            f"not an address: {address!r}", 'it looks like "user@host:port", or an alias of ~/.ssh/config'
        )
    return user, name, int(port or 0)
