"""The registry of a host: what clients ask of the models whose home it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Iterable, List, Optional, Tuple

from remote_agent.core import events
from remote_agent.core.state import HostState
from remote_agent.daemon.ledger import Ledger
from remote_agent.protocol import checks, messages, models
from remote_agent.protocol.errors import BadRequest, Conflict, NotFound
from remote_agent.protocol.messages import RegistryChange
from remote_agent.protocol.models import Model, RegistryEvent, Version

_TICK = 1e-6
"""Two moves of one alias are at least so far apart, seconds: the later one stands."""


class Models:
    """What may be asked of models; every answer is an event of the journal."""

    def __init__(self, ledger: Ledger) -> None:
        """Make it.

        Args:
            ledger: takes what is decided.
        """
        self._ledger = ledger

    @property
    def _state(self) -> HostState:
        return self._ledger.state

    @property
    def seq(self) -> int:
        """Return the sequence number of the last thing that happened to a model; 0 for nothing."""
        return self._state.registry[-1][0] if self._state.registry else 0

    def page(self, after: int, room: int) -> Tuple[List[Tuple[int, RegistryEvent]], int, bool]:
        """Return what happened behind a sequence number up to some bytes, the number reached, and whether more did."""
        page: List[Tuple[int, RegistryEvent]] = []
        for seq, event in self._state.registry:
            if seq <= after:
                continue
            room -= checks.json_size(event.to_wire()) + 20
            if room < 0 and page:
                return page, page[-1][0], True
            page.append((seq, event))
        return page, max(after, self.seq), False

    def register(self, name: str, version: Version, by: str) -> RegistryChange:
        """Register a version; the same one again is the one that it was.

        Raises:
            BadRequest: it is too large. Conflict: this is not the model's home any more, or it has too many.
        """
        if self._is_too_large(version):
            size = checks.json_size(version.to_wire())
            raise BadRequest(f"the version has {size:,} bytes; at most {models.MOST_VERSION_BYTES:,} are kept")
        model = self._state.models.get(name)
        if model is not None:
            self._refuse_elsewhere(model)
            known = model.by_identity(version.identity)
            if known is not None and known.is_retired:
                return self.retire(name, known.number, by, undo=True)
            if known is not None:
                told = RegistryEvent(models.REGISTERED, name, known.number, known.version, by=known.by, at=known.at)
                return RegistryChange(told, changed=False)
            if len(model.versions) >= models.MOST_VERSIONS:
                raise Conflict(f"model {name} has {models.MOST_VERSIONS:,} versions already")
        elif len(self._state.models) >= models.MOST_MODELS:
            raise Conflict(f"this host has {models.MOST_MODELS:,} models already")
        number = 1 + max(model.versions, default=0) if model is not None else 1
        return self._record(RegistryEvent(models.REGISTERED, name, number, version, by=by, at=self._ledger.clock()))

    def set_alias(self, request: messages.SetAlias) -> RegistryChange:
        """Have an alias mean another version, if it still means what the caller believes.

        Raises:
            NotFound: there is no such version. Conflict: somebody was faster; or this is not the model's home.
        """
        model = self._model(request.model)
        number = request.number
        now = model.aliases.get(request.alias, 0)
        of = self._usable(model, number).version.identity if number else ""
        last = max(
            (move for move in model.history if move.alias == request.alias), key=lambda move: move.at, default=None
        )
        if now == number and request.expected in (now, last.before if last else 0):
            at = last.at if last else 0.0
            told = RegistryEvent(models.ALIASED, model.name, number, of=of, alias=request.alias, by=request.by, at=at)
            return RegistryChange(told, changed=False)
        if now != request.expected:
            who = f", by {last.by}" if last and last.by else ""
            means = f"version {now}" if now else "no version"
            raise Conflict(f"{request.alias} of {model.name} means {means} now{who}: somebody else has changed it")
        at = max(self._ledger.clock(), last.at + _TICK if last else 0.0)
        return self._record(
            RegistryEvent(models.ALIASED, model.name, number, of=of, alias=request.alias, by=request.by, at=at)
        )

    def retire(self, name: str, number: int, by: str, undo: bool) -> RegistryChange:
        """Have a version not be used any more, or be used again.

        Raises:
            NotFound: there is no such version. Conflict: an alias means it; or this is not the model's home.
        """
        model = self._model(name)
        version = self._version(model, number)
        meant = sorted(alias for alias, meant in model.aliases.items() if meant == number)
        if meant and not undo:
            raise Conflict(
                f"{', '.join(meant)} of {name} means version {number}:"
                f" promote another one first (foundations model promote {name} N --as {meant[0]})"
            )
        kind = models.RESTORED if undo else models.RETIRED
        at = max(self._ledger.clock(), version.retired_at)
        event = RegistryEvent(kind, name, number, of=version.version.identity, by=by, at=at)
        if version.is_retired != undo:
            return RegistryChange(event, changed=False)
        return self._record(event)

    def move(self, name: str, to: str, by: str) -> RegistryChange:
        """Have another host be a model's home, or this one.

        Raises:
            NotFound: there is no such model.
        """
        model = self._state.models.get(name)
        if model is None:
            raise NotFound(f"there is no model {name} on this host")
        event = RegistryEvent(models.MOVED, name, to=to, by=by, at=self._ledger.clock())
        if to and model.moved_to == to:
            return RegistryChange(event, changed=False)
        return self._record(event)  # also that it stays here: the latest of two homes counts

    def adopt(self, told: Iterable[RegistryEvent]) -> messages.AdoptRegistryAnswer:
        """Take in what clients hold of models; what is known here already changes nothing.

        A version whose number another one has here gets the next one.
        """
        adopted = refused = 0
        for event in told:
            if event.identity in self._state.registry_known or self._is_there(event):
                continue
            fitted = self._fitted(event)
            if fitted is None:
                refused += 1
                continue
            self._record(fitted)
            adopted += 1
        return messages.AdoptRegistryAnswer(adopted, refused)

    def _is_there(self, event: RegistryEvent) -> bool:
        """Return whether an event tells nothing new, or what only its own home is concerned with."""
        model = self._state.models.get(event.model)
        if event.kind == models.REGISTERED and event.version is not None and model is not None:
            return model.by_identity(event.version.identity) is not None
        return event.kind == models.MOVED

    def _fitted(self, event: RegistryEvent) -> Optional[RegistryEvent]:
        """Return an event of another home as it can happen here; None where it cannot."""
        model = self._state.models.get(event.model)
        if event.kind == models.REGISTERED:
            if event.version is None or not event.number or self._is_too_large(event.version):
                return None
            if model is None:
                return event if len(self._state.models) < models.MOST_MODELS else None
            if len(model.versions) >= models.MOST_VERSIONS:
                return None
            return replace(event, number=1 + max(model.versions)) if event.number in model.versions else event
        if model is None or (event.kind == models.ALIASED and not event.alias):
            return None
        if event.kind == models.ALIASED and not event.number:
            return event
        meant = model.by_identity(event.of)
        if meant is None or (event.kind == models.RETIRED and meant.number in model.aliases.values()):
            return None
        return replace(event, number=meant.number)

    @staticmethod
    def _is_too_large(version: Version) -> bool:
        return checks.json_size(version.to_wire()) > models.MOST_VERSION_BYTES

    def _record(self, event: RegistryEvent) -> RegistryChange:
        self._ledger.record(events.RegistryChanged(event))
        return RegistryChange(event)

    def _model(self, name: str) -> Model:
        model = self._state.models.get(name)
        if model is None:
            raise NotFound(f"there is no model {name} on this host")
        self._refuse_elsewhere(model)
        return model

    def _version(self, model: Model, number: int) -> models.Registered:
        version = model.versions.get(number)
        if version is None:
            there = ", ".join(map(str, sorted(model.versions)[-20:])) or "none"
            raise NotFound(f"model {model.name} has no version {number}; there are: {there}")
        return version

    def _usable(self, model: Model, number: int) -> models.Registered:
        version = self._version(model, number)
        if version.is_retired:
            raise Conflict(
                f"version {number} of {model.name} was retired by {version.retired_by or 'somebody'}"
                f" (foundations model retire {model.name} {number} --undo)"
            )
        return version

    def _refuse_elsewhere(self, model: Model) -> None:
        if model.moved_to:
            raise Conflict(f"the home of model {model.name} is {model.moved_to} now: sync, and ask there")
