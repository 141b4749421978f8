"""Moments in the past, as people say them, and the steps of a key that is held."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, strategies as st

from foundations_tui.errors import UsageError
from foundations_tui.text import moments

NOW = 1_700_000_000.0  # 2023-11-14 22:13:20 UTC
DAY = 86400.0


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("22:13", 20.0),
        ("03:10", 19 * 3600 + 3 * 60 + 20.0),
        ("22:14", DAY - 40),
        ("23:00", DAY - (46 * 60 + 40)),
        ("yesterday 22:13:20", DAY),
        ("yesterday", DAY + 22 * 3600 + 13 * 60 + 20),
        ("2023-11-13 22:13:20", DAY),
        ("6h", 6 * 3600.0),
        ("6h ago", 6 * 3600.0),
        ("90m", 5400.0),
    ],
)
def test_what_people_say_is_a_moment(text: str, ago: float) -> None:
    assert moments.parse(text, NOW) == pytest.approx(NOW - ago)


@pytest.mark.parametrize("text", ["", "now", "  NOW "])
def test_now_is_no_moment(text: str) -> None:
    assert moments.parse(text, NOW) is None


NO_MOMENTS = ["soon", "25:00", "2023-02-30 10:00", "2023-11-15 10:00", "yesterday soon", "yesterday 6h"]
NO_MOMENTS += ["2023-11-01 6h ago", "9" * 400 + "d", "9" * 400 + ":00:00", "-3h", "1:2:3:4"]


@pytest.mark.parametrize("text", NO_MOMENTS, ids=range(len(NO_MOMENTS)))
def test_what_is_none_is_told(text: str) -> None:
    with pytest.raises(UsageError):
        moments.parse(text, NOW)


@given(st.text(max_size=30))
def test_any_text_is_a_moment_or_an_error(text: str) -> None:
    try:
        found = moments.parse(text, NOW)
    except UsageError:
        return
    assert found is None or found <= NOW


def test_a_held_key_reaches_six_hours_in_about_two_seconds() -> None:
    moment: float | None = None
    presses = 0
    while moment is None or moment > NOW - 6 * 3600:
        moment = moments.stepped(moment, -1, presses, 0.0, NOW)
        presses += 1
    assert 40 < presses < 75  # a terminal repeats a key about 30 times a second
    assert moments.stepped(moment, 1, 0, 0.0, NOW) == moment + 10


def test_steps_end_at_the_first_moment_and_at_now() -> None:
    assert moments.stepped(NOW - 5, 1, 0, 0.0, NOW) is None
    assert moments.stepped(NOW - 5, -1, 300, NOW - 60, NOW) == NOW - 60
