"""The events of the journal as frozen dataclasses: the agent's state is their fold. Pure.

    {"seq": 7, "time": 1732380000.0, "type": "started", "job": "3f2a91cc0b1d", "started_at": 1732380000.2}

A ``Change`` is what happened, a ``JournalEntry`` a change with its sequence number and time. Fields that a newer agent
has added are ignored; a field with a default is left out where it has that. A type that is not known here comes from a
newer agent, and its effect cannot be guessed: the journal is refused then (``storage/journal.py``), its file untouched.

When an event is added: give it a class, and ``core/state.py`` its fold. An older agent then refuses the journal.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Callable, ClassVar, Dict, List, Mapping, NamedTuple, Optional, Tuple, Type, TypeVar

from remote_agent.protocol.ends import AttemptEnd
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.jobs import JobSpec, JobView
from remote_agent.protocol.lease import Lease
from remote_agent.protocol.models import RegistryEvent
from remote_agent.protocol.schedules import Schedule
from remote_agent.protocol.services import Probes, Revision
from remote_agent.protocol.wire import JsonTable

C = TypeVar("C", bound="Type[Change]")


def _made(make: Callable[[Any], Any], plain: Callable[[Any], Any], **default: Any) -> Any:
    """Return a field whose value is no plain JSON: how it is made of that, and made that again."""
    return field(metadata={"make": make, "plain": plain}, **default)


def _flat(make: Callable[[Any], Any], plain: Callable[[Any], Any]) -> Any:
    """Return a field whose own fields stand in the event itself."""
    return field(metadata={"make": make, "plain": plain, "flat": True})


def _strings(**default: Any) -> Any:
    return _made(tuple, list, **default)


class Change:
    """Base of all changes; each is a frozen dataclass that ``event`` gives its type."""

    TYPE: ClassVar[str]

    def to_wire(self) -> JsonTable:
        """Return the change as a line of the journal has it, without number and time."""
        wire: JsonTable = {"type": self.TYPE}
        for part in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, part.name)
            if value == _default(part):
                continue
            value = part.metadata["plain"](value) if "plain" in part.metadata else value
            if "flat" in part.metadata:
                wire.update(value)
            else:
                wire[part.name] = value
        return wire


def _default(part: "dataclasses.Field[Any]") -> Any:
    if part.default_factory is not dataclasses.MISSING:
        return part.default_factory()
    return part.default


KINDS: Dict[str, Type[Change]] = {}
"""The classes of changes, by their types."""


def _event(name: str) -> Callable[[C], C]:
    def register(kind: C) -> C:
        kind.TYPE = name
        KINDS[name] = kind
        return kind

    return register


@_event("submitted")
@dataclass(frozen=True)
class Submitted(Change):
    """A job was accepted."""

    job: str
    spec: JobSpec = _made(JobSpec.from_wire, JobSpec.to_wire)


@_event("view")
@dataclass(frozen=True)
class Viewed(Change):
    """A whole job, as a compacted journal has it."""

    job: str
    view: JobView = _made(JobView.from_wire, JobView.to_wire)
    lease: Optional[Lease] = _made(Lease.known, Lease.to_wire, default=None)
    """What it holds while it is active."""
    unmet: Tuple[str, ...] = _strings(default=())
    """The jobs that it waits for."""
    acknowledged: Tuple[str, ...] = _strings(default=())
    """The clients that have everything of it."""
    untold: bool = False
    """Whether the notification of its end is still to be sent."""


@_event("held")
@dataclass(frozen=True)
class Held(Change):
    """A waiting job starts only when somebody says so."""

    job: str


@_event("released")
@dataclass(frozen=True)
class Released(Change):
    """A job that was held may start."""

    job: str


@_event("leased")
@dataclass(frozen=True)
class Leased(Change):
    """An attempt was given what it asked for; it begins."""

    job: str
    attempt: int
    lease: Lease = _flat(Lease.known, Lease.to_wire)


@_event("started")
@dataclass(frozen=True)
class Started(Change):
    """The process of an attempt runs."""

    job: str
    started_at: float


@_event("stop_requested")
@dataclass(frozen=True)
class StopRequested(Change):
    """Somebody asked for the end of a job."""

    job: str
    by: str
    grace: float = 30.0
    """Seconds that it has."""


@_event("attempt_ended")
@dataclass(frozen=True)
class AttemptEnded(Change):
    """An attempt has ended that is followed by another one."""

    job: str
    end: AttemptEnd = _flat(AttemptEnd.from_wire, AttemptEnd.to_wire)
    not_before: float = 0.0
    """When that may begin, seconds since the epoch; 0 for at once."""


@_event("ended")
@dataclass(frozen=True)
class Ended(Change):
    """A job has ended."""

    job: str
    end: AttemptEnd = _flat(AttemptEnd.from_wire, AttemptEnd.to_wire)
    untold: bool = False
    """Whether its notification is still to be sent."""


@_event("moved")
@dataclass(frozen=True)
class Moved(Change):
    """A waiting job has another place in the queue."""

    job: str
    priority: int
    rank: float


@_event("deleted")
@dataclass(frozen=True)
class Deleted(Change):
    """A job was forgotten."""

    job: str


@_event("pruned")
@dataclass(frozen=True)
class Pruned(Change):
    """The folder of an ended job was removed."""

    job: str


@_event("annotated")
@dataclass(frozen=True)
class Annotated(Change):
    """People said something of a job."""

    job: str
    changes: Mapping[str, List[Any]]
    """Key -> [value, seconds since the epoch]."""


@_event("paused")
@dataclass(frozen=True)
class Paused(Change):
    """No job of these groups starts."""

    groups: Tuple[str, ...] = _strings()


@_event("resumed")
@dataclass(frozen=True)
class Resumed(Change):
    """The jobs of these groups start again."""

    groups: Tuple[str, ...] = _strings()


@_event("acknowledged")
@dataclass(frozen=True)
class Acknowledged(Change):
    """A client has everything of these ended jobs."""

    client: str
    jobs: Tuple[str, ...] = _strings()


@_event("told")
@dataclass(frozen=True)
class Notified(Change):
    """The notification of a job's end was sent."""

    job: str


@_event("service_revised")
@dataclass(frozen=True)
class ServiceRevised(Change):
    """A service has a further revision."""

    service: str
    revision: Revision = _made(Revision.known, Revision.to_wire)


@_event("service_wanted")
@dataclass(frozen=True)
class ServiceWanted(Change):
    """What a service is to be: which revision, how many replicas, and how they are probed."""

    service: str
    number: int
    """Of the revision."""
    replicas: int
    probes: Probes = _made(Probes.known, Probes.to_wire)
    by: str = ""
    at: float = 0.0
    """Seconds since the epoch."""
    before: int = 0
    """The revision that was wanted before this one; 0 for none."""
    asleep: bool = False
    """Whether no replica is to run until somebody asks."""


@_event("service_removed")
@dataclass(frozen=True)
class ServiceRemoved(Change):
    """A service was forgotten."""

    service: str


@_event("registry")
@dataclass(frozen=True)
class RegistryChanged(Change):
    """Something happened to a model."""

    event: RegistryEvent = _made(RegistryEvent.from_wire, RegistryEvent.to_wire)


@_event("pinned")
@dataclass(frozen=True)
class Pinned(Change):
    """A registered version consists of this job: it is not deleted; or it does not any more."""

    job: str
    key: str
    """The version's identity."""
    words: str = ""
    """What it is called; "" for no pin any more."""
    data: str = ""
    """Hash of its files, as of a data set."""


@_event("schedule_set")
@dataclass(frozen=True)
class ScheduleSet(Change):
    """There is a schedule, a new one or instead of the one of its name."""

    schedule: Schedule = _made(Schedule.known, Schedule.to_wire)


@_event("schedule_paused")
@dataclass(frozen=True)
class SchedulePaused(Change):
    """A schedule submits no jobs any more, or again: what was due meanwhile is not made up for."""

    name: str
    paused: bool
    at: float
    """Seconds since the epoch."""


@_event("schedule_ran")
@dataclass(frozen=True)
class ScheduleRan(Change):
    """A schedule has submitted a job."""

    name: str
    job: str
    due: float
    """The time that it is for, seconds since the epoch."""
    at: float


@_event("schedule_noted")
@dataclass(frozen=True)
class ScheduleNoted(Change):
    """Times of a schedule have passed without a job."""

    name: str
    what: str
    """"missed", "skipped", or "passed"."""
    due: float
    """The last of them, seconds since the epoch."""
    count: int


@_event("schedule_told")
@dataclass(frozen=True)
class ScheduleTold(Change):
    """What has come of a schedule's chain."""

    name: str
    words: str
    at: float
    """Seconds since the epoch."""


@_event("schedule_removed")
@dataclass(frozen=True)
class ScheduleRemoved(Change):
    """A schedule was removed."""

    name: str


@_event("created")
@dataclass(frozen=True)
class Created(Change):
    """The journal begins; the journal itself reads the rest of this line."""

    journal: str


@_event("renewed")
@dataclass(frozen=True)
class Renewed(Change):
    """The journal has another id: what clients have seen may be gone."""

    journal: str


class JournalEntry(NamedTuple):
    """One line of the journal."""

    seq: int
    """Goes up by one with each."""
    time: float
    """Seconds since the epoch."""
    change: Change

    def to_wire(self) -> JsonTable:
        """Return the line as JSON has it."""
        return {"seq": self.seq, "time": self.time, **self.change.to_wire()}

    @classmethod
    def from_wire(cls, wire: JsonTable) -> "JournalEntry":
        """Return the entry that a line tells.

        Raises:
            BadRequest: it is of no known type, or a field is missing.
        """
        return cls(wire["seq"], wire.get("time", 0.0), change_of(wire))


def change_of(wire: JsonTable) -> Change:
    """Return the change that a line tells; see ``JournalEntry.from_wire``."""
    kind = KINDS.get(wire["type"])
    if kind is None:
        raise BadRequest(f"no event of this agent: {wire['type']!r}")
    try:
        return _reader(kind)(wire)
    except (KeyError, TypeError, ValueError) as error:
        raise BadRequest(f"an event {wire['type']!r} that makes no sense: {error!r}") from None


def _reader(kind: Type[Change]) -> Callable[[JsonTable], Change]:
    """Return what reads the events of a class, made once: a journal has a hundred thousand of them."""
    reader = _READERS.get(kind)
    if reader is None:
        fields = dataclasses.fields(kind)  # type: ignore[arg-type]
        plain = [part.name for part in fields if "make" not in part.metadata]
        made = [
            (part.name, part.metadata["make"])
            for part in fields
            if "make" in part.metadata and "flat" not in part.metadata
        ]
        flat = [(part.name, part.metadata["make"]) for part in fields if "flat" in part.metadata]

        needed = {part.name for part in fields if _default(part) is dataclasses.MISSING}

        def read(wire: JsonTable) -> Change:
            values = {name: wire[name] for name in plain if name in wire}
            for name, make in made:
                if name in wire:
                    values[name] = make(wire[name])
            for name, make in flat:
                values[name] = make(wire)
            if not needed <= values.keys():
                raise KeyError(", ".join(sorted(needed - values.keys())))
            # As the constructor would, in a third of its time: defaults stand in the class.
            change: Change = object.__new__(kind)
            change.__dict__.update(values)
            return change

        reader = _READERS[kind] = read
    return reader


_READERS: Dict[Type[Change], Callable[[JsonTable], Change]] = {}
