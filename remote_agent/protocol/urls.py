"""URLs as they may be written down. Pure."""

from __future__ import annotations


def without_credentials(url: str) -> str:
    """Return a URL as it may be shown to anybody: no user, no password, no query, no fragment.

    "git@host:path" and a path of a file system are none, and stay.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    rest = rest.partition("?")[0].partition("#")[0]
    authority, slash, path = rest.partition("/")
    host = authority.rpartition("@")[2]
    port = host.rpartition("]")[2].partition(":")[2]
    if port and not port.isdigit() and "@" in path:  # a password with a slash in it
        return f"{scheme}://{rest.rpartition('@')[2]}"
    return f"{scheme}://{host}{slash}{path}"
