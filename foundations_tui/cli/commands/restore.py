"""The verb restore."""

from __future__ import annotations

from foundations_tui.cli.outcomes import marking

restore = marking(
    "restore", "trashed", False, "Bring deleted jobs back; `foundations jobs --where is:trashed` lists them."
)
