"""What is asked for: a schedule, with the options of a job and its own."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from foundations_tui.errors import UsageError
from foundations_tui.submit.request import OPTIONS, PARAMS_FILE, JobRequest, request_of
from foundations_tui.text import humanize
from foundations_tui.text.options import Kind, Option
from remote_agent.protocol import models, schedules
from remote_agent.protocol.chains import MAX, MIN
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.schedules import Schedule
from remote_agent.protocol.services import NAME, NAME_RULE

_NOT_SCHEDULED = ("name", "after", "after_any", "exact", "relock")
SCHEDULE_OPTIONS: dict[str, Option] = {
    "cron": Option(
        "--cron", Kind.TEXT, "When: minute hour day month weekday, by the host's clock.", metavar="FIELDS", default=""
    ),
    "every": Option("--every", Kind.DURATION, "Or every so often (6h, 30m), from now on.", default=None),
    "utc": Option("--utc", Kind.FLAG, "The fields are UTC's.", default=False),
    "overlap": Option(
        "--overlap",
        Kind.CHOICE,
        "While the job before has not ended: skip that time, or queue behind it (default skip).",
        choices=(schedules.SKIP, schedules.QUEUE),
        default=schedules.SKIP,
    ),
    "register": Option(
        "--register", Kind.TEXT, "Register what a job has made as a version of this model.", metavar="MODEL", default=""
    ),
    "evaluate": Option("--evaluate", Kind.FLAG, "Before that, call evaluate of [model], for metrics.", default=False),
    "promote_if": Option(
        "--promote-if",
        Kind.TEXT,
        "Promote it if this metric is better than the champion's: accuracy:max, loss:min.",
        metavar="METRIC[:WAY]",
        default="",
    ),
    "alias": Option("--as", Kind.TEXT, "The alias that is promoted (default champion).", metavar="ALIAS", default=""),
}
ALL_OPTIONS: dict[str, Option] = {
    **SCHEDULE_OPTIONS,
    **{name: option for name, option in OPTIONS.items() if name not in _NOT_SCHEDULED},
    "params_file": PARAMS_FILE,
}
"""The options of ``foundations schedule add``, by the names of the values that ``read`` takes."""


@dataclass(frozen=True)
class ChainRequest:
    """What is done with what each job has made."""

    model: str
    evaluates: bool
    alias: str
    """"" for none."""
    metric: str
    """"" for always."""
    goal: str
    """"" for what the project says of the metric."""


@dataclass(frozen=True)
class ScheduleRequest:
    """What a user asks for."""

    name: str
    job: JobRequest
    cron: str
    every: float
    """Seconds; 0 for ``cron``."""
    utc: bool
    overlap: str
    chain: ChainRequest | None

    def schedule(self, spec: Mapping[str, Any], then: Mapping[str, Any], by: str) -> Schedule:
        """Return it as its host gets it.

        Args:
            spec: the specification of its jobs.
            then: that of the job behind each; empty for none.
            by: who asks.
        """
        return Schedule(self.name, dict(spec), dict(then), self.cron, self.every, self.utc, self.overlap, by)


def read(conn: sqlite3.Connection, name: str, command: Sequence[str], values: Mapping[str, Any]) -> ScheduleRequest:
    """Parse what is to be scheduled.

    Args:
        conn: a connection of the store, which knows the jobs that are named.
        name: the schedule's.
        command: the words of the command.
        values: by the names of ``ALL_OPTIONS``.
    Raises:
        UsageError: it cannot be understood. NotFoundError: there is no such job.
    """
    if not NAME.match(name):
        raise UsageError(f"a schedule is called by {NAME_RULE}; got {name!r}")
    if not command:
        raise UsageError(f"there is no command: foundations schedule add {name} --every 6h -- python train.py")
    job = request_of(conn, command, {key: value for key, value in values.items() if key not in SCHEDULE_OPTIONS})
    request = ScheduleRequest(
        name,
        replace(job, name=name),
        str(values.get("cron") or ""),
        float(values.get("every") or 0.0),
        bool(values.get("utc")),
        str(values.get("overlap") or schedules.SKIP),
        _chain(values),
    )
    if request.utc and not request.cron:
        raise UsageError("--utc says whose clock --cron means, and there is no --cron")
    try:
        request.schedule({}, {}, "").check()
    except BadRequest as error:
        raise UsageError(str(error), "--cron '0 3 * * *' for 3:00 each night, or --every 6h") from None
    return request


def _chain(values: Mapping[str, Any]) -> ChainRequest | None:
    model, condition, alias = (str(values.get(key) or "") for key in ("register", "promote_if", "alias"))
    if not model:
        if condition or alias or values.get("evaluate"):
            raise UsageError("--evaluate, --promote-if and --as go with --register MODEL")
        return None
    if not NAME.match(model):
        raise UsageError(f"a model is called by {NAME_RULE}; got {model!r}")
    if alias and not models.ALIAS.match(alias):
        raise UsageError(f"an alias is made of {models.ALIAS_RULE}; got {alias!r}")
    metric, _, goal = condition.rpartition(":") if ":" in condition else (condition, "", "")
    if condition and (not metric or (":" in condition and goal not in (MIN, MAX))):
        raise UsageError(f"--promote-if takes a metric, and which way is better: accuracy:max; got {condition!r}")
    return ChainRequest(model, bool(values.get("evaluate")), alias or (models.CHAMPION if metric else ""), metric, goal)


def times_words(cron: str, every: float, utc: bool) -> str:
    """Return when a schedule's jobs are due, in words."""
    return f"every {humanize.duration(every)}" if every else cron + (" UTC" if utc else "")
