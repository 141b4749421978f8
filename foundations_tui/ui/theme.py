"""How the app looks: colors of states, markers of jobs, and its themes."""

from __future__ import annotations

from textual.theme import Theme

from foundations_tui.store.rows import JobRow
from foundations_tui.text import glyphs
from foundations_tui.text.sanitize import one_line

STYLES = {
    "submitting": "#999999",
    "queued": "#999999",
    "preparing": "#56B4E9",
    "running": "#56B4E9",
    "stalled": "#E69F00",
    "completed": "#009E73",
    "failed": "#D55E00",
    "stopped": "#CC79A7",
    "lost": "#E69F00",
}
"""The palette of Okabe and Ito: told apart with any color vision."""
DARK_STYLES = {**STYLES, "completed": "#2FBF93", "failed": "#F2793A", "stopped": "#DD93BE"}
LIGHT_STYLES = {
    "submitting": "#5F6368",
    "queued": "#5F6368",
    "preparing": "#00608F",
    "running": "#00608F",
    "stalled": "#7A5200",
    "completed": "#00664B",
    "failed": "#A84300",
    "stopped": "#8F3F6C",
    "lost": "#7A5200",
}
"""The same hues, dark enough for a light ground: a contrast of 4.5 at least."""
CURVES = ("#56B4E9", "#E69F00", "#2FBF93", "#DD93BE", "#F0E442", "#F2793A", "#7FA7E8", "#BBBBBB")
LIGHT_CURVES = ("#00608F", "#8A5A00", "#00664B", "#8F3F6C", "#6B6400", "#A84300", "#2F4FA8", "#555555")
WORK = ("#8296A5", "#5C93B8", "#56A3D3", "#7CC4F2")
LIGHT_WORK = ("#5F6A72", "#3F7390", "#2F759C", "#00608F")
"""From little to all of what a host or a GPU can do: one hue, and none that says that something is wrong."""
MARKERS, ASCII_MARKERS = "■▲◆▼□△◇▽", "ABCDEFGH"
"""Markers tell curves apart where colors do not; none of them is the glyph of a state."""

CALM_DARK = Theme(
    name="foundations-dark",
    primary="#6CB6E8",
    secondary="#8AA4B8",
    accent="#E6B455",
    warning="#E6B455",
    error="#F2793A",
    success="#2FBF93",
    foreground="#D8DEE4",
    background="#14181D",
    surface="#1A1F26",
    panel="#242B34",
    dark=True,
    variables={"footer-key-foreground": "#6CB6E8", "block-cursor-text-style": "none"},
)
CALM_LIGHT = Theme(
    name="foundations-light",
    primary="#00608F",
    secondary="#4A5D6B",
    accent="#7A5200",
    warning="#7A5200",
    error="#A84300",
    success="#00664B",
    foreground="#1E2429",
    background="#FAFAF7",
    surface="#F1F1EC",
    panel="#E3E3DC",
    dark=False,
    variables={"footer-key-foreground": "#00608F", "block-cursor-text-style": "none"},
)
THEMES = (CALM_DARK, CALM_LIGHT)


_STANDS_OUT = ("failed", "lost", "stalled")


class Look:
    """What the panes draw with, as the theme and the options of the app have it."""

    def __init__(self) -> None:
        self.ascii = False
        self.dark = True
        self.has_colors = True
        """Whether the terminal is to have any (NO_COLOR): without them, what went wrong is bold."""

    def glyph(self, state: str) -> str:
        """Return the glyph of a state; one that only a newer agent knows has none."""
        return glyphs.glyph(state, self.ascii)

    def style(self, state: str) -> str:
        """Return the color of a state; without colors, what makes it stand out."""
        if not self.has_colors:
            return "bold" if state in _STANDS_OUT else ""
        return (DARK_STYLES if self.dark else LIGHT_STYLES).get(state, "")

    def work(self, share: float) -> str:
        """Return the color of a load, the brighter the more: that a host or a GPU works is no warning."""
        steps = WORK if self.dark else LIGHT_WORK
        return steps[min(len(steps) - 1, int(max(0.0, share) * len(steps)))] if self.has_colors else ""

    def curve(self, number: int) -> tuple[str, str]:
        """Return (color, marker) of the job with a number."""
        colors = CURVES if self.dark else LIGHT_CURVES
        markers = ASCII_MARKERS if self.ascii else MARKERS
        return colors[number % len(colors)], markers[number % len(markers)]


LOOK = Look()
"""Of the one app of this process."""


def name_of(row: JobRow) -> str:
    """Return what a job is called in menus and questions: its short id and its label."""
    return one_line(f"{row.job[:6]} {row.label}"[:60])
