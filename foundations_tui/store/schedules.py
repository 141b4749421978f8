"""The schedules of hosts, as last heard."""

from __future__ import annotations

from foundations_tui.store.db import Store
from foundations_tui.store.heard import HeardRow, HeardTable
from remote_agent.protocol.schedules import ScheduleView

ScheduleRow = HeardRow[ScheduleView]
"""A schedule of a host."""
_table = HeardTable("schedules", "schedule", ScheduleView.from_wire)
put_schedules = _table.put_all
put_schedule = _table.put
schedules = _table.rows
schedule = _table.find


def forget_schedule(store: Store, host: str, name: str) -> None:
    """Forget a schedule."""
    with store.transaction() as conn:
        _table.forget(conn, host, name)
