"""Colors for the lines of a log that have none of their own: times, levels, tracebacks. No widgets."""

from __future__ import annotations

import re

from rich.text import Text

from foundations_tui.ui.theme import LOOK

_LOOKED_AT = 2000
"""Characters of a line that are looked at."""
_TIME = re.compile(
    r"^\W{0,2}(?:\d{4}[-/]\d\d[-/]\d\d[T ])?\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?\W?|^\W?\d{4}-\d\d-\d\d\b"
)
_LEVEL = re.compile(r"\b(?:(DEBUG|TRACE)|(INFO)|(WARN(?:ING)?|\w*Warning(?=:))|(ERROR|CRITICAL|FATAL))\b")
_LEVEL_STATES = ("", "running", "lost", "failed")
"""The states whose colors levels have, in the order of their groups; "" for dim."""
_TRACEBACK = re.compile(r"Traceback \(most recent call last\):")
_FRAME = re.compile(r'^\s*File "[^"]*", line \d+(?:, in .*)?$')
_CARETS = re.compile(r"^\s*[~^]{3,}$")
_EXCEPTION = re.compile(r"^(?:\w+\.)*\w*(?:Error|Exception|Interrupt|Exit|Warning)\b(?::.*|$)")
_OURS = re.compile(r"^foundations: ")


def paint(text: Text) -> Text:
    """Color a line of a log that has no colors of its own.

    Args:
        text: the line; it is changed.
    """
    line = text.plain[:_LOOKED_AT]
    if _EXCEPTION.match(line):
        text.stylize(f"bold {LOOK.style('lost' if 'Warning' in line.partition(':')[0] else 'failed')}")
        return text
    if _FRAME.match(line) or _CARETS.match(line) or _OURS.match(line):
        text.stylize("dim")
        return text
    if found := _TRACEBACK.search(line):
        text.stylize(LOOK.style("failed"), *found.span())
        return text
    if time := _TIME.match(line):
        text.stylize("dim", *time.span())
    for level in _LEVEL.finditer(line):
        state = _LEVEL_STATES[(level.lastindex or 1) - 1]
        text.stylize(f"bold {LOOK.style(state)}" if state else "dim", *level.span())
    return text
