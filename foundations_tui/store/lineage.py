"""The family of a job: which jobs and data it comes from, and which jobs, models and services came of it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from foundations_tui.store import models, queries, services
from foundations_tui.store.rows import JobRow

_MOST_GENERATIONS = 20
_MOST_OF_A_KIND = 200
_MOST_LATER = 2000
"""Jobs that are looked through for those that waited: what a job waits for is in no index."""


@dataclass(frozen=True)
class Relative:
    """One member of a job's family."""

    relation: str
    """In words; empty for the job itself."""
    generation: int
    """Steps from the job: below 0 for what it comes from, above 0 for what came of it."""
    kind: str
    """"job", "data", "model" or "service"."""
    name: str
    """A whole id of a job; the name of anything else."""
    row: JobRow | None = None
    """The job, where it is known here."""
    words: str = ""
    """What there is to say of anything else."""


def family(conn: sqlite3.Connection, row: JobRow) -> list[Relative]:
    """Return the family of a job: the oldest of what it comes from first, then the job, then what came of it."""
    found = [*_origins(conn, row), Relative("", 0, "job", row.job), *_offspring(conn, row)]
    jobs = _rows(conn, [one.name for one in found if one.kind == "job"])
    return [replace(one, row=jobs.get(one.name)) if one.kind == "job" else one for one in found]


def _rows(conn: sqlite3.Connection, ids: Sequence[str]) -> dict[str, JobRow]:
    return {row.job: row for row in queries.jobs_by_id(conn, list(dict.fromkeys(ids)), details=False)}


def _origins(conn: sqlite3.Connection, row: JobRow) -> Iterator[Relative]:
    """Yield what a job comes from, the farthest first."""
    for generation, job in reversed(list(enumerate(_ancestors(conn, row.job), 1))):
        yield Relative("rerun of", -generation, "job", job)
    for job in row.after:
        yield Relative("waited until it completed", -1, "job", job)
    for job in row.after_any:
        yield Relative("waited until it ended", -1, "job", job)
    for key, job in row.uses.items():
        yield Relative(f"used its {key}", -1, "job", str(job))
    data = queries.spec(conn, row.job).get("data")
    for name, entry in data.items() if isinstance(data, dict) else ():
        about = entry if isinstance(entry, dict) else {}
        yield Relative("read", -1, "data", str(name), words=f"{about.get('path') or ''}  {about.get('hash') or ''}")


def _ancestors(conn: sqlite3.Connection, job: str) -> list[str]:
    """Return of which jobs a job is a rerun: its parent first."""
    found: list[str] = []
    while len(found) < _MOST_GENERATIONS:
        parent = queries.lineage(conn, found[-1] if found else job).rerun_of
        if not parent or parent in (job, *found):
            break
        found.append(parent)
    return found


def _offspring(conn: sqlite3.Connection, row: JobRow) -> Iterator[Relative]:
    """Yield what came of a job."""
    yield from _reruns(conn, row.job, 1, {row.job})
    users = "SELECT job, key FROM facts WHERE kind = 'used' AND value = ? ORDER BY job LIMIT ?"
    for job, key in conn.execute(users, [json.dumps(row.job), _MOST_OF_A_KIND]):
        yield Relative(f"uses {key} of it", 1, "job", job)
    for one in _submitted_next(conn, row):
        if row.job in (*one.after, *one.after_any):
            yield Relative("waited for it", 1, "job", one.job)
    yield from _models(conn, row)


def _submitted_next(conn: sqlite3.Connection, row: JobRow) -> list[JobRow]:
    """Return jobs of the same host that name a job and were submitted after it, of the next thousands."""
    query = (
        "SELECT job FROM (SELECT job, host, spec FROM jobs WHERE created_at >= ? AND archived = 0 AND trashed = 0"
        " ORDER BY created_at LIMIT ?) WHERE host = ? AND instr(spec, ?) LIMIT ?"
    )
    args = [row.created_at, _MOST_LATER, row.host, f'"{row.job}"', _MOST_OF_A_KIND]
    return queries.jobs_by_id(conn, [found[0] for found in conn.execute(query, args)], details=False)


def _reruns(conn: sqlite3.Connection, job: str, generation: int, seen: set[str]) -> Iterator[Relative]:
    """Yield the reruns of a job, each before its own."""
    for rerun in queries.lineage(conn, job).reruns:
        if rerun not in seen and len(seen) <= _MOST_OF_A_KIND and generation <= _MOST_GENERATIONS:
            seen.add(rerun)
            yield Relative("rerun", generation, "job", rerun)
            yield from _reruns(conn, rerun, generation + 1, seen)


def _models(conn: sqlite3.Connection, row: JobRow) -> Iterator[Relative]:
    """Yield the versions that a job has made, each before the services that serve it."""
    if not queries.are_any(conn, "registry"):
        return
    running = services.services(conn)
    for one in models.versions_of_job(conn, row.job):
        aliases = ", ".join(one.row.aliases_of(one.version.number))
        yield Relative("registered as", 1, "model", one.words, words=aliases)
        for service in services.serving(running, one.row.name, one.version.number):
            yield Relative("served by", 2, "service", f"{service.name}@{service.host}")
