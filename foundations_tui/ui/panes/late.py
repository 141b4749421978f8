"""The panes that are made, and their modules imported, when their page is first shown: the first picture needs none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from textual.widget import Widget

from foundations_tui.ui.models.store_reader import Reader

if TYPE_CHECKING:
    from foundations_tui.jobs.ownership import Actor
    from foundations_tui.ui.panes.compare import ComparePane
    from foundations_tui.ui.panes.hosts import HostsPane
    from foundations_tui.ui.panes.metrics import MetricsPane
    from foundations_tui.ui.panes.models import ModelsPane
    from foundations_tui.ui.panes.queue import QueuePane
    from foundations_tui.ui.panes.race import RacePane
    from foundations_tui.ui.panes.services import ServicesPane
    from foundations_tui.ui.panes.table_pane import TablePane


class LatePanes:
    """Makes them, each once; None stands for one that was not shown yet."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.metrics: MetricsPane | None = None
        self.hosts: HostsPane | None = None
        self.compare: ComparePane | None = None
        self.queue: QueuePane | None = None
        self.race: RacePane | None = None
        self.models: ModelsPane | None = None
        self.services: ServicesPane | None = None

    def make(self, name: str, hosts: Sequence[str], pins: tuple[str, ...], actor: Callable[[], Actor]) -> Widget:
        """Make a pane.

        Args:
            name: as its attribute is called.
            hosts: those to show.
            pins: metrics that come first.
            actor: returns the user.
        """
        if name == "metrics":
            from foundations_tui.ui.panes.metrics import MetricsPane

            self.metrics = MetricsPane(self._reader, pins, id=name)
        elif name == "hosts":
            from foundations_tui.ui.panes.hosts import HostsPane

            self.hosts = HostsPane(self._reader, hosts, id=name)
        elif name == "compare":
            from foundations_tui.ui.panes.compare import ComparePane

            self.compare = ComparePane(self._reader, id=name)
        elif name == "queue":
            from foundations_tui.ui.panes.queue import QueuePane

            self.queue = QueuePane(self._reader, id=name)
        elif name == "race":
            from foundations_tui.ui.panes.race import RacePane

            self.race = RacePane(self._reader, actor, id=name)
        elif name == "models":
            from foundations_tui.ui.panes.models import ModelsPane

            self.models = ModelsPane(self._reader, id=name)
        else:
            from foundations_tui.ui.panes.services import ServicesPane

            self.services = ServicesPane(self._reader, id=name)
        made: Widget = getattr(self, name)
        return made

    def show_moment(self, moment: float | None) -> None:
        """Have the panes show a moment; None for now."""
        if self.metrics is not None:
            self.metrics.moment = moment
        for pane in self.of_the_store():
            pane.moment = moment

    def of_the_store(self) -> Iterator[TablePane]:
        """Yield those that show the store by themselves, whatever job is selected."""
        for pane in (self.hosts, self.compare, self.queue, self.race, self.models, self.services):
            if pane is not None:
                yield pane
