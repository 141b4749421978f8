"""What threads and panes tell the app."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from textual.message import Message

if TYPE_CHECKING:
    from foundations_tui.hosts.asking import LockedKey, ServerPrompt, UnknownKey


class StoreChanged(Message):
    """The store has something new."""


class Answered(Message):
    """Something was read from the store; the call shows it."""

    def __init__(self, call: Callable[[], None]) -> None:
        super().__init__()
        self.call = call


class ActionEnded(Message):
    """Something that the user asked for is done, or failed."""

    def __init__(self, words: str, failed: bool = False) -> None:
        super().__init__()
        self.words = words
        self.failed = failed


class Asked(Message):
    """A connection asks something; it waits for the answer."""

    def __init__(self, about: UnknownKey | LockedKey | ServerPrompt, answer: Callable[[Any], None]) -> None:
        super().__init__()
        self.about = about
        self.answer = answer


class HostsChanged(Message):
    """There may be other hosts in hosts.toml."""


class JobSelected(Message):
    """The cursor is on another job."""

    def __init__(self, job: str | None) -> None:
        super().__init__()
        self.job = job


class JobsChosen(Message):
    """Other jobs are marked."""


class JobOpened(Message):
    """The user wants to see all that is known of a job."""

    def __init__(self, job: str) -> None:
        super().__init__()
        self.job = job
