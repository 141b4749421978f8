"""What a job left on this host that nobody has brought home: the files that are lost when its folder goes.

Every fetch leaves a receipt in the job's folder: which files it carried, with size and time. The client confirms it
when they are whole on its disk. A file counts as brought home when it is as some confirmed receipt has it, or as the
snapshot had it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from typing import Dict, Iterable, Iterator, List, Optional, Set, Tuple

from remote_agent.protocol.errors import BadRequest, NotFound
from remote_agent.protocol.roles import Survey
from remote_agent.storage import event_files, files
from remote_agent.storage.objects import ObjectStore
from remote_agent.storage.paths import EVENTS, AttemptPaths, JobPaths, Paths
from remote_agent.storage.workspace import PARAMETERS_FILE

NOISE = ("__pycache__", ".ipynb_checkpoints")
"""Folders of which nothing counts as a result."""
_ENVIRONMENT = "pyvenv.cfg"
"""What makes a folder a virtual environment (PEP 405)."""
_TEMPORARY = re.compile(r"\.[0-9]+-[0-9]+\.tmp\Z")
"""What is written aside before it is put in place."""
_NUMBER = re.compile(r"[1-9][0-9]{0,8}\Z")
_RECEIPT = re.compile(r"[0-9a-f]{16}\Z")
_Fact = Tuple[str, int, int]
"""(path below the job's folder, bytes, time of change in ns)."""


def write_receipt(job: JobPaths, carried: Iterable[str]) -> str:
    """Write down which files a fetch is about to carry; return the receipt's name, empty when it cannot be written.

    Args:
        job: whose.
        carried: their paths on this host.
    """
    name = os.urandom(8).hex()
    facts: List[_Fact] = []
    for path in carried:
        try:
            stats = os.lstat(path)
        except OSError:
            continue
        facts.append((os.path.relpath(path, os.path.realpath(job.folder)), stats.st_size, stats.st_mtime_ns))
    try:
        os.makedirs(job.receipts, 0o700, exist_ok=True)
        files.write_bytes(os.path.join(job.receipts, name + ".sent"), json.dumps(facts).encode(), durable=False)
    except OSError:
        return ""  # a full disk must not keep anybody from fetching
    return name


def confirm(job: JobPaths, name: str) -> None:
    """Take note that what a receipt names has arrived.

    Raises:
        NotFound: there is no such receipt.
    """
    try:
        if not _RECEIPT.match(name):
            raise FileNotFoundError
        os.rename(os.path.join(job.receipts, name + ".sent"), os.path.join(job.receipts, name + ".json"))
    except OSError:
        raise NotFound("there is no such receipt") from None


def survey(paths: Paths, name: str, snapshot: str) -> Survey:
    """Look for what a job left here only, and keep the answer in its folder for whoever is about to remove that.

    Args:
        paths: the agent's files.
        name: the job.
        snapshot: the tree that it began with.
    """
    job = paths.job(name)
    left = sorted(_left(job, ObjectStore(paths.objects), snapshot), key=lambda fact: -fact[1])
    summary = Survey(len(left), sum(size for _, size, _ in left), (_shown(left[0][0]), left[0][1]) if left else None)
    if os.path.isdir(job.folder):
        try:
            files.write_bytes(job.unfetched, json.dumps(summary.to_wire()).encode(), durable=False)
        except OSError:
            pass  # without it nothing is removed that is not forced
    return summary


def words(job: JobPaths) -> str:
    """Return why a job's folder must not go unasked, in words: the last survey's answer. Empty when it may."""
    if not os.path.isdir(job.folder):
        return ""
    try:
        summary = Survey.from_wire(
            files.read_json(job.unfetched), "a survey"
        )  # it lies in a folder that the job can write to
    except (BadRequest, RecursionError):
        return "nobody has looked yet whether all that it wrote was fetched"
    if not summary.files or summary.largest is None:
        return ""
    name, size = summary.largest
    noun, were = ("file", "was") if summary.files == 1 else ("files", "were")
    return (
        f"{summary.files} {noun} that it wrote ({_amount(summary.bytes)}) {were} never fetched,"
        f" the largest {name} ({_amount(size)})"
    )


def _amount(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} B"


def _left(job: JobPaths, objects: ObjectStore, snapshot: str) -> Iterator[_Fact]:
    home, copies = _brought_home(job)
    replicated = _event_files(job)
    shipped: Optional[Dict[bytes, str]] = None
    for path in _strange(job):
        if os.path.isfile(path) and not os.path.islink(path) and not _TEMPORARY.search(path):
            yield os.path.relpath(path, job.folder), os.lstat(path).st_size, 0
    for area in _areas(job):
        is_work = os.path.basename(area) == "work"
        if is_work and shipped is None:
            shipped = _shipped(objects, snapshot)
        for path, stats in _regular_files(area):
            relative = os.path.relpath(path, os.path.realpath(job.folder))
            if stats is None:
                yield relative, 0, 0
                continue
            fact = (relative, stats.st_size, stats.st_mtime_ns)
            if path in replicated or fact in home or (os.path.basename(path), *fact[1:]) in copies:
                continue
            if is_work and _is_as_shipped(objects, shipped or {}, area, path, stats.st_size):
                continue
            yield fact


def _event_files(job: JobPaths) -> Set[str]:
    """Return the event files: clients have them as they have the log, and say so when they have all."""
    spec = files.read_json(job.spec)
    limit = spec.get("output_limit") if isinstance(spec, dict) else 0
    names: Set[str] = set()
    for attempt in _attempts(job):
        sizes = event_files.sizes(attempt, fresh=True)
        if limit and sum(sizes.values()) > limit:
            continue  # clients leave some of them here, and say so
        paths = [os.path.realpath(event_files.path(attempt, name[len(EVENTS) :])) for name in sizes]
        names.update(path for path in paths if _is_older(path, attempt.exit))  # what came later, no client has
    return names


def _is_older(path: str, than: str) -> bool:
    try:
        return os.lstat(path).st_mtime_ns <= os.lstat(than).st_mtime_ns
    except OSError:
        return False


def _attempts(job: JobPaths) -> List[AttemptPaths]:
    folder = os.path.join(job.folder, "attempts")
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return [job.attempt(int(name)) for name in names if _NUMBER.match(name)]


def _areas(job: JobPaths) -> Iterator[str]:
    tops = [attempt.work for attempt in _attempts(job)]
    for top in [*tops, job.checkpoints, job.artifacts, job.synced, *_strange(job)]:
        if os.path.isdir(top) and not os.path.islink(top):
            yield os.path.realpath(top)


def _strange(job: JobPaths) -> List[str]:
    """Return what a job has put beside its own folder, into the agent's folders."""
    own = {os.path.basename(path) for path in (job.spec, job.private, job.artifacts, job.synced, job.checkpoints)}
    own |= {os.path.basename(path) for path in (job.receipts, job.unfetched)} | {"attempts"}
    strange = _others(job.folder, own)
    for attempt in _attempts(job):
        ours = (
            attempt.log,
            attempt.records,
            attempt.samples,
            attempt.facts,
            attempt.early_facts,
            attempt.supervisor,
            attempt.exit,
            attempt.work,
            attempt.bin,
            attempt.site,
        )
        strange += _others(attempt.folder, set(map(os.path.basename, ours)))
    return strange


def _others(folder: str, own: Set[str]) -> List[str]:
    try:
        return sorted(os.path.join(folder, name) for name in os.listdir(folder) if name not in own)
    except OSError:
        return []


def _regular_files(top: str) -> Iterator[Tuple[str, Optional[os.stat_result]]]:
    """Yield the files below a folder; what cannot be looked at comes without facts: a path that is too long."""
    hidden: List[str] = []
    for folder, folders, names in files.walk(top, lambda path, _: hidden.append(path)):
        folders[:] = [
            name
            for name in folders
            if name not in NOISE and not os.path.lexists(os.path.join(folder, name, _ENVIRONMENT))
        ]
        for name in names:
            path = os.path.join(folder, name)
            try:
                stats = os.lstat(path)
            except FileNotFoundError:
                continue
            except OSError:
                hidden.append(path)
                continue
            if stat.S_ISREG(stats.st_mode) and name != PARAMETERS_FILE:
                yield path, stats
    for path in hidden:
        yield path, None


def _shipped(objects: ObjectStore, snapshot: str) -> Dict[bytes, str]:
    try:
        return {name: oid for _, name, oid in objects.walk(snapshot)}
    except NotFound:
        return {}


def _is_as_shipped(objects: ObjectStore, shipped: Dict[bytes, str], work: str, path: str, size: int) -> bool:
    oid = shipped.get(os.fsencode(os.path.relpath(path, work)))
    try:
        return oid is not None and size == os.stat(objects.path(oid)).st_size and blob_id(path, size) == oid
    except OSError:
        return False


def blob_id(path: str, size: int) -> str:
    """Return git's object id of a file's content."""
    digest = hashlib.sha1(b"blob %d\0" % size)
    with files.open_regular(path) as file:
        for chunk in iter(lambda: file.read(1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest()


def _brought_home(job: JobPaths) -> Tuple[Set[_Fact], Set[_Fact]]:
    """Return (the files that have arrived somewhere, those of them that are copies of a file elsewhere: artifacts)."""
    home: Set[_Fact] = set()
    for receipt in os.listdir(job.receipts) if os.path.isdir(job.receipts) else ():
        facts = files.read_json(os.path.join(job.receipts, receipt)) if receipt.endswith(".json") else None
        for fact in facts if isinstance(facts, list) else ():
            if isinstance(fact, list) and [type(part) for part in fact] == [str, int, int]:
                home.add((fact[0], fact[1], fact[2]))
    kept = (os.path.basename(job.artifacts), os.path.basename(job.synced))
    copies = {(os.path.basename(path), size, at) for path, size, at in home if path.split(os.sep)[0] in kept}
    return home, copies


def _shown(path: str) -> str:
    """Return a file's name as text that may be shown anywhere."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")[:300]
