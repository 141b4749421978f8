"""What a damaged journal no longer says, found again: in the whole lines behind the damage, in the copies of submits,
and in jobs' folders.
"""

from __future__ import annotations

import os
from typing import Any, Dict, Iterator, List, Optional, Tuple

from remote_agent.core.state import Event, HostState
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.jobs import JobSpec, JobState
from remote_agent.storage import files
from remote_agent.storage.paths import Paths

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


def with_copies(state: HostState, good: int, salvaged: List[Event], copies: List[Event]) -> Tuple[List[Event], bool]:
    """Return the events behind the damage together with the submits that are only in their copies, in order.

    Args:
        state: what the good part of the journal says.
        good: number of the last line of that part.
        salvaged: the events behind the damage.
        copies: all copies of submits.
    Returns:
        (the events, whether something else may be missing, too: a stop, a delete).
    """
    there = {event.get("job") for event in salvaged if event["type"] in ("submitted", "view")}
    lost: Dict[str, Event] = {}
    for event in copies:
        job = event.get("job")
        if _is_submit(event) and not (job in state.jobs or job in state.deleted or job in there):
            lost[str(job)] = event
    known = {event["seq"] for event in salvaged}
    last = max([good, *known])
    missing = last - good - len({number for number in known if good < number})
    found = {event["seq"] for event in lost.values()}
    are_all = len(found) == missing and all(good < number < last for number in found - known)
    return sorted([*salvaged, *lost.values()], key=lambda event: int(event["seq"])), not are_all


def _is_submit(event: Event) -> bool:
    spec = _spec(event.get("spec"))
    return spec is not None and spec.job == event.get("job") and isinstance(event.get("time"), (int, float))


def from_folders(state: HostState, paths: Paths) -> List[Event]:
    """Return what the jobs' folders know and the state does not: jobs, and attempts that have begun."""
    found: List[Event] = []
    for name in sorted(_names(paths.jobs)):
        if name in state.deleted:
            continue
        view = state.jobs.get(name)
        if view is None:
            spec = _spec(files.read_json(paths.job(name).spec))
            if spec is None or spec.job != name:
                continue
            found.append({"type": "submitted", "job": name, "spec": spec.to_wire()})
            found += _begun(paths, spec, 0)
        elif view.state is JobState.QUEUED:
            found += _begun(paths, view.spec, view.attempt)
    return found


def _begun(paths: Paths, spec: JobSpec, known: int) -> List[Event]:
    job = paths.job(spec.job)
    last = max((int(n) for n in _names(os.path.join(job.folder, "attempts")) if n.isdigit()), default=0)
    if last <= known:
        return []
    owner: Dict[str, Any] = files.read_json(job.attempt(last).supervisor) or {}
    lease = owner.get("lease") or {"cpus": spec.cpus, "gpus": [], "gpu_indices": []}
    return [{"type": "leased", "job": spec.job, "attempt": last, **lease}]


def _spec(wire: Any) -> Optional[JobSpec]:
    try:
        return JobSpec.from_wire(wire) if isinstance(wire, dict) else None
    except BadRequest:
        return None


def _names(folder: str) -> List[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
