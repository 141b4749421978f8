"""A journal of 100,000 jobs."""

from __future__ import annotations

import time
from pathlib import Path

from remote_agent.core.events import JournalEntry
from remote_agent.core.state import HostState, apply, snapshot_events
from remote_agent.protocol.jobs import JobSpec
from remote_agent.storage import journal as journals
from remote_agent.storage.journal import Journal

TREE = "a" * 40


def replayed(path: Path) -> HostState:
    state = HostState()
    for event in Journal(str(path), 0.0).take_history():
        apply(state, JournalEntry.from_wire(event))
    return state


def test_a_long_history_replays_in_seconds(tmp_path: Path) -> None:
    """100,000 jobs; it fails only at a time that means a hang."""
    path = tmp_path / "journal"
    first = {"seq": 1, "time": 1.0, "type": "created", "journal": "0" * 32, "version": 1}
    spec, seq = JobSpec("x", ("python", "train.py"), TREE, params={"lr": 0.1}).to_wire(), 1
    with path.open("wb") as file:
        file.write(journals.encode_line(first))
        for number in range(100_000):
            job = f"{number:012x}"
            end = {"reason_code": "finished", "reason": "finished", "exit_code": 0, "ended_at": 9.0}
            for event in (
                {"type": "submitted", "spec": {**spec, "job": job}},
                {"type": "leased", "attempt": 1, "cpus": 1, "gpus": [], "gpu_indices": []},
                {"type": "started", "started_at": 2.0},
                {"type": "ended", **end},
            ):
                seq += 1
                file.write(journals.encode_line({"seq": seq, "time": 1.0, "job": job, **event}))
    began = time.monotonic()
    journal = Journal(str(path), 0.0)
    state = HostState()
    for event in journal.take_history():
        apply(state, JournalEntry.from_wire(event))
    assert len(state.jobs) == 100_000 and state.seq == seq
    assert journal.wants_compaction(len(state.jobs)) or journal.size < 3000 * len(state.jobs)
    journal.compact((entry.to_wire() for entry in snapshot_events(state, 1.0)), 1.0)
    assert len(replayed(path).jobs) == 100_000
    assert time.monotonic() - began < 120
