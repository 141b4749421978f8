"""The store as a file: its locks, its modes, its migrations."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from foundations_tui.config import locations
from foundations_tui.errors import StoreError
from foundations_tui.store import db, migrations
from foundations_tui.store.db import Store, open_reader
from tests.support.client import Client

_TRY_TO_LOCK = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('BEGIN IMMEDIATE')"


def test_opening_it_again_keeps_the_locks_of_this_process() -> None:
    first = Store()
    with first.transaction():
        Store().close()
        open_reader().close()
        other = subprocess.run(
            [sys.executable, "-c", _TRY_TO_LOCK, str(locations.store_file())], capture_output=True, text=True
        )
        assert "database is locked" in other.stderr
    first.close()


def test_only_the_user_may_read_it() -> None:
    store = Store()
    with store.transaction() as conn:
        conn.execute("INSERT INTO meta VALUES ('a', 'b')")
        for path in locations.data_folder().glob("store.db*"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    store.close()


def test_a_backup_is_whole_and_a_damaged_store_is_said(client: Client, tmp_path: Path) -> None:
    client.run("submit", "--wait", "--", "true")
    client.run("store", "backup", str(tmp_path / "copy.db"))
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600
    assert "exists already" in client.run("store", "backup", str(tmp_path / "copy.db"), code=2).stderr
    assert client.json_of("store", "check", "--json")["jobs"] == 1
    store = client.home / "store.db"
    for path in client.home.glob("store.db-*"):
        path.unlink()
    store.write_bytes((tmp_path / "copy.db").read_bytes())
    assert len(client.json("jobs")) == 1
    data = bytearray(store.read_bytes())
    data[8192:16384] = b"\xff" * 8192
    store.write_bytes(data)
    assert client.run("store", "check", code=1).code == 1


def test_every_migration_counts() -> None:
    assert len(migrations.migrations._migrations) == db.SCHEMA
    store = Store()
    assert store.conn.execute("PRAGMA user_version").fetchone()[0] == db.SCHEMA
    store.close()


def test_a_newer_store_and_no_store_are_said_so() -> None:
    store = Store()
    store.conn.execute(f"PRAGMA user_version = {db.SCHEMA + 1}")
    store.close()
    for open_it in (Store, open_reader):
        with pytest.raises(StoreError, match="newer version"):
            open_it()
    locations.store_file().write_bytes(b"no database, but long enough to be looked at" * 100)
    with pytest.raises(StoreError, match="cannot be used") as caught:
        open_reader()
    assert "move the file away" in str(caught.value.hint)
