"""The schedules of a host: at their times, jobs are submitted, with every laptop closed."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

from remote_agent.core import events
from remote_agent.core.scheduler import Capacity
from remote_agent.core.state import HostState, Scheduled
from remote_agent.daemon import admission
from remote_agent.daemon.admission import NewJob
from remote_agent.daemon.effects import RemoveOldSchedules
from remote_agent.daemon.ledger import Ledger
from remote_agent.daemon.requests import Requests
from remote_agent.protocol import messages, schedules
from remote_agent.protocol.chains import Chain
from remote_agent.protocol.errors import AgentError, BadRequest, Conflict, NotFound
from remote_agent.protocol.jobs import JobSpec, JobView
from remote_agent.protocol.schedules import (
    LATE_SECONDS,
    MOST_SCHEDULES,
    MOST_WAITING,
    QUEUE,
    SKIP,
    Schedule,
    ScheduleView,
)
from remote_agent.protocol.wire import JsonTable
from remote_agent.storage import files
from remote_agent.storage.objects import ObjectStore
from remote_agent.storage.paths import Paths

_SHOWN_TIMES = 3
_SHOWN_WORDS, _SHOWN_LETTERS = 40, 200
"""So much of a command is shown in a listing."""
_LONGEST_OUTCOME = 2000
"""Characters of what has come of a chain."""
_MOST_MISSED = 1000
"""Times that are counted one by one."""


class Schedules:
    """What may be asked of schedules, and the jobs that follow from them."""

    def __init__(
        self, ledger: Ledger, requests: Requests, paths: Paths, objects: ObjectStore, capacity: Callable[[], Capacity]
    ) -> None:
        """Make them.

        Args:
            ledger: takes what is decided.
            requests: submits jobs.
            paths: the agent's files.
            objects: the snapshots that are here.
            capacity: returns what the host has.
        """
        self.version = 0
        """Goes up when a client would see something new of a schedule."""
        self._ledger = ledger
        self._requests = requests
        self._paths = paths
        self._objects = objects
        self._capacity = capacity
        self._problems: Dict[str, str] = {}
        """Why no job could be submitted at the last time, by the schedule's name."""
        self._next: Dict[str, Tuple[Schedule, float, float]] = {}
        """The next time of each schedule, as far as it was computed, with what it was computed from."""
        self._looked_at = 0.0
        """The latest time that the clock has shown, seconds since the epoch."""

    @property
    def _state(self) -> HostState:
        return self._ledger.state

    @property
    def are_any(self) -> bool:
        """Whether there are any: then the agent stays."""
        return bool(self._state.schedules)

    @property
    def due(self) -> Optional[float]:
        """Return when the next job is due, seconds since the epoch; None for never."""
        moments = [self._next_of(one) for one in self._state.schedules.values() if not one.paused]
        return min(moments) if moments else None

    def _next_of(self, one: Scheduled) -> float:
        known = self._next.get(one.schedule.name)
        if known is None or known[0] is not one.schedule or known[1] != one.done_until:
            known = (one.schedule, one.done_until, one.schedule.next_after(self._done_until(one)))
            self._next[one.schedule.name] = known
        return known[2]

    def _done_until(self, one: Scheduled) -> float:
        """Return up to when its times are dealt with; not later than now, if the clock was ahead and was set back."""
        now = self._ledger.clock()
        return now if one.done_until > now + LATE_SECONDS else one.done_until

    # --- what clients ask -----------------------------------------------------------------------------------------

    def add(self, request: messages.AddSchedule) -> messages.ScheduleAnswer:
        """Have a schedule as it is asked for, a new one or instead of the one of its name.

        Raises:
            BadRequest: it makes no sense. AgentError: the host could not run its jobs.
        """
        schedule = replace(request.schedule, at=self._ledger.clock())
        schedule.check()
        if schedule.name not in self._state.schedules and len(self._state.schedules) >= MOST_SCHEDULES:
            raise Conflict(f"this host has {MOST_SCHEDULES} schedules already")
        private = request.private or {}
        first = _spec_of(schedule.spec, "new", 0.0, schedule=schedule.name, private=bool(private))
        if first.is_replica or first.after or first.after_any or first.chain:
            raise BadRequest("a schedule submits jobs that wait for none")
        jobs = [first]
        if schedule.then:
            own = {"after": ["new"], "schedule": schedule.name, "private": bool(private.get("build"))}
            jobs.append(_spec_of(schedule.then, "new-then", 0.0, **own))
            if not jobs[1].chain:
                raise BadRequest("what comes behind each job of a schedule is a chain")
        for spec in jobs:
            spec.check()
        admission.check([NewJob(spec) for spec in jobs], self._state, self._capacity(), self._paths, self._objects)
        os.makedirs(self._paths.schedules, 0o700, exist_ok=True)
        files.write_bytes(self._paths.schedule(schedule.name, schedule.at), json.dumps(private).encode())
        kept = [_sparse(spec) for spec in jobs]
        self._decide(events.ScheduleSet(replace(schedule, spec=kept[0], then=kept[1] if schedule.then else {})))
        self._ledger.later(RemoveOldSchedules(schedule.name))
        self._problems.pop(schedule.name, None)
        return messages.ScheduleAnswer(self.view(schedule.name))

    def change(self, request: messages.ChangeSchedule) -> messages.ScheduleAnswer:
        """Pause a schedule, have it go on, run its job now, or remove it.

        Raises:
            NotFound: there is no such schedule. AgentError: its job cannot be submitted.
        """
        one = self._schedule(request.name)
        if request.action == "run":
            self._submit(one, one.done_until, request.job or os.urandom(6).hex())
        elif request.action == "remove":
            view = self.view(request.name)
            self._decide(events.ScheduleRemoved(request.name))
            self._ledger.later(RemoveOldSchedules(request.name))
            self._problems.pop(request.name, None)
            return messages.ScheduleAnswer(view)
        elif one.paused != (request.action == "pause"):
            self._decide(events.SchedulePaused(request.name, request.action == "pause", self._ledger.clock()))
        return messages.ScheduleAnswer(self.view(request.name))

    def _schedule(self, name: str) -> Scheduled:
        one = self._state.schedules.get(name)
        if one is None:
            raise NotFound(f"there is no schedule {name} on this host")
        return one

    def tell(self, name: str, words: str) -> None:
        """Keep what has come of the chain of a schedule, if there still is one."""
        if name in self._state.schedules:
            self._decide(events.ScheduleTold(name, words[:_LONGEST_OUTCOME], self._ledger.clock()))

    def _decide(self, change: events.Change) -> None:
        self._ledger.record(change)
        self.version += 1

    # --- what follows from it -------------------------------------------------------------------------------------

    def resume(self) -> None:
        """After a start: remove what belongs to no schedule."""
        for name in {file.partition("@")[0] for file in _listed(self._paths.schedules)}:
            self._ledger.perform(RemoveOldSchedules(name))

    def kept(self, name: str) -> str:
        """Return the private file of a schedule that there is; "" where there is none of that name."""
        one = self._state.schedules.get(name)
        return self._paths.schedule(name, one.schedule.at) if one is not None else ""

    def advance(self) -> None:
        """Submit what is due; times that have passed long ago are noted, and not made up for."""
        now = self._ledger.clock()
        if now < self._looked_at - LATE_SECONDS:
            self._next = {}  # the clock was set back
        self._looked_at = now
        if not self._state.schedules or (self.due or now + 1) > now:
            return
        for one in list(self._state.schedules.values()):
            if not one.paused and self._next_of(one) <= now:
                self._catch_up(one, now)

    def _catch_up(self, one: Scheduled, now: float) -> None:
        """Deal with the times of a schedule that have come."""
        times, count = self._passed(one, now)
        is_late = now - times[-1] > LATE_SECONDS or count >= _MOST_MISSED
        missed = times if is_late else times[:-1]
        if missed:
            count -= 0 if is_late else 1
            self._decide(events.ScheduleNoted(one.schedule.name, "missed", missed[-1], count))
        if not is_late:
            self._run(one, times[-1])

    def _passed(self, one: Scheduled, now: float) -> Tuple[List[float], int]:
        """Return the latest times of a schedule that have come, the last one at the end, and how many have."""
        times: List[float] = []
        count, due = 0, self._next_of(one)
        while due <= now and count < _MOST_MISSED:
            times = [*times[-1:], due]
            count, due = count + 1, one.schedule.next_after(due)
        return ([*times[-1:], now] if due <= now else times), count

    def _run(self, one: Scheduled, due: float) -> None:
        name = one.schedule.name
        waiting = self._open(name, self._state.queue.everyone())
        is_open = waiting + self._open(name, self._state.active) > 0
        behind = 2 if one.schedule.then else 1
        is_skipped = is_open if one.schedule.overlap == SKIP else waiting >= MOST_WAITING * behind
        if is_skipped:
            self._decide(events.ScheduleNoted(name, "skipped", due, 1))
            return
        try:
            self._submit(one, due, self._id(one, due, "job"))
        except (AgentError, OSError) as error:
            self._problems[name] = str(getattr(error, "strerror", None) or error)
            self._decide(events.ScheduleNoted(name, "passed", due, 0))

    def _open(self, name: str, jobs: Iterable[str]) -> int:
        """Return how many of some jobs a schedule has submitted."""
        specs = (self._state.jobs[job].spec for job in jobs)
        return sum(1 for spec in specs if spec.schedule == name)

    def _id(self, one: Scheduled, due: float, what: str) -> str:
        """Return the id of a job: that of one time is always the same, so that a daemon that died submits it once."""
        mark = f"{self._ledger.journal.id} {one.schedule.name} {one.schedule.at!r} {due!r} {what}"
        return hashlib.sha256(mark.encode()).hexdigest()[:12]

    def _submit(self, one: Scheduled, due: float, job: str) -> JobView:
        """Submit a schedule's job; one that was submitted already is the job that it was.

        Args:
            one: the schedule.
            due: the time that it is for.
            job: the id that it gets.
        Raises:
            AgentError: it cannot be submitted now.
        """
        name, now = one.schedule.name, self._ledger.clock()
        kept = files.read_json(self._paths.schedule(name, one.schedule.at))
        private: JsonTable = kept if isinstance(kept, dict) else {}
        last = self._state.jobs.get(one.last_job)
        waits = one.schedule.overlap == QUEUE and last is not None and not last.state.is_final
        first = _spec_of(one.schedule.spec, job, now, after_any=[one.last_job] if waits else [])
        jobs = [NewJob(first, private if first.private else None)]
        if one.schedule.then:
            then = _spec_of(one.schedule.then, self._id(one, due, f"behind {job}"), now, after=[job])
            jobs.append(NewJob(then, {"build": private.get("build", {})} if then.private else None))
        view = self._requests.submit_all(jobs)[0]
        self._problems.pop(name, None)
        self._decide(events.ScheduleRan(name, first.job, due, now))
        return view

    # --- what clients see -----------------------------------------------------------------------------------------

    def page(self) -> List[ScheduleView]:
        """Return all schedules, by name."""
        return [self.view(name) for name in sorted(self._state.schedules)]

    def view(self, name: str) -> ScheduleView:
        """Return a schedule as clients see it."""
        one = self._state.schedules[name]
        schedule, spec = one.schedule, one.schedule.spec
        times = self._next_times(one)
        return ScheduleView(
            name=name,
            cron=schedule.cron,
            every=schedule.every,
            utc=schedule.utc,
            overlap=schedule.overlap,
            paused=one.paused,
            command=[str(word)[:_SHOWN_LETTERS] for word in spec.get("command", ())[:_SHOWN_WORDS]],
            owner=str(spec.get("owner", "")),
            project=str(spec.get("project", "")),
            by=schedule.by,
            at=schedule.at,
            next_times=times,
            next_words=[schedules.shown(moment, schedule.utc) for moment in times],
            last_job=one.last_job,
            last_at=one.last_at,
            missed=one.missed,
            missed_at=one.missed_at,
            skipped=one.skipped,
            then=Chain.from_wire(schedule.then["chain"], "chain").words() if schedule.then else "",
            outcome=one.outcome,
            outcome_at=one.outcome_at,
            problem=self._problems.get(name, ""),
        )

    def _next_times(self, one: Scheduled) -> List[float]:
        times: List[float] = []
        after = max(self._done_until(one), self._ledger.clock())
        for _ in range(0 if one.paused else _SHOWN_TIMES):
            after = one.schedule.next_after(after)
            times.append(after)
        return times


def _spec_of(wire: JsonTable, job: str, now: float, **own: Any) -> JobSpec:
    """Return a specification of a schedule as that of a job.

    Args:
        wire: it.
        job: the id.
        now: when it is made, seconds since the epoch.
        own: fields of it alone.
    """
    return JobSpec.from_wire({**wire, **own, "job": job, "created_at": now})


def _listed(folder: str) -> List[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def _sparse(spec: JobSpec) -> JsonTable:
    kept = spec.to_wire()
    del kept["job"]
    return kept
