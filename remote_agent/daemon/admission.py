"""Whether jobs may be taken: checked before anything is written down; and what comes beside their specifications."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Collection, List, Optional, Set

from remote_agent.core.scheduler import Capacity
from remote_agent.core.state import HostState
from remote_agent.environments.places import Environment
from remote_agent.protocol.errors import Conflict, DiskFull, NotFound, StorageBroken, Unsatisfiable
from remote_agent.protocol.jobs import JobSpec
from remote_agent.protocol.recipes import recipe_of
from remote_agent.protocol.states import JobState
from remote_agent.protocol.wire import JsonTable
from remote_agent.storage import files
from remote_agent.storage.objects import ObjectStore
from remote_agent.storage.paths import Paths

LEAST_FREE_BYTES = 8 << 20
"""A host with less than this free on its disk takes no job."""
_MANY = 16
"""More private files than this are made durable by one sync of the file system."""


@dataclass(frozen=True)
class NewJob:
    """One job of a submit, with what may be written into no journal."""

    spec: JobSpec
    private: Optional[JsonTable] = None
    """"secrets" and "notify": kept in a file of the job's own until it has ended."""


def check(fresh: List[NewJob], state: HostState, capacity: Capacity, paths: Paths, objects: ObjectStore) -> None:
    """Refuse jobs that come together, when one of them cannot be taken.

    Raises:
        NotFound: a snapshot, or a job to wait for, is not here. AgentError: why not.
    """
    if not fresh:
        return
    _check_disk(paths.root)
    for snapshot in {job.spec.snapshot for job in fresh}:
        if not objects.has(snapshot):
            raise NotFound(f"snapshot {snapshot} is not on this host")
    _check_environments(fresh, paths, objects)
    before: Set[str] = set()
    for job in fresh:
        _check_spec(job.spec, state, capacity, paths.root)
        _check_dependencies(job.spec, state, before)
        before.add(job.spec.job)


def keep_private(fresh: List[NewJob], paths: Paths) -> None:
    """Keep secrets and the like in files of their own, durable before the jobs are accepted."""
    private = [new_job for new_job in fresh if new_job.private]
    few = len(private) <= _MANY
    for new_job in private:
        job = paths.job(new_job.spec.job)
        os.makedirs(job.folder, 0o700, exist_ok=True)
        files.write_bytes(job.private, json.dumps(new_job.private).encode(), durable=few)
    if private and few:
        files.disk.sync_folder(paths.jobs)
    elif private and not files.disk.sync_all(paths.jobs):
        for new_job in private:
            files.write_bytes(paths.job(new_job.spec.job).private, json.dumps(new_job.private).encode())
        files.disk.sync_folder(paths.jobs)


def _check_disk(root: str) -> None:
    if files.free_bytes(root) < LEAST_FREE_BYTES:
        raise DiskFull("the disk of the host is full; foundations prune frees what ended jobs hold there")
    if files.is_read_only(root):
        raise StorageBroken(f"the disk of {root} can only be read")


def _check_environments(fresh: List[NewJob], paths: Paths, objects: ObjectStore) -> None:
    """Refuse jobs whose environments are not here and could not be built: something was not sent."""
    for digest, wire in {job.spec.environment_hash: job.spec.environment for job in fresh}.items():
        recipe = recipe_of(wire)
        if recipe is None or Environment(paths, digest).is_built(recipe.kind):
            continue
        missing = objects.missing(recipe.objects.values())
        if missing:
            raise NotFound(f"object {missing[0]}, of which its environment is built, is not on this host")


def _check_spec(spec: JobSpec, state: HostState, capacity: Capacity, root: str) -> None:
    if spec.job in state.deleted:
        raise Conflict(f"job {spec.job} was submitted before and has been deleted")
    refusal = capacity.refusal(spec)
    if refusal:
        raise Unsatisfiable(refusal)
    if spec.command[0].startswith("./") and files.forbids_programs(root):
        raise StorageBroken(f"{spec.command[0]} cannot be run: the root is on a disk that runs no programs (noexec)")


def _check_dependencies(spec: JobSpec, state: HostState, before: Collection[str]) -> None:
    for other in (*spec.after, *spec.after_any):
        if other in before:
            continue  # it comes earlier in the same submit
        if other not in state.jobs:
            raise NotFound(f"job {other}, to be waited for, is not on this host: jobs wait only for jobs beside them")
        there = state.jobs[other].state
        if other in spec.after and there.is_final and there is not JobState.COMPLETED:
            raise Conflict(f"job {other}, to be waited for, has ended already: {there.value}")
