"""Who leads a sweep, who is behind, and what to try next: pure."""

from __future__ import annotations

import math
import sys
from typing import Any

import pytest
from hypothesis import example, given, strategies as st

from foundations_tui.analysis import race
from foundations_tui.analysis.race import Entrant


def lane(job: str, values: list[float], running: bool = True, **changes: Any) -> Entrant:
    """Return a job that has logged a value a step, from step 1."""
    usual: dict[str, Any] = {"given": {"lr": len(job)}, "share": 0.5, "left": 3600.0, "gpus": 1}
    return Entrant(job, is_running=running, steps=range(1, len(values) + 1), values=values, **{**usual, **changes})


def falling(end: float, steps: int = 20) -> list[float]:
    return [3.0 + (end - 3.0) * step / steps for step in range(1, steps + 1)]


def places(found: race.Race) -> dict[str, int | None]:
    return {one.job: standing.place for standing in found.standings for one in standing.jobs}


def test_places_are_those_at_the_last_step_that_all_who_run_have_reached() -> None:
    ahead = lane("ahead", [3.0, 2.0, 9.0, 9.0])
    slow = lane("slow", [4.0, 2.5])
    over = lane("over", [5.0, 1.0, 0.1], running=False)
    found = race.race([ahead, slow, over], "min")
    assert found.step == 2 and places(found) == {"over": 1, "ahead": 2, "slow": 3}
    assert places(race.race([ahead, slow, over], "max")) == {"slow": 1, "ahead": 2, "over": 3}


def test_once_nobody_runs_the_best_of_each_counts() -> None:
    found = race.race([lane("a", [3.0, 1.0, 2.0], running=False), lane("b", [3.0, 1.5], running=False)], "min")
    assert found.step is None and [one.value for one in found.standings] == [1.0, 1.5]
    summed = lane("b", [3.0, 1.5], running=False, best=0.5)
    found = race.race([lane("a", [3.0, 1.0, 2.0], running=False), summed], "min")
    assert [one.value for one in found.standings] == [0.5, 1.0], "of what is summed up, the best of all its values"


def test_who_failed_or_measures_no_number_has_no_place() -> None:
    lanes = [lane("nan", [math.nan, math.nan]), lane("out", [0.1], is_out=True), lane("good", [2.0, 1.0])]
    found = race.race([*lanes, lane("new", [])], "min")
    assert places(found) == {"good": 1, "nan": None, "out": None, "new": None} and found.step == 2


def test_seeds_are_one_lane_with_mean_and_spread() -> None:
    lanes = [lane(f"{lr}{seed}", [lr + seed], given={"lr": lr, "seed": seed}) for lr in (1.0, 5.0) for seed in (0, 2)]
    found = race.race(lanes, "min", over_seeds=True)
    assert [(one.value, len(one.jobs)) for one in found.standings] == [(2.0, 2), (6.0, 2)]
    assert [one.spread for one in found.standings] == pytest.approx([math.sqrt(2)] * 2)


FIELD = [lane("x" * n, falling(n / 10)) for n in range(1, 8)]


def test_who_is_worse_than_the_median_at_both_looks_is_behind() -> None:
    bad = lane("bad", [3.0] * 20, given={"lr": 99})
    (found,) = race.behind([*FIELD, bad], "min")
    assert found.jobs == ("bad",) and found.step == 20 and found.best == 3.0
    assert 0 < found.margin < 3 and found.seconds == 3600.0 and found.has_gpus
    negated = [lane(one.job, [-value for value in one.values], given=one.given) for one in (*FIELD, bad)]
    assert race.behind(negated, "max") == [race.Behind(("bad",), 20, -3.0, -found.median, 3600.0, True)]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (lane("bad", [3.0] * 20, share=0.2), "less than a quarter of its steps"),
        (lane("bad", [3.0] * 20, is_own=False), "somebody else's"),
        (lane("bad", [3.0] * 20, running=False), "it has ended"),
        (lane("bad", [3.0] * 17 + [0.01] * 3, given={"lr": 99}), "worse at the earlier look only"),
        (lane("bad", falling(0.1)[:18] + [3.0] * 2, given={"lr": 99}), "its best is good"),
    ],
)
def test_nobody_is_behind_who(bad: Entrant, why: str) -> None:
    assert race.behind([*FIELD, bad], "min") == [], why


def test_with_fewer_than_five_others_nobody_is_behind() -> None:
    assert race.behind([*FIELD[:4], lane("bad", [3.0] * 20)], "min") == []


def test_the_best_third_is_never_behind() -> None:
    noisy = [lane("x" * n, [9.0, *falling(0.5)]) for n in range(1, 7)]
    assert not {"x", "xx"} & {job for one in race.behind(noisy, "min") for job in one.jobs}


def test_seeds_are_judged_as_one() -> None:
    good = lane("good", falling(0.1), given={"lr": 9, "seed": 0})
    bad = lane("bad", [3.0] * 20, given={"lr": 9, "seed": 1})
    assert race.behind([*FIELD, good, bad], "min") == []
    (found,) = race.behind([*FIELD, bad, lane("worse", [4.0] * 20, given={"lr": 9, "seed": 2})], "min")
    assert set(found.jobs) == {"bad", "worse"} and found.seconds == 7200.0


@pytest.mark.parametrize(
    ("tried", "leader", "value"),
    [
        ((0.001, 0.01, 0.1), 0.1, 1.0),
        ((0.001, 0.01, 0.1), 0.001, 0.0001),
        ((0.001, 0.01, 0.1), 0.01, 0.0316),
        ((1, 2, 3), 3, 4),
        ((8, 16, 32), 32, 64),
        ((0.1, 0.2, 0.3), 0.1, None),
        ((2, 3), 3, 4),
    ],
)
def test_the_leaders_neighbour_keeps_to_the_grid(tried: tuple[float, ...], leader: float, value: float | None) -> None:
    ordered = sorted(tried, key=lambda one: (one != leader, one <= leader, one))
    lanes = [lane(str(n), [float(n)], given={"lr": one}) for n, one in enumerate(ordered)]
    found = race.neighbour(race.race(lanes, "min"))
    if value is None:  # 0 and what is below it may mean nothing: yet it is what the grid says
        assert found is not None and found.value == 0.0
    else:
        assert found is not None and found.key == "lr" and found.value == pytest.approx(value)


def test_no_neighbour_of_words_or_of_a_seed() -> None:
    lanes = [lane(name, [float(n)], given={"opt": name, "seed": n}) for n, name in enumerate(("adam", "sgd"))]
    assert race.neighbour(race.race(lanes, "min")) is None
    assert race.neighbour(race.race([], "min")) is None


def test_where_nobody_says_it_the_name_says_which_way_is_better() -> None:
    assert [race.assumed(name) for name in ("val/acc", "accuracy", "eval_f1", "mean_reward")] == ["max"] * 4
    assert [race.assumed(name) for name in ("val/loss", "error", "ppl", "map_error")] == ["min"] * 4


NUMBERS = st.one_of(st.floats(), st.integers(-(10**6), 10**6), st.just(10**400))


@example([([sys.float_info.max] * 3, True, False, {"seed": n}, None) for n in range(3)], "min", True)
@example([([1.7e308] * 9, True, False, {"seed": n}, None) for n in range(9)], "min", True)
@given(
    st.lists(
        st.tuples(
            st.lists(st.floats(), max_size=12),
            st.booleans(),
            st.booleans(),
            st.dictionaries(st.sampled_from(["lr", "seed", "x"]), NUMBERS, max_size=3),
            st.one_of(st.none(), st.floats(0, 1e9)),
        ),
        max_size=12,
    ),
    st.sampled_from(["min", "max"]),
    st.booleans(),
)
def test_whatever_jobs_log_the_race_can_be_told(
    told: list[tuple[list[float], bool, bool, dict[str, float], float | None]], direction: str, over: bool
) -> None:
    lanes = [
        lane(str(n), values, running, is_out=out, given=given, left=left)
        for n, (values, running, out, given, left) in enumerate(told)
    ]
    found = race.race(lanes, direction, over)
    assert sorted(one.job for standing in found.standings for one in standing.jobs) == sorted(one.job for one in lanes)
    known = [standing.place for standing in found.standings if standing.place is not None]
    assert known == list(range(1, len(known) + 1))
    race.behind(lanes, direction)
    race.neighbour(found)
