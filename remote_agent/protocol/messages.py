"""What each request asks and each answer says, as messages whose every value has a type, a range and a length. Pure.

Both sides check what they receive by these classes, once, where it comes in. A request that is wrong is refused as a
whole. Of an answer, a wrong entry of a list costs that entry: one bad job must not hide the others.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Dict, Generic, List, Mapping, Optional, Tuple, Type, TypeVar, Union

from remote_agent.protocol.checks import (
    Check,
    any_table,
    flag,
    json_table,
    listing,
    moment,
    number,
    one_of,
    optional,
    record,
    row,
    sieve,
    sifted_table,
    table,
    text,
    whole,
)
from remote_agent.protocol.ends import STATE_NAME
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.facts import HASH
from remote_agent.protocol.framing import MOST_OIDS, PAGE_BYTES, VERSION
from remote_agent.protocol.jobs import JOB_ID, LONGEST_GRACE, MOST_SPEC_BYTES
from remote_agent.protocol.models import RegistryEvent, Version, alias_name, model_name
from remote_agent.protocol.resources import Resources
from remote_agent.protocol.schedules import MOST_SCHEDULES, Schedule, ScheduleView, schedule_name
from remote_agent.protocol.services import (
    MOST_PEOPLE,
    MOST_REPLICAS,
    MOST_SERVICES,
    PERSON,
    Probes,
    ServiceView,
    service_name,
)
from remote_agent.protocol.wire import JsonTable, Message, field, message, nested

MOST_JOBS = 10_000
"""Jobs in one request or answer."""
MOST_ENTRY_BYTES = 64 << 20
"""A job as a host tells of it is at most so large."""
_JOB = text(64, JOB_ID)
_NAME = text(1000)
_JOB_OR_NONE = re.compile(rf"({JOB_ID.pattern[:-2]})?\Z")
_SERVICE_TOKEN = re.compile(r"([A-Za-z0-9_-]{20,200})?\Z")
_WORDS = text(10_000)
_PATH = text(4096, as_bytes=True)
_OID = text(40)
_ATTEMPT = whole(0, 1_000_000)
_STREAM = text(300)
_COUNT = optional(number())
_LONGEST_TIME_LEFT = 10 * 365 * 86400.0
_TOKEN = re.compile(r"[!-~]+\Z")
_PERSON_OR_NONE = re.compile(r"(" + PERSON.pattern[:-2] + r")?\Z")
_PROBLEMS = sieve(_WORDS, 100)
_SIZES = sieve(row(_JOB, _ATTEMPT, _STREAM, whole()), 1_000_000)


class Answer(Message):
    """Base of all answers."""

    MOST_BYTES: ClassVar[int] = 0
    """Bytes that may come with it."""


A = TypeVar("A", bound=Answer)


class Request(Message, Generic[A]):
    """Base of all requests, typed by their answers."""

    METHOD: ClassVar[str]
    """Its name on the wire."""
    ANSWER: ClassVar[Type[Answer]]
    """What it is answered with."""


@message
class Done(Answer):
    """It is done; there is nothing more to say."""


@message
class JobAnswer(Answer):
    """A job after a request has changed it."""

    job: JsonTable = field(any_table)
    """As ``JobView.received`` takes it."""


# --- the host -----------------------------------------------------------------------------------------------------


def _gpu_setting(value: Any, where: str) -> Any:
    if value == "auto":
        return value
    if isinstance(value, list):
        return listing(whole(0, 10_000), 1000)(value, where)
    return whole(0, 10_000)(value, where)


@message
class HostSettings(Message):
    """What hosts.toml says of a host and its agent has to know."""

    max_jobs: Optional[int] = field(optional(whole(0, 1_000_000)), None)
    gpus: Union[None, str, int, List[int]] = field(optional(_gpu_setting), None)
    """"auto" for all, a number of them, or their indices."""


@message
class HelloAnswer(Answer):
    """Who the agent is, and what its host has."""

    protocol: int = field(whole(0, 10_000))
    version: str = field(text(100))
    agent: str = field(text(100))
    """Content hash of its code."""
    journal: str = field(text(64))
    seq: int = field(whole(), 0)
    root: str = field(_PATH, "")
    host: str = field(text(1000), "")
    python: str = field(_PATH, "")
    time: float = field(moment, 0.0)
    active: int = field(whole(), 0)
    gpus_age: float = field(number(), 0.0)
    """Seconds since the GPUs were looked at."""
    problems: List[str] = field(_PROBLEMS, [])
    resources: Resources = field(nested(Resources), {})
    """On the wire its fields stand beside the others."""

    @classmethod
    def from_wire(cls, value: Any, where: str = "") -> HelloAnswer:
        any_table(value, where)
        return super().from_wire({**value, "resources": value}, where)

    def to_wire(self) -> JsonTable:
        wire = super().to_wire()
        resources = wire.pop("resources")
        return {**wire, **resources}


@message
class Hello(Request[HelloAnswer]):
    """Who the agent is and what its host has; it takes in what hosts.toml says of the host."""

    METHOD = "hello"
    ANSWER = HelloAnswer
    protocol: int = field(whole(0, 10_000), VERSION)
    look: bool = field(flag, False)
    """Have the GPUs looked at now."""
    settings: Optional[HostSettings] = field(optional(nested(HostSettings)), None)


@message
class SamplesAnswer(Answer):
    """A page of the host's samples; it begins later than asked for where that part is gone."""

    MOST_BYTES = PAGE_BYTES
    offset: int = field(whole())
    end: int = field(whole(), 0)


@message
class Samples(Request[SamplesAnswer]):
    """The samples of the host from an offset."""

    METHOD = "samples"
    ANSWER = SamplesAnswer
    offset: int = field(whole())


@message
class Shutdown(Request[Done]):
    """End the daemon."""

    METHOD = "shutdown"
    ANSWER = Done
    replace: bool = field(flag, False)
    """A newer one comes and jobs run on; otherwise no job may run or wait."""


@message
class ReleaseQuarantineAnswer(Answer):
    """The UUIDs of the GPUs whose quarantine has ended."""

    released: List[str] = field(sieve(text(200), 1000), name="forgiven")


@message
class ReleaseQuarantine(Request[ReleaseQuarantineAnswer]):
    """End the quarantine of GPUs."""

    METHOD = "forgive"
    ANSWER = ReleaseQuarantineAnswer
    gpu: str = field(text(200))
    """Index or UUID."""


@message
class ClaimsAnswer(Answer):
    """The UUIDs of the GPUs of which claims do not count."""

    ignored: List[str] = field(sieve(text(200), 1000))


@message
class Claims(Request[ClaimsAnswer]):
    """Overrule what other agents claim of a GPU, or heed it again: claims only ask."""

    METHOD = "claims"
    ANSWER = ClaimsAnswer
    gpu: str = field(text(200))
    """Index or UUID."""
    ignored: bool = field(flag)


# --- changes and streams ------------------------------------------------------------------------------------------


@message
class ChangesAnswer(Answer):
    """A page of jobs; it closes at 64 kB."""

    journal: str = field(text(64))
    seq: int = field(whole())
    more: bool = field(flag)
    jobs: List[JsonTable] = field(sieve(any_table, MOST_JOBS))
    """As ``JobView.received`` takes them."""
    deleted: List[str] = field(sieve(_JOB, MOST_JOBS))
    resources: Resources = field(nested(Resources))
    earlier: List[str] = field(sieve(text(64), 100), [])
    """Ids that the journal had before it was damaged."""
    large: List[Tuple[str, int, int]] = field(sieve(row(_JOB, whole(), whole(0, MOST_ENTRY_BYTES)), MOST_JOBS), [])
    """Jobs that alone are larger than a page: id, sequence, bytes. ``Entry`` asks for them."""
    problems: List[str] = field(_PROBLEMS, [])
    waits_version: Optional[int] = field(whole(), None)
    services_version: Optional[int] = field(whole(), None)
    schedules_version: Optional[int] = field(whole(), None)
    registry_seq: Optional[int] = field(whole(), None)
    """The sequence number of the last thing that happened to a model; 0 for nothing."""
    transitions: List[Tuple[int, float, str, int, str, str, Optional[int]]] = field(
        sieve(row(whole(), moment, _JOB, _ATTEMPT, STATE_NAME, text(64), optional(whole())), MOST_JOBS), []
    )
    """What jobs went through: sequence number, time, job, attempt, state, reason code of an end, place in the queue."""


@message
class Changes(Request[ChangesAnswer]):
    """The jobs that changed after a sequence number; all of them when the client knew another journal."""

    METHOD = "changes"
    ANSWER = ChangesAnswer
    after: int = field(whole())
    journal: str = field(text(64), "")
    limit: int = field(whole(1), 2000)
    transitions: bool = field(flag, False)
    """Also what jobs went through."""
    time_left: Mapping[str, float] = field(sifted_table(number(0, _LONGEST_TIME_LEFT), MOST_JOBS, _JOB), {})
    """How long running jobs still take, seconds, by job, where their logs tell it: estimates of starts heed it."""


@message
class EntryAnswer(Answer):
    """A page of a job's JSON."""

    MOST_BYTES = PAGE_BYTES
    seq: int = field(whole())
    size: int = field(whole(0, MOST_ENTRY_BYTES))


@message
class Entry(Request[EntryAnswer]):
    """A job that is too large for a page of changes: its JSON, from an offset."""

    METHOD = "entry"
    ANSWER = EntryAnswer
    job: str = field(_JOB)
    offset: int = field(whole())


@message
class WaitsAnswer(Answer):
    """Why jobs wait and when they are expected to start."""

    version: int = field(whole())
    groups: List[Tuple[str, List[str]]] = field(sieve(row(_WORDS, sieve(_JOB, MOST_JOBS)), MOST_JOBS))
    """Reason, and the jobs that wait for it."""
    estimates: Mapping[str, float] = field(sifted_table(moment, MOST_JOBS, _JOB))
    next: Optional[int] = field(optional(whole()), None)
    """Where the next page begins; None after the last."""


@message
class Waits(Request[WaitsAnswer]):
    """Why jobs wait, from a place in the queue on."""

    METHOD = "waits"
    ANSWER = WaitsAnswer
    after: int = field(whole())


@message
class WatchAnswer(Answer):
    """Something is new, or the time is up."""

    grown: List[Tuple[str, int, str, int]] = field(_SIZES)
    """Streams that grew: job, attempt, name, bytes."""
    seq: int = field(whole(), 0)


@message
class Watch(Request[WatchAnswer]):
    """Wait for news: a job that changed, a stream that grew."""

    METHOD = "watch"
    ANSWER = WatchAnswer
    seq: int = field(whole())
    waits_version: int = field(whole(-1), -1)
    services_version: int = field(whole(-1), -1)
    """As last seen; -1 for who does not ask for services."""
    timeout: float = field(number(0, 3600), 30.0)
    """Seconds."""


@message
class ReadAnswer(Answer):
    """A page of a stream; it begins later than asked for where that part is gone."""

    MOST_BYTES = PAGE_BYTES
    size: int = field(whole())
    """Of the whole stream, bytes."""
    offset: Optional[int] = field(whole(), None)


@message
class Read(Request[ReadAnswer]):
    """A page of a stream from an offset."""

    METHOD = "read"
    ANSWER = ReadAnswer
    job: str = field(_JOB)
    attempt: int = field(_ATTEMPT)
    stream: str = field(_STREAM)
    offset: int = field(whole())
    limit: int = field(whole(1), PAGE_BYTES)


@message
class StreamSizesAnswer(Answer):
    """Streams with their sizes: job, attempt, name, bytes."""

    streams: List[Tuple[str, int, str, int]] = field(_SIZES)
    more: bool = field(flag, False)


@message
class StreamSizes(Request[StreamSizesAnswer]):
    """The sizes of the streams of jobs that run now, behind one in their order."""

    METHOD = "stream_sizes"
    ANSWER = StreamSizesAnswer
    after: Optional[Tuple[str, int, str]] = field(optional(row(_JOB, _ATTEMPT, _STREAM)), None)


@message
class Acknowledge(Request[Done]):
    """A client has everything of these ended jobs."""

    METHOD = "acknowledge"
    ANSWER = Done
    client: str = field(text(64))
    jobs: List[str] = field(listing(_JOB, MOST_JOBS))


@message
class Received(Request[Done]):
    """The files of a fetch have arrived."""

    METHOD = "received"
    ANSWER = Done
    job: str = field(_JOB)
    receipt: str = field(text(32))


# --- submitting ---------------------------------------------------------------------------------------------------


@message
class MissingAnswer(Answer):
    """Which objects have to be sent."""

    missing: List[str] = field(listing(_OID, MOST_OIDS))
    base_known: bool = field(flag, True)
    disk_free: Optional[int] = field(whole(), None)
    """Bytes."""


@message
class Missing(Request[MissingAnswer]):
    """Which objects of a snapshot have to be sent."""

    METHOD = "missing"
    ANSWER = MissingAnswer
    snapshot: str = field(_OID)
    oids: List[str] = field(listing(_OID, MOST_OIDS))
    base: Optional[str] = field(optional(text(40)), None)
    """A tree that the host may have: then only objects beyond it are asked about."""


@message
class PutAnswer(Answer):
    """How many of the objects were new."""

    new: int = field(whole(), 0)


@message
class Put(Request[PutAnswer]):
    """Take in a small pack, which comes with the request."""

    METHOD = "put"
    ANSWER = PutAnswer


@message
class Submit(Request[JobAnswer]):
    """Accept a job; answered when it is durable."""

    METHOD = "submit"
    ANSWER = JobAnswer
    spec: JsonTable = field(any_table)
    private: Optional[JsonTable] = field(optional(json_table(MOST_SPEC_BYTES)), None)
    """Secrets and the like, which no journal has."""
    protocol: int = field(whole(0, 10_000), VERSION)
    version: str = field(text(100), "of an older version")
    """Of the client."""


@message
class SubmitManyAnswer(Answer):
    """The accepted jobs: id, sequence, when they were queued, rank."""

    jobs: List[Tuple[str, int, float, float]] = field(
        listing(row(_JOB, whole(), moment, number(-1e18, 1e18)), 1_000_000)
    )


@message
class SubmitMany(Request[SubmitManyAnswer]):
    """Accept jobs, all or none; answered when they are durable."""

    METHOD = "submit_many"
    ANSWER = SubmitManyAnswer
    base: JsonTable = field(any_table)
    """What their specifications share."""
    specs: List[JsonTable] = field(listing(any_table, 1_000_000))
    """What each adds."""
    private: Optional[JsonTable] = field(optional(json_table(MOST_SPEC_BYTES)), None)
    """Secrets and the like, which no journal has."""
    protocol: int = field(whole(0, 10_000), VERSION)
    version: str = field(text(100), "of an older version")
    """Of the client."""


# --- what is done with jobs ---------------------------------------------------------------------------------------


@message
class Stop(Request[JobAnswer]):
    """End a job."""

    METHOD = "stop"
    ANSWER = JobAnswer
    job: str = field(_JOB)
    by: str = field(_NAME)
    """Who asks."""
    grace: Optional[float] = field(optional(number(0, LONGEST_GRACE)), None)
    """Seconds between its stop signal and KILL; None for the job's own."""


@message
class Resume(Request[JobAnswer]):
    """Let a job start that is held because something of it may have been lost."""

    METHOD = "resume"
    ANSWER = JobAnswer
    job: str = field(_JOB)


@message
class Move(Request[JobAnswer]):
    """Give a waiting job another place in the queue, or another priority."""

    METHOD = "move"
    ANSWER = JobAnswer
    job: str = field(_JOB)
    where: str = field(one_of("", "first", "last", "before", "after"), "")
    other: Optional[str] = field(optional(text(64)), None)
    priority: Optional[int] = field(optional(whole(-(2**31), 2**31 - 1)), None)


@message
class Delete(Request[Done]):
    """Forget an ended job and its files."""

    METHOD = "delete"
    ANSWER = Done
    job: str = field(_JOB)
    client: str = field(text(64), "")
    files: bool = field(flag, False)
    force: bool = field(flag, False)


@message
class PruneAnswer(Answer):
    """Which folders went, and which stay."""

    pruned: List[str] = field(sieve(_JOB, MOST_JOBS))
    kept: Dict[str, str] = field(sifted_table(_WORDS, MOST_JOBS, _JOB))
    """Why, in words, by job."""
    not_fetched_by: Dict[str, List[str]] = field(sifted_table(sieve(text(64), 1000), MOST_JOBS, _JOB))
    """Clients that have not everything of a pruned job, by job."""


@message
class Prune(Request[PruneAnswer]):
    """Remove the folders of ended jobs."""

    METHOD = "prune"
    ANSWER = PruneAnswer
    jobs: List[str] = field(listing(_JOB, MOST_JOBS))
    force: bool = field(flag, False)
    preview: bool = field(flag, False)
    """Only say what would go."""


@message
class BuiltEnvironment(Message):
    """An environment of a host."""

    hash: str = field(text(64, HASH, "a SHA-256 digest"))
    source: str = field(_WORDS, "")
    """Where it was found, in words."""
    python: str = field(text(100), "")
    packages: int = field(whole(), 0)
    """How many it has."""
    bytes: int = field(whole(), 0)
    built_at: float = field(moment, 0.0)
    used_at: float = field(moment, 0.0)
    """When a job last began in it."""
    in_use: int = field(whole(), 0)
    """How many jobs run in it or wait for it."""
    going: bool = field(flag, False)
    """Whether it went, or would."""


@message
class EnvironmentsAnswer(Answer):
    """The environments that were there."""

    environments: List[BuiltEnvironment] = field(sieve(nested(BuiltEnvironment), MOST_JOBS))


@message
class Environments(Request[EnvironmentsAnswer]):
    """List environments, and remove those that no job has used for long and none needs now."""

    METHOD = "environments"
    ANSWER = EnvironmentsAnswer
    unused_for: Optional[float] = field(_COUNT, None)
    """Seconds; None removes none."""
    preview: bool = field(flag, False)
    """Only say what would go."""


@message
class HostedData(Message):
    """A data set of a host."""

    name: str = field(_NAME)
    hash: str = field(text(64, HASH, "a SHA-256 digest"))
    path: str = field(_PATH, "")
    """Where jobs find it; "" while it is not there whole."""
    files: int = field(whole(), 0)
    bytes: int = field(whole(), 0)
    put_at: float = field(moment, 0.0)
    in_use: int = field(whole(), 0)
    """How many jobs run with it or wait."""


@message
class DataSetsAnswer(Answer):
    """The data sets of a host."""

    sets: List[HostedData] = field(sieve(nested(HostedData), MOST_JOBS))


@message
class DataSets(Request[DataSetsAnswer]):
    """List the data sets of a host, or remove one that no job uses."""

    METHOD = "data_sets"
    ANSWER = DataSetsAnswer
    remove: str = field(_NAME, "")
    """A name; "" for none."""


@message
class AnnotateAnswer(Answer):
    """Jobs that this host does not have."""

    unknown: List[str] = field(sieve(_JOB, MOST_JOBS), [])


@message
class Annotate(Request[AnnotateAnswer]):
    """Take note of what people say of jobs."""

    METHOD = "annotate"
    ANSWER = AnnotateAnswer
    jobs: Dict[str, JsonTable] = field(table(any_table, MOST_JOBS, _JOB))
    """By job: key -> [value, when]."""


@message
class PauseAnswer(Answer):
    """The groups that are paused now."""

    paused: List[str] = field(sieve(_NAME, 10_000), [])


@message
class Pause(Request[PauseAnswer]):
    """Start no job of a group any more, or again; without a group, of the whole host."""

    METHOD = "pause"
    ANSWER = PauseAnswer
    paused: bool = field(flag)
    group: str = field(_NAME, "")


@message
class QueueAnswer(Answer):
    """Waiting jobs in their order: id, priority, why it waits, when it is expected to start."""

    jobs: List[Tuple[str, int, str, Optional[float]]] = field(
        sieve(row(_JOB, whole(-(2**31), 2**31), _WORDS, optional(moment)), MOST_JOBS)
    )
    more: int = field(whole())
    paused: List[str] = field(sieve(_NAME, 10_000))


@message
class Queue(Request[QueueAnswer]):
    """The waiting jobs, from a place on."""

    METHOD = "queue"
    ANSWER = QueueAnswer
    offset: int = field(whole(), 0)


@message
class FolderEntry(Message):
    """A name in a folder."""

    name: str = field(_PATH)
    kind: str = field(one_of("file", "folder", "link"))
    size: int = field(whole())
    """Bytes."""
    modified_at: float = field(moment)


@message
class ListFolderAnswer(Answer):
    """What lies in a folder, or the one file that was asked for."""

    entries: List[FolderEntry] = field(sieve(nested(FolderEntry), MOST_JOBS))
    truncated: bool = field(flag, False)
    """Whether further ones follow."""


@message
class ListFolder(Request[ListFolderAnswer]):
    """What lies in a folder of a job."""

    METHOD = "list"
    ANSWER = ListFolderAnswer
    job: str = field(_JOB)
    attempt: int = field(_ATTEMPT, 0)
    path: str = field(_PATH, "")
    offset: int = field(whole(), 0)


# --- services -----------------------------------------------------------------------------------------------------


@message
class ServiceAnswer(Answer):
    """A service after a request."""

    service: ServiceView = field(nested(ServiceView))
    changed: bool = field(flag, True)
    """Whether it was not so before."""


@message
class Serve(Request[ServiceAnswer]):
    """Have a service of this name: a new one, or what it is to be from now on. What is so already stays as it is."""

    METHOD = "serve"
    ANSWER = ServiceAnswer
    name: str = field(service_name)
    spec: JsonTable = field(any_table)
    """Of its replicas, as ``JobSpec`` has it; the id is made for each."""
    probes: Probes = field(nested(Probes))
    by: str = field(_NAME)
    replicas: Optional[int] = field(optional(whole(1, MOST_REPLICAS)), None)
    """None for as many as there are; 1 of a new one, or of one that was stopped."""
    private: Optional[JsonTable] = field(optional(json_table(MOST_SPEC_BYTES)), None)
    in_place: bool = field(flag, False)
    """End what runs before the new revision begins."""
    protocol: int = field(whole(0, 10_000), VERSION)
    version: str = field(text(100), "")
    """Of the client."""
    token: str = field(text(200, _SERVICE_TOKEN, "a token"), "")
    """What its replicas ask of who calls them; "" for what they ask already, or the host makes up."""


@message
class ChangeService(Request[ServiceAnswer]):
    """Have more or fewer replicas, none, or an earlier revision."""

    METHOD = "change_service"
    ANSWER = ServiceAnswer
    name: str = field(service_name)
    by: str = field(_NAME)
    replicas: Optional[int] = field(optional(whole(0, MOST_REPLICAS)), None)
    revision: Optional[int] = field(optional(whole(1)), None)


@message
class RestartService(Request[ServiceAnswer]):
    """Begin a service again: all replicas at once, as their next attempts, or one by one, as its next revision."""

    METHOD = "restart_service"
    ANSWER = ServiceAnswer
    name: str = field(service_name)
    by: str = field(_NAME)
    one_by_one: bool = field(flag, False)


@message
class ForgetService(Request[Done]):
    """Forget a service of which nothing is wanted any more."""

    METHOD = "forget_service"
    ANSWER = Done
    name: str = field(service_name)


@message
class ServicesAnswer(Answer):
    """Services from a name on; the page closes at 64 kB."""

    version: int = field(whole())
    """Goes up when anything of it changes."""
    services: List[ServiceView] = field(sieve(nested(ServiceView), MOST_SERVICES))
    more: bool = field(flag, False)


@message
class Services(Request[ServicesAnswer]):
    """The services of the host, behind a name in their order."""

    METHOD = "services"
    ANSWER = ServicesAnswer
    after: str = field(text(63), "")


@message
class ServiceTokenAnswer(Answer):
    """What the replicas of a service ask for."""

    token: str = field(text(1000, _TOKEN, "a token"))


@message
class ServiceToken(Request[ServiceTokenAnswer]):
    """The token of a service: who can ask its host for it may call it."""

    METHOD = "service_token"
    ANSWER = ServiceTokenAnswer
    name: str = field(service_name)


@message
class ServicePeopleAnswer(Answer):
    """Who has a token of their own."""

    people: List[str] = field(sieve(_NAME, MOST_PEOPLE))
    token: str = field(text(1000), "")
    """Of who was added: it is told this once, and kept as a hash."""


@message
class ServicePeople(Request[ServicePeopleAnswer]):
    """Give a person a token for a service, or take it away: a front lets them pass."""

    METHOD = "service_people"
    ANSWER = ServicePeopleAnswer
    name: str = field(service_name)
    add: str = field(text(100, _PERSON_OR_NONE, "a person's name"), "")
    revoke: str = field(text(100, _PERSON_OR_NONE, "a person's name"), "")


@message
class ListenersAnswer(Answer):
    """Where the processes of a job listen: address and port."""

    listeners: List[Tuple[str, int]] = field(sieve(row(text(100), whole(0, 65535)), 10_000))


@message
class Listeners(Request[ListenersAnswer]):
    """Where the processes of a running job listen."""

    METHOD = "listeners"
    ANSWER = ListenersAnswer
    job: str = field(_JOB)


# --- schedules ----------------------------------------------------------------------------------------------------


@message
class ScheduleAnswer(Answer):
    """A schedule after a request."""

    schedule: ScheduleView = field(nested(ScheduleView))


@message
class AddSchedule(Request[ScheduleAnswer]):
    """Have a schedule, a new one or instead of the one of its name."""

    METHOD = "add_schedule"
    ANSWER = ScheduleAnswer
    schedule: Schedule = field(nested(Schedule))
    private: Optional[JsonTable] = field(optional(json_table(MOST_SPEC_BYTES)), None)
    protocol: int = field(whole(0, 10_000), VERSION)
    version: str = field(text(100), "")
    """Of the client."""


@message
class ChangeSchedule(Request[ScheduleAnswer]):
    """Pause a schedule, have it go on, run its job now, or remove it."""

    METHOD = "change_schedule"
    ANSWER = ScheduleAnswer
    name: str = field(schedule_name)
    action: str = field(one_of("pause", "resume", "run", "remove"))
    job: str = field(text(64, _JOB_OR_NONE, "a job's id"), "")
    """Of the job that is run now, made by the client: asked again, it is the same one."""


@message
class SchedulesAnswer(Answer):
    """The schedules of a host."""

    version: int = field(whole())
    schedules: List[ScheduleView] = field(sieve(nested(ScheduleView), MOST_SCHEDULES))


@message
class Schedules(Request[SchedulesAnswer]):
    """The schedules of the host."""

    METHOD = "schedules"
    ANSWER = SchedulesAnswer


# --- models -------------------------------------------------------------------------------------------------------


@message
class RegistryAnswer(Answer):
    """What happened to models, oldest first, each with its sequence number; the page closes at 64 kB."""

    journal: str = field(_NAME)
    seq: int = field(whole())
    """The sequence number that a reader who took it has reached."""
    events: List[Tuple[int, RegistryEvent]] = field(sieve(row(whole(), nested(RegistryEvent)), MOST_JOBS))
    more: bool = field(flag, False)

    def to_wire(self) -> JsonTable:
        told = [[seq, event.to_wire()] for seq, event in self.events]
        return {"journal": self.journal, "seq": self.seq, "events": told, "more": self.more}


@message
class Registry(Request[RegistryAnswer]):
    """What happened to models behind a sequence number."""

    METHOD = "registry"
    ANSWER = RegistryAnswer
    after: int = field(whole(), 0)
    journal: str = field(_NAME, "")
    """The journal that the number is of; another one begins at 0."""


@message
class RegistryChange(Answer):
    """What was decided of a model."""

    event: RegistryEvent = field(nested(RegistryEvent))
    changed: bool = field(flag, True)
    """Whether it was not so before."""


@message
class RegisterVersion(Request[RegistryChange]):
    """Register a version; its number is that of the answer."""

    METHOD = "register_version"
    ANSWER = RegistryChange
    model: str = field(model_name)
    version: Version = field(nested(Version))
    by: str = field(_NAME)


@message
class SetAlias(Request[RegistryChange]):
    """Have an alias mean another version, if it still means what the caller believes."""

    METHOD = "set_alias"
    ANSWER = RegistryChange
    model: str = field(model_name)
    alias: str = field(alias_name)
    number: int = field(whole(0, 1 << 40))
    """0 removes the alias."""
    expected: int = field(whole(0, 1 << 40))
    """What it means so far, as the caller believes; 0 for nothing."""
    by: str = field(_NAME)


@message
class RetireVersion(Request[RegistryChange]):
    """Have a version not be used any more, or be used again."""

    METHOD = "retire_version"
    ANSWER = RegistryChange
    model: str = field(model_name)
    number: int = field(whole(1, 1 << 40))
    by: str = field(_NAME)
    undo: bool = field(flag, False)


@message
class MoveModel(Request[RegistryChange]):
    """Have another host be a model's home, or this one."""

    METHOD = "move_model"
    ANSWER = RegistryChange
    model: str = field(model_name)
    to: str = field(_NAME)
    """Its name, in the words of who moves it; "" for this host."""
    by: str = field(_NAME)


@message
class AdoptRegistryAnswer(Answer):
    """What came of events that a client holds; those that were known count as neither."""

    adopted: int = field(whole())
    refused: int = field(whole(), 0)
    """Those that cannot have happened here."""


@message
class AdoptRegistry(Request[AdoptRegistryAnswer]):
    """Take in what happened to models, as a client holds it; what is known here already changes nothing."""

    METHOD = "adopt_registry"
    ANSWER = AdoptRegistryAnswer
    events: List[RegistryEvent] = field(listing(nested(RegistryEvent), MOST_JOBS))


@message
class Pin(Request[Done]):
    """Keep a job, because a version consists of it; or let it go."""

    METHOD = "pin"
    ANSWER = Done
    job: str = field(_JOB)
    key: str = field(text(64, HASH, "a version's identity"))
    words: str = field(_NAME)
    """What the version is called; "" lets the job go."""
    data: str = field(text(64), "")
    """Hash of its files."""


REQUESTS: Dict[str, Type[Request[Any]]] = {
    kind.METHOD: kind
    for kind in (
        *(Hello, Samples, Shutdown, ReleaseQuarantine, Claims),
        *(Changes, Entry, Waits, Watch, Read, StreamSizes, Acknowledge, Received),
        *(Missing, Put, Submit, SubmitMany),
        *(Stop, Resume, Move, Delete, Prune, Annotate, Pause, Queue, ListFolder, Environments, DataSets),
        *(Serve, ChangeService, RestartService, ForgetService, Services, ServiceToken, ServicePeople, Listeners),
        *(AddSchedule, ChangeSchedule, Schedules),
        *(Registry, RegisterVersion, SetAlias, RetireVersion, MoveModel, AdoptRegistry, Pin),
    )
}
"""Each request by its name on the wire."""


REFUSAL: Check = record({"code": text(100), "message": text(PAGE_BYTES)}, ["code", "message"])
"""Why a request was refused."""


def request_from_wire(method: str, params: Any) -> Request[Any]:
    """Return a request that came in.

    Raises:
        BadRequest: it makes no sense; the words name the field.
    """
    return REQUESTS[method].from_wire({} if params is None else params)


def answer_from_wire(kind: Type[A], value: Any, blob: bytes = b"") -> A:
    """Return an answer that came in.

    Raises:
        BadRequest: it makes no sense; the words name the field.
    """
    if len(blob) > kind.MOST_BYTES:
        raise BadRequest(f"{len(blob):,} bytes came with it; at most {kind.MOST_BYTES:,} were asked for")
    return kind.from_wire(value)
