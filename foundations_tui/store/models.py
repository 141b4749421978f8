"""Models as hosts tell of them: events as they came, and the registry that they make."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from foundations_tui.errors import FoundationsError, NotFoundError, UsageError
from foundations_tui.store import history, services
from foundations_tui.store.db import Store
from foundations_tui.store.services import ServiceRow
from remote_agent.protocol import models
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.models import Model, Registered, RegistryEvent

_EVENTS_A_PAGE = 20


@dataclass(frozen=True)
class ModelRow:
    """A model, as its home host tells of it."""

    host: str
    """Its home."""
    model: Model
    heard_at: float | None
    """When that host was last heard, seconds since the epoch."""
    unreachable_since: float | None

    @property
    def name(self) -> str:
        """Return its name."""
        return self.model.name

    def version(self, which: str) -> Registered:
        """Return the version that an alias or a number means.

        Raises:
            NotFoundError: there is none.
        """
        number = int(which) if models.is_number(which) else self.model.aliases.get(which, 0)
        if number in self.model.versions:
            return self.model.versions[number]
        there = ", ".join(map(str, sorted(self.model.versions)[-10:])) or "none"
        aliases = ", ".join(f"{alias} ({number})" for alias, number in sorted(self.model.aliases.items())) or "none"
        raise NotFoundError(
            f"model {self.name} has no {which!r}; versions: {there}; aliases: {aliases}",
            f"foundations model promote {self.name} N --as {which}" if models.ALIAS.match(which) else "",
        )

    def aliases_of(self, number: int) -> list[str]:
        """Return the aliases that mean a version."""
        return sorted(alias for alias, meant in self.model.aliases.items() if meant == number)


@dataclass(frozen=True)
class Meant:
    """A version that somebody means."""

    row: ModelRow
    version: Registered
    alias: str
    """The alias by which it was meant; "" for its number."""

    @property
    def words(self) -> str:
        """Return what it is called."""
        return models.words_of(self.row.name, self.version.number)


@dataclass(frozen=True)
class VersionRow:
    """A version, with the services that run it."""

    row: ModelRow
    version: Registered
    served_by: tuple[ServiceRow, ...]

    @property
    def key(self) -> str:
        """Return what it is known by."""
        return f"{self.row.name}@{self.version.number}@{self.row.host}"


def versions(conn: sqlite3.Connection, moment: float | None = None) -> list[VersionRow]:
    """Return all versions: by model, the newest first.

    Args:
        conn: reads the store.
        moment: as they were then, seconds since the epoch by this machine's clock; None for now.
    """
    running = services.services(conn) if moment is None else services.services_then(conn, moment)
    return [
        VersionRow(row, version, services.serving(running, row.name, version.number))
        for row in models_of(conn, moment=moment)
        for _, version in sorted(row.model.versions.items(), reverse=True)
    ]


def cursor(conn: sqlite3.Connection, host: str) -> tuple[str, int]:
    """Return the journal of a host and the sequence number up to which its models are known here."""
    row = conn.execute("SELECT journal, seq FROM registry_cursors WHERE host = ?", [host]).fetchone()
    return (str(row[0]), int(row[1])) if row else ("", 0)


def put_events(
    store: Store, host: str, base: tuple[str, int], journal: str, seq: int, told: Sequence[tuple[int, RegistryEvent]]
) -> bool:
    """Take in a page of what happened to the models of a host, with its cursor.

    Args:
        store: open for writing.
        host: its name.
        base: the cursor that the page was asked for with.
        journal: id of the journal that it is of.
        seq: the sequence number that is reached with it.
        told: the events, each with its own.
    Returns:
        Whether it was taken; not where another process was faster.
    """
    with store.transaction() as conn:
        if cursor(conn, host) != base:
            return False
        for number, event in told:
            row = [host, journal, number, json.dumps(event.to_wire())]
            conn.execute("INSERT OR REPLACE INTO registry VALUES (?, ?, ?, ?)", row)
        conn.execute("INSERT OR REPLACE INTO registry_cursors VALUES (?, ?, ?)", [host, journal, seq])
        return True


def orphans(conn: sqlite3.Connection, host: str, journal: str) -> list[RegistryEvent]:
    """Return what only earlier journals of a host knew of models whose home it was: it is given back to it.

    A model that has another home by now is not.
    """
    told = _events(conn, host, journal, is_other=True)
    if not told:
        return []
    elsewhere = {row.name for row in models_of(conn) if row.host != host}
    gone = {name for name, model in models.fold(told).items() if model.moved_to} | elsewhere
    return [event for event in told if event.model not in gone]


def drop_orphans(store: Store, host: str, journal: str) -> None:
    """Forget what earlier journals of a host knew: it has taken it in, or does not want it."""
    with store.transaction() as conn:
        conn.execute("DELETE FROM registry WHERE host = ? AND journal != ?", [host, journal])


def events_of(conn: sqlite3.Connection, name: str) -> list[RegistryEvent]:
    """Return all that is known of a model, from whatever host: its versions first, then what happened to them."""
    told = [event for host in _hosts(conn) for event in _events(conn, host, "") if event.model == name]
    distinct = list({event.identity: event for event in told}.values())
    return sorted(distinct, key=lambda event: (event.kind != models.REGISTERED, event.at))


def pages(events: Sequence[RegistryEvent]) -> Iterator[list[RegistryEvent]]:
    """Yield events as many at a time as one message takes: each may be 40 kB."""
    for start in range(0, len(events), _EVENTS_A_PAGE):
        yield list(events[start : start + _EVENTS_A_PAGE])


def models_of(conn: sqlite3.Connection, host: str = "", moment: float | None = None) -> list[ModelRow]:
    """Return the models whose home is a host, or any, by name.

    Args:
        conn: reads the store.
        host: the home; "" for any.
        moment: as they were then, seconds since the epoch by this machine's clock; None for now.
    """
    ahead = history.offsets(conn) if moment is not None else {}
    found: list[ModelRow] = []
    for name in [host] if host else _hosts(conn):
        contact = conn.execute("SELECT last_contact, unreachable_since FROM hosts WHERE name = ?", [name]).fetchone()
        heard, since = (contact[0], contact[1]) if contact else (None, None)
        told = _events(conn, name, cursor(conn, name)[0])
        if moment is not None:
            told = [event for event in told if event.at <= moment + ahead.get(name, 0.0)]
        for model in models.fold(told).values():
            if not model.moved_to and model.versions:
                found.append(ModelRow(name, model, heard, since))
    latest: dict[str, float] = {}
    for row in found:
        latest[row.name] = max(latest.get(row.name, 0.0), row.model.home_since)
    kept = [row for row in found if row.model.home_since == latest[row.name]]  # of two homes, the later one
    return sorted(kept, key=lambda row: (row.name, row.host))


def model(conn: sqlite3.Connection, name: str) -> ModelRow:
    """Return a model by its name.

    Raises:
        NotFoundError: there is none. UsageError: two hosts say that they are its home.
    """
    rows = [row for row in models_of(conn) if row.name == name]
    if not rows:
        raise NotFoundError(f"there is no model {name!r}", "foundations model list shows what there is")
    if len(rows) > 1:
        homes = ", ".join(row.host for row in rows)
        raise UsageError(
            f"model {name} has two homes: {homes}", f"foundations model home {name} {rows[0].host} makes one of them"
        )
    return rows[0]


def meant(conn: sqlite3.Connection, reference: str) -> Meant:
    """Return the version that NAME, NAME@ALIAS or NAME@7 means; without more it is the champion.

    Raises:
        NotFoundError: there is none. FoundationsError: it was retired. UsageError: two hosts say that they are the
            model's home.
    """
    name, which = models.parse(reference)
    row = model(conn, name)
    found = row.version(which)
    if found.is_retired:
        raise FoundationsError(
            f"version {found.number} of {name} was retired by {found.retired_by or 'somebody'}",
            f"foundations model retire {name} {found.number} --undo",
        )
    return Meant(row, found, "" if models.is_number(which) else which)


def versions_of_job(conn: sqlite3.Connection, job: str) -> list[Meant]:
    """Return the versions that a job has made."""
    return [
        Meant(row, version, "")
        for row in models_of(conn)
        for version in row.model.versions.values()
        if version.version.job == job
    ]


def registered_jobs(conn: sqlite3.Connection) -> dict[str, str]:
    """Return which jobs versions consist of that count, and what those are called, in words."""
    found: dict[str, list[str]] = {}
    for row in models_of(conn):
        for version in row.model.versions.values():
            if not version.is_retired:
                found.setdefault(version.version.job, []).append(models.words_of(row.name, version.number))
    return {job: ", ".join(words) for job, words in found.items()}


def _hosts(conn: sqlite3.Connection) -> list[str]:
    return [str(row[0]) for row in conn.execute("SELECT DISTINCT host FROM registry ORDER BY host")]


def _events(conn: sqlite3.Connection, host: str, journal: str, is_other: bool = False) -> list[RegistryEvent]:
    """Return the events of a journal of a host, or of all others; of all, where none is named."""
    if not journal:
        which, args = "1", [host]
    else:
        which, args = ("journal != ?" if is_other else "journal = ?"), [host, journal]
    query = f"SELECT event FROM registry WHERE host = ? AND {which} ORDER BY journal, seq"
    told = []
    for row in conn.execute(query, args):
        try:
            told.append(RegistryEvent.from_wire(json.loads(row[0]), "an event"))
        except (ValueError, BadRequest):
            continue
    return told
