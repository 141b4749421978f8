"""Models: versions that never change, and aliases for them, as events of a name's home host. Pure.

A version is what a job has made: files, code, environment, and how it answers. The registry of a host is the fold of
its events, here as on every client that has brought them; the same event again changes nothing, so that clients give a
host that was reinstalled what they hold.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field as attribute
from typing import Dict, Iterable, List, Optional, Tuple

from remote_agent.protocol.checks import flag, json_table, listing, moment, number, one_of, optional, table, text, whole
from remote_agent.protocol.facts import HASH
from remote_agent.protocol.names import ENV_NAME, JOB_ID
from remote_agent.protocol.services import NAME, NAME_RULE
from remote_agent.protocol.wire import CompactMessage, JsonTable, Message, field, message, nested

FUNCTION, JOBLIB, PICKLE, TORCH, ONNX, COMMAND = "function", "joblib", "pickle", "torch", "onnx", "command"
FLAVOURS = (FUNCTION, JOBLIB, PICKLE, TORCH, ONNX, COMMAND)
PROGRAMS = (JOBLIB, PICKLE)
"""Flavours whose files are programs: reading them runs them."""
MOST_VERSIONS = 10_000
"""Of one model."""
MOST_MODELS = 1000
"""Of one host."""
MOST_VERSION_BYTES = 40_000
"""A version, as JSON: a page of events has to have room for it."""
CHAMPION = "champion"
"""The alias that is meant where none is named."""
CHECK = "check"
"""The kind of a job that runs a version's example."""
DATA = "model"
"""The name by which a job is given a version's files, as data."""
ALIAS = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?\Z")
ALIAS_RULE = "lowercase letters, digits and -, and a letter first (at most 63)"
REGISTERED, ALIASED, RETIRED, RESTORED, MOVED = "registered", "alias", "retired", "restored", "moved"
_HASH_OR_NONE = re.compile(r"([0-9a-f]{64})?\Z")
_ALIAS_OR_NONE = re.compile(r"(" + ALIAS.pattern[:-2] + r")?\Z")
_NUMBER = re.compile(r"[1-9][0-9]{0,11}\Z")
_TREE = re.compile(r"[0-9a-f]{40}\Z")
_DOTTED = r"[^\W\d]\w*(\.[^\W\d]\w*)*"
_REFERENCE = text(1000, re.compile(rf"({_DOTTED}:{_DOTTED})?\Z"), "module:function")
_INSIDE = re.compile(r"(?!/)(?!(?:.*/)?\.\.(?:/|\Z)).*\Z", re.DOTALL)
_HTTP_PATH = re.compile(r"(/[!-~]*)?\Z")
_NAME = text(1000)
_PATH = text(4096, as_bytes=True)
_DIGEST = text(64, _HASH_OR_NONE, "a SHA-256 digest")
model_name = text(63, NAME, f"a model's name: {NAME_RULE}")
alias_name = text(63, ALIAS, f"an alias: {ALIAS_RULE}")


@message
class Batching(CompactMessage):
    """Which requests are computed together."""

    max_size: int = field(whole(0, 100_000), 0)
    """Requests at most; 0 for each one alone."""
    max_wait_ms: float = field(number(0, 60_000), 5.0)


@message
class RequestLogging(CompactMessage):
    """What a server writes down of requests."""

    sample: float = field(number(0, 1), 0.0)
    """The share of them; 0 for none."""
    limit: int = field(whole(1 << 20, 1 << 40), 16 << 20)
    """Bytes on the host, of each attempt."""
    redact: List[str] = field(listing(_NAME, 1000), [])
    """Names of values that are left out."""
    text: bool = field(flag, False)
    """Whether texts are kept, not only their lengths."""


@message
class Version(CompactMessage):
    """What a job has made, and how it answers. It never changes."""

    job: str = field(text(64, JOB_ID, "a job's id"))
    attempt: int = field(whole(0, 1_000_000), 0)
    project: str = field(_NAME, "")
    owner: str = field(_NAME, "")
    """Of the job: whose program a pickle is."""
    snapshot: str = field(text(40, _TREE, "a snapshot's id"), "0" * 40)
    subdir: str = field(text(4096, _INSIDE, "a folder of the snapshot", as_bytes=True), "")
    path: str = field(_PATH, "")
    """Of its files, in the job: "artifacts/model"; "" for code alone."""
    data: str = field(_DIGEST, "")
    """Hash of those files, as of a data set."""
    files: int = field(whole(), 0)
    bytes: int = field(whole(), 0)
    environment: str = field(_DIGEST, "")
    """Hash of the job's recipe; "" for the host's own Python."""
    lock: str = field(_DIGEST, "")
    flavour: str = field(one_of(*FLAVOURS), FUNCTION)
    load: str = field(_REFERENCE, "")
    predict: str = field(_REFERENCE, "")
    evaluate: str = field(_REFERENCE, "")
    recalibrate: str = field(_REFERENCE, "")
    command: List[str] = field(listing(text(131_071, as_bytes=True), 10_000), [])
    """What answers by itself, for that flavour; ``{path}`` in it are its files."""
    ready: str = field(text(2000, _HTTP_PATH, "an HTTP path that begins with /"), "")
    example: Optional[JsonTable] = field(optional(json_table(16_384)), None)
    """Inputs by name."""
    example_file: str = field(_PATH, "")
    """Where a larger one lies in the code."""
    signature: JsonTable = field(json_table(16_384), {})
    batch: Batching = field(nested(Batching), Batching())
    deadline: float = field(number(0.01, 86_400), 60.0)
    """Seconds that an answer may take."""
    queue: int = field(whole(1, 1_000_000), 64)
    """Requests that may wait."""
    max_body: int = field(whole(1), 64 << 20)
    """Bytes of a request."""
    log: RequestLogging = field(nested(RequestLogging), RequestLogging())
    params: JsonTable = field(json_table(MOST_VERSION_BYTES), {})
    """Of the job, as they were."""
    metrics: JsonTable = field(json_table(MOST_VERSION_BYTES), {})
    """Last values by key, as they were."""
    data_sets: Dict[str, str] = field(table(text(100), 1000, text(1000, ENV_NAME, "a name of data")), {})
    """Hashes of the data that the job had, by name."""
    git: JsonTable = field(json_table(8192), {})
    note: str = field(text(2000), "")

    @property
    def identity(self) -> str:
        """Return a hash of all of it: the same version registered twice is one."""
        canonical = json.dumps(self.to_wire(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


@message
class RegistryEvent(CompactMessage):
    """Something that happened to a model."""

    kind: str = field(one_of(REGISTERED, ALIASED, RETIRED, RESTORED, MOVED))
    model: str = field(model_name)
    number: int = field(whole(0, 1 << 40), 0)
    """Of the version; of an alias 0 for none any more."""
    version: Optional[Version] = field(optional(nested(Version)), None)
    """What was registered."""
    of: str = field(_DIGEST, "")
    """Identity of the version that it is about: another home may have given it another number."""
    alias: str = field(text(63, _ALIAS_OR_NONE, f"an alias: {ALIAS_RULE}"), "")
    to: str = field(_NAME, "")
    """The host that is the model's home now, in the words of who moved it; "" for this one again."""
    by: str = field(_NAME, "")
    at: float = field(moment, 0.0)
    """Seconds since the epoch."""

    @property
    def identity(self) -> str:
        """Return a hash of all of it but the number, which each home gives."""
        told = {**self.to_wire(), "number": 0}
        canonical = json.dumps(told, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass
class Registered:
    """A version with its number."""

    number: int
    version: Version
    by: str
    at: float
    retired_by: str = ""
    """Who has retired it; "" while it counts."""
    retired_at: float = 0.0

    @property
    def is_retired(self) -> bool:
        """Whether it is not to be used any more."""
        return self.retired_at > 0


@dataclass
class AliasMove:
    """An alias has come to mean another version."""

    alias: str
    number: int
    """0 for none any more."""
    before: int
    by: str
    at: float


@dataclass
class Model:
    """A model: its versions, and what its aliases mean and have meant."""

    name: str
    versions: Dict[int, Registered] = attribute(default_factory=dict)
    aliases: Dict[str, int] = attribute(default_factory=dict)
    history: List[AliasMove] = attribute(default_factory=list)
    """Oldest first."""
    moved_to: str = ""
    """Where its home is now; "" for here."""
    home_since: float = 0.0
    """When somebody made this host its home; 0 where it was so from the beginning."""
    numbers: Dict[str, int] = attribute(default_factory=dict)
    """Of versions, by their identities."""

    def by_identity(self, identity: str) -> Optional[Registered]:
        """Return the version with an identity; None for none."""
        return self.versions.get(self.numbers.get(identity, 0))

    def previous(self, alias: str) -> int:
        """Return what an alias meant before, other than what it means now; 0 for nothing that still counts."""
        usable = [one for one in self.earlier(alias) if one in self.versions and not self.versions[one].is_retired]
        return usable[-1] if usable else 0

    def earlier(self, alias: str) -> List[int]:
        """Return what an alias meant before what it means now, oldest first, whether it still counts or not.

        Going back goes on going back: what was left by that is not returned to.
        """
        now = self.aliases.get(alias, 0)
        path: List[int] = []
        for move in self.history:
            if move.alias != alias or not move.number:
                continue
            if move.number in path:
                del path[path.index(move.number) + 1 :]
            else:
                path.append(move.number)
        return path[: path.index(now)] if now in path else path


def apply(models: Dict[str, Model], event: RegistryEvent) -> None:
    """Fold one event into a registry."""
    model = models.setdefault(event.model, Model(event.model))
    _FOLDS[event.kind](model, event)


def fold(events: Iterable[RegistryEvent]) -> Dict[str, Model]:
    """Return the registry that events make."""
    models: Dict[str, Model] = {}
    for event in events:
        apply(models, event)
    return models


def _registered(model: Model, event: RegistryEvent) -> None:
    if event.version is not None:
        model.versions.setdefault(event.number, Registered(event.number, event.version, event.by, event.at))
        model.numbers.setdefault(event.version.identity, event.number)


def _aliased(model: Model, event: RegistryEvent) -> None:
    move = AliasMove(event.alias, event.number, model.aliases.get(event.alias, 0), event.by, event.at)
    later = [one for one in model.history if one.alias == event.alias and one.at > event.at]
    model.history.append(move)
    if later:  # an event of another client arrives late: what came after it stands
        model.history.sort(key=lambda one: one.at)
        return
    if event.number:
        model.aliases[event.alias] = event.number
    else:
        model.aliases.pop(event.alias, None)


def _retired(model: Model, event: RegistryEvent) -> None:
    one = model.versions.get(event.number)
    if one is not None:
        one.retired_by, one.retired_at = event.by, event.at


def _restored(model: Model, event: RegistryEvent) -> None:
    one = model.versions.get(event.number)
    if one is not None and event.at >= one.retired_at:
        one.retired_by, one.retired_at = "", 0.0


def _moved(model: Model, event: RegistryEvent) -> None:
    model.moved_to = event.to
    model.home_since = 0.0 if event.to else event.at


_FOLDS = {REGISTERED: _registered, ALIASED: _aliased, RETIRED: _retired, RESTORED: _restored, MOVED: _moved}


def pin_key(model: str, version: Version) -> str:
    """Return the name of the pin by which a version of a model keeps its job."""
    return hashlib.sha256(f"{model}\0{version.identity}".encode()).hexdigest()


def words_of(model: str, number: int) -> str:
    """Return what a version is called."""
    return f"{model} {number}" if number else model


@message
class KeptFiles(Message):
    """What a host says of a job's files that it has kept as a data set: the role ``keep-data``."""

    hash: str = field(text(64, HASH, "a SHA-256 digest"))
    path: str = field(_PATH)
    """Where they are on that host."""
    files: int = field(whole())
    bytes: int = field(whole())


@message
class FilesToKeep(Message):
    """Which files of a job are to be kept as a data set."""

    job: str = field(text(64, JOB_ID, "a job's id"))
    attempt: int = field(whole(0, 1_000_000))
    path: str = field(_PATH)
    """In the job: "artifacts/NAME", or below its own folder."""


def is_number(which: str) -> bool:
    """Return whether NAME@WHICH means the number of a version, not an alias."""
    return _NUMBER.match(which) is not None


def parse(reference: str) -> Tuple[str, str]:
    """Return the model and the alias or number that NAME, NAME@ALIAS or NAME@7 means."""
    name, _, which = reference.partition("@")
    return name, which or CHAMPION
