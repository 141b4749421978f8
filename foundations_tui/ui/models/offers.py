"""What can stand in a sort, a list of columns or a group, offered while it is typed. No widgets."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from foundations_tui.analysis.stories.jobs import by_importance
from foundations_tui.store import expressions, queries
from foundations_tui.store.expressions import QueryError
from foundations_tui.text.sanitize import one_line
from foundations_tui.ui.models import jobs_table
from foundations_tui.ui.models.jobs_table import JobsView

_MOST_JOBS = 2000
_KINDS = ("metric", "param", "arg", "tag")


@dataclass(frozen=True)
class Name:
    """Something that jobs have."""

    text: str
    """As it stands in an expression."""
    about: str
    """What it is, and how many of the jobs have it."""


@dataclass(frozen=True)
class Offer:
    """A name that may be meant."""

    line: str
    """What stands in the line once it is taken."""
    text: str
    about: str
    is_there: bool = False
    """Whether it stands there already: taken again, it goes."""


def names(conn: sqlite3.Connection, view: JobsView) -> list[Name]:
    """Return what the jobs of a view have, what most of them have first; then the fields of every job."""
    jobs = jobs_table.ids(conn, JobsView(query=view.query, archived=view.archived), _MOST_JOBS)
    counts = queries.filled(conn, jobs)
    order = by_importance([key for kind, key in counts if kind == "metric"], queries.directions(conn))
    places = {("metric", key): place for place, key in enumerate(order)}
    pairs = [pair for pair in counts if pair[0] != "arg" or ("param", pair[1]) not in counts]
    pairs.sort(key=lambda pair: (_KINDS.index(pair[0]), -counts[pair], places.get(pair, 0), pair[1]))
    bare = [key for _, key in pairs]
    found = []
    among = f"the newest {len(jobs):,}" if len(jobs) == _MOST_JOBS else f"{len(jobs):,}"
    for kind, key in pairs:
        is_unclear = bare.count(key) > 1 or key in expressions.FIELDS
        text = f"{kind}:{key}" if is_unclear else key
        if _means(text, kind, key):
            found.append(Name(text, f"{kind}  {counts[kind, key]:,} of {among}"))
    return [*found, *(Name(name, field.words) for name, field in expressions.FIELDS.items())]


def _means(text: str, kind: str, key: str) -> bool:
    """Return whether an expression is just this name: one with commas, colons or quotes in it may be another's."""
    try:
        (one,) = expressions.parse_columns(text)
    except (QueryError, ValueError):
        return False
    return one.name == key and not one.aggregate and one.kind in ("", kind) and one_line(text) == text


def offers(line: str, known: Sequence[Name], takes_many: bool) -> list[Offer]:
    """Return what may be meant by the last word of a line.

    Args:
        line: what was typed.
        known: what there is.
        takes_many: whether it is a list with commas: then names that stand there already can be taken away.
    """
    if not takes_many:
        return [Offer(name.text, name.text, name.about) for name in known if line.strip().lower() in name.text.lower()]
    *before, last = [part.strip() for part in line.split(",")]
    there = [*before, *([last] if any(name.text == last for name in known) else [])]
    word = "" if there[len(before) :] else last.lower()
    made = []
    for name in known:
        if word and word not in name.text.lower():
            continue
        is_there = name.text in there
        kept = [text for text in there if text and text != name.text]
        made.append(Offer(",".join([*kept, *([] if is_there else [name.text])]), name.text, name.about, is_there))
    return made
