"""The local end of a port of a running job: bytes pass as they are."""

from __future__ import annotations

from foundations_serve.front.listener import Connection
from foundations_serve.front.proxy import bridge
from foundations_tui.errors import FoundationsError, NotFoundError
from foundations_tui.services import own_machine
from foundations_tui.session import Session
from foundations_tui.store.rows import JobRow
from remote_agent.protocol import messages
from remote_agent.protocol.relaying import Target


def target_of(session: Session, row: JobRow, port: int) -> Target:
    """Return where a job's own processes listen at a port; what another process has there is not meant.

    Raises:
        NotFoundError: none of them listens there. FoundationsError: it does not run. HostError: its host is out of
            reach.
    """
    listeners = session.ask(row.host, messages.Listeners(row.job)).listeners
    for address, number in listeners:
        if number == port:
            return Target(address=address, port=port)
    there = ", ".join(str(number) for _, number in listeners) or "none"
    raise NotFoundError(
        f"no process of job {row.job} listens on port {port} of {row.host} (ports it listens on: {there})"
    )


class RawForward:
    """Listens on a port of this machine for one port of a job."""

    def __init__(self, session: Session, row: JobRow, port: int, local_port: int = 0) -> None:
        """Listen; ``close`` ends it.

        Args:
            session: the client's.
            row: the job.
            port: of its host.
            local_port: of 127.0.0.1 here; 0 for any.
        Raises:
            OSError: the local port is taken. NotFoundError: the job does not listen there.
        """
        target_of(session, row, port)
        self._session, self._row, self._far_port = session, row, port
        self._listener = own_machine.listener(local_port, self._carry, self._refuse)
        self.port = self._listener.port

    def close(self) -> None:
        """Take no further connection, and end those that there are."""
        self._listener.close()

    def _carry(self, connection: Connection) -> None:
        try:
            target = target_of(self._session, self._row, self._far_port)
            stream = self._session.agent(self._row.host).connect(target)
        except (OSError, FoundationsError) as error:
            return self._refuse(connection, str(error))
        try:
            bridge(connection, stream)
        finally:
            stream.close()

    def _refuse(self, connection: Connection, why: str) -> None:
        self._session.say(f"a connection was refused: {why}")
