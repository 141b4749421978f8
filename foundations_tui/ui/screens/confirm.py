"""A question before something that cannot be undone."""

from __future__ import annotations

import time
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from foundations_tui.text.sanitize import one_line, several_lines
from foundations_tui.ui.widgets.key_words import KeyWords

UNCALLED_SECONDS = 1.0


class Confirm(ModalScreen[bool]):
    """Asks; only y is yes: enter, which opens things elsewhere, is not.

    A question that the user did not call for takes no answer at first: a key may have been meant for something else.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "yes", id="confirm.yes"),
        Binding("n,escape,q", "answer(False)", "no", id="confirm.no"),
    ]

    def __init__(self, question: str, detail: str = "", uncalled: bool = False) -> None:
        super().__init__()
        self._from = time.monotonic() + (UNCALLED_SECONDS if uncalled else 0.0)
        self.about_now = ""
        """Said where what is shown is not what there is now."""
        self._question = question
        self._detail = detail

    def compose(self) -> ComposeResult:
        """Lay out the box."""
        with Vertical(id="box"):
            yield Static(one_line(self._question), id="question", markup=False)
            if self._detail:
                yield Static(several_lines(self._detail), id="detail", markup=False)
            if self.about_now:
                yield Static(self.about_now, id="about-now", markup=False)
            yield KeyWords(("confirm.yes", "yes"), ("confirm.no", "no"), gap="    ", id="answers")

    def action_answer(self, answer: bool) -> None:
        """Close with the answer."""
        if time.monotonic() >= self._from:
            self.dismiss(answer)
