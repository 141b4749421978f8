"""What clients ask of the jobs of a host: each request decides, and is carried out when that is durable."""

from __future__ import annotations

from typing import Callable, Dict, Iterable, List, Optional

from remote_agent.core import events, scheduler
from remote_agent.core.scheduler import Capacity
from remote_agent.core.state import ALL_GROUPS, HostState
from remote_agent.daemon import admission
from remote_agent.daemon.admission import NewJob
from remote_agent.daemon.effects import RemoveFolder, StopAttempt
from remote_agent.daemon.ledger import Ledger
from remote_agent.daemon.lifecycle import Lifecycle
from remote_agent.protocol import checks
from remote_agent.protocol.ends import AttemptEnd
from remote_agent.protocol.errors import BadRequest, Conflict, NotFound
from remote_agent.protocol.jobs import MOST_SPEC_BYTES, JobSpec, JobView, check_annotations
from remote_agent.protocol.states import JobState
from remote_agent.protocol.wire import JsonTable
from remote_agent.storage import unfetched
from remote_agent.storage.objects import ObjectStore
from remote_agent.storage.paths import Paths

_MOST_PAUSED = 1000
"""Groups that may be paused at once."""


class Requests:
    """What may be asked for, with its rules."""

    def __init__(
        self,
        ledger: Ledger,
        lifecycle: Lifecycle,
        paths: Paths,
        objects: ObjectStore,
        capacity: Callable[[], Capacity],
    ) -> None:
        """Make them.

        Args:
            ledger: takes what is decided.
            lifecycle: ends jobs that wait.
            paths: the agent's files.
            objects: the snapshots that are here.
            capacity: returns what the host has.
        """
        self._ledger = ledger
        self._lifecycle = lifecycle
        self._paths = paths
        self._objects = objects
        self._capacity = capacity

    @property
    def _state(self) -> HostState:
        return self._ledger.state

    def submit(self, spec: JobSpec, private: Optional[JsonTable] = None) -> JobView:
        """Accept a job; see ``submit_all``."""
        return self.submit_all([NewJob(spec, private)])[0]

    def submit_all(self, jobs: List[NewJob]) -> List[JobView]:
        """Accept jobs, all or none; an id that is known is the job that it was.

        Raises:
            NotFound: a snapshot or a job to wait for is not here. Unsatisfiable, DiskFull, Conflict: why not.
        """
        fresh = [job for job in jobs if job.spec.job not in self._state.jobs]
        admission.check(fresh, self._state, self._capacity(), self._paths, self._objects)
        self._ledger.accepting(job.spec.job for job in fresh if job.private)
        admission.keep_private(fresh, self._paths)
        for job in fresh:
            self._ledger.record(events.Submitted(job.spec.job, job.spec))
        return [self._state.jobs[job.spec.job] for job in jobs]

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
        service = view.spec.service.get("name", "")
        if service in self._state.services:
            raise Conflict(
                f"job {job} is a replica of service {service}, which would begin another one:"
                f" foundations service stop {service}, or service scale"
            )
        return self._stop(view, by, grace)

    def end_replica(self, job: str, why: str) -> None:
        """End a replica for good, as its service wants it."""
        self._stop(self.job(job), why, None)

    def _stop(self, view: JobView, by: str, grace: Optional[float]) -> JobView:
        job = view.spec.job
        grace = view.spec.grace if grace is None else grace
        self._ledger.record(events.StopRequested(job, by, grace))
        if view.state is JobState.QUEUED:
            words = f"stopped by {by} before it started"
            self._lifecycle.end(job, AttemptEnd("stopped_by_user", words, self._ledger.clock()))
        else:
            self._ledger.later(StopAttempt((job, view.attempt), by, grace))
        return self._state.jobs[job]

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
        self._refuse_pinned(job)
        why_not = "" if force else self.not_fetched(job, but_for=client, files=files)
        if why_not:
            raise Conflict(why_not)
        self._ledger.record(events.Deleted(job))
        self._ledger.later(RemoveFolder(job))

    def prune(self, job: str, force: bool) -> None:
        """Remove an ended job's folder; the job stays listed.

        Raises:
            NotFound: there is no such job. Conflict: it has not ended, or is not fetched.
        """
        view = self.job(job)
        if not view.state.is_final:
            raise Conflict(f"job {job} has not ended")
        self._refuse_pinned(job)
        why_not = "" if force else self.not_fetched(job)
        if why_not:
            raise Conflict(why_not)
        if not view.pruned:
            self._ledger.record(events.Pruned(job))
            self._ledger.later(RemoveFolder(job))

    def pin(self, job: str, key: str, words: str, data: str) -> None:
        """Keep a job because a version consists of it, or let it go.

        Args:
            job: which.
            key: the version's identity.
            words: what it is called; "" lets the job go.
            data: hash of its files.
        Raises:
            NotFound: there is no such job. Conflict: it has not ended, or its folder is gone.
        """
        view = self.job(job)
        known = self._state.pins.get(job, {}).get(key)
        if not words and known is None:
            return
        if words and not view.state.is_final:
            raise Conflict(f"job {job} has not ended ({view.state.value})")
        if words and view.pruned:
            raise Conflict(f"the folder of job {job} was removed (pruned): its code may not be here any more")
        if known is None or (known.words, known.data) != (words, data):
            self._ledger.record(events.Pinned(job, key, words, data))

    def pinned_by(self, job: str) -> str:
        """Return that versions consist of a job, in words; empty when none does."""
        names = ", ".join(sorted(pin.words for pin in self._state.pins.get(job, {}).values()))
        return names and f"job {job} is what model {names} consists of; foundations model retire lets it go"

    def _refuse_pinned(self, job: str) -> None:
        """Refuse to lose a job that a version consists of."""
        why_not = self.pinned_by(job)
        if why_not:
            raise Conflict(why_not)

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
        if view.spec.client not in (but_for, *self._state.acknowledged.get(job, ())):
            owner = view.spec.owner or "somebody"
            return f"the client of {owner} that submitted job {job} has not fetched everything of it yet"
        return "" if files else unfetched.words(self._paths.job(job))

    def acknowledge(self, client: str, jobs: Iterable[str]) -> None:
        """Take note that a client has everything of these ended jobs."""
        state = self._state
        fresh = [
            job
            for job in jobs
            if job in state.jobs and state.jobs[job].state.is_final and client not in state.acknowledged.get(job, ())
        ]
        if fresh:
            self._ledger.record(events.Acknowledged(client, tuple(fresh)))

    def annotate(self, changes: Dict[str, JsonTable]) -> List[str]:
        """Take note of what people say of jobs; those that are not here are passed over.

        Args:
            changes: by job: key -> [value, seconds since the epoch].
        Returns:
            The jobs that are not here.
        Raises:
            BadRequest: something is no annotation; nothing was taken.
        """
        for job, of_job in changes.items():
            check_annotations(of_job)
            if job in self._state.jobs:
                size = checks.json_size({**self._state.jobs[job].annotations, **of_job})
                if size > MOST_SPEC_BYTES:
                    raise BadRequest(
                        f"the annotations of job {job} have {size:,} bytes; at most {MOST_SPEC_BYTES:,} are kept"
                    )
        for job, of_job in changes.items():
            if job in self._state.jobs:
                self._ledger.record(events.Annotated(job, of_job))
        return [job for job in changes if job not in self._state.jobs]

    def pause(self, group: str, paused: bool) -> None:
        """Start no job of a group any more, or again; ``*`` is the whole host. What runs goes on.

        Raises:
            Conflict: too many groups are paused.
        """
        if (group in self._state.paused) == paused:
            return
        if paused and group != ALL_GROUPS and len(self._state.paused) >= _MOST_PAUSED:
            raise Conflict(f"{_MOST_PAUSED} groups of this host are paused already; resume some")
        self._ledger.record(events.Paused((group,)) if paused else events.Resumed((group,)))

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
        if where and job in self._state.queue.blocked:
            raise Conflict(f"job {job} waits for other jobs: it has no place in the queue yet (--priority may be set)")
        if where:
            place = scheduler.place(self._state, job, where, other)
        self._ledger.record(events.Moved(job, place[0], place[1]))
        return self._state.jobs[job]

    def release(self, job: str) -> JobView:
        """Let a job start that is held.

        Raises:
            NotFound: there is no such job. Conflict: it is not held.
        """
        if not self._waiting(job).held:
            raise Conflict(f"job {job} is not held: it waits for its turn")
        self._ledger.record(events.Released(job))
        return self._state.jobs[job]

    def job(self, job: str) -> JobView:
        """Return a job.

        Raises:
            NotFound: there is no such job.
        """
        if job not in self._state.jobs:
            raise NotFound(f"there is no job {job} on this host")
        return self._state.jobs[job]

    def _waiting(self, job: str) -> JobView:
        view = self.job(job)
        if view.state is not JobState.QUEUED:
            raise Conflict(f"job {job} does not wait any more ({view.state.value})")
        return view
