"""The glyphs of states, the same in the app and on the command line; in ASCII where nothing else can be shown."""

from __future__ import annotations

GLYPHS = {
    "submitting": "◌",
    "queued": "◌",
    "preparing": "◍",
    "running": "●",
    "stalled": "◐",
    "completed": "✓",
    "failed": "✗",
    "stopped": "⊘",
    "lost": "?",
    "reachable": "●",
    "unreachable": "✗",
    "unknown": "?",
}
ASCII_GLYPHS = {
    "submitting": ".",
    "queued": "o",
    "preparing": "-",
    "running": "*",
    "stalled": "~",
    "completed": "+",
    "failed": "x",
    "stopped": "/",
    "lost": "?",
    "reachable": "*",
    "unreachable": "x",
    "unknown": "?",
}


def glyph(state: str, ascii_only: bool = False) -> str:
    """Return the glyph of a state of a job or a host; one that only a newer agent knows has none."""
    return (ASCII_GLYPHS if ascii_only else GLYPHS).get(state, "?")
