"""The services of hosts, as last heard, and the local ports at which they are reached."""

from __future__ import annotations

import sqlite3

from foundations_tui.store.db import Store
from foundations_tui.store.heard import HeardRow, HeardTable
from foundations_tui.store.rows import stored_json
from foundations_tui.store.write_streams import REQUESTS
from remote_agent.protocol.services import ServiceView

ServiceRow = HeardRow[ServiceView]
"""A service of a host."""
_table = HeardTable("services", "service", ServiceView.from_wire)
put_services = _table.put_all
put_service = _table.put
services = _table.rows
are_any = _table.are_any


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
