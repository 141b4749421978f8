"""What jobs and sweeps tell of themselves, from recorded logs and from rows."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from foundations_tui.analysis.stories import jobs, progress, siblings, sweeps, trouble
from foundations_tui.analysis.stories.jobs import Known, Line, NotFinite
from foundations_tui.analysis.stories.siblings import Alike, Members, Sibling
from foundations_tui.analysis.stories.trouble import Spike
from foundations_tui.ingest.log_patterns import as_read
from foundations_tui.store.rows import MetricSummary
from foundations_tui.text import story as told
from foundations_tui.text.story import Story
from remote_agent.protocol.ends import Cause
from tests.support.paths import TESTS
from tests.support.rows import NOW, row


def summary(last: float, low: float | None = None, high: float | None = None, step: int = 10) -> MetricSummary:
    """Return a metric in numbers."""
    return MetricSummary(last, last, last if low is None else low, last if high is None else high, 3, step)


def words(known: Known, now: float = NOW) -> str:
    """Return what a job tells."""
    made = jobs.tell(known, NOW)
    assert made is None or told.read(made.stored()) == made
    return told.words(made, now) if made else ""


@pytest.mark.parametrize(
    ("log", "params", "expected"),
    [
        ("keras", {}, ("epoch", 3, 5, (2 + 1 / 18) / 5)),
        ("lightning", {"max_epochs": 5}, ("epoch", 2, 5, (1 + 11 / 20) / 5)),
        ("lightning", {}, ("epoch 2, step", 11, 20, 0)),
        ("tqdm-nested", {}, ("epoch", 2, 4, (2 + 20 / 40) / 4)),
        ("imagenet", {"epochs": 90}, ("epoch", 3, 90, (2 + 40 / 5005) / 90)),
        ("tutorial", {}, ("epoch", 3, 30, (2 + 200 / 600) / 30)),
        ("nanogpt", {"max_iters": 5000}, ("iteration", 1010, 5000, 1010 / 5000)),
        ("nanogpt", {}, None),
    ],
)
def test_progress_is_read_from_recorded_logs(log: str, params: dict[str, Any], expected: Any) -> None:
    data = (TESTS / "data" / "logs" / "progress" / f"{log}.log").read_bytes()
    lines = [text for line in data.split(b"\n") if (text := as_read(line)).strip()]
    found = progress.read(lines, params)
    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert (found.unit, found.done, found.total) == expected[:3]
        assert found.share == pytest.approx(expected[3])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("step 400/2000 loss 3", "step 400/2,000"),
        ("[400/2,000] loss", "400/2,000"),
        (" 45%|████▌     | 450/1000 [00:12<00:15, 36.1it/s]", "step 450/1,000"),
        ("epoch 0 of 3", "epoch 0/3"),
        ("100%|██████████| 9912422/9912422 [00:01<00:00, 7.1it/s]", ""),  # a download is no progress of the training
        ("date 12/31/2026, ratio 3/0, 7/3", ""),
        ("accuracy 3/5/7 at step 9/5", ""),
        ("Step 2: install packages", ""),
        ("{'loss': 0.5, 'epoch': 0.9}", ""),
        ("step " + "9" * 5000 + "/" + "9" * 5000, ""),
    ],
)
def test_progress_of_one_line(line: str, expected: str) -> None:
    assert words(Known(row(), [Line(0, line)])).split(" · ")[0] == expected


def test_time_left_is_said_once_enough_is_done() -> None:
    epochs = [Line(0, "Epoch 6/30")]
    assert words(Known(row(started_at=NOW - 100), epochs)) == "epoch 6/30 · 7 min left"
    assert words(Known(row(started_at=NOW - 20), epochs)) == "epoch 6/30"  # less than 30 s
    assert words(Known(row(started_at=NOW - 100), [Line(0, "Epoch 1/30")])) == "epoch 1/30"  # less than 5 %
    assert words(Known(row(started_at=NOW - 100), epochs), NOW + 500) == "epoch 6/30"  # it should have ended


def test_a_resumed_attempt_is_as_fast_as_it_went_since_it_began() -> None:
    begun = jobs.tell(Known(row(attempt=2, started_at=NOW - 5), [Line(0, "epoch 20/40")]), NOW)
    assert begun is not None and "ends_at" not in begun.params
    later = row(attempt=2, started_at=NOW - 5, story=begun)
    made = jobs.tell(Known(later, [Line(0, "epoch 24/40")]), NOW + 100)
    assert made is not None and told.words(made, NOW + 100) == "epoch 24/40 · 7 min left"


def test_a_running_job_tells_its_metric_and_its_place() -> None:
    metrics = {"lr": summary(0.1), "train/loss": summary(1.0), "val/loss": summary(1.3123)}
    known = Known(
        row(metrics=metrics),
        [Line(7, "epoch 6/30")],
        {"val/loss": "min"},
        trend=[2.0, 1.9, 1.8, 1.6, 1.4, 1.3],
        rank=(1, 24),
    )
    assert words(known) == "epoch 6/30 · 7 min left · val/loss 1.312 ↓ best of 24"
    assert words(dataclasses.replace(known, rank=(12, 24))).endswith("12th of 24")
    assert words(dataclasses.replace(known, lines=(), rank=None, trend=())) == "step 10 · val/loss 1.312"
    assert words(dataclasses.replace(known, directions={})).endswith("val/loss 1.312 ↓")
    made = jobs.tell(known, NOW)
    assert made is not None and [one.place for one in made.evidence] == ["7", "10"]


def test_losses_come_before_what_is_only_logged() -> None:
    keys = ["epoch", "lr", "system/gpu", "train/loss", "val/acc", "val/loss", "throughput"]
    ordered = jobs.by_importance(keys, {"throughput": "max"})
    assert ordered == ["throughput", "val/acc", "val/loss", "train/loss", "epoch", "lr", "system/gpu"]


def test_a_metric_that_is_no_number_any_more_is_told_first() -> None:
    broken = NotFinite("train/loss", "NaN", 90_000, Spike("grad_norm", 89_990, 18.0, 18.4))
    expected = "NaN since step 90,000, grad_norm ×18.4 just before"
    assert words(Known(row(), [Line(0, "epoch 6/30")], not_finite=broken)) == expected
    assert words(Known(row("completed"), not_finite=broken)) == expected
    exploded = NotFinite("loss", "NaN", 11, Spike("loss", 10, 1e137, 3.85e131))
    assert words(Known(row(), not_finite=exploded)) == "NaN since step 11, loss over ×1,000,000 just before"
    infinite = NotFinite("train/loss", "Infinity", 5)
    assert words(Known(row(), not_finite=infinite)) == "train/loss is Infinity since step 5"


def test_a_silent_job_says_for_how_long_and_what_is_usual() -> None:
    known = Known(row(stalled_since=NOW - 720), [Line(0, "x")], heard_at=NOW, usual_gap=8.0)
    assert words(known, NOW + 9999) == "stalled: no line for 12 min, usually 8 s"


def test_a_spike_is_ten_times_the_median_just_before() -> None:
    usual = [(step, 1.0 + step % 3 * 0.1) for step in range(700, 1000)]
    assert trouble.spike({"g": usual}, 1000) is None
    found = trouble.spike({"g": [*usual[:-2], (998, 18.7), (999, 1.0)], "h": usual}, 1000)
    assert found is not None and (found.key, found.step, round(found.ratio)) == ("g", 998, 17)
    early = [(step, 30.0 if step == 900 else value) for step, value in usual]
    assert trouble.spike({"g": early}, 1000) is None  # that was 100 steps ago
    assert trouble.spike({"g": [(1, 0.0)] * 50 + [(999, 5.0)]}, 1000) is None  # ten times nothing says nothing
    assert trouble.spike({"g": usual[-3:] + [(999, 99.0)]}, 1000) is None  # too few to know what is usual
    assert trouble.spike({}, 0) is None


def failed(job: str, lr: float, error: str = "ValueError: diverged", **given: Any) -> Sibling:
    """Return a job of a sweep that failed."""
    return Sibling(job, "failed", error, {"lr": lr, **given})


def done(job: str, value: float | None = None, **given: Any) -> Sibling:
    """Return a job of a sweep that completed."""
    return Sibling(job, "completed", "", given, value)


def alike(own: Sibling, others: list[Sibling]) -> Alike | None:
    """Return which jobs of a sweep failed as one did."""
    return Members([own, *others]).failed_alike(own)


def test_siblings_that_fail_alike_name_the_value_that_they_share() -> None:
    own = failed("a", 100, seed=0)
    others = [failed("b", 100, seed=1), failed("c", 100, seed=2), done("d", lr=1, seed=0), done("e", lr=1, seed=1)]
    found = alike(own, others)
    assert found is not None and (found.key, found.value, found.jobs) == ("lr", 100, ("b", "c"))
    assert alike(own, others[1:]) is None  # only two
    assert alike(own, [*others, done("f", lr=100, seed=3)]) is None  # one of them succeeded
    others[0] = failed("b", 100, "KeyError: 'x'", seed=1)
    assert alike(own, others) is None  # another exception
    all_fail = [failed("b", 1), failed("c", 10)]
    found = alike(own, all_fail)
    assert found is not None and (found.key, len(found.jobs)) == ("", 2)


def test_errors_are_alike_whatever_differs_from_run_to_run() -> None:
    a = siblings.alike_error("OSError: /tmp/jobs/aa11/work/data.csv at 0x7f11 after 3.14159 s")
    assert a == siblings.alike_error("OSError: /tmp/jobs/bb22/work/data.csv at 0x7f99 after 2.71828 s")
    assert siblings.alike_error("ValueError: lr 1") != siblings.alike_error("ValueError: lr 2")


def test_a_failed_job_tells_its_exception() -> None:
    raised = Cause("exception", "an exception was not caught", "ValueError: loss has diverged")
    own = row("failed", cause=raised, reason="exit code 1", params={"lr": 100})
    assert words(Known(own)) == "ValueError: loss has diverged"
    others = [failed(name, 100, "ValueError: loss has diverged") for name in "bcdef"] + [done("g", lr=1)]
    assert (
        words(Known(own, alike=alike(jobs.sibling(own), others)))
        == "ValueError: loss has diverged (lr=100, as its 5 siblings)"
    )
    memory = Cause("cuda_oom", "the GPU had not enough memory", "RuntimeError: CUDA out of memory")
    expected = "the GPU had not enough memory: RuntimeError: CUDA out of memory"
    assert words(Known(row("failed", cause=memory))) == expected
    assert (
        words(Known(row("failed", reason="the time limit of 1 h was reached"))) == "the time limit of 1 h was reached"
    )
    assert words(Known(row("failed"))) == "failed"


def test_a_waiting_job_says_why_and_how_long() -> None:
    known = Known(row("queued", reason="waits for 8 GPUs: 2 free", starts_at=NOW + 2400, started_at=None))
    assert words(known) == "starts in 40 min · waits for 8 GPUs: 2 free"
    assert words(known, NOW + 3000) == "waits for 8 GPUs: 2 free"
    assert words(Known(row("queued", started_at=None))) == ""
    assert words(Known(row("queued", reason="paused", starts_at=NOW + 90))) == "starts in 2 min · paused"


def test_what_is_not_known_is_not_said() -> None:
    assert jobs.tell(Known(row()), NOW) is None
    assert jobs.tell(Known(row("completed")), NOW) is None
    assert jobs.tell(Known(row(kind="service", stalled_since=1.0), [Line(0, "epoch 1/2")]), NOW) is None
    assert jobs.tell(Known(row(metrics={"text": summary("a")})), NOW) is None  # type: ignore[arg-type]


def test_a_sweep_tells_what_always_fails_and_who_leads() -> None:
    members = [failed(f"f{n}", 100, hidden=8, seed=n) for n in range(3)]
    members += [done(f"a{n}", 0.50 + n * 0.02, lr=1, hidden=8, seed=n) for n in range(3)]
    members += [done(f"b{n}", 0.53 + n * 0.02, lr=1, hidden=16, seed=n) for n in range(3)]
    made = sweeps.tell(Members(members), "loss", "min", NOW)
    assert made is not None
    assert told.words(made, NOW) == "lr 100 always fails; lr 1, hidden 8 leads by 0.03 ± 0.016"
    assert told.read(made.stored()) == made
    single = [one for one in members if one.job in ("a0", "b0")]
    made = sweeps.tell(Members(single), "loss", "min", NOW)
    assert made is not None and told.words(made, NOW) == "hidden 8 leads by 0.03 (1 seed)"
    made = sweeps.tell(Members(single), "loss", "max", NOW)
    assert made is not None and told.words(made, NOW).startswith("hidden 16 leads")
    assert sweeps.tell(Members(members[:3]), "loss", "min", NOW) is None  # all fail: no value tells why
    assert sweeps.tell(Members([]), "loss", "min", NOW) is None
    assert sweeps.tell(Members(members[3:4]), "loss", "min", NOW) is None


def test_equal_values_share_a_place() -> None:
    ranks = siblings.ranks([("a", 1.0), ("b", 1.0), ("c", 2.0), ("d", None), ("e", float("nan"))], "min")
    assert ranks == {"a": (1, 3), "b": (1, 3), "c": (3, 3)}
    assert siblings.ranks([("a", 1.0), ("c", 2.0)], "max") == {"a": (2, 2), "c": (1, 2)}
    assert siblings.ranks([("a", 1.0)], "max") == {}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(code=st.sampled_from(list(told._WORDS)), params=st.dictionaries(st.text(max_size=8), VALUES, max_size=4))
def test_whatever_the_store_holds_makes_a_sentence_or_none(code: str, params: dict[str, Any]) -> None:
    stored = Story(code, params, (), NOW).stored()
    read = told.read(stored)
    assert read is not None
    sentence = told.words(read, NOW)
    assert "\n" not in sentence and "\x1b" not in sentence and len(sentence) <= 300


@given(st.text() | st.none() | VALUES.map(json.dumps))
def test_what_is_no_story_is_none(text: str | None) -> None:
    made = told.read(text)
    assert made is None or isinstance(made, Story)


@given(st.lists(st.text(max_size=60), max_size=6), st.dictionaries(st.text(max_size=8), VALUES, max_size=3))
def test_any_log_can_be_read(lines: list[str], params: dict[str, Any]) -> None:
    found = progress.read(lines, params)
    assert found is None or (0 <= found.share <= 1 and 0 <= found.done <= found.total)


def test_the_time_left_of_a_damaged_story_is_none() -> None:
    whole = {"share": 0.5, "ran": 60.0, "ends_at": NOW + 90}
    assert told.time_left(Story(told.PROGRESS, whole), NOW) == 90
    assert told.time_left(Story(told.WAITS, whole), NOW) is None
    damaged: list[Any] = [
        [],
        None,
        {**whole, "ends_at": "soon"},
        {**whole, "ends_at": 10**400},
        {**whole, "share": None},
    ]
    for params in damaged:
        assert told.time_left(Story(told.PROGRESS, params), NOW) is None
