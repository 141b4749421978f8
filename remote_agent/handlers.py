"""What clients may ask: a flat table, one function a request. Each returns an answer, or (answer, blob)."""

from __future__ import annotations

import io
import os
import shutil
import stat
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Dict, List

from remote_agent import __version__, engine as engines, files, procs, protocol, streams
from remote_agent.admission import Submission
from remote_agent.errors import AgentError, BadRequest, Conflict, NotFound
from remote_agent.jobs import LONGEST_GRACE, JobSpec
from remote_agent.state import ALL_GROUPS

if TYPE_CHECKING:
    from remote_agent.daemon import Connection, Daemon

Params = Dict[str, Any]
_LONGEST_WATCH = 60.0
_MOST_ENTRIES = 5000
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


def handle(daemon: "Daemon", connection: "Connection", frame: protocol.Frame) -> Any:
    """Answer one request; None when the answer comes later.

    Raises:
        AgentError: why not.
    """
    method = frame.message.get("method")
    handler = _TABLE.get(str(method))
    if handler is None:
        raise BadRequest(f"this agent ({__version__}) does not know the request {method!r}")
    return handler(daemon, connection, frame)


def _hello(daemon: "Daemon", connection: "Connection", frame: protocol.Frame) -> Any:
    """Who we are and what this host has; takes in what hosts.toml says of the host."""
    daemon.asked_at = time.monotonic()
    if frame.message["params"].get("look"):
        daemon.probe.hurry()
    settings = frame.message["params"].get("settings")
    backend = daemon.engine.backend
    if settings is not None and settings != backend.settings:
        backend.settings = settings
        files.write_json(daemon.paths.settings, settings)
        daemon.engine.replan()
    return {
        "protocol": protocol.VERSION,
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
        "paused": sorted(state.paused),
        "gpus": [
            {
                **gpu.to_wire(),
                "job": next(iter(holders.get(gpu.uuid, ())), None),
                "jobs": holders.get(gpu.uuid, []),
                "busy": gpu.uuid in capacity.held and gpu.uuid not in holders,
                "held": capacity.held.get(gpu.uuid) if gpu.uuid not in holders else None,
                "processes": [process.to_wire() for process in processes if process.uuid == gpu.uuid],
            }
            for gpu in capacity.gpus
        ],
    }


def _problems(daemon: "Daemon") -> List[str]:
    problems = list(daemon.engine.journal.problems)
    problems += filter(
        None, [daemon.engine.notices.problem, daemon.probe.problem, daemon.syncer.problem(), _disk_problem(daemon)]
    )
    if not procs.has_prctl():
        problems.append("this Python has no ctypes: processes that leave a job's session are found only by its token")
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


def _changes(daemon: "Daemon", connection: "Connection", frame: protocol.Frame) -> Any:
    """The jobs that changed after a sequence number; all of them when the client knew another journal."""
    params, engine = frame.message["params"], daemon.engine
    engine.refresh_waits()
    after = params["after"] if params.get("journal") == engine.journal.id else 0
    jobs, deleted, seq = engine.state.changes(after, min(params.get("limit", 500), 2000))
    answer: Params = {
        "journal": engine.journal.id,
        "seq": seq,
        "more": seq < engine.state.seq,
        "jobs": [view.to_wire() for view in jobs],
        "deleted": deleted,
        "resources": _resources(daemon),
        "problems": _problems(daemon),
    }
    if params.get("waits_version") != engine.waits.version:
        answer["waits_version"] = engine.waits.version
        answer["waits"] = engine.waits.groups()
        answer["estimates"] = {
            job: round(w.starts_at) for job, w in engine.waits.by_job.items() if w.starts_at is not None
        }
    return answer


def _watch(daemon: "Daemon", connection: "Connection", frame: protocol.Frame) -> Any:
    """Answered when something is new: a job changed, a stream grew, or the time is up."""
    params = frame.message["params"]
    deadline = time.monotonic() + min(float(params.get("timeout", 30.0)), _LONGEST_WATCH)
    connection.watch = Watch(frame.message["id"], params["seq"], params.get("waits_version", -1), deadline)
    daemon.look_at_all_streams()
    return None


def _read(daemon: "Daemon", connection: "Connection", frame: protocol.Frame) -> Any:
    """A page of a stream from an offset."""
    params = frame.message["params"]
    daemon.engine.job(params["job"])
    attempt = daemon.paths.job(params["job"]).attempt(int(params["attempt"]))
    limit = min(int(params.get("limit", protocol.PAGE_BYTES)), protocol.PAGE_BYTES)
    page, size = streams.read(attempt.stream(params["stream"]), int(params["offset"]), limit)
    return {"size": size}, page


def _stream_sizes(daemon: "Daemon", connection: "Connection", frame: protocol.Frame) -> Any:
    """The sizes of the streams of jobs that run now."""
    sizes = []
    for job, number in daemon.engine.active_attempts():
        for name, size in streams.sizes(daemon.paths.job(job).attempt(number)).items():
            sizes.append([job, number, name, size])
    return {"streams": sizes}


def _missing(daemon: "Daemon", connection: "Connection", frame: protocol.Frame) -> Any:
    """Which objects of a snapshot have to be sent. With ``base``, only the objects beyond that tree are asked about."""
    params, objects = frame.message["params"], daemon.engine.objects
    free = files.free_bytes(daemon.paths.root)
    if objects.has(params["snapshot"]):
        return {"missing": [], "base_known": True, "disk_free": free}
    base = params.get("base")
    if base and not objects.has(base):
        return {"missing": [], "base_known": False, "disk_free": free}
    return {"missing": objects.missing(params["oids"]), "base_known": True, "disk_free": free}


def _put(daemon: "Daemon", connection: "Connection", frame: protocol.Frame) -> Any:
    """Take in a small pack that rides on this channel."""
    if len(frame.blob) > 2 * protocol.SMALL_PACK_BYTES:
        raise BadRequest("a pack of this size belongs on a channel of its own")
    return {"new": daemon.engine.objects.receive(io.BytesIO(frame.blob))}


def _submit(daemon: "Daemon", connection: "Connection", frame: protocol.Frame) -> Any:
    """Accept a job; answered when it is durable."""
    params = frame.message["params"]
    _refuse_older(params)
    spec = JobSpec.from_wire(params["spec"])
    spec.check()
    return {"job": daemon.engine.submit(spec, params.get("private")).to_wire()}


def _submit_many(daemon: "Daemon", connection: "Connection", frame: protocol.Frame) -> Any:
    """Accept jobs, all or none: ``base`` is what their specifications share, ``specs`` what each adds."""
    params = frame.message["params"]
    _refuse_older(params)
    wanted = []
    for own in params["specs"]:
        spec = JobSpec.from_wire({**params["base"], **own})
        spec.check()
        wanted.append(Submission(spec, params.get("private")))
    views = daemon.engine.submit_all(wanted)
    return {"jobs": [[view.spec.job, view.seq, view.queued_at, view.rank] for view in views]}


def _refuse_older(params: Params) -> None:
    client = params.get("protocol", protocol.VERSION)
    if client < protocol.VERSION:
        raise Conflict(
            f"the agent ({__version__}) speaks protocol {protocol.VERSION}, this client"
            f" ({params.get('version', 'of an older version')}) {client}: update the client to submit"
        )


def _stop(daemon: "Daemon", connection: "Connection", frame: protocol.Frame) -> Any:
    """End a job."""
    params = frame.message["params"]
    grace = params.get("grace")
    if grace is not None and not 0 <= float(grace) <= LONGEST_GRACE:
        raise BadRequest(f"a grace time is 0 to {LONGEST_GRACE} seconds")
    view = daemon.engine.stop(params["job"], params["by"], None if grace is None else float(grace))
    return {"job": view.to_wire()}


def _delete(daemon: "Daemon", connection: "Connection", frame: protocol.Frame) -> Any:
    """Forget an ended job and its files."""
    params = frame.message["params"]
    daemon.engine.delete(params["job"], str(params.get("client", "")), bool(params.get("force")))
    return {}


def _prune(daemon: "Daemon", connection: "Connection", frame: protocol.Frame) -> Any:
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
                engine.prune(job, bool(params.get("force")))
            pruned.append(job)
        except AgentError as error:
            kept[job] = str(error)
    clients = engine.state.clients
    missing = {job: sorted(clients - engine.state.acknowledged.get(job, set())) for job in pruned}
    return {"pruned": pruned, "kept": kept, "not_fetched_by": {job: who for job, who in missing.items() if who}}


def _acknowledge(daemon: "Daemon", connection: "Connection", frame: protocol.Frame) -> Any:
    """A client has everything of these ended jobs."""
    params = frame.message["params"]
    daemon.engine.acknowledge(str(params["client"]), [str(job) for job in params["jobs"]])
    return {}


def _pause(daemon: "Daemon", connection: "Connection", frame: protocol.Frame) -> Any:
    """Start no job of a group any more, or again; without a group, of the whole host."""
    params = frame.message["params"]
    daemon.engine.pause(str(params.get("group") or ALL_GROUPS), bool(params["paused"]))
    return {"paused": sorted(daemon.engine.state.paused)}


def _move(daemon: "Daemon", connection: "Connection", frame: protocol.Frame) -> Any:
    """Give a waiting job another place in the queue, or another priority."""
    params = frame.message["params"]
    where = params.get("where", "")
    if where not in ("", "first", "last", "before", "after"):
        raise BadRequest(f"not a place in the queue: {where!r}")
    if not isinstance(params.get("priority", 0), (int, type(None))):
        raise BadRequest("a priority is a whole number")
    view = daemon.engine.move(params["job"], where, params.get("other", ""), params.get("priority"))
    return {"job": view.to_wire()}


def _annotate(daemon: "Daemon", connection: "Connection", frame: protocol.Frame) -> Any:
    """Take note of what people say of jobs: notes, stars, tags; "jobs" has by job: key -> [value, when]."""
    changes = frame.message["params"]["jobs"]
    if not isinstance(changes, dict) or not all(isinstance(one, dict) for one in changes.values()):
        raise BadRequest("annotations are a table for each job")
    return {"unknown": daemon.engine.annotate(changes)}


def _queue(daemon: "Daemon", connection: "Connection", frame: protocol.Frame) -> Any:
    """The waiting jobs in their order, each with its reason, and when it is expected to start."""
    engine = daemon.engine
    engine.refresh_waits(at_once=True)
    limit = int(frame.message["params"].get("limit", 1000))
    listed = []
    for job in list(engine.state.queue.everyone())[:limit]:
        wait = engine.waits.by_job.get(job)
        words, at = (wait.words, wait.starts_at) if wait else ("", None)
        listed.append([job, engine.state.jobs[job].priority, words, at])
    return {"jobs": listed, "more": len(engine.state.queue) - len(listed), "paused": sorted(engine.state.paused)}


def _forgive(daemon: "Daemon", connection: "Connection", frame: protocol.Frame) -> Any:
    """End the quarantine of GPUs, because the user says so."""
    wanted = str(frame.message["params"]["gpu"])
    found = [gpu for gpu in daemon.probe.gpus if wanted in (gpu.uuid, str(gpu.index))]
    if not found:
        raise NotFound(f"there is no GPU {wanted} on this host")
    daemon.engine.replan()
    return {"forgiven": [gpu.uuid for gpu in found if daemon.probe.occupancy.forgive(gpu.uuid)]}


def _samples(daemon: "Daemon", connection: "Connection", frame: protocol.Frame) -> Any:
    """A page of the host's samples; it begins later than asked for where that part is gone."""
    ring = daemon.sampler.ring
    offset, page = ring.read(int(frame.message["params"]["offset"]), protocol.PAGE_BYTES)
    return {"offset": offset, "end": ring.end}, page


def _list(daemon: "Daemon", connection: "Connection", frame: protocol.Frame) -> Any:
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
        return {"entries": [_entry(os.path.basename(folder), os.lstat(folder))], "truncated": False}
    names = sorted(os.listdir(folder))
    entries = [_entry(name, os.lstat(os.path.join(folder, name))) for name in names[:_MOST_ENTRIES]]
    return {"entries": entries, "truncated": len(names) > _MOST_ENTRIES}


def _entry(name: str, stats: os.stat_result) -> Params:
    kind = "folder" if stat.S_ISDIR(stats.st_mode) else "link" if stat.S_ISLNK(stats.st_mode) else "file"
    return {"name": name, "kind": kind, "size": stats.st_size, "modified_at": stats.st_mtime}


def _shutdown(daemon: "Daemon", connection: "Connection", frame: protocol.Frame) -> Any:
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

_TABLE: Dict[str, Callable[["Daemon", "Connection", protocol.Frame], Any]] = {
    "hello": _hello,
    "changes": _changes,
    "watch": _watch,
    "read": _read,
    "stream_sizes": _stream_sizes,
    "missing": _missing,
    "put": _put,
    "submit": _submit,
    "submit_many": _submit_many,
    "stop": _stop,
    "delete": _delete,
    "prune": _prune,
    "acknowledge": _acknowledge,
    "pause": _pause,
    "move": _move,
    "annotate": _annotate,
    "queue": _queue,
    "forgive": _forgive,
    "samples": _samples,
    "list": _list,
    "shutdown": _shutdown,
}
