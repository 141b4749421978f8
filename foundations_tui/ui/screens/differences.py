"""Two logs, or the code of jobs, side by side, line by line; what differs stands out."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message

from foundations_tui.analysis import code_pairs, log_diff
from foundations_tui.analysis.code_pairs import CodePair
from foundations_tui.analysis.log_diff import Pair
from foundations_tui.errors import FoundationsError, as_ours
from foundations_tui.text import humanize
from foundations_tui.text.sanitize import one_line
from foundations_tui.ui.models import code_colors
from foundations_tui.ui.screens.modal import ModalWindow
from foundations_tui.ui.widgets.key_words import key_words
from foundations_tui.ui.widgets.pairs_view import Draw, PairLike, PairsView


class _Difference(ModalWindow):
    """Compares in a thread and shows the pairs of lines."""

    _CLOSE: ClassVar[str]
    """The binding that closes it."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self._title = title

    def compose(self) -> ComposeResult:
        """Lay out the box."""
        with Vertical(id="box"):
            yield PairsView(self._drawn)

    def on_mount(self) -> None:
        """Begin to compare."""
        self.query_one("#box").border_title = Content(one_line(self._title))
        self.query_one(PairsView).focus()
        self._begin()

    def _begin(self) -> None:
        threading.Thread(target=self._run, daemon=True).start()

    @abstractmethod
    def _run(self) -> None:
        """Compare, and send the window what came of it."""

    @abstractmethod
    def _drawn(self, pair: PairLike, is_left: bool) -> Text:
        """Return how a line of a pair looks."""

    def _show(self, pairs: Sequence[PairLike], words: str) -> PairsView:
        """Show pairs from the first that differs on, or words where there are none."""
        view = self.query_one(PairsView)
        view.show(pairs, words)
        self.call_after_refresh(view.show_first)
        return view

    def _say(self, words: str, *keys: tuple[str, str]) -> None:
        shown = ("difference.next", "next"), *keys, (self._CLOSE, "back")
        self.query_one("#box").border_subtitle = key_words(self, *shown, before=words)


class LogDifference(_Difference):
    """Compares two logs and shows them; any way back closes it."""

    _CLOSE = "difference.close"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "close", "back", id="difference.close"),
        Binding("number_sign", "numbers", "numbers count", key_display="#", id="difference.numbers"),
    ]

    class _Compared(Message):
        """From the thread that compares."""

        def __init__(self, pairs: Sequence[Pair], problem: str, numbers: bool) -> None:
            super().__init__()
            self.pairs = pairs
            self.problem = problem
            self.numbers = numbers

    def __init__(self, left: Path, other: Path, title: str) -> None:
        super().__init__(title)
        self._logs = (left, other)
        self._numbers = False

    def _drawn(self, pair: PairLike, is_left: bool) -> Text:
        line = pair.left if is_left else pair.right
        return Text(one_line((line or b"").decode("utf-8", "replace").expandtabs(8)))

    def _run(self) -> None:
        numbers = self._numbers
        try:
            self.post_message(self._Compared(log_diff.pairs(*self._logs, numbers), "", numbers))
        except (FoundationsError, OSError) as error:
            self.post_message(self._Compared((), str(as_ours(error)), numbers))

    def on_log_difference__compared(self, event: _Compared) -> None:
        """Show what came of it."""
        if event.numbers != self._numbers:
            return
        view = self._show(event.pairs, event.problem or "both are empty")
        numbers = "numbers count" if self._numbers else "numbers do not count"
        many = humanize.plural(view.differences, "difference")
        if any(map(log_diff.is_cut, self._logs)):
            many += f" in the first {humanize.size(log_diff.MOST_BYTES)}"
        self._say(f"{many}, {numbers}", ("difference.numbers", "numbers"))

    def action_numbers(self) -> None:
        """Let lines differ in which only numbers differ, or not."""
        self._numbers = not self._numbers
        self._begin()


class CodeDifference(_Difference):
    """Shows how the code of jobs differs; any way back closes it."""

    _CLOSE = "code.close"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "close", "back", id="code.close")]

    class _Compared(Message):
        """From the thread that brings the code here and compares it."""

        def __init__(self, pairs: Sequence[CodePair], draw: Draw | None, problem: str) -> None:
            super().__init__()
            self.pairs = pairs
            self.draw = draw
            self.problem = problem

    def __init__(self, compare: Callable[[], str], title: str) -> None:
        """Make it.

        Args:
            compare: returns the difference as ``git diff`` prints it; called in a thread.
            title: of the window.
        """
        super().__init__(title)
        self._compare = compare
        self._draw: Draw | None = None

    def _drawn(self, pair: PairLike, is_left: bool) -> Text:
        return self._draw(pair, is_left) if self._draw is not None else Text()

    def _run(self) -> None:
        try:
            pairs = code_pairs.pairs(self._compare())
            self.post_message(self._Compared(pairs, code_colors.drawer(pairs), ""))  # type: ignore[arg-type]
        except Exception as error:
            self.post_message(self._Compared((), None, str(as_ours(error))))

    def on_code_difference__compared(self, event: _Compared) -> None:
        """Show what came of it."""
        self._draw = event.draw
        self._show(event.pairs, one_line(event.problem) or "the code is the same")
        files = len({pair.file for pair in event.pairs if pair.file})
        gone = sum(pair.differs and pair.left is not None for pair in event.pairs)
        come = sum(pair.differs and pair.right is not None for pair in event.pairs)
        words = f"{humanize.plural(files, 'file')}  +{come:,} -{gone:,}" if event.pairs else ""
        self._say(words)
