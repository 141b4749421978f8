"""Where everything on a host lies: one property a file, no other module joins path names."""

from __future__ import annotations

import hashlib
import os
import re
from typing import List

from remote_agent.bootstrap import machine_id

WRITER = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}\Z")
"""What a records file may be called, without its ending: a job can put anything into that folder."""
EVENTS = "events/"
"""Begins the name of the stream of an event file; its path below the folder of event files follows."""
SOCKET_NAMES = 8
"""How many names are tried when another user squats on ours."""


class AttemptPaths:
    """The files of one attempt of a job."""

    def __init__(self, job_folder: str, attempt: int) -> None:
        self.folder = os.path.join(job_folder, "attempts", str(attempt))
        self.log = os.path.join(self.folder, "output.log")
        self.records = os.path.join(self.folder, "records")
        self.events = os.path.join(self.records, "tensorboard")
        """Links to the folders of TensorBoard's event files."""
        self.serving = os.path.join(self.records, "serving.jsonl")
        """Of a replica: what it answered, minute by minute, as metrics."""
        self.samples = os.path.join(self.folder, "samples.jsonl")
        self.facts = os.path.join(self.folder, "facts.json")
        self.early_facts = os.path.join(self.folder, "facts-before-setup.json")
        """The same of an attempt whose setup lines have still to run: they may change what is known."""
        self.supervisor = os.path.join(self.folder, "supervisor.json")
        self.exit = os.path.join(self.folder, "exit.json")
        self.made = os.path.join(self.folder, "made.json")
        """Of a chain's second job: what the first one has made."""
        self.work = os.path.join(self.folder, "work")
        self.bin = os.path.join(self.folder, "bin")
        """Programs of the project's own distributions."""
        self.site = os.path.join(self.folder, "site")
        """Metadata of these distributions."""

    def stream(self, name: str) -> str:
        """Return the file of a stream: "log", "samples", "facts", or "records/<writer>"."""
        of_the_agent = {"log": self.log, "samples": self.samples, "facts": self.facts}
        if name in of_the_agent:
            return of_the_agent[name]
        kind, _, writer = name.partition("/")
        if kind != "records" or not WRITER.match(writer):
            raise ValueError(f"no such stream: {name!r}")
        return os.path.join(self.records, writer + ".jsonl")


class JobPaths:
    """The files of one job."""

    def __init__(self, root: str, job: str) -> None:
        self.folder = os.path.join(root, "jobs", job)
        self.spec = os.path.join(self.folder, "spec.json")
        self.private = os.path.join(self.folder, "private.json")
        self.artifacts = os.path.join(self.folder, "artifacts")
        self.synced = os.path.join(self.folder, "synced")
        self.checkpoints = os.path.join(self.folder, "checkpoints")
        self.receipts = os.path.join(self.folder, "receipts")
        self.unfetched = os.path.join(self.folder, "unfetched.json")

    def last_attempt(self) -> int:
        """Return the number of the last attempt that has a folder; 0 for none."""
        try:
            names = os.listdir(os.path.join(self.folder, "attempts"))
        except OSError:
            return 0
        return max((int(name) for name in names if name.isdecimal()), default=0)

    def attempt(self, number: int) -> AttemptPaths:
        """Return the files of one attempt, counted from 1."""
        return AttemptPaths(self.folder, number)


class ServicePaths:
    """The files of one service; it is this account's alone."""

    def __init__(self, root: str, name: str) -> None:
        self.folder = os.path.join(root, "services", name)
        self.probes = os.path.join(self.folder, "probes.json")
        """How its replicas are probed: their supervisors read it again when it changes."""
        self.token = os.path.join(self.folder, "token")
        """What its replicas ask of who calls them."""
        self.people = os.path.join(self.folder, "people.json")
        """Who has a token of their own, and its SHA-256."""
        self.ready = os.path.join(self.folder, "ready.json")
        """Which replicas answer, and where: a front of this host reads it."""
        self.requests = os.path.join(self.folder, "requests")
        """Links to the records of its replicas' attempts, where their request logs are."""
        self.asked = os.path.join(self.folder, "asked")
        """Changed by a front with a request, at most once a second."""

    def private(self, revision: int) -> str:
        """Return the file with what each replica of a revision gets as its private file."""
        return os.path.join(self.folder, f"private-{revision}.json")


class Paths:
    """The files of the agent."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.journal = os.path.join(root, "journal")
        self.owner = os.path.join(root, "owner.json")
        self.objects = os.path.join(root, "objects")
        self.jobs = os.path.join(root, "jobs")
        self.trash = os.path.join(root, "trash")
        self.agents = os.path.join(root, "agents")
        self.current_agent = os.path.join(root, "agents", "current")
        self.samples = os.path.join(root, "samples")
        self.settings = os.path.join(root, "settings.json")
        self.reserve = os.path.join(root, "ballast")
        self.crash = os.path.join(root, "crash")
        self.stopped = os.path.join(root, "stopped")
        self.daemon_log = os.path.join(root, "daemon.log")
        self.login_path = os.path.join(root, "login-path")
        self.secret_name = os.path.join(root, "socket-name")
        self.ignored_claims = os.path.join(root, "ignored-claims.json")
        self.builds = os.path.join(root, "builds")
        """What became of tries to build environments: ``environments/places.py``."""
        self.data = os.path.join(root, "data")
        """Data sets that people have sent: ``storage/data_sets.py``."""
        self.schedules = os.path.join(root, "schedules")
        self.services = os.path.join(root, "services")
        self.tools = os.path.join(root, "tools")
        """Programs that clients have sent: uv."""
        self.interpreters = os.path.join(root, "interpreters")
        """What interpreters said of themselves, and which packages they find: a cache."""

    def packages(self, digest: str) -> str:
        """Return the list of packages of that hash: many attempts have the same."""
        return os.path.join(self.root, "packages", digest + ".json")

    def lock(self, digest: str) -> str:
        """Return the lock of that SHA-256: what environments are built from."""
        return os.path.join(self.root, "locks", digest)

    def agent(self, sha: str) -> str:
        """Return the zipapp of one version of the agent."""
        return os.path.join(self.agents, sha, "agent.pyz")

    def schedule(self, name: str, at: float) -> str:
        """Return the file with what each job of a schedule gets as its private file.

        Args:
            name: the schedule's.
            at: when it was added, seconds since the epoch: one that takes its place has another file.
        """
        return os.path.join(self.schedules, f"{name}@{at:.6f}.json")

    def sdk(self, sha: str) -> str:
        """Return the folder that makes ``import foundations`` work."""
        return os.path.join(self.agents, sha, "sdk")

    def job(self, job: str) -> JobPaths:
        """Return the files of a job."""
        return JobPaths(self.root, job)

    def service(self, name: str) -> ServicePaths:
        """Return the files of a service."""
        return ServicePaths(self.root, name)

    def socket_names(self) -> List[bytes]:
        """Return the daemon's abstract socket names, in the order in which they are tried.

        The last one is known only to who can read the root: it is made when others hold the usual ones.
        """
        return [self._abstract(f"daemon/{n}") for n in range(SOCKET_NAMES)] + self._secret_names("daemon")

    def supervisor_sockets(self, job: str, attempt: int) -> List[bytes]:
        """Return the abstract socket names of the supervisor of one attempt, in the order in which they are tried."""
        role = f"supervisor/{job}/{attempt}"
        return [self._abstract(role), *self._secret_names(role)]

    def _secret_names(self, role: str) -> List[bytes]:
        try:
            with open(self.secret_name, encoding="ascii") as file:
                return [self._abstract(f"{file.read(64)}/{role}")]
        except (OSError, ValueError):
            return []

    def _abstract(self, role: str) -> bytes:
        """Return a name made of the user, the machine and the root, so that two roots never meet."""
        identity = hashlib.sha256(f"{machine_id()}\0{self.root}\0{role}".encode()).hexdigest()[:24]
        return f"\0foundations-{os.getuid()}-{identity}".encode()
