"""The only writer of the agent's state: takes requests and the backend's news, decides, and journals.

What is decided is carried out only after ``commit`` has made it durable: a job is started, an answer sent, a stop
passed on. So a kill at any instant leaves nothing that the journal does not know.
"""

from __future__ import annotations

import os
import subprocess
from typing import Any, Callable, Dict, List, Optional, Tuple

from remote_agent import files, scheduler, state as states, streams
from remote_agent.backends import Attempt
from remote_agent.backends.local import LocalBackend
from remote_agent.errors import Conflict, DiskFull, NotFound, StorageBroken, Unsatisfiable
from remote_agent.jobs import ACTIVE_STATES, JobSpec, JobState, JobView, Lease
from remote_agent.journal import Journal
from remote_agent.objects import ObjectStore
from remote_agent.paths import Paths
from remote_agent.state import HostState

LEAST_FREE_BYTES = 8 << 20
"""A host with less than this free on its disk takes no job."""


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
        self.waits: Dict[str, str] = {}
        self.waits_version = 0
        self._clock = clock
        self._after_commit: List[Callable[[], None]] = []
        self._removals: List[subprocess.Popen[bytes]] = []
        self._replan = True
        self.state = _replay(journal.take_history())
        self._resume()

    # --- what clients ask for ---------------------------------------------------------------------------------

    def submit(self, spec: JobSpec) -> JobView:
        """Accept a job; the same id again is the same job.

        Raises:
            NotFound: the snapshot is not here. Unsatisfiable, DiskFull, Conflict: why it cannot be taken.
        """
        if spec.job in self.state.deleted:
            raise Conflict(f"job {spec.job} was submitted before and has been deleted")
        if spec.job in self.state.jobs:
            return self.state.jobs[spec.job]
        refusal = self.backend.capacity().refusal(spec)
        if refusal:
            raise Unsatisfiable(refusal)
        if not self.objects.has(spec.snapshot):
            raise NotFound(f"snapshot {spec.snapshot} is not on this host")
        if files.free_bytes(self.paths.root) < LEAST_FREE_BYTES:
            raise DiskFull("the disk of the host is full")
        self._record("submitted", job=spec.job, spec=spec.to_wire())
        return self.state.jobs[spec.job]

    def stop(self, job: str, by: str, grace: float) -> JobView:
        """End a job: at once when it waits, by its supervisor when it runs.

        Raises:
            NotFound: there is no such job. Conflict: it has ended.
        """
        view = self.job(job)
        if view.state.is_final:
            raise Conflict(f"job {job} has already ended ({view.state.value})")
        self._record("stop_requested", job=job, by=by, grace=grace)
        if view.state is JobState.QUEUED:
            words = f"stopped by {by} before it started"
            self._record("ended", job=job, reason_code="stopped_by_user", reason=words, ended_at=self._clock())
        else:
            self._later(lambda: self.backend.stop((job, view.attempt), by, grace))
        return self.state.jobs[job]

    def delete(self, job: str) -> None:
        """Forget an ended job and remove its folder.

        Raises:
            NotFound: there is no such job. Conflict: it has not ended.
        """
        if not self.job(job).state.is_final:
            raise Conflict(f"job {job} has not ended; stop it first")
        self._record("deleted", job=job)
        self._later(lambda: self._remove_folder(job))

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
        if self._replan:
            self._plan()

    def commit(self) -> bool:
        """Make all that was decided durable, then carry it out.

        Returns:
            Whether anything was decided.
        Raises:
            StorageBroken: nothing was decided after all; the state is what the journal says.
        """
        try:
            wrote = self.journal.commit()
        except StorageBroken:
            self._after_commit = []
            self._replan = True  # what was decided was not; the next turn decides it again
            self.backend.repeat_news()
            self.state = _replay(self.journal.reload())
            raise
        actions, self._after_commit = self._after_commit, []
        for action in actions:
            action()
        self._removals = [child for child in self._removals if child.poll() is None]
        return wrote

    def replan(self) -> None:
        """Look at the queue again: the capacity may have changed."""
        self._replan = True

    def active_attempts(self) -> List[Attempt]:
        """Return the attempts that are preparing or running."""
        return [(job, self.state.jobs[job].attempt) for job in self.state.active]

    @property
    def is_unsettled(self) -> bool:
        """Whether a turn of the loop has something to decide or to write at once."""
        return self._replan or self.journal.has_pending

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits or runs."""
        return not self.state.active and not self.state.queue

    # --- inside -----------------------------------------------------------------------------------------------

    def _record(self, kind: str, **facts: Any) -> None:
        event = {"seq": self.state.seq + 1, "time": self._clock(), "type": kind, **facts}
        states.apply(self.state, event)
        self.journal.append(event)
        self._replan = True

    def _later(self, action: Callable[[], None]) -> None:
        self._after_commit.append(action)

    def _take_news(self, attempt: Attempt, phase: str, facts: Dict[str, Any]) -> None:
        job, number = attempt
        view = self.state.jobs.get(job)
        if view is None or view.attempt != number or view.state not in ACTIVE_STATES:
            return
        if phase == "running" and view.state is JobState.PREPARING:
            self._record("started", job=job, started_at=facts["started_at"])
        elif phase == "ended":
            self._record("ended", job=job, **self._end_facts(attempt, facts))

    def _end_facts(self, attempt: Attempt, record: Dict[str, Any]) -> Dict[str, Any]:
        facts = {
            "reason_code": record["reason_code"],
            "reason": record["reason"],
            "exit_code": record.get("exit_code"),
            "ended_at": record.get("ended_at") or self._clock(),
            "usage": record.get("usage") or {},
            "streams": streams.sizes(self.paths.job(attempt[0]).attempt(attempt[1])),
        }
        if record.get("started_at"):
            facts["started_at"] = record["started_at"]
        return facts

    def _plan(self) -> None:
        self._replan = False
        plan = scheduler.plan(self.state, self.backend.capacity(), self._clock())
        for job, lease in plan.starts:
            self._lease(job, lease)
        self._replan = False
        if plan.waits != self.waits:
            self.waits = plan.waits
            self.waits_version += 1

    def _lease(self, job: str, lease: Lease) -> None:
        attempt = (job, self.state.jobs[job].attempt + 1)
        self._record(
            "leased", job=job, attempt=attempt[1], cpus=lease.cpus, gpus=lease.gpus, gpu_indices=lease.gpu_indices
        )
        self._later(lambda: self._start(attempt, lease))

    def _start(self, attempt: Attempt, lease: Lease) -> None:
        job = self.paths.job(attempt[0])
        try:
            os.makedirs(job.folder, 0o700, exist_ok=True)
            files.write_json(job.spec, self.state.jobs[attempt[0]].spec.to_wire())
            self.backend.start(attempt, lease)
        except ConnectionError:
            raise  # the zygote is gone: nothing can be started before the daemon begins again
        except OSError as error:
            words = f"the job could not be started: {error.strerror or error}"
            self._record("ended", job=attempt[0], reason_code="workspace_failed", reason=words, ended_at=self._clock())

    def _resume(self) -> None:
        """After a start: begin the attempts that were leased but never begun, pass on stops that were asked for."""
        for attempt in self.active_attempts():
            view = self.state.jobs[attempt[0]]
            if not self.backend.was_begun(attempt):
                self._start(attempt, self.state.leases[attempt[0]])
            if view.stop_requested_by:
                left = max(0.0, (view.stop_deadline or 0.0) - self._clock())
                self.backend.stop(attempt, view.stop_requested_by, left)

    def _remove_folder(self, job: str) -> None:
        """Move a job's folder out of the way and have it removed: a large one takes long."""
        grave = os.path.join(self.paths.trash, f"{job}-{os.urandom(4).hex()}")
        try:
            os.rename(self.paths.job(job).folder, grave)
        except FileNotFoundError:
            return  # it never started
        self._removals.append(subprocess.Popen(["/bin/rm", "-rf", "--", grave]))


def _replay(history: List[Dict[str, Any]]) -> HostState:
    state = HostState()
    for event in history:
        states.apply(state, event)
    return state


def waiting_groups(waits: Dict[str, str]) -> List[Tuple[str, List[str]]]:
    """Return the reasons of waiting jobs, each with its jobs: thousands wait for the same thing."""
    groups: Dict[str, List[str]] = {}
    for job, reason in waits.items():
        groups.setdefault(reason, []).append(job)
    return list(groups.items())


def view_on_wire(view: Optional[JobView]) -> Optional[Dict[str, Any]]:
    """Return a job as an answer carries it."""
    return view.to_wire() if view else None
