"""The app: connects in the background, shows the store, carries out what the user asks for."""

from __future__ import annotations

import dataclasses
import sqlite3
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.dom import DOMNode
from textual.widget import Widget

from foundations_tui.config import locations
from foundations_tui.config.app import BY_ITSELF, Settings
from foundations_tui.errors import ConfigError, FoundationsError, NotFoundError, UsageError
from foundations_tui.jobs.ownership import Actor, actor_of
from foundations_tui.session import Session
from foundations_tui.store import queries
from foundations_tui.text import moments
from foundations_tui.text.sanitize import one_line
from foundations_tui.ui import kept
from foundations_tui.ui.commands import COMMANDS, Actions
from foundations_tui.ui.input.key_queue import SerializedKeys
from foundations_tui.ui.input.keymap import catalog, check_own, keymap
from foundations_tui.ui.kept import Kept
from foundations_tui.ui.messages import ActionEnded, Answered, Asked, StoreChanged
from foundations_tui.ui.models.store_reader import Reader
from foundations_tui.ui.news import News
from foundations_tui.ui.pages import PAGES
from foundations_tui.ui.screens.confirm import Confirm
from foundations_tui.ui.screens.live import LiveScreen
from foundations_tui.ui.screens.main import MainScreen
from foundations_tui.ui.theme import LOOK, THEMES
from foundations_tui.ui.widgets.virtual_table import VirtualTable
from foundations_tui.ui.workers import ConnectionAsks, Followers, end_with_terminal
from foundations_tui.ui.workspace import Offered

T = TypeVar("T")
_THEME = "foundations-dark"
_RELOAD_PAUSE, _RELOADS_APART, _SLOW_APART = 0.1, 1.0, 3.0
"""Seconds: what changes together is shown together; from one picture to the next while much changes, and over a slow
link."""
_FOLLOW_AFTER = 0.3
_TOAST_LINES = 2
"""Lines that a message takes: it lies over what is looked at."""
_SAID_AGAIN = 60.0
"""Seconds until the same error is shown again."""
_REDRAW_SECONDS = 10.0
"""What only time changes (ages) is drawn again so often while nothing runs."""


class FoundationsApp(SerializedKeys):
    """The terminal app."""

    CSS_PATH = "app.tcss"
    TITLE = "foundations"
    ENABLE_COMMAND_PALETTE = False
    """Textual's own: ours knows the jobs, and which keys work."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "quit", "quit", show=False, priority=True, id="app.quit"),
        Binding("ctrl+z", "suspend_process", "suspend", show=False, id="app.suspend"),
    ]

    def __init__(
        self,
        session: Session,
        verbs: Mapping[str, object] | None = None,
        page: str = "",
        settings: Settings = BY_ITSELF,
        follow: bool = True,
        left: Kept | None = None,
        tour: bool = False,
    ) -> None:
        """Make the app.

        Args:
            session: the client's; it must not talk to the terminal.
            verbs: the verbs of the command line.
            page: the page to begin with; one that fits when it is not given.
            settings: how it looks, its keys, whom it tells.
            follow: keep the store up to date with the hosts.
            left: how it was left, to go on with; it is kept again at the end. None to keep nothing.
            tour: say what to press first.
        Raises:
            ConfigError: the settings name a theme or a key that there is not.
        """
        super().__init__()
        for theme in THEMES:
            self.register_theme(theme)
        if settings.theme and settings.theme not in self.available_themes:
            raise ConfigError(f"there is no theme {settings.theme!r}", ", ".join(sorted(self.available_themes)))
        self._left, self._set_theme_name = left, settings.theme
        theme_name = left.theme_beside(settings.theme) if left is not None else settings.theme
        self.theme = theme_name if theme_name in self.available_themes else _THEME
        self._keys = keymap(settings.keys) if settings.keys else {}
        if self._keys:
            self.set_keymap(self._keys)
        own_commands = self._own_commands()
        for command in settings.commands:
            if command.name in own_commands or command.name in (verbs or {}):
                raise ConfigError(f"app.toml: [commands.{command.name}] is called like a verb", "give it another name")
            own_commands[command.name] = lambda _, name=command.name: self.action_own(name)  # type: ignore[misc]
        with_keys = [command for command in settings.commands if command.key]
        if with_keys:
            check_own(with_keys, self._keys)
        for command in with_keys:
            self.bind(command.key, f"own('{command.name}')", description=command.name)
        LOOK.ascii = settings.ascii
        LOOK.dark, LOOK.has_colors = self.current_theme.dark, not self.no_color
        self.set_class(settings.ascii, "-ascii")
        self._session = session
        self._follows = follow
        self._page, self._has_tour = page, tour
        self.reader = Reader(lambda call: self.post_message(Answered(call)), self._say_unread, self._show_mended)
        self._unread = ("", 0.0)
        """What of the store could not be read, and when the user was told."""
        self.done: list[str] = []
        """What was done, the newest last."""
        self._actions = Actions(self, session, verbs or {}, own_commands, settings.commands)
        self._apart = _SLOW_APART if settings.slow_link else _RELOADS_APART
        self._is_reload_due = False
        self._version: int | None = None
        self._drawn_at = 0.0
        self._hosts_written = _written_at(locations.hosts_file())
        """When hosts.toml was last written, as far as it was read."""
        self._news = News(self, settings.notify, is_kept=follow)
        self._followers = Followers(session, self.post_message)
        self._connection_asks = ConnectionAsks(self.post_message)
        self._asked: list[Asked] = []
        session.answered_by(self._connection_asks.asker)

    def _own_commands(self) -> dict[str, Callable[[str], None]]:
        """Return what the line behind ``:`` has beside the CLI's verbs; each takes the rest of the line."""
        return {
            "quit": lambda _: self.exit(),
            "theme": self._set_theme,
            "filter": lambda text: self._show_view(query=text),
            "sort": lambda text: self._show_view(sort=text or "created"),
            "columns": lambda text: self._show_view(columns=text),
            "group": lambda text: self._show_view(group_by=text),
            "page": lambda text: self.main.action_page(text) if text in PAGES else self.say(", ".join(PAGES)),
            "at": self._show_moment,
            "undo": lambda _: self.run_command("undo"),
            "done": lambda _: self._show_text("done", lambda columns: "\n".join(self.done) or "nothing yet"),
            "keys": lambda _: self._show_keys(),
        }

    def run_command(self, command: str, **arguments: Any) -> None:
        """Run a command of the app, by its name in ``commands.COMMANDS``."""
        COMMANDS[command].run(self._actions, **arguments)

    def note(self, done: str) -> None:
        """Keep what was done: ``:done`` lists it."""
        self.done.append(done)

    def action_own(self, name: str) -> None:
        """Start a program of the user's, about what is chosen."""
        if isinstance(self.screen, MainScreen):
            self.run_command("own", name=name)

    def offered(self) -> list[Offered]:
        """Return what keys do at this place; each thing once, with all its keys."""
        found: dict[tuple[str, int], Offered] = {}
        for active in self.screen.active_bindings.values():
            binding, node = active.binding, active.node
            if not binding.id or not active.enabled or not isinstance(node, DOMNode):
                continue
            shown = self.get_key_display(binding)
            before = found.get((binding.action, id(node)))
            keys = f"{before.keys} {shown}" if before is not None else shown
            found[binding.action, id(node)] = Offered(
                binding.action, binding.tooltip or binding.description, keys, node
            )
        return list(found.values())

    def do_offered(self, one: Offered) -> None:
        """Do what one of those keys does."""
        self.call_later(self.run_action, one.action, one.node)

    @staticmethod
    def catalog() -> dict[str, Binding]:
        """Return what can be given other keys, by id."""
        return catalog()

    @property
    def main(self) -> MainScreen:
        """The main screen."""
        return next(screen for screen in self.screen_stack if isinstance(screen, MainScreen))

    @property
    def actor(self) -> Actor:
        """The user."""
        return actor_of(self._session.hosts)

    def back_to_main(self) -> MainScreen:
        """Close what lies above the main screen, and return that."""
        while not isinstance(self.screen, MainScreen):
            self.pop_screen()
        return self.main

    def on_mount(self) -> None:
        """Show what the store has, and begin to follow the hosts."""
        self.reader.start()
        if not self.is_headless and not self.is_web:
            end_with_terminal()
        for error in self._session.hosts.unknown:
            self.say(f"{error}" + (f" ({error.hint})" if error.hint else ""), failed=True)
        page = self._page or (self._left.page if self._left else "")
        main = MainScreen(self.reader, self._session.hosts.hosts, page, self._has_tour)
        self.push_screen(main)
        if self._left is not None:
            main.pins = self._left.pins
            main.go_on_with(self._left.view)
        self.call_after_refresh(self._news.begin)  # after the first rows
        if self._follows:
            self.set_timer(_FOLLOW_AFTER, self._followers.start)  # connecting would delay the first rows

    def exit(self, *args: Any, **options: Any) -> None:
        """End the app, and keep how it is left."""
        if self._left is not None and any(isinstance(screen, MainScreen) for screen in self.screen_stack):
            chosen = "" if self.theme == (self._set_theme_name or _THEME) else self.theme
            kept.write(Kept(self.main.page, self.main.jobs.view, chosen, self.main.pins, self._set_theme_name))
        super().exit(*args, **options)

    def on_unmount(self) -> None:
        """Leave the hosts; jobs run on."""
        self._followers.stop()
        self._connection_asks.stop()
        self.reader.stop()
        threading.Thread(target=self._let_go, daemon=True).start()

    def _let_go(self) -> None:
        self._actions.close()
        self._session.close()

    @property
    def local_urls(self) -> dict[tuple[str, str], str]:
        """Where services are reached from here, by name and host."""
        return self._actions.urls

    def read_for_key(self, slot: str, read: Callable[[sqlite3.Connection], T], then: Callable[[T], None]) -> None:
        """Have something read that the last key is to show; the next key waits for it."""
        self.hold_keys()

        def take(answer: T) -> None:
            self.release_keys()
            then(answer)

        self.reader.ask(slot, read, take, lambda _: self.release_keys())

    # --- news ---------------------------------------------------------------------------------------------------

    def on_answered(self, event: Answered) -> None:
        """Show what was read."""
        if self.is_running and self.screen_stack:
            event.call()

    def on_store_changed(self, event: StoreChanged | None = None) -> None:
        """Redraw soon: many changes at once are drawn once."""
        if not self._is_reload_due:
            self._is_reload_due = True
            since = time.monotonic() - self._drawn_at
            self.set_timer(max(_RELOAD_PAUSE, self._apart - since), self._reload)

    def _reload(self) -> None:
        if not self.is_running:
            return  # it is closing, and its widgets go one by one
        self._is_reload_due = False
        self._drawn_at = time.monotonic()
        for screen in self.screen_stack:
            if isinstance(screen, LiveScreen):
                screen.reload()
        self._news.look()

    def look(self) -> None:
        """See whether anybody has written to the store or to hosts.toml, and draw what only time changes."""
        self._ask_next()
        self._look_at_hosts_file()
        self.reader.ask("version", _version_and_life, self._take_version)

    def _look_at_hosts_file(self) -> None:
        """Take in a host that was added or removed elsewhere, and say so."""
        written = _written_at(locations.hosts_file())
        if written == self._hosts_written:
            return
        self._hosts_written = written
        before = set(self._session.hosts.hosts)
        self.on_hosts_changed()
        now = set(self._session.hosts.hosts)
        changes = ((now - before, "added"), (before - now, "removed"))
        told = [f"{', '.join(sorted(names))} {what}" for names, what in changes if names]
        if told:
            self.say(f"hosts.toml changed: {'; '.join(told)}")

    def _take_version(self, answer: tuple[int, bool]) -> None:
        number, lives = answer
        age = time.monotonic() - self._drawn_at
        if number != self._version or (lives and age > self._apart) or age > _REDRAW_SECONDS:
            self._version = number
            self.on_store_changed()

    # --- hosts --------------------------------------------------------------------------------------------------

    def ask_again(self) -> None:
        """Ask again what connections asked and the user did not want to answer."""
        self._connection_asks.ask_again()

    def on_asked(self, event: Asked) -> None:
        """Ask what a connection asks, as soon as nothing else is typed."""
        self._asked.append(event)
        self._ask_next()

    def _ask_next(self) -> None:
        if not self._asked or not isinstance(self.screen, MainScreen) or self.screen.prompt.is_asking:
            return
        from foundations_tui.ui.connection_question import connection_question

        asked = self._asked.pop(0)
        self.push_screen(connection_question(asked.about), asked.answer)

    def on_hosts_changed(self) -> None:
        """Show and follow hosts that are new."""
        try:
            new = self._session.reload_hosts()
        except ConfigError as error:
            self.say(str(error), failed=True)
            return
        if self._follows:
            self._followers.follow(new)
            self._followers.leave_all_but(self._session.hosts.hosts)
        self.main.show_hosts(self._session.hosts.hosts)

    def on_action_ended(self, event: ActionEnded) -> None:
        """Say how it went."""
        self.say(event.words, event.failed)

    def say(self, text: str, failed: bool = False) -> None:
        """Say something in a corner for a while."""
        lines = [one_line(line) for line in text.splitlines()]
        shown = "\n".join([*lines[: _TOAST_LINES - 1], "  ".join(lines[_TOAST_LINES - 1 :])])
        self.notify(shown, severity="error" if failed else "information", markup=False)

    def _say_unread(self, slot: Hashable, error: FoundationsError) -> None:
        """Show what cannot be read in the pane that it belongs to, and say it once a minute: it is asked for again."""
        if isinstance(error, NotFoundError):
            return  # it is gone, and what asks for it goes, too
        words, now = str(error), time.monotonic()
        pane = _pane_of(slot)
        if pane is not None:
            pane.add_class("-unread")
            pane.border_subtitle = Content(one_line(f"cannot be read: {words}"))
            for table in pane.query(VirtualTable):
                table.problem = f"cannot be read: {words}"
        if words != self._unread[0] or now - self._unread[1] > _SAID_AGAIN:
            self._unread = (words, now)
            self.say(f"what is shown may be old: {words}", failed=True)

    def _show_mended(self, slot: Hashable) -> None:
        """Show a pane as usual again."""
        pane = _pane_of(slot)
        if pane is not None:
            pane.remove_class("-unread")
            pane.border_subtitle = ""
            for table in pane.query(VirtualTable):
                table.problem = ""

    def write_to_terminal(self, text: str) -> None:
        """Write an escape sequence past the screen."""
        if text and self._driver is not None and not self.is_headless:
            self._driver.write(text)

    # --- screens ------------------------------------------------------------------------------------------------

    def action_help(self) -> None:
        """Show the keys."""
        from foundations_tui.ui.screens.help import Help

        self.push_screen(Help(self.main.page))

    def _show_keys(self) -> None:
        def text(columns: int) -> str:
            rows = [
                [name, self._keys.get(name, binding.key), binding.description] for name, binding in catalog().items()
            ]
            from foundations_tui.text import tables

            return tables.text(("NAME", "KEYS", "DOES"), rows, columns)

        self._show_text("keys", text)

    def _show_text(self, title: str, make: Callable[[int], str]) -> None:
        """Show a text in a window; it is given how many cells its lines may have."""
        from foundations_tui.ui.actions import background
        from foundations_tui.ui.tasks import Shown

        background.show(self, title, lambda _, columns: Shown(make(columns)))

    def show_job(self, job: str) -> None:
        """Show all that is known of a job."""
        from foundations_tui.ui.screens.job_details import Detail

        self.push_screen(Detail(self.reader, job))
        self.main.saw("job")

    def _show_view(self, **changes: str) -> None:
        pane = self.main.jobs
        pane.fallback = pane.view
        pane.show(dataclasses.replace(pane.view, **changes))  # type: ignore[arg-type]

    def _show_moment(self, text: str) -> None:
        """Show what was at a moment; now where there are no words for one."""
        try:
            self.main.show_moment(moments.parse(text, time.time()))
        except UsageError as error:
            self.say(f"{error} ({error.hint})", failed=True)

    def push_screen(self, screen: Any, *args: Any, **options: Any) -> Any:
        """Open a window; a question says that it is about now, where something earlier is shown."""
        if isinstance(screen, Confirm) and self.main.moment_words:
            screen.about_now = f"shown is {self.main.moment_words}; this acts on what is now"
        return super().push_screen(screen, *args, **options)

    def _set_theme(self, name: str) -> None:
        if name in self.available_themes:
            self.theme = name
        else:
            self.say(", ".join(sorted(self.available_themes)))

    def watch_theme(self, theme: str) -> None:
        """Draw states in colors that can be read on this ground."""
        LOOK.dark = self.current_theme.dark
        if self.is_running and self.screen_stack:
            self._reload()


def _pane_of(slot: Hashable) -> Widget | None:
    """Return the pane whose question a slot stands for."""
    owner = slot[0] if isinstance(slot, tuple) else slot
    return owner if isinstance(owner, Widget) and owner.is_attached else None


def _written_at(path: Path) -> int:
    """Return when a file was last written, in ns; 0 where there is none."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _version_and_life(conn: sqlite3.Connection) -> tuple[int, bool]:
    """Return the store's version, and whether anything runs."""
    return queries.version(conn), bool(queries.state_counts(conn).keys() & {"running", "preparing"})
