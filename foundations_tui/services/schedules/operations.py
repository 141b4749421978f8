"""What is done with schedules: add, list, pause, run, remove; each returns what came of it and never prints or asks."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass

from foundations_tui import __version__
from foundations_tui.config.hosts import owner_name
from foundations_tui.errors import FoundationsError, NotFoundError, UsageError
from foundations_tui.hosts.agent import Agent
from foundations_tui.jobs import on_hosts
from foundations_tui.jobs.ownership import Actor, actor_of
from foundations_tui.services import heard
from foundations_tui.services.schedules import chaining
from foundations_tui.services.schedules.request import ScheduleRequest
from foundations_tui.session import Session
from foundations_tui.store import schedules as rows
from foundations_tui.store.schedules import ScheduleRow
from foundations_tui.submit import pipeline
from foundations_tui.submit.progress import SILENT, Progress
from foundations_tui.sync import pull
from remote_agent.protocol import messages
from remote_agent.protocol.schedules import ScheduleView
from remote_agent.protocol.wire import JsonTable


@dataclass(frozen=True)
class Added:
    """A schedule that its host has accepted."""

    host: str
    view: ScheduleView
    replaced: bool
    """Whether it stands in the place of another one."""
    missing: str
    """What keeps its agent from being started at boot, in words; "" for nothing."""


def add(session: Session, request: ScheduleRequest, progress: Progress = SILENT) -> Added:
    """Have a host submit jobs at their times, each on the working tree as it is now.

    Args:
        session: the client's.
        request: what and when.
        progress: gets the progress.
    Raises:
        FoundationsError: why not.
    """
    requests = [request.job]
    if request.chain is not None:
        requests.append(chaining.second_request(request.job))
    parcel = pipeline.parcel_of(session, requests, progress)
    host = parcel.host
    before = _own(session, request.name, host)
    then = chaining.specification(session, request.chain, parcel) if request.chain is not None else None
    by = owner_name(session.hosts)
    schedule = request.schedule(parcel.specs[0].to_wire(), then.to_wire() if then is not None else {}, by)
    wanted = messages.AddSchedule(schedule, parcel.private or None, version=__version__)

    def send(agent: Agent) -> messages.ScheduleAnswer:
        pipeline.ship(session, agent, parcel, progress)
        progress.stage(f"adding the schedule on {host}")
        return agent.call(wanted, timeout=120)

    view = session.retrying(host, send).schedule
    rows.put_schedule(session.store, host, view)
    return Added(host, view, before, on_hosts.start_at_boot(session, host))


def _own(session: Session, name: str, host: str) -> bool:
    """Return whether a host has a schedule of a name already.

    Raises:
        UsageError: it is somebody else's.
    """
    pull.catch_up(session, host, streams=False)
    me = actor_of(session.hosts)
    for row in rows.schedules(session.store.conn, host):
        if row.name == name and not row.is_lost:
            if row.view.owner not in ("", me.owner):
                raise UsageError(f"{host} has a schedule {name} of {row.view.owner} already", "give yours another name")
            return True
    return False


def fresh(session: Session, name: str) -> ScheduleRow:
    """Return a schedule as its host knows it now; as of the last contact, which is said, when that is out of reach.

    Raises:
        NotFoundError: there is none. UsageError: several hosts have one.
    """
    return heard.fresh(session, rows.schedule, name)


def listing(session: Session) -> tuple[list[ScheduleRow], dict[str, FoundationsError]]:
    """Return the schedules of all hosts, and what went wrong with those that could not be asked."""
    errors = pull.catch_up_all(session, list(session.hosts.hosts), streams=False)
    return rows.schedules(session.store.conn), errors


def change(session: Session, actor: Actor, row: ScheduleRow, action: str) -> ScheduleView:
    """Pause a schedule, have it go on, run its job now, or remove it; of a lost one, what is known of it here.

    Args:
        session: the client's.
        actor: who does it.
        row: which.
        action: "pause", "resume", "run" or "remove".
    Raises:
        UsageError: it is somebody else's. HostError: its host is out of reach.
    """
    actor.check_owned(f"schedule {row.name}", row.view.owner)
    if row.is_lost and action == "remove":
        rows.forget_schedule(session.store, row.host, row.name)
        return row.view
    job = os.urandom(6).hex() if action == "run" else ""
    try:
        view = session.ask(row.host, messages.ChangeSchedule(row.name, action, job)).schedule
    except NotFoundError:
        if action == "remove":  # removed already, by the same request or by somebody else
            rows.forget_schedule(session.store, row.host, row.name)
        raise
    if action == "remove":
        rows.forget_schedule(session.store, row.host, row.name)
    else:
        rows.put_schedule(session.store, row.host, view)
    return view


def to_json(row: ScheduleRow) -> JsonTable:
    """Return a schedule as ``--json`` prints it."""
    view = row.view
    told = {one.name: getattr(view, one.name) for one in dataclasses.fields(view) if one.name not in ("name", "at")}
    return {
        "schedule": view.name,
        "host": row.host,
        "state": "lost" if row.is_lost else "paused" if view.paused else "active",
        **told,
        "added_at": view.at or None,
        "last_job": view.last_job or None,
        "last_at": view.last_at or None,
        "missed_at": view.missed_at or None,
        "outcome_at": view.outcome_at or None,
        "unreachable_since": row.unreachable_since,
    }
