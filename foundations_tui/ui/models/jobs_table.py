"""What the table of jobs shows: which jobs, in which order, which columns; read in the store's thread. No widgets."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from foundations_tui.analysis import aggregate
from foundations_tui.analysis.cells import WIDEST, cell, field_cell
from foundations_tui.store import expressions, queries
from foundations_tui.store.rows import JobRow
from foundations_tui.store.views import SavedView
from foundations_tui.text import humanize
from foundations_tui.text.sanitize import one_line, width
from foundations_tui.text.story import NOT_FINITE, PROGRESS, Story
from foundations_tui.ui.models.table import Column, RowWindow, TableRow, widest
from foundations_tui.ui.theme import LOOK

_NARROW_FROM, _MIDDLE_FROM, _WIDE_FROM = 64, 88, 140
"""Cells from which the table has what a job tells; its host; its project and when it started."""
_NAME_STEP, _NAME_LEAST = 8, 8
"""Names get as many cells as they need, in such steps, and half of what is left at most: the story gets the rest."""
_MOST_NAMES = 0.8
"""Share of the names that are to be seen whole: a few long commands must not push the stories of all aside."""
_MOST_GROUPED = 20_000
_GROUP = "group:"
_NEWEST_FIRST = "created"

_STATE = Column("STATE", 12, sort="state")
_ID = Column("ID", 8, sort="job")
_NAME = Column("NAME", 0, sort="name")
_HOST = Column("HOST", 10, sort="host")
_TOOK = Column("TOOK", 11, right=True, sort="duration")
_STORY = Column(" ABOUT", 0)
_TINY = (_STATE, Column("ID", 6, sort="job"), _NAME, Column("HOST", 6, sort="host"), _TOOK)
_NARROW = (Column("STATE", 11, sort="state"), Column("ID", 6, sort="job"), _NAME, _TOOK, _STORY)
_MIDDLE = (_STATE, _ID, _NAME, _HOST, _TOOK, _STORY)
_WIDE = (
    *(_STATE, _ID, _NAME, Column("PROJECT", 10, sort="project"), _HOST),
    *(Column("STARTED", 10, right=True, sort="started"), _TOOK, _STORY),
)


@dataclass(frozen=True)
class JobsView:
    """What the table shows."""

    query: str = ""
    """In the language of docs/queries.md."""
    sort: str = _NEWEST_FIRST
    """An expression, with ``:asc`` or ``:desc``."""
    columns: str = ""
    """Expressions with commas; empty for the usual columns."""
    group_by: str = ""
    """An expression: jobs with the same value stand below one line."""
    archived: bool = False
    """With those that are archived."""

    def filter(self, conn: sqlite3.Connection, moment: float | None = None) -> queries.JobFilter:
        """Return the filter of the store's queries.

        Args:
            conn: reads the store.
            moment: only jobs that there were then, seconds since the epoch; None for now.
        """
        directions = queries.directions(conn)
        return queries.JobFilter(query=self.query, archived=self.archived, directions=directions, created_until=moment)

    @property
    def words(self) -> str:
        """What is unusual about it, for the border of the table."""
        parts = [f"filter: {self.query}" if self.query else ""]
        parts += ["" if self.sort == _NEWEST_FIRST else f"sort: {self.sort}"]
        parts += [f"by {self.group_by}" if self.group_by else "", "with archived" if self.archived else ""]
        return "  ".join(part for part in parts if part)

    @classmethod
    def of(cls, saved: SavedView) -> JobsView:
        """Return a saved view."""
        return cls(saved.where, saved.sort or _NEWEST_FIRST, saved.columns, saved.group_by)

    @property
    def saved(self) -> SavedView:
        """Return what of it can be saved."""
        return SavedView(self.query, "" if self.sort == _NEWEST_FIRST else self.sort, self.columns, self.group_by)

    def cli(self) -> str:
        """Return the command line that lists the same."""
        options = {f"--{name.replace('_', '-')}": value for name, value in self.saved.parts.items()}
        words = [word for option, value in options.items() for word in (option, value)]
        return humanize.command(["foundations", "jobs", *words, *(["--archived"] if self.archived else [])])


class JobsWindow(RowWindow, frozen=True):
    """Rows of jobs, and the columns they fit."""

    columns: Sequence[Column] = ()
    words: str = ""
    """How many jobs and groups that is, where they are grouped."""


@dataclass(frozen=True)
class WindowRequest:
    """Which part of a view is wanted."""

    start: int
    count: int
    key: str | None
    """A row to be found."""
    follow: bool
    """Whether the window has to hold that row."""
    room: int
    """Cells that the table has."""
    moment: float | None = None
    """Jobs are shown as they were then, seconds since the epoch; None for now."""
    folded: frozenset[str] = frozenset()
    """Keys of groups whose jobs are not shown."""

    def start_with(self, position: int | None) -> int:
        """Return where the window begins when the row to be found stands at a position, or nowhere."""
        if not self.follow or position is None or self.start <= position < self.start + self.count:
            return self.start
        return max(0, position - self.count // 2)


def is_group(key: str) -> bool:
    """Return whether a row's key is that of a group, not of a job."""
    return key.startswith(_GROUP)


def read(conn: sqlite3.Connection, view: JobsView, request: WindowRequest, now: float) -> JobsWindow:
    """Return a window of a view.

    Raises:
        QueryError: the query, the sort, a column or the group cannot be understood.
    """
    which = view.filter(conn, request.moment)
    shown = expressions.parse_columns(view.columns) if view.columns else []
    if view.group_by:
        return _read_groups(conn, view, which, shown, request, now)
    total = queries.count_jobs(conn, which)
    start, position = request.start, None
    if request.key is not None:
        position = queries.position(conn, request.key, which, view.sort)
        start = request.start_with(position)
    start = min(start, max(0, total - request.count))
    ids = queries.ordered_ids(conn, which, view.sort, request.count, start)
    columns, rows = _rows(conn, which, shown, ids, request, now)
    by, descending = queries.sort_way(view.sort)
    if not shown and by.kind != "field":
        columns, rows = _with_values(conn, which, by, columns, rows)
    return JobsWindow(total, start, rows, request.key, position, _with_arrow(columns, by, descending))


def _with_arrow(columns: Sequence[Column], by: expressions.Expression, descending: bool) -> Sequence[Column]:
    """Return columns with an arrow at the one that the rows are sorted by: up where the smallest comes first."""
    arrows = "v^" if LOOK.ascii else "▼▲"
    arrow = arrows[0] if descending else arrows[1]
    return [
        replace(column, title=f"{column.title} {arrow}") if column.sort == by.text else column for column in columns
    ]


def _rows(
    conn: sqlite3.Connection,
    which: queries.JobFilter,
    shown: list[expressions.Expression],
    ids: list[str],
    request: WindowRequest,
    now: float,
) -> tuple[Sequence[Column], list[TableRow]]:
    room = request.room
    sizes = ((_WIDE_FROM, _WIDE), (_MIDDLE_FROM, _MIDDLE), (_NARROW_FROM, _NARROW), (0, _TINY))
    usual: Sequence[Column] = next(columns for least, columns in sizes if room >= least)
    jobs = queries.jobs_by_id(conn, ids, details=room >= _NARROW_FROM and not shown)
    if request.moment is not None:
        from foundations_tui.store import history  # few look back

        now = request.moment
        jobs = [_telling(job, which.directions) for job in history.jobs(conn, jobs, request.moment)]
    short = queries.short_ids(conn, ids)
    if not shown:
        if room >= _NARROW_FROM:
            usual = _with_name(usual, jobs, room)
        return usual, [_usual_row(job, short[job.job], usual, now) for job in jobs]
    values = queries.values(conn, which, shown, ids)
    rows = [_row(job, shown, values.get(job.job, []), short, now) for job in jobs]
    return _columns(shown, rows), rows


def _telling(job: JobRow, directions: Mapping[str, str]) -> JobRow:
    """Return a job as it was with what it could tell then: how far it was, and what it measured."""
    from foundations_tui.analysis.stories.jobs import main_metric

    key = main_metric(list(job.metrics), directions) if job.is_running else ""
    if not key:
        return job
    broken = [(one.step, key, one.last) for key, one in job.metrics.items() if isinstance(one.last, str)]
    if broken:
        step, key, value = min(broken)
        return replace(job, story=Story(NOT_FINITE, {"key": key, "value": value, "step": step}))
    summary = job.metrics[key]
    metric = {"key": key, "value": summary.last, "moves": "", "rank": None}
    params = {"done": summary.step or 0, "total": 0, "unit": "step", "metric": metric}
    return replace(job, story=Story(PROGRESS, params))


def _with_name(columns: Sequence[Column], jobs: Sequence[JobRow], room: int) -> Sequence[Column]:
    """Return columns with as much room for names as these jobs need."""
    names = map(_name, jobs)
    lengths = sorted(len(name) if name.isascii() else width(one_line(name)) for name in names)
    most = lengths[math.ceil(_MOST_NAMES * (len(lengths) - 1))] if lengths else 0
    wanted = -(-most // _NAME_STEP) * _NAME_STEP
    left = room - 1 - sum(column.width + 1 for column in columns)
    cells = max(_NAME_LEAST, min(wanted, left // 2))
    return [replace(column, width=cells) if column is _NAME else column for column in columns]


def _with_values(
    conn: sqlite3.Connection,
    which: queries.JobFilter,
    by: expressions.Expression,
    columns: Sequence[Column],
    rows: list[TableRow],
) -> tuple[Sequence[Column], list[TableRow]]:
    """Show the sort key beside the name, so the order is explained."""
    values = queries.values(conn, which, [by], [row.key for row in rows])
    shown = [cell(values[row.key][0]) if row.key in values else "" for row in rows]
    place = next(n for n, column in enumerate(columns) if column.title == _NAME.title) + 1
    wide = min(WIDEST, max([len(by.text), *(width(one_line(text)) for text in shown)]))
    added = Column(by.text, wide, right=True, sort=by.text)
    made = [
        replace(row, cells=[*row.cells[:place], text, *row.cells[place:]], version=(row.version, text))
        for row, text in zip(rows, shown, strict=True)
    ]
    return [*columns[:place], added, *columns[place:]], made


def _usual_row(job: JobRow, short: str, columns: Sequence[Column], now: float) -> TableRow:
    cells_of_name = next((column.width for column in columns if column.title == _NAME.title), 0)
    by_title = {
        "STATE": _state(job),
        "ID": short,
        "NAME": _shortened(_name(job), cells_of_name),
        "PROJECT": job.project,
        "HOST": job.host,
        "STARTED": humanize.ago(job.started_at, now) if job.started_at else "",
        "TOOK": humanize.duration(job.duration(now)),
        " ABOUT": " " + job.about(now),
    }
    is_odd = job.story is not None and job.story.code == NOT_FINITE
    styles = {"STATE": LOOK.style(job.shown_state), "ID": "dim", " ABOUT": LOOK.style("stalled") if is_odd else ""}
    titles = [column.title for column in columns]
    cells = [by_title[title] for title in titles]
    return TableRow(job.job, cells, [styles.get(title, "") for title in titles], (job.state, job.exit_code))


def _state(job: JobRow) -> str:
    unsure = "?" if job.is_unsure else ""
    return f"{LOOK.glyph(job.shown_state)} {job.state}{unsure}"


def _shortened(name: str, cells: int) -> str:
    """Return a name that fits: its end stays, where a command says what is special, and a part of its beginning."""
    name = one_line(name)
    if not cells or width(name) <= cells or not name.isascii():
        return name
    name = " ".join(name.split())
    if len(name) <= cells:
        return name
    end = cells * 2 // 3
    return f"{name[: cells - end - 1]}…{name[-end:]}"


def _name(job: JobRow) -> str:
    star = ("* " if LOOK.ascii else "★ ") if job.starred else ""
    return star + job.label


def _row(
    job: JobRow, columns: list[expressions.Expression], values: list[Any], short: dict[str, str], now: float
) -> TableRow:
    shown = [field_cell(e, value, short, now) for e, value in zip(columns, values, strict=False)]
    cells = [_state(job), short[job.job], *shown]
    return TableRow(
        job.job,
        cells,
        [LOOK.style(job.shown_state), "dim"],
        (job.state, tuple(map(repr, values))),
    )


def _columns(shown: list[expressions.Expression], rows: list[TableRow]) -> list[Column]:
    """Return columns as wide as what stands in them."""
    columns = [_STATE, _ID]
    for n, expression in enumerate(shown):
        widest = max([width(one_line(row.cells[n + 2])) for row in rows if len(row.cells) > n + 2], default=0)
        right = expression.kind != "field"
        cells = min(WIDEST, max(len(expression.text), widest))
        columns.append(Column(expression.text, cells, right=right, sort=expression.text))
    return columns


def _read_groups(
    conn: sqlite3.Connection,
    view: JobsView,
    which: queries.JobFilter,
    wanted: list[expressions.Expression],
    request: WindowRequest,
    now: float,
) -> JobsWindow:
    """Return a window of the tree: a line for each value, its jobs below it."""
    by = expressions.parse_expression(view.group_by)
    ids = queries.ordered_ids(conn, which, view.sort, _MOST_GROUPED)
    values = queries.values(conn, which, [by, *wanted], ids)
    jobs_of: dict[str, list[str]] = {}
    for job in ids:
        jobs_of.setdefault(_GROUP + cell(values[job][0]), []).append(job)
    groups = {_GROUP + cell(group.value): group for group in aggregate.group([values[job] for job in ids])}
    lines: list[str] = []
    for key in groups:
        lines += [key, *([] if key in request.folded else jobs_of[key])]
    position = lines.index(request.key) if request.key in lines else None
    start = request.start_with(position)
    shown = lines[start : start + request.count]
    columns, rows = _rows(conn, which, wanted, [line for line in shown if not is_group(line)], request, now)
    by_key = {row.key: row for row in rows}
    heads = {key: _group_row(key, group, by, wanted, key in request.folded) for key, group in groups.items()}
    made = [heads[line] if is_group(line) else by_key[line] for line in shown if is_group(line) or line in by_key]
    words = f"{humanize.plural(len(ids), 'job')} in {humanize.plural(len(groups), 'group')}"
    return JobsWindow(len(lines), start, made, request.key, position, _for_groups(columns, list(heads.values())), words)


def _group_row(
    key: str,
    group: aggregate.Group,
    by: expressions.Expression,
    wanted: Sequence[expressions.Expression],
    folded: bool,
) -> TableRow:
    """Return the line above jobs that share a value: how many they are, and the mean and deviation of each column."""
    fold = ("+" if folded else "-") if LOOK.ascii else ("▸" if folded else "▾")
    value = cell(group.value) or "(none)"
    label = f"{fold} {value}" if by.kind == "field" else f"{fold} {by.name} {value}"
    means = [_mean(one, spread) for one, spread in zip(wanted, group.columns, strict=True)]
    return TableRow(key, [label, humanize.plural(group.jobs, "job"), *means], ["bold", "dim"], (group.jobs, *means))


def _mean(column: expressions.Expression, spread: aggregate.Spread | None) -> str:
    """Return the mean of a column with its deviation; nothing of what has none that means something."""
    from foundations_tui.analysis.stories.siblings import is_seed

    if spread is None or is_seed(column.name):
        return ""
    kind = expressions.FIELDS[column.name].kind if column.kind == "field" else "number"
    if kind == "duration":
        return humanize.duration(spread.mean)
    text = spread.words if kind == "number" else ""
    return text.replace("±", "+-") if LOOK.ascii else text


def _for_groups(columns: Sequence[Column], heads: Sequence[TableRow]) -> list[Column]:
    """Return columns as wide as the means in them need, and the first ones as the groups' names do."""
    made = list(columns)
    for number, column in enumerate(made):
        if column.width:
            made[number] = replace(column, width=max(column.width, min(WIDEST, widest(heads, number))))
    return made


_NEAR_THE_TOP, _BELOW_THE_QUEUE = 12, 200
"""Rows that are seen at once in a small terminal, and among which one that runs is looked for below those that wait."""


def first_running(conn: sqlite3.Connection, view: JobsView) -> str | None:
    """Return the first job of a view that runs, where it is near the top and another one is the first; else None.

    Raises:
        QueryError: the view cannot be understood.
    """
    if view.group_by:
        return None
    first = queries.jobs_by_id(conn, ids(conn, view, _BELOW_THE_QUEUE), details=False)
    place = next((n for n, job in enumerate(first) if job.has_begun and not job.is_final), 0)
    is_near = place < _NEAR_THE_TOP or all(job.is_waiting for job in first[:place])
    return first[place].job if place and is_near else None


def ids(conn: sqlite3.Connection, view: JobsView, most: int) -> list[str]:
    """Return the ids of the first jobs of a view, in its order."""
    return queries.ordered_ids(conn, view.filter(conn), view.sort, most)


def between(conn: sqlite3.Connection, view: JobsView, ends: Collection[str]) -> list[str]:
    """Return the ids of the jobs from one to another, both with them."""
    places = sorted(p for job in ends if (p := queries.position(conn, job, view.filter(conn), view.sort)) is not None)
    if not places:
        return []
    return queries.ordered_ids(conn, view.filter(conn), view.sort, places[-1] - places[0] + 1, places[0])
