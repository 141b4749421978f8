"""What clients may ask: a flat table, one function a request. Each returns an answer, or (answer, blob)."""

from __future__ import annotations

import io
import itertools
import os
import shutil
import stat
import sys
import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple, Type, Union

from remote_agent import __version__
from remote_agent.core.scheduler import Capacity
from remote_agent.core.state import ALL_GROUPS
from remote_agent.daemon.admission import NewJob
from remote_agent.daemon.engine import Engine
from remote_agent.daemon.parts import Parts
from remote_agent.gpu.inventory import Gpu
from remote_agent.protocol import checks, facts, framing, messages, supervision
from remote_agent.protocol.errors import AgentError, BadRequest, Conflict, NotFound
from remote_agent.protocol.jobs import JobSpec, JobView
from remote_agent.protocol.resources import GpuProcess, HostGpu, Resources
from remote_agent.protocol.states import ACTIVE_STATES
from remote_agent.protocol.wire import JsonTable
from remote_agent.storage import data_sets, files, streams, unfetched
from remote_agent.storage.paths import Paths
from remote_agent.system import kept_files, processes, sockets

_LONGEST_WATCH = 60.0
_PAGE = framing.PAGE_BYTES
"""Bytes at which a page of entries closes."""
_MOST_PROCESSES = 20
"""Most processes of a GPU to report."""
_LITTLE_SPACE = 0.1
"""Less than this share of a disk free, and ended jobs' folders there: pruning is suggested."""


@dataclass
class PendingWatch:
    """A client that waits for news: it is answered later."""

    seq: int
    waits_version: int
    services_version: int
    """-1 for who does not ask for services."""
    deadline: float
    """On the monotonic clock, seconds."""
    request_id: int = 0

    def is_over(self, engine: Engine, now: float) -> bool:
        """Return whether there is news of jobs or services, or the time is up."""
        if engine.state.seq > self.seq or engine.waits.version != self.waits_version or now >= self.deadline:
            return True
        return self.services_version not in (-1, engine.services.version)


Reply = Union[messages.Answer, Tuple[messages.Answer, bytes], PendingWatch]


def handle(parts: Parts, frame: framing.Frame) -> Reply:
    """Answer one request.

    Raises:
        AgentError: why not.
    """
    method = frame.message.get("method")
    if not isinstance(method, str) or method not in messages.REQUESTS:
        raise BadRequest(f"this agent ({__version__}) does not know the request {ascii(method)[:100]}")
    request = messages.request_from_wire(method, frame.message.get("params"))
    if isinstance(request, messages.Put):
        return _put(parts, frame.blob)
    return _TABLE[type(request)](parts, request)


def _hello(parts: Parts, request: messages.Hello) -> messages.HelloAnswer:
    """Who we are and what this host has; takes in what hosts.toml says of the host."""
    parts.asked_at = time.monotonic()
    if request.look:
        parts.probe.hurry()
    settings = request.settings
    if settings is not None and settings != parts.engine.settings:
        parts.engine.settings = settings
        parts.engine.replan()
        try:
            files.write_json(parts.paths.settings, settings.to_wire())
        except OSError:
            pass  # a full disk; every client says it again
    return messages.HelloAnswer(
        protocol=framing.VERSION,
        version=__version__,
        agent=parts.agent,
        journal=parts.engine.journal.id,
        seq=parts.engine.state.seq,
        root=parts.paths.root,
        host=os.uname().nodename,
        python=sys.executable,
        time=time.time(),
        active=len(parts.engine.state.active),
        gpus_age=parts.probe.age,
        problems=_problems(parts),
        resources=_resources(parts),
    )


def _resources(parts: Parts) -> Resources:
    state = parts.engine.state
    capacity = parts.engine.capacity()
    holders: Dict[str, List[str]] = {}
    for job, lease in state.leases.items():
        for uuid in lease.gpus:
            holders.setdefault(uuid, []).append(job)
    return Resources(
        cpus=capacity.cpus,
        cpus_free=capacity.cpus - sum(lease.cpus for lease in state.leases.values()),
        memory=capacity.ram,
        memory_free=capacity.ram - sum(lease.ram for lease in state.leases.values()),
        disk_free=files.free_bytes(parts.paths.root),
        disk_total=files.total_bytes(parts.paths.root),
        disk_jobs=state.disk,
        queued=len(state.queue),
        paused=_some(sorted(state.paused)),
        gpus=[_host_gpu(parts, gpu, holders.get(gpu.uuid, []), capacity) for gpu in capacity.gpus],
    )


def _host_gpu(parts: Parts, gpu: Gpu, holders: List[str], capacity: Capacity) -> HostGpu:
    """Return a GPU as clients see it.

    Args:
        parts: the parts of the daemon.
        gpu: which.
        holders: the jobs that have leased it.
        capacity: the host's.
    """
    processes = parts.probe.occupancy.look.processes
    return HostGpu(
        **gpu.to_wire(),
        job=holders[0] if holders else None,
        jobs=holders,
        busy=gpu.uuid in capacity.held and not holders,
        held=capacity.held.get(gpu.uuid) if not holders else None,
        processes=[GpuProcess(**p.to_wire()) for p in processes if p.uuid == gpu.uuid][:_MOST_PROCESSES],
    )


def _some(names: List[str]) -> List[str]:
    """Return names up to half a page of them."""
    room, some = _PAGE // 2, []
    for name in names:
        room -= checks.json_size(name) + 1
        if room < 0:
            break
        some.append(name)
    return some


def _problems(parts: Parts) -> List[str]:
    problems = list(parts.engine.journal.problems)
    problems += filter(
        None, [parts.engine.notices.problem, parts.probe.problem, parts.syncer.problem(), _disk_problem(parts)]
    )
    if not processes.has_prctl():
        problems.append("this Python has no ctypes: processes that leave a job's session are found only by its token")
    if parts.question is not None and parts.question.problem:
        problems.append(parts.question.problem)
    limits = processes.tight_limits()
    if limits:
        problems.append(
            f"jobs run under limits that a shell has set: {', '.join(limits)}; end the agent to be free of them"
        )
    root = parts.paths.root
    if root.startswith(_FORGETFUL) and not os.path.exists(os.path.join(root, _MEANT)):
        problems.append(f"the root {root} does not survive a reboot: what jobs leave there is then lost")
    if files.forbids_programs(root):
        problems.append(f"the root {root} is on a disk that runs no programs (noexec): set root to another one")
    return problems


_FORGETFUL = ("/tmp/", "/dev/shm/", "/run/")
_MEANT = "temporary"
"""A file of this name in the root says that it is meant to go, as the demo's is."""


def _disk_problem(parts: Parts) -> str:
    """Return that the disk is nearly full and jobs' folders can go, in words; empty when there is enough space."""
    free, total = files.free_bytes(parts.paths.root), files.total_bytes(parts.paths.root)
    held = parts.engine.state.disk
    if free >= total * _LITTLE_SPACE or held < 100 << 20:
        return ""
    return f"the disk is {1 - free / total:.0%} full; folders of ended jobs hold {held / 1e9:.1f} GB: foundations prune"


def _changes(parts: Parts, request: messages.Changes) -> messages.ChangesAnswer:
    """The jobs that changed after a sequence number; all of them when the client knew another journal.

    A page closes at 64 kB. A job that alone is larger is only named, in "large": ``entry`` gives it by pages.
    """
    engine = parts.engine
    engine.take_time_left(request.time_left)
    engine.refresh_waits()
    after = request.after if request.journal == engine.journal.id else 0
    page = engine.state.changes(after, _PAGE, min(request.limit, 2000), request.transitions)
    return messages.ChangesAnswer(
        journal=engine.journal.id,
        earlier=engine.journal.earlier,
        seq=page.seq,
        more=page.seq < engine.state.seq,
        jobs=page.jobs,
        large=page.large,
        deleted=page.deleted,
        resources=_resources(parts),
        problems=_problems(parts),
        waits_version=engine.waits.version,
        services_version=engine.services.version,
        registry_seq=engine.models.seq,
        schedules_version=engine.schedules.version,
        transitions=[(*transition,) for transition in page.transitions],
    )


def _entry(parts: Parts, request: messages.Entry) -> Tuple[messages.EntryAnswer, bytes]:
    """A page of a job that is too large for a page of changes: its JSON, from an offset."""
    view = parts.engine.requests.job(request.job)
    data = parts.entries.encoded(view)
    return messages.EntryAnswer(view.seq, len(data)), data[request.offset :][:_PAGE]


def _waits(parts: Parts, request: messages.Waits) -> messages.WaitsAnswer:
    """Why jobs wait and when they are expected to start, from some job on: "next" is where the next page begins."""
    waits = parts.engine.waits
    groups: Dict[str, List[str]] = {}
    estimates: Dict[str, int] = {}
    after = request.after
    following = None
    room = _PAGE
    for place, (job, wait) in enumerate(itertools.islice(waits.by_job.items(), after, None), after):
        room -= 2 * len(job) + 24 + (0 if wait.words in groups else checks.json_size(wait.words))
        if room < 0 and groups:
            following = place
            break
        groups.setdefault(wait.words, []).append(job)
        if wait.starts_at is not None:
            estimates[job] = round(wait.starts_at)
    return messages.WaitsAnswer(waits.version, list(groups.items()), estimates, following)


def _watch(parts: Parts, request: messages.Watch) -> PendingWatch:
    """Answered when something is new: a job changed, a stream grew, or the time is up."""
    deadline = time.monotonic() + min(request.timeout, _LONGEST_WATCH)
    return PendingWatch(request.seq, request.waits_version, request.services_version, deadline)


def _read(parts: Parts, request: messages.Read) -> Tuple[messages.ReadAnswer, bytes]:
    """A page of a stream from an offset."""
    parts.engine.requests.job(request.job)
    attempt = parts.paths.job(request.job).attempt(request.attempt)
    limit = min(request.limit, _PAGE)
    kind, _, digest = request.stream.partition("/")
    shared = {"packages": parts.paths.packages, "locks": parts.paths.lock}  # by hash: many attempts have the same
    is_shared = kind in shared and facts.HASH.match(digest)
    path = shared[kind](digest) if is_shared else streams.path(attempt, request.stream)
    offset, page, size = streams.read(path, request.offset, limit)
    return messages.ReadAnswer(size, offset), page


def _stream_sizes(parts: Parts, request: messages.StreamSizes) -> messages.StreamSizesAnswer:
    """The sizes of the streams of jobs that run now, behind the stream "after" in their order."""
    after = tuple(request.after or ("", 0, ""))
    sizes: List[Tuple[str, int, str, int]] = []
    room = _PAGE
    for job, number in sorted(parts.engine.lifecycle.active_attempts()):
        if (job, number, "\U0010ffff") < after:
            continue
        for name, size in sorted(streams.sizes(parts.paths.job(job).attempt(number)).items()):
            if (job, number, name) > after:
                sizes.append((job, number, name, size))
                room -= len(job) + len(name) + 40
        if room < 0:
            return messages.StreamSizesAnswer(sizes, more=True)
    return messages.StreamSizesAnswer(sizes)


def _missing(parts: Parts, request: messages.Missing) -> messages.MissingAnswer:
    """Which objects of a snapshot have to be sent. With ``base``, only the objects beyond that tree are asked about."""
    objects = parts.engine.objects
    free = files.free_bytes(parts.paths.root)
    if objects.has(request.snapshot):
        return messages.MissingAnswer([], True, free)
    base = request.base
    if base and not objects.has(base):
        return messages.MissingAnswer([], False, free)
    return messages.MissingAnswer(objects.missing(request.oids), True, free)


def _put(parts: Parts, pack: bytes) -> messages.PutAnswer:
    """Take in a small pack that rides on this channel."""
    if len(pack) > 2 * framing.SMALL_PACK_BYTES:
        raise BadRequest("a pack of this size belongs on a channel of its own")
    return messages.PutAnswer(parts.engine.objects.receive(io.BytesIO(pack)))


def _submit(parts: Parts, request: messages.Submit) -> messages.JobAnswer:
    """Accept a job; answered when it is durable."""
    _refuse_older(request)
    spec = JobSpec.from_wire(request.spec)
    spec.check()
    _refuse_replica(spec)
    return messages.JobAnswer(parts.engine.requests.submit(spec, request.private).to_wire())


def _submit_many(parts: Parts, request: messages.SubmitMany) -> messages.SubmitManyAnswer:
    """Accept jobs, all or none: ``base`` is what their specifications share, ``specs`` what each adds."""
    _refuse_older(request)
    jobs: List[NewJob] = []
    for own in request.specs:
        spec = JobSpec.from_wire({**request.base, **own})
        spec.check(jobs[0].spec if jobs else None)
        _refuse_replica(spec)
        jobs.append(NewJob(spec, request.private))
    views = parts.engine.requests.submit_all(jobs)
    return messages.SubmitManyAnswer([(v.spec.job, v.seq, v.queued_at or 0.0, v.rank) for v in views])


def _refuse_replica(spec: JobSpec) -> None:
    if spec.is_replica:
        raise BadRequest("a service is served, not submitted")


def _refuse_older(request: Union[messages.Submit, messages.SubmitMany, messages.Serve, messages.AddSchedule]) -> None:
    if request.protocol < framing.VERSION:
        raise Conflict(
            f"the agent ({__version__}) speaks protocol {framing.VERSION}, this client"
            f" ({request.version}) {request.protocol}: update the client to submit"
        )


def _stop(parts: Parts, request: messages.Stop) -> messages.JobAnswer:
    """End a job."""
    return messages.JobAnswer(_brief(parts.engine.requests.stop(request.job, request.by, request.grace)))


def _brief(view: JobView) -> JsonTable:
    """Return a job as an answer has it: without what is large, which the next page of changes brings."""
    wire = view.to_wire()
    if checks.json_size(wire) > _PAGE:
        kept = {name: value for name, value in wire["spec"].items() if checks.json_size(value) < 1024}
        wire.update(spec=kept, attempts=[], streams={}, annotations={})
        wire["spec"].update(command=[], snapshot=view.spec.snapshot)
    return wire


def _resume(parts: Parts, request: messages.Resume) -> messages.JobAnswer:
    """Let a job start that is held because something of it may have been lost."""
    return messages.JobAnswer(_brief(parts.engine.requests.release(request.job)))


def _delete(parts: Parts, request: messages.Delete) -> messages.Done:
    """Forget an ended job and its files."""
    parts.engine.requests.delete(request.job, request.client, request.files, request.force)
    return messages.Done()


def _prune(parts: Parts, request: messages.Prune) -> messages.PruneAnswer:
    """Remove the folders of ended jobs; each that stays comes with its reason. ``preview``: remove nothing."""
    engine = parts.engine
    pruned, kept = [], {}
    for job in request.jobs:
        try:
            if request.preview:
                why_not = engine.requests.pinned_by(job)
                why_not = why_not or ("" if request.force else engine.requests.not_fetched(job))
                if why_not:
                    raise Conflict(why_not)
            else:
                engine.requests.prune(job, request.force)
            pruned.append(job)
        except AgentError as error:
            kept[job] = str(error)
    clients = engine.state.clients
    missing = {job: sorted(clients - engine.state.acknowledged.get(job, set())) for job in pruned}
    return messages.PruneAnswer(pruned, kept, {job: who for job, who in missing.items() if who})


def _environments(parts: Parts, request: messages.Environments) -> messages.EnvironmentsAnswer:
    """List environments; those that nobody has used for long and no job needs are removed, when that is asked for."""
    engine = parts.engine
    answer = engine.builds.prune(engine.state, request.unused_for, request.preview, time.time())
    engine.remove_folders(engine.builds.take_trash())
    return answer


def _data_sets(parts: Parts, request: messages.DataSets) -> messages.DataSetsAnswer:
    """List the data sets of this host; remove one, unless a job uses it."""
    engine, paths = parts.engine, parts.paths
    used: Dict[str, int] = {}
    for job in (*engine.state.active, *engine.state.queue.everyone()):
        for entry in engine.state.jobs[job].spec.data.values():
            digest = str(entry.get("hash", ""))
            used[digest] = used.get(digest, 0) + 1
    to_come = {str(entry.get("hash", "")) for spec in engine.state.specs_to_come() for entry in _data_of(spec)}
    pinned = {pin.data: pin.words for pins in engine.state.pins.values() for pin in pins.values() if pin.data}
    if request.remove:
        named = {one.name: one.hash for one in data_sets.names(paths)}
        if named.get(request.remove, "") in pinned:
            raise Conflict(
                f"data {request.remove} is what model {pinned[named[request.remove]]} consists of"
                " (foundations model retire)"
            )
        if used.get(named.get(request.remove, "")):
            raise Conflict(f"data {request.remove} is used by {used[named[request.remove]]} jobs that run or wait")
        if named.get(request.remove) in to_come:
            raise Conflict(f"data {request.remove} is what jobs of a service or a schedule will use")
        data_sets.drop_name(paths, request.remove)
    for path in data_sets.locks(paths):
        if not kept_files.is_held(path):
            os.unlink(path)  # of a process that was killed
    for digest in data_sets.unnamed(paths, time.time()):
        if not used.get(digest) and digest not in pinned and digest not in to_come:
            data_sets.trash(paths, digest)
    engine.remove_folders(data_sets.remains(paths))
    return messages.DataSetsAnswer([_hosted(paths, one, used.get(one.hash, 0)) for one in data_sets.names(paths)])


def _data_of(spec: JsonTable) -> Iterable[JsonTable]:
    data = spec.get("data")
    return [entry for entry in data.values() if isinstance(entry, dict)] if isinstance(data, dict) else ()


def _hosted(paths: Paths, named: data_sets.Named, in_use: int) -> messages.HostedData:
    place, count, size = data_sets.DataSet(paths, named.hash).summary()
    return messages.HostedData(named.name, named.hash, place, count, size, named.at, in_use)


def _acknowledge(parts: Parts, request: messages.Acknowledge) -> messages.Done:
    """A client has everything of these ended jobs."""
    parts.engine.requests.acknowledge(request.client, request.jobs)
    return messages.Done()


def _received(parts: Parts, request: messages.Received) -> messages.Done:
    """The files of a fetch have arrived."""
    parts.engine.requests.job(request.job)
    unfetched.confirm(parts.paths.job(request.job), request.receipt)
    return messages.Done()


def _pause(parts: Parts, request: messages.Pause) -> messages.PauseAnswer:
    """Start no job of a group any more, or again; without a group, of the whole host."""
    parts.engine.requests.pause(request.group or ALL_GROUPS, request.paused)
    return messages.PauseAnswer(_some(sorted(parts.engine.state.paused)))


def _move(parts: Parts, request: messages.Move) -> messages.JobAnswer:
    """Give a waiting job another place in the queue, or another priority."""
    view = parts.engine.requests.move(request.job, request.where, request.other or "", request.priority)
    return messages.JobAnswer(_brief(view))


def _annotate(parts: Parts, request: messages.Annotate) -> messages.AnnotateAnswer:
    """Take note of what people say of jobs: notes, stars, tags; "jobs" has by job: key -> [value, when]."""
    return messages.AnnotateAnswer(parts.engine.requests.annotate(request.jobs))


def _queue(parts: Parts, request: messages.Queue) -> messages.QueueAnswer:
    """The waiting jobs in their order, each with its reason, and when it is expected to start."""
    engine = parts.engine
    engine.refresh_waits(at_once=True)
    offset = request.offset
    listed: List[Tuple[str, int, str, Optional[float]]] = []
    room = _PAGE
    for job in itertools.islice(engine.state.queue.everyone(), offset, None):
        wait = engine.waits.by_job.get(job)
        words, at = (wait.words, wait.starts_at) if wait else ("", None)
        room -= len(job) + checks.json_size(words) + 40
        if room < 0 and listed:
            break
        listed.append((job, engine.state.jobs[job].priority, words, None if at is None else round(at)))
    more = max(0, len(engine.state.queue) - offset - len(listed))
    return messages.QueueAnswer(listed, more, _some(sorted(engine.state.paused)))


def _release_quarantine(parts: Parts, request: messages.ReleaseQuarantine) -> messages.ReleaseQuarantineAnswer:
    """End the quarantine of GPUs, because the user says so."""
    uuids = _gpus_named(parts, request.gpu)
    parts.engine.replan()
    return messages.ReleaseQuarantineAnswer([uuid for uuid in uuids if parts.probe.occupancy.release_quarantine(uuid)])


def _gpus_named(parts: Parts, name: str) -> List[str]:
    """Return the UUIDs of the GPUs that an index or a UUID means: MIG devices share an index.

    Raises:
        NotFound: there is none.
    """
    uuids = [gpu.uuid for gpu in parts.probe.gpus if name in (gpu.uuid, str(gpu.index))]
    if not uuids:
        raise NotFound(f"there is no GPU {name} on this host")
    return uuids


def _claims(parts: Parts, request: messages.Claims) -> messages.ClaimsAnswer:
    """Overrule what other agents claim of a GPU, or heed it again: claims only ask."""
    uuids = set(_gpus_named(parts, request.gpu))
    ignored = parts.probe.ignored | uuids if request.ignored else parts.probe.ignored - uuids
    files.write_json(parts.paths.ignored_claims, sorted(ignored))
    parts.probe.heed(ignored)
    parts.engine.replan()
    return messages.ClaimsAnswer(sorted(ignored))


def _samples(parts: Parts, request: messages.Samples) -> Tuple[messages.SamplesAnswer, bytes]:
    """A page of the host's samples; it begins later than asked for where that part is gone."""
    ring = parts.sampler.ring
    offset, page = ring.read(request.offset, _PAGE)
    return messages.SamplesAnswer(offset, ring.end), page


def _list(parts: Parts, request: messages.ListFolder) -> messages.ListFolderAnswer:
    """What lies in a folder of a job."""
    view = parts.engine.requests.job(request.job)
    if view.pruned:
        raise NotFound(f"the folder of job {view.spec.job} was removed from this host (pruned)")
    if not view.attempt:
        return messages.ListFolderAnswer([])
    work = parts.paths.job(request.job).attempt(view.attempt).work
    folder = files.inside(work, request.path)
    if not os.path.lexists(folder):
        raise NotFound(f"the job's folder has no {request.path or '.'!r}")
    if not os.path.isdir(folder):
        return messages.ListFolderAnswer([_listed(os.path.basename(folder), os.lstat(folder))])
    names = sorted(os.listdir(folder))
    entries: List[messages.FolderEntry] = []
    room = _PAGE
    for name in names[request.offset :]:
        room -= checks.json_size(name) + 80
        if room < 0 and entries:
            return messages.ListFolderAnswer(entries, truncated=True)
        try:
            entries.append(_listed(name, os.lstat(os.path.join(folder, name))))
        except FileNotFoundError:
            entries.append(messages.FolderEntry(name, "file", 0, 0.0))  # it went meanwhile
    return messages.ListFolderAnswer(entries)


def _listed(name: str, stats: os.stat_result) -> messages.FolderEntry:
    kind = "folder" if stat.S_ISDIR(stats.st_mode) else "link" if stat.S_ISLNK(stats.st_mode) else "file"
    moment = min(max(0.0, stats.st_mtime), checks.END_OF_TIME)
    return messages.FolderEntry(name, kind, stats.st_size, moment)


def _shutdown(parts: Parts, request: messages.Shutdown) -> messages.Done:
    """End the daemon. ``replace``: a newer one comes, jobs run on. Otherwise no job may run or wait."""
    if not request.replace:
        if not parts.engine.is_idle:
            raise Conflict("jobs run or wait on this host, or it has services or schedules; end those first")
        files.write_bytes(parts.paths.stopped, b"")
        shutil.rmtree(parts.paths.trash, ignore_errors=True)
    parts.stopping = True
    return messages.Done()


def _serve(parts: Parts, request: messages.Serve) -> messages.ServiceAnswer:
    """Have a service as it is asked for."""
    _refuse_older(request)
    return parts.engine.services.serve(request)


def _change_service(parts: Parts, request: messages.ChangeService) -> messages.ServiceAnswer:
    """Have another number of replicas, or another revision."""
    return parts.engine.services.change(request)


def _restart_service(parts: Parts, request: messages.RestartService) -> messages.ServiceAnswer:
    """End what runs of a service, so that it begins again."""
    return parts.engine.services.restart(request)


def _forget_service(parts: Parts, request: messages.ForgetService) -> messages.Done:
    """Forget a service that is stopped."""
    parts.engine.services.forget(request.name)
    return messages.Done()


def _services(parts: Parts, request: messages.Services) -> messages.ServicesAnswer:
    """A page of services."""
    parts.engine.refresh_waits()
    page, more = parts.engine.services.page(request.after, _PAGE)
    return messages.ServicesAnswer(parts.engine.services.version, page, more)


def _service_token(parts: Parts, request: messages.ServiceToken) -> messages.ServiceTokenAnswer:
    """The token of a service."""
    return messages.ServiceTokenAnswer(parts.engine.services.token(request.name))


def _service_people(parts: Parts, request: messages.ServicePeople) -> messages.ServicePeopleAnswer:
    """Give a person a token for a service, or take it away."""
    return parts.engine.services.people(request)


def _add_schedule(parts: Parts, request: messages.AddSchedule) -> messages.ScheduleAnswer:
    """Have a schedule as it is asked for."""
    _refuse_older(request)
    return parts.engine.schedules.add(request)


def _change_schedule(parts: Parts, request: messages.ChangeSchedule) -> messages.ScheduleAnswer:
    """Pause a schedule, have it go on, run its job now, or remove it."""
    return parts.engine.schedules.change(request)


def _schedules(parts: Parts, request: messages.Schedules) -> messages.SchedulesAnswer:
    """The schedules of this host."""
    return messages.SchedulesAnswer(parts.engine.schedules.version, parts.engine.schedules.page())


def _registry(parts: Parts, request: messages.Registry) -> messages.RegistryAnswer:
    """A page of what happened to models."""
    engine = parts.engine
    after = request.after if request.journal == engine.journal.id else 0
    page, reached, more = engine.models.page(after, _PAGE)
    return messages.RegistryAnswer(engine.journal.id, reached, page, more)


def _register_version(parts: Parts, request: messages.RegisterVersion) -> messages.RegistryChange:
    """Register a version of a model."""
    return parts.engine.models.register(request.model, request.version, request.by)


def _set_alias(parts: Parts, request: messages.SetAlias) -> messages.RegistryChange:
    """Have an alias mean another version."""
    return parts.engine.models.set_alias(request)


def _retire_version(parts: Parts, request: messages.RetireVersion) -> messages.RegistryChange:
    """Have a version not be used any more."""
    return parts.engine.models.retire(request.model, request.number, request.by, request.undo)


def _move_model(parts: Parts, request: messages.MoveModel) -> messages.RegistryChange:
    """Have another host be a model's home."""
    return parts.engine.models.move(request.model, request.to, request.by)


def _adopt_registry(parts: Parts, request: messages.AdoptRegistry) -> messages.AdoptRegistryAnswer:
    """Take in what clients hold of models."""
    return parts.engine.models.adopt(request.events)


def _pin(parts: Parts, request: messages.Pin) -> messages.Done:
    """Keep a job because a version consists of it, or let it go."""
    parts.engine.requests.pin(request.job, request.key, request.words, request.data)
    return messages.Done()


def _listeners(parts: Parts, request: messages.Listeners) -> messages.ListenersAnswer:
    """Where the processes of a running job listen."""
    view = parts.engine.requests.job(request.job)
    if view.state not in ACTIVE_STATES:
        raise Conflict(f"job {request.job} does not run ({view.state.value})")
    attempt = parts.paths.job(request.job).attempt(view.attempt)
    record = supervision.record_of(files.read_json(attempt.supervisor))
    pids = processes.members_of_attempt(record.token, record.session) if record.token else []
    return messages.ListenersAnswer([(found.reachable_at, found.port) for found in sockets.listening(pids)])


AT_ANY_TIME = {"hello", "read", "stream_sizes", "list", "samples"}
"""Requests that are answered also while a slow disk is waited for: they change nothing and tell of no job's state."""

_TABLE: Dict[Type[messages.Request[Any]], Callable[[Parts, Any], Reply]] = {
    messages.Hello: _hello,
    messages.Changes: _changes,
    messages.Entry: _entry,
    messages.Waits: _waits,
    messages.Watch: _watch,
    messages.Read: _read,
    messages.StreamSizes: _stream_sizes,
    messages.Missing: _missing,
    messages.Submit: _submit,
    messages.SubmitMany: _submit_many,
    messages.Stop: _stop,
    messages.Resume: _resume,
    messages.Delete: _delete,
    messages.Prune: _prune,
    messages.Acknowledge: _acknowledge,
    messages.Received: _received,
    messages.Pause: _pause,
    messages.Move: _move,
    messages.Annotate: _annotate,
    messages.Queue: _queue,
    messages.ReleaseQuarantine: _release_quarantine,
    messages.Claims: _claims,
    messages.Samples: _samples,
    messages.ListFolder: _list,
    messages.Environments: _environments,
    messages.DataSets: _data_sets,
    messages.Shutdown: _shutdown,
    messages.Serve: _serve,
    messages.ChangeService: _change_service,
    messages.RestartService: _restart_service,
    messages.ForgetService: _forget_service,
    messages.Services: _services,
    messages.ServiceToken: _service_token,
    messages.ServicePeople: _service_people,
    messages.Listeners: _listeners,
    messages.AddSchedule: _add_schedule,
    messages.ChangeSchedule: _change_schedule,
    messages.Schedules: _schedules,
    messages.Registry: _registry,
    messages.RegisterVersion: _register_version,
    messages.SetAlias: _set_alias,
    messages.RetireVersion: _retire_version,
    messages.MoveModel: _move_model,
    messages.AdoptRegistry: _adopt_registry,
    messages.Pin: _pin,
}
