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

from remote_agent import __version__, engine as engines, files, procs, protocol, startup, streams
from remote_agent.errors import BadRequest, Conflict, NotFound
from remote_agent.jobs import LONGEST_GRACE, JobSpec

if TYPE_CHECKING:
    from remote_agent.daemon import Connection, Daemon

Params = Dict[str, Any]
_LONGEST_WATCH = 60.0
_MOST_ENTRIES = 5000


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
        return engine.state.seq > self.seq or engine.waits_version != self.waits_version or now >= self.deadline


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
    settings = frame.message["params"].get("settings")
    backend = daemon.engine.backend
    if settings is not None and settings != backend.settings:
        backend.settings = settings
        files.write_json(os.path.join(daemon.paths.root, startup.SETTINGS), settings)
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
        **_resources(daemon),
        "problems": _problems(daemon),
    }


def _resources(daemon: "Daemon") -> Dict[str, Any]:
    capacity = daemon.engine.backend.capacity()
    leased = {uuid: job for job, lease in daemon.engine.state.leases.items() for uuid in lease.gpus}
    return {
        "cpus": capacity.cpus,
        "cpus_free": capacity.cpus - sum(lease.cpus for lease in daemon.engine.state.leases.values()),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "disk_free": files.free_bytes(daemon.paths.root),
        "gpus": [dict(gpu.to_wire(), job=leased.get(gpu.uuid), busy=gpu.looks_busy) for gpu in capacity.gpus],
    }


def _problems(daemon: "Daemon") -> List[str]:
    problems = list(daemon.engine.journal.problems)
    if daemon.probe.problem:
        problems.append(daemon.probe.problem)
    if not procs.has_prctl():
        problems.append("this Python has no ctypes: processes that leave a job's session are found only by its token")
    return problems


def _changes(daemon: "Daemon", connection: "Connection", frame: protocol.Frame) -> Any:
    """The jobs that changed after a sequence number; all of them when the client knew another journal."""
    params, engine = frame.message["params"], daemon.engine
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
    if params.get("waits_version") != engine.waits_version:
        answer["waits_version"] = engine.waits_version
        answer["waits"] = engines.waiting_groups(engine.waits)
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
    client = frame.message["params"].get("protocol", protocol.VERSION)
    if client < protocol.VERSION:
        raise Conflict(
            f"the agent speaks protocol {protocol.VERSION}, this client {client}: update the client to submit"
        )
    spec = JobSpec.from_wire(frame.message["params"]["spec"])
    spec.check()
    return {"job": daemon.engine.submit(spec).to_wire()}


def _stop(daemon: "Daemon", connection: "Connection", frame: protocol.Frame) -> Any:
    """End a job."""
    params = frame.message["params"]
    grace = float(params.get("grace", 30.0))
    if not 0 <= grace <= LONGEST_GRACE:
        raise BadRequest(f"a grace time is 0 to {LONGEST_GRACE} seconds")
    return {"job": daemon.engine.stop(params["job"], params["by"], grace).to_wire()}


def _delete(daemon: "Daemon", connection: "Connection", frame: protocol.Frame) -> Any:
    """Forget an ended job and its files."""
    daemon.engine.delete(frame.message["params"]["job"])
    return {}


def _list(daemon: "Daemon", connection: "Connection", frame: protocol.Frame) -> Any:
    """What lies in a folder of a job."""
    params = frame.message["params"]
    view = daemon.engine.job(params["job"])
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


_TABLE: Dict[str, Callable[["Daemon", "Connection", protocol.Frame], Any]] = {
    "hello": _hello,
    "changes": _changes,
    "watch": _watch,
    "read": _read,
    "stream_sizes": _stream_sizes,
    "missing": _missing,
    "put": _put,
    "submit": _submit,
    "stop": _stop,
    "delete": _delete,
    "list": _list,
    "shutdown": _shutdown,
}
