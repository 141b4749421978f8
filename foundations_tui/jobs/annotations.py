"""What people say of jobs (notes, tags, stars, the archive, the trash, a project's name), and how it is taken back."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from foundations_tui.config.hosts import IN_A_BUNDLE
from foundations_tui.errors import FoundationsError, UsageError
from foundations_tui.jobs.ownership import Actor
from foundations_tui.session import Session
from foundations_tui.store import queries, write_annotations
from foundations_tui.store.rows import JobRow
from foundations_tui.sync import pull
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.jobs import check_annotations

_OWNERS_ONLY = ("archived", "trashed")
"""What hides a job from everybody, or shows it again: its owner says that."""
_NAMED_IN_UNDO = 3
"""Jobs that the command line of an undo names."""
_VERBS = {
    ("starred", True): "unstar",
    ("starred", False): "star",
    ("archived", True): "unarchive",
    ("archived", False): "archive",
    ("trashed", True): "restore",
    ("trashed", False): "delete",
}
"""The verb that takes a mark back."""


@dataclass(frozen=True)
class Undo:
    """How annotations are taken back."""

    rows: Sequence[JobRow]
    before: Sequence[Mapping[str, Any]]
    """What each of the jobs had before."""
    changes: Mapping[str, Any]
    """What all of them got."""

    @property
    def command(self) -> str:
        """The command line that does it, for a person to read."""
        rows, marks = self.rows, "" if len(self.rows) <= _NAMED_IN_UNDO else " ..."
        jobs = " ".join(row.job[: queries.SHORTEST] for row in rows[:_NAMED_IN_UNDO]) + marks
        for key, value in self.changes.items():
            if isinstance(value, bool) and (key, value) in _VERBS:
                return f"foundations {_VERBS[key, value]} {jobs}"
            if key == "note":
                return f"foundations note {jobs} {rows[0].note!r}"
            if key == "project":
                return f"foundations project rename {value} {rows[0].project}"
            before = rows[0].tags.get(key[4:])
            if before is None:
                return f"foundations tag {jobs} --remove {key[4:]}"
            return f"foundations tag {jobs} {key[4:]}={before}"
        return "nothing"


@dataclass(frozen=True)
class AnnotateResult:
    """What came of annotations."""

    rows: list[JobRow]
    """The jobs that have them."""
    left_out: int
    """Jobs of other people that a query found, too."""
    undelivered: dict[str, FoundationsError]
    """Hosts that hear of it at the next contact, and why not now."""
    undo: Undo


def annotate(
    session: Session, actor: Actor, rows: Sequence[JobRow], changes: Mapping[str, Any], named: bool = True
) -> AnnotateResult:
    """Annotate jobs: here at once, then on their hosts.

    Args:
        session: the client's.
        actor: who says it; "archived" and "trashed" only of their own jobs.
        rows: the jobs.
        changes: "note", "starred", "archived", "trashed", "project", "tag:KEY" (None takes a tag away).
        named: whether each job was named; other people's are then refused, else left out.
    Raises:
        UsageError: it cannot be kept, or a job is somebody else's.
    """
    check(changes)
    mine = actor.select(rows, named) if any(key in _OWNERS_ONLY for key in changes) else list(rows)
    undo = Undo(mine, [{key: _value(row, key) for key in changes} for row in mine], dict(changes))
    return AnnotateResult(mine, len(rows) - len(mine), _put(session, mine, changes, time.time()), undo)


def undo(session: Session, undone: Undo) -> dict[str, FoundationsError]:
    """Give jobs what they had before an annotation.

    Returns:
        Hosts that hear of it at the next contact, and why not now.
    """
    alike: dict[str, list[JobRow]] = {}  # one request tells a host of all jobs that get the same
    for row, before in zip(undone.rows, undone.before, strict=True):
        alike.setdefault(json.dumps(before), []).append(row)
    undelivered: dict[str, FoundationsError] = {}
    for text, rows in alike.items():
        undelivered.update(_put(session, rows, json.loads(text), time.time()))
    return undelivered


def check(changes: Mapping[str, Any]) -> None:
    """Refuse annotations that no host would keep.

    Raises:
        UsageError: which, and why.
    """
    try:
        check_annotations({key: [value, 0.0] for key, value in changes.items()})
    except BadRequest as error:
        raise UsageError(str(error)) from None


def _put(
    session: Session, rows: Iterable[JobRow], changes: Mapping[str, Any], moment: float
) -> dict[str, FoundationsError]:
    """Store annotations, then send them to the hosts; return the hosts that could not be reached."""
    rows = list(rows)
    write_annotations.put_annotations(session.store, [row.job for row in rows], dict(changes), moment)
    undelivered = {}
    for host in dict.fromkeys(row.host for row in rows if row.host != IN_A_BUNDLE):
        try:
            session.retrying(host, lambda agent: pull.HostSync(session.store, agent).push_annotations())
        except FoundationsError as error:
            undelivered[host] = error
    return undelivered


def _value(row: JobRow, key: str) -> Any:
    """Return what a job has now."""
    if key.startswith("tag:"):
        return row.tags.get(key[4:])
    return bool(row.trashed_at) if key == "trashed" else getattr(row, key)
