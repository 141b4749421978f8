"""Listings that look at the hosts by themselves where a person reads them, and are there within a second all the same.

A process of its own asks the hosts: what takes longer goes on behind the listing, and is there for the next one.
"""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import time

import click

from foundations_tui.cli.params import reader
from foundations_tui.store import queries

looking_option = click.option(
    "--sync/--no-sync",
    "sync_first",
    default=None,
    help="Ask the hosts first, or not. On a terminal they are asked, for a second at most, if something runs there.",
)
_PATIENCE = 0.9
"""Seconds that the listing waits."""
_OLD_SECONDS = 10.0
_AWAY_SECONDS = 600.0
"""How long a host that could not be reached is left alone."""


def looking_reader(sync_first: bool | None, as_json: bool) -> sqlite3.Connection:
    """Return a connection that reads the store, brought up to date as far as that takes no time.

    Args:
        sync_first: what the user says; None for nothing.
        as_json: whether a program reads: then only the user decides.
    """
    conn = reader(bool(sync_first))
    if sync_first is None and not as_json and sys.stdout.isatty() and (hosts := _to_ask(conn, time.time())):
        _ask(hosts)
    return conn


def _to_ask(conn: sqlite3.Connection, now: float) -> list[str]:
    """Return the hosts on which something runs or waits and that were not heard lately, nor tried in vain."""
    contacts = queries.contacts(conn)
    found = []
    for host in queries.active_hosts(conn):
        heard, away = contacts.get(host, (None, None))
        tried = float(queries.meta(conn, queries.TRIED + host) or 0) if away is not None else 0.0
        if now - (heard or 0.0) > _OLD_SECONDS and now - tried > _AWAY_SECONDS:
            found.append(host)
    return found


def _ask(hosts: list[str]) -> None:
    """Bring hosts up to date; nobody is asked anything, and what is not done in time goes on behind."""
    command = [sys.executable, "-m", "foundations_tui", "sync", "--", *hosts]
    quiet = subprocess.DEVNULL
    with contextlib.suppress(OSError):
        process = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE)
