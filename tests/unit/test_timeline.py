"""What a job spent its time with, and how it is drawn."""

from __future__ import annotations

from hypothesis import given, strategies as st

from foundations_tui.store.rows import TransitionRow
from foundations_tui.text.sanitize import width
from foundations_tui.ui.models import timeline
from foundations_tui.ui.models.timeline import Phase
from tests.support.rows import row as job_row


def came(time: float, state: str, attempt: int = 1) -> TransitionRow:
    return TransitionRow(time, attempt, state, None, None)


def test_the_phases_of_a_job_that_ended() -> None:
    row = job_row(state="completed", ended_at=100.0)
    went = [came(0, "queued"), came(10, "preparing"), came(12, "running"), came(100, "completed")]
    found = timeline.phases(row, went, until=1000.0)
    assert found == [Phase("queued", 1, 10.0), Phase("preparing", 1, 2.0), Phase("running", 1, 88.0)]


def test_each_attempt_is_a_phase_with_its_end() -> None:
    row = job_row(state="running", attempt=2)
    went = [came(0, "running"), came(50, "lost"), came(50, "queued", 2), came(60, "running", 2)]
    found = timeline.phases(row, went, until=90.0)
    assert [(one.kind, one.attempt, one.seconds, one.ended) for one in found] == [
        ("running", 1, 50.0, "lost"),
        ("queued", 1, 0.0, ""),
        ("queued", 2, 10.0, ""),
        ("running", 2, 30.0, ""),
    ]


def test_a_host_that_recorded_nothing() -> None:
    row = job_row(state="failed", queued_at=5.0, started_at=15.0, ended_at=20.0)
    assert timeline.phases(row, [], until=99.0) == [Phase("queued", 1, 10.0), Phase("running", 1, 5.0)]


def test_a_job_that_no_host_has_yet_spent_no_time() -> None:
    row = job_row(state="submitting", queued_at=None, started_at=None, ended_at=None)
    assert timeline.phases(row, [], until=99.0) == [] and not list(timeline.drawn([], 40))


def test_a_clock_that_went_back_makes_no_negative_phase() -> None:
    row = job_row(state="running")
    assert all(one.seconds >= 0 for one in timeline.phases(row, [came(50, "queued"), came(20, "running")], 10.0))


@given(st.lists(st.floats(0, 1e12), min_size=1, max_size=12), st.integers(12, 200))
def test_the_bar_is_as_long_as_it_is_to_be_and_no_phase_is_missing(seconds: list[float], cells: int) -> None:
    found = timeline.shares(seconds, cells)
    assert sum(found) == cells and min(found) >= 1
    longest = max(range(len(seconds)), key=lambda n: seconds[n])
    assert found[longest] >= max(found) - 1, "what is left over goes to the largest remainder"
    bar, told = timeline.drawn([Phase("running", n, s) for n, s in enumerate(seconds)], cells)
    worth_a_word = [span for span in seconds if span >= 0.05] or seconds
    assert width(bar.plain) == cells and told.plain.count("running") == len(worth_a_word)
