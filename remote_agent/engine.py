"""The only writer of the agent's state: takes requests and the backend's news, decides, and journals.

What is decided is carried out only after ``commit`` has made it durable: a job is started, an answer sent, a stop
passed on. So a kill at any instant leaves nothing that the journal does not know.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

from remote_agent import crash, files, recovery, scheduler, state as states, streams
from remote_agent.backends import Attempt
from remote_agent.backends.local import LocalBackend
from remote_agent.errors import Conflict, DiskFull, NotFound, StorageBroken, Unsatisfiable
from remote_agent.jobs import (
    ACTIVE_STATES,
    STATE_OF_REASON,
    EndReason,
    JobSpec,
    JobState,
    JobView,
    Lease,
    retry_class,
)
from remote_agent.journal import Journal
from remote_agent.notices import Notices
from remote_agent.objects import ObjectStore
from remote_agent.paths import Paths
from remote_agent.state import HostState

LEAST_FREE_BYTES = 8 << 20
"""A host with less than this free on its disk takes no job."""
_MANY = 16
"""More private files than this are made durable by one sync of the file system."""
_BRIEF_SECONDS = 2.0
"""Jobs that usually take less are brief."""
_ESTIMATES_AGE = 30.0
"""Seconds after which changed estimates alone are worth telling."""


@dataclass(frozen=True)
class Submission:
    """One job of a submit, with what may be written into no journal."""

    spec: JobSpec
    private: Optional[Dict[str, Any]] = None
    """"secrets" and "notify": kept in a file of the job's own until it has ended."""


class Engine:
    """The jobs of one host."""

    def __init__(self, paths: Paths, journal: Journal, backend: LocalBackend, clock: Callable[[], float]) -> None:
        """Replay the journal.

        Args:
            paths: the agent's files.
            journal: opened, its history not yet taken.
            backend: where attempts run.
            clock: gives seconds since the epoch.
        """
        self.paths = paths
        self.journal = journal
        self.backend = backend
        self.objects = ObjectStore(paths.objects)
        self.notices = Notices(paths)
        self.more_usage: Callable[[Attempt], Dict[str, Any]] = lambda attempt: {}
        """Says what else is known of what an attempt used."""
        self.waits: Dict[str, scheduler.Wait] = {}
        self.waits_version = 0
        self._waits_stale = True
        self._waits_told = self._waits_due = 0.0
        self._clock = clock
        self._after_commit: List[Callable[[], None]] = []
        self._removals: List[subprocess.Popen[bytes]] = []
        self._replan = True
        self.is_urgent = False
        """Whether something was decided that has to be written down at once."""
        journal.make_room = lambda: files.drop_ballast(paths.ballast)
        self.state = _replay(journal.take_history())
        self._recover()
        self._resume()

    # --- what clients ask for ---------------------------------------------------------------------------------

    def submit(self, spec: JobSpec, private: Optional[Dict[str, Any]] = None) -> JobView:
        """Accept a job; see ``submit_all``."""
        return self.submit_all([Submission(spec, private)])[0]

    def submit_all(self, wanted: List[Submission]) -> List[JobView]:
        """Accept jobs, all or none; an id that is known is the job that it was.

        Raises:
            NotFound: a snapshot or a job to wait for is not here. Unsatisfiable, DiskFull, Conflict: why not.
        """
        fresh = [one for one in wanted if one.spec.job not in self.state.jobs]
        if fresh:
            self._check_disk()
        capacity = self.backend.capacity()
        together = {one.spec.job for one in fresh}
        snapshots = {one.spec.snapshot for one in fresh}
        for snapshot in snapshots:
            if not self.objects.has(snapshot):
                raise NotFound(f"snapshot {snapshot} is not on this host")
        for one in fresh:
            self._check(one.spec, capacity, together)
        self._write_private(fresh)
        for one in fresh:
            self._record("submitted", job=one.spec.job, spec=one.spec.to_wire())
        return [self.state.jobs[one.spec.job] for one in wanted]

    def stop(self, job: str, by: str, grace: Optional[float] = None) -> JobView:
        """End a job: at once when it waits, by its supervisor when it runs.

        Args:
            job: which.
            by: who asks.
            grace: seconds until KILL; the job's own when it is not given.
        Raises:
            NotFound: there is no such job. Conflict: it has ended.
        """
        view = self.job(job)
        if view.state.is_final:
            raise Conflict(f"job {job} has already ended ({view.state.value})")
        grace = view.spec.grace if grace is None else grace
        self._record("stop_requested", job=job, by=by, grace=grace)
        if view.state is JobState.QUEUED:
            words = f"stopped by {by} before it started"
            self._end(job, reason_code="stopped_by_user", reason=words, ended_at=self._clock())
        else:
            self._later(lambda: self.backend.stop((job, view.attempt), by, grace))
        return self.state.jobs[job]

    def delete(self, job: str, client: str, force: bool) -> None:
        """Forget an ended job and remove its folder.

        Args:
            job: which.
            client: who asks: the one that submitted it needs no acknowledgement of its own.
            force: even when the client that submitted it has not fetched everything.
        Raises:
            NotFound: there is no such job. Conflict: it has not ended, or is not fetched.
        """
        if not self.job(job).state.is_final:
            raise Conflict(f"job {job} has not ended; stop it first")
        why_not = "" if force or client == self.job(job).spec.client else self.not_fetched(job)
        if why_not:
            raise Conflict(why_not)
        self._record("deleted", job=job)
        self._later(lambda: self._remove_folder(job))

    def prune(self, job: str, force: bool) -> None:
        """Remove an ended job's folder; the job stays listed.

        Raises:
            NotFound: there is no such job. Conflict: it has not ended, or is not fetched.
        """
        view = self.job(job)
        if not view.state.is_final:
            raise Conflict(f"job {job} has not ended")
        why_not = "" if force else self.not_fetched(job)
        if why_not:
            raise Conflict(why_not)
        if not view.pruned:
            self._record("pruned", job=job)
            self._later(lambda: self._remove_folder(job))

    def not_fetched(self, job: str) -> str:
        """Return that the client which submitted a job has not acknowledged all of it, in words; empty when it has."""
        view = self.job(job)
        if not view.attempt or view.spec.client in self.state.acknowledged.get(job, ()):
            return ""
        owner = view.spec.owner or "somebody"
        return f"the client of {owner} that submitted job {job} has not fetched everything of it yet"

    def acknowledge(self, client: str, jobs: Iterable[str]) -> None:
        """Take note that a client has everything of these ended jobs."""
        state = self.state
        fresh = [
            job
            for job in jobs
            if job in state.jobs and state.jobs[job].state.is_final and client not in state.acknowledged.get(job, ())
        ]
        if fresh:
            self._record("acknowledged", client=client, jobs=fresh)

    def pause(self, group: str, paused: bool) -> None:
        """Start no job of a group any more, or again; ``*`` is the whole host. What runs goes on."""
        if (group in self.state.paused) != paused:
            self._record("paused" if paused else "resumed", groups=[group])

    def move(self, job: str, where: str, other: str = "", priority: Optional[int] = None) -> JobView:
        """Give a waiting job another place.

        Args:
            job: which.
            where: "first", "last", "before" or "after" another one; "" to change only its priority.
            other: that other waiting job.
            priority: for "": the new priority.
        Raises:
            NotFound: there is no such job. Conflict: it does not wait.
        """
        view = self._waiting(job)
        place = (view.priority if priority is None else priority, view.rank)
        if where:
            place = self._place(job, where, other)
        self._record("moved", job=job, priority=place[0], rank=place[1])
        return self.state.jobs[job]

    def job(self, job: str) -> JobView:
        """Return a job.

        Raises:
            NotFound: there is no such job.
        """
        if job not in self.state.jobs:
            raise NotFound(f"there is no job {job} on this host")
        return self.state.jobs[job]

    # --- what the daemon's loop does --------------------------------------------------------------------------

    def advance(self) -> None:
        """Take in the backend's news and start what can start."""
        news = self.backend.poll(self.active_attempts())
        for attempt, status in news.items():
            self._take_news(attempt, status.phase, status.facts)
        for job in self.notices.delivered():
            self._record("told", job=job)
            self._later(lambda job=job: self._remove_private(job))  # type: ignore[misc]
        if self._replan:
            self._plan()

    def commit(self) -> bool:
        """Make all that was decided durable, then carry it out.

        Returns:
            Whether anything was decided.
        Raises:
            StorageBroken: nothing was decided after all; the state is what the journal says.
        """
        if not self.begin_commit():
            return False
        try:
            self.journal.sync()
        except OSError as error:
            self.finish_commit(error)
        else:
            self.finish_commit(None)
        return True

    def begin_commit(self) -> bool:
        """Write what was decided; ``journal.sync`` and then ``finish_commit`` have to follow.

        Returns:
            Whether there was anything to write; if not, it is all carried out.
        Raises:
            StorageBroken: as for ``commit``.
        """
        crash.point("daemon.before_commit")
        self.is_urgent = False
        try:
            wrote = self.journal.write()
        except StorageBroken:
            self._take_back()
            raise
        crash.point("daemon.written")
        if not wrote:
            self._carry_out()
        return wrote

    def finish_commit(self, error: Optional[OSError]) -> None:
        """Carry out what was decided, now that it is durable.

        Args:
            error: why it could not be made durable.
        Raises:
            StorageBroken: as for ``commit``.
        """
        if error is not None:
            self.journal.undo()
            self._take_back()
            raise StorageBroken(f"the journal cannot be written: {error.strerror}")
        self.journal.settle()
        crash.point("daemon.committed")
        self._carry_out()

    def compact_if_due(self) -> None:
        """Make the journal short again when most of it is history; nothing may be pending."""
        if self.journal.wants_compaction(len(self.state.jobs) + len(self.state.deleted)):
            self.journal.compact(states.snapshot_events(self.state, self._clock()), self._clock())

    def replan(self) -> None:
        """Look at the queue again: the capacity may have changed."""
        self._replan = True
        self._waits_stale = True

    def refresh_waits(self, at_once: bool = False) -> None:
        """Find out anew why jobs wait, unless that was just done; it takes a moment when thousands wait."""
        began = time.monotonic()
        if not self._waits_stale or (began < self._waits_due and not at_once):
            return
        now = self._clock()
        waits = scheduler.explain(self.state, self.backend.capacity(), now)
        self._waits_stale = False
        changed = {job: wait.words for job, wait in waits.items()} != {j: w.words for j, w in self.waits.items()}
        if changed or (waits != self.waits and began - self._waits_told > _ESTIMATES_AGE):
            self._waits_told = began
            self.waits_version += 1
            self.waits = waits
        self._waits_due = time.monotonic() + max(0.2, 10 * (time.monotonic() - began))

    def active_attempts(self) -> List[Attempt]:
        """Return the attempts that are preparing or running."""
        return [(job, self.state.jobs[job].attempt) for job in self.state.active]

    @property
    def is_unsettled(self) -> bool:
        """Whether a turn of the loop has something to decide or to write at once."""
        return self._replan or self.is_urgent

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits or runs."""
        return not self.state.active and not self.state.queue and not self.notices.is_busy

    # --- inside: accepting ------------------------------------------------------------------------------------

    def _check_disk(self) -> None:
        if files.free_bytes(self.paths.root) < LEAST_FREE_BYTES:
            raise DiskFull("the disk of the host is full; foundations prune frees what ended jobs hold there")
        if files.is_read_only(self.paths.root):
            raise StorageBroken(f"the disk of {self.paths.root} can only be read")

    def _check(self, spec: JobSpec, capacity: scheduler.Capacity, together: Iterable[str]) -> None:
        if spec.job in self.state.deleted:
            raise Conflict(f"job {spec.job} was submitted before and has been deleted")
        refusal = capacity.refusal(spec)
        if refusal:
            raise Unsatisfiable(refusal)
        if spec.command[0].startswith("./") and files.forbids_programs(self.paths.root):
            raise StorageBroken(
                f"{spec.command[0]} cannot be run: the root is on a disk that runs no programs (noexec)"
            )
        for other in (*spec.after, *spec.after_any):
            if other in together:
                continue
            if other not in self.state.jobs:
                raise NotFound(
                    f"job {other}, to be waited for, is not on this host: jobs wait only for jobs beside them"
                )
            state = self.state.jobs[other].state
            if other in spec.after and state.is_final and state is not JobState.COMPLETED:
                raise Conflict(f"job {other}, to be waited for, has ended already: {state.value}")

    def _write_private(self, fresh: List[Submission]) -> None:
        """Keep secrets and the like in files of their own, durable before the jobs are accepted."""
        private = [one for one in fresh if one.private]
        few = len(private) <= _MANY
        for one in private:
            job = self.paths.job(one.spec.job)
            os.makedirs(job.folder, 0o700, exist_ok=True)
            files.write_bytes(job.private, _json(one.private), durable=few)
        if private:
            files.disk.sync_folder(self.paths.jobs)
        if not few:
            files.disk.sync_all(self.paths.jobs)

    def _waiting(self, job: str) -> JobView:
        view = self.job(job)
        if view.state is not JobState.QUEUED:
            raise Conflict(f"job {job} does not wait any more ({view.state.value})")
        return view

    def _place(self, job: str, where: str, other: str) -> Tuple[int, float]:
        """Return the priority and rank of a place in the queue."""
        others = [view for view in map(self.state.jobs.__getitem__, self.state.queue) if view.spec.job != job]
        if not others:
            return self.state.jobs[job].priority, self.state.jobs[job].rank
        if where in ("first", "last"):
            end = others[0 if where == "first" else -1]
            return end.priority, end.rank + (-1.0 if where == "first" else 1.0)
        at = next((n for n, view in enumerate(others) if view.spec.job == other), None)
        if at is None:
            raise Conflict(f"job {other} does not wait for its turn")
        beside = others[at]
        step = at - 1 if where == "before" else at + 1
        neighbour = others[step] if 0 <= step < len(others) else None
        if neighbour is not None and neighbour.priority == beside.priority:
            return beside.priority, (beside.rank + neighbour.rank) / 2
        return beside.priority, beside.rank + (-1.0 if where == "before" else 1.0)

    # --- inside: deciding -------------------------------------------------------------------------------------

    def _record(self, kind: str, **facts: Any) -> None:
        """Decide something: fold it into the state, and have it written down soon."""
        self._append(kind, **facts)
        self.is_urgent = True
        self.replan()

    def _append(self, kind: str, **facts: Any) -> None:
        """Take in something that nobody waits for: it is written down with the next thing that is."""
        event = {"seq": self.state.seq + 1, "time": self._clock(), "type": kind, **facts}
        states.apply(self.state, event)
        self.journal.append(event)

    def _later(self, action: Callable[[], None]) -> None:
        self._after_commit.append(action)

    def _carry_out(self) -> None:
        actions, self._after_commit = self._after_commit, []
        for action in actions:
            action()
        self._removals = [child for child in self._removals if child.poll() is None]

    def _take_back(self) -> None:
        """Go back to what the journal says: what was decided could not be written."""
        self._after_commit = []
        self.replan()  # the next turn decides it again
        self.backend.repeat_news()
        self.state = _replay(self.journal.reload())

    def _take_news(self, attempt: Attempt, phase: str, facts: Dict[str, Any]) -> None:
        job, number = attempt
        view = self.state.jobs.get(job)
        if view is None or view.attempt != number or view.state not in ACTIVE_STATES:
            return
        if phase == "running" and view.state is JobState.PREPARING:
            self._append("started", job=job, started_at=facts["started_at"])
        elif phase == "ended":
            crash.point("daemon.ended")
            self._end(job, **self._end_facts(attempt, facts))

    def _end_facts(self, attempt: Attempt, record: Dict[str, Any]) -> Dict[str, Any]:
        facts = {name: record.get(name) for name in ("reason_code", "reason", "exit_code", "signal", "cause")}
        facts.update(
            ended_at=record.get("ended_at") or self._clock(),
            usage={**(record.get("usage") or {}), **self.more_usage(attempt)},
            streams=streams.sizes(self.paths.job(attempt[0]).attempt(attempt[1])),
        )
        if record.get("started_at"):
            facts["started_at"] = record["started_at"]
        return facts

    def _end(self, job: str, **facts: Any) -> None:
        """End an attempt: the job tries again, or ends, and so do the jobs that waited for its success."""
        view = self.state.jobs[job]
        kind = retry_class(EndReason(facts["reason_code"]), (facts.get("cause") or {}).get("code", ""))
        if kind in view.spec.retry_on and view.attempt <= view.spec.retries and not view.stop_requested_by:
            self._record("attempt_ended", job=job, **facts)
            return
        ends: List[Tuple[str, Dict[str, Any]]] = [(job, facts)]
        while ends:
            job, facts = ends.pop()
            dependents = list(self.state.dependents.get(job, ()))
            self._end_for_good(job, facts)
            if self.state.jobs[job].state is not JobState.COMPLETED:
                ends += [(other, self._dependency_failed(job)) for other in dependents if self._needs(other, job)]

    def _end_for_good(self, job: str, facts: Dict[str, Any]) -> None:
        spec = self.state.jobs[job].spec
        state = STATE_OF_REASON[EndReason(facts["reason_code"])]
        tell = spec.private and self.notices.is_wanted(job, state)
        self._record("ended", job=job, **facts, **({"untold": True} if tell else {}))
        if tell:
            self._later(lambda: self.notices.send(self.state.jobs[job]))
        elif spec.private:
            self._later(lambda: self._remove_private(job))

    def _needs(self, job: str, other: str) -> bool:
        view = self.state.jobs.get(job)
        return view is not None and view.state is JobState.QUEUED and other in view.spec.after

    def _dependency_failed(self, job: str) -> Dict[str, Any]:
        words = f"dependency {job} {self.state.jobs[job].state.value}"
        return {"reason_code": "dependency_failed", "reason": words, "ended_at": self._clock()}

    def _plan(self) -> None:
        self.backend.hold(self.state.leases)
        plan = scheduler.plan(self.state, self.backend.capacity(), self._clock())
        for job, lease in plan.starts:
            self._lease(job, lease)
        self.backend.hold(self.state.leases)
        self._replan = False

    def _lease(self, job: str, lease: Lease) -> None:
        attempt = (job, self.state.jobs[job].attempt + 1)
        self._record("leased", job=job, attempt=attempt[1], **lease.to_wire())
        self._later(lambda: self._start(attempt, lease))

    def _start(self, attempt: Attempt, lease: Lease) -> None:
        job = self.paths.job(attempt[0])
        crash.point("daemon.before_start")
        try:
            os.makedirs(job.folder, 0o700, exist_ok=True)
            if not os.path.exists(job.spec):  # the journal has it: this one need not be durable
                files.write_bytes(job.spec, _json(self.state.jobs[attempt[0]].spec.to_wire()), durable=False)
            usual = self.state.usual_duration(self.state.jobs[attempt[0]].spec)
            self.backend.start(attempt, lease, usual is not None and usual < _BRIEF_SECONDS)
        except ConnectionError:
            raise  # the zygote is gone: nothing can be started before the daemon begins again
        except OSError as error:
            words = f"the job could not be started: {error.strerror or error}"
            self._end(attempt[0], reason_code="workspace_failed", reason=words, ended_at=self._clock())
        crash.point("daemon.started")

    # --- inside: coming up, and going -------------------------------------------------------------------------

    def _recover(self) -> None:
        """After damage to the journal: take up what can be found elsewhere."""
        if not self.journal.problems:
            return
        before = len(self.state.jobs)
        for event in recovery.from_salvage(self.state, self.journal.salvaged):
            self._record(event.pop("type"), **event)
        for event in recovery.from_folders(self.state, self.paths):
            self._record(event.pop("type"), **event)
        self.journal.commit()
        self.journal.salvaged = []
        self.journal.problems.append(f"{len(self.state.jobs) - before} jobs were found again")

    def _resume(self) -> None:
        """After a start: begin the attempts that were leased but never begun, pass on stops that were asked for."""
        for attempt in self.active_attempts():
            view = self.state.jobs[attempt[0]]
            if not self.backend.was_begun(attempt):
                self._start(attempt, self.state.leases[attempt[0]])
            if view.stop_requested_by:
                left = (view.stop_deadline or 0.0) - self._clock()  # the clock may have been set meanwhile
                self.backend.stop(attempt, view.stop_requested_by, min(max(0.0, left), view.spec.grace))
        for job, view in self.state.jobs.items():
            if view.spec.private and view.state.is_final:
                if job in self.state.untold:
                    self.notices.send(view)
                else:
                    self._remove_private(job)
        for entry in os.scandir(self.paths.trash):
            self._remove(entry.path)  # its removal was cut short

    def _remove_private(self, job: str) -> None:
        try:
            os.unlink(self.paths.job(job).private)
        except OSError:
            pass  # it has gone already

    def _remove_folder(self, job: str) -> None:
        """Move a job's folder out of the way and have it removed: a large one takes long."""
        grave = os.path.join(self.paths.trash, f"{job}-{os.urandom(4).hex()}")
        try:
            os.rename(self.paths.job(job).folder, grave)
        except FileNotFoundError:
            return  # it never started
        self._remove(grave)

    def _remove(self, path: str) -> None:
        self._removals.append(subprocess.Popen(["/bin/rm", "-rf", "--", path]))


def _replay(history: List[Dict[str, Any]]) -> HostState:
    state = HostState()
    for event in history:
        states.apply(state, event)
    return state


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def waiting_groups(waits: Dict[str, scheduler.Wait]) -> List[Tuple[str, List[str]]]:
    """Return the reasons of waiting jobs, each with its jobs: thousands wait for the same thing."""
    groups: Dict[str, List[str]] = {}
    for job, wait in waits.items():
        groups.setdefault(wait.words, []).append(job)
    return list(groups.items())
