"""The hosts and their GPUs, as a table with a cursor: whose they are, how much they do, and what is wrong."""

from __future__ import annotations

import time
from collections.abc import Iterable

from textual.app import ComposeResult
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from foundations_tui.text import humanize
from foundations_tui.ui.messages import JobOpened
from foundations_tui.ui.models import hosts_table
from foundations_tui.ui.models.hosts_table import Known, Place
from foundations_tui.ui.models.store_reader import Reader
from foundations_tui.ui.panes.table_pane import TablePane
from foundations_tui.ui.widgets.key_words import key_words
from foundations_tui.ui.widgets.virtual_table import VirtualTable
from foundations_tui.ui.widgets.whole_table import WholeTable
from remote_agent.protocol.resources import HostGpu

_DETAILS_FROM = (70, 16)
"""Columns and lines from which there is room for more of what is under the cursor."""


class HostsPane(TablePane):
    """All hosts of hosts.toml."""

    NOTHING = "no hosts; ctrl+t adds one"

    class Chosen(Message):
        """The user wants to see the jobs of a host."""

        def __init__(self, host: str) -> None:
            super().__init__()
            self.host = host

    def __init__(self, reader: Reader, names: Iterable[str], id: str | None = None) -> None:
        super().__init__(reader, id)
        self.names = list(names)
        self._known = Known({}, {}, {}, {})
        self.border_title = "hosts"

    def compose(self) -> ComposeResult:
        """Lay out the pane."""
        yield WholeTable(self.NOTHING, id="hosts-table")
        yield Static(id="host-details", markup=False)

    @property
    def place(self) -> Place | None:
        """The host, or the GPU, under the cursor."""
        return Place.of(self.table.key)

    @property
    def gpu(self) -> HostGpu | None:
        """The GPU under the cursor."""
        return self._known.gpu(self.place) if self.place is not None else None

    def reload(self) -> None:
        """Show what the store has now."""
        if self.display:
            moment = self.moment
            self._reader.ask(self, lambda conn: hosts_table.read(conn, time.time(), moment), self._take)

    def _take(self, known: Known) -> None:
        self._known = known
        room = self.size.width
        rows = hosts_table.rows(known, self.names, room, self.moment or time.time())
        self._show_rows(hosts_table.columns(room, rows), rows)
        away = sum(known.host(name).state == "unreachable" for name in self.names)
        words = humanize.plural(len(self.names), "host") + (f", {away} out of reach" if away else "")
        self.border_subtitle = key_words(self.screen, ("main.new_host", "new host"), before=words)
        self._show_details()

    def _show_details(self) -> None:
        has_room = self.size.height >= _DETAILS_FROM[1] and self.size.width >= _DETAILS_FROM[0]
        lines = hosts_table.details(self._known, self.place) if has_room else []
        self._show_below(Content("\n").join(lines))

    def on_virtual_table_moved(self, event: VirtualTable.Moved) -> None:
        """Show more of what is under the cursor."""
        event.stop()
        self._show_details()

    def on_virtual_table_opened(self, event: VirtualTable.Opened) -> None:
        """Open the job on the GPU under the cursor, or show the jobs of the host."""
        event.stop()
        place = Place.of(event.key)
        if place is None:
            return
        gpu = self._known.gpu(place)
        if gpu is not None and gpu.jobs:
            self.post_message(JobOpened(gpu.jobs[0]))
        else:
            self.post_message(self.Chosen(place.host))
