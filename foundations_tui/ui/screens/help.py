"""The keys."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

_TEXT = """\
Move        j k  or arrows      one line
            ctrl+d ctrl+u       half a page
            pgdn pgup           a page
            g  G                top, bottom
            tab                 next pane

Jobs        enter               the log of the job, in full
            x                   stop the job (asks first)

Log         G  or  f            follow the end
            k                   scroll up: stops following

Anywhere    r                   draw anew
            esc                 back
            ?                   this help
            q                   quit; jobs run on

States      ◌ queued   ◍ preparing   ● running
            ✓ completed   ✗ failed   ⊘ stopped   ? lost
            a ? behind a state: its host is out of reach"""


class Help(ModalScreen[None]):
    """Shows the keys; any way back closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,f1,enter", "close", "close", id="help.close"),
        Binding("j", "scroll(1)", "down", show=False, id="help.down"),
        Binding("k", "scroll(-1)", "up", show=False, id="help.up"),
        Binding("g", "scroll(-99)", "top", show=False, id="help.top"),
        Binding("G", "scroll(99)", "bottom", show=False, id="help.bottom"),
    ]

    def compose(self) -> ComposeResult:
        """Lay out the box."""
        with VerticalScroll(id="box"):
            yield Static(_TEXT, markup=False)

    def action_scroll(self, lines: int) -> None:
        """Scroll, where the terminal is too low for all of it."""
        self.query_one("#box").scroll_relative(y=lines, animate=False)

    def action_close(self) -> None:
        """Go back."""
        self.dismiss(None)
