"""The chosen jobs side by side: what differs, the baseline first."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content

from foundations_tui.analysis import aggregate, comparison
from foundations_tui.analysis.cells import cell
from foundations_tui.store import queries
from foundations_tui.store.rows import JobRow
from foundations_tui.text import humanize
from foundations_tui.text.sanitize import one_line, width
from foundations_tui.ui.models.store_reader import Reader
from foundations_tui.ui.models.table import Column, TableRow, whole
from foundations_tui.ui.theme import LOOK
from foundations_tui.ui.widgets.virtual_table import VirtualTable

_MOST = 100
_MOST_AVERAGED = 500


class ComparePane(Vertical):
    """A line for each thing in which jobs differ."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("o", "everything", "all", id="compare.everything"),
        Binding("m", "over", "mean over", id="compare.over"),
        Binding("p", "baseline", "baseline", id="compare.baseline"),
        Binding("l,right", "aside(1)", "further jobs", show=False, id="compare.right"),
        Binding("h,left", "aside(-1)", "jobs before", show=False, id="compare.left"),
    ]

    def __init__(self, reader: Reader, id: str | None = None) -> None:
        super().__init__(id=id)
        self._reader = reader
        self._jobs: list[str] = []
        self._baseline = ""
        self._everything = False
        self._over = ""
        """The parameter in which jobs that count as one may differ."""
        self._differing: list[str] = []
        self._rows: list[TableRow] = []
        self._aside = 0
        """How many jobs behind the baseline have moved out of sight."""
        self.border_title = "compare"

    def compose(self) -> ComposeResult:
        """Lay out the pane."""
        yield VirtualTable(self._ask, (), "mark two jobs or more with space, then come back", id="compare-table")

    @property
    def table(self) -> VirtualTable:
        """The table."""
        return self.query_one(VirtualTable)

    @property
    def jobs(self) -> list[str]:
        """The compared jobs, the baseline last: the others are compared with it."""
        return sorted(self._jobs, key=lambda job: job == self._baseline)[-2:]

    def show(self, jobs: Sequence[str]) -> None:
        """Compare these jobs."""
        if self._jobs != list(jobs):
            self._aside = 0
        self._jobs = list(jobs)
        if self._baseline not in self._jobs:
            self._baseline = self._jobs[0] if self._jobs else ""
        self.reload()

    def reload(self) -> None:
        """Show what the store has now."""
        if not self.display:
            return
        if self._over:
            return self._reload_averaged()
        everything = self._everything
        # the baseline first, the others as they were marked
        jobs = sorted(self._jobs, key=lambda job: job != self._baseline)[:_MOST]

        def read(conn: sqlite3.Connection) -> tuple[list[JobRow], list[comparison.Line]]:
            rows = queries.jobs_by_id(conn, jobs)
            project = rows[0].project if rows else ""
            return rows, comparison.of_jobs(conn, rows, queries.directions(conn, project), time.time(), everything)

        self._reader.ask(self, read, lambda found: self._take(*found))

    def _reload_averaged(self) -> None:
        jobs, over, everything = list(self._jobs), self._over, self._everything

        def read(conn: sqlite3.Connection) -> comparison.Averaged:
            rows = queries.jobs_by_id(conn, jobs[:_MOST_AVERAGED])
            directions = queries.directions(conn, rows[0].project if rows else "")
            return comparison.average(rows, over, directions, everything, most=_MOST)

        self._reader.ask(self, read, self._take_averaged)

    def _take(self, rows: list[JobRow], lines: list[comparison.Line]) -> None:
        if len(rows) < 2:
            rows, lines = [], []
        self._differing = list(
            dict.fromkeys(line.name for line in lines if line.kind in ("param", "arg") and line.differs)
        )
        what = "everything" if self._everything else "what differs"
        count = humanize.plural(len(self._jobs), "job")
        many = f"{len(rows)} of {count}" if len(rows) < len(self._jobs) else count
        title = f"compare  {many}: {what}, * is the baseline" if rows else "compare"
        self._show([f"{'* ' if row.job == self._baseline else ''}{row.job[:6]}" for row in rows], lines, title)

    def _take_averaged(self, averaged: comparison.Averaged) -> None:
        groups = averaged.groups
        heads = [group[0].job[:6] + (f" +{len(group) - 1}" if len(group) > 1 else "") for group in groups]
        self._show(
            heads,
            averaged.lines,
            one_line(f"compare  {humanize.plural(len(averaged.groups), 'group')}: mean over {self._over}"),
        )

    def _show(self, heads: list[str], lines: list[comparison.Line], title: str) -> None:
        lines = comparison.for_readers(lines, self._everything)
        room = max(8, min(24, (self.size.width - 30) // max(1, len(heads)) - 1))
        wide = min(22, max([len(_name(line)) for line in lines], default=8))
        fits = max(1, (self.table.scrollable_content_region.width - wide - 3) // (room + 1) - 1)  # behind the baseline
        self._aside = max(0, min(self._aside, len(heads) - 1 - fits))
        seen = [0, *range(1 + self._aside, min(len(heads), 1 + self._aside + fits))] if heads else []
        columns = [Column("", wide), *(Column(heads[n], room, right=True) for n in seen), Column("", 0)]
        self.table.set_columns(columns if heads else ())
        self._rows = [_row(line, room, seen) for line in lines]
        self.table.refresh()
        self.table.reload()
        self.border_title = Content(title)
        hidden = len(heads) - len(seen)
        self.border_subtitle = f"{seen[1] + 1}-{seen[-1] + 1} of {len(heads)}  h l" if hidden else ""

    def _ask(self, start: int, count: int, key: str | None, follow: bool) -> None:
        self.table.take(whole(self._rows, key))

    # --- keys ---------------------------------------------------------------------------------------------------

    def action_everything(self) -> None:
        """Show also that in which they agree."""
        self._everything = not self._everything
        self.reload()

    def action_baseline(self) -> None:
        """Compare with the next of the jobs."""
        if self._jobs:
            place = self._jobs.index(self._baseline) if self._baseline in self._jobs else -1
            self._baseline = self._jobs[(place + 1) % len(self._jobs)]
            self.reload()

    def action_over(self) -> None:
        """Take jobs as one that differ only in one parameter, the next of those in which they differ; or none."""
        choices = ["", *self._differing]
        place = choices.index(self._over) if self._over in choices else 0
        self._over = choices[(place + 1) % len(choices)]
        self.reload()

    def action_aside(self, step: int) -> None:
        """Show the jobs for which there is no room; the baseline stays."""
        self._aside = max(0, self._aside + step)
        self.reload()

    def on_resize(self) -> None:
        """Give each job its share."""
        self.reload()


def _row(line: comparison.Line, room: int, seen: Sequence[int]) -> TableRow:
    """Return a line of the table: what is known of the jobs that are seen."""
    name = _name(line)
    shown = []
    for number, value in [(n, line.values[n]) for n in seen]:
        best = (" +" if LOOK.ascii else " ✓") if line.best == number else ""
        delta = _delta(value, line.values[0], number) if line.kind != "job" else ""
        text = _fitting(line, value, delta, best, room)
        shown.append(text.replace("±", "+-") if LOOK.ascii else text)
    styles = ["", *("bold" if line.best == number else "" for number in seen)]
    return TableRow(f"{line.kind}:{line.name}", [name, *shown], styles, tuple(shown))


def _name(line: comparison.Line) -> str:
    return one_line(line.name if line.kind in ("job", "metric") else f"{line.kind}:{line.name}")


def _fitting(line: comparison.Line, value: Any, delta: str, best: str, room: int) -> str:
    """Return a value with its difference and its mark; where that is too long, fewer digits, then no difference."""
    whole = _shown(line, value)
    short = f"{value:.4g}" if isinstance(value, float) and line.kind != "job" else whole
    ways = (whole + delta + best, short + delta + best, whole + best, short + best)
    return next((way for way in ways if width(way) <= room), short + best)


def _shown(line: comparison.Line, value: Any) -> str:
    return _SHOWN.get(line.name, cell)(value) if line.kind == "job" else cell(value)


_SHOWN: dict[str, Callable[[Any], str]] = {
    "duration": humanize.duration,
    "CPU seconds": humanize.duration,
    "peak memory": humanize.size,
}


def _delta(value: Any, base: Any, number: int) -> str:
    """Return by how much a number is more or less than the baseline's."""
    if number == 0 or not aggregate.is_number(value) or not aggregate.is_number(base) or value == base:
        return ""
    return f" ({value - base:+.2g})"
