"""What is done with registered models: promote, go back, retire, move, look at; nothing here prints or asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

from foundations_tui.config.hosts import owner_name
from foundations_tui.errors import FoundationsError, HostUnreachable, NotFoundError, UsageError
from foundations_tui.services.models import files
from foundations_tui.session import Session
from foundations_tui.store import models as rows, queries, services
from foundations_tui.store.models import Meant, ModelRow
from foundations_tui.store.rows import JobRow
from foundations_tui.store.services import ServiceRow
from foundations_tui.submit.progress import SILENT
from foundations_tui.sync import pull
from remote_agent.protocol import messages, models
from remote_agent.protocol.models import Registered, RegistryEvent
from remote_agent.protocol.wire import JsonTable


@dataclass(frozen=True)
class Promoted:
    """An alias that means another version now."""

    row: ModelRow
    alias: str
    number: int
    """0 where it means none any more."""
    before: int
    changed: bool
    left_behind: tuple[ServiceRow, ...] = ()
    """Services that run another version, though they were served by this alias."""


@dataclass(frozen=True)
class Lineage:
    """Where a version comes from, and who uses it."""

    job: JobRow | None
    """None where the store does not know it any more."""
    parents: tuple[str, ...] = ()
    """Ids of the jobs whose code or artifacts it used."""
    services: tuple[ServiceRow, ...] = ()
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class VersionDiff:
    """What differs between two versions."""

    fields: dict[str, tuple[object, object]] = field(default_factory=dict)
    params: dict[str, tuple[object, object]] = field(default_factory=dict)
    metrics: dict[str, tuple[object, object]] = field(default_factory=dict)
    """Last values."""


def listing(session: Session) -> tuple[list[ModelRow], dict[str, FoundationsError]]:
    """Return the models of all hosts, and what went wrong with those that could not be asked."""
    errors = pull.catch_up_all(session, list(session.hosts.hosts), streams=False)
    return rows.models_of(session.store.conn), errors


def fresh(session: Session, name: str) -> ModelRow:
    """Return a model as its home knows it now; as of the last contact, which is said, when that is out of reach.

    Raises:
        NotFoundError: there is none. UsageError: it has two homes.
    """
    try:
        row = rows.model(session.store.conn, name)
    except NotFoundError:  # another client may have registered it
        pull.catch_up_all(session, list(session.hosts.hosts), streams=False)
        return rows.model(session.store.conn, name)
    try:
        pull.catch_up(session, row.host, streams=False)
    except HostUnreachable as error:
        session.say(f"warning: {error}; this is as of the last contact")
    return rows.model(session.store.conn, name)


def meant(session: Session, reference: str) -> Meant:
    """Return the version that NAME, NAME@ALIAS or NAME@7 means now.

    Raises:
        NotFoundError: there is none. UsageError: it was retired.
    """
    fresh(session, models.parse(reference)[0])
    return rows.meant(session.store.conn, reference)


def promote(session: Session, name: str, number: int, alias: str, expected: int | None = None) -> Promoted:
    """Have an alias mean a version, if it still means what is known here.

    Args:
        session: the client's.
        name: of the model.
        number: of the version; 0 removes the alias.
        alias: which.
        expected: what it means so far; None for what this client knows.
    Raises:
        HostError: the model's home is out of reach. FoundationsError: somebody else was faster, or there is no such
            version. UsageError: that is no alias.
    """
    checked_alias(alias)
    row = fresh(session, name)
    before = row.model.aliases.get(alias, 0) if expected is None else expected
    by = owner_name(session.hosts)
    answer = session.ask(row.host, messages.SetAlias(name, alias, number, before, by))
    pull.catch_up(session, row.host, streams=False)
    row = rows.model(session.store.conn, name)
    left = [one for one in running(session, name) if one.view.alias == alias and one.view.version != number]
    return Promoted(row, alias, number, before, answer.changed, tuple(left))


def checked_alias(alias: str) -> str:
    """Return an alias.

    Raises:
        UsageError: it is none.
    """
    if not models.ALIAS.match(alias):
        raise UsageError(f"an alias is made of {models.ALIAS_RULE}; got {alias!r}")
    return alias


def rollback(session: Session, name: str, alias: str) -> Promoted:
    """Have an alias mean again what it meant before.

    Raises:
        UsageError: it never meant another version that still counts. HostError: the model's home is out of reach.
    """
    row = fresh(session, name)
    previous = row.model.previous(alias)
    if not previous:
        words = f"{alias} of {name} meant no other version before that still counts"
        hint = f"foundations model history {name} lists what it meant"
        if retired := row.model.earlier(alias):
            words += f": {', '.join(map(str, retired))} was retired"
            hint = f"foundations model retire {name} {retired[-1]} --undo"
        raise UsageError(words, hint)
    return promote(session, name, previous, alias, row.model.aliases.get(alias, 0))


def retire(session: Session, name: str, number: int, undo: bool = False) -> ModelRow:
    """Have a version not be used any more, so that its job may be deleted; or have it used again.

    Raises:
        FoundationsError: a service runs it, or an alias means it. HostError: the model's home is out of reach.
    """
    row = fresh(session, name)
    version = row.version(str(number))
    by = owner_name(session.hosts)
    used = [one.name for one in running(session, name) if one.view.version == number and one.view.replicas]
    if used and not undo:
        raise FoundationsError(
            f"version {number} of {name} is what service {', '.join(used)} runs", "serve another one first"
        )
    if undo:
        _keep_again(session, version)
        _pin(session, name, version, is_kept=True)  # first: its job may be gone
    session.ask(row.host, messages.RetireVersion(name, number, by, undo))
    if not undo:
        try:
            _pin(session, name, version, is_kept=False)
        except FoundationsError as error:
            session.say(f"warning: job {version.version.job[:6]}: {error}")
        files.let_go(session, version.version)
    pull.catch_up(session, row.host, streams=False)
    return rows.model(session.store.conn, name)


def _keep_again(session: Session, version: Registered) -> None:
    """Have the host of a version's job keep the version's files again.

    Raises:
        FoundationsError: the job was deleted, or its files are not what they were. HostError: its host is out of reach.
    """
    made = version.version
    job = queries.job(session.store.conn, made.job)
    if job.trashed_at is not None:
        raise FoundationsError(f"job {job.job[:6]} was deleted", f"foundations restore {job.job[:6]} brings it back")
    if not made.data or files.is_on_host(session, made, job.host):
        return
    kept = files.keep(session, job, made.path, SILENT)
    if kept.hash != made.data:
        raise FoundationsError(f"the files of job {job.job[:6]} are not those that were registered")


def _pin(session: Session, name: str, version: Registered, is_kept: bool) -> None:
    """Keep the job of a version, or let it go.

    Raises:
        NotFoundError: it is gone. HostError: its host is out of reach.
    """
    job = queries.job(session.store.conn, version.version.job)
    words = models.words_of(name, version.number) if is_kept else ""
    key = models.pin_key(name, version.version)
    session.ask(job.host, messages.Pin(job.job, key, words, version.version.data))


def move(session: Session, name: str, host: str) -> ModelRow:
    """Make a host the home of a model: it gets all that is known of it here; the other ones are told.

    Raises:
        NotFoundError: there is no such model, or host. HostError: the new home is out of reach.
    """
    session.hosts.host(host)
    by = owner_name(session.hosts)
    pull.catch_up_all(session, list(session.hosts.hosts), streams=False)
    if not rows.events_of(session.store.conn, name):
        raise NotFoundError(f"there is no model {name!r}", "foundations model list shows what there is")
    others = {row.host for row in rows.models_of(session.store.conn) if row.name == name} - {host}
    closed = [other for other in others if _close(session, name, other, host, by)]
    try:  # what was registered there meanwhile has come, too
        for page in rows.pages(_of_versions(rows.events_of(session.store.conn, name))):
            session.ask(host, messages.AdoptRegistry(page))
        session.ask(host, messages.MoveModel(name, "", by))
    except FoundationsError:
        for other in closed:
            session.ask(other, messages.MoveModel(name, "", by))
        raise
    pull.catch_up(session, host, streams=False)
    return rows.model(session.store.conn, name)


def _close(session: Session, name: str, home: str, to: str, by: str) -> bool:
    """Have a home take no further changes, and bring the last ones; one that is out of reach is said."""
    try:
        session.ask(home, messages.MoveModel(name, to, by))
        pull.catch_up(session, home, streams=False)
        return True
    except HostUnreachable as error:
        session.say(f"warning: {home} does not know yet that it is the home no more: {error}")
        return False


def _of_versions(events: Sequence[RegistryEvent]) -> list[RegistryEvent]:
    """Return what happened to versions and aliases, without where the model was at home."""
    return [event for event in events if event.kind != models.MOVED]


def running(session: Session, name: str) -> list[ServiceRow]:
    """Return the services that serve a version of a model, as far as it is known here."""
    return [row for row in services.services(session.store.conn) if row.view.model == name]


def lineage(session: Session, row: ModelRow, version: Registered) -> Lineage:
    """Return where a version comes from, and who uses it."""
    conn = session.store.conn
    try:
        job = queries.job(conn, version.version.job)
    except NotFoundError:
        job = None
    parents = [queries.lineage(conn, job.job).rerun_of, *map(str, job.uses.values())] if job is not None else []
    used = services.serving(services.services(conn), row.name, version.number)
    return Lineage(job, tuple(filter(None, parents)), used, tuple(row.aliases_of(version.number)))


def best_job(session: Session, word: str, project: str) -> JobRow:
    """Return the completed job that ``@best:METRIC:min`` means.

    Args:
        session: the client's.
        word: it; without ":min" or ":max" the way that the project names for the metric. "@best:METRIC:last:min" goes
            by the last value, not by the best one that was ever logged.
        project: where it is looked for; "" for everywhere.
    Raises:
        UsageError: nothing says which way is better. NotFoundError: no completed job has the metric.
    """
    key = word.removeprefix("@best:")
    key, _, way = key.rpartition(":") if key.endswith((":min", ":max")) else (key, "", "")
    key, is_last = (key.removesuffix(":last"), True) if key.endswith(":last") else (key, False)
    conn = session.store.conn
    way = way or queries.directions(conn, project).get(key, "")
    if not way:
        raise UsageError(
            f"nothing says whether a small or a large {key} is best", f"@best:{key}{':last' * is_last}:min, or :max"
        )
    which = queries.JobFilter(states=("completed",), project=project)
    descending = "desc" if way == "max" else "asc"
    for row in queries.jobs(conn, which, f"metric:{key}:{'last' if is_last else way}:{descending}", limit=1):
        if key in row.metrics:
            found = row.metrics[key]
            best = found.last if is_last else found.min if way == "min" else found.max
            told = f"its {'last' if is_last else way} {key} is {best:g}" if isinstance(best, int | float) else ""
            also = f", the last one {found.last:g}" if not is_last and isinstance(found.last, int | float) else ""
            session.say(f"{word} is job {row.job[:6]} ({row.label}): {told}{also}")
            return row
    where = f" of project {project}" if project else ""
    raise NotFoundError(f"no completed job{where} has the metric {key!r}")


def diff(one: Registered, other: Registered) -> VersionDiff:
    """Return what differs between two versions."""
    names = ("job", "snapshot", "path", "data", "environment", "flavour", "predict", "load", "command", "signature")
    pairs = {name: (getattr(one.version, name), getattr(other.version, name)) for name in names}
    return VersionDiff(
        {name: pair for name, pair in pairs.items() if pair[0] != pair[1]},
        _differing(one.version.params, other.version.params),
        _differing(_last(one), _last(other)),
    )


def _differing(one: JsonTable, other: JsonTable) -> dict[str, tuple[object, object]]:
    names = sorted({*one, *other})
    return {name: (one.get(name), other.get(name)) for name in names if one.get(name) != other.get(name)}


def _last(version: Registered) -> JsonTable:
    told = version.version.metrics
    return {key: value.get("last") if isinstance(value, dict) else value for key, value in told.items()}


def to_json(row: ModelRow) -> JsonTable:
    """Return a model as ``--json`` prints it."""
    return {
        "model": row.name,
        "home": row.host,
        "aliases": row.model.aliases,
        "data_as_of": row.heard_at,
        "unreachable_since": row.unreachable_since,
        "versions": [version_json(row, version) for _, version in sorted(row.model.versions.items())],
    }


def version_json(row: ModelRow, version: Registered) -> JsonTable:
    """Return a version as ``--json`` prints it."""
    return {
        "model": row.name,
        "version": version.number,
        "aliases": row.aliases_of(version.number),
        "registered_by": version.by,
        "registered_at": version.at,
        "retired_by": version.retired_by or None,
        "retired_at": version.retired_at or None,
        "identity": version.version.identity,
        **{one.name: getattr(version.version, one.name) for one in fields(version.version)},
        "batch": version.version.batch.to_wire(),
        "log": version.version.log.to_wire(),
    }
