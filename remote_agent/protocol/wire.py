"""Messages as frozen dataclasses: what crosses a process is described once, as a class. Pure.

Each field has a check (see ``checks``). ``from_wire`` checks what came from outside and makes the message; ``to_wire``
is its inverse. Fields that a newer side has added are left out; a field with a default may be missing.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Dict, Mapping, Type, TypeVar

from remote_agent.protocol import checks
from remote_agent.protocol.checks import Check

__all__ = ["JsonTable", "Message", "CompactMessage", "SparseMessage", "TolerantMessage", "field", "message", "nested"]

if TYPE_CHECKING:
    from dataclasses import dataclass as message
else:

    def message(kind: type) -> type:
        """Make a class of messages a frozen dataclass; ``Message`` compares and shows it, so that imports cost less."""
        return dataclasses.dataclass(frozen=True, eq=False, repr=False)(kind)


M = TypeVar("M", bound="Message")
JsonTable = Dict[str, Any]
"""A JSON object: a message on its way."""

_NEEDED: Any = dataclasses.MISSING


def field(check: Check, default: Any = _NEEDED, name: str = "") -> Any:
    """Return a field of a message.

    Args:
        check: what its value on the wire must be.
        default: its value when it is missing; a list or a table is copied for each message.
        name: its name on the wire, where that is not the name of the attribute.
    """
    metadata = {"check": check, "name": name}
    if isinstance(default, (list, dict)):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


class Message:
    """Base of all messages; subclasses are made by ``message``, their fields by ``field``."""

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.__dict__ == self.__dict__

    def __hash__(self) -> int:
        return hash(tuple(self.__dict__.values()))

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name, _ in _layout(type(self)).names)
        return f"{type(self).__name__}({values})"

    @classmethod
    def from_wire(cls: Type[M], value: Any, where: str = "") -> M:
        """Return the message that a value from outside is.

        Args:
            value: decoded JSON.
            where: what the value is part of, for the words of an error.
        Raises:
            BadRequest: it makes no sense; the words name the field.
        """
        return cls(**_layout(cls).check(value, where))

    @classmethod
    def known(cls: Type[M], wire: JsonTable) -> M:
        """Return the message of a table that was checked when it came in, unchecked and therefore fast."""
        message = object.__new__(cls)
        message.__dict__.update(_layout(cls).known(wire))
        return message

    def to_wire(self) -> JsonTable:
        """Return the message as it is sent."""
        return {name: _plain(getattr(self, attribute)) for attribute, name in _layout(type(self)).names}


class TolerantMessage(Message):
    """A message of a host's in which a field that makes no sense costs only itself: it counts as missing."""

    @classmethod
    def from_wire(cls: Type[M], value: Any, where: str = "") -> M:
        checks.any_table(value, where)
        return cls(**_layout(cls).attributes(checks.mended(_layout(cls).fields, value, [])))


class CompactMessage(Message):
    """A message of which no field is written down that has its default."""

    def to_wire(self) -> JsonTable:
        return _compact(self)


class SparseMessage(TolerantMessage):
    """A tolerant message of which only what is known is written down: no field that has its default."""

    def to_wire(self) -> JsonTable:
        return _compact(self)


def _compact(message: Message) -> JsonTable:
    layout = _layout(type(message))
    told = [(attribute, name, getattr(message, attribute)) for attribute, name in layout.names]
    return {
        name: _plain(value)
        for attribute, name, value in told
        if attribute not in layout.defaults or value != layout.defaults[attribute]
    }


def nested(kind: Type[M]) -> Check:
    """Return the check of a message within a message; it makes the inner one."""

    def check(value: Any, where: str) -> Any:
        return kind.from_wire(value, where)

    return check


class _Layout:
    """How a class of messages looks on the wire."""

    def __init__(self, kind: Type[Message]) -> None:
        fields = dataclasses.fields(kind)  # type: ignore[arg-type]
        self.names = [(field.name, _name(field)) for field in fields]
        self.fields: Dict[str, Check] = {_name(field): field.metadata["check"] for field in fields}
        self._check = checks.record(self.fields, [_name(field) for field in fields if _is_needed(field)])
        self._attributes = {name: attribute for attribute, name in self.names}
        self._is_plain = all(attribute == name for attribute, name in self.names)
        self.defaults = {field.name: _default(field) for field in fields if not _is_needed(field)}

    def known(self, wire: JsonTable) -> Dict[str, Any]:
        """Return the values of a table by attribute, with the defaults of those that are missing."""
        if self._is_plain and self._attributes.keys() >= wire.keys():
            return {**self.defaults, **wire}  # as nearly always, and a journal has very many
        values = self.defaults.copy()
        for attribute, name in self.names:
            if name in wire:
                values[attribute] = wire[name]
        return values

    def check(self, value: Any, where: str) -> Dict[str, Any]:
        return self.attributes(self._check(value, where))

    def attributes(self, values: Mapping[str, Any]) -> Dict[str, Any]:
        """Return values by attribute, given by their names on the wire."""
        return {self._attributes[name]: value for name, value in values.items()}


def _name(field: "dataclasses.Field[Any]") -> str:
    return str(field.metadata["name"] or field.name)


def _is_needed(field: "dataclasses.Field[Any]") -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _default(field: "dataclasses.Field[Any]") -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


_LAYOUTS: Dict[type, _Layout] = {}


def _layout(kind: Type[Message]) -> _Layout:
    if kind not in _LAYOUTS:
        _LAYOUTS[kind] = _Layout(kind)
    return _LAYOUTS[kind]


def _plain(value: Any) -> Any:
    """Return a value with the messages in it as tables."""
    if isinstance(value, Message):
        return value.to_wire()
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], Message):
        return [part.to_wire() for part in value]
    return value
