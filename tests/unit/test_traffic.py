"""What a model server has counted becomes rates and times."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from foundations_serve.metrics import Metrics
from foundations_tui.services import state
from remote_agent.protocol.services import Readiness, Replica, ServiceView, Traffic
from remote_agent.supervisor import traffic
from remote_agent.supervisor.traffic import Counts


def test_rates_and_times_are_those_between_two_looks() -> None:
    metrics = Metrics()
    for _ in range(50):
        metrics.count("predict", 200, 1.0)
    before = traffic.counts_of(metrics.text(0), 100.0)
    for number in range(200):
        metrics.count("infer", 200 if number % 10 else 503, 0.0005 if number < 190 else 0.2)
    now = traffic.counts_of(metrics.text(0), 110.0)
    assert before is not None and now is not None
    told = traffic.between(before, now)
    assert (told.rate, told.errors, told.total) == (20.0, 0.1, 250)
    assert told.p50 < 0.001 and 0.1 < told.p99 <= 0.25
    assert traffic.between(Counts(), now) == Traffic(total=250), "at first nothing is known"
    assert traffic.between(now, before) == Traffic(total=50), "it was started again"
    assert traffic.between(now, Counts(120.0, *now[1:])) == Traffic(total=250)


@given(st.text(max_size=300))
def test_no_text_makes_more_than_nothing(text: str) -> None:
    assert traffic.counts_of(text, 1.0) is None


@pytest.mark.parametrize(
    "line",
    [
        'foundations_request_seconds_bucket{le="1.2.3"} 5',
        'foundations_request_seconds_bucket{le="nan"} 5',
        'foundations_requests_total{status="200"} 99999999999999999999999',
    ],
)
def test_lines_that_make_no_sense(line: str) -> None:
    assert traffic.counts_of(line, 1.0) is None


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(200, 599)), min_size=1, max_size=50))
def test_times_are_within_what_was_counted(requests: list[tuple[float, int]]) -> None:
    empty, metrics = Metrics(), Metrics()
    for seconds, status in requests:
        metrics.count("predict", status, seconds)
    before, now = traffic.counts_of(empty.text(0), 1.0), traffic.counts_of(metrics.text(0), 2.0)
    assert before is not None and now is not None
    told = traffic.between(before, now)
    assert told.rate == len(requests) and 0 <= told.p50 <= told.p99 <= 60 and 0 <= told.errors <= 1
    assert Traffic.from_wire(told.to_wire(), "") == told


def test_a_service_says_what_its_replicas_answer_together() -> None:
    parts = [Traffic(10.0, 0.002, 0.05, 0.0, 5), Traffic(30.0, 0.004, 0.02, 0.1, 7)]
    running = [Replica("a" * 12, 1, "running", 1, readiness=Readiness(ready=True, traffic=one)) for one in parts]
    assert state.traffic_words(ServiceView("api", running=running)) == "40/s  p50 4.0 ms p99 50 ms  errors 7.5%"
    assert state.traffic_words(ServiceView("api")) == ""
