"""Jobs side by side: what differs, and which is best."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from foundations_tui.analysis import aggregate
from foundations_tui.store import queries
from foundations_tui.store.queries import Recorded
from foundations_tui.store.rows import JobRow, json_value
from foundations_tui.text import humanize
from remote_agent.protocol.facts import Facts, Package
from remote_agent.protocol.wire import JsonTable


@dataclass(frozen=True)
class Line:
    """One thing that is known of several jobs."""

    kind: str
    """"job", "code", "param", "arg", "data", "package", "python", "machine", "variable", "tag" or "metric"; "packages"
    stands for many that differ."""
    name: str
    values: list[Any]
    """One a job; None where it is not known."""
    best: int | None = None
    """Index of the best value."""
    direction: str = ""
    """"min" or "max" of a metric: which way it gets better; empty where nobody has said it."""

    @property
    def differs(self) -> bool:
        """Whether the jobs do not agree."""
        return any(repr(value) != repr(self.values[0]) for value in self.values[1:])

    def to_json(self) -> JsonTable:
        """Return it as ``--json`` prints it."""
        values = [vars(value) if isinstance(value, aggregate.Spread) else value for value in self.values]
        return {"kind": self.kind, "name": self.name, "values": json_value(values), "best": self.best}


_OF_A_JOB: dict[str, Callable[[JobRow, float], Any]] = {
    "name": lambda row, now: row.name or None,
    "project": lambda row, now: row.project,
    "owner": lambda row, now: row.owner or None,
    "host": lambda row, now: row.host,
    "state": lambda row, now: row.state,
    "reason": lambda row, now: row.why or None,
    "exit code": lambda row, now: row.exit_code,
    "attempt": lambda row, now: row.attempt,
    "command": lambda row, now: humanize.command(row.command),
    "GPUs": lambda row, now: ", ".join(row.gpus) or row.gpus_requested,
    "CPUs": lambda row, now: row.cpus,
    "group": lambda row, now: row.group or None,
    "snapshot": lambda row, now: row.snapshot[:12] or None,
    "duration": lambda row, now: row.duration(now),
    "CPU seconds": lambda row, now: row.usage.cpu_seconds,
    "peak memory": lambda row, now: row.usage.peak_memory,
    "peak GPU memory": lambda row, now: row.usage.peak_gpu_memory,
    "note": lambda row, now: row.note or None,
}


def of_jobs(
    conn: sqlite3.Connection,
    rows: Sequence[JobRow],
    directions: Mapping[str, str],
    now: float,
    everything: bool = False,
) -> list[Line]:
    """Return what the store knows of jobs, side by side; see ``compare``."""
    return compare(rows, [queries.recorded(conn, row) for row in rows], directions, now, everything)


def compare(
    rows: Sequence[JobRow],
    recorded: Sequence[Recorded],
    directions: Mapping[str, str],
    now: float,
    everything: bool = False,
) -> list[Line]:
    """Return what is known of jobs, side by side.

    Args:
        rows: the jobs, with details.
        recorded: the facts of each.
        directions: "min" or "max" of metrics: their best is marked.
        now: seconds since the epoch.
        everything: also that in which they agree.
    """
    lines = [Line("job", name, [value(row, now) for row in rows]) for name, value in _OF_A_JOB.items()]
    for kind, tables in (
        ("param", [row.params for row in rows]),
        ("arg", [row.args for row in rows]),
    ):
        lines += [Line(kind, key, [table.get(key) for table in tables]) for key in _keys(tables)]
    tags = [Line("tag", key, [row.tags.get(key) for row in rows]) for key in _keys([row.tags for row in rows])]
    metrics = [_metric(key, rows, directions.get(key, "")) for key in _keys([row.metrics for row in rows])]
    return [
        *(line for line in lines if everything or line.differs),
        *_of_facts(recorded, everything),
        *(line for line in (*tags, *metrics) if everything or line.differs),
    ]


NOT_RECORDED = "not recorded"


def _of_facts(recorded: Sequence[Recorded], everything: bool) -> list[Line]:
    """Return in what the facts of jobs differ; jobs of which none were recorded do not count as different."""
    known = [number for number, job in enumerate(recorded) if job.facts is not None]
    lines = []
    for kind, tables in _fact_tables(recorded).items():
        for key in _keys(tables):
            line = Line(kind, key, [table.get(key) for table in tables])
            if everything or Line(kind, key, [line.values[number] for number in known]).differs:
                lines.append(line)
    if known and len(known) < len(recorded):
        told = [NOT_RECORDED if job.facts is None else "recorded" for job in recorded]
        lines.insert(0, Line("machine", "facts", told))
    return lines


def _fact_tables(recorded: Sequence[Recorded]) -> dict[str, list[dict[str, Any]]]:
    """Return the facts of jobs by kind, in the order in which they explain a difference best."""
    direct = {str(name) for job in recorded for name in job.recipe.get("direct", ())}
    return {
        "data": [
            {name: _datum(entry) for name, entry in ((job.facts and job.facts.data) or {}).items()} for job in recorded
        ],
        "package": [_versions(job.packages or (), direct) for job in recorded],
        "python": [_python(job.facts) for job in recorded],
        "machine": [_machine(job.facts) for job in recorded],
        "job": [_circumstances(job.facts) for job in recorded],
        "variable": [dict((job.facts and job.facts.variables) or {}) for job in recorded],
    }


def _datum(entry: Any) -> Any:
    """Return what tells data apart: the hash of what lies there, else its path."""
    return (entry.get("hash") or entry.get("path")) if isinstance(entry, dict) else entry


def _versions(packages: Iterable[Package], direct: Collection[str]) -> dict[str, Any]:
    """Return versions by name, of those first that the project asks for itself.

    Conda's packages that are Python's, too, are told once.
    """
    versions: dict[str, Any] = {}
    for _, name, version, origin in sorted(packages, key=lambda one: (one[1] not in direct, one[0] != "python")):
        versions.setdefault(name, f"{version} ({origin})" if origin else version)
    return versions


def _python(facts: Facts | None) -> dict[str, Any]:
    if facts is None or facts.interpreter is None:
        return {}
    told = facts.interpreter
    path = told.path if facts.environment is None else None  # that of an environment is named by its packages
    return _known({"version": told.version, "implementation": told.implementation, "path": path, "build": told.build})


def _machine(facts: Facts | None) -> dict[str, Any]:
    if facts is None:
        return {}
    limits = facts.cgroup
    return _known(
        {
            "GPU models": ", ".join(gpu.name or "?" for gpu in facts.gpus or ()) or None,
            "driver": facts.driver,
            "CUDA": facts.cuda,
            "CPU model": facts.cpu,
            "CPUs there": facts.cpus,
            "memory": None if facts.ram is None else humanize.size(facts.ram),
            "CPU limit": limits and limits.cpus,
            "memory limit": None if limits is None or limits.memory is None else humanize.size(limits.memory),
            "architecture": facts.machine,
            "system": facts.os,
            "kernel": facts.kernel,
            "libc": facts.libc,
            "image": facts.image,
        }
    )


def _circumstances(facts: Facts | None) -> dict[str, Any]:
    """Return what is neither of the machine nor of its packages."""
    if facts is None:
        return {}
    told = {"seed": facts.seed, "deterministic": facts.deterministic or None, "repository": facts.remote}
    return _known({**told, "agent": facts.agent, "client": facts.client})


def _known(table: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if value is not None}


def varying(rows: Sequence[JobRow]) -> list[str]:
    """Return the parameters in which jobs differ."""
    keys = dict.fromkeys(key for row in rows for key in row.params)
    return [key for key in keys if len({repr(row.params.get(key)) for row in rows}) > 1]


_MOST_PACKAGES = 20
"""So many packages that differ are named one by one."""


def for_readers(lines: Sequence[Line], everything: bool = False) -> list[Line]:
    """Return lines for who reads them.

    An argument that says what a parameter of its name says is left out, and a command line that differs only in what
    its arguments say; of GPUs it counts how many, not which; very many packages become one line.

    Args:
        lines: as ``compare`` returns them.
        everything: each package by itself.
    """
    params = {line.name: line.values for line in lines if line.kind == "param"}
    shown = [
        line
        for line in _with_gpus_counted(lines, everything)
        if line.kind != "arg" or params.get(line.name) != line.values
    ]
    if not everything and any(line.kind in ("param", "arg") and line.differs for line in shown):
        shown = [line for line in shown if (line.kind, line.name) != ("job", "command") or not _is_one_program(line)]
    packages = [line for line in shown if line.kind == "package"]
    if everything or len(packages) <= _MOST_PACKAGES:
        return shown
    place = shown.index(packages[0])
    columns = zip(*(line.values for line in packages), strict=True)
    counts = [sum(version is not None for version in versions) for versions in columns]
    folded = Line("packages", f"{len(packages)} differ, of which there are", counts)
    return [*shown[:place], folded, *(line for line in shown[place:] if line.kind != "package")]


def _with_gpus_counted(lines: Iterable[Line], everything: bool) -> Iterator[Line]:
    """Yield lines, of GPUs how many each job has, or has asked for, where that differs."""
    for line in lines:
        if (line.kind, line.name) == ("job", "GPUs"):
            line = replace(line, values=[one.count(",") + 1 if isinstance(one, str) else one for one in line.values])
            if not (everything or line.differs):
                continue
        yield line


def _is_one_program(line: Line) -> bool:
    """Return whether commands begin alike, so that only what their arguments say is different."""
    return len({str(command).partition(" -")[0] for command in line.values}) == 1


@dataclass(frozen=True)
class Averaged:
    """Groups of jobs that are alike but for one parameter, side by side."""

    groups: list[list[JobRow]]
    lines: list[Line]
    """Parameters have a value for each group, metrics a ``Spread``."""


def average(
    rows: Sequence[JobRow], over: str, directions: Mapping[str, str], everything: bool = False, most: int = 0
) -> Averaged:
    """Return what is known of jobs when those count as one that differ only in a parameter, as in their seed.

    Args:
        rows: the jobs, with details.
        over: the parameter, of the SDK or the command line.
        directions: "min" or "max" of metrics: the best mean is marked.
        everything: also that in which the groups agree.
        most: how many groups, the first ones; 0 for all.
    """
    members: dict[str, list[JobRow]] = {}
    for row in rows:
        alike = [{key: value for key, value in table.items() if key != over} for table in (row.params, _options(row))]
        members.setdefault(json.dumps([row.project, *alike], sort_keys=True), []).append(row)
    groups = list(members.values())[: most or None]
    lines = [Line("job", "jobs", [len(group) for group in groups])]
    for kind, tables in (("param", [g[0].params for g in groups]), ("arg", [_options(g[0]) for g in groups])):
        lines += [Line(kind, key, [table.get(key) for table in tables]) for key in _keys(tables) if key != over]
    lines = [line for line in lines if everything or line.differs or line.name == "jobs"]
    for key in _keys([row.metrics for group in groups for row in group]):
        direction = directions.get(key, "")
        spreads = [_spread(group, key, direction) for group in groups]
        best = aggregate.best([each and each.mean for each in spreads], direction) if direction else None
        lines.append(Line("metric", f"{key}:{direction}" if direction else key, spreads, best, direction))
    return Averaged(groups, lines)


def _options(row: JobRow) -> JsonTable:
    """Return what the command line says beyond what the SDK said anyway."""
    return {key: value for key, value in row.args.items() if key not in row.params}


def _spread(group: list[JobRow], key: str, direction: str) -> aggregate.Spread | None:
    summaries = [row.metrics[key] for row in group if key in row.metrics]
    return aggregate.spread([getattr(summary, direction or "last") for summary in summaries])


def _metric(key: str, rows: Sequence[JobRow], direction: str) -> Line:
    """Return the best values of a metric where its direction is known, else the last ones."""
    summaries_ = [row.metrics.get(key) for row in rows]
    if not direction:
        return Line("metric", key, [None if summary is None else summary.last for summary in summaries_])
    values = [None if summary is None else getattr(summary, direction) for summary in summaries_]
    return Line("metric", f"{key}:{direction}", values, aggregate.best(values, direction), direction)


def _keys(tables: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for table in tables for key in table))
