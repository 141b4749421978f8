"""What a chart draws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from foundations_tui.analysis import braille
from foundations_tui.text import humanize

_FEW = 4
"""Values of which nothing can be said."""
_FAR = 10.0
"""A log axis helps where the largest value is at least so many times the median ..."""
_SETTLING = 0.1
"""Of the x axis: what a curve does there says nothing of how it ends."""
_MOST, _FLAT = 0.9, 0.05
"""... and where the first share of the values lies in the second share of the height."""


@dataclass(frozen=True)
class ChartLine:
    """One curve of a chart."""

    label: str
    color: str
    marker: str
    curve: braille.Curve
    values: Sequence[float]
    """What the cursor reads out at each place."""
    mean: braille.Curve | None = None
    """The line through the middle of a curve that is a band; None where it is a line itself."""
    non_finite: int = 0
    """How many points are no finite number."""
    non_finite_at: Sequence[float] = ()
    """... and where."""
    seams: Sequence[float] = ()
    """Where a new attempt began."""
    marks: bool = False
    """Each point is drawn as the marker."""
    job: str = ""
    """Whose it is."""
    times: Sequence[float] = ()
    """When each place was logged, seconds since the epoch."""


@dataclass(frozen=True)
class Plot:
    """What a chart shows."""

    lines: Sequence[ChartLine] = ()
    span: braille.Span = (0.0, 1.0)
    """From where to where the x axis goes."""
    ticks: Sequence[tuple[float, str]] = ()
    """What is written on the x axis, and where; its ends and how much a column holds when nothing is given."""
    words: str = "no numbers yet"
    """Shown where there are no curves."""
    uprights: bool = False
    """Whether each of these is an axis of its own, from 0 to 1."""
    note: str = ""
    """What is to be said of the curves, beside the title."""

    @property
    def are_single_values(self) -> bool:
        """Whether each curve is one value: there is nothing to be drawn over an axis."""
        return bool(self.lines) and all(len(line.values) == 1 and not line.marks for line in self.lines)

    @property
    def spreads_far(self) -> bool:
        """Whether few values are so much larger than the others that those are one line at the bottom."""
        highs = sorted(high for line in self.lines for high in line.curve.highs if math.isfinite(high))
        if len(highs) <= _FEW or highs[0] <= 0 or highs[-1] < _FAR * highs[len(highs) // 2]:
            return False
        most = highs[int(_MOST * len(highs))]
        return most - highs[0] < _FLAT * (highs[-1] - highs[0])

    def settled(self) -> Plot:
        """Return it without the peaks that its curves begin with, where those press the rest against the floor."""
        if not self.spreads_far:
            return self
        left, right = self.span
        begin = left + _SETTLING * (right - left)
        points = [
            (x, high)
            for line in self.lines
            for x, high in zip(line.curve.xs, line.curve.highs, strict=True)
            if math.isfinite(high)
        ]
        top = max((high for x, high in points if x >= begin), default=math.inf)
        if all(high <= top for _, high in points):
            return self
        lines = [
            replace(line, curve=_below(line.curve, top), mean=line.mean and _below(line.mean, top))
            for line in self.lines
        ]
        return replace(self, lines=lines, note=f"values above {humanize.rounded(top, 3)} are left out")


def _below(curve: braille.Curve, top: float) -> braille.Curve:
    """Return a curve with gaps where it is above a value."""
    lows, highs = (
        tuple(value if high <= top else math.nan for value, high in zip(side, curve.highs, strict=True))
        for side in (curve.lows, curve.highs)
    )
    return replace(curve, lows=lows, highs=highs)
