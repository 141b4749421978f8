"""A sweep as a race: a lane for each job, the leader first, and the curves of those in front."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from foundations_tui.jobs.ownership import Actor
from foundations_tui.text.sanitize import one_line
from foundations_tui.ui.messages import JobOpened, JobSelected
from foundations_tui.ui.models import race as model
from foundations_tui.ui.models.race import Sweep
from foundations_tui.ui.models.store_reader import Reader
from foundations_tui.ui.panes.table_pane import TablePane
from foundations_tui.ui.widgets.chart import Chart
from foundations_tui.ui.widgets.virtual_table import VirtualTable
from foundations_tui.ui.widgets.whole_table import WholeTable

_CHART_LINES = 10
"""Lines below the lanes from which the curves are drawn there."""


class RacePane(TablePane):
    """The lanes of one sweep."""

    NOTHING = "no sweep yet: foundations submit --sweep lr=1e-4,3e-4 -- python train.py --lr {lr}"
    THEN = "no sweep had begun then"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "sweep(1)", "next sweep", id="race.next"),
        Binding("N", "sweep(-1)", "sweep before", show=False, id="race.previous"),
        Binding("m", "over_seeds", "mean over seeds", id="race.over"),
        Binding("T", "screen.command('stop_lane')", "stop lane", id="race.stop"),
        Binding("C", "screen.command('clone_leader')", "clone leader", id="race.clone"),
        Binding("F", "screen.command('prune')", "prune", tooltip="offer to stop those far behind", id="race.prune"),
    ]

    def __init__(self, reader: Reader, actor: Callable[[], Actor], id: str | None = None) -> None:
        """Make it.

        Args:
            reader: of the store.
            actor: returns the user.
            id: of the widget.
        """
        super().__init__(reader, id)
        self._actor = actor
        self._group = ""
        self._over_seeds = False
        self.sweep = Sweep()
        self._said = ("", "", "")
        self.border_title = "race"

    def compose(self) -> ComposeResult:
        """Lay out the pane."""
        yield Static(id="race-story", markup=False)
        yield WholeTable(self.NOTHING, id="race-table")
        yield Chart(id="race-chart")

    @property
    def has_use_for_keys(self) -> bool:
        """Whether there is a sweep: at an earlier moment the one that is chosen may not have begun."""
        return super().has_use_for_keys or bool(self.sweep.groups)

    @property
    def lane(self) -> list[str]:
        """Ids of the jobs of the lane under the cursor: several where seeds are one lane."""
        found = (one.jobs for one in self.sweep.race.standings if one.jobs[0].job == self.table.key)
        return [one.job for one in next(found, ())]

    def show(self, group: str) -> None:
        """Show a sweep; the one that is shown already, or the newest, where it is not named."""
        self._group = group or self._group
        self.reload()

    def reload(self) -> None:
        """Show what the store has now."""
        if not self.display:
            return
        group, over, actor, moment, marks = self._group, self._over_seeds, self._actor(), self.moment, self.sweep.marks
        self._reader.ask(
            self, lambda conn: model.read(conn, group, over, actor, time.time(), moment, marks), self._take
        )

    def _take(self, sweep: Sweep) -> None:
        self.sweep, self._group = sweep, sweep.group
        room = self.table.scrollable_content_region.width or self.size.width
        rows = model.rows(sweep, room, self.moment or time.time())
        self._show_rows(model.columns(sweep, rows, room), rows)
        self._lay_out()
        chart = self.query_one(Chart)
        chart.show(sweep.metric, sweep.plot, "step", sweep.plot.spreads_far, not model.has_curves(room))
        several = len(sweep.groups)
        place = f"sweep {sweep.groups.index(sweep.group) + 1} of {several}  n N" if several > 1 else ""
        titles = one_line(model.title(sweep)), place + ("  mean over seeds" if self._over_seeds else "")
        if (*titles, sweep.story) != self._said:
            self._said = (*titles, sweep.story)
            self.border_title, self.border_subtitle = map(Content, titles)
            self.query_one("#race-story", Static).update(Content(one_line(sweep.story)))

    def _lay_out(self) -> None:
        """Give the lanes what they need, and the curves the rest where that is enough."""
        story = self.query_one("#race-story")
        story.display = bool(self.sweep.story)
        left = self.size.height - len(self.table.rows) - 1 - (1 if story.display else 0)
        chart, is_drawn = self.query_one(Chart), left >= _CHART_LINES and bool(self.sweep.plot.lines)
        chart.display = is_drawn
        self.table.styles.height = len(self.table.rows) + 1 if is_drawn else "1fr"

    def action_sweep(self, step: int) -> None:
        """Show the next older sweep, or the next newer one."""
        groups = list(self.sweep.groups)
        if groups:
            self._group = groups[(groups.index(self._group) + step) % len(groups)]
            self.reload()

    def action_over_seeds(self) -> None:
        """Let jobs that differ only in their seed run as one lane, or each by itself."""
        self._over_seeds = not self._over_seeds
        self.reload()

    def on_virtual_table_moved(self, event: VirtualTable.Moved) -> None:
        """Tell the screen which job is selected."""
        event.stop()
        if event.key is not None:
            self.post_message(JobSelected(event.key))

    def on_virtual_table_opened(self, event: VirtualTable.Opened) -> None:
        """Show all that is known of the job of a lane."""
        event.stop()
        self.post_message(JobOpened(event.key))
