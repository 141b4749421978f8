"""Curves as braille: a chart for a terminal, in plain text. Pure."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from foundations_tui.text import humanize

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bits of a braille cell, by row and column (Unicode, Braille Patterns)."""
_EMPTY = 0x2800
LARGEST = sys.float_info.max
_FAR = 1e12
"""Columns: what lies beyond might as well lie there, and infinity has no slope."""


@dataclass(frozen=True)
class Curve:
    """One line of a chart: places on the x axis, and the least and largest value there."""

    xs: Sequence[float]
    lows: Sequence[float]
    highs: Sequence[float]
    joined: bool = True
    """Whether lines go from point to point; a value that is NaN ends one."""


Span = tuple[float, float]
"""From where to where the x axis goes."""


def draw(
    curves: Sequence[Curve], columns: int, rows: int, log: bool = False, span: Span | None = None
) -> list[list[str]]:
    """Return the cells of a chart for each curve, to be laid over each other: "" where a curve is not.

    Args:
        curves: with at least one point in all.
        columns: cells wide.
        rows: cells high.
        log: logarithmic values; those not above 0 are left out.
        span: of the x axis; as far as the curves go when it is not given. What lies beyond is left out.
    Returns:
        For each curve its rows, each a string of ``columns`` characters, blank where nothing is.
    """
    left, right, low, high = bounds(curves, log)
    left, right = span or (left, right)
    return [draw_within(curve, columns, rows, (left, right, low, high), log) for curve in curves]


def filled(curve: Curve, columns: int, span: Span) -> Curve:
    """Return a curve with a least and a largest value at each column of dots, also between its points: a band.

    Args:
        curve: in the order of its places.
        columns: cells wide.
        span: of the x axis.
    """
    left, right = span
    dots = columns * 2
    if len(curve.xs) < 2 or not left < right:
        return curve
    xs = [left + (right - left) * n / (dots - 1) for n in range(dots)]
    made: list[tuple[float, float, float]] = []
    place = 0
    for x in xs:
        while place < len(curve.xs) - 2 and curve.xs[place + 1] < x:
            place += 1
        x0, x1 = curve.xs[place], curve.xs[place + 1]
        if x0 <= x <= x1:
            part = share(x, x0, x1)
            low, high = (side[place] * (1 - part) + side[place + 1] * part for side in (curve.lows, curve.highs))
            made.append((x, low, high))
    if not made:
        return curve
    places, lows, highs = zip(*made, strict=True)
    return Curve(places, lows, highs, joined=False)


def bounds(curves: Sequence[Curve], log: bool = False) -> tuple[float, float, float, float]:
    """Return (least x, largest x, least value, largest value); with ``log`` the values' logarithms."""
    xs = [x for curve in curves for x in curve.xs]
    values = [v for curve in curves for side in (curve.lows, curve.highs) for v in side if v == v]
    scaled = [math.log10(v) for v in values if v > 0] if log else values
    if not xs or not scaled:
        return 0.0, 1.0, 0.0, 1.0
    low, high = min(scaled), max(scaled)
    if low == high:
        room = 0.5 if log else max(abs(low) * 0.5, 1e-300) if low else 1.0
        low, high = max(low - room, -LARGEST), min(high + room, LARGEST)
    return min(xs), max(xs), low, high


def draw_within(
    curve: Curve, columns: int, rows: int, box: tuple[float, float, float, float], log: bool = False
) -> list[str]:
    """Return the cells of one curve of a chart.

    Args:
        curve: with at least one point.
        columns: cells wide.
        rows: cells high.
        box: least x, largest x, least value, largest value; with ``log`` the values' logarithms.
        log: logarithmic values.
    """
    left, right, low, high = box
    curve = _bundled(curve, left, right, columns * 2)
    cells = [[_EMPTY] * columns for _ in range(rows)]
    width, height = columns * 2 - 1, rows * 4 - 1
    before: tuple[float, int] | None = None
    for x, lowest, highest in zip(curve.xs, curve.lows, curve.highs, strict=True):
        ends = [_scale(v, log) for v in (lowest, highest)]
        if ends[0] is None or ends[1] is None:
            before = None
            continue
        column = max(-_FAR, min(share(x, left, right) * width, _FAR))
        bottom, top = (height - round(_inside(share(v, low, high)) * height) for v in ends if v is not None)
        if -0.5 <= column <= width + 0.5:
            for y in range(top, bottom + 1):
                _dot(cells, round(_inside(column, width)), y)
        if before is not None and curve.joined:
            _join(cells, before, (column, (top + bottom) // 2), width)
        before = column, (top + bottom) // 2
    return ["".join(chr(cell) if cell != _EMPTY else " " for cell in row) for row in cells]


def _bundled(curve: Curve, left: float, right: float, dots: int) -> Curve:
    """Return a curve with at most about one point for each column of dots: more cannot be seen."""
    if len(curve.xs) <= 2 * dots or not left < right:
        return curve
    xs: list[float] = []
    lows: list[float] = []
    highs: list[float] = []
    before = None
    for x, low, high in zip(curve.xs, curve.lows, curve.highs, strict=True):
        column = round(share(x, left, right) * (dots - 1))
        if column != before or low != low or high != high:
            xs.append(x)
            lows.append(low)
            highs.append(high)
            before = column if low == low and high == high else None
            continue
        if low < lows[-1]:
            lows[-1] = low
        if high > highs[-1]:
            highs[-1] = high
    return Curve(xs, lows, highs, curve.joined)


def share(value: float, low: float, high: float) -> float:
    """Return where a value lies, 0 at one and 1 at the other of two; by halves, so that the largest floats fit."""
    span = high / 2 - low / 2
    return (value / 2 - low / 2) / span if span > 0 else 0.0


def _inside(value: float, most: float = 1.0) -> float:
    return min(max(value, 0.0), most)


def _join(cells: list[list[int]], start: tuple[float, float], end: tuple[float, float], width: int) -> None:
    """Draw a line between two points, as far as it lies within the width."""
    (x0, y0), (x1, y1) = sorted((start, end))
    if x1 < 0 or x0 > width:
        return
    if x0 < 0:  # by the share that is cut off: a slope between two points so near has no bound
        x0, y0 = 0.0, y0 + (y1 - y0) * (-x0 / (x1 - x0))
    if x1 > width:
        x1, y1 = width, y1 - (y1 - y0) * ((x1 - width) / (x1 - x0))
    x0, y0, x1, y1 = round(x0), round(y0), round(x1), round(y1)
    steps = max(abs(x1 - x0), abs(y1 - y0), 1)
    for n in range(steps + 1):
        _dot(cells, round(x0 + (x1 - x0) * n / steps), round(y0 + (y1 - y0) * n / steps))


def _dot(cells: list[list[int]], x: int, y: int) -> None:
    cells[y // 4][x // 2] |= _DOTS[y % 4][x % 2]


def _scale(value: float, log: bool) -> float | None:
    if not log:
        return value if value == value else None
    return math.log10(value) if value > 0 else None


def ticks(low: float, high: float, most: int) -> list[float]:
    """Return round numbers between two, in even steps of 1, 2 or 5 times a power of ten; none where that cannot be.

    Args:
        low: the least.
        high: the largest.
        most: how many there may be.
    """
    is_wide = not (math.isfinite(low) and math.isfinite(high)) or high / 2 - low / 2 > LARGEST / 4
    if is_wide or high <= low or most < 1:
        return []
    rough = (high - low) / most
    if rough < sys.float_info.min:
        return []
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((factor * power for factor in (1, 2, 5, 10) if factor * power >= rough), 10 * power)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [n * step for n in range(first, min(last, first + 2 * most) + 1)]


def labels(low: float, high: float, rows: int, log: bool = False, cells: int = 9) -> list[str]:
    """Return what stands on the y axis at each row: round numbers, or where there are none the ends and the middle.

    Args:
        low: the value at the last row, its logarithm where ``log`` is set.
        high: the value at the first row.
        rows: how many there are.
        log: whether the axis is logarithmic.
        cells: how long a label may be: digits are left out before any of an exponent would be.
    """
    texts = [""] * rows
    few = min(5, max(3, rows // 4))
    found = [_powers(low, high)] if log else [ticks(low, high, most) for most in (few, 5, 8)]
    round_ones = next((values for values in found if len(values) > 1), [])
    if len(round_ones) > 1 and rows >= _ROWS_OF_TICKS:
        for value in round_ones:
            text = _brief(10**value if log else value, cells)
            texts[round((1.0 - share(value, low, high)) * (rows - 1))] = text
        if len(set(filter(None, texts))) == len(round_ones):
            if log and not any(texts[-_ROWS_OF_TICKS:]):  # far below the last power nobody could guess what that is
                texts[-1] = _brief(10**low, cells)
            return texts
        texts = [""] * rows
    for row in {0, rows // 2, rows - 1}:
        part = row / (rows - 1) if rows > 1 else 0.0
        value = high * (1 - part) + low * part
        try:
            texts[row] = _brief(10**value if log else value, cells)
        except OverflowError:
            texts[row] = "inf"
    return texts


_ROWS_OF_TICKS = 6
"""Rows from which round numbers say more than the ends do."""


def _powers(low: float, high: float) -> list[float]:
    """Return the whole numbers between two logarithms, thinned out where they are many."""
    if not (abs(low) < 400 and abs(high) < 400):
        return []
    first, last = math.ceil(low - 1e-9), math.floor(high + 1e-9)
    return [float(n) for n in range(first, last + 1, max(1, (last - first) // 4))]


def _brief(value: float, cells: int) -> str:
    value = 0.0 if abs(value) < 1e-300 else value
    shown = [humanize.number(float(f"{value:.{digits}g}")) for digits in (4, 3, 2, 1)]
    return next((text for text in shown if len(text) <= cells), shown[-1])
