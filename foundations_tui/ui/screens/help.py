"""The keys."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static

from foundations_tui.ui.screens.modal import ModalWindow
from foundations_tui.ui.theme import LOOK
from foundations_tui.ui.widgets.key_words import key_words

_TEXT = """\
Screens     1 jobs   2 metrics   3 log   4 hosts   5 compare
            6 queue   7 race   8 models   9 services
            0 overview, where there is room

Move        j k  or arrows      one line
            ctrl+d ctrl+u       half a page
            pgdn pgup           a page
            g  G                top, bottom
            tab                 next pane
            ctrl+o              jump to a pane by its letter
            { }                 previous, next job, on any page

Time        ,  .                back, forward; hold to go faster
            :at 03:10           to a moment; also 6h, yesterday 03:10
            esc                 back to now

Jobs        enter               all about the job, and there:
              a f d l x         artifacts, files, differences, log,
                                actions
            /                   filter: state=failed and lr<1e-3
            s  S  < >           sort by, reverse, next column
            c                   choose columns
            b                   group by
            space v a A         mark, range, all, none
            D                   with archived jobs, or without
            p                   below: log, summary, config, git

Metrics     j k                 next, previous chart
            enter               one chart, or all of them again
            p                   pin: this metric first
            h l                 cursor, in all charts
            i o a               zoom in, out, show all
            H  shift+right      pan left, right
            + - =               smooth more, less, off
            L  X  #             log scale, x axis, tiles
            / n N               find metrics, next, previous
            v                   curves, scatter of a sweep, parallel
            t                   the log at the cursor's moment

Log         G  or  f            follow the end
            /  n N              search, next, previous
            &                   only lines with ...
            [ ]  t              previous, next error; traceback
            R                   progress bars as they were
            W                   wrap long lines, or not
            h  l                left, right in long lines
            (  )                previous, next attempt
            m                   the metrics when this was written
            Y                   copy the lines on the screen
            P  E                open it in $PAGER, in $EDITOR

Hosts       enter               the job on a GPU, the jobs of a host
            x                   test, shell, GPUs, pause, remove
            ctrl+t              a new host

Queue       K  J                earlier, later

Race        enter               all about the lane's job
            T                   stop the lane
            C                   a new job beside the leader's values
            F                   stop those that are far behind
            m                   mean over seeds
            n N                 next sweep, sweep before

Models      x                   promote, roll back, serve, try, compare
                                or retire a version

Services    x                   reach it from here, log, replicas,
                                restart, roll back, stop

Compare     o  p                all or what differs; baseline
            t                   jobs as rows, or as columns
            m                   mean and deviation over a parameter
            h  l                further jobs

Do          x                   stop, kill, star, archive, delete ...
            e                   edit the command and rerun it
            d                   differences: code, log, commit
            ctrl+n  ctrl+t      a new job, a new host
            f2 f3 f4 f5         in that form: preview, submit, a file, clear
            f6                  in that form: hosts, and what is free
            :                   any verb of the command line
            y                   copy
            u                   undo
            w                   saved views

Anywhere    r                   refresh
            esc                 back
            ctrl+p              palette: anything by its name
            ctrl+z              suspend; fg resumes
            ?                   this help
            q                   quit; jobs run on

States      ◌ queued   ◍ preparing   ● running
            ✓ completed   ✗ failed   ⊘ stopped   ? lost
            ◐ running, but silent for unusually long
            a ? behind a state: its host is out of reach"""


_KEYS_FROM, _WORDS_FROM = 12, 32
"""Columns at which keys and what they do begin."""


def text_for(page: str, words: str = "") -> Content:
    """Return all keys, those of a page first.

    Args:
        page: the one that is shown.
        words: only lines with these.
    """
    sections = [found for section in _TEXT.split("\n\n") if (found := _with(section, words))]
    if not sections:
        return Content.styled("no key does that", "dim")
    here = [section for section in sections if section.lower().startswith(page or "jobs")]
    ordered = [*here, *(section for section in sections if section not in here)]
    return Content("\n\n").join(_section(section, section in here) for section in ordered)


def _with(section: str, words: str) -> str:
    """Return the lines of a section that have some words, below its heading; empty for none."""
    if not words.strip():
        return section
    lines = section.split("\n")
    found = [line for line in lines if words.strip().lower() in line.lower()]
    if found and found[0] is not lines[0]:
        found[0] = lines[0][:_KEYS_FROM] + found[0][_KEYS_FROM:]
    return "\n".join(found)


def _section(section: str, is_here: bool) -> Content:
    lines = []
    for line in section.split("\n"):
        heading, keys, words = line[:_KEYS_FROM], line[_KEYS_FROM:_WORDS_FROM], line[_WORDS_FROM:]
        if section.startswith(("Screens", "States")):
            keys, words = "", keys + words
        parts = (Content.styled(heading, "bold reverse" if is_here and heading.strip() else "bold"), "")
        lines.append(Content.assemble(*parts, Content.styled(keys, LOOK.style("running")), words))
    return Content("\n").join(lines)


class Help(ModalWindow):
    """Shows the keys, those of the page it is opened on first; any way back closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,f1,enter", "close", "close", id="help.close"),
        Binding("j,down", "scroll(1)", "down", show=False, id="help.down"),
        Binding("k,up", "scroll(-1)", "up", show=False, id="help.up"),
        Binding("ctrl+d,pagedown", "scroll(12)", "page down", show=False, id="help.page_down"),
        Binding("ctrl+u,pageup", "scroll(-12)", "page up", show=False, id="help.page_up"),
        Binding("g", "scroll(-99)", "top", show=False, id="help.top"),
        Binding("G", "scroll(99)", "bottom", show=False, id="help.bottom"),
        Binding("slash", "search", "search", id="help.search"),
    ]

    def __init__(self, page: str = "") -> None:
        """Make it.

        Args:
            page: the one that is shown.
        """
        super().__init__()
        self._page = page

    def compose(self) -> ComposeResult:
        """Lay out the box."""
        with VerticalScroll(id="box"):
            yield Input(id="help-search", placeholder="a key, or what it does")
            yield Static(text_for(self._page), id="help-text", markup=False)

    def on_mount(self) -> None:
        """Say how to go on."""
        box = self.query_one("#box")
        box.border_title = "keys"
        box.border_subtitle = key_words(self, ("help.search", "search"), ("help.close", "back"), before="j k scroll")
        self.query_one(Input).display = False
        box.focus()

    def action_search(self) -> None:
        """Ask for a key, or what it does."""
        self.query_one(Input).display = True
        self.query_one(Input).focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show the lines with what was typed."""
        event.stop()
        self.query_one("#help-text", Static).update(text_for(self._page, event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Leave the lines as they are, to be read."""
        event.stop()
        self.query_one("#box").focus()

    def action_scroll(self, lines: int) -> None:
        """Scroll, where the terminal is too low for all of it."""
        self.query_one("#box").scroll_relative(y=lines, animate=False)
