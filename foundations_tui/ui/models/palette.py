"""What the palette offers: commands, pages, jobs, hosts, views, models, verbs, themes; and which of them are meant.

No widgets.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from textual.fuzzy import Matcher

from foundations_tui.store import models, queries, views
from foundations_tui.text.sanitize import one_line
from foundations_tui.ui.models.table import Column, TableRow
from foundations_tui.ui.theme import LOOK

COMMAND, PAGE, JOB, HOST, VIEW, MODEL, VERB, THEME, OWN = (
    *("", "page", "job", "host", "view", "model"),
    *("verb", "theme", "own"),
)
"""Kinds of what is offered."""
_ORDER = (COMMAND, OWN, PAGE, JOB, HOST, VIEW, MODEL, VERB, THEME)
_MOST_JOBS, _MOST = 30, 200


@dataclass(frozen=True)
class Entry:
    """One thing that the palette offers."""

    kind: str
    words: str
    target: str
    """What it is known by: the name of a command, the id of a job."""
    keys: str = ""
    """Those that do the same; or how a job is."""
    state: str = ""
    """Of a job."""


@dataclass(frozen=True)
class Stored:
    """What the store offers for some words."""

    text: str
    """The words."""
    entries: Sequence[Entry]


def read(conn: sqlite3.Connection, text: str) -> Stored:
    """Return what the store has for the words that were typed: hosts, views, models, and the newest jobs like that."""
    called = queries.jobs_called(conn, text, _MOST_JOBS) if text.strip() else []
    jobs = [
        Entry(JOB, f"{row.job[:6]} {row.label}", row.job, f"{LOOK.glyph(row.shown_state)} {row.state}", row.state)
        for row in called
    ]
    named = [Entry(VIEW, name, name) for name in views.saved(conn)]
    of_models = sorted({row.row.name for row in models.versions(conn)})
    return Stored(text, [*jobs, *named, *(Entry(MODEL, name, name) for name in of_models)])


def meant(entries: Iterable[Entry], text: str) -> list[Entry]:
    """Return the entries that may be meant, the best first.

    Args:
        entries: all of them.
        text: what was typed; each of its words has to be in an entry, letters of it may be left out.
    """
    words = text.split()
    if not words:
        return sorted((one for one in entries if one.kind != VERB), key=lambda one: _ORDER.index(one.kind))[:_MOST]
    matchers = [Matcher(word) for word in words]
    scored = []
    for one in entries:
        shown = f"{one.kind} {one.words}"
        scores = [matcher.match(shown) for matcher in matchers]
        if all(scores):
            is_whole = all(word.lower() in shown.lower() for word in words)
            scored.append((not is_whole, _ORDER.index(one.kind), -sum(scores), one))
    scored.sort(key=lambda item: item[:3])
    return [item[3] for item in scored[:_MOST]]


KEYS_CELLS = 14
COLUMNS = (Column("KIND", 6), Column("NAME", 0), Column("KEYS", KEYS_CELLS, right=True))


def rows(entries: Sequence[Entry]) -> list[TableRow]:
    """Return a line for each entry."""
    return [
        TableRow(
            f"{one.kind}:{one.target}",
            [one.kind, one_line(one.words), one.keys],
            ["dim", "", LOOK.style(one.state) if one.state else LOOK.style("running")],
        )
        for one in entries
    ]
