"""What actions and screens see of the app: it says things, reads the store, opens windows and shows pages."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from textual.dom import DOMNode
from textual.message import Message
from textual.screen import Screen
from textual.theme import Theme

if TYPE_CHECKING:
    from foundations_tui.jobs.ownership import Actor
    from foundations_tui.store.models import VersionRow
    from foundations_tui.store.services import ServiceRow
    from foundations_tui.ui.models.hosts_table import Place
    from foundations_tui.ui.models.race import Sweep
    from foundations_tui.ui.models.store_reader import Reader
    from foundations_tui.ui.panes.jobs import JobsPane
    from foundations_tui.ui.panes.log import LogPane
    from foundations_tui.ui.panes.metrics import MetricsPane
    from foundations_tui.ui.widgets.prompt import Prompt
    from remote_agent.protocol.resources import HostGpu

T = TypeVar("T")


@dataclass(frozen=True)
class Offered:
    """What a key does at this place."""

    action: str
    words: str
    keys: str
    """As they are shown."""
    node: DOMNode
    """Whose action it is."""


class Pages(Protocol):
    """The main screen: its pages, and what is chosen on them."""

    page: str

    @property
    def chosen(self) -> list[str]:
        """Ids of the marked jobs, or of the one under the cursor."""

    def show_log_of(self, job: str) -> None:
        """Show the log of a job, wherever it stands in the table."""

    @property
    def jobs(self) -> JobsPane:
        """The jobs."""

    @property
    def log_pane(self) -> LogPane:
        """The log that has the keys."""

    @property
    def metrics(self) -> MetricsPane | None:
        """The charts, while they are shown."""

    @property
    def hosts(self) -> list[str]:
        """The hosts that are shown."""

    @property
    def place(self) -> Place | None:
        """The host, or the GPU, under the cursor of the page of hosts."""

    @property
    def gpu(self) -> HostGpu | None:
        """The GPU under the cursor of the page of hosts."""

    @property
    def service(self) -> ServiceRow | None:
        """The service under the cursor."""

    @property
    def sweep(self) -> Sweep | None:
        """The sweep whose race is shown."""

    @property
    def version(self) -> VersionRow | None:
        """The version of a model under the cursor."""

    @property
    def compared(self) -> list[str]:
        """Ids of the jobs whose differences mean most now: those of the comparison, or the chosen ones."""

    @property
    def prompt(self) -> Prompt:
        """The line at the bottom."""

    def action_page(self, page: str) -> None:
        """Show a page."""

    def action_part(self) -> None:
        """Show another part of the job where its log is."""


class Workspace(Protocol):
    """The app, as far as screens and actions see it."""

    reader: Reader

    @property
    def local_urls(self) -> dict[tuple[str, str], str]:
        """Where services are reached from here, by name and host."""

    @property
    def main(self) -> Pages:
        """The main screen."""

    def offered(self) -> Sequence[Offered]:
        """Return what keys do at this place."""

    def do_offered(self, one: Offered) -> None:
        """Do what one of those keys does."""

    @property
    def actor(self) -> Actor:
        """The user."""

    def back_to_main(self) -> Pages:
        """Close what lies above the main screen, and return that."""

    def run_command(self, command: str, **arguments: Any) -> None:
        """Run a command of the app, by its name in ``commands.COMMANDS``."""

    def say(self, text: str, failed: bool = False) -> None:
        """Say something in a corner for a while."""

    def note(self, done: str) -> None:
        """Keep what was done: ``:done`` lists it."""

    def read_for_key(self, slot: str, read: Callable[[sqlite3.Connection], T], then: Callable[[T], None]) -> None:
        """Have something read that the last key is to show; the next key waits for it."""

    def push_screen(self, screen: Screen[T], callback: Callable[[T | None], None] | None = None) -> object:
        """Open a window."""

    def call_from_thread(self, callback: Callable[..., Any], *arguments: Any) -> object:
        """Have something called in the app's thread, and wait for it."""

    def post_message(self, message: Message) -> bool:
        """Send the app a message, from any thread."""

    @property
    def available_themes(self) -> dict[str, Theme]:
        """The themes, by name."""

    @property
    def current_theme(self) -> Theme:
        """The colors that are used."""

    def suspend(self) -> AbstractContextManager[None]:
        """Leave the terminal to something else for a while."""

    def refresh(self) -> object:
        """Draw everything again."""

    def copy_to_clipboard(self, text: str) -> None:
        """Copy a text."""

    def look(self) -> None:
        """See whether anybody has written to the store or to hosts.toml."""

    def ask_again(self) -> None:
        """Ask again what connections asked and the user did not want to answer."""

    def show_job(self, job: str) -> None:
        """Show all that is known of a job."""
