"""The metrics of the chosen jobs: one to nine charts at once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Grid
from textual.content import Content
from textual.message import Message

from foundations_tui.text.sanitize import one_line
from foundations_tui.ui.models import chart_page, curves
from foundations_tui.ui.models.chart_page import CURVES, KINDS, MOST_JOBS, PARALLEL, ChartPage, ChartRequest
from foundations_tui.ui.models.curves import ChartOptions
from foundations_tui.ui.models.jobs_table import JobsView
from foundations_tui.ui.models.plot import Plot
from foundations_tui.ui.models.store_reader import Reader
from foundations_tui.ui.widgets.chart import Chart

_TILES = {1: (1, 1), 2: (1, 2), 4: (2, 2), 6: (3, 2), 9: (3, 3)}
"""Columns and rows, by the number of charts."""
_SMOOTHER = 0.1
_CURSOR_STEP = 0.02
_ZOOM_STEP = 2.0
_PAN_STEP = 0.5
"""Of what is seen."""
_LEAST_WINDOW = 1e-6


class MetricsPane(Grid, can_focus=True):
    """Charts, the metrics that most of the jobs have first."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "screen.command('find_metric')", "find", key_display="/", id="metrics.find"),
        Binding("enter", "enlarge", "one chart", key_display="enter", id="metrics.enlarge"),
        Binding("escape", "enlarge", "all charts", show=False, id="metrics.back"),
        Binding("j,down", "chart(1)", "next chart", show=False, id="metrics.next_chart"),
        Binding("k,up", "chart(-1)", "chart before", show=False, id="metrics.chart_before"),
        Binding("n,pagedown", "page(1)", "next metrics", id="metrics.next"),
        Binding("N,pageup", "page(-1)", "previous", show=False, id="metrics.previous"),
        Binding("v", "kind", "curves, sweep", tooltip="curves, scatter, parallel", id="metrics.kind"),
        Binding("p", "pin", "pin", tooltip="keep this metric first", id="metrics.pin"),
        Binding("number_sign", "tiles", "tiles", key_display="#", id="metrics.tiles"),
        Binding("plus", "smooth(1)", "smooth", key_display="+", tooltip="smooth more", id="metrics.smoother"),
        Binding("minus", "smooth(-1)", "smooth less", show=False, id="metrics.less"),
        Binding("equals_sign", "smooth(0)", "not smoothed", show=False, id="metrics.plain"),
        Binding("L", "log", "log", id="metrics.log"),
        Binding("X", "x", "x axis", id="metrics.x"),
        Binding("i", "zoom(1)", "closer", show=False, id="metrics.closer"),
        Binding("o", "zoom(-1)", "see more", show=False, id="metrics.away"),
        Binding("a", "whole", "see all", show=False, id="metrics.all"),
        Binding("H,shift+left", "pan(-1)", "go left", show=False, id="metrics.pan_left"),
        Binding("shift+right", "pan(1)", "go right", show=False, id="metrics.pan_right"),
        Binding("h,left", "cursor(-1)", "cursor left", show=False, id="metrics.left"),
        Binding("l,right", "cursor(1)", "cursor right", show=False, id="metrics.right"),
        Binding("t", "log_then", "log at the cursor", show=False, id="metrics.log_then"),
    ]

    class Moved(Message):
        """The cursor stands somewhere else, or its place in the log is asked for."""

        def __init__(self, moments: Mapping[str, float], opens: bool = False) -> None:
            super().__init__()
            self.moments = moments
            """When each job was there, seconds since the epoch."""
            self.opens = opens
            """Whether the log is to be opened."""

    class Pinned(Message):
        """Other metrics are to come first."""

        def __init__(self, pins: tuple[str, ...]) -> None:
            super().__init__()
            self.pins = pins

    def __init__(self, reader: Reader, pins: tuple[str, ...] = (), id: str | None = None) -> None:
        super().__init__(id=id)
        self._reader = reader
        self.moment: float | None = None
        """Curves go as far as they did then, seconds since the epoch; None for now."""
        self._jobs: list[str] = []
        self._view = JobsView()
        self._kind = CURVES
        self._keys: list[str] = []
        self._count = 0
        """Charts that there could be."""
        self._first = 0
        self._tiles = 0
        self._filter = ""
        self.pins = pins
        """Metrics that come first, as the user wants."""
        self._chosen = 0
        """The chart that keys are about, of those that are shown."""
        self._grid: tuple[int, int] | None = None
        """Tiles and first metric before one chart was enlarged; None while none is."""
        self.how = ChartOptions()
        self._cursor: float | None = None
        self._sought: tuple[str, float] | None = None
        """A job and a moment that the cursor is to be put at."""
        self._has_moved = False
        """Whether the cursor was moved and no message says so yet."""
        self._laid_out = (0, 0, 0)
        self._is_empty = False
        """Whether there is no chart, as far as is known."""
        self._said = ("", "")
        self.border_title = "metrics"

    def show(self, jobs: Sequence[str], view: JobsView) -> None:
        """Show the metrics of these jobs, or a sweep of all of a view."""
        self._view = view
        if self._jobs[:MOST_JOBS] != list(jobs)[:MOST_JOBS]:
            self._first = 0
            self.how = dataclasses.replace(self.how, window=(0.0, 1.0))
        self._jobs = list(jobs)
        self.reload()

    def reload(self) -> None:
        """Show what the store has now."""
        if not self.display:
            return
        request = ChartRequest(
            self._kind,
            tuple(self._jobs),
            self._view,
            self.how,
            self._filter,
            self.pins,
            self._first,
            self.tiles,
            self.moment,
        )
        self._reader.ask(self, lambda conn: chart_page.read(conn, request), lambda page: self._take(page, request))

    @property
    def _has_curves(self) -> bool:
        """Whether the charts are of single jobs, not of a sweep."""
        return self._kind == CURVES

    @property
    def tiles(self) -> int:
        """How many charts are shown: as many as there are metrics and room for."""
        if self._tiles:
            return self._tiles
        fits = 1 if self.size.height < 20 or self.size.width < 60 else 4 if self.size.height < 45 else 6
        return next((n for n in _TILES if n >= min(fits, self._count or 1)), 1)

    def _take(self, page: ChartPage, request: ChartRequest) -> None:
        if (request.how, request.kind, request.moment) != (self.how, self._kind, self.moment):
            return  # it was asked for before a key was pressed: the next answer is on its way
        tiles = self.tiles
        self._keys, self._count, charts = page.keys, page.count, page.charts
        if self.tiles != tiles:
            self.reload()
        columns, rows = _TILES[self.tiles]
        shown = max(1, min(len(charts), self.tiles))
        if (columns, rows, shown) != self._laid_out:  # laying out costs more than all the drawing
            self._laid_out = columns, rows, shown
            self.styles.grid_size_columns, self.styles.grid_size_rows = columns, rows
            self.mount_all(Chart() for _ in range(shown - len(self.query(Chart))))
            for number, chart in enumerate(self.query(Chart)):
                chart.display = number < shown
            self.refresh_bindings()  # one chart cannot be enlarged
        if self._is_empty != (not charts):
            self._is_empty = not charts
            self.refresh_bindings()
        for number, chart in enumerate(self.query(Chart)):
            key, plot = charts[number] if number < len(charts) else ("", Plot(words=page.nothing))
            chart.cursor = self._cursor
            chart.is_pinned = key in self.pins
            chart.show(key, plot, self.how.x, self.how.log and self._kind != PARALLEL)
        self._show_chosen()
        self._say(len(charts) if self._has_curves else min(1, len(charts)), page.about)
        self._seek()
        self._tell_moved()

    def _show_chosen(self) -> None:
        """Show which chart the keys are about, where several are shown."""
        shown = self._laid_out[2]
        for number, chart in enumerate(self.query(Chart)):
            chart.is_chosen = shown > 1 and number == self._chosen and self.has_focus

    def _say(self, shown: int, about: str) -> None:
        to = f"-{self._first + shown}" if shown > 1 else ""
        many = f"{self._first + 1}{to} of {len(self._keys)}" if shown else ""
        parts = [
            f"metrics  {many}".rstrip(),
            "" if self._has_curves else self._kind,
            f"filter: {self._filter}" if self._filter else "",
            "log" if self.how.log else "",
        ]
        low, high = self.how.window
        parts.append(_part_words(low, high) if high - low < 1 and self._has_curves else "")
        parts.append(f"smoothed {self.how.smooth:.1f}" if self.how.smooth else "")
        titles = one_line("  ".join(part for part in parts if part)), one_line(about)
        if titles != self._said:
            self._said = titles
            self.border_title, self.border_subtitle = map(Content, titles)

    def set_filter(self, text: str) -> None:
        """Show only the metrics with a text in their name."""
        self._filter, self._first = text, 0
        self.reload()

    # --- keys ---------------------------------------------------------------------------------------------------

    def action_page(self, step: int) -> None:
        """Show the next metrics."""
        first = self._first + step * (self.tiles if self._has_curves else 1)
        self._chosen = 0
        if 0 <= first < len(self._keys):
            self._first = first
            self.reload()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Return whether a key does something with these charts."""
        if self._is_empty and action != "kind" and not (action == "enlarge" and self._grid is not None):
            return False
        if action in ("smooth", "log", "x", "zoom", "whole", "pan", "cursor", "log_then", "pin", "chart"):
            return self._has_curves
        if action == "enlarge":
            return self._has_curves and (self._grid is not None or self._laid_out[2] > 1)
        return True

    def action_chart(self, step: int) -> None:
        """Mean the next of the charts that are shown, or the one before."""
        shown = max(1, self._laid_out[2])
        self._chosen = (self._chosen + step) % shown
        self._show_chosen()

    def action_enlarge(self) -> None:
        """Give one chart all the room, or show the others again."""
        if self._grid is not None:
            (self._tiles, first), self._grid = self._grid, None
            self._chosen, self._first = self._first - first, first
        else:
            self._grid = self._tiles, self._first
            self._tiles, self._first, self._chosen = 1, self._first + self._chosen, 0
        self.refresh_bindings()
        self.reload()

    def action_pin(self) -> None:
        """Have the chosen metric come first from now on, or as the others again."""
        place = self._first + min(self._chosen, max(0, self._laid_out[2] - 1))
        if place < len(self._keys):
            key = self._keys[place]
            self.pins = tuple(one for one in self.pins if one != key) if key in self.pins else (*self.pins, key)
            self.post_message(self.Pinned(self.pins))
            self.reload()

    def action_kind(self) -> None:
        """Curves, each parameter of the sweep against a metric, or all of them beside each other."""
        self._kind = KINDS[(KINDS.index(self._kind) + 1) % len(KINDS)]
        self._first = self._chosen = 0
        self.refresh_bindings()
        self.reload()

    def action_tiles(self) -> None:
        """Show more charts at once, or one again."""
        sizes = list(_TILES)
        self._grid, self._chosen = None, 0
        self._tiles = sizes[(sizes.index(self.tiles) + 1) % len(sizes)]
        self.reload()

    def action_smooth(self, direction: int) -> None:
        """Smooth more, less, or not at all."""
        smooth = 0.0 if direction == 0 else self.how.smooth + direction * _SMOOTHER
        self.how = dataclasses.replace(self.how, smooth=round(max(0.0, min(smooth, 0.9)), 1))
        self.reload()

    def action_log(self) -> None:
        """Values on a logarithmic scale, or not."""
        self.how = dataclasses.replace(self.how, log=not self.how.log)
        self.reload()

    def action_x(self) -> None:
        """Steps, time since the start, or the time of day."""
        names = curves.X_NAMES
        self.how = dataclasses.replace(self.how, x=names[(names.index(self.how.x) + 1) % len(names)])
        self.reload()

    def action_cursor(self, step: int) -> None:
        """Move the cursor, in all charts at once; at the edge of a part, go on to the next."""
        now = 1.0 if self._cursor is None else self._cursor
        before = self.how.window
        if not 0.0 <= now + step * _CURSOR_STEP <= 1.0:
            self.action_pan(step)
            now = now if self.how.window == before else 1.0 - round(now)
        self._put_cursor(min(1.0, max(0.0, now + step * _CURSOR_STEP)))
        self._has_moved = True
        if self.how.window == before:
            self._tell_moved()  # else when what is there has been read

    def _tell_moved(self) -> None:
        if self._has_moved:
            self._has_moved = False
            self.post_message(self.Moved(self.moments))

    def _put_cursor(self, place: float) -> None:
        self._cursor = place
        for chart in self.query(Chart):
            chart.cursor = self._cursor
            chart.refresh()

    @property
    def moments(self) -> dict[str, float]:
        """When each job was where the cursor stands: of its metric that comes first."""
        moments: dict[str, float] = {}
        for chart in self.query(Chart):
            if chart.display and self._has_curves:
                moments = {**chart.moments, **moments}
        return moments

    def action_log_then(self) -> None:
        """Open the log where it was when the cursor's values came."""
        self.post_message(self.Moved(self.moments, opens=True))

    def point_at(self, job: str, time: float) -> None:
        """Put the cursor at a moment of a job, as soon as its curves are here."""
        self._sought = (job, time)
        self._kind = CURVES
        self.reload()

    def _seek(self) -> None:
        if self._sought is None:
            return
        for chart in self.query(Chart):
            place = chart.place_of(*self._sought) if chart.display else None
            if place is None:
                continue
            if 0.0 <= place <= 1.0 or self.how.window == (0.0, 1.0):
                self._sought = None
                self._put_cursor(min(1.0, max(0.0, place)))
            else:
                self._look_at(0.0, 1.0)
            return
        if self._sought[0] in self._jobs:
            self._sought = None  # it has no such curve

    def action_zoom(self, direction: int) -> None:
        """Look closer at what is around the cursor, or see more."""
        self._zoom(direction > 0, 1.0 if self._cursor is None else self._cursor)

    def action_whole(self) -> None:
        """See all of it."""
        self._look_at(0.0, 1.0)

    def action_pan(self, step: int) -> None:
        """Look at the part beside."""
        low, high = self.how.window
        move = step * (high - low) * _PAN_STEP
        move = max(-low, min(move, 1.0 - high))
        self._look_at(low + move, high + move)

    def on_chart_pointed(self, event: Chart.Pointed) -> None:
        """Read out the values under the mouse, in all charts."""
        event.stop()
        self._put_cursor(event.place)

    def on_chart_chosen(self, event: Chart.Chosen) -> None:
        """Let the log follow a click: what only passes over a chart moves nothing."""
        event.stop()
        self._put_cursor(event.place)
        self.post_message(self.Moved(self.moments))

    def on_chart_zoomed(self, event: Chart.Zoomed) -> None:
        """Look closer at what is around the mouse, or see more."""
        event.stop()
        self._zoom(event.closer, event.place)

    def on_chart_dragged(self, event: Chart.Dragged) -> None:
        """Look at what was chosen with the mouse."""
        event.stop()
        low, high = self.how.window
        self._look_at(low + (high - low) * event.start, low + (high - low) * event.end)

    def _zoom(self, closer: bool, place: float) -> None:
        low, high = self.how.window
        width = min(1.0, (high - low) * (1 / _ZOOM_STEP if closer else _ZOOM_STEP))
        start = max(0.0, min(low + (high - low - width) * place, 1.0 - width))
        self._look_at(start, start + width)

    def _look_at(self, low: float, high: float) -> None:
        if high - low >= _LEAST_WINDOW and self._has_curves:
            self.how = dataclasses.replace(self.how, window=(low, min(1.0, high)))
            self.reload()

    def on_resize(self) -> None:
        """Show as many as fit."""
        self.reload()

    def on_focus(self) -> None:
        """Show which chart the keys are about."""
        self._show_chosen()

    def on_blur(self) -> None:
        """The keys are about something else."""
        self._show_chosen()


def _part_words(low: float, high: float) -> str:
    """Return which part of the x axis is shown, with as many digits as tell its ends apart."""
    digits = max(0, math.ceil(-math.log10(high - low)) - 1)
    while (low > 0 and round(100 * low, digits) == 0) or (high < 1 and round(100 * high, digits) == 100):
        digits += 1
    return f"{low:.{digits}%} to {high:.{digits}%} of it"
