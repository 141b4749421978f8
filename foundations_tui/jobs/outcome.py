"""What an operation returns for each job or host, and the sink that gets each result as it comes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from foundations_tui.errors import FoundationsError
from foundations_tui.store.rows import JobRow

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How an operation ended for one job."""

    row: JobRow
    """The job as it was before."""
    error: FoundationsError | None = None
    """Why nothing was done to it."""
    words: str = ""
    """What is worth telling about it, as a part of a sentence: "is being stopped: TERM now, KILL in 30 s"."""


@dataclass(frozen=True)
class HostOutcome:
    """How an operation ended on one host."""

    host: str
    error: FoundationsError | None = None
    words: str = ""


Report = Callable[[Outcome], None]
"""Takes each outcome as soon as it is known."""


def unreported(outcome: Outcome) -> None:
    """Take an outcome and tell nobody."""


def for_each(verb: str, rows: Iterable[JobRow], action: Callable[[JobRow], str], report: Report) -> list[Outcome]:
    """Do something to each job; an error of one does not keep the others from their turn.

    Args:
        verb: what is done, for the log.
        rows: the jobs, in their order.
        action: returns what is worth telling; raises FoundationsError.
        report: takes each outcome as soon as it is known.
    """
    outcomes = []
    for row in rows:
        try:
            outcome = Outcome(row, words=action(row))
            _log.info("%s", outcome.words or "done", extra={"action": verb, "host": row.host, "job": row.job})
        except FoundationsError as error:
            outcome = Outcome(row, error)
            _log.warning("%s", error, extra={"action": verb, "host": row.host, "job": row.job})
        report(outcome)
        outcomes.append(outcome)
    return outcomes


def raise_first(outcomes: Iterable[Outcome | HostOutcome]) -> None:
    """Raise the first error, where the others are not reported."""
    error = first_error(outcomes)
    if error is not None:
        raise error


def first_error(outcomes: Iterable[Outcome | HostOutcome]) -> FoundationsError | None:
    """Return the first error, whose exit code is that of the whole."""
    return next((outcome.error for outcome in outcomes if outcome.error is not None), None)
