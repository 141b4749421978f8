"""The only writer of the agent's state: takes requests and the backend's news, decides, and journals.

What is decided is carried out only after ``commit`` has made it durable: a job is started, an answer sent, a stop
passed on. So a kill at any instant leaves nothing that the journal does not know.
"""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

from remote_agent.backends import Attempt, Backend
from remote_agent.core import scheduler, state as states
from remote_agent.core.state import ALL_GROUPS, HostState
from remote_agent.core.waits import Waits
from remote_agent.daemon import admission, recovery
from remote_agent.daemon.admission import Submission
from remote_agent.daemon.effects import (
    Effect,
    Performer,
    RemoveFolder,
    RemovePrivate,
    SendNotice,
    StartAttempt,
    StopAttempt,
)
from remote_agent.daemon.notifications import Notices
from remote_agent.protocol import checks
from remote_agent.protocol.errors import BadRequest, Conflict, NotFound, StorageBroken
from remote_agent.protocol.jobs import (
    ACTIVE_STATES,
    MOST_SPEC_BYTES,
    STATE_OF_REASON,
    EndReason,
    JobSpec,
    JobState,
    JobView,
    Lease,
    check_annotations,
    retry_class,
)
from remote_agent.storage import streams, unfetched
from remote_agent.storage.journal import Journal
from remote_agent.storage.objects import ObjectStore
from remote_agent.storage.paths import Paths
from remote_agent.system import failpoints

_MOST_PAUSED = 1000
"""Groups that may be paused at once."""
_BRIEF_SECONDS = 2.0
"""Jobs that usually take less are brief."""


class Engine:
    """The jobs of one host."""

    def __init__(self, paths: Paths, journal: Journal, backend: Backend, clock: Callable[[], float]) -> None:
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
        self.is_ready: Callable[[], bool] = lambda: True
        """Says whether jobs may be started: at the very beginning it is not known yet in what environment."""
        self.waits = Waits()
        self._clock = clock
        self._after_commit: List[Effect] = []
        self._performer = Performer(paths, backend, self.notices)
        self._unaccepted: List[str] = []
        """Jobs with private files whose acceptance is not durable yet."""
        self._replan = True
        self.is_urgent = False
        """Whether something was decided that has to be written down at once."""
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
        admission.check(fresh, self.state, self.capacity(), self.paths, self.objects)
        self._unaccepted += [one.spec.job for one in fresh if one.private]
        admission.keep_private(fresh, self.paths)
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
            self._later(StopAttempt((job, view.attempt), by, grace))
        return self.state.jobs[job]

    def delete(self, job: str, client: str, files: bool = False, force: bool = False) -> None:
        """Forget an ended job and remove its folder.

        Args:
            job: which.
            client: who asks: the one that submitted it needs no acknowledgement of its own.
            files: whether files that it wrote and nobody fetched may go with it.
            force: whether everything may, also what the client that submitted it has not fetched.
        Raises:
            NotFound: there is no such job. Conflict: it has not ended, or is not fetched.
        """
        if not self.job(job).state.is_final:
            raise Conflict(f"job {job} has not ended; stop it first")
        why_not = "" if force else self.not_fetched(job, but_for=client, files=files)
        if why_not:
            raise Conflict(why_not)
        self._record("deleted", job=job)
        self._later(RemoveFolder(job))

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
            self._later(RemoveFolder(job))

    def not_fetched(self, job: str, but_for: str = "", files: bool = False) -> str:
        """Return what of a job would be lost with its folder, in words; empty for nothing.

        That is what the client which submitted it has not acknowledged, and files that nobody has brought home.

        Args:
            job: which.
            but_for: a client that knows what it lacks.
            files: whether the files may be lost.
        """
        view = self.job(job)
        if not view.attempt or view.pruned:
            return ""
        if view.spec.client not in (but_for, *self.state.acknowledged.get(job, ())):
            owner = view.spec.owner or "somebody"
            return f"the client of {owner} that submitted job {job} has not fetched everything of it yet"
        return "" if files else unfetched.words(self.paths.job(job))

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

    def annotate(self, changes: Dict[str, Dict[str, Any]]) -> List[str]:
        """Take note of what people say of jobs; those that are not here are passed over.

        Args:
            changes: by job: key -> [value, seconds since the epoch].
        Returns:
            The jobs that are not here.
        Raises:
            BadRequest: something is no annotation; nothing was taken.
        """
        for job, wanted in changes.items():
            check_annotations(wanted)
            if job in self.state.jobs:
                size = checks.json_size({**self.state.jobs[job].annotations, **wanted})
                if size > MOST_SPEC_BYTES:
                    raise BadRequest(
                        f"what is said of job {job} has {size:,} bytes; at most {MOST_SPEC_BYTES:,} are kept"
                    )
        for job, wanted in changes.items():
            if job in self.state.jobs:
                self._record("annotated", job=job, changes=wanted)
        return [job for job in changes if job not in self.state.jobs]

    def pause(self, group: str, paused: bool) -> None:
        """Start no job of a group any more, or again; ``*`` is the whole host. What runs goes on.

        Raises:
            Conflict: too many groups are paused.
        """
        if (group in self.state.paused) == paused:
            return
        if paused and group != ALL_GROUPS and len(self.state.paused) >= _MOST_PAUSED:
            raise Conflict(f"{_MOST_PAUSED} groups of this host are paused already; resume some")
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
        if where and job in self.state.queue.blocked:
            raise Conflict(f"job {job} waits for other jobs: it has no place in the queue yet (--priority may be set)")
        if where:
            place = scheduler.place(self.state, job, where, other)
        self._record("moved", job=job, priority=place[0], rank=place[1])
        return self.state.jobs[job]

    def release(self, job: str) -> JobView:
        """Let a job start that is held.

        Raises:
            NotFound: there is no such job. Conflict: it is not held.
        """
        if not self._waiting(job).held:
            raise Conflict(f"job {job} is not held: it waits for its turn")
        self._record("released", job=job)
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
            self._later(RemovePrivate(job))
        if self._replan and self.is_ready():
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
        failpoints.point("daemon.before_commit")
        self.is_urgent = False
        try:
            wrote = self.journal.write()
        except StorageBroken:
            self._take_back()
            raise
        failpoints.point("daemon.written")
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
        failpoints.point("daemon.committed")
        self._carry_out()

    def take_back(self) -> None:
        """After a fault: nothing that was not written down was decided."""
        self.journal.forget_pending()
        self._take_back()

    def compact_if_due(self) -> None:
        """Make the journal short again when most of it is history; nothing may be pending."""
        if self.journal.wants_shorter_copies:
            try:
                self.journal.shorten_copies(states.submits(self.state, self._clock()))
            except StorageBroken:
                pass
        if self.journal.wants_compaction(len(self.state.jobs) + len(self.state.deleted)):
            try:
                self.journal.compact(states.snapshot_events(self.state, self._clock()), self._clock())
            except StorageBroken:
                pass  # the long one is as good; a disk that is full has no room for both

    def replan(self) -> None:
        """Look at the queue again: the capacity may have changed."""
        self._replan = True
        self.waits.expire()

    def refresh_waits(self, at_once: bool = False) -> None:
        """Find out anew why jobs wait, unless that was just done."""
        self.waits.refresh(self.state, self.capacity(), self._clock(), at_once)

    def capacity(self) -> scheduler.Capacity:
        """Return what the host has, and what of it may not be leased now."""
        return self.backend.capacity(self.state.leases)

    def active_attempts(self) -> List[Attempt]:
        """Return the attempts that are preparing or running."""
        return [(job, self.state.jobs[job].attempt) for job in self.state.active]

    @property
    def is_unsettled(self) -> bool:
        """Whether a turn of the loop has something to decide or to write at once."""
        return (self._replan and self.is_ready()) or self.is_urgent

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits or runs."""
        return not self.state.active and not self.state.queue and not self.notices.is_busy

    # --- inside: deciding -------------------------------------------------------------------------------------

    def _waiting(self, job: str) -> JobView:
        view = self.job(job)
        if view.state is not JobState.QUEUED:
            raise Conflict(f"job {job} does not wait any more ({view.state.value})")
        return view

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

    def _later(self, effect: Effect) -> None:
        self._after_commit.append(effect)

    def _carry_out(self) -> None:
        self.backend.acknowledge()
        effects, self._after_commit = self._after_commit, []
        for effect in effects:
            self._perform(effect)
        self._unaccepted = []
        self._performer.empty_trash()

    def _perform(self, effect: Effect) -> None:
        why_not = self._performer.carry_out(effect)
        if why_not and isinstance(effect, StartAttempt):
            self._end(effect.spec.job, reason_code="workspace_failed", reason=why_not, ended_at=self._clock())

    def _take_back(self) -> None:
        """Go back to what the journal says: what was decided could not be written."""
        self._after_commit = []
        for job in self._unaccepted:
            self._perform(RemovePrivate(job))
        self._unaccepted = []
        self.replan()  # the next turn decides it again
        self.state = _replay(self.journal.reload())

    def _take_news(self, attempt: Attempt, phase: str, facts: Dict[str, Any]) -> None:
        job, number = attempt
        view = self.state.jobs.get(job)
        if view is None or view.attempt != number or view.state not in ACTIVE_STATES:
            return
        if phase == "running" and view.state is JobState.PREPARING:
            self._append("started", job=job, started_at=facts["started_at"])
        elif phase == "ended":
            failpoints.point("daemon.ended")
            self._end(job, **self._end_facts(attempt, facts))

    def _end_facts(self, attempt: Attempt, record: Dict[str, Any]) -> Dict[str, Any]:
        facts = {name: record.get(name) for name in ("reason_code", "reason", "exit_code", "signal", "cause")}
        facts.update(
            ended_at=record.get("ended_at") or self._clock(),
            usage={**(record.get("usage") or {}), **self.more_usage(attempt)},
            streams=streams.sizes(self.paths.job(attempt[0]).attempt(attempt[1]), fresh=True),
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
            self._later(SendNotice(self.state.jobs[job]))
        elif spec.private:
            self._later(RemovePrivate(job))

    def _needs(self, job: str, other: str) -> bool:
        view = self.state.jobs.get(job)
        return view is not None and view.state is JobState.QUEUED and other in view.spec.after

    def _dependency_failed(self, job: str) -> Dict[str, Any]:
        words = f"dependency {job} {self.state.jobs[job].state.value}"
        return {"reason_code": "dependency_failed", "reason": words, "ended_at": self._clock()}

    def _plan(self) -> None:
        plan = scheduler.plan(self.state, self.capacity(), self._clock())
        for job, lease in plan.starts:
            self._lease(job, lease)
        if plan.starts:
            self.capacity()  # what is leased now is no longer looked at as free
        self._replan = False

    def _lease(self, job: str, lease: Lease) -> None:
        attempt = (job, self.state.jobs[job].attempt + 1)
        self._record("leased", job=job, attempt=attempt[1], **lease.to_wire())
        self._later(self._start_of(attempt, lease))

    def _start_of(self, attempt: Attempt, lease: Lease) -> StartAttempt:
        spec = self.state.jobs[attempt[0]].spec
        usual = self.state.usual_duration(spec)
        return StartAttempt(attempt, spec, lease, usual is not None and usual < _BRIEF_SECONDS)

    # --- inside: coming up, and going -------------------------------------------------------------------------

    def _recover(self) -> None:
        """Take up what the journal no longer says and can be found elsewhere."""
        before = len(self.state.jobs)
        journal = self.journal
        behind, more_is_lost = recovery.with_copies(self.state, journal.good, journal.salvaged, journal.copies)
        if behind and not self.journal.problems:
            self._renew_for("the end of the journal is missing: jobs were submitted that it does not know of")
        for event in recovery.from_salvage(self.state, behind):
            self._record(event.pop("type"), **event)
        self.journal.salvaged = self.journal.copies = []
        begun = recovery.from_folders(self.state, self.paths)
        if begun and not self.journal.problems:
            self._renew_for("the end of the journal is missing: jobs have begun that it does not know of")
        for event in begun:
            self._record(event.pop("type"), **event)
        for job in list(self.state.queue.everyone()) if more_is_lost else ():
            self._record("held", job=job)  # a stop or delete of it may be among what is missing
        self.journal.commit()
        if self.journal.problems:
            held = sum(1 for job in self.state.queue.everyone() if self.state.jobs[job].held)
            words = f"; {held} of them are held, since a stop may be lost: foundations resume JOB" if held else ""
            self.journal.problems.append(f"{len(self.state.jobs) - before} jobs were found again{words}")

    def _renew_for(self, problem: str) -> None:
        """Give the journal a new id: clients have seen what it does not know."""
        self.journal.problems.append(problem)
        self._append("renewed", journal=self.journal.renew())

    def _resume(self) -> None:
        """After a start: begin the attempts that were leased but never begun, pass on stops that were asked for."""
        for attempt in self.active_attempts():
            view = self.state.jobs[attempt[0]]
            if not self.backend.adopt(attempt):
                self._perform(self._start_of(attempt, self.state.leases[attempt[0]]))
            if view.stop_requested_by:
                left = (view.stop_deadline or 0.0) - self._clock()  # the clock may have been set meanwhile
                grace = min(max(0.0, left), view.spec.grace)
                self._perform(StopAttempt(attempt, view.stop_requested_by, grace))
        for job, view in self.state.jobs.items():
            if view.spec.private and view.state.is_final:
                self._perform(SendNotice(view) if job in self.state.untold else RemovePrivate(job))
        for job in [job for job in os.listdir(self.paths.jobs) if job not in self.state.jobs]:
            self._perform(RemovePrivate(job))  # of a submit that was cut short before it was accepted
        for other, unmet in list(self.state.queue.blocked.items()):
            failed = [job for job in unmet if job in self.state.jobs and self.state.jobs[job].state.is_final]
            if failed:  # its end was not written down with that of the job it waited for
                self._end(other, **self._dependency_failed(failed[0]))
        self._performer.take_up_trash()


def _replay(history: List[Dict[str, Any]]) -> HostState:
    state = HostState()
    for event in history:
        states.apply(state, event)
    return state
