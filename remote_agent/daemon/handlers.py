"""What clients may ask: a flat table, one function a request. Each returns an answer, or (answer, blob)."""

from __future__ import annotations

import io
import itertools
import json
import os
import shutil
import stat
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Dict, List

from remote_agent import __version__
from remote_agent.core.state import ALL_GROUPS
from remote_agent.daemon import engine as engines
from remote_agent.daemon.admission import Submission
from remote_agent.protocol import checks, framing, messages
from remote_agent.protocol.errors import AgentError, BadRequest, Conflict, NotFound
from remote_agent.protocol.jobs import JobSpec, JobView
from remote_agent.storage import files, streams, unfetched
from remote_agent.system import processes

if TYPE_CHECKING:
    from remote_agent.daemon.loop import Connection, Daemon

Params = Dict[str, Any]
_LONGEST_WATCH = 60.0
_PAGE = framing.PAGE_BYTES
"""Bytes at which a page of entries closes."""
_MOST_PROCESSES = 20
"""So many processes of a GPU are told of."""
_LITTLE_SPACE = 0.1
"""Less than this share of a disk free, and ended jobs' folders there: pruning is suggested."""


@dataclass
class Watch:
    """A client that waits for news."""

    request_id: int
    seq: int
    waits_version: int
    deadline: float
    """On the monotonic clock, seconds."""

    def is_over(self, engine: engines.Engine, now: float) -> bool:
        """Say whether there is news of jobs, or the time is up."""
        return engine.state.seq > self.seq or engine.waits.version != self.waits_version or now >= self.deadline


def handle(daemon: "Daemon", connection: "Connection", frame: framing.Frame) -> Any:
    """Answer one request; None when the answer comes later.

    Raises:
        AgentError: why not.
    """
    method = frame.message.get("method")
    handler = _TABLE.get(method) if isinstance(method, str) else None
    if handler is None:
        raise BadRequest(f"this agent ({__version__}) does not know the request {ascii(method)[:100]}")
    params = messages.check_request(str(method), frame.message.get("params"))
    return handler(daemon, connection, frame._replace(message={**frame.message, "params": params}))


def _hello(daemon: "Daemon", connection: "Connection", frame: framing.Frame) -> Any:
    """Who we are and what this host has; takes in what hosts.toml says of the host."""
    daemon.asked_at = time.monotonic()
    if frame.message["params"].get("look"):
        daemon.probe.hurry()
    settings = frame.message["params"].get("settings")
    backend = daemon.engine.backend
    if settings is not None and settings != backend.settings:
        backend.settings = settings
        daemon.engine.replan()
        try:
            files.write_json(daemon.paths.settings, settings)
        except OSError:
            pass  # a full disk; every client says it again
    return {
        "protocol": framing.VERSION,
        "version": __version__,
        "agent": daemon.agent,
        "journal": daemon.engine.journal.id,
        "seq": daemon.engine.state.seq,
        "root": daemon.paths.root,
        "host": os.uname().nodename,
        "python": sys.executable,
        "time": time.time(),
        "active": len(daemon.engine.state.active),
        "gpus_age": daemon.probe.age,
        **_resources(daemon),
        "problems": _problems(daemon),
    }


def _resources(daemon: "Daemon") -> Dict[str, Any]:
    state = daemon.engine.state
    capacity = daemon.engine.backend.capacity()
    holders: Dict[str, List[str]] = {}
    for job, lease in state.leases.items():
        for uuid in lease.gpus:
            holders.setdefault(uuid, []).append(job)
    processes = daemon.probe.occupancy.look.processes
    return {
        "cpus": capacity.cpus,
        "cpus_free": capacity.cpus - sum(lease.cpus for lease in state.leases.values()),
        "memory": capacity.ram,
        "memory_free": capacity.ram - sum(lease.ram for lease in state.leases.values()),
        "disk_free": files.free_bytes(daemon.paths.root),
        "disk_total": files.total_bytes(daemon.paths.root),
        "disk_jobs": state.disk,
        "queued": len(state.queue),
        "paused": _some(sorted(state.paused)),
        "gpus": [
            {
                **gpu.to_wire(),
                "job": next(iter(holders.get(gpu.uuid, ())), None),
                "jobs": holders.get(gpu.uuid, []),
                "busy": gpu.uuid in capacity.held and gpu.uuid not in holders,
                "held": capacity.held.get(gpu.uuid) if gpu.uuid not in holders else None,
                "processes": [process.to_wire() for process in processes if process.uuid == gpu.uuid][:_MOST_PROCESSES],
            }
            for gpu in capacity.gpus
        ],
    }


def _some(names: List[str]) -> List[str]:
    """Return names up to half a page of them."""
    room, some = _PAGE // 2, []
    for name in names:
        room -= checks.json_size(name) + 1
        if room < 0:
            break
        some.append(name)
    return some


def _problems(daemon: "Daemon") -> List[str]:
    problems = list(daemon.engine.journal.problems)
    problems += filter(
        None, [daemon.engine.notices.problem, daemon.probe.problem, daemon.syncer.problem(), _disk_problem(daemon)]
    )
    if not processes.has_prctl():
        problems.append("this Python has no ctypes: processes that leave a job's session are found only by its token")
    if daemon.question is not None and daemon.question.problem:
        problems.append(daemon.question.problem)
    limits = processes.tight_limits()
    if limits:
        problems.append(
            f"jobs run under limits that a shell has set: {', '.join(limits)}; end the agent to be free of them"
        )
    root = daemon.paths.root
    if root.startswith(_FORGETFUL):
        problems.append(f"the root {root} does not survive a reboot: what jobs leave there is then lost")
    if files.forbids_programs(root):
        problems.append(f"the root {root} is on a disk that runs no programs (noexec): set root to another one")
    return problems


_FORGETFUL = ("/tmp/", "/dev/shm/", "/run/")


def _disk_problem(daemon: "Daemon") -> str:
    """Return that the disk is nearly full and jobs' folders can go, in words; empty when there is enough space."""
    free, total = files.free_bytes(daemon.paths.root), files.total_bytes(daemon.paths.root)
    held = daemon.engine.state.disk
    if free >= total * _LITTLE_SPACE or held < 100 << 20:
        return ""
    return f"the disk is {1 - free / total:.0%} full; folders of ended jobs hold {held / 1e9:.1f} GB: foundations prune"


def _changes(daemon: "Daemon", connection: "Connection", frame: framing.Frame) -> Any:
    """The jobs that changed after a sequence number; all of them when the client knew another journal.

    A page closes at 64 kB. A job that alone is larger is only named, in "large": ``entry`` gives it by pages.
    """
    params, engine = frame.message["params"], daemon.engine
    engine.refresh_waits()
    after = params["after"] if params.get("journal") == engine.journal.id else 0
    page = engine.state.changes(after, _PAGE, min(params.get("limit", 2000), 2000))
    return {
        "journal": engine.journal.id,
        "earlier": engine.journal.earlier,
        "seq": page.seq,
        "more": page.seq < engine.state.seq,
        "jobs": page.jobs,
        "large": page.large,
        "deleted": page.deleted,
        "resources": _resources(daemon),
        "problems": _problems(daemon),
        "waits_version": engine.waits.version,
    }


def _entry(daemon: "Daemon", connection: "Connection", frame: framing.Frame) -> Any:
    """A page of a job that is too large for a page of changes: its JSON, from an offset."""
    params = frame.message["params"]
    view = daemon.engine.job(params["job"])
    data = daemon.entries.encoded(view)
    return {"seq": view.seq, "size": len(data)}, data[params["offset"] :][:_PAGE]


class Entries:
    """The last large job that was asked for, as bytes: it is asked for page by page."""

    def __init__(self) -> None:
        self._key = ("", 0)
        self._data = b""

    def encoded(self, view: JobView) -> bytes:
        """Return a job as JSON."""
        if self._key != (view.spec.job, view.seq):
            self._key, self._data = (view.spec.job, view.seq), json.dumps(view.to_wire()).encode()
        return self._data


def _waits(daemon: "Daemon", connection: "Connection", frame: framing.Frame) -> Any:
    """Why jobs wait and when they are expected to start, from some job on: "next" is where the next page begins."""
    waits = daemon.engine.waits
    groups: Dict[str, List[str]] = {}
    estimates: Dict[str, int] = {}
    after = frame.message["params"]["after"]
    answer: Params = {"version": waits.version, "estimates": estimates, "next": None}
    room = _PAGE
    for place, (job, wait) in enumerate(itertools.islice(waits.by_job.items(), after, None), after):
        room -= 2 * len(job) + 24 + (0 if wait.words in groups else checks.json_size(wait.words))
        if room < 0 and groups:
            answer["next"] = place
            break
        groups.setdefault(wait.words, []).append(job)
        if wait.starts_at is not None:
            estimates[job] = round(wait.starts_at)
    return {**answer, "groups": list(groups.items())}


def _watch(daemon: "Daemon", connection: "Connection", frame: framing.Frame) -> Any:
    """Answered when something is new: a job changed, a stream grew, or the time is up."""
    params = frame.message["params"]
    deadline = time.monotonic() + min(params.get("timeout", 30.0), _LONGEST_WATCH)
    connection.watch = Watch(frame.message["id"], params["seq"], params.get("waits_version", -1), deadline)
    daemon.look_at_all_streams()
    return None


def _read(daemon: "Daemon", connection: "Connection", frame: framing.Frame) -> Any:
    """A page of a stream from an offset."""
    params = frame.message["params"]
    daemon.engine.job(params["job"])
    attempt = daemon.paths.job(params["job"]).attempt(params["attempt"])
    limit = min(params.get("limit", _PAGE), _PAGE)
    offset, page, size = streams.read(streams.path(attempt, params["stream"]), params["offset"], limit)
    return {"size": size, "offset": offset}, page


def _stream_sizes(daemon: "Daemon", connection: "Connection", frame: framing.Frame) -> Any:
    """The sizes of the streams of jobs that run now, behind the stream "after" in their order."""
    after = tuple(frame.message["params"].get("after") or ("", 0, ""))
    sizes: List[List[Any]] = []
    room = _PAGE
    for job, number in sorted(daemon.engine.active_attempts()):
        if (job, number, "\U0010ffff") < after:
            continue
        for name, size in sorted(streams.sizes(daemon.paths.job(job).attempt(number)).items()):
            if (job, number, name) > after:
                sizes.append([job, number, name, size])
                room -= len(job) + len(name) + 40
        if room < 0:
            return {"streams": sizes, "more": True}
    return {"streams": sizes, "more": False}


def _missing(daemon: "Daemon", connection: "Connection", frame: framing.Frame) -> Any:
    """Which objects of a snapshot have to be sent. With ``base``, only the objects beyond that tree are asked about."""
    params, objects = frame.message["params"], daemon.engine.objects
    free = files.free_bytes(daemon.paths.root)
    if objects.has(params["snapshot"]):
        return {"missing": [], "base_known": True, "disk_free": free}
    base = params.get("base")
    if base and not objects.has(base):
        return {"missing": [], "base_known": False, "disk_free": free}
    return {"missing": objects.missing(params["oids"]), "base_known": True, "disk_free": free}


def _put(daemon: "Daemon", connection: "Connection", frame: framing.Frame) -> Any:
    """Take in a small pack that rides on this channel."""
    if len(frame.blob) > 2 * framing.SMALL_PACK_BYTES:
        raise BadRequest("a pack of this size belongs on a channel of its own")
    return {"new": daemon.engine.objects.receive(io.BytesIO(frame.blob))}


def _submit(daemon: "Daemon", connection: "Connection", frame: framing.Frame) -> Any:
    """Accept a job; answered when it is durable."""
    params = frame.message["params"]
    _refuse_older(params)
    spec = JobSpec.from_wire(params.get("spec") or {})
    spec.check()
    return {"job": daemon.engine.submit(spec, params.get("private")).to_wire()}


def _submit_many(daemon: "Daemon", connection: "Connection", frame: framing.Frame) -> Any:
    """Accept jobs, all or none: ``base`` is what their specifications share, ``specs`` what each adds."""
    params = frame.message["params"]
    _refuse_older(params)
    wanted: List[Submission] = []
    for own in params["specs"]:
        spec = JobSpec.from_wire({**params["base"], **own})
        spec.check(wanted[0].spec if wanted else None)
        wanted.append(Submission(spec, params.get("private")))
    views = daemon.engine.submit_all(wanted)
    return {"jobs": [[view.spec.job, view.seq, view.queued_at, view.rank] for view in views]}


def _refuse_older(params: Params) -> None:
    client = params.get("protocol", framing.VERSION)
    if client < framing.VERSION:
        raise Conflict(
            f"the agent ({__version__}) speaks protocol {framing.VERSION}, this client"
            f" ({params.get('version', 'of an older version')}) {client}: update the client to submit"
        )


def _stop(daemon: "Daemon", connection: "Connection", frame: framing.Frame) -> Any:
    """End a job."""
    params = frame.message["params"]
    return {"job": _brief(daemon.engine.stop(params["job"], params["by"], params.get("grace")))}


def _brief(view: JobView) -> Params:
    """Return a job as an answer has it: without what is large, which the next page of changes brings."""
    wire = view.to_wire()
    if checks.json_size(wire) > _PAGE:
        kept = {name: value for name, value in wire["spec"].items() if checks.json_size(value) < 1024}
        wire.update(spec=kept, attempts=[], streams={}, annotations={})
        wire["spec"].update(command=[], snapshot=view.spec.snapshot)
    return wire


def _resume(daemon: "Daemon", connection: "Connection", frame: framing.Frame) -> Any:
    """Let a job start that is held because something of it may have been lost."""
    return {"job": _brief(daemon.engine.release(frame.message["params"]["job"]))}


def _delete(daemon: "Daemon", connection: "Connection", frame: framing.Frame) -> Any:
    """Forget an ended job and its files."""
    params = frame.message["params"]
    daemon.engine.delete(
        params["job"], params.get("client", ""), params.get("files", False), params.get("force", False)
    )
    return {}


def _prune(daemon: "Daemon", connection: "Connection", frame: framing.Frame) -> Any:
    """Remove the folders of ended jobs; what cannot go is said with its reason. ``preview``: only say it."""
    params, engine = frame.message["params"], daemon.engine
    pruned, kept = [], {}
    for job in params["jobs"]:
        try:
            if params.get("preview"):
                why_not = "" if params.get("force") else engine.not_fetched(job)
                if why_not:
                    raise Conflict(why_not)
            else:
                engine.prune(job, params.get("force", False))
            pruned.append(job)
        except AgentError as error:
            kept[job] = str(error)
    clients = engine.state.clients
    missing = {job: sorted(clients - engine.state.acknowledged.get(job, set())) for job in pruned}
    return {"pruned": pruned, "kept": kept, "not_fetched_by": {job: who for job, who in missing.items() if who}}


def _acknowledge(daemon: "Daemon", connection: "Connection", frame: framing.Frame) -> Any:
    """A client has everything of these ended jobs."""
    params = frame.message["params"]
    daemon.engine.acknowledge(params["client"], params["jobs"])
    return {}


def _received(daemon: "Daemon", connection: "Connection", frame: framing.Frame) -> Any:
    """The files of a fetch have arrived."""
    params = frame.message["params"]
    daemon.engine.job(params["job"])
    unfetched.confirm(daemon.paths.job(params["job"]), params["receipt"])
    return {}


def _pause(daemon: "Daemon", connection: "Connection", frame: framing.Frame) -> Any:
    """Start no job of a group any more, or again; without a group, of the whole host."""
    params = frame.message["params"]
    daemon.engine.pause(params.get("group") or ALL_GROUPS, params["paused"])
    return {"paused": _some(sorted(daemon.engine.state.paused))}


def _move(daemon: "Daemon", connection: "Connection", frame: framing.Frame) -> Any:
    """Give a waiting job another place in the queue, or another priority."""
    params = frame.message["params"]
    view = daemon.engine.move(params["job"], params.get("where", ""), params.get("other") or "", params.get("priority"))
    return {"job": _brief(view)}


def _annotate(daemon: "Daemon", connection: "Connection", frame: framing.Frame) -> Any:
    """Take note of what people say of jobs: notes, stars, tags; "jobs" has by job: key -> [value, when]."""
    return {"unknown": daemon.engine.annotate(frame.message["params"]["jobs"])}


def _queue(daemon: "Daemon", connection: "Connection", frame: framing.Frame) -> Any:
    """The waiting jobs in their order, each with its reason, and when it is expected to start."""
    engine = daemon.engine
    engine.refresh_waits(at_once=True)
    offset = frame.message["params"].get("offset", 0)
    listed: List[List[Any]] = []
    room = _PAGE
    for job in itertools.islice(engine.state.queue.everyone(), offset, None):
        wait = engine.waits.by_job.get(job)
        words, at = (wait.words, wait.starts_at) if wait else ("", None)
        room -= len(job) + checks.json_size(words) + 40
        if room < 0 and listed:
            break
        listed.append([job, engine.state.jobs[job].priority, words, at])
    more = max(0, len(engine.state.queue) - offset - len(listed))
    return {"jobs": listed, "more": more, "paused": _some(sorted(engine.state.paused))}


def _forgive(daemon: "Daemon", connection: "Connection", frame: framing.Frame) -> Any:
    """End the quarantine of GPUs, because the user says so."""
    uuids = _gpus_named(daemon, frame.message["params"]["gpu"])
    daemon.engine.replan()
    return {"forgiven": [uuid for uuid in uuids if daemon.probe.occupancy.forgive(uuid)]}


def _gpus_named(daemon: "Daemon", wanted: str) -> List[str]:
    """Return the UUIDs of the GPUs that an index or a UUID means: MIG devices share an index.

    Raises:
        NotFound: there is none.
    """
    uuids = [gpu.uuid for gpu in daemon.probe.gpus if wanted in (gpu.uuid, str(gpu.index))]
    if not uuids:
        raise NotFound(f"there is no GPU {wanted} on this host")
    return uuids


def _claims(daemon: "Daemon", connection: "Connection", frame: framing.Frame) -> Any:
    """Overrule what other agents claim of a GPU, or heed it again: claims only ask."""
    params = frame.message["params"]
    uuids = set(_gpus_named(daemon, params["gpu"]))
    ignored = daemon.probe.ignored | uuids if params["ignored"] else daemon.probe.ignored - uuids
    files.write_json(daemon.paths.ignored_claims, sorted(ignored))
    daemon.probe.heed(ignored)
    daemon.engine.replan()
    return {"ignored": sorted(ignored)}


def _samples(daemon: "Daemon", connection: "Connection", frame: framing.Frame) -> Any:
    """A page of the host's samples; it begins later than asked for where that part is gone."""
    ring = daemon.sampler.ring
    offset, page = ring.read(frame.message["params"]["offset"], _PAGE)
    return {"offset": offset, "end": ring.end}, page


def _list(daemon: "Daemon", connection: "Connection", frame: framing.Frame) -> Any:
    """What lies in a folder of a job."""
    params = frame.message["params"]
    view = daemon.engine.job(params["job"])
    if view.pruned:
        raise NotFound(f"the folder of job {view.spec.job} was removed from this host (pruned)")
    if not view.attempt:
        return {"entries": [], "truncated": False}
    work = daemon.paths.job(params["job"]).attempt(view.attempt).work
    folder = files.inside(work, params.get("path", ""))
    if not os.path.lexists(folder):
        raise NotFound(f"the job's folder has no {params.get('path') or '.'!r}")
    if not os.path.isdir(folder):
        return {"entries": [_listed(os.path.basename(folder), os.lstat(folder))], "truncated": False}
    names = sorted(os.listdir(folder))
    entries: List[Params] = []
    room = _PAGE
    for name in names[params.get("offset", 0) :]:
        room -= checks.json_size(name) + 80
        if room < 0 and entries:
            return {"entries": entries, "truncated": True}
        try:
            entries.append(_listed(name, os.lstat(os.path.join(folder, name))))
        except FileNotFoundError:
            entries.append({"name": name, "kind": "file", "size": 0, "modified_at": 0.0})  # it went meanwhile
    return {"entries": entries, "truncated": False}


def _listed(name: str, stats: os.stat_result) -> Params:
    kind = "folder" if stat.S_ISDIR(stats.st_mode) else "link" if stat.S_ISLNK(stats.st_mode) else "file"
    moment = min(max(0.0, stats.st_mtime), checks.END_OF_TIME)
    return {"name": name, "kind": kind, "size": stats.st_size, "modified_at": moment}


def _shutdown(daemon: "Daemon", connection: "Connection", frame: framing.Frame) -> Any:
    """End the daemon. ``replace``: a newer one comes, jobs run on. Otherwise no job may run or wait."""
    if not frame.message["params"].get("replace"):
        if not daemon.engine.is_idle:
            raise Conflict("jobs run or wait on this host; stop them first")
        files.write_bytes(daemon.paths.stopped, b"")
        shutil.rmtree(daemon.paths.trash, ignore_errors=True)
    daemon.stopping = True
    return {"pid": os.getpid()}


AT_ANY_TIME = {"hello", "read", "stream_sizes", "list", "samples"}
"""Requests that are answered also while a slow disk is waited for: they change nothing and tell of no job's state."""

_TABLE: Dict[str, Callable[["Daemon", "Connection", framing.Frame], Any]] = {
    "hello": _hello,
    "changes": _changes,
    "entry": _entry,
    "waits": _waits,
    "watch": _watch,
    "read": _read,
    "stream_sizes": _stream_sizes,
    "missing": _missing,
    "put": _put,
    "submit": _submit,
    "submit_many": _submit_many,
    "stop": _stop,
    "resume": _resume,
    "delete": _delete,
    "prune": _prune,
    "acknowledge": _acknowledge,
    "received": _received,
    "pause": _pause,
    "move": _move,
    "annotate": _annotate,
    "queue": _queue,
    "forgive": _forgive,
    "claims": _claims,
    "samples": _samples,
    "list": _list,
    "shutdown": _shutdown,
}
