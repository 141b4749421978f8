"""The events of the journal: each is read as it was written, whatever a newer agent has added to it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from remote_agent.core import events
from remote_agent.core.state import HostState
from remote_agent.daemon.recovery import from_folders
from remote_agent.protocol import checks
from remote_agent.protocol.ends import AttemptEnd, Cause, Usage
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.jobs import JobSpec, JobView
from remote_agent.protocol.lease import Lease
from remote_agent.protocol.models import RegistryEvent, Version
from remote_agent.protocol.schedules import Schedule
from remote_agent.protocol.services import Probes, Revision
from remote_agent.protocol.states import EndReason, JobState
from remote_agent.storage.paths import Paths

TREE = "a" * 40
JOBS = st.text("abcdef0123456789", min_size=1, max_size=12)
WRITABLE = st.text(max_size=9).map(checks.writable)
"""What a supervisor writes down: no NUL and no lone surrogate."""
ENDS = st.builds(
    AttemptEnd,
    st.sampled_from([reason.value for reason in EndReason]),
    st.none() | st.text(max_size=20),
    st.floats(0, 1e9),
    exit_code=st.none() | st.integers(0, 255),
    started_at=st.none() | st.floats(0, 1e9),
    usage=st.builds(Usage, cpu_seconds=st.none() | st.floats(0, 1e9), disk=st.none() | st.integers(0, 1 << 40)),
    cause=st.none() | st.builds(Cause, WRITABLE.filter(bool), WRITABLE),
)
LEASES = st.builds(Lease, st.integers(1, 64), st.tuples(st.text(max_size=8)), st.tuples(st.integers(0, 7)))
SPECS = st.builds(lambda job, retries: JobSpec(job, ("true",), TREE, retries=retries), JOBS, st.integers(0, 9))
OF_A_FIELD = {
    "job": JOBS,
    "spec": SPECS,
    "view": st.builds(lambda spec, seq: JobView(spec, JobState.QUEUED, seq), SPECS, st.integers(1, 99)),
    "lease": LEASES,
    "end": ENDS,
    "attempt": st.integers(1, 9),
    "started_at": st.floats(0, 1e9),
    "by": st.text(max_size=9),
    "grace": st.floats(0, 100),
    "priority": st.integers(-9, 9),
    "rank": st.floats(0, 100),
    "changes": st.dictionaries(st.text(max_size=4), st.tuples(st.text(), st.floats(0, 1)).map(list)),
    "client": JOBS,
    "journal": JOBS,
    "untold": st.booleans(),
    "not_before": st.floats(0, 1e9),
    "service": st.sampled_from(["llm", "http-server"]),
    "revision": st.builds(
        Revision, st.integers(1, 99), st.just({"command": ["true"]}), st.booleans(), WRITABLE, st.floats(0, 1e9)
    ),
    "number": st.integers(1, 99),
    "replicas": st.integers(0, 9),
    "probes": st.builds(Probes, st.sampled_from(["", "/health"]), startup=st.floats(1, 100)),
    "at": st.floats(0, 1e9),
    "event": st.builds(
        RegistryEvent,
        st.sampled_from(["registered", "alias", "retired", "restored", "moved"]),
        st.sampled_from(["churn", "llm"]),
        st.integers(0, 9),
        st.none() | st.builds(Version, JOBS, st.integers(0, 9), WRITABLE, params=st.just({"lr": 0.1})),
        by=WRITABLE,
        at=st.floats(0, 1e9),
    ),
    **dict.fromkeys(("key", "data"), st.text("0123456789abcdef", min_size=64, max_size=64)),
    "words": WRITABLE,
    "schedule": st.builds(
        Schedule,
        st.sampled_from(["nightly", "retrain"]),
        st.just({"command": ["true"], "snapshot": TREE}),
        st.just({}),
        st.just("0 3 * * *"),
        st.just(0.0),
        st.booleans(),
        at=st.floats(0, 1e9),
    ),
    "paused": st.booleans(),
    "name": st.sampled_from(["nightly", "retrain"]),
    "due": st.floats(0, 1e9),
    "what": st.sampled_from(["missed", "skipped", "passed"]),
    "count": st.integers(0, 9),
    "before": st.integers(0, 9),
    "asleep": st.booleans(),
    **dict.fromkeys(("groups", "jobs", "unmet", "acknowledged"), st.lists(JOBS, max_size=3).map(tuple)),
}
CHANGES = {
    kind: st.builds(kind, **{one.name: OF_A_FIELD[one.name] for one in dataclasses.fields(kind)})  # type: ignore[arg-type]
    for kind in events.KINDS.values()
}


@given(st.one_of(*CHANGES.values()))
def test_a_change_is_written_as_it_is_read(change: events.Change) -> None:
    entry = events.JournalEntry(7, 1.5, change)
    wire = json.loads(json.dumps(entry.to_wire()))
    assert events.JournalEntry.from_wire(wire) == entry
    assert events.JournalEntry.from_wire({**wire, "of_a_newer_agent": 1}) == entry


@pytest.mark.parametrize(
    "reason", [{}, {"reason_code": None}, {"reason_code": "vanished"}, {"reason_code": ["signal"]}]
)
@pytest.mark.parametrize("kind", ["ended", "attempt_ended"])
def test_an_end_without_a_reason_that_is_known_is_refused(kind: str, reason: dict[str, object]) -> None:
    with pytest.raises(BadRequest, match="makes no sense"):
        events.JournalEntry.from_wire({"type": kind, "seq": 1, "job": "j", "ended_at": 1.0, **reason})


def test_a_lease_without_cpus_is_refused() -> None:
    with pytest.raises(BadRequest, match="makes no sense"):
        events.JournalEntry.from_wire({"type": "leased", "seq": 1, "job": "j", "attempt": 1, "gpus": []})


@pytest.mark.parametrize(
    "record",
    [
        None,
        "text",
        [],
        {},
        {"lease": []},
        {"lease": "x"},
        {"lease": {"cpus": "x"}},
        {"lease": {"cpus": -4}},
        {"lease": {"cpus": 1, "gpus": 3}},
        {"lease": {"cpus": 1, "gpus": [3]}},
        {"lease": {"cpus": 1, "gpu_indices": ["a"]}},
        {"lease": {"cpus": 1, "ram": None}},
    ],
)
def test_a_record_that_a_job_has_overwritten_is_no_lease(tmp_path: Path, record: object) -> None:
    job = Paths(str(tmp_path)).job("abcdef012345")
    attempt = job.attempt(1)
    Path(attempt.folder).mkdir(parents=True)
    spec = JobSpec("abcdef012345", ("true",), TREE, cpus=3)
    Path(job.spec).write_text(json.dumps(spec.to_wire()))
    Path(attempt.supervisor).write_text(json.dumps(record))
    found = from_folders(HostState(), Paths(str(tmp_path)))
    assert found == [events.Submitted(spec.job, spec), events.Leased(spec.job, 1, Lease(3))]
