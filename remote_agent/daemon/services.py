"""The services of a host: what clients ask of them, and the replicas that follow from it."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from dataclasses import replace
from typing import Callable, Dict, List, Optional, Set, Tuple, Union

from remote_agent.core import events, replicas
from remote_agent.core.replicas import Begin, End
from remote_agent.core.scheduler import Capacity
from remote_agent.core.state import HostState, Service
from remote_agent.core.waits import WaitReasons
from remote_agent.daemon import admission
from remote_agent.daemon.admission import NewJob
from remote_agent.daemon.effects import RemoveOldSecrets, RemoveService, WriteProbes
from remote_agent.daemon.ledger import Ledger
from remote_agent.daemon.lifecycle import Lifecycle
from remote_agent.daemon.notifications import Notices
from remote_agent.daemon.requests import Requests
from remote_agent.protocol import messages, services
from remote_agent.protocol.chains import VARIABLE
from remote_agent.protocol.errors import AgentError, Conflict, NotFound
from remote_agent.protocol.jobs import JobSpec, JobView
from remote_agent.protocol.models import DATA
from remote_agent.protocol.services import (
    CRASH_LOOP,
    MOST_SERVICES,
    Readiness,
    Replica,
    Revision,
    RevisionHead,
    ServiceView,
)
from remote_agent.protocol.states import JobState
from remote_agent.protocol.wire import JsonTable
from remote_agent.storage import files
from remote_agent.storage.objects import ObjectStore
from remote_agent.storage.paths import Paths

_SHOWN_WORDS, _SHOWN_LETTERS = 40, 200
"""So much of a command is shown in a listing."""
_RETRY_SECONDS = 5.0
_IDLE_SECONDS, _ASLEEP_SECONDS = 5.0, 0.5
"""Between two looks whether anybody asks for a service that stops when nobody does: while it runs, and while it sleeps.
"""
_PASSES = 2 * services.MOST_REPLICAS
"""Rounds after which replicas are looked at again at the next turn."""


class Services:
    """What may be asked of services, and what keeps their replicas as they are wanted."""

    def __init__(
        self,
        ledger: Ledger,
        lifecycle: Lifecycle,
        requests: Requests,
        paths: Paths,
        objects: ObjectStore,
        notices: Notices,
        waits: WaitReasons,
        capacity: Callable[[], Capacity],
    ) -> None:
        """Make them.

        Args:
            ledger: takes what is decided.
            lifecycle: knows which replicas answer, and restarts them.
            requests: stops replicas.
            paths: the agent's files.
            objects: the snapshots that are here.
            notices: tells of replicas that do not answer.
            waits: why replicas wait.
            capacity: returns what the host has.
        """
        self.version = 0
        """Goes up when a client would see something new of a service."""
        self._ledger = ledger
        self._lifecycle = lifecycle
        self._requests = requests
        self._paths = paths
        self._objects = objects
        self._notices = notices
        self._waits = waits
        self._capacity = capacity
        self._seen: Dict[str, Tuple[object, ...]] = {}
        """What was last told of each replica."""
        self.retry_at: Optional[float] = None
        """When what could not be done is tried again, seconds since the epoch; None when there is nothing."""
        self._problems: Dict[str, str] = {}
        """Why no replica of a service could be begun, in words, by its name."""
        self._began_at = self._idle_seen = ledger.clock()
        self._active_at: Dict[str, float] = {}
        """When replicas of a service had last answered requests, as far as they count them."""
        self._answered: Dict[str, int] = {}
        """Requests that each replica has answered."""
        self._ready_written: Dict[str, JsonTable] = {}
        """What was last written down of each service's replicas that answer."""
        self._told: Set[Tuple[str, str]] = set()
        """(replica, event) of the notices that were sent and still hold."""

    @property
    def _state(self) -> HostState:
        return self._ledger.state

    @property
    def are_wanted(self) -> bool:
        """Whether any replica is wanted: then the agent stays."""
        return any(service.replicas for service in self._state.services.values())

    # --- what clients ask -----------------------------------------------------------------------------------------

    def serve(self, request: messages.Serve) -> messages.ServiceAnswer:
        """Have a service as it is asked for; what is so already stays as it is.

        Raises:
            BadRequest: its specification makes no sense. AgentError: why it cannot be taken.
        """
        known = self._state.services.get(request.name)
        number = 1 + max(self._numbers(request.name), default=0)
        private = {**(request.private or {})}
        token = request.token
        spec = self._checked(request, number, bool(private))
        count = request.replicas or (known.replicas if known else 0) or 1
        if spec["service"].get("port") and count > 1:
            raise Conflict(f"port {spec['service']['port']} is one port: there can be one replica")
        if known is None and len(self._state.services) >= MOST_SERVICES:
            raise Conflict(f"this host has {MOST_SERVICES} services already")
        has_changed = known is None or not (
            services.same(known.revision.spec, spec) and private == self._private(request.name, known.number)
        )
        if has_changed:
            in_place = request.in_place or bool(spec["service"].get("port"))
            revision = Revision(number, spec, in_place, request.by, self._ledger.clock())
            self._revise(request.name, revision, private, token)
        else:
            assert known is not None
            number = known.number
            self._keep_token(request.name, token)
        wanted = (number, count, request.probes)
        if known is None or has_changed or known.asleep or (known.number, known.replicas, known.probes) != wanted:
            self._want(request.name, *wanted, by=request.by)
            has_changed = True
        return messages.ServiceAnswer(self.view(request.name), has_changed)

    def _numbers(self, name: str) -> List[int]:
        """Return the numbers of the revisions that a service has, or that replicas of it bear."""
        known = self._state.services.get(name)
        jobs = self._state.replicas.get(name, ())
        return [*(known.revisions if known else ()), *(self._state.jobs[job].spec.serving.revision for job in jobs)]

    def _checked(self, request: messages.Serve, number: int, private: bool) -> JsonTable:
        """Return the specification of a revision, without the id of a job.

        Raises:
            BadRequest: it makes no sense. AgentError: the host cannot run it.
        """
        wire = {**request.spec, "job": "new", "kind": services.KIND, "private": private}
        wire["service"] = {**wire.get("service", {}), "name": request.name, "revision": number}
        spec = JobSpec.from_wire(wire)
        spec.check()
        admission.check([NewJob(spec)], self._state, self._capacity(), self._paths, self._objects)
        sparse = spec.to_wire()
        del sparse["job"]
        return sparse

    def _keep_files(self, name: str, number: int, private: JsonTable, token: str) -> None:
        """Keep the token and what each replica of a revision gets, before the revision is accepted."""
        self._keep_token(name, token)
        files.write_bytes(self._paths.service(name).private(number), json.dumps(private).encode())

    def _keep_token(self, name: str, token: str) -> None:
        """Keep a token; where none is given, make one unless there is one."""
        paths = self._paths.service(name)
        os.makedirs(paths.folder, 0o700, exist_ok=True)
        if token or not os.path.exists(paths.token):
            files.write_bytes(paths.token, (token or secrets.token_urlsafe(32)).encode())

    def change(self, request: messages.ChangeService) -> messages.ServiceAnswer:
        """Have another number of replicas, or another revision.

        Raises:
            NotFound: there is no such service, or revision.
        """
        service = self._service(request.name)
        number = service.number if request.revision is None else request.revision
        if number not in service.revisions:
            there = ", ".join(map(str, sorted(service.revisions)))
            raise NotFound(f"service {request.name} has no revision {number}; there are: {there}")
        count = service.replicas if request.replicas is None else request.replicas
        if (number, count) == (service.number, service.replicas) and not service.asleep:
            return messages.ServiceAnswer(self.view(request.name), changed=False)
        port = service.revisions[number].spec.get("service", {}).get("port")
        if port and count > 1:
            raise Conflict(f"service {request.name} listens on port {port}: it can have one replica")
        self._want(request.name, number, count, service.probes, request.by)
        return messages.ServiceAnswer(self.view(request.name))

    def restart(self, request: messages.RestartService) -> messages.ServiceAnswer:
        """Begin a service again.

        Raises:
            NotFound: there is no such service. Conflict: it is stopped.
        """
        service = self._service(request.name)
        if not service.replicas:
            raise Conflict(f"service {request.name} is stopped; foundations service scale {request.name} 1 starts it")
        if service.asleep:
            self._want(service.name, service.number, service.replicas, service.probes, request.by)
            return messages.ServiceAnswer(self.view(request.name))
        if request.one_by_one:
            self._revise_again(service, request.by)
            return messages.ServiceAnswer(self.view(request.name))
        for job in sorted(self._state.replicas.get(request.name, ())):
            if not self._state.jobs[job].stop_requested_by:
                self._lifecycle.restart(job, request.by)
        self._ledger.is_urgent = True  # what was decided is carried out behind a commit
        self.version += 1
        return messages.ServiceAnswer(self.view(request.name))

    def _revise_again(self, service: Service, by: str) -> None:
        """Have a further revision that is as the wanted one: it takes over as any other does."""
        number = 1 + max(self._numbers(service.name))
        spec = {**service.revision.spec, "service": {**service.revision.spec["service"], "revision": number}}
        in_place = bool(spec["service"].get("port"))  # two cannot listen there at once
        self._revise(service.name, Revision(number, spec, in_place, by, self._ledger.clock()))
        self._want(service.name, number, service.replicas, service.probes, by)

    def _revise(self, name: str, revision: Revision, private: Optional[JsonTable] = None, token: str = "") -> None:
        """Take note of a further revision; what its replicas get lies there before.

        Args:
            name: the service's.
            revision: a further one.
            private: what they get as their private file; None for what those of the wanted revision get.
            token: what they ask of who calls them; "" for what they ask already.
        """
        if private is None:
            private = self._private(name, self._state.services[name].number)
        self._keep_files(name, revision.number, private, token)
        self._ledger.record(events.ServiceRevised(name, revision))
        self._ledger.later(RemoveOldSecrets(name, tuple(self._state.services[name].revisions)))

    def follow(
        self, model: str, alias: str, number: int, like: JobSpec, manifest: JsonTable, data: JsonTable
    ) -> List[str]:
        """Have the services that follow an alias go on to what it means now; return their names.

        Args:
            model: the name of a model.
            alias: which.
            number: of the version that it means.
            like: a job with the code and environment of that version, and the model server's.
            manifest: what the model server is told of it.
            data: its files.
        """
        gone_on = []
        for service in list(self._state.services.values()):
            spec = service.revision.spec
            serving = spec.get("service", {})
            follows = serving.get("follow") and (serving.get("model"), serving.get("alias")) == (model, alias)
            if not follows or not service.replicas or serving.get("version") == number:
                continue
            wire = like.to_wire()
            code = {key: wire[key] for key in _OF_THE_CODE}
            next_number = 1 + max(self._numbers(service.name))
            code["env"] = {**spec.get("env", {}), VARIABLE: json.dumps(manifest)}
            code["data"] = {**{key: at for key, at in spec.get("data", {}).items() if key != DATA}, **data}
            rollout = hashlib.sha256(f"{serving.get('rollout', '')}{model}{number}".encode()).hexdigest()[:12]
            code["service"] = {**serving, "version": number, "revision": next_number, "rollout": rollout}
            words = f"{model}@{alias}"
            revision = Revision(next_number, {**spec, **code}, bool(serving.get("port")), words, self._ledger.clock())
            self._revise(service.name, revision)
            self._want(service.name, next_number, service.replicas, service.probes, words)
            gone_on.append(service.name)
        return gone_on

    def forget(self, name: str) -> None:
        """Forget a service of which nothing is wanted.

        Raises:
            NotFound: there is no such service. Conflict: it is not stopped, or has not ended yet.
        """
        service = self._service(name)
        if service.replicas or self._state.replicas.get(name):
            raise Conflict(f"service {name} runs; foundations service stop {name} stops it")
        self._ledger.record(events.ServiceRemoved(name))
        self._ready_written.pop(name, None)
        self._ledger.later(RemoveService(name))
        self.version += 1

    def token(self, name: str) -> str:
        """Return what the replicas of a service ask of who calls them.

        Raises:
            NotFound: there is no such service.
        """
        self._service(name)
        try:
            with open(self._paths.service(name).token, encoding="ascii") as file:
                return file.read(1000).strip()
        except (OSError, ValueError):
            raise NotFound(f"the token of service {name} is not on this host any more") from None

    def people(self, request: messages.ServicePeople) -> messages.ServicePeopleAnswer:
        """Give a person a token, or take it away; only its hash is kept.

        Raises:
            NotFound: there is no such service, or nobody of that name has one. Conflict: too many have.
        """
        self._service(request.name)
        path = self._paths.service(request.name).people
        kept = files.read_json(path)
        people: Dict[str, str] = kept if isinstance(kept, dict) else {}
        token = ""
        if request.add:
            if len(people) >= services.MOST_PEOPLE and request.add not in people:
                raise Conflict(f"{services.MOST_PEOPLE} people have a token of service {request.name} already")
            token = secrets.token_urlsafe(32)
            people[request.add] = hashlib.sha256(token.encode()).hexdigest()
        if request.revoke and people.pop(request.revoke, None) is None:
            raise NotFound(f"{request.revoke} has no token of service {request.name}")
        if request.add or request.revoke:
            files.write_json(path, people)
        return messages.ServicePeopleAnswer(sorted(people), token)

    def _service(self, name: str) -> Service:
        service = self._state.services.get(name)
        if service is None:
            raise NotFound(f"there is no service {name} on this host")
        return service

    def _want(self, name: str, number: int, count: int, probes: services.Probes, by: str, asleep: bool = False) -> None:
        service = self._state.services[name]
        before = service.before if number == service.number else service.number
        now = self._ledger.clock()
        self._ledger.record(events.ServiceWanted(name, number, count, probes, by, now, before, asleep))
        self._ledger.later(WriteProbes(name, probes))
        self.version += 1

    def _private(self, name: str, number: int) -> JsonTable:
        kept = files.read_json(self._paths.service(name).private(number))
        return kept if isinstance(kept, dict) else {}

    # --- what follows from it -------------------------------------------------------------------------------------

    def resume(self) -> None:
        """After a start: write again what supervisors read, and remove what belongs to no service."""
        for name, service in self._state.services.items():
            self._ledger.perform(WriteProbes(name, service.probes))
        for view in (self._state.jobs[job] for jobs in self._state.replicas.values() for job in jobs):
            if replicas.failures(view) >= CRASH_LOOP:
                self._told.add((view.spec.job, "crash_loop"))  # by the daemon before
        known = self._state.services
        for name in os.listdir(self._paths.services) if os.path.isdir(self._paths.services) else ():
            if name not in known:
                self._ledger.perform(RemoveService(name))

    def advance(self) -> None:
        """Begin and end replicas as it is due."""
        self._problems, self.retry_at = {}, None
        for _ in range(_PASSES):
            actions = [one for one in replicas.due(self._state, self._ready()) if not self._has_problem(one)]
            for action in actions:
                if isinstance(action, End):
                    self._requests.end_replica(action.job, action.why)
                    continue
                try:
                    self._begin(action)
                except (OSError, AgentError) as error:  # a full disk, say
                    words = getattr(error, "strerror", None) or str(error)
                    self._problems[action.service] = f"no replica can be begun: {words}"
                    self.retry_at = self._ledger.clock() + _RETRY_SECONDS
                    self.version += 1
            if not actions:
                break

    def _has_problem(self, action: Union[Begin, End]) -> bool:
        return isinstance(action, Begin) and action.service in self._problems

    @property
    def idle_look_at(self) -> Optional[float]:
        """Return when it is due to see whether anybody asks, seconds since the epoch; None where nobody cares."""
        caring = [one for one in self._state.services.values() if one.probes.idle_stop and one.replicas]
        if not caring:
            return None
        return self._idle_seen + (_ASLEEP_SECONDS if any(one.asleep for one in caring) else _IDLE_SECONDS)

    def look_at_idle(self) -> None:
        """Let services sleep that nobody has asked for long, and wake those that somebody asks."""
        self._idle_seen = now = self._ledger.clock()
        for service in self._state.services.values():
            if not (service.probes.idle_stop and service.replicas):
                continue
            try:
                asked = os.stat(self._paths.service(service.name).asked).st_mtime
            except OSError:
                asked = 0.0
            lately = max(asked, service.at, self._active_at.get(service.name, self._began_at))
            is_idle = now - lately > service.probes.idle_stop
            if (service.asleep and asked > service.at) or (not service.asleep and is_idle):
                why = "nobody has asked" if not service.asleep else "somebody asks"
                wanted = (service.number, service.replicas, service.probes)
                self._want(service.name, *wanted, by=why, asleep=not service.asleep)

    def _note_activity(self, view: JobView, readiness: Readiness) -> None:
        """Take note that a replica has answered requests since the last look."""
        before = self._answered.get(view.spec.job, 0)
        self._answered[view.spec.job] = readiness.traffic.total
        if readiness.traffic.total > before:
            self._active_at[view.spec.serving.name] = self._ledger.clock()

    def notice(self) -> bool:
        """Take note of what has become of replicas, and tell whoever wants to know; return whether anything has."""
        seen: Dict[str, Tuple[object, ...]] = {}
        for jobs in self._state.replicas.values():
            for job in jobs:
                view = self._state.jobs[job]
                readiness = self._readiness(view)
                seen[job] = (view.seq, readiness.ready, readiness.why, readiness.traffic.total)
                self._note_activity(view, readiness)
                self._tell(view, readiness)
        self._told = {told for told in self._told if told[0] in seen}
        self._write_ready()
        if seen == self._seen:
            return False
        self._seen = seen
        self.version += 1
        return True

    def _write_ready(self) -> None:
        """Write down which replicas answer, for fronts of this host."""
        for name, service in self._state.services.items():
            views = [self._state.jobs[job] for job in sorted(self._state.replicas.get(name, ()))]
            there = [self._place(view) for view in views if self._replica(view).readiness.ready]
            words = f"service {name}: {len(there)} of {service.replicas} replicas answer"
            told: JsonTable = {"wanted": service.replicas, "words": words, "replicas": there}
            told["asleep"] = service.asleep
            if self._ready_written.get(name) != told:
                try:
                    files.write_bytes(self._paths.service(name).ready, json.dumps(told).encode(), durable=False)
                    self._ready_written[name] = told
                except OSError:
                    continue  # a full disk; the next turn tries again

    def _place(self, view: JobView) -> JsonTable:
        readiness = self._readiness(view)
        place = {"socket": readiness.socket, "address": readiness.address, "port": readiness.port}
        return {"job": view.spec.job, "attempt": view.attempt, **place}

    def _begin(self, action: Begin) -> None:
        """Submit a further replica."""
        revision = self._state.services[action.service].revision
        name = replicas.name_of(action.service, action.place)
        now = self._ledger.clock()
        spec = JobSpec.from_wire({**revision.spec, "job": os.urandom(6).hex(), "name": name, "created_at": now})
        private = self._private(action.service, revision.number) if spec.private else None
        self._ledger.accepting([spec.job] if private else [])
        admission.keep_private([NewJob(spec, private)], self._paths)
        self._ledger.record(events.Submitted(spec.job, spec))

    def _tell(self, view: JobView, readiness: Readiness) -> None:
        """Notify of a replica that answered and does no longer, and of one that fails again and again."""
        job = view.spec.job
        was_ready = self._seen.get(job, (0, False, ""))[1]
        if readiness.ready:
            self._told.discard((job, "unready"))
        elif was_ready and not view.stop_requested_by and not self._lifecycle.is_restarting(view):
            self._send(view, "unready", readiness.why or _last_words(view) or view.state.value)
        failures = replicas.failures(view)
        if failures < CRASH_LOOP:
            self._told.discard((job, "crash_loop"))
        elif view.state is JobState.QUEUED:
            self._send(view, "crash_loop", f"{failures} attempts in a row failed: {_last_words(view)}")

    def _send(self, view: JobView, event: str, words: str) -> None:
        if (view.spec.job, event) not in self._told:
            self._told.add((view.spec.job, event))
            self._notices.tell(view, event, words)

    # --- what clients see -----------------------------------------------------------------------------------------

    def _ready(self) -> Set[str]:
        jobs = (job for names in self._state.replicas.values() for job in names)
        return {job for job in jobs if self._readiness(self._state.jobs[job]).ready}

    def _readiness(self, view: JobView) -> Readiness:
        return self._lifecycle.readiness.get((view.spec.job, view.attempt), _NOTHING)

    def page(self, after: str, room: int) -> Tuple[List[ServiceView], bool]:
        """Return the services behind a name up to some bytes, and whether there are more."""
        page: List[ServiceView] = []
        for name in sorted(self._state.services):
            if name > after:
                view = self.view(name)
                room -= len(json.dumps(view.to_wire()))
                if room < 0 and page:
                    return page, True
                page.append(view)
        return page, False

    def view(self, name: str) -> ServiceView:
        """Return a service as clients see it."""
        service = self._state.services[name]
        spec = service.revision.spec
        views = [self._state.jobs[job] for job in self._state.replicas.get(name, ())]
        return ServiceView(
            name=name,
            revision=service.number,
            replicas=service.replicas,
            before=service.before if service.before in service.revisions else 0,
            owner=str(spec.get("owner", "")),
            project=str(spec.get("project", "")),
            by=service.by,
            at=service.at,
            probes=service.probes,
            access=services.access_of(spec),
            model=str(spec.get("service", {}).get("model", "")),
            version=int(spec.get("service", {}).get("version", 0)),
            alias=str(spec.get("service", {}).get("alias", "")),
            spread=str(spec.get("service", {}).get("spread", "")),
            rollout=str(spec.get("service", {}).get("rollout", "")),
            asleep=service.asleep,
            follow=bool(spec.get("service", {}).get("follow")),
            problem=self._problems.get(name, ""),
            revisions=[_head(revision) for _, revision in sorted(service.revisions.items())],
            running=[self._replica(view) for view in sorted(views, key=replicas.place_of)],
        )

    def _replica(self, view: JobView) -> Replica:
        readiness = self._readiness(view)
        if view.stop_requested_by:
            readiness = replace(readiness, ready=False, why="it is ending")
        return Replica(
            job=view.spec.job,
            revision=view.spec.serving.revision,
            state=view.state.value,
            attempt=view.attempt,
            reason=self._reason(view),
            restarts_at=self._state.pausing.get(view.spec.job),
            failures=replicas.failures(view),
            started_at=view.started_at,
            gpus=list(view.gpus),
            readiness=readiness,
        )

    def _reason(self, view: JobView) -> str:
        """Return why a replica does not run, in words; empty when it does."""
        if view.state is not JobState.QUEUED:
            return ""
        if view.spec.job in self._state.pausing:
            return _last_words(view)
        wait = self._waits.by_job.get(view.spec.job)
        return wait.words if wait is not None else "is about to start"


_OF_THE_CODE = ("snapshot", "subdir", "folders", "environment", "import_path", "distributions", "python", "setup")
"""What a replica has of the code that it runs."""
_NOTHING = Readiness()


def _last_words(view: JobView) -> str:
    """Return how the last attempt of a replica ended."""
    if not view.attempts:
        return ""
    last = view.attempts[-1]
    words = last.reason or last.reason_code or last.state
    return f"{words}: {last.cause.words}" if last.cause and last.cause.words else words


def _head(revision: Revision) -> RevisionHead:
    words = [str(word)[:_SHOWN_LETTERS] for word in revision.spec.get("command", ())[:_SHOWN_WORDS]]
    serving = revision.spec.get("service", {})
    model, version = str(serving.get("model", "")), int(serving.get("version", 0))
    return RevisionHead(revision.number, words, revision.by, revision.at, model, version)
