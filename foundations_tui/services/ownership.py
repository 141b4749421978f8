"""Who may touch whose services: as with jobs, everybody's verbs touch their own. Pure."""

from __future__ import annotations

from foundations_tui.jobs.ownership import Actor
from foundations_tui.store.services import ServiceRow


def stranger_of(actor: Actor, row: ServiceRow) -> str:
    """Return whose a service is, where it is somebody else's; "" where it is one's own."""
    return "" if row.view.owner in ("", actor.owner) else row.view.owner


def check(actor: Actor, row: ServiceRow) -> None:
    """Refuse to touch somebody else's service, unless that was asked for.

    Raises:
        UsageError: it is somebody else's.
    """
    actor.check_owned(f"service {row.name}", row.view.owner)
