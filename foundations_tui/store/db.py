"""The SQLite file: how it is opened and migrated, and transactions.

sqlite-utils does the migrations and nothing else: it costs 85 ms, which no verb pays once the store is made.
"""

from __future__ import annotations

import contextlib
import fcntl
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from foundations_tui.config import locations
from foundations_tui.errors import StoreError, store_hint

SCHEMA = 15
"""Number of the last migration."""
_BUSY_SECONDS = 30.0
_NETWORK_FILE_SYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "lustre", "gpfs", "beegfs", "ceph"}


def open_reader() -> sqlite3.Connection:
    """Return a connection that only reads; the store is made or migrated first when it has to be.

    Raises:
        StoreError: it cannot be used.
    """
    path = locations.store_file()
    with _translated(path):
        if not path.exists() or _version(path) < SCHEMA:
            Store().close()
        connection = _connect(path)
        connection.execute("PRAGMA query_only = 1")
        connection.execute("PRAGMA cache_size = -65536")  # KiB; sorting a large store reads all over the file
        _refuse_newer(connection, path)
        return connection


class Store:
    """The store, open for writing; one for each thread."""

    def __init__(self) -> None:
        """Open it, made and migrated when it has to be.

        Raises:
            StoreError: it cannot be used.
        """
        self.path = locations.store_file()
        with _translated(self.path):
            self.conn = _connect(self.path)
            _refuse_newer(self.conn, self.path)
            if self._user_version() < SCHEMA:
                self._migrate()
            self.conn.execute("PRAGMA synchronous = NORMAL")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Hold the write lock; all or nothing.

        Raises:
            StoreError: the disk is full, or another process holds the lock for too long.
        """
        with _translated(self.path):
            self.conn.execute("BEGIN IMMEDIATE")
            try:
                yield self.conn
                self.conn.execute("COMMIT")
            except BaseException:
                if self.conn.in_transaction:
                    self.conn.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the file."""
        self.conn.close()

    def _user_version(self) -> int:
        return int(self.conn.execute("PRAGMA user_version").fetchone()[0])

    def _migrate(self) -> None:
        """Apply the missing steps, one process at a time."""
        database = _database()  # before the migrations import it as it is
        from foundations_tui.store.migrations import migrations

        with open(self.path.with_suffix(".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Never by opening the file: closing a second descriptor drops the locks that SQLite holds in this process
            # (sqlite.org/howtocorrupt.html, 2.2).
            self.path.chmod(0o600)
            mode = "DELETE" if _is_on_network(self.path) else "WAL"
            self.conn.execute(f"PRAGMA journal_mode = {mode}")
            migrations.apply(database(self.conn))


def upsert(conn: sqlite3.Connection, table: str, row: Mapping[str, Any], *key: str) -> None:
    """Insert a row, or give the one with the same key these values.

    Args:
        conn: writes the store.
        table: its name; names come from this code, never from outside.
        row: the values, by column.
        key: the columns of the table's primary key.
    """
    others = [column for column in row if column not in key]
    sets = ", ".join(f"{column} = excluded.{column}" for column in others)
    conn.execute(
        f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"
        f" ON CONFLICT ({', '.join(key)}) DO " + (f"UPDATE SET {sets}" if others else "NOTHING"),
        list(row.values()),
    )


def _database() -> Any:
    """Return the class of sqlite-utils: 85 ms, and 300 more for pandas, which it would import and we do not need."""
    hides = "pandas" not in sys.modules
    if hides:
        sys.modules["pandas"] = None  # type: ignore[assignment]
    try:
        from sqlite_utils import Database
    finally:
        if hides:
            del sys.modules["pandas"]
    return Database


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    return connection


def _version(path: Path) -> int:
    with contextlib.closing(_connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _refuse_newer(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA:
        raise StoreError(f"{path} was written by a newer version (schema {version})", "update foundations-tui")


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Say in our own words what SQLite says."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise StoreError(f"the store {path} cannot be used: {error}", store_hint(str(error))) from None
    except OSError as error:
        raise StoreError(f"the store {path} cannot be used: {error.strerror}") from None


def _is_on_network(path: Path) -> bool:
    """Return whether a path is on a network file system: there, WAL's shared memory does not work."""
    best, kind = "", ""
    try:
        lines = Path("/proc/mounts").read_text(errors="replace").splitlines()
    except OSError:
        return False
    for line in lines:
        _, mount, name, *_ = line.split()
        if (str(path) + "/").startswith(mount.rstrip("/") + "/") and len(mount) > len(best):
            best, kind = mount, name
    return kind in _NETWORK_FILE_SYSTEMS
