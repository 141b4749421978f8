"""A chart of several curves in braille: axes, a cursor with values, markers that tell curves apart without colors."""

from __future__ import annotations

import bisect
import itertools
import re
import textwrap
from collections.abc import Collection, Iterator, Sequence

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from foundations_tui.analysis import braille
from foundations_tui.text import humanize
from foundations_tui.text.sanitize import clip, one_line, width
from foundations_tui.ui.models.plot import ChartLine, Plot
from foundations_tui.ui.theme import LOOK
from foundations_tui.ui.widgets.line_widget import LineWidget

_AXIS = 10
"""Cells of the labels of the y axis."""
_LEGEND_CELLS = 34
"""Cells that an entry of the legend gets where several stand abreast."""
_NOBODY, _AXES = -1, -2
"""Owners of cells that no curve has."""
_MARKS_APART, _MARKS_SHIFT = 16, 5
"""Columns from one marker of a curve to its next one, and from one curve's to the next curve's."""
_BAND = 1000
"""What is added to a curve's number for the cells of the band around it."""
_FLATTENED = (
    "   a few large values flatten the rest: L for a log axis",
    "   flattened: L for a log axis",
    "   L: log axis",
)
"""What is said of a chart in which little can be seen, as long as there is room for."""
_INK = re.compile(r"[^ ]+")


class _Looks:
    """The styles of a chart's cells, each made once: thousands of cells have a dozen of them."""

    def __init__(self, style: Style, colors: Sequence[str], uprights: Collection[int]) -> None:
        self._style = style
        self._colors = colors
        self.uprights = uprights
        """Columns that are axes."""
        self.markers: dict[int, list[tuple[int, int, str]]] = {}
        """Column, whose and which marker, by row: for who cannot tell the colors."""
        self._made: dict[tuple[int, bool, bool], Style] = {}

    def of(self, owner: int, chosen: bool, cursor: bool) -> Style:
        """Return the style of a cell: whose it is, whether it is chosen, whether the cursor is there."""
        key = (owner, chosen, cursor)
        if key not in self._made:
            style = self._style
            if owner == _AXES:
                style += Style(dim=True)
            elif owner != _NOBODY:
                style += Style.parse(self._colors[owner % _BAND]) + Style(dim=owner >= _BAND)
            if chosen:
                style += Style(reverse=True)
            if cursor:
                style += Style(bold=True)
            self._made[key] = style
        return self._made[key]


class Chart(LineWidget, Widget):
    """The chart. It is given everything it shows, and redraws only what changed."""

    is_chosen: reactive[bool] = reactive(False)
    """Whether keys are about this one."""
    is_pinned: reactive[bool] = reactive(False)
    """Whether it always comes first."""

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.title = ""
        self._plot = Plot()
        self._x_name = "step"
        self._log = False
        self._has_legend = True
        self.cursor: float | None = None
        """Where the cursor stands, as a share of the width; None while there is none."""
        self._drag: float | None = None
        """Where the mouse began to choose a part."""
        self._drawn: tuple[object, list[Strip]] = (None, [])

    class Pointed(Message):
        """The mouse is somewhere: a share of the width."""

        def __init__(self, place: float) -> None:
            super().__init__()
            self.place = place

    class Chosen(Message):
        """The mouse was clicked somewhere: a share of the width."""

        def __init__(self, place: float) -> None:
            super().__init__()
            self.place = place

    class Zoomed(Message):
        """The wheel was turned somewhere: a share of the width; closer, or away."""

        def __init__(self, place: float, closer: bool) -> None:
            super().__init__()
            self.place = place
            self.closer = closer

    class Dragged(Message):
        """A part was chosen with the mouse: two shares of the width."""

        def __init__(self, start: float, end: float) -> None:
            super().__init__()
            self.start = start
            self.end = end

    def show(self, title: str, plot: Plot, x_name: str, log: bool, has_legend: bool = True) -> None:
        """Show curves.

        Args:
            title: what they are of.
            plot: the curves, none without a point.
            x_name: "step", "time" or "clock".
            log: logarithmic values.
            has_legend: whether names and values stand below the curves.
        """
        shown = (title, plot, x_name, log, has_legend)
        if shown != (self.title, self._plot, self._x_name, self._log, self._has_legend):
            self.title, self._plot, self._x_name, self._log, self._has_legend = shown
            self.refresh()

    @property
    def moments(self) -> dict[str, float]:
        """When each job was where the cursor stands, seconds since the epoch."""
        if self.cursor is None:
            return {}
        left, right = self._plot.span
        x = left + (right - left) * self.cursor
        return {line.job: line.times[_nearest(line.curve.xs, x)] for line in self._plot.lines if line.times}

    def place_of(self, job: str, time: float) -> float | None:
        """Return where a job was at a moment, as a share of the width (beyond 0 to 1 where that is not seen)."""
        left, right = self._plot.span
        for line in self._plot.lines:
            if line.job == job and line.times:
                x = line.curve.xs[_nearest(line.times, time)]
                return (x - left) / (right - left) if right > left else 0.0
        return None

    def render_line(self, y: int) -> Strip:
        """Draw one line; all of them are made at once and kept."""
        style = self.line_style
        marks = (self.is_chosen, self.is_pinned, self.cursor, self._drag)
        key = (self.title, self._plot, self._x_name, self._log, self._has_legend, *marks, self.size, str(style))
        if self._drawn[0] != key:
            self._drawn = (key, self._draw(style))
        strips = self._drawn[1]
        return strips[y] if y < len(strips) else Strip.blank(self.size.width, style)

    def _draw(self, style: Style) -> list[Strip]:
        room, height = self.size.width, self.size.height
        lines, (left, right) = self._plot.lines, self._plot.span
        columns = room - _AXIS - 1
        abreast = max(1, min(len(lines), room // _LEGEND_CELLS))
        legend = min(-(-len(lines) // abreast), max(1, height // 4)) if self._has_legend else 0
        rows = height - 2 - legend
        dim = style + Style(dim=True)
        strips = [self._head(room, style, left, right)] if self.title else []
        is_below = self._log and not any(high > 0 for line in lines for high in line.curve.highs)
        if columns < 4 or rows < 2 or not lines or is_below:
            words = "no value is above 0: L shows them as they are" if is_below and lines else self._plot.words
            lines_of_words = textwrap.wrap(words, max(1, room)) or [""]
            strips += [Strip([Segment(clip(line, room), dim)]) for line in lines_of_words]
            return [strip.adjust_cell_length(room, style) for strip in strips]
        if self._plot.are_single_values:
            entries = [self._legend(line, None, room, style) for line in lines[: height - len(strips)]]
            return strips + [Strip(entry).adjust_cell_length(room, style) for entry in entries]
        curves = [line.mean if line.mean is not None and len(lines) > 1 else line.curve for line in lines]
        _, _, low, high = braille.bounds(curves, self._log)
        if self._plot.uprights:
            low, high = 0.0, 1.0
        labels = braille.labels(low, high, rows, self._log, _AXIS - 1) if not self._plot.uprights else [""] * rows
        box = (left, right, low, high)
        drawn = _layers(lines, columns, rows, self._log, box)
        at = None if self.cursor is None else round(self.cursor * (columns - 1))
        uprights = {_column(x, (left, right), columns) for x, _ in self._plot.ticks if self._plot.uprights}
        looks = _Looks(style, [line.color for line in lines], uprights)
        if len(lines) > 1 and not self._plot.uprights:
            looks.markers = _markers(drawn)
        for row in range(rows):
            label = clip(labels[row], _AXIS - 1).rjust(_AXIS - 1)
            upright = Segment(f"{label} {_upright()}", dim)
            strips.append(Strip([upright, *self._row(drawn, row, looks, at, columns)]))
        corner = "+" if LOOK.ascii else "└"
        if self._plot.ticks:
            axis = _ticks(self._plot, columns)
        else:
            axis = self._marked(_x_axis(left, right, columns, self._x_name), columns)
        strips.append(Strip([Segment(" " * _AXIS + corner + axis, dim)]))
        x = None if self.cursor is None else left + (right - left) * self.cursor
        for first in range(0, legend * abreast, abreast):
            entries = [self._legend(line, x, room // abreast, style) for line in lines[first : first + abreast]]
            strips.append(Strip([segment for entry in entries for segment in entry]))
        return [strip.adjust_cell_length(room, style) for strip in strips]

    def _head(self, room: int, style: Style, left: float, right: float) -> Strip:
        """Return the title, and where the cursor stands."""
        where = ""
        if self.cursor is not None and self._plot.lines and not self._plot.ticks:
            x = left + (right - left) * self.cursor
            where = f"   {self._x_name} {round(x):,}" if self._x_name == "step" else f"   {_x_label(x, self._x_name)}"
        bold = style + Style(bold=True, reverse=self.is_chosen)
        pin = ("^ " if LOOK.ascii else "⌃ ") if self.is_pinned else ""
        title = clip(pin + one_line(self.title), room)
        if self._plot.note:
            where += f"   {self._plot.note}"
        if self._log:
            where += "   log"
        elif self._plot.spreads_far and not self._plot.uprights:
            left_over = room - width(title) - width(where)
            where += next((words for words in _FLATTENED if width(words) <= left_over), "")
        return Strip([Segment(title, bold), Segment(where, style + Style(bold=True))])

    def _marked(self, axis: str, columns: int) -> str:
        """Mark on the axis where a new attempt began, and where a value is no finite number."""
        left, right = self._plot.span
        cells = list(axis)
        for line in self._plot.lines:
            seam, odd = ("+", "x") if LOOK.ascii else ("┴", "×")
            for mark, places in ((seam, line.seams), (odd, line.non_finite_at)):
                for x in places:
                    place = _column(x, (left, right), columns)
                    if left <= x <= right and axis[place] == _level():
                        cells[place] = mark
        return "".join(cells)

    def _row(
        self, drawn: list[tuple[int, ChartLine, list[str]]], row: int, looks: _Looks, at: int | None, columns: int
    ) -> list[Segment]:
        """Return a row of cells: where several curves are, the last of them."""
        chars, owners = [" "] * columns, [_NOBODY] * columns
        for column in looks.uprights:
            chars[column], owners[column] = _upright(), _AXES
        for number, line, cells in drawn:
            marked = LOOK.ascii or line.marks
            for column, char in _visible(cells[row]):
                if 0 <= owners[column] < _BAND and column // 2 % 2:
                    continue  # where two curves meet, each is seen in turn
                chars[column], owners[column] = line.marker if marked else char, number
        for column, number, marker in looks.markers.get(row, ()):
            chars[column], owners[column] = marker, number
        if at is not None and chars[at] == " ":
            chars[at] = _upright()
        keys = [(owners[column], self._is_chosen(column, columns), column == at) for column in range(columns)]
        segments, start = [], 0
        for key, run in itertools.groupby(keys):
            end = start + len(list(run))
            segments.append(Segment("".join(chars[start:end]), looks.of(*key)))
            start = end
        return segments

    # --- the mouse ----------------------------------------------------------------------------------------------

    def _place(self, x: int) -> float:
        """Return the share of the width at a column of the widget."""
        columns = self.size.width - _AXIS - 1
        return min(1.0, max(0.0, (x - _AXIS - 1) / max(1, columns - 1)))

    def _is_chosen(self, column: int, columns: int) -> bool:
        if self._drag is None or self.cursor is None:
            return False
        return min(self._drag, self.cursor) <= column / max(1, columns - 1) <= max(self._drag, self.cursor)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Read out the values under the mouse."""
        self.post_message(self.Pointed(self._place(event.x)))

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Begin to choose a part."""
        self._drag = self._place(event.x)
        self.capture_mouse()

    def on_mouse_up(self, event: events.MouseUp) -> None:
        """Look at the part that was chosen; a click chooses none."""
        start, self._drag = self._drag, None
        self.release_mouse()
        end = self._place(event.x)
        if start is not None and abs(end - start) > 2 / max(1, self.size.width):
            self.post_message(self.Dragged(min(start, end), max(start, end)))
        elif start is not None:
            self.post_message(self.Chosen(end))
        self.refresh()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Look closer."""
        event.stop()
        self.post_message(self.Zoomed(self._place(event.x), True))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """See more."""
        event.stop()
        self.post_message(self.Zoomed(self._place(event.x), False))

    def _legend(self, line: ChartLine, x: float | None, room: int, style: Style) -> list[Segment]:
        place = len(line.values) - 1
        if x is not None:
            place = min(_nearest(line.curve.xs, x), place)
        value = humanize.number(float(f"{line.values[place]:.6g}")) if line.values else ""
        odd = f"  {line.non_finite} not finite" if line.non_finite else ""
        head = f"{line.marker} "
        text = clip(one_line(f"{value}  {line.label}{odd}".strip()), max(0, room - width(head) - 1))
        gap = " " * max(0, room - width(head) - width(text))
        return [Segment(head, style + Style.parse(line.color)), Segment(text + gap, style)]


def _layers(
    lines: Sequence[ChartLine], columns: int, rows: int, log: bool, box: tuple[float, float, float, float]
) -> list[tuple[int, ChartLine, list[str]]]:
    """Return what is drawn over each other: (whose, the line, its cells), the last on top.

    A curve that is a band is drawn as that and the line through its middle; several curves as their lines alone.
    """
    alone = len(lines) == 1
    made = []
    for number, line in reversed(list(enumerate(lines))):  # the first one matters most
        if line.mean is None or alone:
            owner = number if line.mean is None else number + _BAND
            curve = line.curve if line.mean is None else braille.filled(line.curve, columns, box[:2])
            made.append((owner, line, braille.draw_within(curve, columns, rows, box, log)))
        if line.mean is not None:
            made.append((number, line, braille.draw_within(line.mean, columns, rows, box, log)))
    return made


def _nearest(places: Sequence[float], x: float) -> int:
    """Return which of some rising numbers is nearest."""
    behind = bisect.bisect_left(places, x)
    if behind == len(places) or (behind and x - places[behind - 1] <= places[behind] - x):
        return behind - 1
    return behind


def _markers(drawn: Sequence[tuple[int, ChartLine, list[str]]]) -> dict[int, list[tuple[int, int, str]]]:
    """Return where markers stand, by row: (column, whose, which), along each curve and at its end, the best on top."""
    markers: dict[int, list[tuple[int, int, str]]] = {}
    for number, line, cells in drawn:
        if number >= _BAND or line.marks:
            continue
        rows = {column: row for row in reversed(range(len(cells))) for column, _ in _visible(cells[row])}
        end = max(rows, default=0)
        for column, row in rows.items():
            if column == end or (column + number * _MARKS_SHIFT) % _MARKS_APART == 0:
                markers.setdefault(row, []).append((column, number, line.marker))
    return markers


def _visible(cells: str) -> Iterator[tuple[int, str]]:
    """Yield (column, character) of the cells that are not blank."""
    for match in _INK.finditer(cells):
        yield from enumerate(match.group(), match.start())


def _x_axis(left: float, right: float, columns: int, name: str) -> str:
    """Return the line below a chart: round numbers where they belong, between the ends, and what is counted."""
    ends = (_x_label(left, name), f" {name} {_x_label(right, name)}")
    cells = list(_level() * columns)
    cells[: len(ends[0])] = ends[0]
    cells[max(0, columns - len(ends[1])) :] = ends[1][-columns:]
    free, until = len(ends[0]) + 2, columns - len(ends[1]) - 2
    for x in [] if name == "clock" else braille.ticks(left, right, max(1, columns // _TICK_CELLS)):
        label = _x_label(x, name)
        start = _column(x, (left, right), columns) - len(label) // 2
        if start >= free and start + len(label) <= until and (name != "step" or x == round(x)):
            cells[start : start + len(label)] = label
            free = start + len(label) + 2
    return "".join(cells[:columns])


_TICK_CELLS = 18
"""Cells that a number of the x axis has to itself, about."""


def _column(x: float, span: braille.Span, columns: int) -> int:
    return round(braille.share(x, *span) * (columns - 1))


def _ticks(plot: Plot, columns: int) -> str:
    """Return the line below a chart with what is written on it; what would touch its neighbour is left out."""
    marks = [_level()] * columns
    free = 0
    for x, label in sorted(plot.ticks):
        text = clip(one_line(label), max(1, columns // max(1, len(plot.ticks)) - 1))
        wide = width(text)
        start = min(max(0, _column(x, plot.span, columns) - wide // 2), columns - wide)
        if start >= free:
            marks[start : start + wide] = [text, *[""] * (wide - 1)]
            free = start + wide + 1
    return "".join(marks)


def _level() -> str:
    return "-" if LOOK.ascii else "─"


def _upright() -> str:
    return "|" if LOOK.ascii else "│"


def _x_label(value: float, name: str) -> str:
    if name == "clock":
        return humanize.clock(value, value)
    return humanize.count(round(value)) if name == "step" else f"{humanize.number(float(f'{value:.4g}'))} s"
