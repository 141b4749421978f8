"""pip's settings as uv's variables: uv reads neither pip.conf nor PIP_*, and a company's index stands there.

The files, their order and their sections are those of https://pip.pypa.io/en/stable/topics/configuration/, the
variables those of https://docs.astral.sh/uv/reference/environment/. Used by hosts and by the client.
"""

from __future__ import annotations

import configparser
import os
import sys
from typing import Dict, Iterator, List, Mapping
from urllib.parse import urlsplit

_SECTIONS = ("global", "install", "download")
_PLAIN = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "constraint": "UV_CONSTRAINT",
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
}
INDEXES = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS")
"""Variables of uv's that name places of packages."""
_PIP_NAMES = {
    "UV_INDEX_URL": "PIP_INDEX_URL",
    "UV_DEFAULT_INDEX": "PIP_INDEX_URL",
    "UV_EXTRA_INDEX_URL": "PIP_EXTRA_INDEX_URL",
    "UV_INDEX": "PIP_EXTRA_INDEX_URL",
    "UV_FIND_LINKS": "PIP_FIND_LINKS",
}
"""The later ones count: uv's newer names."""
_CHOSEN = (("UV_DEFAULT_INDEX", "UV_INDEX_URL"), ("UV_INDEX", "UV_EXTRA_INDEX_URL"))
"""Two names of one thing: what uv was told itself counts."""


def uv_variables(env: Mapping[str, str]) -> Dict[str, str]:
    """Return the variables that make uv do what pip would; those that uv has been given already win.

    Args:
        env: the environment that pip and uv would be run with.
    """
    settings = _settings(env)
    variables: Dict[str, str] = {}
    for key, name in _PLAIN.items():
        if settings.get(key, "").strip():
            variables[name] = " ".join(settings[key].split())
    links = [place for place in settings.get("find-links", "").split() if _is_there(place)]
    if links:
        variables["UV_FIND_LINKS"] = ",".join(links)
    if settings.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        variables["UV_NO_INDEX"] = "1"
    if settings.get("proxy", "").strip():
        variables.update(dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), settings["proxy"].strip()))
    if "UV_INDEX" in variables or "UV_FIND_LINKS" in variables:
        variables["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # pip takes the best of all indexes
    given = {name: value for name, value in env.items() if name.startswith(("UV_", "SSL_")) or name in _PROXIES}
    for ours, other in _CHOSEN:
        if other in given:
            variables.pop(ours, None)
    upper = {name.upper() for name in given}
    return {**{name: value for name, value in variables.items() if name not in upper}, **given}


def pip_variables(variables: Mapping[str, str]) -> Dict[str, str]:
    """Return what variables tell uv of places of packages, as pip has it."""
    return {
        pip: " ".join(map(plain_url, variables[uv].replace(",", " ").split()))
        for uv, pip in _PIP_NAMES.items()
        if variables.get(uv)
    }


_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


def has_credentials(url: str) -> bool:
    """Return whether a URL says who asks: a user, or a query that may be a signature."""
    try:
        parts = urlsplit(plain_url(url))
    except ValueError:
        return True
    return "@" in parts.netloc or bool(parts.query)


def plain_url(place: str) -> str:
    """Return the URL of an index that may have a name before it, as uv takes it: NAME=URL."""
    head, separator, rest = place.partition("=")
    return rest if separator and "://" in rest and "://" not in head else place


def _settings(env: Mapping[str, str]) -> Dict[str, str]:
    """Return what pip would take, by the names of its options; a later place wins over an earlier one."""
    settings: Dict[str, str] = {}
    for path in _files(env):
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError, OSError):
            continue  # pip itself would stop; the host's own words come from the builder
        for section in _SECTIONS:
            if parser.has_section(section):
                settings.update({_key(name): value for name, value in parser.items(section)})
    for name, value in env.items():
        if name.startswith("PIP_") and name != "PIP_CONFIG_FILE" and value:
            settings[_key(name[len("PIP_") :])] = value
    return settings


def _files(env: Mapping[str, str]) -> Iterator[str]:
    own = env.get("PIP_CONFIG_FILE", "")
    if own == os.devnull:
        return
    home = env.get("HOME", "")
    for top in reversed([part for part in env.get("XDG_CONFIG_DIRS", "/etc/xdg").split(os.pathsep) if part]):
        yield os.path.join(top, "pip", "pip.conf")
    yield "/etc/pip.conf"
    if sys.platform == "darwin":
        yield "/Library/Application Support/pip/pip.conf"
    if home:
        yield os.path.join(home, ".pip", "pip.conf")
        if sys.platform == "darwin":
            yield os.path.join(home, "Library", "Application Support", "pip", "pip.conf")
        yield os.path.join(env.get("XDG_CONFIG_HOME") or os.path.join(home, ".config"), "pip", "pip.conf")
    if env.get("VIRTUAL_ENV"):
        yield os.path.join(env["VIRTUAL_ENV"], "pip.conf")
    if own:
        yield own


def _key(name: str) -> str:
    return name.lower().replace("_", "-").lstrip("-")


def _is_there(place: str) -> bool:
    """Return whether a place can be looked at: pip passes over a folder that is not there, uv ends."""
    path = place[len("file://") :] if place.startswith("file://") else place
    return "://" in path or os.path.exists(path)


def places(variables: Mapping[str, str]) -> List[str]:
    """Return the places of packages that variables name."""
    texts = [variables.get(name, "").replace(",", " ") for name in INDEXES]
    return [plain_url(place) for text in texts for place in text.split()]
