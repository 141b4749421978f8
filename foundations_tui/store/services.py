"""The services of hosts, as last heard, and the local ports at which they are reached."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from foundations_tui.errors import NotFoundError, UsageError
from foundations_tui.store.db import Store
from remote_agent.protocol.services import ServiceView


@dataclass(frozen=True)
class ServiceRow:
    """A service of a host."""

    host: str
    view: ServiceView
    heard_at: float | None
    """When its host was last heard, seconds since the epoch."""
    unreachable_since: float | None
    is_lost: bool = False
    """Whether its host has another journal now and does not know it: it was reinstalled, or its journal was damaged."""

    @property
    def name(self) -> str:
        """Return its name."""
        return self.view.name


def put_services(store: Store, host: str, views: Sequence[ServiceView], journal: str = "") -> None:
    """Take in all services of a host; those that only an earlier journal of it knew are lost, and stay listed.

    Args:
        store: open for writing.
        host: its name.
        views: its services.
        journal: id of the journal that knows them.
    """
    with store.transaction() as conn:
        conn.execute("DELETE FROM services WHERE host = ? AND journal = ?", [host, journal])
        for view in views:
            _put(conn, host, view, journal)


def put_service(store: Store, host: str, view: ServiceView) -> None:
    """Take in one service as its host has just told of it."""
    with store.transaction() as conn:
        row = conn.execute("SELECT journal FROM hosts WHERE name = ?", [host]).fetchone()
        _put(conn, host, view, (row["journal"] or "") if row else "")


def _put(conn: sqlite3.Connection, host: str, view: ServiceView, journal: str) -> None:
    if view.name:
        row = [host, view.name, json.dumps(view.to_wire()), journal]
        conn.execute("INSERT OR REPLACE INTO services VALUES (?, ?, ?, ?)", row)


def forget_service(store: Store, host: str, name: str) -> None:
    """Forget a service, and the port at which it was reached."""
    with store.transaction() as conn:
        conn.execute("DELETE FROM services WHERE host = ? AND name = ?", [host, name])
        conn.execute("DELETE FROM connections WHERE name = ? AND host = ?", [name, host])


def services(conn: sqlite3.Connection, host: str = "") -> list[ServiceRow]:
    """Return the services of a host, or of all, by name."""
    query = (
        "SELECT s.host, s.view, h.last_contact, h.unreachable_since, s.journal IS NOT COALESCE(h.journal, '')"
        " FROM services s"
        " LEFT JOIN hosts h ON h.name = s.host WHERE ?1 = '' OR s.host = ?1 ORDER BY s.name, s.host"
    )
    return [
        ServiceRow(row[0], ServiceView.from_wire(json.loads(row[1])), row[2], row[3], bool(row[4]))
        for row in conn.execute(query, [host])
    ]


def service(conn: sqlite3.Connection, name: str, host: str = "") -> ServiceRow:
    """Return a service by its name.

    Args:
        conn: a connection of the store.
        name: the service's, or NAME@HOST.
        host: where; empty for wherever there is one.
    Raises:
        NotFoundError: there is none. UsageError: several hosts have one.
    """
    name, _, of_name = name.partition("@")
    rows = [row for row in services(conn, host or of_name) if row.name == name]
    if not rows:
        where = f" on {host or of_name}" if host or of_name else ""
        raise NotFoundError(f"there is no service {name!r}{where}", "foundations service list shows what there is")
    if len(rows) > 1:
        places = ", ".join(f"{name}@{row.host}" for row in rows)
        raise UsageError(f"several hosts have a service {name}: {places}", "name one of them so")
    return rows[0]


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


def are_any(conn: sqlite3.Connection) -> bool:
    """Return whether any host has a service."""
    return conn.execute("SELECT 1 FROM services LIMIT 1").fetchone() is not None
