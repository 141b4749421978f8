"""A project's foundations.toml, or its table in pyproject.toml; ``schema.py`` says what may stand there."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundations_tui.config import toml
from foundations_tui.config.hosts import HostConfig
from foundations_tui.config.schema import ModelTable, ProjectFile, RuntimeTable, ServiceTable
from foundations_tui.config.toml import Document
from foundations_tui.config.values import data_table, env_table, notify_of
from foundations_tui.errors import ConfigError

if TYPE_CHECKING:
    from remote_agent.protocol.notices import NotifyTarget


@dataclass(frozen=True)
class Runtime:
    """What [runtime] says: in which Python and packages jobs run."""

    use: str = ""
    """ "none", "auto" or a file; "" when it does not say."""
    python: str = ""
    python_archive: str = ""
    """A file with a Python, as seen from the project's file; "" for none."""
    image: str = ""
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    """Shell lines, run when the environment is built, or before each job."""
    ship: bool = False
    setup_each_job: bool = False


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
    notify: NotifyTarget | None = None
    """Whom a host tells that a job has ended; over hosts.toml's."""
    directions: dict[str, str] = field(default_factory=dict)
    """Whether the smallest or the largest value of a metric is best: "min" or "max", by its key."""
    patterns: tuple[str, ...] = ()
    """Regular expressions whose named groups make metrics of the lines of a log."""
    tensorboard: bool = False
    """Whether TensorBoard's event files of a job are brought and read as metrics when it has ended."""
    runtime: Runtime = Runtime()
    model: ModelTable = ModelTable()
    """What [model] says of the model that its jobs make."""
    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What [services.NAME] says, by name and by the names of ``serve``'s options; "command" is a list of words."""
    unknown: tuple[ConfigError, ...] = ()
    """What is wrong with keys that nobody knows: no job is submitted with them."""


_MEGABYTE = 1 << 20
DATA_SET = "data:"
"""Begins the path of what ``foundations data put`` has sent to a host; its name follows."""


def load_project(folder: Path) -> ProjectConfig:
    """Return the configuration of the project that a folder is in: the nearest file upwards.

    Raises:
        ConfigError: what is wrong, with file and line.
    """
    document = _document(folder)
    return ProjectConfig() if document is None else _project(document)


def directions_of(folder: Path) -> dict[str, str]:
    """Return which way metrics get better, as the project of a folder says; what is wrong there is passed over.

    Raises:
        ConfigError: the file cannot be read.
    """
    document = _document(folder)
    metrics = document.below("metrics", "direction") if document is not None else None
    return {key: way for key, way in metrics.table.items() if way in ("min", "max")} if metrics is not None else {}


def _document(folder: Path) -> Document | None:
    """Return the nearest file upwards, or its table in pyproject.toml; None where the project has none."""
    folder = folder.resolve()
    for parent in (folder, *folder.parents):
        path = parent / "foundations.toml"
        if path.is_file():
            return toml.read(path)
        path = parent / "pyproject.toml"
        table = toml.read(path).below("tool", "foundations") if path.is_file() else None
        if table is not None:
            return table
        if (parent / ".git").exists():
            break
    return None


def _project(document: Document) -> ProjectConfig:
    file = toml.convert(document, ProjectFile)
    return ProjectConfig(
        path=document.path,
        project=file.project,
        host=file.host,
        env=env_table(document, file.env, "env"),
        max_file=int(file.snapshot.max_file_mb * _MEGABYTE),
        include=tuple(file.snapshot.include),
        data=data_table(document, file.data, "data"),
        outputs=tuple(file.outputs.collect),
        output_limit=int(file.outputs.limit_mb * _MEGABYTE),
        notify=notify_of(document, file.notify),
        directions=dict(file.metrics.direction),
        patterns=_patterns(document, file.metrics.patterns),
        tensorboard=file.metrics.tensorboard,
        runtime=_runtime(document, file.runtime),
        model=file.model,
        services={
            name: _service(document, name, table, document.table["services"][name])
            for name, table in file.services.items()
        },
        unknown=tuple(toml.unknown_keys(document, ProjectFile)),
    )


def _service(document: Document, name: str, table: ServiceTable, written: dict[str, Any]) -> dict[str, Any]:
    """Return what is said of a service, without what is not."""
    if sum(map(bool, (table.command, table.model, table.front))) != 1:
        raise document.error(("services", name, "command"), f"service {name} has a command, a model or a front")
    kept = {key: getattr(table, key) for key in written if key in ServiceTable.__struct_fields__}
    if "env" in kept:
        kept["env"] = env_table(document, kept["env"], "services", name, "env")
    return kept


def _runtime(document: Document, table: RuntimeTable) -> Runtime:
    if table.use and table.image:
        raise document.error(("runtime", "image"), "[runtime] has either use or image")
    lists = (tuple(table.extras), tuple(table.groups), tuple(table.setup))
    archive = str(document.path.parent / Path(table.python_archive).expanduser()) if table.python_archive else ""
    return Runtime(table.use, table.python, archive, table.image, *lists, table.ship, table.setup_each_job)


def _patterns(document: Document, patterns: list[str]) -> tuple[str, ...]:
    for pattern in patterns:
        try:
            names = re.compile(pattern).groupindex
        except (re.error, OverflowError, RecursionError) as error:
            raise document.error(("metrics", "patterns"), f"{pattern!r}: {error}") from None
        if not names:
            hint = r"""patterns = ['epoch (?P<step>\d+) loss (?P<loss>\S+)']"""
            raise document.error(("metrics", "patterns"), f"{pattern!r} has no named group", hint)
    return tuple(patterns)


def data_of(project: ProjectConfig, host: HostConfig) -> dict[str, dict[str, str]]:
    """Return where a project's data lies on a host: hosts.toml says another path where it differs.

    Raises:
        ConfigError: no path is known, or none that begins at the root or at ~.
    """
    merged = {}
    for name, entry in project.data.items():
        source = {"at": "", **entry, **{key: value for key, value in host.data.get(name, {}).items() if value}}
        if not str(source.get("path", "")).startswith(("/", "~/", DATA_SET)):
            raise ConfigError(
                f"{project.path}: data {name}: on {host.name} it has no path that begins with / or ~/, nor data:NAME",
                f'set path there, or in hosts.toml: data = {{ {name} = "/where/it/is" }} for {host.name}',
            )
        merged[name] = source
    return merged
