"""What is done with services: serve, change, restart, stop; each returns what came of it and never prints or asks."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from foundations_tui import __version__
from foundations_tui.config.hosts import owner_name
from foundations_tui.errors import FoundationsError, HostUnreachable, UsageError
from foundations_tui.hosts.agent import Agent
from foundations_tui.jobs import on_hosts
from foundations_tui.jobs.ownership import Actor, actor_of
from foundations_tui.services import heard, ownership, state
from foundations_tui.services.asking import current
from foundations_tui.services.request import ServiceRequest
from foundations_tui.session import Session
from foundations_tui.snapshot.freeze import Snapshot
from foundations_tui.store import models, services as rows
from foundations_tui.store.services import ServiceRow
from foundations_tui.submit import pipeline
from foundations_tui.submit.progress import SILENT, Progress
from foundations_tui.submit.request import JobRequest
from foundations_tui.sync import pull
from remote_agent.protocol import messages
from remote_agent.protocol.services import KIND, PERSON, Replica, ServiceView, Serving
from remote_agent.protocol.wire import JsonTable

_LOOK_SECONDS = 0.5
"""Seconds between two looks at a service that is waited for."""


@dataclass(frozen=True)
class Served:
    """A service that its host has accepted."""

    host: str
    view: ServiceView
    changed: bool
    """Whether it was not so before."""
    missing: str
    """What keeps its agent from being started at boot, in words; "" for nothing."""


def serve(
    session: Session, request: ServiceRequest, progress: Progress = SILENT, frozen: Snapshot | None = None
) -> Served:
    """Have a service as it is asked for, on the working tree as it is now; what is so already stays as it is.

    Args:
        session: the client's.
        request: what to serve.
        progress: gets the progress.
        frozen: the working tree, when it has been taken already.
    Raises:
        FoundationsError: why not; then what ran before runs on.
    """
    parcel = pipeline.parcel_of(session, [request.job], progress, frozen)
    host = parcel.host
    known = _own(session, request.name, host)
    serving = _with_access(session, request, host)
    spread = serving.spread or (known.view.spread if known else "")
    if spread:
        serving = dataclasses.replace(serving, spread=spread)
        serving = dataclasses.replace(serving, rollout=rollout_of(request.job, serving, parcel.frozen.tree))
    spec = dataclasses.replace(parcel.specs[0], kind=KIND, service=serving.to_wire())
    wanted = messages.Serve(
        request.name,
        spec.to_wire(),
        request.probes,
        owner_name(session.hosts),
        request.replicas,
        parcel.private or None,
        request.in_place,
        version=__version__,
        token=request.token,
    )

    def send(agent: Agent) -> messages.ServiceAnswer:
        pipeline.ship(session, agent, parcel, progress)
        progress.stage(f"serving on {host}")
        return agent.call(wanted, timeout=120)

    answer = session.retrying(host, send)
    rows.put_service(session.store, host, answer.service)
    missing = on_hosts.start_at_boot(session, host) if answer.changed else ""
    return Served(host, answer.service, answer.changed, missing)


def rollout_of(job: JobRequest, serving: Serving, tree: str) -> str:
    """Return what is the same for what runs the same, on whatever host.

    Args:
        job: what replicas run.
        serving: of the service.
        tree: the snapshot of its code.
    """
    names = ("command", "shell", "params", "env", "gpus", "gpu_memory", "cpus", "ram", "secrets", "priority")
    told = {name: getattr(job, name) for name in names}
    own = {**serving.to_wire(), "revision": 0, "rollout": ""}
    canonical = json.dumps([told, own, tree], sort_keys=True, default=str)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _with_access(session: Session, request: ServiceRequest, host: str) -> Serving:
    """Return what the specification says of the service, with who may reach it.

    Raises:
        UsageError: anybody with an account on the host could call it, and nobody has asked for that. This machine is
            one's own.
    """
    if not state.is_open(request.job.command, request.serving):
        return request.serving
    if not request.serving.open_on_host and not session.hosts.host(host).is_local:
        raise UsageError(
            f"{request.name} would be open to all users of {host}: nothing says that it asks for a token",
            "--open-on-host allows that; --token-env NAME names the variable in which it looks for its token"
            " ($FOUNDATIONS_SERVICE_TOKEN has it, too); {socket} in its command is a Unix socket that is yours alone",
        )
    return dataclasses.replace(request.serving, open_on_host=True)


def _own(session: Session, name: str, host: str) -> ServiceRow | None:
    """Return the service that a host has of a name; None for none.

    Raises:
        UsageError: it is another person's.
    """
    pull.catch_up(session, host, streams=False)
    me = actor_of(session.hosts)
    for row in rows.services(session.store.conn, host):
        if row.name == name and not row.is_lost:
            owner = ownership.stranger_of(me, row)
            if owner:
                raise UsageError(f"{host} has a service {name} of {owner} already", "give yours another name")
            return row
    return None


def catch_up(session: Session, hosts: Sequence[str]) -> None:
    """Learn which services hosts have.

    Raises:
        HostError: one is out of reach.
    """
    for host in hosts:
        pull.catch_up(session, host, streams=False)


def members(session: Session, row: ServiceRow) -> list[ServiceRow]:
    """Return a service on each of its hosts, as they know it now; of one that is out of reach, as of the last contact.

    Args:
        session: the client's.
        row: the service on one of them, just asked.
    """
    for other in rows.members(session.store.conn, row):
        if other.host != row.host:
            try:
                pull.catch_up(session, other.host, streams=False)
            except HostUnreachable as error:
                session.say(f"warning: {error}; this is as of the last contact")
    return rows.members(session.store.conn, row)


def fresh(session: Session, name: str, host: str = "") -> ServiceRow:
    """Return a service as its host knows it now; as of the last contact, which is said, when that is out of reach.

    Raises:
        NotFoundError: there is none. UsageError: several hosts have one.
    """
    return heard.fresh(session, rows.service, name, host)


def listing(session: Session) -> tuple[list[ServiceRow], dict[str, FoundationsError]]:
    """Return the services of all hosts, and what went wrong with those that could not be asked."""
    errors = pull.catch_up_all(session, list(session.hosts.hosts), streams=False)
    return rows.services(session.store.conn), errors


def scale(session: Session, actor: Actor, row: ServiceRow, replicas: int) -> ServiceView:
    """Have another number of replicas; none stops the service.

    Raises:
        UsageError: it is somebody else's. HostError: its host is out of reach.
    """
    ownership.check(actor, row)
    return _answered(session, row, messages.ChangeService(row.name, actor.owner, replicas=replicas))


def use_revision(session: Session, actor: Actor, row: ServiceRow, number: int | None) -> ServiceView:
    """Have another revision; the one that was wanted before the current one, where none is named.

    Raises:
        UsageError: it is somebody else's, or there was none before. HostError: its host is out of reach.
    """
    ownership.check(actor, row)
    if number is None:
        if not row.view.before:
            raise UsageError(
                f"service {row.name} had no other revision before {row.view.revision}",
                f"foundations service show {row.name} lists those that there are; --revision N names one",
            )
        number = row.view.before
    _refuse_retired(session, row, number)
    return _answered(session, row, messages.ChangeService(row.name, actor.owner, revision=number))


def _refuse_retired(session: Session, row: ServiceRow, number: int) -> None:
    """Refuse a revision whose version of a model was retired: its files may be gone."""
    revision = next((one for one in row.view.revisions if one.number == number and one.model), None)
    if revision is None:
        return
    found = next((one for one in models.models_of(session.store.conn) if one.name == revision.model), None)
    version = found.model.versions.get(revision.version) if found is not None else None
    if version is not None and version.is_retired:
        raise UsageError(
            f"revision {number} of service {row.name} serves version {revision.version} of {revision.model},"
            f" which was retired by {version.retired_by or 'somebody'}",
            f"foundations model retire {revision.model} {revision.version} --undo",
        )


def restart(session: Session, actor: Actor, row: ServiceRow, one_by_one: bool = False) -> ServiceView:
    """Begin a service again: all replicas at once, or one by one, so that some answer all the time.

    Raises:
        UsageError: it is somebody else's. FoundationsError: it is stopped. HostError: its host is out of reach.
    """
    ownership.check(actor, row)
    return _answered(session, row, messages.RestartService(row.name, actor.owner, one_by_one))


def forget(session: Session, actor: Actor, row: ServiceRow) -> None:
    """Forget a service that is stopped, once nothing of it runs any more; of a lost one, what is known of it here.

    Raises:
        UsageError: it is somebody else's. FoundationsError: it was started again. HostError: its host is out of reach.
    """
    ownership.check(actor, row)
    if not row.is_lost:
        _wait_until_ended(session, row.host, row.name)
        session.ask(row.host, messages.ForgetService(row.name))
    rows.forget_service(session.store, row.host, row.name)


def token(session: Session, row: ServiceRow) -> str:
    """Return what the replicas of a service ask of who calls them.

    Raises:
        HostError: its host is out of reach.
    """
    return session.ask(row.host, messages.ServiceToken(row.name)).token


def people(session: Session, row: ServiceRow, add: str = "", revoke: str = "") -> messages.ServicePeopleAnswer:
    """Return who has a token of their own for a service; give one to a person, or take it away.

    Raises:
        NotFoundError: nobody of that name has one. UsageError: that is no name. HostError: its host is out of reach.
    """
    for name in filter(None, (add, revoke)):
        if not PERSON.match(name):
            raise UsageError(f"a person is named by letters, digits and . _ @ + -; got {name!r}")
    return session.ask(row.host, messages.ServicePeople(row.name, add, revoke))


def _answered(
    session: Session, row: ServiceRow, request: messages.ChangeService | messages.RestartService
) -> ServiceView:
    view: ServiceView = session.ask(row.host, request).service
    rows.put_service(session.store, row.host, view)
    return view


def wait_until_ready(
    session: Session, host: str, name: str, told: Callable[[str], None], seconds: float | None = None
) -> ServiceView:
    """Wait until the wanted replicas of the wanted revision answer, and none of an earlier one runs.

    Args:
        session: the client's.
        host: where.
        name: the service's.
        told: takes how it is, in words, each time that changes.
        seconds: how long at most; None for as long as it takes.
    Raises:
        FoundationsError: it was stopped, or fails again and again. HostError: its host is out of reach.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    last: object = None
    while True:
        view = current(session, host, name)
        rows.put_service(session.store, host, view)
        words, news = state.words(view, time.time()), state.without_times(view)
        if news != last:
            told(words)
            last = news
        if state.is_settled(view):
            return view
        if not view.replicas:
            raise FoundationsError(f"service {name} was stopped by {view.by or 'somebody'}")
        _raise_if_hopeless(host, name, view)
        if deadline is not None and time.monotonic() > deadline:
            raise FoundationsError(f"service {name} is not ready: {words}")
        time.sleep(_LOOK_SECONDS)


def _wait_until_ended(session: Session, host: str, name: str) -> None:
    """Wait until nothing of a stopped service runs any more.

    Raises:
        FoundationsError: somebody has started it again. HostError: its host is out of reach.
    """
    while (view := current(session, host, name)).running:
        if view.replicas:
            raise FoundationsError(f"service {name} was started again by {view.by or 'somebody'}")
        time.sleep(_LOOK_SECONDS)


def _raise_if_hopeless(host: str, name: str, view: ServiceView) -> None:
    current, old = state.by_revision(view)
    one = next(filter(state.is_failing, current), None)
    if one is not None:
        kept = f"; revision {old[0].revision} goes on" if old else ""
        raise FoundationsError(
            f"service {name} on {host} fails again and again: {one.reason or one.readiness.why}{kept}",
            f"foundations logs {one.job[:6]} shows why; it is tried again with growing pauses",
        )


def to_json(row: ServiceRow, now: float) -> JsonTable:
    """Return a service as ``--json`` prints it."""
    view = row.view
    return {
        "service": view.name,
        "host": row.host,
        "state": "lost" if row.is_lost else state.code(view),
        "words": state.row_words(row, now),
        "revision": view.revision,
        "revision_before": view.before or None,
        "replicas": view.replicas,
        "ready": state.ready_count(view),
        "access": view.access,
        "model": view.model or None,
        "model_version": view.version or None,
        "alias": view.alias or None,
        "follow": view.follow,
        "spread": view.spread or None,
        "rollout": view.rollout or None,
        "asleep": view.asleep,
        "owner": view.owner,
        "project": view.project,
        "changed_by": view.by,
        "changed_at": view.at or None,
        "unreachable_since": row.unreachable_since,
        "probes": view.probes.to_wire(),
        "traffic": state.traffic(view).to_wire(),
        "restarts": sum(max(0, replica.attempt - 1) for replica in view.running),
        "revisions": [head.to_wire() for head in view.revisions],
        "running": [_replica_json(replica, now) for replica in view.running],
    }


def _replica_json(replica: Replica, now: float) -> JsonTable:
    readiness = replica.readiness
    return {
        "job": replica.job,
        "revision": replica.revision,
        "state": replica.state,
        "attempt": replica.attempt,
        "ready": readiness.ready,
        "words": state.replica_words(replica, now),
        "failures": replica.failures,
        "restarts_at": replica.restarts_at,
        "started_at": replica.started_at,
        "gpus": replica.gpus,
        "address": readiness.address or None,
        "port": readiness.port or None,
        "socket": readiness.socket or None,
    }
