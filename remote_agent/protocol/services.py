"""Services: jobs that stay up and answer requests, as records of their home host. Pure.

A service has numbered revisions and a number of desired replicas. A replica is one job of kind ``service``; its restart
is its next attempt. What a revision runs never changes; probes and the number of replicas may.
"""

from __future__ import annotations

import re
from typing import Any, Dict, List, Mapping, Optional, Tuple

from remote_agent.protocol import checks
from remote_agent.protocol.checks import flag, moment, number, one_of, optional, text, whole
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.wire import JsonTable, Message, SparseMessage, TolerantMessage, field, message, nested

KIND = "service"
"""The kind of a job that is a replica."""
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
"""What a service may be called: it stands in paths, variables and addresses; a label of a domain, RFC 1123."""
NAME_RULE = "lowercase letters, digits and - (at most 63)"
MOST_REPLICAS = 100
MOST_REVISIONS = 20
"""Revisions that are kept, the latest: what ``rollback`` goes back to."""
MOST_ATTEMPTS = 20
"""Attempts of a replica that are kept, the latest."""
MOST_SERVICES = 200
"""Services that a host takes."""
FIRST_PAUSE = 1.0
"""Seconds before the first restart; each further one takes twice as long, up to LONGEST_PAUSE."""
LONGEST_PAUSE = 300.0
GOOD_SECONDS = 600.0
"""An attempt that ran so long was good: the pauses begin anew."""
CRASH_LOOP = 3
"""So many attempts in a row that were not good are a crash loop."""
TOKEN_VARIABLE = "FOUNDATIONS_SERVICE_TOKEN"
"""What a replica asks of who calls it."""
PORT, SOCKET, PATH = "{port}", "{socket}", "{path}"
"""What is filled into the words of a command."""
PERSON = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}\Z")
"""What a person may be called who has a token."""
MOST_PEOPLE = 1000
"""People who may have a token of one service."""
_MARK = re.compile(r"[0-9a-f]{0,64}\Z")
_WORDS = text(10_000)
_PATIENCE = 10
"""Seconds for which nobody asks why something is warming."""
_HTTP_PATH = re.compile(r"(/[!-~]*)?\Z")
_PLACE = re.compile(r"\{(port|socket|path)\}")
_VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)?\Z")
service_name = text(63, NAME, f"a service's name: {NAME_RULE}")


@message
class Probes(Message):
    """How it is found out whether a replica is ready and alive; changed without a restart."""

    ready: str = field(text(2000, _HTTP_PATH, "an HTTP path that begins with /"), "")
    """Answered with a status below 400 when it is ready; "" where any answer at / will do, or, of what speaks no HTTP,
    a connection."""
    live: str = field(text(2000, _HTTP_PATH, "an HTTP path that begins with /"), "")
    """Answered at all while it is alive; "" where only a stopped process counts as dead."""
    startup: float = field(number(1, 86400), 600.0)
    """Seconds until it has to be ready."""
    period: float = field(number(0.1, 3600), 10.0)
    """Seconds between two probes."""
    timeout: float = field(number(0.1, 600), 5.0)
    """Seconds that an answer may take."""
    idle_stop: float = field(number(0, 366 * 86400), 0.0)
    """Seconds without a request after which its replicas end, until the next one at a front; 0 for never."""


@message
class Serving(Message):
    """What a specification says of the service that its job is a replica of."""

    name: str = field(service_name)
    revision: int = field(whole(1))
    port: int = field(whole(0, 65535), 0)
    """Where it is to listen; 0 for any free port."""
    token_env: str = field(text(200, _VARIABLE, "the name of a variable"), "")
    """A further variable that gets the token: the one in which its command looks for it."""
    open_on_host: bool = field(flag, False)
    """Whether all users of the host may reach it: it asks for no token."""
    open_to_network: bool = field(flag, False)
    """Whether it may listen beyond loopback."""
    model: str = field(text(63), "")
    """The model that it serves; "" for none."""
    version: int = field(whole(), 0)
    """Of the model."""
    alias: str = field(text(63), "")
    """The alias by which that version was meant."""
    follow: bool = field(flag, False)
    """Whether it is to go on to what that alias comes to mean."""
    spread: str = field(text(64, _MARK), "")
    """What the services of one name on several hosts share that are one; "" for one of a single host."""
    rollout: str = field(text(64, _MARK), "")
    """The same on all of these hosts when they run the same."""

    def environment(self, port: int, socket: str, token: str) -> Dict[str, str]:
        """Return the variables that a replica finds."""
        variables = {"FOUNDATIONS_SERVICE": self.name, TOKEN_VARIABLE: token}
        if port:
            variables["PORT"] = str(port)
        if socket:
            variables["FOUNDATIONS_SERVICE_SOCKET"] = socket
        if self.token_env:
            variables[self.token_env] = token
        return variables


def check_serving(value: Any, where: str) -> Any:
    """Check what a specification says of its service; an empty table says that there is none."""
    if checks.any_table(value, where):
        Serving.from_wire(value, where)
    return value


def fill(command: Tuple[str, ...], port: int, socket: str, path: str) -> Tuple[str, ...]:
    """Return the words of a command with its placeholders filled.

    Args:
        command: the words.
        port: where it is to listen; 0 for nowhere.
        socket: path of the Unix socket where it is to listen.
        path: of the files of its model; "" for none, then {path} stays as it is.
    """
    values = {PORT: str(port), SOCKET: socket, **({PATH: path} if path else {})}
    return tuple(_PLACE.sub(lambda found: values.get(found[0], found[0]), word) for word in command)


def takes_socket(command: Tuple[str, ...]) -> bool:
    """Return whether a command listens on a Unix socket."""
    return any(SOCKET in word for word in command)


@message
class Traffic(SparseMessage):
    """What a replica answered lately, as its own counters say."""

    rate: float = field(number(), 0.0)
    """Requests per second."""
    p50: float = field(number(), 0.0)
    """Seconds within which half of them were answered."""
    p99: float = field(number(), 0.0)
    errors: float = field(number(0, 1), 0.0)
    """The share of them that failed: status 500 and above."""
    total: int = field(whole(), 0)
    """Requests since it was started."""


@message
class Readiness(SparseMessage):
    """Whether a replica answers, as its supervisor sees it."""

    ready: bool = field(flag, False)
    warming: bool = field(flag, False)
    """Whether it has never been ready since it was started."""
    why: str = field(_WORDS, "")
    """Why not: "probe timed out after 5 s"."""
    since: float = field(moment, 0.0)
    """When that began, seconds since the epoch."""
    address: str = field(text(100), "")
    """Where it listens: "127.0.0.1", "::1"."""
    port: int = field(whole(0, 65535), 0)
    socket: str = field(text(4096), "")
    """Path of its Unix socket."""
    traffic: Traffic = field(nested(Traffic), Traffic())

    def words(self, now: float) -> str:
        """Return it in words: "ready", "warming, 40 s", "not ready: probe timed out after 5 s"; "" for not known.

        Args:
            now: seconds since the epoch.
        """
        if self.ready:
            return "ready"
        if self.warming:
            seconds = max(0, round(now - self.since))
            return f"warming, {seconds} s" + (f": {self.why}" if self.why and seconds >= _PATIENCE else "")
        return f"not ready: {self.why}" if self.why else ""


@message
class Revision(Message):
    """What a service ran, or runs: a specification without the id of a job."""

    number: int = field(whole(1))
    spec: JsonTable = field(checks.any_table)
    in_place: bool = field(flag, False)
    """Whether what runs ends before it begins, not after it has become ready."""
    by: str = field(text(1000), "")
    at: float = field(moment, 0.0)


@message
class Replica(TolerantMessage):
    """One replica as its host tells of it."""

    job: str = field(text(64), "")
    revision: int = field(whole(), 0)
    state: str = field(text(64), "")
    attempt: int = field(whole(), 0)
    reason: str = field(_WORDS, "")
    """Why it waits, or how its last attempt ended."""
    restarts_at: Optional[float] = field(optional(moment), None)
    """When its next attempt begins, seconds since the epoch."""
    failures: int = field(whole(), 0)
    """Attempts in a row that were not good."""
    started_at: Optional[float] = field(optional(moment), None)
    gpus: List[str] = field(checks.sieve(text(200), 1000), [])
    readiness: Readiness = field(nested(Readiness), Readiness())


@message
class RevisionHead(TolerantMessage):
    """A revision in a listing."""

    number: int = field(whole(), 0)
    command: List[str] = field(checks.sieve(text(1000), 1000), [])
    """Clipped."""
    by: str = field(text(1000), "")
    at: float = field(moment, 0.0)
    model: str = field(text(63), "")
    """The model that it serves; "" for none."""
    version: int = field(whole(), 0)


@message
class ServiceView(TolerantMessage):
    """A service as its home host tells of it."""

    name: str = field(service_name, "")
    revision: int = field(whole(), 0)
    replicas: int = field(whole(), 0)
    """How many are desired; 0 for a service that is stopped."""
    before: int = field(whole(), 0)
    """The revision that was wanted before; 0 for none that is still there."""
    owner: str = field(text(1000), "")
    project: str = field(text(1000), "")
    by: str = field(text(1000), "")
    """Who changed it last."""
    at: float = field(moment, 0.0)
    probes: Probes = field(nested(Probes), Probes())
    access: str = field(one_of("token", "socket", "open"), "token")
    """Who may reach it on its host: who has its token, this account alone, or all users."""
    model: str = field(text(63), "")
    """The model that is wanted of it; "" for none."""
    version: int = field(whole(), 0)
    alias: str = field(text(63), "")
    """The alias by which that version was meant."""
    follow: bool = field(flag, False)
    """Whether it is to go on to what that alias comes to mean."""
    spread: str = field(text(64, _MARK), "")
    """What the services of one name on several hosts share that are one."""
    rollout: str = field(text(64, _MARK), "")
    """The same on all of these hosts when they are to run the same."""
    asleep: bool = field(flag, False)
    """Whether its replicas have ended because nobody asked; the next request at a front begins them again."""
    problem: str = field(_WORDS, "")
    """Why none of its replicas can be begun."""
    revisions: List[RevisionHead] = field(checks.sieve(nested(RevisionHead), MOST_REVISIONS + 1), [])
    running: List[Replica] = field(checks.sieve(nested(Replica), 2 * MOST_REPLICAS), [])


def access_of(spec: Mapping[str, Any]) -> str:
    """Return who may reach the replicas of a specification: "token", "socket" or "open"."""
    if takes_socket(tuple(spec.get("command", ()))):
        return "socket"
    return "open" if spec.get("service", {}).get("open_on_host") else "token"


def check_command(command: Tuple[str, ...], serving: Serving) -> None:
    """Raise BadRequest when a command cannot be reached as it is meant to be."""
    if takes_socket(command) and serving.port:
        raise BadRequest("either {socket} or a port")


def same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two specifications run the same: when and from which commit it was asked for is no difference."""
    return _essence(one) == _essence(other)


def _essence(spec: Mapping[str, Any]) -> JsonTable:
    essence = {name: value for name, value in spec.items() if name not in _INCIDENTAL}
    serving = dict(essence.get("service", {}))
    for name in ("revision", "rollout"):
        serving.pop(name, None)
    return {**essence, "service": serving}


_INCIDENTAL = ("job", "created_at", "client", "client_version", "git", "name")
