"""The artifacts of a job as rows of a table; read in the store's thread."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass

from foundations_tui.store import queries
from foundations_tui.store.rows import JobRow
from foundations_tui.sync import outputs
from foundations_tui.text import humanize
from foundations_tui.ui.models.table import Column, TableRow
from foundations_tui.ui.theme import LOOK

_WIDE = (
    *(Column("ARTIFACT", 0), Column("FILE", 0), Column("KIND", 10), Column("SIZE", 10, right=True)),
    *(Column("SAVED", 20, right=True), Column("HERE", 4)),
)
_NARROW = (Column("ARTIFACT", 0), Column("KIND", 10), Column("SIZE", 10, right=True), Column("HERE", 4))
_WIDE_FROM = 100


@dataclass(frozen=True)
class Artifact:
    """One artifact."""

    key: str
    file: str
    """What it was called where it was saved."""
    kind: str
    """"file", "directory" or "synced"."""
    size: int | None
    """Bytes; None where the job did not say."""
    saved_at: float | None
    """Seconds since the epoch, by the clock of its host."""
    is_here: bool


def read(conn: sqlite3.Connection, job: str) -> tuple[JobRow, list[Artifact]]:
    """Return a job and its artifacts, by their keys.

    Raises:
        NotFoundError: there is no such job.
    """
    row = queries.job(conn, job)
    saved = {key: when for kind, key, _, when in queries.said(conn, job) if kind == "artifact"}
    return row, [_artifact(row, key, facts, saved.get(key)) for key, facts in sorted(row.artifacts.items())]


def _artifact(row: JobRow, key: str, facts: object, saved_at: float | None) -> Artifact:
    """Return an artifact from what a job said of it, which may be anything."""
    told = facts if isinstance(facts, dict) else {}
    size = told.get("size")
    kind = str(told.get("kind") or "file")
    place = outputs.place_of_artifact(row, told)
    is_here = place is not None and os.path.exists(place)  # a name may be too long for a file
    return Artifact(
        key, str(told.get("name") or ""), kind, size if isinstance(size, int) and size >= 0 else None, saved_at, is_here
    )


def columns(room: int) -> tuple[Column, ...]:
    """Return the columns for which there is room."""
    return _WIDE if room >= _WIDE_FROM else _NARROW


def drawn(one: Artifact, room: int, now: float) -> TableRow:
    """Return an artifact as a row of those columns."""
    size = "" if one.size is None else humanize.size(one.size)
    here = ("yes" if LOOK.ascii else "✓") if one.is_here else ""
    cells, styles = [one.key, one.kind, size, here], ["bold", "dim", "", LOOK.style("completed")]
    if room >= _WIDE_FROM:
        when = "" if one.saved_at is None else humanize.clock(one.saved_at, now, seconds=True)
        cells = [one.key, one.file if one.file != one.key else "", one.kind, size, when, here]
        styles = ["bold", "dim", "dim", "", "dim", styles[-1]]
    return TableRow(one.key, cells, styles, (one.size, one.is_here))
