"""A project's foundations.toml, or its table in pyproject.toml.

Unknown keys are errors that name the key and the nearest right one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foundations_tui.config import toml
from foundations_tui.config.hosts import HostConfig
from foundations_tui.config.values import data_table, env_table, notify_of
from foundations_tui.errors import ConfigError


@dataclass(frozen=True)
class ProjectConfig:
    """What foundations.toml, or [tool.foundations] in pyproject.toml, says of a project."""

    path: Path | None = None
    project: str = ""
    host: str = ""
    env: dict[str, str] = field(default_factory=dict)
    max_file: int = 100 << 20
    """Untracked files above this many bytes stop a submit."""
    include: tuple[str, ...] = ()
    """Patterns of files that git ignores and that are shipped all the same."""
    data: dict[str, dict[str, str]] = field(default_factory=dict)
    """What lies on the hosts already, by name: {"path": where, "at": its place in the job's folder}."""
    outputs: tuple[str, ...] = ()
    """Patterns of the files that come back by themselves when a job ends."""
    output_limit: int = 1 << 30
    """Bytes of them that come back at most."""
    notify: dict[str, Any] = field(default_factory=dict)
    """Whom a host tells that a job has ended; over hosts.toml's."""
    directions: dict[str, str] = field(default_factory=dict)
    """Whether the smallest or the largest value of a metric is best: "min" or "max", by its key."""
    patterns: tuple[str, ...] = ()
    """Regular expressions whose named groups make metrics of the lines of a log."""
    tensorboard: bool = False
    """Whether TensorBoard's event files of a job are brought and read as metrics when it has ended."""


_PROJECT_KEYS = ("project", "host", "env", "snapshot", "data", "outputs", "notify", "metrics")
_METRICS_KEYS = ("direction", "patterns", "tensorboard")
_SNAPSHOT_KEYS = ("max_file_mb", "include")
_OUTPUT_KEYS = ("collect", "limit_mb")


def load_project(folder: Path) -> ProjectConfig:
    """Return the configuration of the project that a folder is in: the nearest file upwards.

    Raises:
        ConfigError: what is wrong, with file and line.
    """
    folder = folder.resolve()
    for parent in (folder, *folder.parents):
        path = parent / "foundations.toml"
        if path.is_file():
            return _project(path, toml.read(path))
        path = parent / "pyproject.toml"
        if path.is_file():
            tools = toml.table_of(path, toml.read(path).get("tool", {}), "tool")
            if "foundations" in tools:
                return _project(path, toml.table_of(path, tools["foundations"], "tool.foundations"))
        if (parent / ".git").exists():
            break
    return ProjectConfig()


def _project(path: Path, table: dict[str, Any]) -> ProjectConfig:
    for key in table:
        if key not in _PROJECT_KEYS:
            raise toml.unknown_key(path, key, _PROJECT_KEYS)
    snapshot = toml.table_of(path, table.get("snapshot", {}), "snapshot")
    for key in snapshot:
        if key not in _SNAPSHOT_KEYS:
            raise toml.unknown_key(path, key, _SNAPSHOT_KEYS)
    outputs = toml.table_of(path, table.get("outputs", {}), "outputs")
    for key in outputs:
        if key not in _OUTPUT_KEYS:
            raise toml.unknown_key(path, key, _OUTPUT_KEYS)
    metrics = toml.table_of(path, table.get("metrics", {}), "metrics")
    for key in metrics:
        if key not in _METRICS_KEYS:
            raise toml.unknown_key(path, key, _METRICS_KEYS)
    return ProjectConfig(
        path=path,
        project=toml.string(path, table, "project"),
        host=toml.string(path, table, "host"),
        env=env_table(path, toml.table_of(path, table.get("env", {}), "env")),
        max_file=_megabytes(path, snapshot, "max_file_mb", 100),
        include=toml.strings(path, snapshot, "include"),
        data=data_table(path, toml.table_of(path, table.get("data", {}), "data")),
        outputs=toml.strings(path, outputs, "collect"),
        output_limit=_megabytes(path, outputs, "limit_mb", 1024),
        notify=notify_of(path, table),
        directions=_directions(path, metrics),
        patterns=_patterns(path, metrics),
        tensorboard=toml.boolean(path, metrics, "tensorboard"),
    )


def _directions(path: Path, metrics: dict[str, Any]) -> dict[str, str]:
    found = toml.table_of(path, metrics.get("direction", {}), "metrics.direction")
    for key, value in found.items():
        if value not in ("min", "max"):
            raise ConfigError(f'{toml.at(path, key)}: the direction of {key!r} is "min" or "max"')
    return found


def _patterns(path: Path, metrics: dict[str, Any]) -> tuple[str, ...]:
    found = toml.strings(path, metrics, "patterns")
    for pattern in found:
        try:
            names = re.compile(pattern).groupindex
        except (re.error, OverflowError, RecursionError) as error:
            raise ConfigError(f"{toml.at(path, 'patterns')}: {pattern!r}: {error}") from None
        if not names:
            hint = r"""patterns = ['epoch (?P<step>\d+) loss (?P<loss>\S+)']"""
            raise ConfigError(f"{toml.at(path, 'patterns')}: {pattern!r} has no named group", hint)
    return found


def _megabytes(path: Path, table: dict[str, Any], key: str, default: int) -> int:
    """Return a size in bytes."""
    value = table.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1 << 40:
        raise ConfigError(f"{toml.at(path, key)}: {key} is a number of megabytes")
    return int(value * (1 << 20))


def data_of(project: ProjectConfig, host: HostConfig) -> dict[str, dict[str, str]]:
    """Return where a project's data lies on a host: hosts.toml says another path where it differs.

    Raises:
        ConfigError: no path is known, or none that begins at the root or at ~.
    """
    merged = {}
    for name, entry in project.data.items():
        found = {"at": "", **entry, **{key: value for key, value in host.data.get(name, {}).items() if value}}
        if not str(found.get("path", "")).startswith(("/", "~/")):
            raise ConfigError(
                f"{project.path}: data {name}: on {host.name} it has no path that begins with / or ~/",
                f'set path there, or in hosts.toml: data = {{ {name} = "/where/it/is" }} for {host.name}',
            )
        merged[name] = found
    return merged
