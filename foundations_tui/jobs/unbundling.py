"""Jobs taken from a bundle into the store, all of them or none; nothing of what a bundle says is trusted."""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from foundations.records import Record, decode
from foundations_tui.config import locations
from foundations_tui.errors import FoundationsError, HostRefused
from foundations_tui.ingest import stories
from foundations_tui.jobs.bundle_format import VERSION, BadBundle, Bundle
from foundations_tui.snapshot import objects, shadows
from foundations_tui.store import write_bundles
from foundations_tui.store.db import Store
from foundations_tui.store.rows import json_value
from foundations_tui.store.write_bundles import BundledJob
from foundations_tui.sync import unpacking
from foundations_tui.text.sanitize import one_line
from remote_agent.protocol import facts as recorded_facts
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.facts import HASH
from remote_agent.protocol.jobs import JOB_ID, JobView

_MOST_JOBS = 10_000
_LARGEST_JSON = 64 << 20
_LARGEST_RECORDS = 256 << 20
"""Of one attempt: a few million values."""
Told = Callable[[str], None]


@dataclass
class Taken:
    """What was taken in."""

    new: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    """Were here already, with the same content."""
    problems: list[str] = field(default_factory=list)
    """What made no sense and was left out, in words."""


def unbundle(store: Store, bundle: Bundle, progress: Told) -> Taken:
    """Take the jobs of a bundle into the store.

    Args:
        store: open for writing.
        bundle: open.
        progress: takes what is being done.
    Raises:
        BadBundle: it is not whole, or has a job that is here with other content; nothing was taken.
    """
    progress("checking every file")
    bundle.check_manifest()
    taken = Taken()
    jobs = [_read_job(bundle, job, taken) for job in _ids(bundle)]
    fresh = []
    for job in jobs:
        known = write_bundles.known(store.conn, job.view)
        if known is False:
            raise BadBundle(
                f"job {job.view.spec.job} is in the store already, with other content",
                "nothing was taken; one of the two was changed, or was bundled with other options",
            )
        (taken.known if known else taken.new).append(job.view.spec.job)
        if not known:
            fresh.append(job)
    packages, locks = _packages(bundle), _locks(bundle)
    for tree in dict.fromkeys(job.view.spec.snapshot for job in fresh):
        if (bundle.below(f"code/{tree}") or tree == objects.tree_of({})) and not any(shadows.holding(tree)):
            progress(f"code {tree[:12]}")
            _take_code(bundle, tree)
    for job in fresh:
        progress(f"job {job.view.spec.job[:6]}")
        _write_files(bundle, job)
    write_bundles.put(store, fresh, packages, locks)
    stories.refresh(store)
    return taken


def _ids(bundle: Bundle) -> list[str]:
    ids = list(dict.fromkeys(entry.name.split("/")[1] for entry in bundle.below("jobs")))
    wrong = [job for job in ids if not JOB_ID.match(job) or f"jobs/{job}/job.json" not in bundle.entries]
    if wrong or not ids or len(ids) > _MOST_JOBS:
        raise BadBundle(f"jobs/{one_line(wrong[0])[:64]} is no job" if wrong else "the bundle has no jobs, or too many")
    return ids


def _read_job(bundle: Bundle, job: str, taken: Taken) -> BundledJob:
    try:
        told = json.loads(bundle.read(f"jobs/{job}/job.json", _LARGEST_JSON))
        version = told["version"]
        if not isinstance(version, int) or version > VERSION:
            raise BadBundle(f"the bundle is of a newer version ({version!r}): update foundations-tui")
        view = JobView.received(told["view"], taken.problems)
    except (ValueError, KeyError, TypeError, RecursionError, BadRequest) as error:
        raise BadBundle(f"jobs/{job}/job.json makes no sense: {error}") from None
    if view.spec.job != job or not view.state.is_final:
        raise BadBundle(f"jobs/{job}/job.json is of another job, or of one that has not ended")
    try:
        replace(view.spec, snapshot=view.spec.snapshot or "0" * 40).check()
    except BadRequest as error:
        raise BadBundle(f"jobs/{job}/job.json makes no sense: {error}") from None
    if view.spec.secrets:
        some = " ".join(f"--secret {name}" for name in view.spec.secrets[:10])
        taken.problems.append(f"job {job} had secrets; a rerun of it gets none of yours unless you say {some}")
        view = replace(view, spec=replace(view.spec, secrets=(), private=False))
    records: dict[int, Callable[[], Iterable[Record]]] = {}
    facts: dict[int, bytes] = {}
    logs: dict[int, str] = {}
    for attempt in range(1, min(view.attempt, 1001) + 1):
        place = f"jobs/{job}/attempts/{attempt}"
        if f"{place}/records.jsonl" in bundle.entries:
            records[attempt] = functools.partial(_records, bundle, f"{place}/records.jsonl")
        if f"{place}/facts.json" in bundle.entries:
            facts[attempt] = _one_line(bundle.read(f"{place}/facts.json", _LARGEST_JSON))
        if f"{place}/output.log" in bundle.entries:
            logs[attempt] = f"{place}/output.log"
    artifacts = [entry.name for entry in bundle.below(f"jobs/{job}/artifacts") if not entry.is_link]
    host = told.get("host")
    return BundledJob(view, host if isinstance(host, str) else "", records, facts, artifacts, logs)


def _records(bundle: Bundle, name: str) -> Iterator[Record]:
    return decode(bundle.read(name, _LARGEST_RECORDS), 0)


def _one_line(data: bytes) -> bytes:
    try:
        return json.dumps(json_value(json.loads(data))).encode() + b"\n"
    except (ValueError, RecursionError):
        return b""


def _packages(bundle: Bundle) -> dict[str, Any]:
    found = {}
    for entry in bundle.below("packages"):
        digest = entry.name.removeprefix("packages/").removesuffix(".json")
        try:
            found[digest] = recorded_facts.packages_of(
                bundle.read(entry.name, recorded_facts.MOST_PACKAGES_BYTES), digest
            )
        except BadRequest as error:
            raise BadBundle(f"{entry.name}: {error}") from None
    return found


def _locks(bundle: Bundle) -> list[str]:
    texts = []
    for entry in bundle.below("environment"):
        digest = entry.name.split("/")[1]
        data = bundle.read(entry.name, recorded_facts.MOST_PACKAGES_BYTES)
        if not HASH.match(digest) or hashlib.sha256(data).hexdigest() != digest:
            raise BadBundle(f"{entry.name} is not the lock of that hash")
        try:
            texts.append(data.decode("utf-8"))
        except UnicodeDecodeError:
            raise BadBundle(f"{entry.name} is no text") from None
    return texts


def _take_code(bundle: Bundle, tree: str) -> None:
    """Take code in as a snapshot, when it is exactly that tree.

    Raises:
        BadBundle: it is another.
    """
    folder = locations.incoming_folder()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    prefix = f"code/{tree}/"
    entries = bundle.below(f"code/{tree}")

    def files() -> Iterator[objects.File]:
        for entry in entries:
            mode = "120000" if entry.is_link else "100755" if entry.is_program else "100644"
            path = entry.name.removeprefix(prefix).encode("utf-8")
            yield objects.File(path, mode, entry.size, bundle.chunks(entry.name))

    content = {file.path: (file.mode, objects.blob_id_of(file.size, file.chunks)) for file in files()}
    if objects.tree_of(content) != tree:
        raise BadBundle(f"code/{tree} is another tree")
    with tempfile.TemporaryDirectory(dir=folder) as name:
        top = Path(name)
        with unpacking.Folder(top, with_git=True) as target:
            unpacked = unpacking.write_files(files(), target, links_as_they_are=True)  # nothing is read through them
        if unpacked.refused:
            raise BadBundle(f"code/{tree}/{unpacked.refused[0][0]}: {unpacked.refused[0][1]}")
        try:
            shadows.take_in(top, tree, tree[:12], bundle.path.name)
        except HostRefused as error:
            raise BadBundle(str(error)) from None


def _write_files(bundle: Bundle, job: BundledJob) -> None:
    """Write the logs and artifacts of a job to their places; those of a job that the store has not are nobody's."""
    identity = job.view.spec.job
    shutil.rmtree(locations.log_file(identity, 1).parent, ignore_errors=True)
    for attempt, name in job.logs.items():
        path = locations.log_file(identity, attempt)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with path.open("wb") as file:
            for chunk in bundle.chunks(name):
                file.write(chunk)
    if not job.artifacts:
        return
    with unpacking.Folder(locations.artifacts_folder(identity)) as folder:
        for name in job.artifacts:
            short = name.removeprefix(f"jobs/{identity}/artifacts/")
            try:
                with folder.new_file(short, 0o600) as file:
                    for chunk in bundle.chunks(name):
                        file.write(chunk)
            except unpacking.Refused as error:
                raise FoundationsError(f"{name}: {error}") from None
