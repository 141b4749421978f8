"""Chains: what a host does with what a job has made, by itself: register it, evaluate it, have an alias mean it. Pure.

The chain is data in the specification of a second job, which waits for the first one, runs the model's example (and its
``evaluate``), and writes down what came of that. No job talks to the agent: it reads that file when the job has ended.
"""

from __future__ import annotations

import math
from typing import Any, Dict, List, Optional, Tuple

from remote_agent.protocol import checks, models
from remote_agent.protocol.checks import any_table, json_table, one_of, text
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.models import Version
from remote_agent.protocol.wire import CompactMessage, JsonTable, Message, TolerantMessage, field, message

RESULT = "model-check.json"
"""What the second job writes, in the folder that it starts in."""
MOST_RESULT_BYTES = 1 << 20
VARIABLE = "FOUNDATIONS_MODEL"
"""Holds what the model server is told of a version, as JSON."""
MIN, MAX = "min", "max"
_ALIAS = text(63, models.ALIAS, f"an alias: {models.ALIAS_RULE}")


@message
class Chain(CompactMessage):
    """What is done when a job has completed and its model's example has run."""

    model: str = field(models.model_name)
    """Under which name the version is registered."""
    version: JsonTable = field(any_table)
    """What is known of it before: a ``models.Version`` without what the job adds."""
    alias: str = field(checks.text(63), "")
    """What comes to mean it; "" for none."""
    metric: str = field(text(1000), "")
    """The alias moves only if this is better than that of what it means; "" for always."""
    goal: str = field(one_of(MIN, MAX), MAX)
    by: str = field(text(1000), "")

    def check(self) -> None:
        """Raise BadRequest when it makes no sense."""
        self.of_job("new", 1, {})
        if self.alias:
            _ALIAS(self.alias, "the alias of a chain")
        elif self.metric:
            raise BadRequest("a metric decides whether an alias moves, and no alias is named")

    def of_job(self, job: str, attempt: int, more: JsonTable) -> Version:
        """Return the version that a job has become.

        Args:
            job: which.
            attempt: the one that has completed.
            more: what the job adds: hash, files and bytes of what it has made, signature, metrics.
        Raises:
            BadRequest: it makes no sense.
        """
        return Version.from_wire({**self.version, **more, "job": job, "attempt": attempt}, "the version of a chain")

    def words(self) -> str:
        """Return what is done, in words."""
        words = f"register {self.model}"
        if self.alias:
            words += f", {self.alias}"
        return words + (f" if {self.metric} is better ({self.goal})" if self.metric else "")


def check_chain(value: Any, where: str) -> None:
    """Raise BadRequest when a specification's chain is none."""
    if value:
        Chain.from_wire(value, where).check()


@message
class CheckResult(Message):
    """What the second job has written: what is not whole counts as nothing, and nothing as a failure."""

    error: str = field(text(1 << 20))
    """Why the model cannot be served; "" where it can."""
    signature: JsonTable = field(json_table(16_384))
    evaluation: JsonTable = field(json_table(8_192), {})
    """Numbers that ``evaluate`` has returned, by name."""


@message
class Made(TolerantMessage):
    """What the first job has made, as the second one's supervisor has found it."""

    data: str = field(text(64), "")
    """Hash of its files, which were kept; "" where the model is code alone."""
    files: int = field(checks.whole(), 0)
    bytes: int = field(checks.whole(), 0)
    path: str = field(text(4096, as_bytes=True), "")
    """Where they are on this host."""
    metrics: JsonTable = field(json_table(12_000), {})
    """{"last", "min", "max"} by key."""
    attempt: int = field(checks.whole(), 0)
    """Which attempt of the first job it was."""


def metrics_of(made: Made, result: CheckResult) -> JsonTable:
    """Return the metrics of a version: those that its job has recorded, and those of its evaluation."""
    evaluated = {
        key: {"last": value, "min": value, "max": value}
        for key, value in result.evaluation.items()
        if as_float(value) is not None
    }
    return {**made.metrics, **evaluated}


def number_of(metrics: JsonTable, key: str) -> Optional[float]:
    """Return the last value of a metric; None where there is none that can be compared."""
    entry = metrics.get(key)
    value = entry.get("last") if isinstance(entry, dict) else entry
    number = as_float(value)
    return number if number is not None and math.isfinite(number) else None


def as_float(value: Any) -> Optional[float]:
    """Return a number; None for what is none, or larger than any float."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def is_better(chain: Chain, new: JsonTable, current: Optional[JsonTable]) -> Tuple[bool, str]:
    """Return whether an alias is to move, and why it is not, or by what, in words.

    Args:
        chain: names the metric.
        new: metrics of the new version.
        current: of what the alias means; None for nothing.
    """
    if not chain.metric:
        return True, ""
    value = number_of(new, chain.metric)
    if value is None:
        return False, f"it has no {chain.metric}"
    if current is None:
        return True, f"{chain.metric} {value:g}"
    before = number_of(current, chain.metric)
    if before is None:
        return False, f"{chain.alias} has no {chain.metric} to compare with"
    is_so = value > before if chain.goal == MAX else value < before
    return is_so, f"{chain.metric} {value:g} {'after' if is_so else 'is not better than'} {before:g}"


class Summary:
    """What a job has recorded: metrics, and where its artifacts lie.

    The lines are those of ``foundations.records``: ["m", TIME, KEY, STEP, VALUE] and ["a", TIME, KEY, {"path": ...}].
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self.artifacts: Dict[str, str] = {}
        """Paths among the artifacts, by key."""
        self._times: Dict[str, float] = {}
        self._values: Dict[str, Dict[str, float]] = {}

    def add(self, line: Any) -> None:
        """Take in one line of a records file, decoded; what makes no sense is passed over."""
        at = as_float(line[1]) if isinstance(line, list) and len(line) > 3 else None
        if at is None:
            return
        key = checks.writable(str(line[2]))
        if line[0] == "a" and isinstance(line[3], dict) and isinstance(line[3].get("path"), str):
            self.artifacts[key] = line[3]["path"]
        elif line[0] == "m" and len(line) > 4:
            self._add_value(key, at, line[4])

    def _add_value(self, key: str, at: float, value: Any) -> None:
        number = as_float(value)
        value = math.nan if number is None else number  # {"float": "NaN"}: the last value, and none to compare with
        known = self._values.setdefault(key, {})
        if at >= self._times.get(key, at):
            self._times[key] = at
            known["last"] = value
        if not math.isnan(value):
            known["min"], known["max"] = min(value, known.get("min", value)), max(value, known.get("max", value))

    def metrics(self, most: int) -> JsonTable:
        """Return {"last", "min", "max"} by key, as many as fit into some bytes of JSON."""
        kept: JsonTable = {}
        for key in sorted(self._values):
            entry = {name: value for name, value in self._values[key].items() if math.isfinite(value)}
            most -= checks.json_size([key, entry]) + 2
            if most < 0:
                break
            kept[key] = entry
        return kept

    def place_of(self, path: str) -> str:
        """Return where a path of a version lies: "artifacts/KEY/..." by the path that the key has."""
        first, _, rest = path.partition("/")
        keys: List[str] = sorted(self.artifacts, key=len, reverse=True) if first == "artifacts" else []
        for key in keys:
            if rest == key or rest.startswith(f"{key}/"):
                return f"artifacts/{self.artifacts[key]}{rest[len(key) :]}"
        return path
