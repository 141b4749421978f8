"""What the agent can refuse, as one tree; the code of each class travels in the reply.

AgentError
|-- BadRequest        the request makes no sense to this agent
|-- NotFound          no such job, file or snapshot on this host
|-- Conflict          the job is in a state that does not allow it
|-- Unsatisfiable     no resources of this host could ever run the job
|-- DiskFull          the host's disk cannot take it
|-- StorageBroken     the agent cannot write its own files
|-- AlreadyRunning    another agent owns this root
`-- ProtocolError     the other side does not speak our protocol, or another version of it
"""

from __future__ import annotations


class AgentError(Exception):
    """The agent could not do it."""

    code = "failed"


class BadRequest(AgentError):
    """The request is not one this agent knows."""

    code = "bad_request"


class NotFound(AgentError):
    """There is no such thing on this host."""

    code = "not_found"


class Conflict(AgentError):
    """The state of the job does not allow it."""

    code = "conflict"


class Unsatisfiable(AgentError):
    """This host can never give what the job asks for."""

    code = "unsatisfiable"


class DiskFull(AgentError):
    """There is not enough disk space on the host."""

    code = "disk_full"


class StorageBroken(AgentError):
    """The agent cannot write its files."""

    code = "storage_broken"


class AlreadyRunning(AgentError):
    """Another agent owns this root."""

    code = "already_running"


class ProtocolError(AgentError):
    """The other side does not speak this protocol."""

    code = "protocol"
