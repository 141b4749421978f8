"""One line at the bottom of the screen in which something is typed: a filter, a search, a command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.suggester import Suggester
from textual.widget import Widget
from textual.widgets import Input, Static

from foundations_tui.text.sanitize import one_line, width
from foundations_tui.ui.theme import LOOK

if TYPE_CHECKING:
    from foundations_tui.ui.models.offers import Offer

Suggest = Callable[[str], Sequence[str]]


@dataclass(frozen=True)
class Question:
    """What is asked for."""

    label: str
    value: str = ""
    """What stands there to begin with."""
    submit: Callable[[str], None] = lambda text: None
    """Called with what was typed, at enter."""
    change: Callable[[str], None] | None = None
    """Called with what has been typed so far, at each key."""
    cancel: Callable[[], None] = lambda: None
    """Called when the user leaves it with escape."""
    suggest: Suggest | None = None
    """Whole lines that begin with what was typed; tab or the right arrow takes the first."""
    offer: Callable[[str], Sequence[Offer]] | None = None
    """What may be meant, listed above the line; the arrows choose there, and tab takes."""
    hint: str = ""
    is_of_view: bool = False
    """Whether it is a part of what the table of jobs shows: then the table's error is that of what is typed."""


_MOST_OFFERED = 8
"""Lines of the list above the line."""


class Prompt(Vertical):
    """The line. It is hidden while nothing is asked."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "cancel", id="prompt.cancel"),
        Binding("tab", "complete", "complete", show=False, priority=True, id="prompt.complete"),
        Binding("up", "go(-1)", "earlier", show=False, id="prompt.earlier"),
        Binding("down", "go(1)", "later", show=False, id="prompt.later"),
    ]

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._question = Question("")
        self._history: dict[str, list[str]] = {}
        self._place = 0
        self._offered: Sequence[Offer] = ()
        self._chosen = 0
        """Which of them tab takes."""
        self._is_wrong, self._said = False, ""
        """Whether what stands there is known to be."""
        self._back: Widget | None = None
        """What had the keys before."""

    def compose(self) -> ComposeResult:
        """Lay out the line."""
        yield Static(id="prompt-offers", markup=False)
        with Horizontal(id="prompt-line"):
            yield Static(id="prompt-label", markup=False)
            yield Input(id="prompt-input", select_on_focus=False, suggester=_Suggester(self))
            yield Static(id="prompt-hint", markup=False)

    @property
    def input(self) -> Input:
        """Where it is typed."""
        return self.query_one(Input)

    @property
    def is_asking(self) -> bool:
        """Whether something is asked."""
        return self.has_class("-asking")

    @property
    def is_of_view(self) -> bool:
        """Whether a part of what the table of jobs shows is asked for."""
        return self.is_asking and self._question.is_of_view

    def ask(self, question: Question) -> None:
        """Ask something; the keys go there until it is answered or left."""
        self._question = question
        if not self.is_asking:
            self._back = self.screen.focused
        self._place = len(self._earlier)
        self.query_one("#prompt-label", Static).update(Content(one_line(question.label)))
        self.say(question.hint)
        self.add_class("-asking")
        with self.prevent(Input.Changed):
            self.input.value = one_line(question.value)
        self.input.cursor_position = len(self.input.value)
        self.input.focus()
        self.offer()

    def offer(self) -> None:
        """List what may be meant by what stands there."""
        asked = self._question.offer
        offered = asked(self.input.value) if asked is not None and self.is_asking else ()
        if [one.text for one in offered] != [one.text for one in self._offered]:
            self._chosen = 0
        self._offered = offered
        first = max(0, min(self._chosen - _MOST_OFFERED // 2, len(offered) - _MOST_OFFERED))
        shown = offered[first : first + _MOST_OFFERED]
        wide = max((width(one_line(one.text)) for one in shown), default=0)
        lines = []
        for number, one in enumerate(shown, first):
            mark = ("x" if LOOK.ascii else "✓") if one.is_there else " "
            text = one_line(one.text)
            line = Content.assemble(f" {mark} {text}{' ' * (wide - width(text))}  ", (one_line(one.about), "dim"))
            lines.append(line.stylize("reverse") if number == self._chosen else line)
        if lines:
            takes = (
                "tab adds or removes" if any("," in one.line for one in offered) or offered[0].is_there else "tab takes"
            )
            more = f"   {len(offered)} in all" if len(offered) > len(shown) else ""
            lines.append(Content.styled(f"   up down choose   {takes}   enter keeps   esc cancels{more}", "dim"))
        box = self.query_one("#prompt-offers", Static)
        box.display = bool(lines)
        box.update(Content("\n").join(lines))

    def say(self, words: str, is_error: bool = False) -> None:
        """Say something behind what is typed."""
        self._is_wrong, self._said = is_error, one_line(words)
        hint = self.query_one("#prompt-hint", Static)
        hint.set_class(is_error, "-error")
        hint.update(Content(self._said))
        self._make_room()

    def _make_room(self) -> None:
        """Hide an example while something is typed; a message stays."""
        hint = self.query_one("#prompt-hint", Static)
        label = self.query_one("#prompt-label", Static).region.width
        needed = label + width(self.input.value) + width(self._said) + 4
        hint.set_class(self._said == self._question.hint and needed > self.size.width, "-hidden")

    def suggestion(self, text: str) -> str | None:
        """Return the first whole line that begins with a text."""
        if self._offered:
            return None
        if self._question.suggest is None or not text:
            return None
        return next((line for line in self._question.suggest(text) if line.startswith(text) and line != text), None)

    @property
    def _earlier(self) -> list[str]:
        return self._history.setdefault(self._question.label, [])

    def _close(self) -> None:
        self.remove_class("-asking")
        self.say("")
        self.offer()
        if self._back is not None and self._back.is_attached:
            self._back.focus()

    def on_resize(self) -> None:
        """Show the example where there is room for it."""
        self._make_room()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Pass on what has been typed so far."""
        event.stop()
        if event.value != one_line(event.value):  # pasted
            self.input.value = one_line(event.value)
            return
        self._is_wrong = False
        self._make_room()
        if self._question.change is not None and self.is_asking:
            self._question.change(event.value)
        self.offer()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Close, and pass on what was typed; what is known to be wrong is left to be mended."""
        event.stop()
        if self._is_wrong:
            return
        if event.value and self._earlier[-1:] != [event.value]:
            self._earlier.append(event.value)
        question = self._question
        self._close()
        question.submit(event.value)

    def action_cancel(self) -> None:
        """Close without an answer."""
        question = self._question
        self._close()
        question.cancel()

    def action_complete(self) -> None:
        """Take the suggestion, or what is chosen in the list."""
        line = self._offered[self._chosen].line if self._offered else self.suggestion(self.input.value)
        if line is not None:
            self.input.value = line
            self.input.cursor_position = len(line)

    def action_go(self, step: int) -> None:
        """Choose in the list; without one, bring back what was typed earlier."""
        if self._offered:
            self._chosen = (self._chosen + step) % len(self._offered)
            return self.offer()
        self._place = max(0, min(self._place + step, len(self._earlier)))
        text = self._earlier[self._place] if self._place < len(self._earlier) else ""
        self.input.value = text
        self.input.cursor_position = len(text)


class _Suggester(Suggester):
    def __init__(self, prompt: Prompt) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._prompt = prompt

    async def get_suggestion(self, value: str) -> str | None:
        return self._prompt.suggestion(value)
