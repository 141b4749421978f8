"""This terminal on a host, or in a job's folder."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from foundations_tui.errors import NotFoundError
from foundations_tui.store import queries

if TYPE_CHECKING:
    from foundations_tui.session import Session
    from foundations_tui.store.rows import JobRow


def enter(session: Session, host: str, row: JobRow | None, command: tuple[str, ...]) -> int:
    from foundations_tui.hosts import console
    from foundations_tui.sync import pull
    from remote_agent.protocol.roles import EnterWanted

    if row is not None:
        pull.catch_up(session, host, streams=False)  # it may have started, or be at another attempt by now
        row = queries.job(session.store.conn, row.job)
    if row is not None and not row.attempt:
        raise NotFoundError(f"job {row.job} has not started: it has no folder yet")
    agent = session.agent(host)
    request = EnterWanted(row.job if row else "", row.attempt if row else 0, list(command))
    return console.run(agent, agent.place, request, sys.stdin.isatty() and sys.stdout.isatty())
