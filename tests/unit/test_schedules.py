"""When schedules are due, and what follows from what their jobs have made: decided without any host."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, strategies as st

from foundations_tui.errors import UsageError
from foundations_tui.services.schedules.request import read
from foundations_tui.store.db import Store
from remote_agent.protocol import chains
from remote_agent.protocol.chains import Chain, CheckResult, Made, Summary
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.schedules import Schedule, cron_of, next_of_cron

MONDAY = datetime(2026, 11, 30, tzinfo=UTC).timestamp()


@pytest.fixture
def in_berlin() -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = "CET-1CEST,M3.5.0,M10.5.0/3"
    time.tzset()
    yield
    os.environ.pop("TZ")
    if before is not None:
        os.environ["TZ"] = before
    time.tzset()


# --- five fields --------------------------------------------------------------------------------------------------


def _part(low: int, high: int) -> st.SearchStrategy[str]:
    numbers = st.integers(low, high)
    ranges = st.tuples(numbers, numbers).map(lambda pair: f"{min(pair)}-{max(pair)}")
    steps = st.integers(1, 20)
    return st.one_of(
        st.just("*"),
        numbers.map(str),
        ranges,
        st.tuples(ranges, steps).map(lambda pair: f"{pair[0]}/{pair[1]}"),
        steps.map(lambda step: f"*/{step}"),
        st.lists(numbers, min_size=1, max_size=4).map(lambda many: ",".join(map(str, many))),
    )


FIELDS = st.tuples(_part(0, 59), _part(0, 23), _part(1, 28), _part(1, 12), _part(0, 7))


def _means(field: str, low: int, high: int, value: int) -> bool:
    """Return whether a field means a value, by going through it as cron(5) describes it."""
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        begin, end = (low, high) if span == "*" else (int(first), int(last or first))
        if begin <= value <= end and (value - begin) % int(step or 1) == 0:
            return True
    return False


def _is_due(fields: tuple[str, ...], at: datetime) -> bool:
    minute, hour, day, month, weekday = fields
    if not (_means(minute, 0, 59, at.minute) and _means(hour, 0, 23, at.hour) and _means(month, 1, 12, at.month)):
        return False
    sunday = at.isoweekday() % 7
    of_month = _means(day, 1, 31, at.day)
    of_week = _means(weekday, 0, 7, sunday) or (sunday == 0 and _means(weekday, 0, 7, 7))
    return of_month or of_week if day[0] != "*" and weekday[0] != "*" else of_month and of_week


@given(FIELDS, st.integers(0, 400 * 86400))
def test_the_next_time_is_the_first_that_cron_would_take(fields: tuple[str, ...], seconds: int) -> None:
    after = MONDAY + seconds
    found = next_of_cron(cron_of(" ".join(fields)), after, utc=True)
    at = datetime.fromtimestamp(found, UTC)
    assert found > after and found % 60 == 0 and _is_due(fields, at)
    earlier = datetime.fromtimestamp(math.floor(after / 60) * 60 + 60, UTC)
    for _ in range(3000):  # two days; what is between is as good as looked at
        if earlier >= at:
            break
        assert not _is_due(fields, earlier), earlier
        earlier += timedelta(minutes=1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("0 3 * *", "five fields .* got 4"),
        ("60 3 * * *", "minute '60': it goes from 0 to 59"),
        ("0 24 * * *", "hour '24'"),
        ("0 3 0 * *", "day '0'"),
        ("0 3 * 13 *", "month '13'"),
        ("0 3 * * 8", "weekday '8'"),
        ("5-1 3 * * *", "minute '5-1'"),
        ("*/0 3 * * *", "minute"),
        ("*-5 3 * * *", "minute"),
        ("0 3 30 2 *", "there is no such day"),
        ("x 3 * * *", "minute"),
        ("0 3 * foo *", "month"),
        ("@daily", "five fields"),
        ("0 3 * * * " + "9" * 300, "five fields"),
    ],
)
def test_fields_that_make_no_sense_are_named(words: str, said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        cron_of(words)


def test_names_of_days_and_months_and_leap_days() -> None:
    assert cron_of("0 3 * jan,DEC mon-fri").weekdays == frozenset(range(1, 6))
    assert cron_of("0 3 * * sun").weekdays == cron_of("0 3 * * 7").weekdays == frozenset({0})
    leap = datetime.fromtimestamp(next_of_cron(cron_of("0 0 29 2 *"), MONDAY, True), UTC)
    assert (leap.year, leap.month, leap.day) == (2028, 2, 29)


def test_a_time_that_the_clock_leaves_out_counts_and_one_that_it_repeats_counts_once(in_berlin: None) -> None:
    cron = cron_of("30 2 * * *")
    before = datetime(2026, 3, 28, 12, tzinfo=UTC).timestamp()  # the night has no 2:30
    found = [datetime.fromtimestamp(before, UTC)]
    for _ in range(3):
        found.append(datetime.fromtimestamp(next_of_cron(cron, found[-1].timestamp(), False), UTC))
    assert [(at.day, at.hour, at.minute) for at in found[1:]] == [(29, 1, 30), (30, 0, 30), (31, 0, 30)]
    before = datetime(2026, 10, 24, 12, tzinfo=UTC).timestamp()  # the night has 2:30 twice
    first = next_of_cron(cron, before, False)
    assert next_of_cron(cron, first, False) - first == 25 * 3600


def test_every_so_often_goes_by_when_it_was_made() -> None:
    schedule = Schedule("a", {}, every=60.0, at=1000.0)
    assert [schedule.next_after(at) for at in (1000.0, 1000.1, 1059.9, 1060.0, 400.0)] == [
        *(1060.0, 1060.0, 1060.0, 1120.0, 460.0)
    ]
    for wrong in ({"every": 0.5}, {}, {"every": 60.0, "cron": "* * * * *"}, {"cron": "* * *"}):
        with pytest.raises(BadRequest):
            Schedule("a", {}, **wrong).check()


# --- what is asked for ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "either five fields"),
        ({"every": 60.0, "cron": "* * * * *"}, "either five fields"),
        ({"every": 60.0, "utc": True}, "--utc says whose clock"),
        ({"every": 60.0, "promote_if": "accuracy"}, "go with --register"),
        ({"every": 60.0, "register": "Bad Name"}, "a model is called"),
        ({"every": 60.0, "register": "churn", "alias": "7"}, "an alias is made of"),
        ({"cron": "61 * * * *"}, "minute '61'"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused_before_anything_is_sent(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read(Store.in_memory().conn if hasattr(Store, "in_memory") else None, "nightly", ["true"], values)  # type: ignore[arg-type]


# --- chains -------------------------------------------------------------------------------------------------------


def _chain(**more: Any) -> Chain:
    return Chain.from_wire({"model": "churn", "version": {"predict": "m:p"}, "alias": "champion", **more}, "")


@pytest.mark.parametrize(
    ("goal", "new", "before", "better", "words"),
    [
        ("max", 0.9, 0.8, True, "accuracy 0.9 after 0.8"),
        ("max", 0.8, 0.8, False, "is not better than 0.8"),
        ("min", 0.7, 0.8, True, "after 0.8"),
        ("max", None, 0.8, False, "it has no accuracy"),
        ("max", float("nan"), 0.8, False, "it has no accuracy"),
        ("max", True, 0.8, False, "it has no accuracy"),
        ("max", 0.9, "x", False, "has no accuracy to compare with"),
    ],
)
def test_an_alias_moves_only_to_what_is_better(goal: str, new: Any, before: Any, better: bool, words: str) -> None:
    chain = _chain(metric="accuracy", goal=goal)
    is_better, why = chains.is_better(chain, {"accuracy": {"last": new}}, {"accuracy": {"last": before}})
    assert is_better is better and words in why


def test_the_first_version_needs_only_the_metric_and_without_one_each_is_promoted() -> None:
    assert chains.is_better(_chain(metric="a"), {"a": {"last": 0.5}}, None) == (True, "a 0.5")
    assert chains.is_better(_chain(metric="a"), {}, None)[0] is False
    assert chains.is_better(_chain(), {}, {})[0] is True
    with pytest.raises(BadRequest, match="no alias"):
        _chain(alias="", metric="a").check()
    with pytest.raises(BadRequest):
        _chain(alias="../x").check()
    with pytest.raises(BadRequest):
        _chain(version={"flavour": "magic"}).check()


def test_what_a_job_has_recorded_is_read_as_the_sdk_writes_it() -> None:
    summary = Summary()
    lines: list[Any] = [
        ["foundations-records", 1],
        ["m", 1.0, "loss", 0, 0.5],
        ["m", 3.0, "loss", 2, 0.7],
        ["m", 2.0, "loss", 1, 0.2],
        ["m", 4.0, "nan", 0, {"float": "NaN"}],
        ["a", 1.0, "model", {"path": "model-1.joblib"}],
        ["a", 2.0, "model/deep", {"path": "x"}],
        *(["m"], ["m", "t", "k", 0, 1], {}, None, ["a", 1.0, "bad", {"path": 5}], ["m", 1.0, "flag", 0, True]),
    ]
    for line in lines:
        summary.add(json.loads(json.dumps(line)))
    told = summary.metrics(1000)
    assert told["loss"] == {"last": 0.7, "min": 0.2, "max": 0.7}
    assert chains.number_of(told, "nan") is None and chains.number_of(told, "flag") is None
    assert summary.place_of("artifacts/model") == "artifacts/model-1.joblib"
    assert summary.place_of("artifacts/model/deep") == "artifacts/x"
    assert summary.place_of("out/model") == "out/model"
    assert summary.metrics(10) == {}


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(),
    lambda part: st.lists(part) | st.dictionaries(st.text(), part),
)


@given(ANYTHING)
def test_a_result_that_makes_no_sense_is_refused_and_never_more_than_that(told: Any) -> None:
    """The job may write what it likes."""
    made = Made.from_wire({"metrics": told, "files": told, "attempt": told}, "")
    with contextlib.suppress(BadRequest):
        result = CheckResult.from_wire({"error": "", "signature": told, "evaluation": told}, "")
        chains.is_better(_chain(metric="a"), chains.metrics_of(made, result), None)
    summary = Summary()
    for line in (["m", told, "a", 0, told], ["m", 1.0, told, 0, told], ["a", told, told, told], told):
        summary.add(line)
    json.dumps(summary.metrics(1000), allow_nan=False)
