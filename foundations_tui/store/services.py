"""The services of hosts, as last heard, and the local ports at which they are reached."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import replace

from foundations_tui.store import history, queries
from foundations_tui.store.db import Store
from foundations_tui.store.heard import HeardRow, HeardTable
from foundations_tui.store.rows import stored_json
from foundations_tui.store.write_streams import REQUESTS
from remote_agent.protocol.services import KIND, Replica, ServiceView

ServiceRow = HeardRow[ServiceView]
"""A service of a host."""
_table = HeardTable("services", "service", ServiceView.from_wire)
put_services = _table.put_all
put_service = _table.put
services = _table.rows


def services_then(conn: sqlite3.Connection, moment: float) -> list[ServiceRow]:
    """Return the services of a moment by name, as far as it is known: revisions, and the replicas that there were.

    Which of them answered was not recorded, nor how many were wanted.

    Args:
        conn: reads the store.
        moment: seconds since the epoch, by this machine's clock.
    """
    ahead = history.offsets(conn)
    found = []
    for row in services(conn):
        heads = [head for head in row.view.revisions if head.at <= moment + ahead.get(row.host, 0.0)]
        if heads:
            head = max(heads, key=lambda head: head.number)
            view = replace(
                row.view,
                revision=head.number,
                replicas=0,
                before=0,
                by=head.by,
                at=head.at,
                model=head.model,
                version=head.version,
                alias="",
                asleep=False,
                problem="",
                revisions=heads,
                running=list(_replicas_then(conn, row, moment)),
            )
            found.append(replace(row, view=view, unreachable_since=None, is_lost=False))
    return found


def _replicas_then(conn: sqlite3.Connection, row: ServiceRow, moment: float) -> Iterator[Replica]:
    """Yield the replicas of a service that had been begun at a moment and had not ended."""
    day = 86400.0  # clocks differ by less
    query = (
        "SELECT job, json_extract(spec, '$.service.revision') FROM jobs INDEXED BY idx_jobs_replicas"
        " WHERE host = ? AND created_at <= ?"
        f" AND CASE WHEN json_valid(spec) THEN json_extract(spec, '$.kind') END = '{KIND}'"
        " AND (ended_at IS NULL OR ended_at >= ?) AND json_extract(spec, '$.service.name') = ? ORDER BY created_at"
    )
    revisions = dict(conn.execute(query, [row.host, moment, moment - day, row.name]))
    for job in history.jobs(conn, queries.jobs_by_id(conn, list(revisions)), moment):
        if not job.is_final:
            revision = revisions[job.job]
            yield Replica(
                job=job.job,
                revision=revision if isinstance(revision, int) else 0,
                state=job.state,
                attempt=job.attempt,
                started_at=job.started_at,
                gpus=job.gpus,
            )


def serving(rows: Iterable[ServiceRow], model: str, version: int) -> tuple[ServiceRow, ...]:
    """Return those of some services that run a version of a model."""
    return tuple(row for row in rows if (row.view.model, row.view.version) == (model, version))


def service(conn: sqlite3.Connection, name: str, host: str = "") -> ServiceRow:
    """Return a service by its name; of one that is on several hosts, its part on the first of them.

    Args:
        conn: a connection of the store.
        name: the service's, or NAME@HOST.
        host: where; empty for wherever there is one.
    Raises:
        NotFoundError: there is none. UsageError: several hosts have one of their own.
    """
    rows = [row for row in services(conn, host) if row.name == name]
    spreads = {row.view.spread for row in rows}
    return rows[0] if len(spreads) == 1 and "" not in spreads else _table.find(conn, name, host)


def members(conn: sqlite3.Connection, row: ServiceRow) -> list[ServiceRow]:
    """Return a service on each of its hosts, which is often one."""
    if not row.view.spread:
        return [row]
    return [one for one in services(conn) if one.name == row.name and one.view.spread == row.view.spread]


def forget_service(store: Store, host: str, name: str) -> None:
    """Forget a service, and the port at which it was reached."""
    with store.transaction() as conn:
        _table.forget(conn, host, name)
        conn.execute("DELETE FROM connections WHERE name = ? AND host = ?", [name, host])


def port_of(conn: sqlite3.Connection, name: str, host: str) -> int | None:
    """Return the local port at which a service was reached before; None when it never was."""
    row = conn.execute("SELECT port FROM connections WHERE name = ? AND host = ?", [name, host]).fetchone()
    return int(row[0]) if row else None


def put_port(store: Store, name: str, host: str, port: int) -> None:
    """Remember the local port of a service; who had it before gets another one."""
    with store.transaction() as conn:
        conn.execute("DELETE FROM connections WHERE port = ? OR (name = ? AND host = ?)", [port, name, host])
        conn.execute("INSERT INTO connections VALUES (?, ?, ?)", [name, host, port])


def ports(conn: sqlite3.Connection) -> set[int]:
    """Return the local ports that services have."""
    return {int(row[0]) for row in conn.execute("SELECT port FROM connections")}


def requests_of_service(conn: sqlite3.Connection, service: str, host: str) -> list[tuple[str, int, str]]:
    """Return (job, attempt, stream) of the request logs of a service, oldest first.

    Args:
        conn: a connection of the store.
        service: its name.
        host: where it is; "" for wherever.
    """
    query = (
        "SELECT s.job, s.attempt, s.name, j.spec FROM streams s JOIN jobs j ON j.job = s.job"
        f" WHERE s.name GLOB '{REQUESTS}*' AND (?1 = '' OR j.host = ?1)"
        " ORDER BY j.created_at, s.attempt, s.name"
    )
    rows = conn.execute(query, [host]).fetchall()
    return [
        (row["job"], row["attempt"], row["name"])
        for row in rows
        if (stored_json(row["spec"]).get("service") or {}).get("name") == service
    ]
