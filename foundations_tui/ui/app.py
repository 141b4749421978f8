"""The app: connects in the background, shows the store, carries out what the user asks for."""

from __future__ import annotations

import threading
from typing import ClassVar

from textual.app import App

from foundations_tui import actions, config
from foundations_tui.session import Session
from foundations_tui.store.db import Store, open_reader
from foundations_tui.store.rows import JobRow
from foundations_tui.terminal import one_line
from foundations_tui.ui.messages import ActionEnded, StoreChanged
from foundations_tui.ui.screens.confirm import Confirm
from foundations_tui.ui.screens.help import Help
from foundations_tui.ui.screens.main import MainScreen
from foundations_tui.ui.workers import Followers, carry_out

_RELOAD_PAUSE = 0.1


class FoundationsApp(App[None]):
    """The terminal app."""

    CSS_PATH = "app.tcss"
    TITLE = "foundations"
    ENABLE_COMMAND_PALETTE: ClassVar[bool] = False

    def __init__(self, session: Session) -> None:
        """Make the app.

        Args:
            session: the client's; it must not talk to the terminal.
        """
        super().__init__()
        Store().close()  # made or migrated before anything reads it
        self._session = session
        self.reader = open_reader()
        """The store as the app shows it."""
        self._is_reload_due = False
        self._followers = Followers(session, self.post_message)

    def on_mount(self) -> None:
        """Show what the store has, and begin to follow the hosts."""
        self.push_screen(MainScreen(self.reader, self._session.hosts.hosts))
        self._followers.start()

    def on_unmount(self) -> None:
        """Leave the hosts; jobs run on."""
        self._followers.stop()
        threading.Thread(target=self._session.close, daemon=True).start()

    def on_store_changed(self, event: StoreChanged) -> None:
        """Show what is new, soon: many changes at once are shown once."""
        if not self._is_reload_due:
            self._is_reload_due = True
            self.set_timer(_RELOAD_PAUSE, self._reload)

    def _reload(self) -> None:
        self._is_reload_due = False
        for screen in self.screen_stack:
            if isinstance(screen, MainScreen):
                screen.reload()

    def on_action_ended(self, event: ActionEnded) -> None:
        """Say how it went."""
        self.notify(one_line(event.words), severity="error" if event.failed else "information", markup=False)

    def action_help(self) -> None:
        """Show the keys."""
        self.push_screen(Help())

    def ask_to_stop(self, row: JobRow) -> None:
        """Ask before a job is stopped, then stop it."""
        if row.is_final:
            self.notify(f"{row.job[:6]} has ended already", markup=False)
            return
        owner = config.owner_name(self._session.hosts)
        whose = "" if row.owner == owner else f" It belongs to {row.owner or 'somebody else'}, not to you."

        def stop() -> str:
            actions.stop(self._session, row, owner)
            return f"{row.job[:6]} is being stopped"

        def answered(yes: bool | None) -> None:
            if yes:
                carry_out(self.post_message, stop)

        name = row.name or " ".join(row.command)
        self.push_screen(Confirm(f"Stop job {row.job[:6]} on {row.host}?{whose}", name[:60]), answered)
