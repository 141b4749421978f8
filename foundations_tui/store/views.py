"""Saved views: which jobs, in which order, with which columns, by name."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from dataclasses import dataclass

from foundations_tui.errors import NotFoundError, UsageError
from foundations_tui.store import expressions, queries

_PREFIX = "view:"


@dataclass(frozen=True)
class SavedView:
    """What ``foundations jobs`` and the table of the app show; empty for what is as usual."""

    where: str = ""
    sort: str = ""
    columns: str = ""
    group_by: str = ""

    @property
    def parts(self) -> dict[str, str]:
        """Return what is not as usual, by name."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value}


NAMES = tuple(f.name for f in dataclasses.fields(SavedView))


def saved(conn: sqlite3.Connection) -> dict[str, SavedView]:
    """Return the saved views, by name."""
    return {name: _read(text) for name, text in queries.metas(conn, _PREFIX).items()}


def view(conn: sqlite3.Connection, name: str) -> SavedView:
    """Return a saved view.

    Raises:
        NotFoundError: there is none of this name.
    """
    text = queries.meta(conn, _PREFIX + name)
    if text is None:
        saved = ", ".join(queries.metas(conn, _PREFIX)) or "none"
        raise NotFoundError(f"there is no view {name!r}", f"there are: {saved}")
    return _read(text)


def save(conn: sqlite3.Connection, name: str, shown: SavedView) -> None:
    """Save a view, in place of one of the same name.

    Raises:
        UsageError: the name is empty, or a part of the view cannot be understood.
    """
    from foundations_tui.store import writes

    if not name.strip():
        raise UsageError("a view needs a name")
    which = queries.JobFilter(query=shown.where)
    expressions.parse_query(shown.where)
    for column in expressions.parse_columns(shown.columns) if shown.columns else []:
        which.search(conn).meaning(column, shown.columns)
    writes.remember(_PREFIX + name, json.dumps(shown.parts))


def remove(conn: sqlite3.Connection, name: str) -> None:
    """Remove a saved view.

    Raises:
        NotFoundError: there is none of this name.
    """
    from foundations_tui.store import writes

    view(conn, name)
    writes.remember(_PREFIX + name, None)


def _read(text: str) -> SavedView:
    parts = json.loads(text)
    return SavedView(**{name: str(parts.get(name) or "") for name in NAMES})
