"""A short list of things to choose from, each with its key."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from foundations_tui.text.sanitize import one_line, width
from foundations_tui.ui.widgets.key_words import key_words

_KEYS = "123456789abcdefghilmnoprstuvwyz"
"""Keys of choices that have none of their own: all but those that leave or move."""


@dataclass(frozen=True)
class Choice:
    """One line of a menu."""

    key: str
    words: str
    answer: str
    """What the menu returns."""


def choices_of(names: Iterable[str]) -> list[Choice]:
    """Return a choice for each name, with the keys there are; beyond those the arrows choose."""
    keys = itertools.chain(_KEYS, itertools.repeat(" "))
    return [Choice(key, name, name) for key, name in zip(keys, names, strict=False)]


class Menu(ModalScreen[str]):
    """Shows choices; a key takes one, or the arrows and enter; escape takes none."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "leave", "back", id="menu.close"),
        Binding("down,j", "move(1)", "down", show=False, id="menu.down"),
        Binding("up,k", "move(-1)", "up", show=False, id="menu.up"),
        Binding("enter", "take", "take", show=False, id="menu.take"),
    ]

    def __init__(self, title: str, choices: Sequence[Choice]) -> None:
        super().__init__()
        self._title = title
        self._choices = choices
        self._place = 0

    def compose(self) -> ComposeResult:
        """Lay out the box."""
        with Vertical(id="box"):
            yield Static(id="menu-text", markup=False)

    def on_mount(self) -> None:
        """Draw."""
        title = one_line(self._title)
        self.query_one("#box").border_title = Content(title)
        self.query_one("#box").border_subtitle = key_words(self, ("menu.take", "selects"), ("menu.close", "back"))
        self.query_one("#menu-text").styles.min_width = width(title) + 4
        self._draw()

    def _draw(self) -> None:
        lines = []
        for number, choice in enumerate(self._choices):
            line = Content.assemble(Content.styled(f" {choice.key} ", "bold"), f" {one_line(choice.words)} ")
            lines.append(line.stylize("reverse") if number == self._place else line)
        self.query_one("#menu-text", Static).update(Content("\n").join(lines))

    def on_key(self, event: events.Key) -> None:
        """Take a choice by its key."""
        for choice in self._choices:
            if event.character == choice.key != " ":
                event.stop()
                self.dismiss(choice.answer)
                return

    def on_click(self, event: events.Click) -> None:
        """Take the choice that is clicked; outside of the box, none."""
        box = self.query_one("#menu-text").region
        place = event.screen_y - box.y
        if not box.contains(event.screen_x, event.screen_y):
            self.dismiss("")
        elif place < len(self._choices):
            self.dismiss(self._choices[place].answer)

    def action_move(self, step: int) -> None:
        """Move the bar."""
        if self._choices:
            self._place = (self._place + step) % len(self._choices)
            self._draw()

    def action_take(self) -> None:
        """Take the choice under the bar."""
        if self._choices:
            self.dismiss(self._choices[self._place].answer)

    def action_leave(self) -> None:
        """Take none."""
        self.dismiss("")
