"""The chosen jobs side by side: what differs, the baseline first."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from foundations_tui.analysis import account, aggregate, comparison
from foundations_tui.analysis.cells import cell
from foundations_tui.store import queries
from foundations_tui.store.rows import JobRow
from foundations_tui.text import humanize
from foundations_tui.text.sanitize import one_line, width
from foundations_tui.ui.models.store_reader import Reader
from foundations_tui.ui.models.table import Column, TableRow
from foundations_tui.ui.panes.table_pane import TablePane
from foundations_tui.ui.theme import LOOK
from foundations_tui.ui.widgets.whole_table import WholeTable

_MOST = 100
_MOST_AVERAGED = 500
_MOST_VERDICTS = 4
_ACCOUNT_FROM = 16
"""Lines from which there is room for words below the table."""


class ComparePane(TablePane):
    """A line for each thing in which jobs differ."""

    NOTHING = THEN = "mark two jobs or more on page 1 with space, then come back"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("o", "everything", "all", id="compare.everything"),
        Binding("t", "turn", "turn", tooltip="jobs as rows, or as columns", id="compare.turn"),
        Binding("m", "over", "mean over", id="compare.over"),
        Binding("p", "baseline", "baseline", id="compare.baseline"),
        Binding("l,right", "aside(1)", "further jobs", show=False, id="compare.right"),
        Binding("h,left", "aside(-1)", "jobs before", show=False, id="compare.left"),
    ]

    def __init__(self, reader: Reader, id: str | None = None) -> None:
        super().__init__(reader, id)
        self._jobs: list[str] = []
        self._baseline = ""
        self._everything = self._is_turned = False
        self._over = ""
        """The parameter in which jobs that count as one may differ."""
        self._differing: list[str] = []
        self._aside = 0
        """How many jobs behind the baseline have moved out of sight."""
        self.border_title = "compare"

    def compose(self) -> ComposeResult:
        """Lay out the pane."""
        yield WholeTable(self.NOTHING, id="compare-table")
        yield Static(id="compare-account", markup=False)

    @property
    def has_use_for_keys(self) -> bool:
        """Whether jobs are compared: they may not differ in what is shown now."""
        return len(self._jobs) > 1

    @property
    def jobs(self) -> list[str]:
        """The compared jobs, the baseline last: the others are compared with it."""
        return sorted(self._jobs, key=lambda job: job == self._baseline)[-2:]

    def show(self, jobs: Sequence[str]) -> None:
        """Compare these jobs."""
        if self._jobs != list(jobs):
            self._aside = 0
            self.refresh_bindings()
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

        def read(conn: sqlite3.Connection) -> tuple[list[JobRow], list[comparison.Line], list[str]]:
            rows = queries.jobs_by_id(conn, jobs)
            directions = queries.directions(conn, rows[0].project if rows else "")
            now, recorded = time.time(), [queries.recorded(conn, row) for row in rows]
            known = comparison.compare(rows, recorded, directions, now, everything=True)
            lines = known if everything else comparison.compare(rows, recorded, directions, now)
            return rows, lines, _account(conn, rows, directions, known)

        self._reader.ask(self, read, lambda found: self._take(*found))

    def _reload_averaged(self) -> None:
        jobs, over, everything = list(self._jobs), self._over, self._everything

        def read(conn: sqlite3.Connection) -> comparison.Averaged:
            rows = queries.jobs_by_id(conn, jobs[:_MOST_AVERAGED])
            directions = queries.directions(conn, rows[0].project if rows else "")
            return comparison.average(rows, over, directions, everything, most=_MOST)

        self._reader.ask(self, read, self._take_averaged)

    def _take(self, rows: list[JobRow], lines: list[comparison.Line], words: list[str]) -> None:
        if len(rows) < 2:
            rows, lines, words = [], [], []
        self._differing = list(
            dict.fromkeys(line.name for line in lines if line.kind in ("param", "arg") and line.differs)
        )
        what = "everything" if self._everything else "what differs"
        count = humanize.plural(len(self._jobs), "job")
        many = f"{len(rows)} of {count}" if len(rows) < len(self._jobs) else count
        title = f"compare  {many}: {what}, * is the baseline" if rows else "compare"
        self._show([f"{'* ' if row.job == self._baseline else ''}{row.job[:6]}" for row in rows], lines, title, words)

    def _take_averaged(self, averaged: comparison.Averaged) -> None:
        groups = averaged.groups
        heads = [group[0].job[:6] + (f" +{len(group) - 1}" if len(group) > 1 else "") for group in groups]
        self._show(
            heads,
            averaged.lines,
            one_line(f"compare  {humanize.plural(len(averaged.groups), 'group')}: mean over {self._over}"),
        )

    def _show(self, heads: list[str], lines: list[comparison.Line], title: str, words: Sequence[str] = ()) -> None:
        below = self.query_one("#compare-account", Static)
        below.display = bool(words) and self.size.height >= _ACCOUNT_FROM
        below.update(Content("\n").join(map(Content, words)))
        lines = comparison.for_readers(lines, self._everything)
        if not self._everything:  # two that read the same differ in nothing that is seen
            lines = [line for line in lines if len({cell.ways[0] for cell in _cells(line)}) > 1]
        shown = _sideways(heads, lines) if self._is_turned else _upright(heads, lines)
        room = self.table.scrollable_content_region.width
        first = min(_WIDEST_NAME, max([width(one_line(row.name)) for row in shown.rows], default=8))
        wide = shown.widths(max(8, room - first - 2))
        fits = _fitting(wide, room - first - 2)
        last = max(0, len(shown.heads) - 1 - fits)
        self._aside = max(0, min(self._aside, last))
        seen = [0, *range(1 + self._aside, min(len(shown.heads), 1 + self._aside + fits))] if shown.heads else []
        columns = [Column("", first), *(Column(shown.heads[n], wide[n], right=True) for n in seen), Column("", 0)]
        self._show_rows(columns if shown.heads else (), [row.drawn(seen, wide) for row in shown.rows])
        self.table.refresh()
        self.border_title = Content(title)
        hidden = len(shown.heads) - len(seen)
        self.border_subtitle = f"{seen[1] + 1}-{seen[-1] + 1} of {len(shown.heads)}  h l" if hidden and seen[1:] else ""

    # --- keys ---------------------------------------------------------------------------------------------------

    def action_everything(self) -> None:
        """Show also that in which they agree."""
        self._everything = not self._everything
        self.reload()

    def action_turn(self) -> None:
        """Show jobs as rows, or as columns."""
        self._is_turned, self._aside = not self._is_turned, 0
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


def _account(
    conn: sqlite3.Connection, rows: Sequence[JobRow], directions: Mapping[str, str], known: Sequence[comparison.Line]
) -> list[str]:
    """Return why one of two jobs was better, and what jobs have in common: a line each."""
    if len(rows) < 2:
        return []
    verdicts = account.verdicts(conn, rows, directions) if len(rows) == 2 else []
    same = account.common(rows, known)
    words = [one_line(verdict.words) for verdict in verdicts[:_MOST_VERDICTS]]
    return [*words, one_line(f"the same: {', '.join(same)}")] if same else words


@dataclass(frozen=True)
class _Cell:
    """A value, in the ways in which it can be written, the longest first; and whether it is better or worse."""

    ways: tuple[str, ...] = ("",)
    style: str = ""


@dataclass(frozen=True)
class _Row:
    """A line of the table before it is known how much of it is seen."""

    key: str
    name: str
    cells: Sequence[_Cell]

    def drawn(self, seen: Sequence[int], wide: Sequence[int]) -> TableRow:
        """Return the columns that are seen, each value in the longest way that fits."""
        shown = []
        for number in seen:
            ways = self.cells[number].ways
            text = next((way for way in ways if width(way) <= wide[number]), ways[-1])
            shown.append(text.replace("±", "+-") if LOOK.ascii else text)
        version = tuple(cell.ways[0] for cell in self.cells)  # what it says, however much of that fits
        return TableRow(self.key, [self.name, *shown], ["", *(self.cells[n].style for n in seen)], version)


@dataclass(frozen=True)
class _Grid:
    """What is compared, jobs as columns or as rows."""

    heads: Sequence[str]
    rows: Sequence[_Row]

    def widths(self, room: int) -> list[int]:
        """Return the cells of each column: what it needs, and no more than its share where not all fit."""
        needs = [
            max([width(one_line(head)), *(width(row.cells[n].ways[0]) for row in self.rows)], default=8)
            for n, head in enumerate(self.heads)
        ]
        if sum(needs) + 2 * len(needs) <= room:
            return [max(_LEAST_CELLS, min(need + 1, room - 1)) for need in needs]
        if sum(needs) + len(needs) <= room:
            return [max(_LEAST_CELLS, min(need, room - 1)) for need in needs]
        return _shared(needs, room - len(needs))


def _shared(needs: Sequence[int], room: int) -> list[int]:
    """Return the cells of columns for which there is too little room: what one does not need, others can have."""
    wide = [0] * len(needs)
    for rank, number in enumerate(sorted(range(len(needs)), key=needs.__getitem__)):
        share = (room - sum(wide)) // (len(needs) - rank)
        wide[number] = max(_LEAST_CELLS, min(needs[number], max(_READABLE, share)))
    return wide


_LEAST_CELLS, _READABLE = 8, 14
"""Of a column: at least; as many as a number with its difference takes."""
_WIDEST_NAME = 22


def _upright(heads: Sequence[str], lines: Sequence[comparison.Line]) -> _Grid:
    """Return a row for each thing, a column for each job."""
    return _Grid(heads, [_Row(f"{line.kind}:{line.name}", _name(line), _cells(line)) for line in lines])


def _sideways(heads: Sequence[str], lines: Sequence[comparison.Line]) -> _Grid:
    """Return a row for each job, a column for each thing."""
    columns = [_cells(line) for line in lines]
    rows = [_Row(f"job:{n}", head, [column[n] for column in columns]) for n, head in enumerate(heads)]
    return _Grid([_name(line) for line in lines], rows if lines else [])


def _fitting(wide: Sequence[int], room: int) -> int:
    """Return how many columns behind the first there is room for."""
    left = room - (wide[0] + 1 if wide else 0)
    fits = 0
    for cells in wide[1:]:
        left -= cells + 1
        if left < 0:
            break
        fits += 1
    return max(1, fits)


def _cells(line: comparison.Line) -> list[_Cell]:
    return [_cell(line, number) for number in range(len(line.values))]


def _cell(line: comparison.Line, number: int) -> _Cell:
    """Return a value with its difference from the baseline's and the mark of the best; shorter ways have fewer digits,
    then no difference."""
    value, base = line.values[number], line.values[0]
    is_best = line.best == number and sum(one is not None for one in line.values) > 1
    best = (" +" if LOOK.ascii else " ✓") if is_best else ""
    delta = _delta(value, base, number) if line.kind != "job" else ""
    whole = one_line(_shown(line, value)) or ("-" if LOOK.ascii else "–")
    short = f"{value:.4g}" if isinstance(value, float) and line.kind != "job" else whole
    ways = (whole + delta + best, short + delta + best, whole + best, short + best)
    return _Cell(ways, _style(line, value, base) + (" bold" if is_best else ""))


def _style(line: comparison.Line, value: Any, base: Any) -> str:
    """Return the color of what is better, or worse, than the baseline."""
    numbers = [one.mean if isinstance(one, aggregate.Spread) else one for one in (value, base)]
    if not line.direction or not all(map(aggregate.is_number, numbers)) or numbers[0] == numbers[1]:
        return ""
    is_better = (numbers[0] < numbers[1]) == (line.direction == "min")
    return LOOK.style("completed" if is_better else "failed")


def _name(line: comparison.Line) -> str:
    return one_line(line.name if line.kind in ("job", "metric") else f"{line.kind}:{line.name}")


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
    return f" ({'+' if value > base else ''}{humanize.rounded(value - base, 3)})"
