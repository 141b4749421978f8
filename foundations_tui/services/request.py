"""What is asked for: a service, with the options of a job and its own; from words, or from [services.NAME]."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from foundations_tui.config.project import ProjectConfig, load_project
from foundations_tui.errors import NotFoundError, UsageError
from foundations_tui.submit.request import OPTIONS, JobRequest, request_of
from foundations_tui.text.options import Kind, Option
from remote_agent.protocol import services
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.services import Probes, Serving

_NOT_OF_A_SERVICE = (
    *("name", "after", "after_any", "retries", "retry_on", "time_limit", "outputs", "exact", "relock", "group"),
)
LOG_LIMIT = 1 << 30
"""Bytes that the log of a replica takes on its host unless something else is said."""
SERVICE_OPTIONS: dict[str, Option] = {
    "replicas": Option(
        "--replicas", Kind.NUMBER, "How many of it (default 1).", default=None, least=1, most=services.MOST_REPLICAS
    ),
    "hosts": Option(
        "--hosts", Kind.TEXT, "Replicas on each of these hosts, as one service.", metavar="A,B,...", default=""
    ),
    "port": Option("--port", Kind.NUMBER, "The port on its host (default: any free one).", default=0, most=65535),
    "ready": Option(
        "--ready", Kind.TEXT, "HTTP path that answers below 400 when it is ready.", metavar="PATH", default=""
    ),
    "live": Option(
        "--live", Kind.TEXT, "HTTP path: three misses restart it (default: none does).", metavar="PATH", default=""
    ),
    "startup": Option("--startup", Kind.DURATION, "Time until it has to be ready (default 10m).", default=None),
    "probe_every": Option("--probe-every", Kind.DURATION, "Time between two probes (default 10).", default=None),
    "probe_timeout": Option("--probe-timeout", Kind.DURATION, "Time for an answer (default 5).", default=None),
    "idle_stop": Option(
        "--idle-stop",
        Kind.DURATION,
        "End its replicas after so long without a request, until the next one at its front (default: never).",
        default=None,
    ),
    "token_env": Option(
        "--token-env", Kind.TEXT, "Variable in which its command looks for the token.", metavar="NAME", default=""
    ),
    "open_on_host": Option(
        "--open-on-host", Kind.FLAG, "All users of the host may reach it: it asks for no token.", default=False
    ),
    "open_to_network": Option(
        "--open-to-network", Kind.FLAG, "It may listen beyond its host (0.0.0.0).", default=False
    ),
    "front": Option(
        "--front",
        Kind.TEXT,
        "Pass requests on to the replicas of this service of its host, with --listen.",
        metavar="SERVICE",
        default="",
    ),
    "listen": Option(
        "--listen", Kind.TEXT, "Where a front listens (0.0.0.0:8443).", metavar="ADDRESS:PORT", default=""
    ),
    "cert": Option("--cert", Kind.TEXT, "Of a front: certificate on its host (PEM).", metavar="PATH", default=""),
    "key": Option("--key", Kind.TEXT, "Of a front: that certificate's key there (PEM).", metavar="PATH", default=""),
    "plain_http": Option(
        "--plain-http", Kind.FLAG, "Of a front: no certificate; tokens pass as they are.", default=False
    ),
    "in_place": Option("--in-place", Kind.FLAG, "End what runs first, not when the new one is ready.", default=False),
}
ALL_OPTIONS: dict[str, Option] = {
    **{name: option for name, option in OPTIONS.items() if name not in _NOT_OF_A_SERVICE},
    **SERVICE_OPTIONS,
}
"""The options of ``foundations serve``, by the names of the values that ``read`` takes."""
_TOKEN_VARIABLES = {"vllm": "VLLM_API_KEY", "jupyter": "JUPYTER_TOKEN", "jupyter-lab": "JUPYTER_TOKEN"}
"""Programs that ask for a token, and the variable in which they look for it."""
FRONT_PACKAGES = ("h11>=0.14",)
"""What a front needs."""
_RUNNERS = ("python", "python3", "uv", "run", "uvx", "env", "exec", "pipx")
"""Words of a command that say nothing of what it serves."""


@dataclass(frozen=True)
class ServiceRequest:
    """What a user asks for."""

    name: str
    job: JobRequest
    """What each replica runs."""
    replicas: int | None
    """None for as many as there are, or one."""
    probes: Probes
    serving: Serving
    """Its number of a revision is the host's business."""
    in_place: bool
    hosts: tuple[str, ...] = ()
    """Where it is to be, if that is said: replicas on each of them."""
    token: str = ""
    """What it asks of who calls it; "" for what it asks already."""


def read(
    conn: sqlite3.Connection, name: str, command: Sequence[str], values: Mapping[str, Any], folder: Path
) -> ServiceRequest:
    """Parse what to serve.

    Args:
        conn: a connection of the store, which knows the jobs that are named.
        name: the service's; empty for one made of its command.
        command: the words of the command; none for that of [services.NAME].
        values: those that were given, by the names of ``ALL_OPTIONS``; the others are as the project's file says, or
            by default.
        folder: where the user stands.
    Raises:
        UsageError: it cannot be understood. NotFoundError: the project has no such service. ConfigError: its file is
            wrong.
    """
    is_front = bool(values.get("front"))
    kept = _of_project(load_project(Path(values.get("folder") or folder)), name, bool(command) or is_front)
    given = {**kept.values, **values}
    words = tuple(command) or kept.command
    if given.get("front"):
        name, words, given = _front(name, words, given)
    elif any(given.get(key) for key in _OF_A_FRONT):
        raise UsageError("--listen, --cert, --key and --plain-http are for a front: --front SERVICE")
    name = name or name_of(words)
    if not services.NAME.match(name):
        raise UsageError(f"a service is called by {services.NAME_RULE}; got {name!r}")
    request = request_of(conn, words, {**{key: given[key] for key in given if key in OPTIONS}, "name": name})
    serving = _serving(name, request.command, given)
    if serving.port and (given.get("replicas") or 1) > 1:
        raise UsageError("--port is one port, and each replica needs its own: leave it out, or have one replica")
    job = replace(request, log_limit=request.log_limit or LOG_LIMIT)
    if given.get("front"):
        job = replace(job, packages=FRONT_PACKAGES)
    hosts = hosts_in(given)
    return ServiceRequest(name, job, given.get("replicas"), _probes(given), serving, bool(given.get("in_place")), hosts)


def hosts_in(given: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the hosts that --hosts names."""
    return tuple(part.strip() for part in str(given.get("hosts") or "").split(",") if part.strip())


_OF_A_FRONT = ("listen", "cert", "key", "plain_http")


def _front(
    name: str, command: tuple[str, ...], given: Mapping[str, Any]
) -> tuple[str, tuple[str, ...], dict[str, Any]]:
    """Return name, command and options of the front of a service.

    Raises:
        UsageError: it would pass tokens on unprotected, or does not say where it listens.
    """
    if command:
        raise UsageError("a front has a command of its own: leave yours out")
    address, _, port = str(given.get("listen") or "").rpartition(":")
    if not port.isdecimal() or not 0 < int(port) < 65536 or not address:
        raise UsageError("--front needs --listen ADDRESS:PORT", "--listen 127.0.0.1:8800, or 0.0.0.0:8443")
    cert, key, is_plain = given.get("cert"), given.get("key"), bool(given.get("plain_http"))
    if bool(cert) != bool(key) or bool(cert) == is_plain:
        raise UsageError(
            "a front needs --cert and --key, files of its host, or --plain-http",
            "without a certificate, whoever is on the way reads tokens and requests",
        )
    words = ["python", "-m", "foundations_serve.front", str(given["front"]), "--listen", f"{address}:{{port}}"]
    words += ["--plain-http"] if is_plain else ["--cert", str(cert), "--key", str(key)]
    is_local = address.strip("[]") in ("127.0.0.1", "::1", "localhost")
    own = {"port": int(port), "open_on_host": True, "open_to_network": not is_local}
    return name or f"{given['front']}-front", tuple(words), {**given, **own}


def model_of(name: str, has_command: bool, folder: Path) -> str:
    """Return the model that ``serve NAME`` means: NAME@ALIAS, or what [services.NAME] says; "" for a command.

    Args:
        name: as it was given.
        has_command: whether a command was.
        folder: where the user stands.
    Raises:
        ConfigError: the project's file is wrong.
    """
    if has_command or not name:
        return ""
    return name if "@" in name else str(load_project(folder).services.get(name, {}).get("model", ""))


def name_of(command: Sequence[str]) -> str:
    """Return what a service is called by its command: "http-server" for ``python -m http.server``."""
    words = [word for word in command if not word.startswith("-") and "=" not in word]
    telling = next((word for word in words if os.path.basename(word) not in _RUNNERS), command[0] if command else "")
    stem = re.sub(r"\.(py|sh|ipynb)\Z", "", os.path.basename(telling.rstrip("/")))
    return re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")[:63].strip("-") or "service"


@dataclass(frozen=True)
class _Kept:
    command: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    model: str = ""


def _of_project(project: ProjectConfig, name: str, has_command: bool) -> _Kept:
    """Return what the project's file says of a service.

    Raises:
        UsageError: neither a name nor a command is given. NotFoundError: it says nothing of it, and there is no
            command either.
    """
    if name in project.services:
        kept = project.services[name]
        values = {key: _read_setting(f"[services.{name}] {key}", key, value) for key, value in kept.items()}
        command = values.pop("command", ())
        return _Kept(tuple(command), values, values.pop("model", ""))
    if has_command:
        return _Kept()
    if not name:
        raise UsageError("serve takes a command, or the name of a service", "foundations serve -- CMD --port '{port}'")
    known = ", ".join(sorted(project.services)) or "none"
    raise NotFoundError(
        f"there is no [services.{name}] in the project's foundations.toml (there: {known})",
        f"give it a command: foundations serve {name} -- CMD --port '{{port}}'",
    )


def _read_setting(where: str, key: str, value: Any) -> Any:
    """Return the value of an option as its words on a command line would give it."""
    if key in ("command", "model"):
        return value
    if key == "hosts":
        return ",".join(map(str, value))
    option = ALL_OPTIONS[key]
    if option.kind is Kind.FLAG:
        return bool(value)
    if option.repeats:
        texts = [f"{name}={_text(part)}" for name, part in value.items()] if isinstance(value, dict) else value
        return tuple(option.read(text) for text in texts)
    try:
        return option.read(str(value))
    except UsageError as error:
        raise UsageError(str(error).replace(option.flag, where, 1)) from None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _probes(given: Mapping[str, Any]) -> Probes:
    usual = Probes()
    named = {
        "ready": "ready",
        "live": "live",
        "startup": "startup",
        "period": "probe_every",
        "timeout": "probe_timeout",
        "idle_stop": "idle_stop",
    }
    wire = {name: given.get(key, getattr(usual, name)) for name, key in named.items()}
    try:
        return Probes.from_wire(wire, "the probes")
    except BadRequest as error:
        raise UsageError(str(error)) from None


def _serving(name: str, command: tuple[str, ...], given: Mapping[str, Any]) -> Serving:
    wire = {key: given[key] for key in ("port", "token_env", "open_on_host", "open_to_network") if given.get(key)}
    if "token_env" not in wire:
        programs = [os.path.basename(word) for word in command]
        known = next((_TOKEN_VARIABLES[program] for program in programs[:3] if program in _TOKEN_VARIABLES), "")
        wire.update({"token_env": known} if known else {})
    try:
        serving = Serving.from_wire({"name": name, "revision": 1, **wire}, "the service")
        services.check_command(command, serving)
    except BadRequest as error:
        raise UsageError(str(error)) from None
    return serving
