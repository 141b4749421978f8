"""Rows of the store as tests make them up."""

from __future__ import annotations

from typing import Any

from msgspec.structs import fields

from foundations_tui.store.rows import JobRow
from remote_agent.protocol.ends import Usage

NOW = 1_700_000_000.0


def row(state: str = "running", **changes: Any) -> JobRow:
    """Return a job that began 100 seconds ago."""
    nothing = dict.fromkeys(field.name for field in fields(JobRow) if field.required)
    usual: dict[str, Any] = {
        **{name: value for name, value in nothing.items() if name not in ("params", "args", "metrics", "tags")},
        "job": "a" * 12,
        "host": "gpu1",
        "project": "p",
        "name": "",
        "owner": "",
        "state": state,
        "attempt": 1,
        "command": ["python"],
        "gpus": [],
        "created_at": NOW - 200,
        "started_at": NOW - 100,
        "usage": Usage(),
        "after": [],
        "after_any": [],
        "attempts": [],
        "group": "",
        "reason": None,
        "cause": None,
    }
    for name in ("artifacts", "uses"):
        usual.pop(name, None)
    return JobRow(**{**usual, **changes})
