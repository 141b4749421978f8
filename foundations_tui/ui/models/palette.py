"""What the palette offers: commands, pages, jobs, hosts, views, models, verbs, themes; and which of them are meant.

No widgets.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from foundations_tui.store import models, queries, views
from foundations_tui.text.sanitize import one_line
from foundations_tui.ui.models.table import Column, TableRow
from foundations_tui.ui.theme import LOOK

COMMAND, OWN, PAGE, JOB, HOST = "", "own", "page", "job", "host"
VIEW, MODEL, VERB, THEME = "view", "model", "verb", "theme"
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


def meant(entries: Iterable[Entry], stored: Stored, text: str) -> list[Entry]:
    """Return the entries that may be meant, the best first.

    Args:
        entries: what there is without the store.
        stored: what the store had for a text; its jobs count only while that is still what is typed.
        text: what was typed; each of its words has to be in an entry, letters of it may be left out.
    """
    words = text.lower().split()
    others = [*entries, *(one for one in stored.entries if one.kind != JOB)]
    jobs = [one for one in stored.entries if one.kind == JOB and stored.text == text]
    if not words:
        return sorted((one for one in others if one.kind != VERB), key=lambda one: _ORDER.index(one.kind))[:_MOST]
    found = [(0, _ORDER.index(JOB), place, one) for place, one in enumerate(jobs)]
    for one in others:
        shown = f"{one.kind} {one.words}".lower()
        if all(word in shown for word in words):
            found.append((0, _ORDER.index(one.kind), shown.index(words[0]), one))
        elif all(_has_letters(shown, word) for word in words):
            found.append((1, _ORDER.index(one.kind), 0, one))
    found.sort(key=lambda item: item[:3])
    return [item[3] for item in found[:_MOST]]


def _has_letters(text: str, word: str) -> bool:
    """Return whether the letters of a word stand in a text, in their order."""
    letters = iter(text)
    return all(letter in letters for letter in word)


KEYS_CELLS = 14
COLUMNS = (Column("KIND", 6), Column("NAME", 0), Column("KEYS", KEYS_CELLS, right=True))


def rows(entries: Sequence[Entry]) -> list[TableRow]:
    """Return a line for each entry."""
    return [
        TableRow(
            f"{one.kind}:{one.target}",
            [one.kind or "action", one_line(one.words), one.keys],
            ["dim", "", LOOK.style(one.state) if one.state else LOOK.style("running")],
        )
        for one in entries
    ]
