"""A service on several hosts: each keeps its own record and replicas, and this client has them change one by one.

What has happened is in the journals of the hosts. If the client is cut off in between, both revisions answer, until any
client goes on with ``resume``.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

from foundations_tui.errors import FoundationsError, NotFoundError, UsageError
from foundations_tui.jobs.ownership import Actor
from foundations_tui.services import operations, request as requests, state
from foundations_tui.services.models import serving
from foundations_tui.services.operations import Served
from foundations_tui.services.request import ServiceRequest
from foundations_tui.session import Session
from foundations_tui.store import queries, services as rows
from foundations_tui.store.services import ServiceRow
from foundations_tui.submit import pipeline
from foundations_tui.submit.progress import SILENT, Progress
from remote_agent.protocol.services import KIND, ServiceView, Serving

Make = Callable[[str], ServiceRequest]
"""Returns what is asked for of one host."""
Told = Callable[[str, str], None]
"""Takes how the service is on a host, in words: (host, words)."""
_KEPT = ("port", "token_env", "open_on_host", "open_to_network", "alias", "follow", "spread", "rollout")
"""What the replicas of one host say of their service that is the same on another one."""


def hosts_of(session: Session, name: str, given: Sequence[str]) -> list[str]:
    """Return the hosts that a service is to be on: those that are named, else those that it is on.

    Args:
        session: the client's.
        name: the service's.
        given: names of hosts.
    Returns:
        None for a service of a single host.
    Raises:
        ConfigError: there is no such host.
    """
    named = [session.hosts.host(host).name for host in dict.fromkeys(given)]
    known = [row.host for row in rows.services(session.store.conn) if row.name == name and row.view.spread]
    return named or known


def serve(
    session: Session,
    name: str,
    hosts: Sequence[str],
    make: Make,
    waits: bool,
    told: Told,
    progress: Progress = SILENT,
) -> list[Served]:
    """Have a service on several hosts as it is asked for: on the next one when it is ready on the one before.

    Args:
        session: the client's.
        name: the service's.
        hosts: where, in this order.
        make: returns what is asked for of each.
        waits: whether that is waited for.
        told: takes how it is.
        progress: gets the progress.
    Raises:
        FoundationsError: why it does not get ready on a host; those behind it go on as they were.
    """
    spread, token = _shared(session, name, hosts)
    first = make(hosts[0])
    frozen = pipeline.frozen(session, first.job, progress)
    served: list[Served] = []
    for place, host in enumerate(hosts):
        asked = first if not place else make(host)
        asked = dataclasses.replace(
            asked,
            job=dataclasses.replace(asked.job, host=host),
            serving=dataclasses.replace(asked.serving, spread=spread),
            token=token,
        )
        done = [one.host for one in served]
        try:
            one = operations.serve(session, asked, progress, frozen)
            view = _ready(session, host, name, told) if waits else one.view
        except FoundationsError as error:
            raise _cut(error, name, host, done, hosts[place:]) from error
        served.append(dataclasses.replace(one, view=view))
    return served


def _shared(session: Session, name: str, hosts: Sequence[str]) -> tuple[str, str]:
    """Return what makes a service one on several hosts, and the token that all of them ask for.

    Raises:
        UsageError: one of the hosts has another service of this name. HostError: one is out of reach.
    """
    operations.catch_up(session, hosts)
    there = [row for row in rows.services(session.store.conn) if row.name == name and row.host in hosts]
    known = next((row for row in there if row.view.spread), None)
    others = [row.host for row in there if known is not None and row.view.spread != known.view.spread]
    if others or (known is None and len(there) > 1):
        where = ", ".join(others or [row.host for row in there])
        raise UsageError(f"{where}: there is another service {name}", "give this one another name, or stop --forget it")
    token = operations.token(session, there[0]) if there else secrets.token_urlsafe(32)
    return (known.view.spread if known else secrets.token_hex(6)), token


def _ready(session: Session, host: str, name: str, told: Told) -> ServiceView:
    return operations.wait_until_ready(session, host, name, lambda words: told(host, words))


def _cut(error: FoundationsError, name: str, host: str, done: Sequence[str], left: Sequence[str]) -> FoundationsError:
    """Return an error that says where a change has stopped, and how it goes on."""
    where = f"; {', '.join(done)} has changed, {', '.join(left)} has not" if done else ""
    words = str(error) if host in str(error) else f"{host}: {error}"
    hint = f"{error.hint}; " if error.hint else ""
    more = f"foundations service roll {name} --resume goes on" if done else ""
    error.args = (words + where,)
    error.hint = (hint + more).strip("; ")
    return error


def resume(session: Session, actor: Actor, row: ServiceRow, told: Told, progress: Progress = SILENT) -> list[Served]:
    """Have all hosts of a service run what the latest one to be changed runs; where that fails, it is tried again.

    Args:
        session: the client's.
        actor: who does it.
        row: the service on one of them.
        told: takes how it is.
        progress: gets the progress.
    Raises:
        UsageError: it is on one host only. NotFoundError: nothing is known of what it runs. FoundationsError: it does
            not get ready.
    """
    members = rows.members(session.store.conn, row)
    if len(members) < 2:
        raise UsageError(f"service {row.name} is on one host, which rolls by itself")
    latest = max(members, key=_changed_at)
    behind = [one.host for one in members if one.view.rollout != latest.view.rollout]
    served = serve(session, row.name, behind, _like(session, latest), True, told, progress) if behind else []
    for one in members:
        if one.host in behind or not one.view.replicas:
            continue
        if any(map(state.is_failing, state.by_revision(one.view)[0])):
            operations.restart(session, actor, one, one_by_one=True)
        _ready(session, one.host, row.name, told)
    return served


def _changed_at(row: ServiceRow) -> float:
    return next((head.at for head in row.view.revisions if head.number == row.view.revision), 0.0)


def _like(session: Session, row: ServiceRow) -> Make:
    """Return what asks another host for what a service runs."""
    jobs = [one.job for one in row.view.running if one.revision == row.view.revision]
    found = queries.jobs_by_id(session.store.conn, jobs, details=False)
    if not found:
        raise NotFoundError(
            f"no replica of revision {row.view.revision} on {row.host} is known here", "serve it again, with --hosts"
        )
    spec = queries.spec(session.store.conn, found[0].job)
    own = Serving.from_wire({"name": row.name, "revision": 1, **spec.get("service", {})}, KIND)
    kept = {name: getattr(own, name) for name in _KEPT}
    values = {**serving.values_of(session, row), "ready": row.view.probes.ready, "live": row.view.probes.live}

    def make(host: str) -> ServiceRequest:
        here = {**values, "host": host}
        if own.model:
            reference = f"{own.model}@{own.version}"
            asked = serving.read(session, reference, row.name, here, Path("/"), trust=True)
        else:
            command = tuple(spec["command"])
            asked = requests.read(session.store.conn, row.name, command, {**here, "code_of": found[0].job}, Path("/"))
        replicas = row.view.replicas or None
        return dataclasses.replace(asked, serving=dataclasses.replace(asked.serving, **kept), replicas=replicas)

    return make


def one_by_one(
    session: Session, members: Sequence[ServiceRow], change: Callable[[ServiceRow], object], told: Told
) -> None:
    """Change a service on each of its hosts, on the next one when it is ready on the one before.

    Args:
        session: the client's.
        members: the service on each host.
        change: changes it on one.
        told: takes how it is.
    Raises:
        FoundationsError: it does not get ready on one; those behind it stay as they were.
    """
    for place, row in enumerate(members):
        try:
            change(row)
            if place < len(members) - 1 and row.view.replicas:
                _ready(session, row.host, row.name, told)
        except FoundationsError as error:
            done, left = [one.host for one in members[:place]], [one.host for one in members[place:]]
            raise _cut(error, row.name, row.host, done, left) from error
