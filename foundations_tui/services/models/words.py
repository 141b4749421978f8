"""What a version is, in words. Pure."""

from __future__ import annotations

from foundations_tui.text import humanize
from remote_agent.protocol.models import Version


def metrics(version: Version, most: int) -> str:
    """Return the last values of some metrics."""
    told = list(version.metrics.items())[:most]
    last = {key: value.get("last") if isinstance(value, dict) else value for key, value in told}
    return ", ".join(f"{key} {humanize.number(value)}" for key, value in last.items())


def tensors(version: Version, which: str) -> str:
    """Return the signature's "inputs" or "outputs"."""
    told = version.signature.get(which)
    entries = [one for one in told if isinstance(one, dict)] if isinstance(told, list) else []
    return ", ".join(f"{one.get('name')}: {one.get('datatype')} {one.get('shape')}" for one in entries)


def answers(version: Version) -> str:
    """Return what answers: a flavour with its functions, or a command."""
    if version.command:
        return f"command: {humanize.command(list(version.command))}"
    functions = [f"{key}: {getattr(version, key)}" for key in ("load", "predict") if getattr(version, key)]
    return ", ".join([version.flavour, *functions])
