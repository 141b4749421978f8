"""Why one job was better than another: what they have in common, and whether more than chance is between them."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from foundations_tui.analysis import aggregate
from foundations_tui.analysis.comparison import Line
from foundations_tui.analysis.stories.siblings import is_seed
from foundations_tui.store import queries
from foundations_tui.store.rows import JobRow
from foundations_tui.text import humanize
from remote_agent.protocol.wire import JsonTable

_MOST_REPEATS = 200
_PARTS = {
    "param": "parameters",
    "arg": "arguments",
    "data": "data",
    "package": "packages",
    "python": "Python",
    "machine": "machine",
    "variable": "variables",
    "tag": "tags",
}
"""What lines of a kind are of, in words."""


@dataclass(frozen=True)
class Verdict:
    """What two jobs' values of one metric say."""

    metric: str
    values: tuple[float, float]
    better: str | None
    """Whole id of the better job; None when they are equal."""
    spread: float | None
    """Sample standard deviation among repeats, the larger one of the two jobs; None without repeats."""
    repeats: tuple[int, int]
    """Completed jobs that differ from each only in their seed, itself counted."""

    @property
    def difference(self) -> float:
        """By how much the values differ."""
        return abs(self.values[0] - self.values[1])

    @property
    def exceeds(self) -> bool | None:
        """Whether that is more than repeats differ; None without repeats."""
        return None if self.spread is None else self.difference > self.spread

    @property
    def words(self) -> str:
        """It in words."""
        if self.better is None:
            return f"{self.metric}: both have {humanize.number(self.values[0])}"
        first, second = map(humanize.number, self.values)
        by = humanize.rounded(self.difference, 3)
        better = f"{self.metric}: {first} and {second}, {self.better[:6]} is better by {by}"
        if self.spread is None:
            return f"{better}; no repeats tell how much of that is chance (rerun JOB --job-seed N)"
        than = "more than" if self.exceeds else "no more than"
        count = f"{self.repeats[0]} and {humanize.plural(self.repeats[1], 'job')}"
        return f"{better}, {than} repeats differ: ±{humanize.rounded(self.spread, 3)} among {count}"

    def to_json(self) -> JsonTable:
        """Return it as ``--json`` prints it."""
        table = {name: getattr(self, name) for name in ("metric", "better", "difference", "spread", "exceeds")}
        return {**table, "values": list(self.values), "repeats": list(self.repeats)}


def verdicts(conn: sqlite3.Connection, rows: Sequence[JobRow], directions: Mapping[str, str]) -> list[Verdict]:
    """Return what each metric with a direction says of two jobs.

    Args:
        conn: a connection of the store.
        rows: two jobs, with details.
        directions: "min" or "max" of metrics.
    """
    found = []
    repeats = [_repeats(conn, row) for row in rows]
    for metric, direction in directions.items():
        values = [_value(row, metric, direction) for row in rows]
        if values[0] is None or values[1] is None:
            continue
        groups = [[_value(row, metric, direction) for row in group] for group in repeats]
        spreads = [aggregate.spread([value for value in group if value is not None]) for group in groups]
        deviations = [spread.deviation for spread in spreads if spread is not None and spread.count > 1]
        sign = 1 if direction == "min" else -1
        better = None if values[0] == values[1] else rows[0 if sign * values[0] < sign * values[1] else 1].job
        counts = [spread.count if spread is not None else 0 for spread in spreads]
        spread = max(deviations, default=None)
        found.append(Verdict(f"{metric}:{direction}", (values[0], values[1]), better, spread, (counts[0], counts[1])))
    return found


def _value(row: JobRow, metric: str, direction: str) -> float | None:
    summary = row.metrics.get(metric)
    value = getattr(summary, direction) if summary is not None else None
    return float(value) if value is not None and aggregate.is_number(value) else None


def _repeats(conn: sqlite3.Connection, row: JobRow) -> list[JobRow]:
    """Return the completed jobs that differ from one at most in their seed, itself among them."""
    if not row.snapshot:
        return [row]
    same_code = queries.completed_with(conn, row.project, row.snapshot, _MOST_REPEATS)
    own = _without_seed(row)
    others = [other for other in same_code if other.job != row.job and _without_seed(other) == own]
    return [row, *others]


def _without_seed(row: JobRow) -> tuple[dict[str, Any], dict[str, Any]]:
    def kept(table: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in table.items() if not is_seed(key)}

    return kept(row.params), kept(row.args)


def common(rows: Sequence[JobRow], lines: Sequence[Line]) -> list[str]:
    """Return in what jobs agree, in words.

    Args:
        rows: the jobs.
        lines: all that is known of them, also what is the same.
    """
    parts = ["code"] if rows[0].snapshot and len({row.snapshot for row in rows}) == 1 else []
    for kind, name in _PARTS.items():
        of_kind = [line for line in lines if line.kind == kind]
        if of_kind and not any(line.differs for line in of_kind):
            count = f" ({len(of_kind)})" if kind in ("param", "arg", "package", "variable") else ""
            parts.append(name + count)
    return parts
