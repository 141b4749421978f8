"""Where packages come from: this machine's settings, and what of them a host is told."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from remote_agent.environments import pip_settings
from remote_agent.protocol.urls import without_credentials

_SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/ssl/certs",
)
"""Certificates that a system brings: a host has its own."""
_TOLD = (*pip_settings.INDEXES, "UV_INDEX_STRATEGY", "UV_INSECURE_HOST", "UV_NO_INDEX", "UV_PRERELEASE")
_OF_A_HOST = ("UV_", "PIP_", "SSL_CERT_")
"""Begins of the variables of hosts.toml that concern a build."""
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@dataclass(frozen=True)
class HostIndexes:
    """What a host is told of indexes."""

    variables: dict[str, str] = field(default_factory=dict)
    """For uv; no secrets."""
    private: dict[str, str] = field(default_factory=dict)
    """The same with credentials; they are written down nowhere."""
    names: tuple[str, ...] = ()
    """The indexes without credentials: they are part of a recipe."""
    certificates: Path | None = None
    """A bundle that is sent along."""
    left_out: tuple[str, ...] = ()
    """Places on this machine, which the host does not see."""


def variables_here() -> dict[str, str]:
    """Return what uv needs on this machine in order to use the packages that pip would."""
    return pip_settings.uv_variables(os.environ)


def for_host(settings: Mapping[str, str], is_local: bool) -> HostIndexes:
    """Return what a host is told: this machine's settings, as far as they mean something there.

    Args:
        settings: its variables in hosts.toml.
        is_local: whether it is this machine.
    """
    here = variables_here()
    told: dict[str, str] = {}
    left_out: list[str] = []
    for name in _TOLD:
        places = here.get(name, "").replace(",", " ").split()
        is_place = name in pip_settings.INDEXES
        kept = [place for place in places if not is_place or is_local or not _is_local(place)]
        left_out += [place for place in places if place not in kept]
        if kept:
            told[name] = ("," if name == "UV_FIND_LINKS" else " ").join(kept)
    told.update({name: value for name, value in settings.items() if name.startswith(_OF_A_HOST)})
    told.update({name: value for name, value in settings.items() if name.upper() in _PROXIES})
    private = {name: value for name, value in told.items() if any(map(pip_settings.has_credentials, _urls(value)))}
    public = {name: value for name, value in told.items() if name not in private}
    bundle = here.get("SSL_CERT_FILE", "")
    certificates = Path(bundle) if bundle and bundle not in _SYSTEM_BUNDLES and Path(bundle).is_file() else None
    names = sorted({without_credentials(place) for place in pip_settings.places(told)})
    return HostIndexes(public, private, tuple(names), certificates, tuple(left_out))


def _is_local(place: str) -> bool:
    return place.startswith("file:") or "://" not in place


def _urls(value: str) -> list[str]:
    return [part for part in value.replace(",", " ").split() if "://" in part]
