"""What is to be done so that each service has the replicas that are wanted of it. Pure: clock and facts are arguments.

A new revision takes over replica by replica: one new replica is started beside the old ones, and when it is ready an
old one ends. One that never gets ready leaves the old ones as they are.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import AbstractSet, Iterable, List, Optional, Union

from remote_agent.core.state import HostState, Service
from remote_agent.protocol.ends import AttemptEnd
from remote_agent.protocol.jobs import JobView
from remote_agent.protocol.services import FIRST_PAUSE, GOOD_SECONDS, LONGEST_PAUSE
from remote_agent.protocol.states import EndReason


@dataclass(frozen=True)
class Begin:
    """A further replica of the wanted revision is to be submitted."""

    service: str
    place: int
    """Among the replicas, from 1: the smallest that no other has."""


@dataclass(frozen=True)
class End:
    """A replica is to end for good."""

    job: str
    why: str


def due(state: HostState, ready: AbstractSet[str]) -> List[Union[Begin, End]]:
    """Return what is to be done next; when it is done, more may be due.

    Args:
        state: services and jobs.
        ready: the replicas that answer.
    """
    actions: List[Union[Begin, End]] = []
    for service in state.services.values():
        actions += _of_service(state, service, ready)
    return actions


def _of_service(state: HostState, service: Service, ready: AbstractSet[str]) -> List[Union[Begin, End]]:
    replicas = [state.jobs[job] for job in sorted(state.replicas.get(service.name, ()))]
    staying = [view for view in replicas if not view.stop_requested_by]
    if not service.replicas:
        return [End(view.spec.job, "its service was stopped") for view in staying]
    if service.asleep:
        return [End(view.spec.job, "nobody has asked for a while") for view in staying]
    new = [view for view in staying if not _is_old(view, service)]
    old = [view for view in staying if _is_old(view, service)]
    ready_new = [view for view in new if view.spec.job in ready]
    if len(new) > service.replicas:
        return [End(view.spec.job, "fewer replicas are wanted") for view in _least_useful(new, ready, service.replicas)]
    if service.revision.in_place and any(_is_old(view, service) for view in replicas):
        return [End(view.spec.job, f"revision {service.number} takes its place") for view in old]
    surplus = len(ready_new) + len(old) - service.replicas
    if old and surplus > 0:
        words = f"revision {service.number} has taken over"
        return [End(view.spec.job, words) for view in _least_useful(old, ready, len(old) - min(surplus, len(old)))]
    missing = service.replicas - len(new)
    if old:
        missing = min(missing, 1) if len(ready_new) == len(new) else 0
    taken = {place_of(view) for view in replicas}
    places = (place for place in range(1, len(replicas) + missing + 1) if place not in taken)
    return [Begin(service.name, place) for place in itertools.islice(places, missing)]


def _is_old(view: JobView, service: Service) -> bool:
    return view.spec.serving.revision != service.number


def _least_useful(views: Iterable[JobView], ready: AbstractSet[str], keep: int) -> List[JobView]:
    """Return all but some of the replicas: those that answer are kept, then the older ones."""
    ordered = sorted(views, key=lambda view: (view.spec.job not in ready, view.rank))
    return ordered[keep:]


def name_of(service: str, place: int) -> str:
    """Return the name of a replica as a job."""
    return f"{service}-{place}"


def place_of(view: JobView) -> int:
    """Return the place of a replica among the others; 0 for one whose name does not tell."""
    place = view.spec.name.rpartition("-")[2]
    return int(place) if place.isdigit() and len(place) < 6 else 0


def failures(view: JobView, end: Optional[AttemptEnd] = None) -> int:
    """Return how many attempts in a row were not good, the latest ones.

    Args:
        view: the replica.
        end: of its running attempt, which is ending; None when it is none.
    """
    spans = [(past.reason_code, past.started_at, past.ended_at) for past in view.attempts]
    if end is not None:
        begun = view.started_at if end.started_at is None else end.started_at
        spans.append((end.reason_code, begun, end.ended_at))
    count = 0
    for reason, began, ended in reversed(spans):
        was_good = began is not None and ended is not None and ended - began >= GOOD_SECONDS
        if was_good or reason == EndReason.STOPPED_BY_USER.value:
            break
        count += 1
    return count


def pause(view: JobView, end: AttemptEnd) -> float:
    """Return how long a replica waits before it begins again, seconds: longer each time it fails."""
    if end.reason_code == EndReason.STOPPED_BY_USER.value:
        return 0.0  # somebody restarts it
    count = max(1, failures(view, end))
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(count - 1, 20))


def rested(state: HostState, now: float) -> List[str]:
    """Return the replicas whose pause is over; a clock that was set back makes none longer than LONGEST_PAUSE."""
    return [job for job, at in state.pausing.items() if at <= now or at - now > LONGEST_PAUSE]
