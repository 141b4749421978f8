"""The app: connects in the background, shows the store, carries out what the user asks for."""

from __future__ import annotations

import dataclasses
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from foundations_tui.session import Session
from foundations_tui.store import queries
from foundations_tui.store.rows import JobRow
from foundations_tui.terminal import one_line
from foundations_tui.ui.asks import Asks
from foundations_tui.ui.deeds import Deeds
from foundations_tui.ui.look import LOOK, THEMES
from foundations_tui.ui.messages import ActionEnded, Answered, StoreChanged
from foundations_tui.ui.pages import PAGES
from foundations_tui.ui.reader import Reader, version
from foundations_tui.ui.screens.detail import Detail
from foundations_tui.ui.screens.help import Help
from foundations_tui.ui.screens.main import MainScreen
from foundations_tui.ui.workers import Followers

_RELOAD_PAUSE = 0.1
_FOLLOW_AFTER = 0.3
_TOLD_WITHIN = 60.0
"""Seconds after which an end is no news."""
_MOST_SAID = 3
"""Jobs that ended at once and are named one by one."""
_REDRAW_SECONDS = 10.0
"""What only time changes (ages) is drawn anew so often while nothing runs."""


class FoundationsApp(App[None]):
    """The terminal app."""

    CSS_PATH = "app.tcss"
    TITLE = "foundations"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "quit", "quit", show=False, priority=True, id="app.quit"),
    ]

    def __init__(
        self,
        session: Session,
        verbs: Mapping[str, object] | None = None,
        page: str = "",
        theme: str = "",
        ascii_only: bool = False,
        follow: bool = True,
    ) -> None:
        """Make the app.

        Args:
            session: the client's; it must not talk to the terminal.
            verbs: the verbs of the command line.
            page: the page to begin with; one that fits when it is not given.
            theme: a theme's name; the app's own when it is not given.
            ascii_only: no glyph beyond ASCII.
            follow: keep the store up to date with the hosts.
        """
        super().__init__()
        for one in THEMES:
            self.register_theme(one)
        self.theme = theme if theme in self.available_themes else "foundations-dark"
        LOOK.ascii = ascii_only
        LOOK.dark = self.current_theme.dark
        self.set_class(ascii_only, "-ascii")
        self._session = session
        self._follows = follow
        self._page = page
        self.reader = Reader(lambda call: self.post_message(Answered(call)))
        """Reads the store for the panes."""
        self.asks = Asks(self)
        self.deeds = Deeds(self, session, verbs or {})
        self._is_reload_due = False
        self._version: int | None = None
        self._drawn_at = 0.0
        self._began_at = time.time()
        self._told: set[tuple[str, int]] = set()
        """Ends that were told, by job and attempt."""
        self._followers = Followers(session, self.post_message)
        self.own_commands: dict[str, Callable[[str], None]] = {
            "quit": lambda _: self.exit(),
            "theme": self._set_theme,
            "filter": lambda text: self._show_view(query=text),
            "sort": lambda text: self._show_view(sort=text or "created"),
            "columns": lambda text: self._show_view(columns=text),
            "group": lambda text: self._show_view(group_by=text),
            "page": lambda text: self.main.action_page(text) if text in PAGES else self.say(", ".join(PAGES)),
            "undo": lambda _: self.deeds.undo(),
            "done": lambda _: self.say("\n".join(self.deeds.done[-15:]) or "nothing yet"),
            "keys": lambda _: self.action_help(),
        }
        """What the command line of the app has beside the CLI's verbs."""

    @property
    def main(self) -> MainScreen:
        """The main screen."""
        return next(screen for screen in self.screen_stack if isinstance(screen, MainScreen))

    def on_mount(self) -> None:
        """Show what the store has, and begin to follow the hosts."""
        self.reader.start()
        self.push_screen(MainScreen(self.reader, self._session.hosts.hosts, self._page))
        if self._follows:
            self.set_timer(_FOLLOW_AFTER, self._followers.start)  # connecting would delay the first rows

    def on_unmount(self) -> None:
        """Leave the hosts; jobs run on."""
        self._followers.stop()
        self.reader.stop()
        threading.Thread(target=self._session.close, daemon=True).start()

    # --- news ---------------------------------------------------------------------------------------------------

    def on_answered(self, event: Answered) -> None:
        """Show what was read."""
        if self.is_running and self.screen_stack:
            event.call()

    def on_store_changed(self, event: StoreChanged) -> None:
        """Show what is new, soon: many changes at once are shown once."""
        if not self._is_reload_due:
            self._is_reload_due = True
            self.set_timer(_RELOAD_PAUSE, self._reload)

    def _reload(self) -> None:
        self._is_reload_due = False
        self._drawn_at = time.monotonic()
        for screen in self.screen_stack:
            if isinstance(screen, MainScreen | Detail):
                screen.reload()
        since = max(self._began_at, time.time() - _TOLD_WITHIN)
        self.reader.ask("ended", lambda conn: queries.changed_since(conn, since), self._say_ended)

    def look(self) -> None:
        """See whether anybody has written to the store, and draw what only time changes."""
        self.reader.ask("version", _version_and_life, self._take_version)

    def _take_version(self, found: tuple[int, bool]) -> None:
        number, lives = found
        if number != self._version or lives or time.monotonic() - self._drawn_at > _REDRAW_SECONDS:
            self._version = number
            self._reload()

    def _say_ended(self, rows: list[JobRow]) -> None:
        """Tell what has ended since the last time, each end once."""
        rows = [row for row in rows if (row.job, row.attempt) not in self._told]
        if not rows:
            return
        self._told.update((row.job, row.attempt) for row in rows)
        for row in rows[:_MOST_SAID]:
            name = row.label
            self.say(
                f"{LOOK.glyph(row.state)} {row.job[:6]} {name} {row.state} {row.why}", row.state in ("failed", "lost")
            )
        if len(rows) > _MOST_SAID:
            self.say(f"{len(rows) - _MOST_SAID} more jobs have ended")
        self.bell()

    def on_action_ended(self, event: ActionEnded) -> None:
        """Say how it went."""
        self.say(event.words, event.failed)

    def say(self, text: str, failed: bool = False) -> None:
        """Say something in a corner for a while."""
        shown = "\n".join(one_line(line) for line in text.splitlines())
        self.notify(shown, severity="error" if failed else "information", markup=False)

    # --- screens ------------------------------------------------------------------------------------------------

    def action_help(self) -> None:
        """Show the keys."""
        self.push_screen(Help())

    def show_job(self, job: str) -> None:
        """Show all that is known of a job."""
        self.push_screen(Detail(self.reader, job))

    def _show_view(self, **changes: str) -> None:
        pane = self.main.jobs
        pane.fallback = pane.view
        pane.show(dataclasses.replace(pane.view, **changes))  # type: ignore[arg-type]

    def _set_theme(self, name: str) -> None:
        if name in self.available_themes:
            self.theme = name
        else:
            self.say(", ".join(sorted(self.available_themes)))

    def watch_theme(self, theme: str) -> None:
        """Draw states in colours that can be read on this ground."""
        LOOK.dark = self.current_theme.dark
        if self.is_running and self.screen_stack:
            self._reload()

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Offer the app's own things in the palette."""
        yield from super().get_system_commands(screen)
        if not isinstance(screen, MainScreen):
            return
        for page in PAGES:
            yield SystemCommand(f"Page: {page}", "", lambda page=page: screen.action_page(page))
        for name, words_, call in (
            ("Filter jobs", "as in docs/queries.md", self.asks.filter),
            ("Sort jobs", "", self.asks.sort),
            ("Choose columns", "", self.asks.columns),
            ("Group jobs", "", self.asks.group),
            ("Saved views", "", self.asks.views),
            ("New job", "", screen.action_new),
            ("Edit and run anew", "", self.deeds.edit_and_run),
            ("Actions on the chosen jobs", "", self.deeds.offer_actions),
            ("Copy", "", self.deeds.offer_copies),
            ("Undo", "", self.deeds.undo),
        ):
            yield SystemCommand(name, words_, call)


def _version_and_life(conn: sqlite3.Connection) -> tuple[int, bool]:
    """Return the store's version, and whether anything runs."""
    return version(conn), bool(queries.state_counts(conn).keys() & {"running", "preparing"})
