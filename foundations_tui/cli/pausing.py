"""Queues and hosts that start nothing more, and start again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foundations_tui.cli.params import say
from foundations_tui.cli.stderr import tell
from foundations_tui.errors import FoundationsError, NotFoundError, UsageError
from foundations_tui.store import queries

if TYPE_CHECKING:
    from foundations_tui.session import Session


def set_paused(session: Session, group: str, host: str, paused: bool) -> int:
    from foundations_tui.jobs import operations

    if not group and not host:
        raise UsageError("name a group, or a host with --host")
    if group == "*":
        raise UsageError("* is no group", "--host HOST without a group means all jobs there")
    hosts = [session.hosts.host(host).name] if host else _hosts_of(session, group)
    if not hosts:
        raise NotFoundError(f"no unfinished job is in a group {group!r}", "submit --group NAME puts it there")
    code = 0
    for name in hosts:
        try:
            operations.pause(session, name, group, paused)
            what = f"group {group}" if group else "all jobs"
            say(f"{name}: {what} {'paused: what runs goes on' if paused else 'resumed'}")
        except FoundationsError as error:
            tell(error)
            code = code or error.exit_code
    return code


def _hosts_of(session: Session, group: str) -> list[str]:
    """Return the hosts that have unfinished jobs of a group, and those on which it is paused."""
    conn = session.store.conn
    known = [name for name, row in queries.hosts(conn).items() if group in row.resources.get("paused", [])]
    return list(dict.fromkeys([*queries.groups(conn, group), *(name for name in known if name in session.hosts.hosts)]))
