"""What one job tells of itself: how far it is, why it waits or failed, what broke. Pure: what is known is given."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from foundations_tui.analysis.stories import progress as reading
from foundations_tui.analysis.stories.siblings import Alike, Sibling, alike_error
from foundations_tui.analysis.stories.trouble import Spike
from foundations_tui.store.rows import JobRow, MetricSummary
from foundations_tui.text import story as told
from foundations_tui.text.story import Evidence, Story

_EXCEPTION = "exception"
"""The cause that says no more than the line of the log does."""
_MOST_JOBS = 8
_LONGEST_LINE = 300
TREND = 20
"""Points from which it is seen which way a metric moves."""


@dataclass(frozen=True)
class Line:
    """A line of a log."""

    offset: int
    """Where it begins, bytes."""
    text: str
    """Without escape sequences; of a bar what was drawn last."""


@dataclass(frozen=True)
class NotFinite:
    """A metric that is no number any more."""

    key: str
    value: str
    """"NaN", "Infinity" or "-Infinity"."""
    step: int
    """Since when."""
    spike: Spike | None = None
    """What jumped just before."""


@dataclass(frozen=True)
class Known:
    """What is known of a job."""

    row: JobRow
    """With details."""
    lines: Sequence[Line] = ()
    """The last ones of its log; of a job that runs."""
    directions: Mapping[str, str] = field(default_factory=dict)
    """"min" or "max" of metrics."""
    trend: Sequence[float] = ()
    """The last values of its main metric."""
    not_finite: NotFinite | None = None
    heard_at: float | None = None
    """When its host last said how long its log is, seconds since the epoch."""
    usual_gap: float | None = None
    """Seconds between two lines, usually."""
    alike: Alike | None = None
    """The jobs of its sweep that failed as it did."""
    rank: tuple[int, int] | None = None
    """Its place in its sweep, and of how many."""


def tell(known: Known, now: float) -> Story | None:
    """Return what a job tells; None where nothing is known but what its row says.

    Args:
        known: what is known of it.
        now: seconds since the epoch.
    """
    made = _TOLD_BY_STATE.get(known.row.state, _said)(known, now)
    if made is None or not told.words(made, now):
        return None
    return made


def main_metric(keys: Sequence[str], directions: Mapping[str, str]) -> str:
    """Return the metric that says most of a job; empty for none."""
    ordered = by_importance([key for key in keys if not key.startswith("system/")], directions)
    return ordered[0] if ordered else ""


def by_importance(keys: Sequence[str], directions: Mapping[str, str]) -> list[str]:
    """Return metrics as people look for them: directed ones, losses and scores, others, the system's.

    Args:
        keys: names of metrics.
        directions: "min" or "max" of some.
    """
    named = list(directions)

    def order(key: str) -> tuple[int, int, bool, str]:
        if key in directions:
            return 0, named.index(key), False, key
        kind = 3 if key.startswith("system/") else 1 if _SCORE.search(key) else 2
        return kind, 0, not _VALIDATION.search(key), key

    return sorted(keys, key=order)


_SCORE = re.compile(
    r"loss|acc|error|(?:^|[/_.-])(?:f1|auc|map|iou|ppl|bleu|rmse|mae|mse|r2|reward|score)\b", re.IGNORECASE
)
_VALIDATION = re.compile(r"(?:^|[/_.-])(?:val|valid|validation|eval|test|dev)(?:[/_.-]|$)", re.IGNORECASE)


def _running(known: Known, now: float) -> Story | None:
    row = known.row
    if row.kind == "service":
        return None
    if known.not_finite is not None:
        return _broken(known.not_finite, now)
    if row.stalled_since is not None:
        return _stalled(known, now)
    return _advancing(known, now)


def _advancing(known: Known, now: float) -> Story | None:
    """Return how far a job is, and what it measures."""
    row = known.row
    params: dict[str, Any] = {}
    evidence: list[Evidence] = []
    found = reading.read([line.text for line in known.lines], {**row.args, **row.params})
    if found is not None:
        params.update(done=found.done, total=found.total, unit=found.unit, share=round(found.share, 6))
        evidence += [_log(known.lines[number]) for number in dict.fromkeys(found.lines)]
        params.update(_speed(found, known, now))
    key, summary = _measured(known)
    if summary is not None:
        params["metric"] = _metric(known, key, summary, summary.last)
        evidence.append(Evidence("metric", f"{key} {told.value(summary.last)}", _step(summary.step)))
        if found is None and summary.step:
            params.update(done=summary.step, total=0, unit="step")
    return Story(told.PROGRESS, params, tuple(evidence), now) if params else None


def _speed(found: reading.Progress, known: Known, now: float) -> dict[str, Any]:
    """Return when it will have ended, as fast as it went since its progress was first seen."""
    row = known.row
    if row.started_at is None:
        return {}
    ran = max(0.0, now - row.started_at)
    seen = _seen(row, found, now)
    left = reading.remaining(found, seen, now)
    ends = {} if left is None else {"ends_at": round(now + left, 1)}
    return {"ran": round(ran, 1), "seen": list(seen), **ends}


def _seen(row: JobRow, found: reading.Progress, now: float) -> tuple[float, float]:
    """Return when this attempt's progress was first seen, and how far it was: it may go on from a checkpoint."""
    before = row.story
    if before is not None and before.code == told.PROGRESS and len(before.params.get("seen", ())) == 2:
        share, moment = before.params["seen"]
        if share <= found.share:
            return float(share), float(moment)
    if row.attempt <= 1 and row.started_at is not None:
        return 0.0, row.started_at
    return round(found.share, 6), now


def _measured(known: Known) -> tuple[str, MetricSummary | None]:
    key = main_metric(list(known.row.metrics), known.directions)
    summary = known.row.metrics.get(key)
    return (key, summary) if summary is not None and isinstance(summary.last, int | float) else (key, None)


def _metric(known: Known, key: str, summary: MetricSummary, shown: Any) -> dict[str, Any]:
    place = known.rank
    return {
        "key": key,
        "value": shown,
        "moves": moves(known.trend) if not known.row.is_final else "",
        "rank": {"place": place[0], "of": place[1]} if place and key in known.directions else None,
    }


def moves(values: Sequence[float]) -> str:
    """Return "down" or "up" where the later half of some values lies clearly beside the earlier one; else empty."""
    if len(values) < 4:
        return ""
    values = values[-TREND:]
    half = len(values) // 2
    before, after = values[:half], values[half:]
    difference = statistics.fmean(after) - statistics.fmean(before)
    noise = statistics.pstdev(values)
    if not noise or abs(difference) < noise / 4:
        return ""
    return "down" if difference < 0 else "up"


def _stalled(known: Known, now: float) -> Story:
    since = known.row.stalled_since or now
    params = {"since": since, "heard_at": known.heard_at or now, "usual": known.usual_gap}
    evidence = [_log(known.lines[-1])] if known.lines else []
    return Story(told.STALLED, params, tuple(evidence), now)


def _broken(broken: NotFinite, now: float) -> Story:
    params: dict[str, Any] = {"key": broken.key, "value": broken.value, "step": broken.step}
    evidence = [Evidence("metric", f"{broken.key} is {broken.value}", _step(broken.step))]
    if broken.spike is not None:
        spike = broken.spike
        params["spike"] = {"key": spike.key, "ratio": spike.ratio, "step": spike.step}
        evidence.append(Evidence("metric", f"{spike.key} {told.value(spike.value)}", _step(spike.step)))
    return Story(told.NOT_FINITE, params, tuple(evidence), now)


def _completed(known: Known, now: float) -> Story | None:
    if known.row.kind == "service":
        return None
    if known.not_finite is not None:
        return _broken(known.not_finite, now)
    key, summary = _measured(known)
    if summary is None:
        return None
    direction = known.directions.get(key)
    best = {"min": summary.min, "max": summary.max}.get(direction or "")
    shown = summary.last if best is None else best
    said = f"{key} {told.value(shown)}" + (f" ({direction})" if best is not None else " (last)")
    evidence = Evidence("metric", said, "" if best is not None else _step(summary.step))
    return Story(told.COMPLETED, {"metric": _metric(known, key, summary, shown)}, (evidence,), now)


def _failed(known: Known, now: float) -> Story:
    row, cause = known.row, known.row.cause
    line = cause.line if cause else ""
    says = cause.words if cause and (cause.code != _EXCEPTION or not line) else ""
    params: dict[str, Any] = {"line": line[:_LONGEST_LINE], "cause": says, "reason": row.reason or "failed"}
    evidence = [Evidence("log", line[:_LONGEST_LINE])] if line else []
    alike = known.alike
    if alike is not None:
        params["siblings"] = {"key": alike.key, "value": alike.value, "others": len(alike.jobs)}
        error = alike_error(line)[:_LONGEST_LINE]
        evidence += [Evidence("job", error, job) for job in alike.jobs[:_MOST_JOBS]]
    return Story(told.FAILED, params, tuple(evidence), now)


def _waits(known: Known, now: float) -> Story | None:
    row = known.row
    if not row.reason:
        return None
    return Story(told.WAITS, {"reason": row.reason, "starts_at": row.starts_at}, (Evidence("host", row.reason),), now)


def _said(known: Known, now: float) -> Story | None:
    reason = known.row.reason
    return Story(told.SAID, {"words": reason}, (Evidence("host", reason),), now) if reason else None


_TOLD_BY_STATE = {"queued": _waits, "running": _running, "completed": _completed, "failed": _failed}


def sibling(row: JobRow, metric: str = "", direction: str = "min") -> Sibling:
    """Return a job as its siblings see it.

    Args:
        row: with details.
        metric: of the sweep; empty for none.
        direction: "min" or "max".
    """
    summary = row.metrics.get(metric)
    best = None if summary is None else summary.min if direction == "min" else summary.max
    error = alike_error(row.cause.line) if row.state == "failed" and row.cause else ""
    return Sibling(row.job, row.state, error, {**row.args, **row.params}, best)


def _log(line: Line) -> Evidence:
    return Evidence("log", line.text[:_LONGEST_LINE], str(line.offset))


def _step(step: int | None) -> str:
    return "" if step is None else str(step)
