"""One service, as its host knows it now."""

from __future__ import annotations

from foundations_tui.errors import NotFoundError
from foundations_tui.session import Session
from remote_agent.protocol import messages
from remote_agent.protocol.services import MOST_SERVICES, ServiceView


def current(session: Session, host: str, name: str) -> ServiceView:
    """Return a service as its host knows it now.

    Raises:
        NotFoundError: there is none. HostError: the host is out of reach.
    """
    after, seen = "", 0
    while True:
        answer = session.ask(host, messages.Services(after))
        found = next((one for one in answer.services if one.name == name), None)
        if found is not None:
            return found
        seen += len(answer.services)
        last = answer.services[-1].name if answer.services else ""
        if not answer.more or last <= after or seen > MOST_SERVICES:
            raise NotFoundError(f"there is no service {name} on {host}")
        after = last
