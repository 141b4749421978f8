"""Services and schedules as their hosts know them now."""

from __future__ import annotations

import sqlite3
from typing import Protocol, TypeVar

from foundations_tui.errors import HostUnreachable, NotFoundError
from foundations_tui.session import Session
from foundations_tui.store.heard import HeardRow, View
from foundations_tui.sync import pull

V = TypeVar("V", bound=View)


class Find(Protocol[V]):
    """Returns one by its name, wherever it is or on a host."""

    def __call__(self, conn: sqlite3.Connection, name: str, host: str = "") -> HeardRow[V]: ...


def fresh(session: Session, find: Find[V], name: str, host: str = "") -> HeardRow[V]:
    """Return one as its host knows it now; as of the last contact, which is said, when that is out of reach.

    Args:
        session: the client's.
        find: looks in the store.
        name: its name.
        host: where; "" for wherever.
    Raises:
        NotFoundError: there is none. UsageError: several hosts have one.
    """
    try:
        row = find(session.store.conn, name, host)
    except NotFoundError:  # another client may have begun it
        pull.catch_up_all(session, [host] if host else list(session.hosts.hosts), streams=False)
        return find(session.store.conn, name, host)
    try:
        pull.catch_up(session, row.host, streams=False)
    except HostUnreachable as error:
        session.say(f"warning: {error}; this is as of the last contact")
    return find(session.store.conn, row.name, row.host)
