"""What a damaged journal no longer says, found again: in the whole lines behind the damage, in the copies of submits,
and in jobs' folders.
"""

from __future__ import annotations

import os
from typing import Any, Dict, Iterator, List, Optional, Tuple

from remote_agent.core.events import Change, Held, Leased, Renewed, SchedulePaused, Submitted, change_of
from remote_agent.core.state import HostState
from remote_agent.daemon.ledger import Ledger
from remote_agent.protocol import supervision
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.jobs import JobSpec
from remote_agent.protocol.lease import Lease
from remote_agent.protocol.states import JobState
from remote_agent.protocol.wire import JsonTable
from remote_agent.storage import files
from remote_agent.storage.paths import Paths

_NEED_A_LEASE = ("started", "attempt_ended")
_OF_NO_JOB = (
    *("paused", "resumed", "acknowledged", "service_revised", "service_wanted", "service_removed", "registry"),
    *("schedule_set", "schedule_paused", "schedule_ran", "schedule_noted", "schedule_told", "schedule_removed"),
)
_OF_ENDED_JOBS = ("deleted", "told", "pinned")


def recover(ledger: Ledger, paths: Paths) -> None:
    """Take up what the journal no longer says and can be found elsewhere, and write it down.

    Args:
        ledger: with the state that the good part of the journal says.
        paths: the agent's files.
    """
    journal, state = ledger.journal, ledger.state
    before = len(state.jobs)
    behind, more_is_lost = with_copies(state, journal.good, journal.salvaged, journal.copies)
    if behind and not journal.problems:
        _renew(ledger, "the end of the journal is missing: jobs were submitted that it does not know of")
    for change in from_salvage(state, behind):
        ledger.record(change)
    journal.salvaged = journal.copies = []
    begun = from_folders(state, paths)
    if begun and not journal.problems:
        _renew(ledger, "the end of the journal is missing: jobs have begun that it does not know of")
    for change in begun:
        ledger.record(change)
    for job in list(state.queue.everyone()) if more_is_lost else ():
        ledger.record(Held(job))  # a stop or delete of it may be among what is missing
    for name, one in list(state.schedules.items()) if more_is_lost else ():
        if not one.paused:
            ledger.record(SchedulePaused(name, True, ledger.clock()))  # and so may its removal
    journal.commit()
    if journal.problems:
        held = sum(1 for job in state.queue.everyone() if state.jobs[job].held)
        words = f"; {held} of them are held, since a stop may be lost: foundations resume JOB" if held else ""
        journal.problems.append(f"{len(state.jobs) - before} jobs were found again{words}")


def _renew(ledger: Ledger, problem: str) -> None:
    """Give the journal a new id: clients have seen what it does not know."""
    ledger.journal.problems.append(problem)
    ledger.append(Renewed(ledger.journal.renew()))


def from_salvage(state: HostState, salvaged: List[JsonTable]) -> Iterator[Change]:
    """Yield what lies behind the damage and still makes sense; the caller folds each before it asks for the next."""
    for event in salvaged:
        job = event.get("job", "")
        is_known = job in state.jobs
        if event["type"] in ("submitted", "view"):
            makes_sense = not is_known and job not in state.deleted
        elif event["type"] in _OF_NO_JOB:
            makes_sense = True
        elif event["type"] in _NEED_A_LEASE:
            makes_sense = job in state.active
        else:
            makes_sense = is_known and (event["type"] in _OF_ENDED_JOBS or not state.jobs[job].state.is_final)
        if makes_sense:
            try:
                yield change_of(event)
            except BadRequest:
                continue  # half of it was written by somebody else


def with_copies(
    state: HostState, good: int, salvaged: List[JsonTable], copies: List[JsonTable]
) -> Tuple[List[JsonTable], bool]:
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
    lost: Dict[str, JsonTable] = {}
    for event in copies:
        job = event.get("job")
        if _is_submit(event) and not (job in state.jobs or job in state.deleted or job in there):
            lost[str(job)] = event
    salvaged_numbers = {event["seq"] for event in salvaged}
    last = max([good, *salvaged_numbers])
    missing = last - good - len({number for number in salvaged_numbers if good < number})
    copied = {event["seq"] for event in lost.values()}
    are_all = len(copied) == missing and all(good < number < last for number in copied - salvaged_numbers)
    return sorted([*salvaged, *lost.values()], key=lambda event: int(event["seq"])), not are_all


def _is_submit(event: JsonTable) -> bool:
    spec = _spec(event.get("spec"))
    return spec is not None and spec.job == event.get("job") and isinstance(event.get("time"), (int, float))


def from_folders(state: HostState, paths: Paths) -> List[Change]:
    """Return what the jobs' folders know and the state does not: jobs, and attempts that have begun."""
    changes: List[Change] = []
    for name in sorted(_names(paths.jobs)):
        if name in state.deleted:
            continue
        view = state.jobs.get(name)
        if view is None:
            spec = _spec(files.read_json(paths.job(name).spec))
            if spec is None or spec.job != name:
                continue
            changes.append(Submitted(name, spec))
            changes += _begun(paths, spec, 0)
        elif view.state is JobState.QUEUED:
            changes += _begun(paths, view.spec, view.attempt)
    return changes


def _begun(paths: Paths, spec: JobSpec, known_attempt: int) -> List[Change]:
    job = paths.job(spec.job)
    last = max((int(n) for n in _names(os.path.join(job.folder, "attempts")) if n.isdigit()), default=0)
    if last <= known_attempt:
        return []
    record = supervision.record_of(files.read_json(job.attempt(last).supervisor))
    return [Leased(spec.job, last, record.lease or Lease(spec.cpus))]


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
