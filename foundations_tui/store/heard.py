"""What hosts have by name, services and schedules, as last heard of each host."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from foundations_tui.errors import NotFoundError, UsageError
from foundations_tui.store.db import Store
from remote_agent.protocol.wire import JsonTable


class View(Protocol):
    """What a host tells of one."""

    name: str

    def to_wire(self) -> JsonTable:
        """Return it as JSON can carry it."""


V = TypeVar("V", bound=View)


@dataclass(frozen=True)
class HeardRow(Generic[V]):
    """One of them, of one host."""

    host: str
    view: V
    heard_at: float | None
    """When its host was last heard, seconds since the epoch."""
    unreachable_since: float | None
    is_lost: bool = False
    """Whether its host has another journal now and does not know it: it was reinstalled, or its journal was damaged."""

    @property
    def name(self) -> str:
        """Return its name."""
        return self.view.name


class HeardTable(Generic[V]):
    """A table of the store: (host, name, view, journal)."""

    def __init__(self, table: str, noun: str, read: Callable[[JsonTable], V]) -> None:
        """Make it.

        Args:
            table: its name in the store.
            noun: what one of them is called.
            read: returns what the JSON of a view means.
        """
        self._table = table
        self._noun = noun
        self._read = read

    def put_all(self, store: Store, host: str, views: Sequence[V], journal: str = "") -> None:
        """Take in all of a host; those that only an earlier journal of it knew are lost, and stay listed.

        Args:
            store: open for writing.
            host: its name.
            views: what it has.
            journal: id of the journal that knows them.
        """
        with store.transaction() as conn:
            conn.execute(f"DELETE FROM {self._table} WHERE host = ? AND journal = ?", [host, journal])
            for view in views:
                self._put(conn, host, view, journal)

    def put(self, store: Store, host: str, view: V) -> None:
        """Take in one as its host has just told of it."""
        with store.transaction() as conn:
            row = conn.execute("SELECT journal FROM hosts WHERE name = ?", [host]).fetchone()
            self._put(conn, host, view, (row["journal"] or "") if row else "")

    def _put(self, conn: sqlite3.Connection, host: str, view: V, journal: str) -> None:
        if view.name:
            row = [host, view.name, json.dumps(view.to_wire()), journal]
            conn.execute(f"INSERT OR REPLACE INTO {self._table} VALUES (?, ?, ?, ?)", row)

    def forget(self, conn: sqlite3.Connection, host: str, name: str) -> None:
        """Forget one, in the caller's transaction."""
        conn.execute(f"DELETE FROM {self._table} WHERE host = ? AND name = ?", [host, name])

    def rows(self, conn: sqlite3.Connection, host: str = "") -> list[HeardRow[V]]:
        """Return those of a host, or of all, by name."""
        query = (
            "SELECT s.host, s.view, h.last_contact, h.unreachable_since, s.journal IS NOT COALESCE(h.journal, '')"
            f" FROM {self._table} s"
            " LEFT JOIN hosts h ON h.name = s.host WHERE ?1 = '' OR s.host = ?1 ORDER BY s.name, s.host"
        )
        return [self._row(row) for row in conn.execute(query, [host])]

    def _row(self, row: Any) -> HeardRow[V]:
        return HeardRow(row[0], self._read(json.loads(row[1])), row[2], row[3], bool(row[4]))

    def find(self, conn: sqlite3.Connection, name: str, host: str = "") -> HeardRow[V]:
        """Return one by its name.

        Args:
            conn: a connection of the store.
            name: its name, or NAME@HOST.
            host: where; empty for wherever there is one.
        Raises:
            NotFoundError: there is none. UsageError: several hosts have one.
        """
        name, _, of_name = name.partition("@")
        rows = [row for row in self.rows(conn, host or of_name) if row.name == name]
        noun = self._noun
        if not rows:
            where = f" on {host or of_name}" if host or of_name else ""
            raise NotFoundError(f"there is no {noun} {name!r}{where}", f"foundations {noun} list shows what there is")
        if len(rows) > 1:
            places = ", ".join(f"{name}@{row.host}" for row in rows)
            raise UsageError(f"several hosts have a {noun} {name}: {places}", "name one of them so")
        return rows[0]
