"""What follows from decisions once they are durable: as data, carried out in one place."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from typing import Callable, Iterable, List, Optional, Tuple, Union

from remote_agent.backends import Attempt, Backend
from remote_agent.daemon.notifications import Notices
from remote_agent.protocol.jobs import JobSpec, JobView
from remote_agent.protocol.lease import Lease
from remote_agent.protocol.services import Probes
from remote_agent.storage import files
from remote_agent.storage.paths import Paths
from remote_agent.system import failpoints

_FOLDERS_AT_ONCE = 200
_REMOVE = 'rm -rf -- "$@" 2>/dev/null || { chmod -R u+rwX -- "$@" 2>/dev/null; rm -rf -- "$@"; }'
"""Folders that cannot be written, of environments and of jobs, are made writable first where that stops their end."""


@dataclass(frozen=True)
class StartAttempt:
    """An attempt has its lease: begin it."""

    attempt: Attempt
    spec: JobSpec
    lease: Lease
    is_brief: bool
    """Like jobs take only moments."""


@dataclass(frozen=True)
class StopAttempt:
    """An attempt is to end."""

    attempt: Attempt
    by: str
    grace: float
    """Seconds until KILL."""


@dataclass(frozen=True)
class RemoveFolder:
    """A job was deleted or pruned: its folder goes."""

    job: str


@dataclass(frozen=True)
class RemovePrivate:
    """A job no longer needs its secrets."""

    job: str


@dataclass(frozen=True)
class SendNotice:
    """Somebody is to be notified that a job has ended."""

    view: JobView


@dataclass(frozen=True)
class RemoveAttempt:
    """The folder of an old attempt of a replica goes."""

    attempt: Attempt


@dataclass(frozen=True)
class WriteProbes:
    """How the replicas of a service are probed has changed."""

    service: str
    probes: Probes


@dataclass(frozen=True)
class RemoveService:
    """A service was forgotten: what was kept for its replicas goes."""

    service: str


@dataclass(frozen=True)
class RemoveOldSecrets:
    """A service has a further revision: what replicas of those that are forgotten got, goes."""

    service: str
    revisions: Tuple[int, ...]
    """Those that are kept."""


@dataclass(frozen=True)
class RemoveOldSchedules:
    """A schedule was removed, or another one took its place: what was kept for its jobs goes."""

    name: str


OfAJob = Union[StartAttempt, StopAttempt, RemoveFolder, RemovePrivate, SendNotice, RemoveAttempt]
OfAService = Union[WriteProbes, RemoveService, RemoveOldSecrets]
Effect = Union[OfAJob, OfAService, RemoveOldSchedules]


class Performer:
    """Carries effects out on this host."""

    def __init__(self, paths: Paths, backend: Backend, notices: Notices) -> None:
        self._paths = paths
        self._backend = backend
        self._notices = notices
        self.has_service: Callable[[str], bool] = lambda name: False
        """Says whether there is a service of a name: it may have been begun again in the turn that forgot it."""
        self.kept_of_schedule: Callable[[str], str] = lambda name: ""
        """Returns the file that is kept of the schedule of a name."""
        self._trash: List[str] = []
        """Folders to be removed, by one process at a time."""
        self._removing: List[str] = []
        self._remover: Optional[subprocess.Popen[bytes]] = None

    def carry_out(self, effect: Effect) -> str:
        """Carry one effect out.

        Returns:
            Why an attempt could not be started, in words; else "".
        Raises:
            ConnectionError: nothing can be started before the daemon begins again.
        """
        if isinstance(effect, StartAttempt):
            return self._start(effect)
        if isinstance(effect, StopAttempt):
            self._backend.stop(effect.attempt, effect.by, effect.grace)
        elif isinstance(effect, RemoveFolder):
            self._trash_folder(self._paths.job(effect.job).folder, effect.job)
        elif isinstance(effect, RemovePrivate):
            self._remove_file(self._paths.job(effect.job).private)
        elif isinstance(effect, RemoveAttempt):
            job, number = effect.attempt
            self._trash_folder(self._paths.job(job).attempt(number).folder, f"{job}-{number}")
        elif isinstance(effect, WriteProbes):
            self._write_probes(effect)
        elif isinstance(effect, RemoveOldSecrets):
            self._remove_old_secrets(effect)
        elif isinstance(effect, RemoveOldSchedules):
            self._remove_old_schedules(effect.name)
        elif isinstance(effect, RemoveService):
            if not self.has_service(effect.service):
                self._trash_folder(self._paths.service(effect.service).folder, effect.service)
        else:
            self._notices.send(effect.view)
        return ""

    def take_up_trash(self) -> None:
        """Have removed what an earlier daemon had no time to remove."""
        self._trash += [entry.path for entry in os.scandir(self._paths.trash)]
        self.empty_trash()

    def remove(self, folders: Iterable[str]) -> None:
        """Have folders removed that nobody uses any more."""
        self._trash += [folder for folder in folders if folder not in self._trash and folder not in self._removing]
        self.empty_trash()

    def empty_trash(self) -> None:
        """Have what is in the trash removed, unless that is being done; what the host has no process for waits."""
        if not self._trash or (self._remover is not None and self._remover.poll() is None):
            return
        try:
            self._remover = subprocess.Popen(["/bin/sh", "-c", _REMOVE, "sh", *self._trash[:_FOLDERS_AT_ONCE]])
        except OSError:
            return
        self._removing = self._trash[:_FOLDERS_AT_ONCE]
        del self._trash[:_FOLDERS_AT_ONCE]

    def _start(self, effect: StartAttempt) -> str:
        job = self._paths.job(effect.spec.job)
        failpoints.point("daemon.before_start")
        why_not = ""
        try:
            is_new = not os.path.isdir(job.folder)
            os.makedirs(job.folder, 0o700, exist_ok=True)
            # The journal has the specification: this file is not durable, and may be torn.
            if is_new or files.read_json(job.spec) is None:
                files.write_bytes(job.spec, json.dumps(effect.spec.to_wire()).encode(), durable=False)
            self._backend.start(effect.attempt, effect.lease, effect.is_brief)
        except ConnectionError:
            raise  # the zygote is gone
        except OSError as error:
            why_not = f"the job could not be started: {error.strerror or error}"
        failpoints.point("daemon.started")
        return why_not

    @staticmethod
    def _remove_file(path: str) -> None:
        try:
            os.unlink(path)
        except OSError:
            pass  # it has gone already

    def _write_probes(self, effect: WriteProbes) -> None:
        path = self._paths.service(effect.service).probes
        try:
            os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
            files.write_bytes(path, json.dumps(effect.probes.to_wire()).encode(), durable=False)
        except OSError:
            pass  # a full disk: the journal has it, and the next start writes it again

    def _remove_old_secrets(self, effect: RemoveOldSecrets) -> None:
        paths = self._paths.service(effect.service)
        for number in range(1, max(effect.revisions)):  # a later one may be in the making
            if number not in effect.revisions:
                self._remove_file(paths.private(number))

    def _remove_old_schedules(self, name: str) -> None:
        kept = self.kept_of_schedule(name)
        folder = self._paths.schedules
        for file in os.listdir(folder) if os.path.isdir(folder) else ():
            path = os.path.join(folder, file)
            if file.partition("@")[0] == name and path != kept:
                self._remove_file(path)

    def _trash_folder(self, folder: str, name: str) -> None:
        """Move a folder out of the way and have it removed: a large one takes long."""
        target = os.path.join(self._paths.trash, f"{name}-{os.urandom(4).hex()}")
        try:
            os.rename(folder, target)
        except OSError:
            return  # it never was, or cannot be moved now: it is only space
        self._trash.append(target)
