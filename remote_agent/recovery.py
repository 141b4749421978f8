"""What a damaged journal no longer says, found again: in the whole lines behind the damage, and in jobs' folders."""

from __future__ import annotations

import os
from typing import Any, Dict, Iterator, List

from remote_agent import files
from remote_agent.errors import BadRequest
from remote_agent.jobs import JobSpec, JobState
from remote_agent.paths import Paths
from remote_agent.state import Event, HostState

_NEED_A_LEASE = ("started", "attempt_ended")


def from_salvage(state: HostState, salvaged: List[Event]) -> Iterator[Event]:
    """Yield the events behind the damage that still make sense; the caller folds each before it asks for the next."""
    for event in salvaged:
        job = event.get("job", "")
        known = job in state.jobs
        if event["type"] in ("submitted", "view"):
            makes_sense = not known and job not in state.deleted
        elif event["type"] in ("paused", "resumed", "acknowledged"):
            makes_sense = True
        elif event["type"] in _NEED_A_LEASE:
            makes_sense = job in state.active
        else:
            makes_sense = known and (event["type"] in ("deleted", "told") or not state.jobs[job].state.is_final)
        if makes_sense:
            yield {key: value for key, value in event.items() if key not in ("seq", "time")}


def from_folders(state: HostState, paths: Paths) -> Iterator[Event]:
    """Yield what the jobs' folders know and the state does not: jobs, and attempts that have begun."""
    for name in sorted(_names(paths.jobs)):
        if name in state.deleted:
            continue
        if name not in state.jobs:
            spec = files.read_json(paths.job(name).spec)
            if not _is_spec(spec, name):
                continue
            yield {"type": "submitted", "job": name, "spec": spec}
        last = max((int(n) for n in _names(os.path.join(paths.job(name).folder, "attempts")) if n.isdigit()), default=0)
        view = state.jobs[name]
        if view.state is JobState.QUEUED and last > view.attempt:
            owner: Dict[str, Any] = files.read_json(paths.job(name).attempt(last).supervisor) or {}
            lease = owner.get("lease") or {"cpus": view.spec.cpus, "gpus": [], "gpu_indices": []}
            yield {"type": "leased", "job": name, "attempt": last, **lease}


def _is_spec(spec: Any, job: str) -> bool:
    try:
        return isinstance(spec, dict) and JobSpec.from_wire(spec).job == job
    except BadRequest:
        return False


def _names(folder: str) -> List[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
