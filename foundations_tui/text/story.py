"""What a job tells of itself in one sentence: a code, its parameters, the evidence, and the function that says it.

A story is made when its job's data come (``analysis.stories``) and stored as it is here. It is put into words wherever
a job is shown: row, head, command line, notification and ``--json`` say the same. Pure.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from foundations_tui.text import humanize
from foundations_tui.text.sanitize import one_line

PROGRESS, FAILED, COMPLETED, NOT_FINITE, WAITS, STALLED, SAID = (
    *("progress", "failed", "completed", "not_finite", "waits", "stalled"),
    "said",
)
"""The codes: "said" is what its host says of it, in words."""
SWEEP = "sweep"
"""The code of a sweep's story."""
_DOT = " · "
_LONGEST = 300
"""Characters of a sentence."""
_MANY_TIMES = 1_000_000
_LEAST_SHARE, _LEAST_SECONDS = 0.05, 30.0
"""How much has to be done, or how long it has to have run, before the time left is said."""


@dataclass(frozen=True)
class Evidence:
    """One thing that a story stands on."""

    kind: str
    """"log" (a line), "metric" (a point), "job" (another one), "param", "host"."""
    words: str
    """The line, the value, what the other job did."""
    place: str = ""
    """Where it is: the byte of the log at which the line begins, a step, a job's id."""

    def to_json(self) -> dict[str, str]:
        """Return it as ``--json`` prints it."""
        return {"kind": self.kind, "words": self.words, "place": self.place}

    @property
    def line(self) -> str:
        """Return it with where it is: "metric  val/loss 1.31 at step 400"."""
        where = {"log": "at byte {} of the log", "metric": "at step {}", "job": "in job {}"}.get(self.kind, "")
        place = f"{int(self.place):,}" if self.place.isdigit() and self.kind != "job" else self.place[:12]
        return f"{self.kind:<6}  {self.words}" + (f"  ({where.format(place)})" if self.place and where else "")


@dataclass(frozen=True)
class Story:
    """What a job, or a sweep, tells of itself."""

    code: str
    params: Mapping[str, Any] = field(default_factory=dict)
    evidence: tuple[Evidence, ...] = ()
    at: float = 0.0
    """When it was made, seconds since the epoch."""

    def to_json(self, now: float) -> dict[str, Any]:
        """Return it as ``--json`` prints it."""
        return {
            "text": words(self, now),
            "code": self.code,
            "params": dict(self.params),
            "evidence": [one.to_json() for one in self.evidence],
            "at": self.at,
        }

    def stored(self) -> str:
        """Return it as the store keeps it: JSON without NaN."""
        table = {"code": self.code, "params": _kept(self.params), "evidence": [one.to_json() for one in self.evidence]}
        return json.dumps({**table, "at": self.at}, allow_nan=False)


def _kept(value: Any) -> Any:
    """Return a value as JSON can hold it: what is no finite number by its name."""
    if isinstance(value, Mapping):
        return {str(key): _kept(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_kept(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def read(text: str | None) -> Story | None:
    """Return a story as the store has it; None for none, and for what a newer version has written."""
    if not text:
        return None
    try:
        table = json.loads(text)
        evidence = tuple(Evidence(one["kind"], one["words"], one["place"]) for one in table["evidence"])
        story = Story(table["code"], table["params"], evidence, table["at"])
    except (ValueError, TypeError, KeyError):
        return None
    return story if story.code in _WORDS else None


def words(story: Story, now: float) -> str:
    """Return a story as one sentence.

    Args:
        story: what is told.
        now: seconds since the epoch: times left are counted from here.
    """
    try:
        text = _WORDS[story.code](story.params, now)
    except (KeyError, TypeError, ValueError, OverflowError):
        return ""  # the store is damaged, or says what only a newer version can read
    text = one_line(text)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def time_left(story: Story, now: float) -> float | None:
    """Return the seconds left that a story tells; None when it tells none."""
    try:
        return _seconds_left(story.params, now) if story.code == PROGRESS else None
    except (AttributeError, TypeError, OverflowError):
        return None  # the store is damaged, or says what only a newer version can read


def _seconds_left(params: Mapping[str, Any], now: float) -> float | None:
    """Return what is left as far as it can be told: not at the beginning, and not of what should have ended."""
    ends_at, share, ran = params.get("ends_at"), params.get("share", 0.0), params.get("ran", 0.0)
    if ends_at is None or share < _LEAST_SHARE or ran < _LEAST_SECONDS or ends_at <= now:
        return None
    return float(ends_at - now)


def _progress(params: Mapping[str, Any], now: float) -> str:
    parts = [_place(params), _time_left(params, now), _metric(params)]
    return _DOT.join(part for part in parts if part)


def _place(params: Mapping[str, Any]) -> str:
    """Return how far it is: "epoch 6/30", "step 400/2,000", "step 400"."""
    done, total, unit = params.get("done"), params.get("total"), params.get("unit", "")
    if done is None:
        return ""
    return f"{unit} {done:,}/{total:,}".strip() if total else f"{unit} {done:,}"


def _time_left(params: Mapping[str, Any], now: float) -> str:
    left = _seconds_left(params, now)
    return "" if left is None else f"{humanize.about(left)} left"


def _metric(params: Mapping[str, Any]) -> str:
    """Return its metric: "val/loss 1.31 ↓ best of 24"."""
    metric = params.get("metric")
    if not metric:
        return ""
    parts = [metric["key"], value(metric["value"])]
    parts += [{"down": "↓", "up": "↑"}.get(metric.get("moves") or "", "")]
    rank = metric.get("rank")
    parts += [f"{'best' if rank['place'] == 1 else _ordinal(rank['place'])} of {rank['of']}"] if rank else []
    return " ".join(part for part in parts if part)


def value(number: Any) -> str:
    """Return a value in as many digits as a sentence bears."""
    if isinstance(number, float) and math.isfinite(number):
        return f"{number:.4g}"
    return f"{number:,}" if isinstance(number, int) else str(number)


def _ordinal(place: int) -> str:
    ending = "th" if place % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    return f"{place}{ending}"


def _failed(params: Mapping[str, Any], now: float) -> str:
    line, cause = params.get("line", ""), params.get("cause", "")
    what = f"{cause}: {line}" if cause and line else cause or line or params.get("reason", "")
    siblings = params.get("siblings")
    if not siblings:
        return str(what)
    as_others = f"as its {humanize.plural(siblings['others'], 'sibling')}"
    given = f"{siblings['key']}={value(siblings['value'])}, " if siblings.get("key") else ""
    return f"{what} ({given}{as_others})"


def _completed(params: Mapping[str, Any], now: float) -> str:
    return _metric(params)


def _not_finite(params: Mapping[str, Any], now: float) -> str:
    since = f"{params['key']} is {params['value']} since step {params['step']:,}"
    if params["value"] == "NaN" and params.get("is_only", True):
        since = f"NaN since step {params['step']:,}"
    spike = params.get("spike")
    return since + (f", {spike['key']} {_times(spike['ratio'])} just before" if spike else "")


def _times(ratio: float) -> str:
    """Return how many times as large as usual something was; beyond a million the number says nothing more."""
    if ratio >= _MANY_TIMES:
        return f"over ×{_MANY_TIMES:,}"
    return f"×{humanize.rounded(ratio, 3)}" if ratio < 1000 else f"×{round(float(f'{ratio:.3g}')):,}"


def _waits(params: Mapping[str, Any], now: float) -> str:
    begins = humanize.ahead(params.get("starts_at"), now)
    parts = [f"starts {begins}" if begins else "", str(params.get("reason") or "waits")]
    return _DOT.join(part for part in parts if part)


def _stalled(params: Mapping[str, Any], now: float) -> str:
    usual = params.get("usual")
    silent = f"stalled: no line for {humanize.about(params['heard_at'] - params['since'])}"
    return silent + (f", usually {humanize.about(usual)}" if usual else "")


def _said(params: Mapping[str, Any], now: float) -> str:
    return str(params["words"])


def _sweep(params: Mapping[str, Any], now: float) -> str:
    always = [f"{key} {value(what)} always fails" for key, what in params.get("always_fail", [])]
    leader = params.get("leader")
    return "; ".join([*always, *([_leads(leader)] if leader else [])])


def _leads(leader: Mapping[str, Any]) -> str:
    who = ", ".join(f"{key} {value(what)}" for key, what in leader["values"]) or "the only configuration"
    if leader.get("by") is None:
        return f"{who}: {leader['metric']} {value(leader['mean'])}"
    error = leader.get("error")
    sure = f"± {humanize.rounded(error)}" if error is not None else "(1 seed)"
    return f"{who} leads by {humanize.rounded(leader['by'])} {sure}"


_WORDS = {
    PROGRESS: _progress,
    FAILED: _failed,
    COMPLETED: _completed,
    NOT_FINITE: _not_finite,
    WAITS: _waits,
    STALLED: _stalled,
    SAID: _said,
    SWEEP: _sweep,
}
